"""What the papers' own protocols tell of a reference: a cube around it, its parts in every slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy

from umdlib.images import geometry, orientation
from umdlib.images.grids import centred_start, torchio_ras
from umdlib.images.masks import Box as VoxelBox
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

    The label is taken to a RAS grid of 1.5 mm by the nearest voxel; the cube's centre is that of the
    box around it there, half a voxel lower where the cube's faces would cut voxels.
    """
    grid = torchio_ras(reference, _GRID_MM)
    matrix = np.linalg.inv(reference.affine) @ grid.affine
    own_axis = np.argmax(np.abs(matrix[:3, :3]), axis=1)  # the grid's axis along each of the image's
    taken, kept = [], []
    for axis, along in enumerate(own_axis):
        index = np.arange(grid.shape[along])
        nearest = np.floor(matrix[axis, along] * index + matrix[axis, 3] + 0.5).astype(int)
        inside = (nearest >= box[axis].start) & (nearest < box[axis].stop)
        taken.append(nearest[inside])
        kept.append(index[inside])
    mask = reference.data[np.ix_(*taken)] == value
    low, high = np.zeros(3), np.zeros(3)
    for axis, along in enumerate(own_axis):
        found = kept[axis][mask.any(axis=tuple(a for a in range(3) if a != axis))]
        if found.size:
            low[along], high[along] = found.min(), found.max() + 1
        else:  # thinner than a voxel of that grid: the middle of the image's own box
            middle = [(b.start + b.stop - 1) / 2 for b in box]
            low[along] = np.floor(
                geometry.to_voxel(grid.affine, geometry.to_world(reference.affine, middle))[along] + 0.5
            )
            high[along] = low[along] + 1
    size = round(side_mm / _GRID_MM)
    centre = centred_start(low, high, size) + (size - 1) / 2
    return Cube(side_mm, tuple(geometry.to_world(grid.affine, centre).tolist()))


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
