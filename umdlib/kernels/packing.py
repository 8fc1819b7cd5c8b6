"""Bit-mask volumes made of masks and of label maps; what is empty costs no more than being read."""

from __future__ import annotations

import numpy as np

from umdlib.kernels.compiled import njit
from umdlib.kernels.lanes import LANES, unlike


@njit(cache=True, nogil=True)
def add_mask(volume, mask, bit):
    """Set a bit of a flat volume wherever a flat mask (uint8, 0 or 1) is 1."""
    whole = len(mask) // LANES * LANES
    for at in range(0, whole, LANES):
        if unlike(mask, at, np.uint8(0)):
            for n in range(at, at + LANES):
                volume[n] |= bit * mask[n]
    for n in range(whole, len(mask)):
        volume[n] |= bit * mask[n]


@njit(cache=True, nogil=True)
def translate(label_map, lookup, volume):
    """Fill a flat volume of zeros with the entry of each label; that of label 0 must be 0."""
    whole = len(label_map) // LANES * LANES
    for at in range(0, whole, LANES):
        if unlike(label_map, at, label_map[at] ^ label_map[at]):
            for n in range(at, at + LANES):
                volume[n] = lookup[label_map[n]]
    for n in range(whole, len(label_map)):
        volume[n] = lookup[label_map[n]]
