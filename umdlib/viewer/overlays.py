"""Overlays: masks in colour over an image, the same on the poster and in the viewer."""

from __future__ import annotations

import numpy as np

from umdlib.labels import Structure

# The error colours of every picture: blue and orange that no structure has, told apart by all kinds of colour vision;
# agreement in grey.
DIFFERENCE = {"agree": "#bbbbbb", "missed": "#2f6bff", "added": "#ff7a00", "both": "#b03a9e"}
_OPACITY = 0.55
OVERLAYS = ("none", "reference", "prediction", "difference")
OUTLINES = ("none", "reference", "prediction", "both")


def overlay_colours(
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    structures: tuple[Structure, ...],
    *,
    overlay: str,
    structure: str,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """RGBA of an overlay of two bit volumes (I, J, K); the script of the page follows the same rule.

    Where masks of several structures overlap, the one with the fewest voxels is shown. In the
    difference of all structures, a voxel that misses one structure and adds another is "both".

    Returns
    -------
    numpy.ndarray
        (I, J, K, 4) uint8.
    """
    result = np.zeros((*shape, 4), np.uint8)
    alpha = round(255 * _OPACITY)
    bits = [b for b, s in enumerate(structures) if structure in ("", s.name)]
    mask = sum(1 << b for b in bits)
    if overlay == "difference" and reference is not None and prediction is not None:
        wanted, found = reference & mask, prediction & mask
        missed, added = wanted & ~found, found & ~wanted
        for rule, key in (
            ((wanted & found) > 0, "agree"),
            (missed > 0, "missed"),
            (added > 0, "added"),
            ((missed > 0) & (added > 0), "both"),
        ):
            result[rule] = (*rgb(DIFFERENCE[key]), alpha)
    shown = {"reference": reference, "prediction": prediction}.get(overlay)
    if shown is not None:
        sizes = {b: int(np.count_nonzero(shown >> b & 1)) for b in bits}
        for b in sorted(bits, key=lambda b: (-sizes[b], b)):
            result[(shown >> b & 1) > 0] = (*rgb(structures[b].colour), alpha)
    return result


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of ``#rrggbb``."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
