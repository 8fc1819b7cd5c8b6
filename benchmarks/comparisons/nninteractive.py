"""nnInteractive's own session on arrays in SimpleITK's order, against the adapter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
import torch

from comparisons import common
from umdlib.images import geometry
from umdlib.prompts.initial import initial_mask
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.preparation.nnunet import tiny_plans
from umdlib.segmenters.systems import nninteractive

NETWORK = "tiny, random, patch of 32, AutoZoom off"
ZOOMING = "above the mean of its patch of 64, AutoZoom on, seeded"


class AboveThePatch(torch.nn.Module):
    """A stand-in whose answer depends on its patch, so that AutoZoom's random patches show."""

    def forward(self, x):
        """Logits of background and object."""
        level = x[:, :1] - x[:, :1].mean((2, 3, 4), keepdim=True)
        return torch.cat([-level, level], 1)


def compare() -> Iterator[common.Found]:
    """Clicks each predicted in its turn, box, lasso, mask, scribble, and AutoZoom under other global seeds."""
    for scene in common.scenes():
        folder = common.scratch()
        image = scene.saved(folder)
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "i.nii.gz")))
        session, segment = nninteractive.tiny_session(), nninteractive.tiny()
        for said, given in scene.clicks().items():
            theirs = _official(session, array, given)
            mine = segment(image, Prompt("x", scene.prompted(given)))
            yield common.Found(scene.name, NETWORK, said, theirs, mine)
        for said, prompt, steps in _first_prompts(scene):
            yield common.Found(
                scene.name, NETWORK, said, _stepped(session, array, steps), segment(image, prompt)
            )
        if scene.name == "flipped":
            yield _scribble(scene, image, array)
            yield from _zoomed(scene, image, array)


def _official(session, array: np.ndarray, given) -> np.ndarray:
    """Mask (I, J, K) of the package's session as its readme uses it."""
    return _stepped(session, array, [("add_point_interaction", v[::-1], sign) for v, sign in given])


def _first_prompts(scene) -> Iterator[tuple[str, Prompt, list]]:
    """A description, the adapter's prompt, and the session's calls in voxels (K, J, I) of the same."""
    organ = scene.organs == 1  # a larger one makes the package zoom out, for which a patch of 32 is too small
    low, high = (f(np.argwhere(organ), axis=0) for f in (np.min, np.max))
    box = common.box_around(scene.affine, organ)
    axial = int(np.argmax(np.abs(scene.affine[2, :3]) / np.linalg.norm(scene.affine[:3, :3], axis=0)))
    flat = [[int(a), int(b) + 1] for a, b in zip(low, high, strict=True)]
    middle = (int(low[axial]) + int(high[axial])) // 2
    flat[axial] = [middle, middle + 1]
    boxed = ("add_bbox_interaction", flat[::-1], True)
    voxel = tuple(int(n) for n in np.argwhere(organ)[0])
    clicked = ("add_point_interaction", voxel[::-1], False)
    click = scene.prompted([(voxel, False)])
    yield "a box", Prompt("x", box=box), [boxed]
    yield "a box and a negative click", Prompt("x", click, box), [boxed, clicked]
    painted, line = _diamond(scene, middle, axial)
    yield "a lasso", Prompt("x", lasso=line), [("add_lasso_interaction", painted.T, True)]
    mask = initial_mask(organ, scene.affine)
    seg = organ.T.astype(np.uint8)
    yield "an initial mask", Prompt("x", initial=mask), [("add_initial_seg_interaction", seg, True)]
    started = [("add_initial_seg_interaction", seg, False), clicked]
    yield "an initial mask and a negative click", Prompt("x", click, initial=mask), started


def _diamond(scene, index: int, axis: int) -> tuple[np.ndarray, tuple]:
    """A diamond of radius 3.5 in a slice: painted by its formula, and its four corners in the world."""
    middle = np.insert(np.delete(np.array(scene.data.shape) // 2, axis), axis, index)
    away = np.abs(np.moveaxis(np.indices(scene.data.shape), 0, 3) - middle)
    painted = (away.sum(axis=3) < 3.5) & (away[..., axis] == 0)
    one, two = (3.5 * np.eye(3)[a] for a in range(3) if a != axis)
    corners = [middle + one, middle + two, middle - one, middle - two]
    return painted.astype(np.uint8), tuple(common.world(scene.affine, c) for c in corners)


def _stepped(session, array: np.ndarray, steps) -> np.ndarray:
    """Mask (I, J, K) of the package's session after its calls, one by one."""
    buffer = np.zeros(array.shape, np.uint8)
    session.set_image(array[None])
    session.set_target_buffer(buffer)
    session.reset_interactions()
    for name, *given in steps:
        getattr(session, name)(*given)
    return buffer.T > 0


def _scribble(scene, image, array) -> common.Found:
    """A stroke of ten voxels, two thick."""
    session, segment = nninteractive.tiny_session(), nninteractive.tiny()
    buffer, painted = np.zeros(array.shape, np.uint8), np.zeros(image.shape, np.uint8)
    session.set_image(array[None])
    session.set_target_buffer(buffer)
    (i, j, k), reach = (20, 25, 14), 4
    painted[i - reach : i + reach + 2, j : j + 2, k : k + 2] = 1
    session.add_scribble_interaction(painted.T, True)
    ends = [(i - reach + 1, j + 1, k + 1), (i + reach + 1, j + 1, k + 1)]
    line = tuple(tuple(xyz) for xyz in geometry.to_world(scene.affine, ends).tolist())
    mine = segment(image, Prompt("x", scribble=line))
    return common.Found(scene.name, NETWORK, "a scribble", buffer.T > 0, mine)


def _zoomed(scene, image, array) -> Iterator[common.Found]:
    """The package with its generator at the adapter's seed, the adapter under others."""
    plans = tiny_plans()
    plans["configurations"]["tiny"]["patch_size"] = [64] * 3
    given = scene.clicks()["1 click"]

    def session():
        made = nninteractive.random_session(plans, autozoom=True)
        made.network = AboveThePatch()
        return made

    np.random.seed(nninteractive.SEED)  # noqa: NPY002 - what the package draws from
    theirs = _official(session(), array, given)
    for seed in (1, 2, 3):
        np.random.seed(seed)  # noqa: NPY002
        mine = nninteractive.NnInteractive(session())(image, Prompt("x", scene.prompted(given)))
        yield common.Found(scene.name, ZOOMING, f"1 click, global seed {seed}", theirs, mine)
