"""A mask that a user starts from, kept whole in the prompt."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap, Volume, grid_difference


@dataclass(frozen=True)
class InitialMask:
    """A mask on a grid of its own, as numbers and one string.

    Attributes
    ----------
    shape
        Of its grid (I, J, K).
    affine
        Rows of its grid's affine, voxel to world (RAS+, mm).
    low, size
        First voxel of the box around it, and the box's size.
    bits
        The box's voxels in C order, eight to a byte, deflated, in base64.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    low: tuple[int, int, int]
    size: tuple[int, int, int]
    bits: str

    def voxels(self) -> np.ndarray:
        """Boolean mask (I, J, K) on its own grid.

        Examples
        --------
        >>> mask = np.zeros((4, 5, 6), bool)
        >>> mask[1, 2:4, 5] = True
        >>> bool((initial_mask(mask, np.eye(4)).voxels() == mask).all())
        True
        """
        packed = np.frombuffer(zlib.decompress(base64.b64decode(self.bits)), np.uint8)
        part = np.unpackbits(packed, count=int(np.prod(self.size))).astype(bool).reshape(self.size)
        mask = np.zeros(self.shape, bool)
        mask[tuple(slice(a, a + n) for a, n in zip(self.low, self.size, strict=True))] = part
        return mask

    def on(self, image: Volume | LabelMap) -> np.ndarray:
        """Boolean mask (I, J, K) on an image's grid: at each voxel's centre, the nearest voxel's."""
        mask, affine = self.voxels(), np.array(self.affine)
        if grid_difference(LabelMap(mask, affine), image) is None:
            return mask
        part = geometry.resample(mask.view(np.uint8), affine, image.affine, image.shape, order=0)
        return part.astype(bool)


def initial_mask(mask: np.ndarray, affine: np.ndarray) -> InitialMask:
    """A boolean mask (I, J, K) on a grid as part of a prompt.

    Raises
    ------
    InputError
        An empty mask.
    """
    (box,) = depth.bounding_boxes(np.asarray(mask, bool), [1])
    if box is None:
        raise InputError("The initial mask is empty. It must hold the structure, or a part of it.")
    packed = zlib.compress(np.packbits(mask[box]).tobytes(), 9)
    rows = tuple(map(tuple, np.asarray(affine, float).tolist()))
    low, size = tuple(s.start for s in box), tuple(s.stop - s.start for s in box)
    return InitialMask(tuple(mask.shape), rows, low, size, base64.b64encode(packed).decode("ascii"))


def from_record(record: Mapping) -> InitialMask:
    """The mask of a prompt's record."""
    plain = {k: tuple(record[k]) for k in ("shape", "low", "size")}
    return InitialMask(**plain, affine=tuple(map(tuple, record["affine"])), bits=record["bits"])
