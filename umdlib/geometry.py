"""Affines, spacing and resampling on voxel grids: pure functions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from umdlib.errors import InputError

# Spacing is rounded to this many decimals (1e-5 mm) before any distance is compared with a
# tolerance: a float32 header turns 0.98 into 0.98000002, and `d <= tau` then flips whole shells.
SPACING_DECIMALS = 5


def spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size along I, J, K in mm.

    Parameters
    ----------
    affine
        (4, 4), voxel index to world (RAS+, mm).

    Examples
    --------
    >>> spacing_mm(np.diag([2.0, -3.0, 4.0, 1.0]))
    (2.0, 3.0, 4.0)
    """
    size = np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0))
    return tuple(float(s) for s in np.round(size, SPACING_DECIMALS))


def checked_spacing(spacing_mm) -> tuple[float, float, float]:
    """Three positive numbers, rounded so that a float32 header does not move a tie.

    Raises
    ------
    InputError
        Other than three numbers, or one that is not finite and positive after rounding.
    """
    spacing = np.round(np.asarray(spacing_mm, float), SPACING_DECIMALS)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(f"Invalid spacing {spacing_mm} mm. Must be three positive numbers.")
    return tuple(spacing.tolist())


def to_world(affine: np.ndarray, ijk: np.ndarray) -> np.ndarray:
    """Voxel indices (..., 3) to world coordinates (..., 3) in RAS+ mm."""
    affine = np.asarray(affine, float)
    return np.asarray(ijk, float) @ affine[:3, :3].T + affine[:3, 3]


def to_voxel(affine: np.ndarray, xyz_mm: np.ndarray) -> np.ndarray:
    """World coordinates (..., 3) in RAS+ mm to fractional voxel indices (..., 3).

    Examples
    --------
    >>> affine = np.array([[0, -2, 0, 10], [3, 0, 0, 0], [0, 0, 4, -8], [0, 0, 0, 1.0]])
    >>> to_voxel(affine, to_world(affine, [1, 2, 3])).round(9).tolist()
    [1.0, 2.0, 3.0]
    """
    affine = np.asarray(affine, float)
    offset = np.asarray(xyz_mm, float) - affine[:3, 3]
    return np.linalg.solve(affine[:3, :3], offset[..., None])[..., 0]


def nearest_voxel(
    affine: np.ndarray, xyz_mm: np.ndarray, shape: tuple[int, int, int]
) -> tuple[int, int, int] | None:
    """Index of the voxel that contains a world point, or None where it lies outside `shape`."""
    ijk = np.floor(to_voxel(affine, xyz_mm) + 0.5).astype(int)
    if (ijk < 0).any() or (ijk >= np.asarray(shape)).any():
        return None
    return tuple(int(v) for v in ijk)


def is_orthogonal(affine: np.ndarray, *, tolerance: float = 1e-3) -> bool:
    """Whether the three voxel axes are perpendicular (cosines below `tolerance`)."""
    axes = np.asarray(affine, float)[:3, :3]
    axes = axes / np.sqrt((axes**2).sum(axis=0))
    gram = axes.T @ axes
    return bool(np.abs(gram - np.eye(3)).max() < tolerance)


def resample(
    data: np.ndarray,
    affine: np.ndarray,
    to_affine: np.ndarray,
    to_shape: tuple[int, int, int],
    *,
    order: int = 1,
    fill: float = 0.0,
) -> np.ndarray:
    """`data` on another grid by interpolation at its voxel centres.

    Parameters
    ----------
    data
        (I, J, K) on the grid of `affine`.
    affine, to_affine
        (4, 4), voxel to world (RAS+, mm).
    to_shape
        Shape of the result.
    order
        0 nearest (labels and masks), 1 linear, 3 cubic.
    fill
        Value outside the field of view.

    Returns
    -------
    numpy.ndarray
        `to_shape`, same dtype as `data`.
    """
    mapping = np.linalg.inv(np.asarray(affine, float)) @ np.asarray(to_affine, float)
    # a voxel reaches half its size beyond its centre, also at the border
    return ndimage.affine_transform(
        data, mapping[:3, :3], mapping[:3, 3], tuple(to_shape), order=order, cval=fill,
        prefilter=order > 1, mode="grid-constant" if order == 0 else "constant",
    )  # fmt: skip
