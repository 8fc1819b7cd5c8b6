"""How the area of a surface is distributed over the distance to the other surface."""

from __future__ import annotations

import numpy as np

from umdlib.kernels.compiled import njit

_BINS = 1024

# So many products are summed before they are added to a larger sum: rounding stays small.
_BLOCK = 256

# A cumulative share this near to the one that is asked for is decided by rounding.
_TIE = 1e-9


def squared_limits(tolerances_mm) -> np.ndarray:
    """Largest squared distances whose square roots do not exceed the tolerances.

    Comparing with these gives for every float64 what ``sqrt(squared) <= tolerance`` gives.
    """
    limits = np.square(np.asarray(tolerances_mm, float))
    while (over := np.sqrt(limits) > tolerances_mm).any():
        limits[over] = np.nextafter(limits[over], 0)
    while (under := np.sqrt(up := np.nextafter(limits, np.inf)) <= tolerances_mm).any():
        limits[under] = up[under]
    return limits


@njit(cache=True, nogil=True)
def accumulate(squared, cells, area, limits, inside):
    """Area, area times distance, largest distance; adds areas within each limit to `inside`.

    `squared` is replaced by its square root. Areas are counted per code before they are summed,
    so their sums depend on no order.
    """
    counts = np.zeros((len(limits) + 1, 256), np.int64)
    moment, part, most = 0.0, 0.0, 0.0
    for n in range(len(squared)):
        code = cells[n] & 255
        level = 0
        while level < len(limits) and squared[n] > limits[level]:
            level += 1
        counts[level, code] += 1
        distance = np.sqrt(squared[n])
        squared[n] = distance
        part += distance * area[code]
        most = max(most, distance)
        if n % _BLOCK == _BLOCK - 1:
            moment, part = moment + part, 0.0
    total = 0.0
    for level in range(len(limits) + 1):
        for code in range(256):
            total += counts[level, code] * area[code]
        if level < len(limits):
            inside[level] += total
    return total, moment + part, most


@njit(cache=True, nogil=True)
def percentile(distances, cells, area, share, total, most):
    """First distance at which the cumulative area reaches `share`; and whether rounding decides."""
    scale = (_BINS - 1) / most if most > 0 else 0.0
    areas, low, high = np.zeros(_BINS), np.full(_BINS, np.inf), np.full(_BINS, -np.inf)
    for n in range(len(distances)):
        b = int(distances[n] * scale)
        areas[b] += area[cells[n] & 255]
        low[b], high[b] = min(low[b], distances[n]), max(high[b], distances[n])
    below, b = 0.0, 0
    while b < _BINS - 1 and (below + areas[b]) / total < share - _TIE:
        below += areas[b]
        b += 1
    if high[b] < 0:
        return most, True
    count = 0
    for n in range(len(distances)):
        count += low[b] <= distances[n] <= high[b]
    inside, weights = np.empty(count), np.empty(count)
    count = 0
    for n in range(len(distances)):
        if low[b] <= distances[n] <= high[b]:
            inside[count], weights[count] = distances[n], area[cells[n] & 255]
            count += 1
    if low[b] == high[b]:
        below += weights.sum()
        return low[b], abs(below / total - share) < _TIE
    order = np.argsort(inside)
    for n in range(count):
        below += weights[order[n]]
        last = n == count - 1 or inside[order[n + 1]] > inside[order[n]]
        if last and abs(below / total - share) < _TIE:
            return inside[order[n]], True
        if last and below / total >= share:
            return inside[order[n]], False
    return inside[order[count - 1]], True


def sorted_percentile(distances: np.ndarray, areas: np.ndarray, share: float) -> float:
    """`percentile` by sorting all cells by distance and area, as the definition is written."""
    order = np.lexsort((areas, distances))
    cumulative = np.cumsum(areas[order]) / np.sum(areas[order])
    return float(distances[order][min(np.searchsorted(cumulative, share), len(order) - 1)])
