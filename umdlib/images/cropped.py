"""Masks cropped to their bounding box, for fast comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umdlib.images import masks as depth


@dataclass(frozen=True)
class Boxed:
    """A boolean mask of a volume.

    Attributes
    ----------
    part
        The mask in its bounding box; of size 0 where it is empty.
    low
        First voxel of the box.
    shape
        Of the volume, (I, J, K).
    size
        Number of voxels of the mask.
    """

    part: np.ndarray
    low: tuple[int, int, int]
    shape: tuple[int, int, int]
    size: int

    def common(self, other: Boxed) -> int:
        """Number of voxels that both masks hold."""
        low = [max(a, b) for a, b in zip(self.low, other.low, strict=True)]
        ends = zip(self.low, self.part.shape, other.low, other.part.shape, strict=True)
        high = [min(a + n, b + m) for a, n, b, m in ends]
        if any(h <= s for s, h in zip(low, high, strict=True)):
            return 0
        mine, theirs = (
            m.part[tuple(slice(s - o, h - o) for s, h, o in zip(low, high, m.low, strict=True))]
            for m in (self, other)
        )
        return int(np.count_nonzero(mine & theirs))

    def dice(self, other: Boxed) -> float:
        """Dice with another mask; NaN where both are empty."""
        total = self.size + other.size
        return 2 * self.common(other) / total if total else float("nan")

    def share(self, of: Boxed) -> float:
        """Share of another mask that this one covers; 0 of an empty one."""
        return self.common(of) / max(of.size, 1)

    def centre(self) -> np.ndarray:
        """Centre of mass, in voxels of the volume."""
        return np.argwhere(self.part).mean(axis=0) + self.low

    def flipped(self, axes: Sequence[int]) -> Boxed:
        """The mask in a volume whose `axes` are reversed."""
        low = [
            n - at - length if axis in axes else at
            for axis, (n, at, length) in enumerate(zip(self.shape, self.low, self.part.shape, strict=True))
        ]
        return Boxed(np.flip(self.part, axes), tuple(low), self.shape, self.size)

    def permuted(self, order: Sequence[int]) -> Boxed:
        """The mask in a volume with its axes in another order."""
        low, shape = (tuple(v[a] for a in order) for v in (self.low, self.shape))
        return Boxed(self.part.transpose(order), low, shape, self.size)

    def shifted(self, by: Sequence[int]) -> Boxed:
        """The mask moved by whole voxels; what leaves the volume is gone."""
        low = np.add(self.low, by)
        first = np.maximum(-low, 0)
        last = np.minimum(np.array(self.shape) - low, self.part.shape)
        if (last <= first).any():
            return _empty(self.shape)
        part = self.part[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        return Boxed(part, tuple((low + first).tolist()), self.shape, int(np.count_nonzero(part)))

    def padded(self, voxels: int) -> Boxed:
        """The same mask in a box that is wider on all sides, also beyond the volume."""
        low = tuple(at - voxels for at in self.low)
        return Boxed(np.pad(self.part, voxels), low, self.shape, self.size)


def boxed(mask: np.ndarray | Boxed) -> Boxed:
    """A boolean mask (I, J, K) as what lies in its bounding box.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:4, 3:7, 5] = True
    >>> box = boxed(mask)
    >>> box.low, box.part.shape, box.size, box.dice(box.flipped([0, 1, 2]))
    ((2, 3, 5), (2, 4, 1), 8, 0.0)
    """
    if isinstance(mask, Boxed):
        return mask
    (box,) = depth.bounding_boxes(mask, [1])
    if box is None:
        return _empty(mask.shape)
    part = np.ascontiguousarray(mask[box])
    return Boxed(part, tuple(s.start for s in box), mask.shape, int(np.count_nonzero(part)))


def _empty(shape: tuple[int, int, int]) -> Boxed:
    return Boxed(np.zeros((0, 0, 0), bool), (0, 0, 0), shape, 0)
