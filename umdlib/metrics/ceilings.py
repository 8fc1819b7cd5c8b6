"""The best scores that masks alone allow: another grid, a motion, a second reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.images.masks import bounding_boxes
from umdlib.images.volume import LabelMap
from umdlib.metrics.masks import dice

_SLAB = 2_000_000  # voxels looked at together
# Second readings that are averaged, and the length (mm, SD of the smoothing) over which a boundary stays alike.
_DRAWS, _LENGTH_MM = 4, 10.0


def on_grid(mask: np.ndarray, affine: np.ndarray, coarse: LabelMap) -> tuple[float, float]:
    """Dice of a mask with itself after a coarser grid, and the largest that a mask on that grid can have.

    The best set of coarse voxels holds those of which the largest shares lie in the mask: of all sets of
    one volume it has most in common with it. So every threshold on the share is tried, and the largest
    Dice is exact.

    Parameters
    ----------
    mask
        Boolean (I, J, K).
    affine
        (4, 4) of its grid, voxel to world (RAS+, mm).
    coarse
        Anything on the other grid; its voxels are not read. One of them holds the fine voxels whose
        centres lie in it.

    Returns
    -------
    round_trip, best : float
        NaN of an empty mask; 0 of one outside the other grid. The first takes the voxel nearest to each coarse
        centre and never exceeds the second.

    Examples
    --------
    A mask of one fine voxel, two of which make a coarse one: that shares 1 of 2, and 2 x 1 / (1 + 2).

    >>> affine = np.diag([2.0, 1, 1, 1])
    >>> affine[0, 3] = 0.6
    >>> coarse = LabelMap(np.zeros((2, 1, 1), np.uint8), affine)
    >>> mask = np.zeros((4, 1, 1), bool)
    >>> mask[0] = True
    >>> [round(v, 3) for v in on_grid(mask, np.eye(4), coarse)]
    [0.0, 0.667]
    """
    where, begun = _box(mask)
    if where is None:
        return float("nan"), float("nan")
    common, size, taken = _cells(mask, where, begun, np.asarray(affine, float), coarse)
    if not len(common):
        return 0.0, 0.0
    total = np.count_nonzero(where)
    trip = 2 * common[taken].sum() / (total + size[taken].sum())
    order = np.argsort(-common / size, kind="stable")
    both, held = np.cumsum(common[order]), np.cumsum(size[order])
    return float(trip), float((2 * both / (total + held)).max())


def _cells(mask: np.ndarray, where: np.ndarray, begun: np.ndarray, affine: np.ndarray, coarse: LabelMap):
    """Of the coarse voxels that a mask touches: fine voxels in the mask, in all, and whether the centre is."""
    mapping = np.linalg.solve(np.asarray(coarse.affine, float), affine)  # fine to coarse voxels
    # every fine voxel of a touched cell: as far around the box as a coarse voxel reaches
    wide = np.ceil(np.abs(np.linalg.inv(mapping[:3, :3])).sum(axis=1)).astype(int)
    low = np.maximum(begun - wide, 0)
    high = np.minimum(begun + where.shape + wide, mask.shape)
    corners = np.array(np.meshgrid(*zip(low, high - 1, strict=True))).reshape(3, -1).T
    at = corners @ mapping[:3, :3].T + mapping[:3, 3]
    first = np.clip(np.floor(at.min(axis=0) + 0.5).astype(int), 0, coarse.shape)
    shape = np.clip(np.floor(at.max(axis=0) + 0.5).astype(int) + 1, first, coarse.shape) - first
    common, size = np.zeros(shape.prod()), np.zeros(shape.prod())
    slab = max(1, _SLAB // int(np.prod((high - low)[1:])))
    for begin in range(low[0], high[0], slab):
        end = min(begin + slab, high[0])
        span = [(begin, end), (low[1], high[1]), (low[2], high[2])]
        ijk = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in span), indexing="ij"), -1).reshape(-1, 3)
        cell = np.floor(ijk @ mapping[:3, :3].T + mapping[:3, 3] + 0.5).astype(int) - first
        held = np.all((cell >= 0) & (cell < shape), axis=-1)
        flat = np.ravel_multi_index(cell[held].T, shape) if held.any() else np.zeros(0, int)
        own = mask[tuple(slice(a, b) for a, b in span)].reshape(-1)[held]
        common += np.bincount(flat, own, len(common))
        size += np.bincount(flat, minlength=len(size))
    touched = np.flatnonzero(common)
    centres = np.stack(np.unravel_index(touched, shape), -1) + first - mapping[:3, 3]
    nearest = np.floor(np.linalg.solve(mapping[:3, :3], centres.T).T + 0.5).astype(int)
    inside = np.all((nearest >= 0) & (nearest < mask.shape), axis=-1)
    taken = np.zeros(len(touched), bool)
    taken[inside] = mask[tuple(nearest[inside].T)]
    return common[touched], size[touched], taken


def _box(mask: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A mask in its bounding box and the box's first voxel; None, None where it is empty."""
    (box,) = bounding_boxes(mask, [1])
    if box is None:
        return None, None
    return mask[box], np.array([s.start for s in box])


def moved(mask: np.ndarray, affine: np.ndarray, by_mm: Sequence[float]) -> float:
    """Dice of a mask with itself moved in the world.

    Parameters
    ----------
    mask
        Boolean (I, J, K).
    affine
        (4, 4), voxel to world (RAS+, mm).
    by_mm
        (x, y, z) in the world. Shares of a voxel count: the moved mask is read by linear interpolation.

    Returns
    -------
    float
        NaN of an empty mask, and where `by_mm` is not finite.

    Examples
    --------
    Half of a rod of 4 voxels overlaps after 2.

    >>> rod = np.zeros((9, 3, 3), bool)
    >>> rod[1:5, 1, 1] = True
    >>> moved(rod, np.diag([2.0, 2, 2, 1]), (4, 0, 0))
    0.5
    """
    where, _ = _box(mask)
    by_mm = np.asarray(by_mm, float)
    if where is None or not np.isfinite(by_mm).all():
        return float("nan")
    step = np.linalg.solve(np.asarray(affine, float)[:3, :3], by_mm)
    wide = np.ceil(np.abs(step)).astype(int) + 1
    padded = np.pad(where, [(w, w) for w in wide]).astype(np.float32)
    other = scipy.ndimage.shift(padded, step, order=1)
    return float(2 * (padded * other).sum() / (padded.sum() + other.sum()))


def second_reader(
    mask: np.ndarray, spacing_mm: tuple[float, float, float], jitter_mm: float, *, rng: np.random.Generator
) -> float:
    """Mean Dice of a mask with itself drawn again, the boundary off by a smooth random distance.

    Parameters
    ----------
    mask
        Boolean (I, J, K).
    spacing_mm
        Voxel size.
    jitter_mm
        Standard deviation of the distance between the two boundaries.
    rng
        Of the boundaries.

    Returns
    -------
    float
        NaN of an empty mask.

    Raises
    ------
    InputError
        A jitter below 0.

    Notes
    -----
    A mask says of its boundary only that it lies between two voxel centres; where between them is drawn
    too, evenly. So the volume that differs is on average (area of the boundary) x jitter x sqrt(2 / pi), whatever
    the voxel size: the Dice is about 1 - area x jitter / (sqrt(2 pi) x volume) while that is near 1.
    """
    if not (np.isfinite(jitter_mm) and jitter_mm >= 0):
        raise InputError(f"Invalid boundary jitter {jitter_mm} mm. Must be 0 or more.")
    where, _ = _box(mask)
    if where is None:
        return float("nan")
    spacing = np.asarray(spacing_mm, float)
    while where.size > 2 * _SLAB:  # the differing volume does not depend on the voxel size
        axis = int(np.argmin(spacing))
        where = where.take(range(0, where.shape[axis], 2), axis=axis)
        spacing[axis] *= 2
    wide = np.ceil(4 * jitter_mm / spacing).astype(int) + 2
    own = np.pad(where, [(w, w) for w in wide])
    inwards, step_in = _distance(own, spacing)
    outwards, step_out = _distance(~own, spacing)
    found = []
    for _ in range(_DRAWS):
        offset = jitter_mm * _smooth(own.shape, spacing, _LENGTH_MM, rng)
        between = scipy.special.ndtr(_smooth(own.shape, spacing, _LENGTH_MM, rng))
        depth = np.where(own, inwards - step_in * between, -(outwards - step_out * (1 - between)))
        found.append(dice(own, depth + offset > 0))
    return float(np.mean(found))


def _distance(mask: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each voxel of a mask, mm to the nearest voxel outside it, and mm of one voxel step that way."""
    distance, nearest = scipy.ndimage.distance_transform_edt(mask, spacing, return_indices=True)
    steps = np.abs(nearest - np.indices(mask.shape)).max(axis=0)
    return distance, distance / np.maximum(steps, 1)


def _smooth(shape: tuple, spacing: np.ndarray, length_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth Gaussian random field of mean 0 and variance 1 at every voxel."""
    sigma = length_mm / spacing
    margin = np.ceil(3 * sigma).astype(int)
    noise = rng.standard_normal(tuple(np.add(shape, 2 * margin)), dtype=np.float32)
    for axis, s in enumerate(sigma):
        noise = scipy.ndimage.gaussian_filter1d(noise, s, axis=axis, truncate=3.0, mode="constant")
    part = noise[tuple(slice(m, m + n) for m, n in zip(margin, shape, strict=True))]
    norm = 1.0
    for s in sigma:  # variance of the sum of independent voxels, axis by axis
        radius = int(3.0 * s + 0.5)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / s) ** 2)
        norm *= ((weights / weights.sum()) ** 2).sum()
    return part / np.sqrt(norm)
