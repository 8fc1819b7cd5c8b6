"""What the papers' own protocols disclose of a reference: a cube around it, its parts in every slice."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import scipy

from umdlib.images import geometry, orientation
from umdlib.images.grids import centred_start, nearest_labels, torchio_ras
from umdlib.images.masks import Box as VoxelBox
from umdlib.images.masks import bounding_boxes
from umdlib.images.volume import LabelMap
from umdlib.prompts.prompt import Box, Click, Cube, Prompt, box_of

_GRID_MM = 1.5  # of SAM-Med3D and SegAnyPET


def crop_prompt(
    reference: LabelMap, box: VoxelBox, structure: str, value: int, side_mm: float, rng: np.random.Generator
) -> Prompt:
    """A click at a random voxel of the reference in the official cube, and the cube's centre.

    Where the cube holds no voxel of the reference (a ring around it), of the whole reference.
    """
    cube = official_cube(reference, box, value, side_mm)
    places = np.argwhere(reference.data[box] == value) + [b.start for b in box]
    inside = cube.voxels(reference.affine, reference.shape)
    within = np.all([(p >= s.start) & (p < s.stop) for p, s in zip(places.T, inside, strict=True)], axis=0)
    places = places[within] if within.any() else places
    click = _click(reference, places[rng.integers(len(places))])
    return Prompt(structure, (click,), cube=cube)


def official_cube(reference: LabelMap, box: VoxelBox, value: int, side_mm: float) -> Cube:
    """The cube that SAM-Med3D's script cuts, as TorchIO's ``CropOrPad`` with the label as its mask.

    The label is taken to a RAS grid of 1.5 mm by the nearest voxel, as TorchIO does; the cube's centre is
    that of the box around it there, half a voxel lower where the cube's faces would cut voxels.

    Raises
    ------
    InputError
        SimpleITK is not installed.
    """
    grid = torchio_ras(reference, _GRID_MM)
    found = _boxes(reference).get(value)
    if found is not None:
        low, high = (np.array([getattr(s, end) for s in found], float) for end in ("start", "stop"))
    else:  # thinner than a voxel of that grid: the middle of the image's own box
        middle = geometry.to_world(reference.affine, [(b.start + b.stop - 1) / 2 for b in box])
        low = np.floor(geometry.to_voxel(grid.affine, middle) + 0.5)
        high = low + 1
    size = round(side_mm / _GRID_MM)
    centre = centred_start(low, high, size) + (size - 1) / 2
    return Cube(side_mm, tuple(geometry.to_world(grid.affine, centre).tolist()))


# the boxes of the last reference: its structures are prompted one after the other
_last: dict[str, tuple] = {}


def _boxes(reference: LabelMap) -> dict[int, VoxelBox]:
    """Box of each value of a reference on the grid of 1.5 mm, where it has a voxel there."""
    known = _last.get("boxes")
    if known is None or known[0]() is not reference.data or not np.array_equal(known[1], reference.affine):
        data = nearest_labels(reference, _GRID_MM)
        values = range(1, int(data.max()) + 1)
        boxes = zip(values, bounding_boxes(data, values), strict=True)
        known = weakref.ref(reference.data), reference.affine, {v: b for v, b in boxes if b is not None}
        _last["boxes"] = known
    return known[2]


def slice_points(
    reference: LabelMap, box: VoxelBox, structure: str, value: int, count: int, rng: np.random.Generator
) -> Prompt:
    """`count` random pixels of each part of each axial slice; all where a part has no more."""
    clicks = []
    for _, pixels in _parts(reference, box, value):
        chosen = rng.choice(len(pixels), min(count, len(pixels)), replace=False)
        clicks += [_click(reference, ijk) for ijk in pixels[chosen]]
    return Prompt(structure, tuple(clicks), first_clicks=len(clicks))


def slice_boxes(reference: LabelMap, box: VoxelBox, structure: str, value: int) -> Prompt:
    """The smallest box around each part of each axial slice."""
    parts = [p for _, p in _parts(reference, box, value)]
    boxes: tuple[Box, ...] = tuple(box_of(reference.affine, p.min(axis=0), p.max(axis=0)) for p in parts)
    return Prompt(structure, boxes=boxes)


def _parts(reference: LabelMap, box: VoxelBox, value: int) -> Iterator[tuple[int, np.ndarray]]:
    """Axial slice (feet first) and voxels (n, 3) of each part: pixels that share an edge or a corner."""
    turn = orientation.axes_of(reference.affine)
    axis = int(np.flatnonzero(turn[:, 0] == 2)[0])
    mask = np.moveaxis(reference.data[box] == value, axis, 0)
    start = np.array([b.start for b in box])
    for n in range(len(mask))[:: int(turn[axis, 1])]:
        numbers, count = scipy.ndimage.label(mask[n], np.ones((3, 3)))
        for part in range(1, count + 1):
            voxels = np.insert(np.argwhere(numbers == part), axis, n, axis=1)
            yield n, voxels + start


def _click(reference: LabelMap, ijk: np.ndarray) -> Click:
    """A positive click at a voxel's centre."""
    return Click(tuple(geometry.to_world(reference.affine, ijk).tolist()))
