"""Masks as runs of voxels along their rows in memory: small, and quick to compare."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from umdlib.images.masks import Box, bounding_boxes

IJK = tuple[int, int, int]


@dataclass(frozen=True)
class Runs:
    """A mask of a volume (I, J, K).

    Attributes
    ----------
    rows, first, stop
        Row of each run, its first voxel along the row and the one after its last, sorted.
    shape
        Of the volume, (I, J, K).
    flipped
        Whether rows run along I (Fortran order) and not along K.
    """

    rows: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    shape: IJK
    flipped: bool

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(self.stop.sum(dtype=np.int64) - self.first.sum(dtype=np.int64))

    @property
    def memory_shape(self) -> IJK:
        """Shape along the axes as they lie in memory, slowest first."""
        return self.shape[::-1] if self.flipped else self.shape

    def box(self) -> Box | None:
        """Smallest half-open box of all voxels; None where there is none."""
        if not len(self.rows):
            return None
        z, y = np.divmod(self.rows, self.memory_shape[1])
        ends = [(z[0], z[-1] + 1), (y.min(), y.max() + 1), (self.first.min(), self.stop.max())]
        slices = [slice(int(a), int(b)) for a, b in ends]
        return tuple(slices[::-1] if self.flipped else slices)

    def minus(self, other: Runs) -> Runs:
        """Voxels of this mask that another, on the same grid, does not hold."""
        room = len(self.rows) + len(other.rows)
        parts = [np.empty(room, np.int32) for _ in range(3)]
        count = _kernels().subtract(
            self.rows, self.first, self.stop, other.rows, other.first, other.stop, *parts
        )
        return Runs(*(p[:count].copy() for p in parts), self.shape, self.flipped)

    def within(self, box: Box) -> Runs:
        """The part of this mask in a box."""
        z, y = np.divmod(self.rows, self.memory_shape[1])
        across, along, row = box[::-1] if self.flipped else box
        first, stop = np.maximum(self.first, row.start), np.minimum(self.stop, row.stop)
        kept = (z >= across.start) & (z < across.stop) & (y >= along.start) & (y < along.stop)
        kept &= first < stop
        return Runs(
            self.rows[kept],
            first[kept].astype(np.int32),
            stop[kept].astype(np.int32),
            self.shape,
            self.flipped,
        )

    def largest_component(self) -> Runs:
        """The largest component (26 neighbours); of several, that of the first voxel in C order."""
        if not len(self.rows):
            return self
        chosen = _kernels().largest(self.rows, self.first, self.stop, self.memory_shape, self.flipped)
        return Runs(self.rows[chosen], self.first[chosen], self.stop[chosen], self.shape, self.flipped)

    def deepest_voxel(self, spacing_mm: tuple[float, float, float]) -> IJK | None:
        """Voxel farthest from the outside, as `umdlib.images.masks.deepest_voxel` finds it."""
        if not len(self.rows):
            return None
        spacing = tuple(spacing_mm[::-1] if self.flipped else spacing_mm)
        reach = (int((self.stop - self.first).max()) + 1) / 2 * spacing[2]
        near, squared = _rows_around(spacing[:2], 2.0 ** np.ceil(np.log2(reach)))
        number = _kernels().deepest(
            self.rows,
            self.first,
            self.stop,
            self.memory_shape,
            np.array(spacing, float),
            near,
            squared,
            self.flipped,
            1e-6,
        )
        return tuple(int(v) for v in np.unravel_index(number, self.shape))

    def into(self, bits: np.ndarray, bit: int) -> None:
        """Set a bit of a bit-mask volume (I, J, K), contiguous in the order of the rows, in place."""
        flat = bits.ravel("F" if self.flipped else "C")
        if not np.shares_memory(flat, bits):
            raise ValueError("The volume is not contiguous in the order of the rows.")
        value = bits.dtype.type(1 << bit)
        _kernels().fill(flat, self.rows, self.first, self.stop, self.memory_shape[2], value)

    def mask(self, box: Box | None = None) -> np.ndarray:
        """Boolean mask of the whole volume, or of a box that holds all runs, in C order."""
        whole = np.zeros(self.shape, np.uint8, "F" if self.flipped else "C")
        self.into(whole, 0)
        return np.ascontiguousarray(whole if box is None else whole[box]).view(bool)


def runs_of(volume: np.ndarray, value: int = 1, *, flipped: bool | None = None, box: Box | None = None):
    """Voxels of a mask or label map that have a value, as runs.

    Parameters
    ----------
    volume
        (I, J, K), boolean or unsigned.
    value
        Of a label map.
    flipped
        Whether rows are to run along I; by default as the volume lies in memory.
    box
        Where to look; by default everywhere.

    Returns
    -------
    Runs

    Examples
    --------
    >>> mask = np.zeros((4, 5, 6), bool)
    >>> mask[1, 2, 3:5] = mask[2, 2, 3] = True
    >>> found = runs_of(mask)
    >>> found.size, found.first.tolist(), found.stop.tolist(), found.box()
    (3, [3, 3], [5, 4], (slice(1, 3, None), slice(2, 3, None), slice(3, 5, None)))
    """
    from umdlib.kernels import surfaces

    volume = volume.view(np.uint8) if volume.dtype == bool else volume
    if flipped is None:
        flipped = bool(volume.flags.f_contiguous and not volume.flags.c_contiguous)
    other_way = volume.flags.c_contiguous if flipped else volume.flags.f_contiguous
    if box is None and other_way and not (volume.flags.c_contiguous and volume.flags.f_contiguous):
        return _runs_across(volume, value, flipped)
    flat, shape = surfaces.flat_rows(volume, flipped)
    box = box or tuple(slice(0, n) for n in volume.shape)
    ends = np.array([[s.start, s.stop - 1] for s in (box[::-1] if flipped else box)], np.int64)
    room = 1 << 16
    while True:
        parts = [np.empty(room, np.int32) for _ in range(3)]
        count = _kernels().find_runs(flat, shape, ends.T.ravel(), flat.dtype.type(value), *parts)
        if count <= room:
            return Runs(*(p[:count].copy() for p in parts), volume.shape, flipped)
        room = count


def _runs_across(volume: np.ndarray, value: int, flipped: bool) -> Runs:
    """Runs across the rows in which a volume lies: only what holds the value is copied the other way."""
    (box,) = bounding_boxes(volume, [value])
    if box is None:
        return Runs(*(np.zeros(0, np.int32) for _ in range(3)), volume.shape, flipped)
    part = np.ascontiguousarray(volume[box])
    found = runs_of(part, value, flipped=flipped, box=tuple(slice(0, n) for n in part.shape))
    z, y = np.divmod(found.rows, found.memory_shape[1])
    low = [s.start for s in (box[::-1] if flipped else box)]
    width = volume.shape[1]
    rows = ((z + low[0]) * width + y + low[1]).astype(np.int32)
    first, stop = (ends + np.int32(low[2]) for ends in (found.first, found.stop))
    return Runs(rows, first, stop, volume.shape, flipped)


@functools.lru_cache(maxsize=8)
def _rows_around(spacing: tuple[float, float], reach_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, 2) within a distance of a row, near ones first, and their squared distances in mm²."""
    steps = [np.arange(-int(reach_mm / s) - 1, int(reach_mm / s) + 2) for s in spacing]
    rows = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 2)
    squared = ((rows * np.array(spacing)) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= reach_mm * reach_mm * (1 + 1e-9)]
    return np.ascontiguousarray(rows[order]), squared[order]


def _kernels():
    """The compiled part, imported when it is needed."""
    from umdlib.kernels import runs

    return runs
