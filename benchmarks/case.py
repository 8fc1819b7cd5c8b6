"""A whole case at full size, stage by stage, with the loop of another harness beside it.

    python benchmarks/case.py [--grids PET CT] [--steps 2] [--checkout ../surface-distance]

One examination is written to a temporary folder: a phantom's label map and an image made from it. It is
scored with `threshold` and corrective clicks as `umdlib score` does, and the CPU seconds of each stage
are taken from the calls themselves. Beside it, on the masks of the first step, what is usual: SciPy finds the
next click; each structure is cropped and measured by SciPy's distance maps, and by surface-distance; nnU-Net's
evaluator reads both files and counts voxels. The book's page "Performance" is made from the record.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from unittest import mock

import clicks
import numpy as np
import pandas as pd
import peers
import phantom
import timing
from checkouts import checkout_option
from scipy import ndimage

from umdlib import evaluation, prompts
from umdlib.cohort.manifest import read_cohort, write_manifest
from umdlib.evaluation import ask, quantities, run
from umdlib.evaluation.ask import peak_memory, resident_mb
from umdlib.images import volume
from umdlib.metrics import scoring

RESULTS = Path(__file__).parent / "results" / "case.json"

# shape (I, J, K) and spacing in mm, as hybrid scanners write them
GRIDS = {
    "PET": ((200, 200, 350), (3.0, 3.0, 3.0)),
    "CT": ((512, 512, 400), (1.0, 1.0, 1.5)),
    "mini": ((128, 128, 100), (4.0, 4.0, 6.0)),
    "mini PET": ((50, 50, 88), (12.0, 12.0, 12.0)),
}
STAGES = {
    "reading": [(volume, "read_volume"), (volume, "read_label_map")],
    "prompts": [(prompts, "pair_prompts")],
    "clicks": [(prompts, "corrective_click")],
    "scoring": [(scoring, "score_bits")],
    "writing": [(volume, "write_bits")],
    "quantities": [(quantities, "of_case_or_reason")],
}


def write_case(folder: Path, grid: str) -> Path:
    """Write one examination of one image; returns its manifest."""
    shape, spacing = GRIDS[grid]
    with mock.patch.dict(phantom.GRIDS, {grid: (shape, spacing)}):
        reference = phantom.reference(grid)
    rng = np.random.default_rng(0)
    means = np.concatenate([[-200], rng.uniform(-60, 180, len(phantom.ORGANS))]).astype(np.float32)
    image = np.empty(shape, np.float32, order="F")
    for k in range(shape[2]):
        image[:, :, k] = means[reference[:, :, k]] + 25 * rng.standard_normal(shape[:2], np.float32)
    affine = np.diag([*spacing, 1.0])
    pet = grid.endswith("PET")
    if pet:
        image = np.abs(image) / 20
    unit = "SUV" if pet else "HU"
    stored = image if pet else image.astype(np.int16)
    volume.write_volume(folder / "image.nii.gz", volume.Volume(np.asfortranarray(stored), affine, unit))
    volume.write_label_map(folder / "reference.nii.gz", volume.LabelMap(reference, affine))
    row = {"subject": "sub-001", "session": "petct", "modality": "PET" if pet else "CT", "unit": unit}
    return write_manifest(
        folder / "manifest.tsv", [{**row, "image": "image.nii.gz", "reference": "reference.nii.gz"}]
    )


@contextmanager
def stopwatch(seconds: dict[str, float], counts: dict[str, int]) -> Iterator[None]:
    """Add up the CPU seconds of the calls of each stage."""

    def timed(stage, call):
        def wrapper(*given, **more):
            start = time.process_time()
            try:
                return call(*given, **more)
            finally:
                seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - start
                counts[stage] = counts.get(stage, 0) + 1

        return wrapper

    with ExitStack() as stack:
        for stage, places in STAGES.items():
            for module, name in places:
                stack.enter_context(mock.patch.object(module, name, timed(stage, getattr(module, name))))
        real = run.ask

        def timed_ask(task, segment):
            return real(task, timed("segmenter", segment))

        stack.enter_context(mock.patch.object(run, "ask", timed_ask))
        yield


@contextmanager
def no_peak() -> Iterator[Callable[[], float]]:
    """In place of the peak of each call, which would hide that of the case."""
    yield lambda: float("nan")


def usual_ways(cohort, root: Path) -> dict[str, float]:
    """CPU seconds of the usual ways with the masks of the first step: a click, and scoring all structures once."""
    case = cohort.cases[0]
    reference, masks = case.read_reference(), evaluation.read_prediction(root, "threshold", case, step=0)
    wanted = {s.name: reference.data == s.value for s in cohort.structures}
    pairs, spacing = [(wanted[name], masks[name]) for name in wanted], reference.spacing_mm
    ways = {
        "SciPy, a click": lambda: [clicks.scipy_click(a, b, spacing) for a, b in pairs],
        "SciPy": lambda: [scipy_scores(a, b, spacing) for a, b in pairs],
    }
    if importlib.util.find_spec("surface_distance"):
        ways["surface-distance"] = lambda: [
            peers.surface_distance(*cut, spacing) for a, b in pairs if (cut := both_in_box(a, b)) is not None
        ]
    if importlib.util.find_spec("nnunetv2"):
        ways["nnU-Net's evaluator"] = nnunet_evaluator(case, cohort.structures, masks, root)
    seconds = {name: timing.cpu_seconds(call) for name, call in ways.items()}
    seconds["SciPy, a click"] /= len(pairs)
    return seconds


def both_in_box(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Two masks in the smallest box around both; None where one is empty."""
    if not a.any() or not b.any():
        return None
    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    return a[box], b[box]


def nnunet_evaluator(case, structures, masks: dict, root: Path) -> Callable[[], dict]:
    """nnU-Net's evaluator on the masks, in one label map (the first structure has a voxel) as it needs them."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    reference = case.read_reference()
    merged = np.zeros(reference.shape, np.uint8, order="F")
    for s in reversed(structures):
        merged[masks[s.name]] = s.value
    file = root / "merged.nii.gz"
    volume.write_label_map(file, volume.LabelMap(merged, reference.affine))
    values = [s.value for s in structures]
    return lambda: compute_metrics(str(case.reference), str(file), SimpleITKIO(), values)


def scipy_scores(reference: np.ndarray, prediction: np.ndarray, spacing) -> tuple[float, float] | None:
    """DSC and ASSD of two masks in the usual way: cropped, eroded to surfaces, by distance maps."""
    cut = both_in_box(reference, prediction)
    if cut is None:
        return None
    a, b = (np.pad(m, 1) for m in cut)
    dice = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
    edges = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    far = [ndimage.distance_transform_edt(~e, sampling=spacing) for e in edges]
    between = np.concatenate([far[1][edges[0]], far[0][edges[1]]])
    return dice, float(between.mean())


def digest_of(root: Path, table: pd.DataFrame) -> str:
    """Digest of the scores, masks and prompts of a run: the same where none has moved by a bit."""
    numbers = table.drop(columns=["seconds", "peak_mb"]).to_csv(index=False)
    files = [p for p in sorted((root / "cases").rglob("*")) if p.name == "prompts.json" or p.suffix == ".gz"]
    digest = hashlib.sha256(numbers.encode())
    for file in files:
        digest.update(file.read_bytes() if file.suffix == ".json" else volume.read_bits(file).tobytes("A"))
    return digest.hexdigest()[:16]


def measure(grid: str, steps: int, *, beside: bool = True) -> dict:
    """One record: CPU seconds by stage of a first run and of one with nothing to do, and of the usual ways."""
    settings = evaluation.Settings((evaluation.Plan("centre", (0,), steps),))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cohort = read_cohort(write_case(root, grid))
        seconds, counts, before = {}, {}, resident_mb()
        no_other = mock.patch.object(ask, "peak_memory", no_peak)
        with stopwatch(seconds, counts), peak_memory() as memory, no_other:
            start = time.process_time()
            table = evaluation.score_cohort(cohort, "threshold", root / "run", settings=settings)
            whole = time.process_time() - start
            peak = memory()
        start = time.process_time()
        evaluation.score_cohort(cohort, "threshold", root / "run", settings=settings)
        nothing = time.process_time() - start
        usual = usual_ways(cohort, root / "run") if beside else {}
        digest = digest_of(root / "run", table)
    apart = seconds.get("reading", 0) + seconds.get("segmenter", 0) + seconds.get("scoring", 0)
    size = int(np.prod(GRIDS[grid][0]))
    return {
        "grid": grid,
        "shape": GRIDS[grid][0],
        "rows": len(table),
        "whole": whole,
        **{stage: seconds.get(stage, 0.0) for stage in (*STAGES, "segmenter")},
        "overhead": whole - apart,
        "click": seconds.get("clicks", 0.0) / max(counts.get("clicks", 0), 1),
        "nothing_to_do": nothing,
        "above_image_mb": peak - before - size * 5 / 1e6,
        "scoring_once": seconds.get("scoring", 0.0) / max(counts.get("scoring", 0), 1),
        "usual": usual,
        "digest": digest,
    }


def main() -> None:
    timing.one_thread()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=["PET", "CT"])
    parser.add_argument("--steps", type=int, default=2, help="corrective clicks (default 2)")
    parser.add_argument("--alone", action="store_true", help="leave the usual ways out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="record (default results/case.json)")
    checkout_option(parser)
    given = parser.parse_args()
    sys.path[:0] = [str(c.resolve()) for c in given.checkout]
    machine = timing.machine()
    for grid in ("mini", "mini PET"):  # compiles
        measure(grid, 1, beside=False)
    rows = [measure(grid, given.steps, beside=not given.alone) for grid in given.grids]
    print(pd.json_normalize(rows).set_index("grid").T.to_string(float_format="{:.3g}".format))
    record = {"machine": machine, "date": date.today().isoformat(), "steps": given.steps, "cases": rows}
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
