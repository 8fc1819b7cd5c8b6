"""A whole case at full size, stage by stage, with the loop of another harness beside it.

    python benchmarks/case.py [--grids PET CT] [--steps 2] [--out record.json]

One examination is written to a temporary folder: a phantom's label map and an image made from it. It is
scored with `threshold` and corrective clicks as `umdlib score` does, and the CPU seconds of each stage
are taken from the calls themselves. Beside it, on the same masks, the usual loop: SciPy finds the next
click, and each structure is cropped and measured by SciPy's distance maps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import clicks
import numpy as np
import pandas as pd
import phantom
import timing
from scipy import ndimage

from umdlib import evaluation, labels, prompts
from umdlib.cohort.manifest import read_cohort, write_manifest
from umdlib.evaluation import ask, quantities, run
from umdlib.evaluation.ask import peak_memory, resident_mb
from umdlib.images import volume
from umdlib.metrics import scoring

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


def usual_loop(cohort, root: Path, steps: int) -> dict[str, float]:
    """CPU seconds of the usual way with the masks that the run has kept: next click, and metrics."""
    case = cohort.cases[0]
    reference = case.read_reference()
    spacing, seconds = reference.spacing_mm, {"clicks": 0.0, "scoring": 0.0}
    for step in range(steps + 1):
        masks = evaluation.read_prediction(root, "threshold", case, step=step)
        for s in cohort.structures:
            wanted = reference.data == s.value
            start = time.process_time()
            if step < steps:
                clicks.scipy_click(wanted, masks[s.name], spacing)
            middle = time.process_time()
            scipy_scores(wanted, masks[s.name], spacing)
            seconds["clicks"] += middle - start
            seconds["scoring"] += time.process_time() - middle
    return seconds


def scipy_scores(reference: np.ndarray, prediction: np.ndarray, spacing) -> tuple[float, float] | None:
    """DSC and ASSD of two masks in the usual way: cropped, eroded to surfaces, by distance maps."""
    union = reference | prediction
    if not reference.any() or not prediction.any():
        return None
    box = ndimage.find_objects(union.astype(np.uint8))[0]
    a, b = (np.pad(m[box], 1) for m in (reference, prediction))
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
    """One record: CPU seconds by stage of a first run and of one with nothing to do, and of the usual loop."""
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
        usual = usual_loop(cohort, root / "run", steps) if beside else {"clicks": 0.0, "scoring": 0.0}
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
        "usual_click": usual["clicks"] / max(steps * len(labels.ORGANS), 1),
        "usual_scoring": usual["scoring"],
        "digest": digest,
    }


def main() -> None:
    timing.one_thread()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=["PET", "CT"])
    parser.add_argument("--steps", type=int, default=2, help="corrective clicks (default 2)")
    parser.add_argument("--alone", action="store_true", help="leave the other loop out")
    parser.add_argument("--out", type=Path, help="write the record as JSON")
    given = parser.parse_args()
    for grid in ("mini", "mini PET"):  # compiles
        measure(grid, 1, beside=False)
    rows = [measure(grid, given.steps, beside=not given.alone) for grid in given.grids]
    print(pd.DataFrame(rows).set_index("grid").T.to_string(float_format="{:.3g}".format))
    if given.out:
        given.out.write_text(json.dumps({"machine": timing.machine(), "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
