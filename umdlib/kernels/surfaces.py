"""Surfaces of two volumes compared: counts and distances of all structures in one pass."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

import numpy as np

from umdlib.errors import InputError
from umdlib.kernels import cells, distribution, nearest, runs
from umdlib.kernels.areas import REVERSED, cell_areas_mm2

_HAUSDORFF_SHARE = 0.95

# Volumes above this many bytes are copied into the other order of axes block by block.
_REORDERED = 1 << 18

_buffers = threading.local()


@dataclass(frozen=True)
class Distances:
    """Surface distances of one structure, reference to prediction and back, in mm.

    `inside` is the area of both surfaces (mm²) within each tolerance, `area` the area of both,
    `moment` the sum of area times distance over both. NaN is what was not searched for.
    """

    inside: tuple[float, ...]
    area: float
    moment: float
    hausdorff: float
    hausdorff_95: float


@dataclass(frozen=True)
class Pair:
    """Two volumes as the kernels take them: flat, in memory order (Z, Y, X).

    `flipped` where Z is the array's last axis; `padding` is the number of voxels added.
    """

    reference: np.ndarray
    prediction: np.ndarray
    shape: tuple[int, int, int]
    spacing: np.ndarray
    flipped: bool
    padding: int


def in_memory_order(reference: np.ndarray, prediction: np.ndarray, spacing_mm) -> Pair:
    """Both volumes flat, without a copy where they are contiguous in the same order."""
    if max(reference.shape) >= cells.AXIS_MASK or min(reference.shape) < 1:
        raise InputError(f"Volume of shape {reference.shape}. Axes must be 1 to {cells.AXIS_MASK - 1} long.")
    flipped = reference.flags.f_contiguous and not reference.flags.c_contiguous
    (flat, shape), (other, _) = (flat_rows(v, flipped) for v in (reference, prediction))
    step, padding = -1 if flipped else 1, flat.size - reference.size
    return Pair(flat, other, shape, np.array(spacing_mm[::step], float), flipped, padding)


def flat_rows(volume: np.ndarray, flipped: bool) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A volume flat, with rows along its first axis (`flipped`) or its last; its shape, slowest first.

    Without a copy where it is contiguous so. The kernels read 64 voxels of a row at once: shorter
    rows are filled with zeros, which change nothing.
    """
    turned = volume.T if flipped else volume
    short = cells.LANES - turned.shape[2]
    if short > 0:
        turned = np.pad(turned, ((0, 0), (0, 0), (0, short)))
    elif turned.flags.f_contiguous and not turned.flags.c_contiguous and turned.nbytes > _REORDERED:
        flat = np.zeros(turned.size, turned.dtype)  # written where there is something
        runs.transpose(turned.T.ravel(), flat, *turned.T.shape)
        return flat, turned.shape
    return np.ascontiguousarray(turned).ravel(), turned.shape


def count_labels(pair: Pair, index: np.ndarray, structures: int) -> np.ndarray:
    """Voxels by structure of the reference (rows) and of the prediction (columns), 0 for none."""
    counts = np.zeros((structures + 1, structures + 1), np.int64)
    cells.count_labels(pair.reference, pair.prediction, pair.shape, index, *_maps(pair), counts)
    counts[0, 0] -= pair.padding
    return counts


def count_bits(pair: Pair, index: np.ndarray) -> np.ndarray:
    """Voxels of each bit in the reference, in the prediction, in both, (3, 64)."""
    counts = np.zeros((3, 64), np.int64)
    cells.count_bits(pair.reference, pair.prediction, pair.shape, index, *_maps(pair), counts)
    return counts


def surface_distances(
    pair: Pair,
    index: np.ndarray,
    structures: list[int],
    tolerances_mm,
    *,
    overlapping: bool,
    only_within: bool = False,
) -> dict[int, Distances]:
    """Distances of each structure that has a surface in both; counts must have been made before.

    With `only_within`, nothing is searched for beyond the largest tolerance.
    """
    r_chunks, p_chunks, r_used, p_used = _maps(pair)
    sides = [
        _cells(v, pair, index, overlapping, *maps)
        for v, maps in ((pair.reference, (r_chunks, r_used)), (pair.prediction, (p_chunks, p_used)))
    ]
    # by the array's own axes, whatever they are in memory: the same to the last bit
    area = cell_areas_mm2(tuple(pair.spacing[:: -1 if pair.flipped else 1].tolist()))
    area = area[REVERSED] if pair.flipped else area
    rows = nearest.near_rows(pair.spacing)
    return {
        s: _distances(*(side[s] for side in sides), pair, area, rows, tolerances_mm, only_within)
        for s in structures
    }


def _maps(pair: Pair) -> tuple[np.ndarray, ...]:
    """Chunk maps and row maps of this thread for volumes of this shape, kept between calls."""
    nz, ny, nx = pair.shape
    if getattr(_buffers, "shape", None) != pair.shape:
        chunks = (nz + 2, ny + 2, nx // cells.LANES + 1)
        _buffers.maps = (
            *(np.zeros(chunks, np.uint16) for _ in range(2)),
            *(np.zeros(chunks[:2], np.uint8) for _ in range(2)),
        )
        _buffers.shape = pair.shape
    return _buffers.maps


def _buffer(name: str, size: int, dtype) -> np.ndarray:
    """A zeroed buffer of this thread with at least `size` items, kept between calls."""
    buffer = getattr(_buffers, name, None)
    if buffer is None or len(buffer) < size:
        buffer = np.zeros(size, dtype)
        setattr(_buffers, name, buffer)
    return buffer


def _cells(volume, pair, index, overlapping, chunks, used) -> list[np.ndarray]:
    """Surface cells of one volume by structure."""
    size = 1 << 18
    top = 65 if overlapping else int(index.max()) + 1
    while True:
        found, counts = _buffer("found", size, np.int64), np.zeros(top, np.int64)
        total = cells.find_cells(volume, pair.shape, index, overlapping, chunks, used, found, counts)
        if total <= len(found):
            break
        size = total
    grouped, starts = cells.group_by_structure(found[:total], counts)
    return [grouped[a:b] for a, b in itertools.pairwise(starts)]


def _distances(reference, prediction, pair, area, rows, tolerances_mm, only_within) -> Distances:
    """Distances of one structure from its surface cells in both volumes."""
    low, high = nearest.bounds(reference, prediction)
    sides = [nearest.sort_into_bricks(c, low, high, pair.spacing) for c in (reference, prediction)]
    order = np.argsort(tolerances_mm, kind="stable")
    limits = distribution.squared_limits(np.asarray(tolerances_mm, float)[order])
    farthest = limits.max(initial=0.0) if only_within else np.inf
    inside = np.zeros(len(limits))
    bits = _buffer("bits", nearest.bits_needed(low, high), np.uint64)
    parts = []
    for query, target in (sides, sides[::-1]):
        distances = np.empty(len(query[0]))
        nearest.directed_squared(
            query, target, low, high, pair.spacing, pair.flipped, *rows, bits, farthest, distances
        )
        total, moment, most = distribution.accumulate(distances, query[0], area, limits, inside)
        if only_within:
            parts.append((total, np.nan, np.nan, np.nan))
            continue
        robust, tied = distribution.percentile(distances, query[0], area, _HAUSDORFF_SHARE, total, most)
        if tied:
            areas = area[query[0] & 255]
            robust = distribution.sorted_percentile(distances, areas, _HAUSDORFF_SHARE)
        parts.append((total, moment, most, robust))
    totals, moments, mosts, robusts = zip(*parts, strict=True)
    within = np.empty(len(limits))
    within[order] = inside
    return Distances(tuple(within.tolist()), sum(totals), sum(moments), max(mosts), max(robusts))
