"""Clicks, previous mask and logits on a network's working grid, and the mask back on the image's."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.grids import Grid
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt


def prompted(
    prompt: Prompt, previous: np.ndarray | None, image: Volume, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Clicks (N, 4), see `_place`, and the previous mask (0 or 1, float32) on the working grid.

    Raises
    ------
    InputError
        No click is positive, or one lies outside the image.
    """
    given = np.array([_place(c, image, grid) for c in prompt.clicks], np.float32).reshape(-1, 4)
    if not (given[:, 3] > 0.5).any():
        raise InputError(f"The prompt for '{prompt.structure}' holds no positive click.")
    if previous is None:
        return given, np.zeros(grid.shape, np.float32)
    before = geometry.resample(previous.astype(np.uint8), image.affine, grid.affine, grid.shape, order=0)
    return given, before.astype(np.float32)


def _place(click: Click, image: Volume, grid: Grid) -> tuple[float, float, float, float]:
    """Voxel of the working grid that is nearest to a click, and its sign."""
    if geometry.nearest_voxel(image.affine, click.xyz_mm, image.shape) is None:
        point = tuple(round(float(v), 2) for v in click.xyz_mm)
        raise InputError(f"The click at {point} mm lies outside {image.name} {image.shape}.")
    ijk = np.floor(geometry.to_voxel(grid.affine, click.xyz_mm) + 0.5)
    ijk = np.clip(ijk, 0, np.array(grid.shape) - 1)
    return (*map(float, ijk), float(click.positive))


def restored(logits: np.ndarray, low: np.ndarray, grid: Grid, image: Volume) -> np.ndarray:
    """Boolean mask on the image's grid: logits interpolated linearly, above 0."""
    out = np.zeros(image.shape, bool)
    found = np.argwhere(logits > 0)
    if not len(found):
        return out
    corners = np.array(np.meshgrid(*zip(found.min(0) - 1, found.max(0) + 1, strict=True)))
    world = geometry.to_world(grid.affine, corners.reshape(3, -1).T + low)
    ijk = geometry.to_voxel(image.affine, world)
    first = np.maximum(np.floor(ijk.min(0)).astype(int), 0)
    last = np.minimum(np.ceil(ijk.max(0)).astype(int) + 1, image.shape)
    if (last <= first).any():
        return out
    mapping = np.linalg.inv(grid.affine) @ image.affine
    offset = geometry.to_voxel(grid.affine, geometry.to_world(image.affine, first)) - low
    part = scipy.ndimage.affine_transform(
        logits, mapping[:3, :3], offset, tuple(last - first), order=1, mode="nearest"
    )
    out[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = part > 0
    return out
