"""SAM's predictor, MedSAM's script and LiteMedSAM's challenge script, against the adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from comparisons import common
from umdlib.images import volume
from umdlib.labels import Structure
from umdlib.prompts.drawing import pair_prompts
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.preparation import slices
from umdlib.segmenters.systems import litemedsam, sam
from umdlib.weights import reading as weights

FIXED_POINT = "OpenCV enlarges 8-bit pictures in fixed point: single pixels differ by one grey level of 255"


def compare_sam() -> Iterator[common.Found]:
    """An organ's box through its slices, then the clicks of two slices."""
    from segment_anything import SamPredictor

    for grid, image, stack, prompt, where, box in _scenes():
        segment, theirs = sam.SAM_B.tiny(), np.zeros(stack.data.shape, bool)
        predictor = SamPredictor(segment._net)
        for z in where:
            predictor.set_image(np.repeat(stack.data[z][:, :, None], 3, axis=2))
            theirs[z] = predictor.predict(box=np.array(box), multimask_output=False)[0][0]
        network = "tiny, random, 64 pixels"
        yield common.Found(grid, network, "the box of an organ", stack.back(theirs), segment(image, prompt))
        size = np.array(stack.data.shape)
        z0, z1 = int(size[0] * 0.3), int(size[0] * 0.5)
        shares = {z0: [(0.4, 0.4, 1)], z1: [(0.3, 0.2, 1), (0.7, 0.5, 1), (0.1, 0.6, 0)]}
        points = {
            z: [(int(a * size[2]), int(b * size[1]), s) for a, b, s in given] for z, given in shares.items()
        }
        theirs = np.zeros(stack.data.shape, bool)
        for z, given in points.items():
            predictor.set_image(np.repeat(stack.data[z][:, :, None], 3, axis=2))
            xy, signs = np.array(given, float)[:, :2], np.array(given, int)[:, 2]
            theirs[z] = predictor.predict(xy, signs, multimask_output=False)[0][0]
        given = tuple(
            Click(common.world(stack.affine, (x, y, z)), bool(s))
            for z, several in points.items()
            for x, y, s in several
        )
        mine = segment(image, Prompt("x", given, first_clicks=len(given)))
        yield common.Found(
            grid, network, "1 point in a slice, 3 in another, one negative", stack.back(theirs), mine
        )


def compare_medsam(checkout: Path) -> Iterator[common.Found]:
    """An organ's box through its slices, one picture at a time as the script does."""
    from skimage import transform

    scope = {"torch": torch, "F": torch.nn.functional, "np": np}
    common.functions(checkout / "MedSAM_Inference.py", {"medsam_inference"}, scope)
    for grid, image, stack, prompt, where, box in _scenes():
        segment, theirs, side = sam.MEDSAM.tiny(), np.zeros(stack.data.shape, bool), 64
        for z in where:
            rgb = np.repeat(stack.data[z][:, :, None], 3, axis=-1)
            high, wide, _ = rgb.shape
            square = transform.resize(
                rgb, (side, side), order=3, preserve_range=True, anti_aliasing=True
            ).astype(np.uint8)
            unit = (square - square.min()) / np.clip(np.ptp(square), 1e-8, None)
            with torch.no_grad():
                code = segment._net.image_encoder(torch.tensor(unit).float().permute(2, 0, 1)[None])
            corners = np.array([box]) / np.array([wide, high, wide, high]) * side
            theirs[z] = scope["medsam_inference"](segment._net, code, corners, high, wide) > 0
        yield common.Found(
            grid, "tiny, random, 64 pixels", "the box of an organ", stack.back(theirs), segment(image, prompt)
        )


def compare_litemedsam(checkout: Path) -> Iterator[common.Found]:
    """A 3D box, from its middle slice outwards, with the published weights."""
    import cv2

    net = litemedsam.build()
    weights.load_strict(net, litemedsam.FILE, "litemedsam")
    saved = {}
    for grid, image, stack, prompt, where, box in _scenes():

        class Arrays:
            """NumPy whose files are in memory."""

            def __getattr__(self, name):
                return getattr(np, name)

            def load(self, *args, stack=stack, box=box, where=where, **kwargs):
                corners = [[box[0], box[1], where[0], box[2], box[3], where[-1]]]
                return {"imgs": stack.data, "spacing": None, "boxes": np.array(corners)}

            def savez_compressed(self, *args, segs):
                saved["segs"] = segs

        scope = {
            "torch": torch,
            "F": torch.nn.functional,
            "np": Arrays(),
            "cv2": cv2,
            "device": "cpu",
            "medsam_lite_model": net.eval(),
            "basename": str,
            "join": lambda *a: a[-1],
            "pred_save_dir": "",
            "save_overlay": False,
        }
        common.functions(
            checkout / "CVPR24_LiteMedSAM_infer.py",
            {
                "resize_longest_side",
                "pad_image",
                "get_bbox256",
                "resize_box_to_256",
                "medsam_inference",
                "MedSAM_infer_npz_3D",
            },
            scope,
        )
        scope["MedSAM_infer_npz_3D"]("3D_phantom.npz")
        mine = litemedsam.LiteMedSAM(net, "cpu")(image, prompt)
        yield common.Found(
            grid,
            "published weights",
            "a 3D box, from its middle slice outwards",
            stack.back(saved["segs"] > 0),
            mine,
            8,
            FIXED_POINT,
        )


def _scenes():
    """Name of the grid, image, its axial pictures, the prompt of an organ's box, its slices and pixels.

    The prompt is drawn by the protocol in the world; slices and pixels are the smallest and largest
    indices of the organ in the pictures, as MedSAM's scripts take them.
    """
    for scene in common.scenes():
        image = volume.Volume(scene.data, scene.affine, scene.unit)
        stack = slices.axial(volume.Volume(slices.grey(image), scene.affine))
        organ = Structure(1, "organ", "Organ", "Or", "#000000")
        reference = volume.LabelMap(scene.organs, scene.affine)
        prompt = pair_prompts({"CT": reference}, (organ,), protocol="box")["organ"]
        pixels = slices.oriented(scene.organs == 1, scene.affine, "LPS")[0].T
        z, y, x = np.where(pixels)
        box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
        yield scene.name, image, stack, prompt, range(z.min(), z.max() + 1), box
