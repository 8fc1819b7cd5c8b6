"""The cubes of an image that a prompt opens for a system that sees one cube at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.grids import Grid, centred_start, torchio_ras, window
from umdlib.images.masks import deepest_voxel
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Cube, Prompt

IJK = tuple[int, int, int]
Clicks = Sequence[tuple[IJK, bool]]  # voxel of the cube, sign
Answer = Callable[[IJK, Clicks], np.ndarray]  # first voxel of a cube, clicks in it -> its boolean mask


@dataclass(frozen=True)
class Answered:
    """The mask on a part of the working grid, and the first voxels of the cubes that it came from."""

    mask: np.ndarray
    start: IJK
    starts: tuple[IJK, ...]

    def grid(self, whole: Grid) -> Grid:
        """Grid of `mask`."""
        return Grid(self.mask.shape, window(whole, np.array(self.start), 1).affine)


def predicted(image: Volume, grid: Grid, prompt: Prompt, size: int, answer: Answer) -> Answered:
    """What a system predicts in the cubes of a prompt.

    The first cube lies where the protocol discloses, else around the first positive click. A later
    click outside all cubes opens one around itself if it is positive; a negative one there asks for
    nothing, since the mask is empty outside the cubes. Each cube is prompted with all the clicks in it.
    Where the protocol slides, a cube whose mask reaches a face that is not the image's opens the one
    half over that face, prompted with the clicks in it or, without a positive one, with the deepest voxel
    of the mask found so far in it. A voxel in several cubes is that of the cube with the nearest centre,
    the earlier on ties.

    Parameters
    ----------
    image
        The image; a click must lie in it.
    grid
        The working grid.
    size
        Voxels along the edge of a cube.
    answer
        The system.

    Raises
    ------
    InputError
        No click is positive, or one lies outside the image and all cubes.
    """
    starts = first_cubes(image, grid, prompt, size)
    parts = {start: answer(start, _inside(grid, start, size, prompt)) for start in starts}
    if prompt.cube is not None and prompt.cube.slides:
        _slide(parts, grid, prompt, size, answer)
    return _joined(parts, size)


def reach(image: Volume, prompt: Prompt, wanted: np.ndarray, *, spacing_mm: float, size: int) -> np.ndarray:
    """Boolean (I, J, K): voxels that lie in a cube when the system is right in all of them.

    What is outside cannot be found however good the network is.

    Parameters
    ----------
    image
        The image.
    prompt
        The prompt.
    wanted
        Boolean mask (I, J, K) that the system would be right with.
    spacing_mm, size
        Of the system's grid, and of its cubes in voxels.
    """
    grid = torchio_ras(image, spacing_mm)
    label = wanted.astype(np.uint8)

    def right(start: IJK, clicks: Clicks) -> np.ndarray:
        affine = window(grid, np.array(start), size).affine
        return geometry.resample(label, image.affine, affine, (size,) * 3, order=0).astype(bool)

    slides = prompt.cube is not None and prompt.cube.slides
    starts = (
        predicted(image, grid, prompt, size, right).starts
        if slides
        else first_cubes(image, grid, prompt, size)
    )
    seen = np.zeros(image.shape, bool)
    for start in starts:
        centre = geometry.to_world(grid.affine, np.array(start) + (size - 1) / 2)
        seen[Cube(size * spacing_mm, tuple(centre)).voxels(image.affine, image.shape)] = True
    return seen


def first_cubes(image: Volume, grid: Grid, prompt: Prompt, size: int) -> list[IJK]:
    """First voxels of the cubes that clicks and protocol open, before any that a mask opens.

    Raises
    ------
    InputError
        No click is positive, or one lies outside the image and all cubes.
    """
    if not any(c.positive for c in prompt.clicks):
        raise InputError(f"The prompt for '{prompt.structure}' holds no positive click.")
    low = _disclosed(grid, prompt, size)
    starts = [] if low is None else [_ijk(np.floor(low + 0.5))]
    for click in prompt.clicks:
        if any(_inside(grid, start, size, replace(prompt, clicks=(click,))) for start in starts):
            continue
        # a cube may reach beyond the image, and the official script draws clicks there
        if geometry.nearest_voxel(image.affine, click.xyz_mm, image.shape) is None:
            raise InputError(f"The click at {click.xyz_mm} mm lies outside {image.name} {image.shape}.")
        if click.positive:
            ijk = np.floor(geometry.to_voxel(grid.affine, click.xyz_mm) + 0.5)
            starts.append(_ijk(centred_start(ijk, ijk + 1, size)))
    return [s for s in starts if any(sign for _, sign in _inside(grid, s, size, prompt))]


def _ijk(index: np.ndarray) -> IJK:
    """An index as plain integers."""
    return tuple(int(v) for v in index)


def _disclosed(grid: Grid, prompt: Prompt, size: int) -> np.ndarray | None:
    """First voxel (3,), not rounded, of the cube that the protocol discloses; None where it does not."""
    if prompt.cube is None or prompt.cube.centre_mm is None:
        return None
    return geometry.to_voxel(grid.affine, prompt.cube.centre_mm) - (size - 1) / 2


def _inside(grid: Grid, start: IJK, size: int, prompt: Prompt) -> Clicks:
    """The clicks in a cube, in the order given.

    A disclosed cube moves by up to half a voxel on another image's grid: a click at its face is then
    the voxel next to it.
    """
    low, found = _disclosed(grid, prompt, size), []
    disclosed = low is not None and _ijk(np.floor(low + 0.5)) == start
    for click in prompt.clicks:
        place = geometry.to_voxel(grid.affine, click.xyz_mm)
        ijk = np.floor(place + 0.5) - start
        if disclosed and (np.abs(place - low - (size - 1) / 2) <= size / 2).all():
            ijk = np.clip(ijk, 0, size - 1)
        if (ijk >= 0).all() and (ijk < size).all():
            found.append((_ijk(ijk), click.positive))
    return found


def _slide(parts: dict[IJK, np.ndarray], grid: Grid, prompt: Prompt, size: int, answer: Answer) -> None:
    """Open the cubes, each half over another, into which the mask reaches; adds to `parts`."""
    waiting = list(parts)
    while waiting:
        start = waiting.pop(0)
        for axis, forwards in ((a, f) for a in range(3) for f in (False, True)):
            step = size // 2 if forwards else -(size // 2)
            beyond = start[axis] + size < grid.shape[axis] if forwards else start[axis] > 0
            following = tuple(s + step * (a == axis) for a, s in enumerate(start))
            face = parts[start].take(-1 if forwards else 0, axis)
            if not beyond or following in parts or not face.any():
                continue
            clicks = _inside(grid, following, size, prompt)
            if not any(sign for _, sign in clicks):
                known = _shifted(parts[start], axis, step)
                clicks = [(deepest_voxel(known, (1.0, 1.0, 1.0)), True), *clicks]
            parts[following] = answer(following, clicks)
            waiting.append(following)


def _shifted(mask: np.ndarray, axis: int, step: int) -> np.ndarray:
    """What a cube's mask says of the cube that begins `step` voxels on along an axis."""
    moved = np.roll(mask, -step, axis)
    cut = [slice(None)] * 3
    cut[axis] = slice(mask.shape[axis] - step, None) if step > 0 else slice(0, -step)
    moved[tuple(cut)] = False
    return moved


def _joined(parts: dict[IJK, np.ndarray], size: int) -> Answered:
    """One mask of all cubes."""
    starts = tuple(parts)
    if len(starts) == 1:
        return Answered(parts[starts[0]], starts[0], starts)
    low = np.min(starts, axis=0)
    shape = np.max(starts, axis=0) + size - low
    mask, nearest = np.zeros(shape, bool), np.full(shape, size, np.int16)
    away = np.abs(2 * np.arange(size) - size + 1).astype(np.int16) // 2
    apart = np.maximum(np.maximum(away[:, None, None], away[None, :, None]), away)
    for start, part in parts.items():
        box = tuple(slice(s, s + size) for s in (np.array(start) - low).tolist())
        better = apart < nearest[box]
        mask[box][better] = part[better]
        nearest[box][better] = apart[better]
    return Answered(mask, _ijk(low), starts)
