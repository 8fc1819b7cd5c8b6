"""Isotropic RAS grids of a volume, cubes of them, and the way back of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry, orientation
from umdlib.images.volume import LabelMap, Volume


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
    return _canonical(affine, shape)


def torchio_ras(image: Volume | LabelMap, spacing_mm: float) -> Grid:
    """The grid of `isotropic_ras` to the last bit of TorchIO and ITK, from spacings as they are stored.

    What lies exactly between two voxels falls to one or the other by that bit.
    """
    affine = np.asarray(image.affine, float)
    old = np.sqrt(np.sum(affine[:3, :3] * affine[:3, :3], axis=0))
    direction, origin = _LPS[:, None] * (affine[:3, :3] / old), _LPS * affine[:3, 3]
    last = origin
    for axis in range(3):  # in ITK's order of sums
        last = last + direction[:, axis] * old[axis] * (image.shape[axis] - 1)
    shape = np.where(np.array(image.shape) == 1, 1, np.floor(np.array(image.shape) * old / spacing_mm))
    shape = np.maximum(shape, 1).astype(int)
    new = np.eye(4)
    new[:3, :3] = _LPS[:, None] * (direction * spacing_mm)
    new[:3, 3] = _LPS * ((last + origin) / 2 - direction @ ((shape - 1) / 2 * spacing_mm))
    return _canonical(new, shape)


def nearest_labels(labels: LabelMap, spacing_mm: float) -> np.ndarray:
    """Label values (A, B, C) on the grid of `torchio_ras`, each of the nearest voxel as TorchIO takes it.

    By SimpleITK with TorchIO's own steps: which of two voxels is nearest, where a place lies exactly
    between them, is decided by the last bit of ITK's sums, which are not repeated here.

    Raises
    ------
    InputError
        SimpleITK is not installed.
    """
    try:
        import SimpleITK as sitk
    except ImportError:
        raise InputError(
            "The cube of the official script is found with SimpleITK, which is not installed: "
            'pip install "umdlib[formats]".'
        ) from None
    affine = np.asarray(labels.affine, float)
    old = np.sqrt(np.sum(affine[:3, :3] * affine[:3, :3], axis=0))
    image = sitk.GetImageFromArray(np.asarray(labels.data).T)
    image.SetOrigin((_LPS * affine[:3, 3]).tolist())
    image.SetSpacing(old.tolist())
    image.SetDirection((_LPS[:, None] * (affine[:3, :3] / old)).ravel().tolist())
    size = np.array(image.GetSize())
    shape = np.where(size == 1, 1, np.floor(size * np.array(image.GetSpacing()) / spacing_mm)).astype(int)
    last = np.array(image.TransformIndexToPhysicalPoint((size - 1).tolist()))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    centre = (last + np.array(image.GetOrigin())) / 2
    resample = sitk.ResampleImageFilter()
    resample.SetInterpolator(sitk.sitkNearestNeighbor)
    resample.SetOutputDirection(image.GetDirection())
    resample.SetOutputSpacing([float(spacing_mm)] * 3)
    resample.SetOutputOrigin((centre - direction @ ((shape - 1) / 2 * spacing_mm)).tolist())
    resample.SetSize(np.maximum(shape, 1).tolist())
    data = sitk.GetArrayFromImage(resample.Execute(image)).T
    return np.ascontiguousarray(orientation.turned(data, orientation.axes_of(affine)))


_LPS = np.array([-1.0, -1.0, 1.0])  # ITK's axes in the world's


def _canonical(affine: np.ndarray, shape: np.ndarray) -> Grid:
    """The same voxels with axes permuted and flipped to come closest to RAS."""
    turn = orientation.axes_of(affine)
    turned = tuple(int(shape[np.flatnonzero(turn[:, 0] == axis)[0]]) for axis in range(3))
    return Grid(turned, orientation.turned_affine(affine, tuple(shape), turn))


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


def push(mask: np.ndarray, source: Grid, image: Volume) -> np.ndarray:
    """Boolean mask on the image's grid: at each of its voxels the nearest one of the patch."""
    out = np.zeros(image.shape, bool)
    box = _reach(source, image)
    if box is None:
        return out
    axes = [np.arange(low, high) for low, high in box]
    matrix = np.linalg.inv(source.affine) @ image.affine
    lines = _lines(matrix, axes)
    if lines is not None:
        part = _along_lines(mask, *lines)
    else:
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


def _lines(matrix: np.ndarray, axes: list[np.ndarray]) -> tuple[list[int], list[np.ndarray]] | None:
    """Where the grids' axes are parallel: the mask's axis along each of the image's, and its indices."""
    mixed = matrix[:3, :3] != 0
    if (mixed.sum(axis=0) != 1).any() or (mixed.sum(axis=1) != 1).any():
        return None
    own = [int(np.flatnonzero(mixed[:, axis])[0]) for axis in range(3)]
    places = [
        np.floor(matrix[a, axis] * line + matrix[a, 3] + 0.5).astype(np.int32)
        for axis, (a, line) in enumerate(zip(own, axes, strict=True))
    ]
    return own, places


def _along_lines(mask: np.ndarray, own: list[int], places: list[np.ndarray]) -> np.ndarray:
    """Boolean array: the mask's voxels at an index for each line of each axis, False outside."""
    turned = mask.transpose(own)
    inside = [(p >= 0) & (p < n) for p, n in zip(places, turned.shape, strict=True)]
    part = np.zeros(tuple(map(len, places)), bool)
    part[np.ix_(*inside)] = turned[np.ix_(*(p[i] for p, i in zip(places, inside, strict=True)))]
    return part


def _reach(source: Grid, image: Volume) -> list[tuple[int, int]] | None:
    """Half-open range of the image's voxels that can lie in `source`; None if there is none."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in source.shape])).reshape(3, -1).T
    ijk = geometry.to_voxel(image.affine, geometry.to_world(source.affine, corners))
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, image.shape)
    return None if (high <= low).any() else list(zip(low.tolist(), high.tolist(), strict=True))
