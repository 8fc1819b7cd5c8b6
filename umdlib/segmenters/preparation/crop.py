"""A cube around a click on a working grid, and the way back to the image's grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt


@dataclass(frozen=True)
class Crop:
    """Part of an image, averaged in blocks of whole voxels.

    Attributes
    ----------
    data
        (A, B, C) float32, block means.
    affine
        (4, 4), index of a block to world (RAS+, mm).
    start, stop
        Half-open range of image voxels along I, J, K.
    step
        Image voxels per block along I, J, K.
    shape
        Of the image, (I, J, K).
    """

    data: np.ndarray
    affine: np.ndarray
    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    step: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a block along I, J, K in mm."""
        return geometry.spacing_mm(self.affine)

    def index(self, click: Click) -> tuple[int, int, int] | None:
        """Block that contains a click; None where it lies outside the crop."""
        return geometry.nearest_voxel(self.affine, click.xyz_mm, self.data.shape)

    def distance_mm(self, xyz_mm: np.ndarray) -> np.ndarray:
        """(A, B, C) distance of every block's centre to a world point, for perpendicular axes."""
        centre = geometry.to_voxel(self.affine, xyz_mm)
        axes = [
            ((np.arange(n) - c) * s) ** 2
            for n, c, s in zip(self.data.shape, centre, self.spacing_mm, strict=True)
        ]
        return np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])

    def with_data(self, data: np.ndarray) -> Crop:
        """The same blocks with other values."""
        return replace(self, data=data)

    def own_side(self, click: Click, clicks: tuple[Click, ...]) -> np.ndarray:
        """(A, B, C) boolean: blocks nearer to `click` than to any negative click."""
        negative = [self.distance_mm(c.xyz_mm) for c in clicks if not c.positive]
        if not negative:
            return np.ones(self.data.shape, bool)
        return self.distance_mm(click.xyz_mm) < np.min(negative, axis=0)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Boolean mask (I, J, K) of the image from a mask on the blocks."""
        size = tuple(b - a for a, b in zip(self.start, self.stop, strict=True))
        inner = values
        for axis, step in enumerate(self.step):
            inner = np.repeat(inner, step, axis=axis)
        inner = inner[: size[0], : size[1], : size[2]]
        mask = np.zeros(self.shape, bool)
        mask[tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))] = inner
        return mask


def crop_around(image: Volume, xyz_mm: np.ndarray, *, reach_mm: float, block_mm: float) -> Crop:
    """The part of an image within `reach_mm` of a point along each voxel axis.

    Parameters
    ----------
    image
        The image.
    xyz_mm
        World point (RAS+, mm).
    reach_mm
        Half width of the cube.
    block_mm
        Voxels finer than this are averaged in blocks no larger than this; coarser ones are kept.
    """
    centre = geometry.nearest_voxel(image.affine, xyz_mm, image.shape)
    if centre is None:
        raise InputError(f"The click at {_tuple(xyz_mm)} mm lies outside {image.name} {image.shape}.")
    reach = [int(np.ceil(reach_mm / s)) for s in image.spacing_mm]
    start = tuple(max(c - r, 0) for c, r in zip(centre, reach, strict=True))
    stop = tuple(min(c + r + 1, n) for c, r, n in zip(centre, reach, image.shape, strict=True))
    step = tuple(max(int(block_mm / s + 0.05), 1) for s in image.spacing_mm)
    part = image.data[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    affine = _blocked(_moved(image.affine, start), step)
    return Crop(_block_means(part, step), affine, start, stop, step, image.shape)


def ball(crop: Crop, click: Click, radius_mm: float) -> np.ndarray:
    """(A, B, C) boolean: blocks within `radius_mm` of a click, at least the block that holds it."""
    inside = crop.distance_mm(click.xyz_mm) <= radius_mm
    index = crop.index(click)
    if index is not None:
        inside[index] = True
    return inside


def connected(
    image: Volume,
    prompt: Prompt,
    inside: Callable[[Crop, Click], np.ndarray],
    *,
    reach_mm: float,
    block_mm: float,
) -> np.ndarray:
    """Boolean mask (I, J, K): around each positive click the voxels `inside` that are connected to it, in one union.

    Voxels nearer to a negative click than to every positive one are taken out first, which cuts a leak.
    Empty without a positive click, or where the clicked voxel itself is not inside.
    """
    from scipy import ndimage

    mask = np.zeros(image.shape, bool)
    for click in (c for c in prompt.clicks if c.positive):
        crop = crop_around(image, click.xyz_mm, reach_mm=reach_mm, block_mm=block_mm)
        labels, _ = ndimage.label(inside(crop, click) & crop.own_side(click, prompt.clicks))
        value = labels[crop.index(click)]
        if value:
            mask |= crop.restore(labels == value)
    return mask


def _block_means(part: np.ndarray, step: tuple[int, int, int]) -> np.ndarray:
    """Means over blocks; the last block of an axis repeats the edge voxel."""
    part = np.asarray(part, np.float32)
    if step == (1, 1, 1):
        return part
    pad = [(0, -n % s) for n, s in zip(part.shape, step, strict=True)]
    part = np.pad(part, pad, mode="edge")
    a, b, c = (n // s for n, s in zip(part.shape, step, strict=True))
    return part.reshape(a, step[0], b, step[1], c, step[2]).mean(axis=(1, 3, 5))


def _moved(affine: np.ndarray, start: tuple[int, int, int]) -> np.ndarray:
    """Affine of the grid whose index 0 is `start`."""
    moved = np.array(affine, float)
    moved[:3, 3] = geometry.to_world(affine, start)
    return moved


def _blocked(affine: np.ndarray, step: tuple[int, int, int]) -> np.ndarray:
    """Affine of blocks of `step` voxels."""
    blocked = np.array(affine, float)
    blocked[:3, :3] = blocked[:3, :3] * np.asarray(step)
    blocked[:3, 3] = geometry.to_world(affine, (np.asarray(step) - 1) / 2)
    return blocked


def _tuple(xyz_mm: np.ndarray) -> tuple[float, ...]:
    """World point rounded for a message."""
    return tuple(round(float(v), 2) for v in xyz_mm)
