"""SAM-Med3D's validation script (SegAnyPET's is the same), clicks drawn by it, against the adapter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from comparisons import common
from umdlib.images import masks, volume
from umdlib.images.volume import LabelMap
from umdlib.prompts.disclosed import official_cube
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.preparation import network
from umdlib.segmenters.systems import sam_med3d

CUT = (
    "ITK cuts interpolated integers towards 0 and rounds differently at exact whole numbers "
    "(1 of 262,144 voxels of a cube)"
)
TIES = (
    "spacings of whole and half mm put centres exactly between two others; ITK and the adapter "
    "take different neighbours of such a tie, at the mask's surface only"
)


def compare(checkout: Path) -> Iterator[common.Found]:
    """Three structures, each with its own clicks and the cube around its reference, as the script."""
    sys.path.insert(0, str(checkout))
    import torchio
    from utils import infer_utils

    centre = torchio.CropOrPad._compute_center_crop_or_pad
    torchio.CropOrPad._compute_center_crop_or_pad = lambda self, subject: centre(
        self, subject, self.target_shape
    )
    with network.seeded(1):
        net = sam_med3d.build(**sam_med3d.TINY).eval()
    grids = common.AFFINES | {"round spacings": common.ROUND}
    for grid, affine in grids.items():
        for kind in (np.float32, np.int16) if grid == "flipped" else (np.float32,):
            for n in (1, 3):
                official, mine = _both(infer_utils, net, affine, kind, n)
                tolerance = {"round spacings": official.size // 350}.get(grid, 2 * (kind is np.int16))
                why = {"round spacings": TIES}.get(grid, CUT if kind is np.int16 else "")
                said = f"three structures, {n} click{'s' * (n > 1)} each, {kind.__name__}"
                yield common.Found(grid, "tiny, random, cube of 64", said, official, mine, tolerance, why)


def _both(infer_utils, net, affine, kind, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of the official script and of the adapter with the script's own clicks."""
    labels, folder = common.organs(), common.scratch()
    image = (common.noise(80, 60) + 30 * labels).astype(kind)
    nib.save(nib.Nifti1Image(labels, affine), folder / "g.nii.gz")
    common.saved(folder, image, affine)
    drawn, metas = [], []
    _official(infer_utils, net, folder, n, drawn, metas)
    official = np.asarray(nib.load(folder / "o" / "o.nii.gz").dataobj)
    given = volume.read_volume(folder / "i.nii.gz", unit="HU")
    segment = sam_med3d.SamMed3D(net, "cpu", name="tiny", size=64)
    mine = np.zeros_like(official)
    for value in (1, 2, 3):
        points = tuple(
            Click(common.world(metas[value - 1], p), s) for p, s in drawn[(value - 1) * n : value * n]
        )
        (box,) = masks.bounding_boxes(labels, [value])
        cube = official_cube(LabelMap(labels, affine), box, value, 64 * sam_med3d.SPACING_MM)
        mine[segment(given, Prompt("x", points, cube=cube))] = value
    return official, mine


def _official(infer_utils, net, folder: Path, n: int, drawn: list, metas: list) -> None:
    """Run the official validation and note the clicks it draws and the affine of each cube."""
    draw, infer, prepare = (
        infer_utils.random_sample_next_click,
        infer_utils.sam_model_infer,
        infer_utils.data_preprocess,
    )

    def noted(previous, reference):
        point, sign = draw(previous, reference)
        drawn.append((point.reshape(3).numpy(), bool(sign)))
        return point, sign

    def prepared(*args, **kwargs):
        result = prepare(*args, **kwargs)
        metas.append(result[2]["roi_subject_affine"])
        return result

    infer_utils.data_preprocess = prepared
    infer_utils.sam_model_infer = lambda *a, **k: infer(*a, prompt_generator=noted, **k)
    files = (str(folder / f) for f in ("i.nii.gz", "g.nii.gz", "o/o.nii.gz"))
    infer_utils.validate_paired_img_gt(net, *files, num_clicks=n, crop_size=64)
    infer_utils.data_preprocess, infer_utils.sam_model_infer = prepare, infer
