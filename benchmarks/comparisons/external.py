"""SegVol's demo and SAT's inference script in their own environments, against the adapters.

Each official run is a process of its own that starts the official ``main`` or its functions. Where
there is no GPU, ``.cuda()`` does nothing, and SAT runs as one process without NCCL. Windows are
smaller than the official ones, so that both fit a small machine.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from comparisons import common
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.external import worker as external

HERE = Path(__file__).parent
SPATIAL = [32, 64, 64]
PATCH = [64, 64, 32]
SAT_SCALE = 0.6  # a network of this size takes 8 CPU seconds for a patch
WORDS = ("liver", "left kidney", "esophagus")
TIED = (
    "a slice that lies exactly between two of the processed grid takes one or the other by the last "
    "bit of an affine; only voxels there may differ"
)


def compare_segvol(checkout: Path) -> Iterator[common.Found]:
    """One point, three points, a box, each with and without text; several windows, on one grid one."""
    home = external.make("segvol", checkout=checkout)
    for scale, scene in _sized():
        folder = common.scratch()
        image = scene.saved(folder)
        organ = (scene.organs == 2).astype(np.uint8)
        nib.save(nib.Nifti1Image(organ, scene.affine), folder / "g.nii.gz")
        _official(home, "segvol_demo.py", checkout, folder, SPATIAL)
        checkpoint = {"path": str(folder / "w.pth"), "sha256": ""}
        segment = external.worker_of("segvol", {"model": checkpoint}, settings={"spatial_size": SPATIAL})
        for case in json.loads((folder / "cases.json").read_text("utf-8")):
            theirs = np.asarray(nib.load(folder / case["mask"]).dataobj) > 0
            clicks = tuple(Click(common.world(scene.affine, v), s > 0) for v, s in case["voxels"])
            box = common.box_around(scene.affine, organ > 0) if case["box"] else None
            prompt = Prompt("liver", clicks, box, text=case["text"], seed=case["seed"])
            network = "full size, random, windows of 32 x 64 x 64" + (f", phantom x {scale}" * (scale != 1))
            yield common.Found(scene.name, network, case["said"], theirs, segment(image, prompt))
        segment.stop()
        (folder / "w.pth").unlink()


def _sized() -> Iterator[tuple[float, common.Scene]]:
    """The first two scenes larger than a window, the others as they are."""
    for large, small in zip(common.scenes(1.6), common.scenes(), strict=True):
        big = small.name in ("flipped", "oblique 25 degrees")
        yield (1.6, large) if big else (1.0, small)


def compare_sat(checkout: Path) -> Iterator[common.Found]:
    """Three texts together, as CT, MR and PET by the unit; the official files carry no grid of their own."""
    home = external.make("sat_pro", checkout=checkout)
    for scene in common.scenes(SAT_SCALE):
        folder, modality = common.scratch(), external.MODALITY[scene.unit]
        image = scene.saved(folder)
        _official(home, "sat_inference.py", checkout, folder, PATCH, modality)
        given = {
            role: {"path": str(folder / file), "sha256": ""}
            for role, file in (("model", "w.pth"), ("text_encoder", "t.pth"))
        }
        segment = external.worker_of(
            "sat_pro",
            given,
            settings={"patch_size": PATCH, "backbone": "UNET"},
            together=("liver", "kidney_left", "esophagus"),
            takes_text=True,
        )
        for name, word in zip(("liver", "kidney_left", "esophagus"), WORDS, strict=True):
            raw = folder / "out" / "d" / "seg_i" / f"{word}.nii.gz"
            theirs, below, above = (
                _home(raw, folder / "grid.nii.gz", image, nudge) for nudge in (0, -1e-4, 1e-4)
            )
            tied = int((below != above).sum())
            yield common.Found(
                scene.name,
                f"Nano's size, random, patches of 64 x 64 x 32; random text encoder; phantom x {SAT_SCALE}",
                f"text '{word}' as {modality}",
                theirs,
                segment(image, Prompt(name)),
                tied,
                TIED if tied else "",
            )
        segment.stop()
        (folder / "w.pth").unlink()


def _official(home: Path, script: str, checkout: Path, folder: Path, *given) -> None:
    """Run one of the scripts beside this file in a system's environment."""
    command = [
        str(home / "venv" / "bin" / "python"),
        str(HERE / "official" / script),
        str(checkout),
        str(folder),
        *(json.dumps(g) for g in given),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=dict(os.environ) | {"PYTHONNOUSERSITE": "1"},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _home(raw: Path, grid: Path, image, nudge: float = 0) -> np.ndarray:
    """An official mask on the image's grid by SciPy, its true affine taken from `grid`.

    `grid` is the processed image with MONAI's affine. A voxel reaches half its size beyond its
    centre. `nudge` moves all places by a part of a voxel, to see which of them are ties.
    """
    mask = np.asarray(nib.load(raw).dataobj).astype(np.uint8)
    mapping = np.linalg.inv(nib.load(grid).affine) @ image.affine
    return (
        ndimage.affine_transform(
            mask, mapping[:3, :3], mapping[:3, 3] + nudge, image.shape, order=0, mode="grid-constant"
        )
        > 0
    )
