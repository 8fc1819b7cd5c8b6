"""SegVol's demo, SAT's and MedSAM2's inference scripts in their own environments, against the adapters.

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
from umdlib.images import volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.external import worker as external
from umdlib.segmenters.preparation import slices

HERE = Path(__file__).parent
SPATIAL = [32, 64, 64]
PATCH = [64, 64, 32]
MEDSAM2_SCALE = 0.4  # the network sees 512 pixels whatever the phantom has
MEDSAM2_SMALLER = [
    "++model.image_encoder.trunk.embed_dim=16",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[128,64,32,16]",
    "++model.memory_attention.num_layers=1",
]
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


def compare_medsam2(checkout: Path) -> Iterator[common.Found]:
    """A box, one click and two clicks in a slice, followed up and down; pictures turned by SimpleITK."""
    import SimpleITK as sitk

    home = external.make("medsam2", checkout=checkout)
    for scene in common.scenes(MEDSAM2_SCALE):
        folder = common.scratch()
        image = scene.saved(folder)
        grey = volume.Volume(slices.grey(image), image.affine)
        volume.write_volume(folder / "grey.nii.gz", grey)
        turned = sitk.DICOMOrient(sitk.ReadImage(str(folder / "grey.nii.gz")), "LPS")
        np.savez(folder / "lps.npz", imgs=sitk.GetArrayFromImage(turned).astype(np.uint8))
        cases = _medsam2_cases(scene, image, turned)
        given = [{k: v for k, v in case.items() if k != "prompt"} for case in cases]
        _official(home, "medsam2_infer.py", checkout, folder, MEDSAM2_SMALLER, given)
        checkpoint = {"path": str(folder / "w.pt"), "sha256": ""}
        segment = external.worker_of(
            "medsam2", {"model": checkpoint}, settings={"overrides": MEDSAM2_SMALLER}
        )
        for number, case in enumerate(cases):
            theirs = sitk.GetImageFromArray(np.load(folder / f"{number}.npy").astype(np.uint8))
            theirs.CopyInformation(turned)
            sitk.WriteImage(theirs, str(folder / "m.nii.gz"))
            official = volume.onto_grid(volume.read_label_map(folder / "m.nii.gz"), image).data > 0
            network = f"four thin stages, random, 512 pixels; phantom x {MEDSAM2_SCALE}"
            yield common.Found(scene.name, network, case["said"], official, segment(image, case["prompt"]))
        segment.stop()


def _medsam2_cases(scene, image, turned) -> list[dict]:
    """Descriptions, slices and pixels as SimpleITK finds them in the turned image, and the adapter's prompts."""
    import SimpleITK as sitk

    own = sitk.GetImageFromArray((scene.organs == 2).astype(np.uint8).T)
    own.CopyInformation(sitk.ReadImage(str(image.name)))
    z, y, x = np.where(sitk.GetArrayFromImage(sitk.DICOMOrient(own, "LPS")))
    middle = (int(z.min()) + int(z.max())) // 2
    box = [int(x.min()), int(y.min()), int(x.max()), int(y.max())]
    organ = common.box_around(scene.affine, scene.organs == 2)
    found = [{"said": "the box of an organ", "slice": middle, "box": box, "points": None}]
    found[0]["prompt"] = Prompt("x", box=organ)
    inside = [(int(a), int(b)) for a, b in zip(x[z == middle], y[z == middle], strict=True)]
    for said, points in (("1 click", inside[:1]), ("2 clicks in a slice", [inside[0], inside[-1]])):
        places = [turned.TransformIndexToPhysicalPoint((a, b, middle)) for a, b in points]
        clicks = tuple(Click((-p[0], -p[1], p[2])) for p in places)
        case = {"said": said, "slice": middle, "box": None, "points": points}
        found.append(case | {"prompt": Prompt("x", clicks)})
    return found


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
