"""SAM-Med3D's validation script (SegAnyPET's is the same), clicks drawn by it, against the adapter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from comparisons import common
from umdlib.images import geometry, masks
from umdlib.images.volume import LabelMap
from umdlib.prompts.disclosed import official_cube
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.preparation import network
from umdlib.segmenters.systems import sam_med3d


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
    for scene in common.scenes():
        for kind in (np.float32, np.int16) if scene.name == "flipped" else (np.float32,):
            for n in (1, 3):
                official, mine = _both(infer_utils, net, scene, kind, n)
                said = f"three structures, {n} click{'s' * (n > 1)} each, {kind.__name__}"
                yield common.Found(scene.name, "tiny, random, cube of 64", said, official, mine)


def _both(infer_utils, net, scene, kind, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of the official script and of the adapter with the script's own clicks."""
    labels, affine, folder = scene.organs, scene.affine, common.scratch()
    nib.save(nib.Nifti1Image(labels, affine), folder / "g.nii.gz")
    given = scene.saved(folder, kind)
    drawn, metas = [], []
    np.random.seed(0)  # noqa: NPY002 - what the script draws clicks from
    _official(infer_utils, net, folder, n, drawn, metas, partial(_inside, given))
    official = np.asarray(nib.load(folder / "o" / "o.nii.gz").dataobj)
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


def _inside(image, xyz_mm) -> bool:
    """Whether a world point lies in the image."""
    return geometry.nearest_voxel(image.affine, xyz_mm, image.shape) is not None


def _official(infer_utils, net, folder: Path, n: int, drawn: list, metas: list, inside) -> None:
    """Run the official validation and note the clicks it draws and the affine of each cube."""
    draw, infer, prepare = (
        infer_utils.random_sample_next_click,
        infer_utils.sam_model_infer,
        infer_utils.data_preprocess,
    )

    def noted(previous, reference):
        point, sign = draw(previous, reference)
        while not inside(common.world(metas[-1], point.reshape(3).numpy())):
            point, sign = draw(previous, reference)  # in the padding, where no user can click
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
