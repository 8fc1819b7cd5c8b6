"""Affines, spacing and resampling on voxel grids: pure functions."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.errors import InputError

# A spacing is taken as the decimal that was written: a float32 header turns 0.98 into 0.98000002,
# and `distance <= tolerance` then flips whole shells. So near to a number of so many decimals is
# that number; of an affine whose axes are turned, rounding leaves less.
NEAR, DECIMALS = 1e-7, 2
NEAR_TURNED, DECIMALS_TURNED = 2e-7, 5

# Two grids are one where no corner lies farther apart. Scanners and programs round spacings and
# positions differently: 0.0003 to 0.0016 voxels in DICOM series converted by dcm2niix and by ITK.
TOLERANCE_VOXELS = 0.05


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
    return tuple(as_written(float(s), NEAR_TURNED, DECIMALS_TURNED) for s in size)


def as_written(size: float, near: float = NEAR, decimals: int = DECIMALS) -> float:
    """The decimal that a spacing was written as; any other number as it is.

    Parameters
    ----------
    size
        In mm.
    near
        Share of its size within which a number of `decimals` decimals is meant. What float32 holds
        to the last bit is the shortest decimal that names it.

    Examples
    --------
    >>> [as_written(s) for s in (0.9800000190734863, 0.98000002, 0.9765625, 1.23456789)]
    [0.98, 0.98, 0.9765625, 1.23456789]
    """
    short = round(size, decimals)
    if abs(size - short) <= near * abs(size):
        return short
    with np.errstate(over="ignore"):
        single = np.float32(size)
    return float(str(single)) if float(single) == size else size


def checked_spacing(spacing_mm) -> tuple[float, float, float]:
    """Three positive numbers, each `as_written`, so that a float32 header does not move a tie.

    Raises
    ------
    InputError
        Other than three numbers, or one that is not finite and positive.
    """
    try:
        spacing = np.asarray(spacing_mm, float)
    except (TypeError, ValueError):
        spacing = np.empty(0)  # words, or rows of different lengths
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(f"Invalid spacing {spacing_mm} mm. Must be three positive numbers.")
    return tuple(as_written(s) for s in spacing.tolist())


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


def corner_distance(
    affine: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]
) -> tuple[float, float]:
    """How far apart two affines place the corners of a grid, in voxels of the first and in mm.

    Parameters
    ----------
    affine, other
        (4, 4), voxel index to world (RAS+, mm).
    shape
        Of the grid.

    Returns
    -------
    tuple of float
        Largest distance along an axis of `affine` in voxels; largest distance along a world axis in mm.

    Examples
    --------
    >>> corner_distance(np.diag([2.0, 2, 4, 1]), np.diag([2.0, 2, 4.01, 1]), (5, 5, 11))
    (0.025, 0.1)
    """
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    there = to_world(other, corners)
    voxels = np.abs(to_voxel(affine, there) - corners).max()
    mm = np.abs(there - to_world(affine, corners)).max()
    return round(float(voxels), 9), round(float(mm), 9)


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
    return scipy.ndimage.affine_transform(
        data,
        mapping[:3, :3],
        mapping[:3, 3],
        tuple(to_shape),
        order=order,
        cval=fill,
        prefilter=order > 1,
        mode="grid-constant" if order == 0 else "constant",
    )
