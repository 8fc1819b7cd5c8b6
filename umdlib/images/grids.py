"""One isotropic RAS patch of a volume and the way back, on TorchIO's grids."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from umdlib.images import geometry
from umdlib.images.volume import Volume


@dataclass(frozen=True)
class Grid:
    """Shape and affine of a voxel grid."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def isotropic_ras(image: Volume, spacing_mm: float) -> Grid:
    """The whole image's grid after TorchIO's ``Resample`` and ``ToCanonical``.

    The new grid has the old one's directions and centre and ``floor(extent / spacing)`` voxels;
    its axes are then permuted and flipped to come closest to RAS.
    """
    old = np.array(image.spacing_mm)
    shape = np.floor(np.array(image.shape) * old / spacing_mm + 1e-9).astype(int)
    shape = np.maximum(shape, 1)
    affine = np.eye(4)
    affine[:3, :3] = image.affine[:3, :3] / old * spacing_mm
    centre = geometry.to_world(image.affine, (np.array(image.shape) - 1) / 2)
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    turn = nib.orientations.io_orientation(affine)
    turned = tuple(int(shape[np.flatnonzero(turn[:, 0] == axis)[0]]) for axis in range(3))
    return Grid(turned, affine @ nib.orientations.inv_ornt_aff(turn, tuple(shape)))


def window(grid: Grid, start: np.ndarray, size: int) -> Grid:
    """The cube of `size` voxels whose index 0 is `start` of `grid`; it may reach outside."""
    affine = grid.affine.copy()
    affine[:3, 3] = geometry.to_world(grid.affine, start)
    return Grid((size, size, size), affine)


def centred_start(low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """First index of a cube centred on the half-open box [low, high), as TorchIO's CropOrPad.

    A centre that lies on no suitable half voxel is moved half a voxel down. On an even cube this
    is the centre voxel itself for a box of one voxel.

    Examples
    --------
    >>> centred_start(np.array([10, 10, 10]), np.array([20, 21, 11]), 4).tolist()
    [13, 13, 8]
    """
    centre = (np.asarray(low) + np.asarray(high)) / 2
    odd = (centre % 1 == 0) != (size % 2 == 0)
    return np.floor(np.where(odd, centre - 0.5, centre) - size / 2).astype(int)


def pull(image: Volume, grid: Grid, target: Grid, start: np.ndarray) -> np.ndarray:
    """(N, N, N) float32: linear interpolation in `target`, 0 outside `grid`.

    Whole numbers stay whole (cut towards 0), as ITK keeps the type of the file.
    """
    inside = [
        slice(max(-s, 0), min(n - s, t)) for s, n, t in zip(start, grid.shape, target.shape, strict=True)
    ]
    values = np.zeros(target.shape, np.float32)
    size = tuple(max(s.stop - s.start, 0) for s in inside)
    if 0 in size:
        return values
    first = geometry.to_world(target.affine, [s.start for s in inside])
    mapping = np.linalg.inv(image.affine)
    matrix = mapping[:3, :3] @ target.affine[:3, :3]
    offset = geometry.to_voxel(image.affine, first)
    part = ndimage.affine_transform(
        np.asarray(image.data, np.float64), matrix, offset, size, order=1, mode="nearest"
    )
    if np.issubdtype(image.data.dtype, np.integer):
        part = np.trunc(part)
    values[tuple(inside)] = part
    return values


def push(mask: np.ndarray, source: Grid, image: Volume) -> np.ndarray:
    """Boolean mask on the image's grid: at each of its voxels the nearest one of the patch."""
    out = np.zeros(image.shape, bool)
    box = _reach(source, image)
    if box is None:
        return out
    axes = [np.arange(low, high) for low, high in box]
    matrix = np.linalg.inv(source.affine) @ image.affine
    index = [
        matrix[a, 0] * axes[0][:, None, None]
        + matrix[a, 1] * axes[1][None, :, None]
        + matrix[a, 2] * axes[2][None, None, :]
        + matrix[a, 3]
        for a in range(3)
    ]
    nearest = [np.floor(i + 0.5).astype(np.int32) for i in index]
    valid = np.logical_and.reduce([(n >= 0) & (n < s) for n, s in zip(nearest, mask.shape, strict=True)])
    part = np.zeros(valid.shape, bool)
    part[valid] = mask[tuple(n[valid] for n in nearest)]
    out[tuple(slice(low, high) for low, high in box)] = part
    return out


def _reach(source: Grid, image: Volume) -> list[tuple[int, int]] | None:
    """Half-open range of the image's voxels that can lie in `source`; None if there is none."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in source.shape])).reshape(3, -1).T
    ijk = geometry.to_voxel(image.affine, geometry.to_world(source.affine, corners))
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, image.shape)
    return None if (high <= low).any() else list(zip(low.tolist(), high.tolist(), strict=True))
