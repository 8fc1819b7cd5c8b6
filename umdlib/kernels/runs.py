"""Masks as runs along the rows of a volume: found, subtracted, joined to components, measured.

A run is a row (z · Y + y), the first voxel x in it and the one after its last; runs are sorted by row
and x. What costs here is the number of runs, not the number of voxels.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from umdlib.kernels.cells import _guarded_rows, _row
from umdlib.kernels.lanes import LANES, first_bits, lowest, unlike


@njit(cache=True, nogil=True)
def find_runs(volume, shape, box, value, rows, first, stop):
    """Runs of `value` in a box (lowest z, y, x, highest z, y, x) of a flat volume; their number.

    As many are written as there is room for. Rows are of 64 voxels or more.
    """
    nz, ny, nx = shape
    guarded = _guarded_rows(volume, nx)
    count, room = 0, len(rows)
    for z in range(box[0], box[3] + 1):
        for y in range(box[1], box[4] + 1):
            row, start = _row(volume, guarded, z, y, nz, ny, nx)
            inside = False
            for at in range(box[2] // LANES * LANES, box[5] + 1, LANES):
                same = ~unlike(row, start + at, value) & first_bits(nx - at)
                if at < box[2]:
                    same &= ~first_bits(box[2] - at)
                same &= first_bits(box[5] + 1 - at)
                changes = same ^ ((same << types.uint64(1)) | types.uint64(inside))
                while changes:
                    x = at + lowest(changes)
                    changes &= changes - types.uint64(1)
                    if inside:
                        if count < room:
                            stop[count] = x
                        count += 1
                    elif count < room:
                        rows[count], first[count] = z * ny + y, x
                    inside = not inside
            if inside:
                if count < room:
                    stop[count] = box[5] + 1
                count += 1
    return count


@njit(cache=True, nogil=True)
def subtract(a_rows, a_first, a_stop, b_rows, b_first, b_stop, rows, first, stop):
    """What the runs of a hold and those of b do not; room for both together is needed."""
    count, j = 0, 0
    for i in range(len(a_rows)):
        row, x, end = a_rows[i], a_first[i], a_stop[i]
        while j < len(b_rows) and (b_rows[j] < row or (b_rows[j] == row and b_stop[j] <= x)):
            j += 1
        k = j
        while x < end:
            if k < len(b_rows) and b_rows[k] == row and b_first[k] < end:
                if b_first[k] > x:
                    rows[count], first[count], stop[count] = row, x, b_first[k]
                    count += 1
                x = b_stop[k]
                k += 1
            else:
                rows[count], first[count], stop[count] = row, x, end
                count += 1
                break
    return count


@njit(inline="always")
def _root(parent, n):
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@njit(cache=True, nogil=True)
def _row_starts(rows, low, count):
    """Index of the first run at or after each of `count` rows from `low` on, and one more."""
    starts = np.empty(count + 1, np.int64)
    n = 0
    for row in range(count + 1):
        while n < len(rows) and rows[n] < low + row:
            n += 1
        starts[row] = n
    return starts


@njit(cache=True, nogil=True)
def largest(rows, first, stop, shape, flipped):
    """Numbers of the runs of the largest component (26 neighbours).

    Of several of one size, that whose first voxel comes first in the order of the array's own axes.
    """
    nz, ny, nx = shape
    n = len(rows)
    parent = np.arange(n)
    low = rows[0]
    starts = _row_starts(rows, low, rows[n - 1] - low + 1)
    # of each of the four rows before that touch, the first run that may still be near
    near, ends = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for i in range(n):
        if i == 0 or rows[i] != rows[i - 1]:
            y = rows[i] % ny
            for side in range(4):
                other = rows[i] - low - (1 if side == 0 else ny + 2 - side)
                off = (side <= 1 and y == 0) or (side == 3 and y == ny - 1) or other < 0
                near[side], ends[side] = (0, 0) if off else (starts[other], starts[other + 1])
        for side in range(4):
            j = near[side]
            while j < ends[side] and stop[j] < first[i]:
                j += 1
            near[side] = j
            while j < ends[side] and first[j] <= stop[i]:
                a, b = _root(parent, i), _root(parent, j)
                if a < b:
                    parent[b] = a
                elif b < a:
                    parent[a] = b
                j += 1
    sizes, keys = np.zeros(n, np.int64), np.full(n, np.iinfo(np.int64).max)
    best = -1
    for i in range(n):
        r = _root(parent, i)
        parent[i] = r
        sizes[r] += stop[i] - first[i]
        z, y = rows[i] // ny, rows[i] % ny
        key = (first[i] * ny + y) * nz + z if flipped else (z * ny + y) * nx + first[i]
        keys[r] = min(keys[r], key)
    for i in range(n):
        if parent[i] == i and (
            best < 0 or sizes[i] > sizes[best] or (sizes[i] == sizes[best] and keys[i] < keys[best])
        ):
            best = i
    count = 0
    for i in range(n):
        count += parent[i] == best
    chosen = np.empty(count, np.int64)
    count = 0
    for i in range(n):
        if parent[i] == best:
            chosen[count] = i
            count += 1
    return chosen


@njit(inline="always")
def _chord(first, stop, start, end, x):
    """Voxels from x to the nearest one outside along a row whose runs are start to end; 0 outside."""
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        if stop[middle] <= x:
            low = middle + 1
        else:
            high = middle
    if low == end or first[low] > x:
        return 0
    return min(x - first[low] + 1, stop[low] - x)


@njit(inline="always")
def _squared_depth(first, stop, starts, low, ny, z, y, x, near, squared, spacing, enough):
    """Squared distance in mm² of a voxel to the nearest one outside; less than `enough` is not exact."""
    best = np.inf
    for k in range(len(near)):
        if squared[k] >= best:
            break
        zz, yy = z + near[k, 0], y + near[k, 1]
        row = zz * ny + yy - low
        chord = 0
        if 0 <= yy < ny and 0 <= row < len(starts) - 1:
            chord = _chord(first, stop, starts[row], starts[row + 1], x)
        reach = chord * spacing[2]
        best = min(best, squared[k] + reach * reach)
        if best < enough:
            break
    return best


@njit(cache=True, nogil=True)
def deepest(rows, first, stop, shape, spacing, near, squared, flipped, slack):
    """Voxel farthest from the outside of one mask, by its number along the array's own axes.

    Within `slack` of the farthest, the first in the order of the array's own axes. Blocks of voxels
    are looked at best first: no voxel is deeper than the middle of its block by more than the
    distance between them.
    """
    nz, ny, nx = shape
    low = rows[0]
    starts = _row_starts(rows, low, rows[len(rows) - 1] - low + 1)
    box = np.array([rows[0] // ny, ny, nx, rows[len(rows) - 1] // ny, 0, 0])
    for n in range(len(rows)):
        y = rows[n] % ny
        box[1], box[4] = min(box[1], y), max(box[4], y)
        box[2], box[5] = min(box[2], first[n]), max(box[5], stop[n] - 1)
    edge = 1
    while edge < max(box[3] - box[0], box[4] - box[1], box[5] - box[2]) + 1:
        edge *= 2
    edge = max(edge // 8, 1)
    best, key = 0.0, np.iinfo(np.int64).max
    found, depths, known = np.empty(64, np.int64), np.empty(64), 0
    # blocks of one size at a time: (z, y, x) of their first voxels, deepest middle last
    blocks = np.empty((64, 3), np.int64)
    count = 0
    for z in range(box[0], box[3] + 1, edge):
        for y in range(box[1], box[4] + 1, edge):
            for x in range(box[2], box[5] + 1, edge):
                if count == len(blocks):
                    blocks = np.concatenate((blocks, np.empty_like(blocks)))
                blocks[count, 0], blocks[count, 1], blocks[count, 2] = z, y, x
                count += 1
    while True:
        bounds = np.empty(count)
        half = edge // 2
        away = half * np.sqrt(spacing[0] ** 2 + spacing[1] ** 2 + spacing[2] ** 2)
        for n in range(count):
            z, y, x = blocks[n, 0] + half, blocks[n, 1] + half, blocks[n, 2] + half
            least = max(best - slack - away, 0.0) * (1 - 1e-9)
            d = np.sqrt(
                _squared_depth(first, stop, starts, low, ny, z, y, x, near, squared, spacing, least * least)
            )
            bounds[n] = d + away
            if edge == 1 and d > 0 and d >= best - slack:
                if known == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                    depths = np.concatenate((depths, np.empty_like(depths)))
                found[known] = (x * ny + y) * nz + z if flipped else (z * ny + y) * nx + x
                depths[known] = d
                known += 1
            best = max(best, d)
        if edge == 1:
            break
        edge = half
        finer = np.empty((8 * count, 3), np.int64)
        kept = 0
        for n in range(count):
            if bounds[n] * (1 + 1e-9) < best - slack:
                continue
            for part in range(8):
                z = blocks[n, 0] + edge * (part >> 2)
                y = blocks[n, 1] + edge * ((part >> 1) & 1)
                x = blocks[n, 2] + edge * (part & 1)
                if z <= box[3] and y <= box[4] and x <= box[5]:
                    finer[kept, 0], finer[kept, 1], finer[kept, 2] = z, y, x
                    kept += 1
        blocks, count = finer, kept
    for n in range(known):
        if depths[n] >= best - slack:
            key = min(key, found[n])
    return key


@njit(cache=True, nogil=True)
def fill(target, rows, first, stop, nx, value):
    """Set bits of a flat volume along runs."""
    for n in range(len(rows)):
        start = rows[n] * nx
        for x in range(start + first[n], start + stop[n]):
            target[x] |= value


@njit(cache=True, nogil=True)
def transpose(source, target, n0, n1, n2):
    """Fill a flat volume of zeros in Fortran order from a flat one in C order; empty parts are skipped."""
    zero = source[0] ^ source[0]
    tile = 64
    for j in range(n1):
        for k0 in range(0, n2, tile):
            k1 = min(k0 + tile, n2)
            for i0 in range(0, n0, tile):
                i1 = min(i0 + tile, n0)
                any_ = zero
                for i in range(i0, i1):
                    start = (i * n1 + j) * n2
                    for k in range(start + k0, start + k1):
                        any_ |= source[k]
                if any_ == zero:
                    continue
                for k in range(k0, k1):
                    to = (k * n1 + j) * n0
                    for i in range(i0, i1):
                        target[to + i] = source[(i * n1 + j) * n2 + k]
