"""Area of the surface in a cell of 2 × 2 × 2 voxels, by its 8-bit code and the spacing."""

from __future__ import annotations

import functools
import itertools

import numpy as np

# One entry per shape that eight corners of a cube can have, up to rotation, mirroring and
# exchange of inside and outside (14 shapes). Key: a code, bit 7 - (4 z + 2 y + x) for the corner
# (z, y, x). Value: the triangles of the marching-cubes surface with vertices at edge midpoints
# (Lorensen & Cline 1987, doi:10.1145/37402.37422), each as area times |normal| in 1/8 of the unit
# cell. Every shape but one is made of four planar pieces: a cut corner (1, 1, 1), a cut edge
# (two of (0, 2, 2)), a half face (4, 0, 0), and the slope (2, 2, 2) between them. Opposite corners
# are never joined. The zigzag of four corners (27) has no planar surface: its four triangles
# are a convention, the one that surface-distance and its users follow.
SHAPES: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b00000000: (),
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: ((1, 1, 1), (1, 1, 1)),
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    0b00010111: ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
    0b00011000: ((1, 1, 1), (1, 1, 1)),
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 0, 0), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}

# Sums of floating-point numbers depend on their order, and a percentile that falls exactly on a
# cell depends on the last bit of a sum. For these codes surface-distance sums the triangles of the
# shape in another order; the same order gives the same bits.
_SUMMED: dict[str, tuple[int, ...]] = {
    "0132": (27,),
    "201": (28, 37, 44, 56, 62, 67, 74, 82, 91, 94, 98, 118),
    "1302": (29, 39, 53, 71, 114),
    "0213": (30, 99),
    "021": (31, 35, 50),
    "1203": (43, 58, 77),
    "3102": (46,),
    "2013": (54,),
    "2130": (78,),
    "3120": (83, 92),
    "2310": (86,),
    "210": (87, 117),
    "1023": (113,),
    "1230": (116,),
}


def _moved(code: int, axes: tuple[int, ...], flips: tuple[int, ...]) -> int:
    """The code after new axis n takes old axis `axes[n]`, mirrored where `flips[n]`."""
    moved = 0
    for corner in itertools.product((0, 1), repeat=3):
        if code >> (7 - np.dot(corner, (4, 2, 1))) & 1:
            new = [corner[a] ^ f for a, f in zip(axes, flips, strict=True)]
            moved |= 1 << (7 - np.dot(new, (4, 2, 1)))
    return moved


def triangles() -> list[np.ndarray]:
    """Area times |normal| of the triangles of each of the 256 codes, (n, 3), in unit cells.

    Examples
    --------
    >>> triangles()[0b10000000].tolist()
    [[0.125, 0.125, 0.125]]
    """
    table: dict[int, np.ndarray] = {}
    for code, pieces in SHAPES.items():
        normals = np.array(pieces, float).reshape(-1, 3) / 8
        for axes in itertools.permutations(range(3)):
            for flips in itertools.product((0, 1), repeat=3):
                moved = _moved(code, axes, flips)
                table[moved] = table[255 - moved] = normals[:, list(axes)]
    for order, codes in _SUMMED.items():
        for code in codes:
            table[code] = table[255 - code] = table[code][[int(n) for n in order]]
    return [table[code] for code in range(256)]


_TRIANGLES = triangles()


@functools.lru_cache(maxsize=64)
def cell_areas_mm2(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Area in mm² of the surface in a cell, by code, (256,) float64.

    Parameters
    ----------
    spacing_mm
        Voxel size along the three axes of the code's corners.

    Examples
    --------
    A voxel alone is eight cells with one corner each: a regular octahedron of half-diagonal 1/2.

    >>> area = 8 * cell_areas_mm2((1, 1, 1))[1]
    >>> bool(np.isclose(area, 3**0.5))
    True
    """
    a, b, c = spacing_mm
    first, second = np.array([b, a, a], float), np.array([c, c, b], float)
    areas = [sum((np.linalg.norm(n * first * second) for n in t), 0.0) for t in _TRIANGLES]
    areas = np.array(areas)
    areas.setflags(write=False)
    return areas


# The code of a cell whose three axes are named in reverse.
REVERSED = np.array([_moved(code, (2, 1, 0), (0, 0, 0)) for code in range(256)])
