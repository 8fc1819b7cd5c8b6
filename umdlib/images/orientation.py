"""The order and direction of voxel axes: turning a volume without interpolation."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry

T = TypeVar("T")  # Volume or LabelMap


def axes_of(affine: np.ndarray) -> np.ndarray:
    """World axis that each voxel axis runs along, and -1 where it runs against it: (3, 2), as nibabel's."""
    return _nib().io_orientation(affine)


def turn_to(affine: np.ndarray, codes: str = "RAS") -> np.ndarray:
    """Turn that brings voxel axes closest to `codes`.

    Parameters
    ----------
    affine
        (4, 4), voxel index to world (RAS+, mm).
    codes
        Where each new axis points: R or L, A or P, S or I, in any order.

    Returns
    -------
    numpy.ndarray
        (3, 2): for each old axis the new one, and -1 where it is reversed (nibabel's orientation).

    Raises
    ------
    InputError
        Codes that do not name three different axes.

    Examples
    --------
    >>> turn_to(np.diag([-2.0, 2, 3, 1])).tolist()
    [[0.0, -1.0], [1.0, 1.0], [2.0, 1.0]]
    """
    axes = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    if sorted(axes.get(c, -1) for c in codes) != [0, 1, 2]:
        raise InputError(f"Invalid axes '{codes}'. One of R and L, one of A and P, one of S and I.")
    return _nib().ornt_transform(axes_of(affine), _nib().axcodes2ornt(tuple(codes)))


def turned(data: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """View of a volume (I, J, K, …) with its first three axes turned."""
    return _nib().apply_orientation(data, turn)


def turned_affine(affine: np.ndarray, shape: tuple[int, ...], turn: np.ndarray) -> np.ndarray:
    """Affine of a volume of `shape` after it is turned."""
    return np.asarray(affine, float) @ _nib().inv_ornt_aff(turn, tuple(shape)[:3])


def turned_back(turn: np.ndarray) -> np.ndarray:
    """The turn that undoes another.

    Examples
    --------
    >>> data = np.arange(24).reshape(2, 3, 4)
    >>> turn = np.array([[1, -1], [2, 1], [0, -1.0]])
    >>> bool((turned(turned(data, turn), turned_back(turn)) == data).all())
    True
    """
    back = np.empty((3, 2))
    for old, (new, sign) in enumerate(np.asarray(turn)):
        back[int(new)] = old, sign
    return back


def to_ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A volume (I, J, K) as a view whose axes come closest to RAS, and its affine.

    Examples
    --------
    >>> data, affine = to_ras(np.arange(2).reshape(2, 1, 1), np.diag([-2.0, 2, 3, 1]))
    >>> data.ravel().tolist(), affine[0].tolist()
    ([1, 0], [2.0, 0.0, 0.0, -2.0])
    """
    turn = turn_to(affine)
    return turned(data, turn), turned_affine(affine, data.shape, turn)


def canonical(volume: T) -> T:
    """A volume or label map whose axes come closest to RAS; its data are a view."""
    data, affine = to_ras(volume.data, volume.affine)
    return replace(volume, data=data, affine=affine)


def reordered(
    data: np.ndarray, affine: np.ndarray, to_affine: np.ndarray, to_shape: tuple[int, int, int]
) -> np.ndarray | None:
    """A volume in the voxel order of another grid; None where more than the order differs.

    Parameters
    ----------
    data
        (I, J, K) on the grid of `affine`.
    affine, to_affine
        (4, 4), voxel to world (RAS+, mm).
    to_shape
        Shape of the other grid.

    Returns
    -------
    numpy.ndarray
        `to_shape`, a view, where the two grids are the same to `geometry.TOLERANCE_VOXELS`.
    """
    between = np.linalg.inv(to_affine) @ affine
    turn = axes_of(between)
    if np.isnan(turn).any():
        return None
    there = turned(data, turn)
    if there.shape != tuple(to_shape):
        return None
    voxels, _ = geometry.corner_distance(to_affine, turned_affine(affine, data.shape, turn), to_shape)
    return there if voxels <= geometry.TOLERANCE_VOXELS else None


def _nib():
    """nibabel's orientations, loaded at the first image: a command that reads none starts without."""
    from nibabel import orientations

    return orientations
