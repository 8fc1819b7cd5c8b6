"""Distance from every surface cell of one mask to the nearest surface cell of another, exactly.

Cells are sorted into bricks of 8 × 8 × 8. A cell is first looked for nearby, in a volume of one bit
per cell: one 64-bit window shows the nearest target in a row at once, and rows are visited from
near to far. What is not found there is searched in the target's bricks, whose bounding boxes rule
out all but a few. Both searches end with the same answer as a full distance map.
"""

from __future__ import annotations

import numpy as np
from numba import types

from umdlib.kernels.cells import AXIS_MASK, X_SHIFT, Y_SHIFT, Z_SHIFT
from umdlib.kernels.compiled import njit
from umdlib.kernels.lanes import POINTS, closer_boxes, closer_points, leading, lowest

_BRICK_SHIFT = 3

# Farther than any target, in mm.
FAR = 1e30

# Rows are searched bit by bit up to this many cells away along Z and Y, and up to this many rows.
REACH = 8
_MOST_ROWS = 48

# A 64-bit window shows the targets of a row from 32 cells before the query to 31 after it.
_HALF_WINDOW = 32


def near_rows(spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows (n, 2) around a cell by distance, their squared distances, and how far they suffice.

    A target nearer than the square root of the last number lies in one of these rows.
    """
    steps = np.arange(-REACH, REACH + 1)
    rows = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    squared = ((rows * spacing[:2]) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    limit = ((REACH + 1) * spacing[:2].min()) ** 2
    limit = min(limit, (_HALF_WINDOW * spacing[2]) ** 2, squared[order[_MOST_ROWS]])
    order = order[squared[order] < limit]
    return rows[order], squared[order], float(limit)


def bits_needed(low: np.ndarray, high: np.ndarray) -> int:
    """Length of the bit volume of a box of cells, in 64-bit words."""
    z, y, x = (int(v) for v in high - low + 1)
    return (z + 2 * REACH) * (y + 2 * REACH) * _words(x) + 2


@njit(inline="always")
def _words(width):
    """64-bit words of a row: one free word before it, and two after."""
    return (width + 3 * 64) // 64 + 1


@njit(inline="always")
def _z(cell):
    return (cell >> Z_SHIFT) & AXIS_MASK


@njit(inline="always")
def _y(cell):
    return (cell >> Y_SHIFT) & AXIS_MASK


@njit(inline="always")
def _x(cell):
    return (cell >> X_SHIFT) & AXIS_MASK


@njit(cache=True, nogil=True)
def bounds(a, b):
    """Lowest and highest z, y, x of two lists of cells."""
    low, high = np.full(3, AXIS_MASK), np.zeros(3, np.int64)
    for cells in (a, b):
        for cell in cells:
            for n, v in enumerate((_z(cell), _y(cell), _x(cell))):
                low[n], high[n] = min(low[n], v), max(high[n], v)
    return low, high


@njit(cache=True, nogil=True)
def sort_into_bricks(cells, low, high, spacing):
    """Cells by brick; first cell of each brick that is not empty; its box in mm; its place."""
    size = ((high - low) >> _BRICK_SHIFT) + 1
    first = np.zeros(size[0] * size[1] * size[2] + 1, np.int32)
    place = np.empty(len(cells), np.int32)
    for n, cell in enumerate(cells):
        z, y, x = _z(cell) - low[0], _y(cell) - low[1], _x(cell) - low[2]
        brick = (z >> _BRICK_SHIFT) * size[1] + (y >> _BRICK_SHIFT)
        place[n] = brick * size[2] + (x >> _BRICK_SHIFT)
        first[place[n] + 1] += 1
    used = 0
    for n in range(len(first) - 1):
        used += first[n + 1] > 0
        first[n + 1] += first[n]
    starts, bricks = np.empty(used + 1, np.int32), np.empty(used, np.int32)
    m = 0
    for n in range(len(first) - 1):
        if first[n + 1] > first[n]:
            starts[m], bricks[m] = first[n], n
            m += 1
    starts[used] = len(cells)
    ordered = np.empty_like(cells)
    for n, cell in enumerate(cells):
        ordered[first[place[n]]] = cell
        first[place[n]] += 1
    # read 32 at a time: what lies beyond the end is far from everything
    points = np.full((3, len(cells) + POINTS), FAR)
    boxes = np.full((6, used + POINTS), FAR)
    for m in range(used):
        boxes[:3, m], boxes[3:, m] = FAR, -FAR
        for n in range(starts[m], starts[m + 1]):
            cell = ordered[n]
            points[0, n] = _z(cell) * spacing[0]
            points[1, n] = _y(cell) * spacing[1]
            points[2, n] = _x(cell) * spacing[2]
            for k in range(3):
                boxes[k, m] = min(boxes[k, m], points[k, n])
                boxes[k + 3, m] = max(boxes[k + 3, m], points[k, n])
    return ordered, starts, bricks, points, boxes


@njit(inline="always")
def _nearer(points, start, stop, z, y, x, best, found):
    """Squared distance to, and index of, the nearest point if it is nearer than `best`.

    Points beyond `stop` may be looked at too: they are targets as well, or far away.
    """
    flat, stride = points.ravel(), points.shape[1]
    for n in range(start, stop, POINTS):
        mask = closer_points(flat, stride, n, z, y, x, best)
        while mask:
            t = n + lowest(mask)
            mask &= mask - types.uint64(1)
            a, b, c = points[0, t] - z, points[1, t] - y, points[2, t] - x
            d = a * a + b * b + c * c
            if d < best:
                best, found = d, t
    return best, found


@njit(cache=True, nogil=True)
def _gather(box, guess, starts, points, boxes, near_boxes, near_bricks):
    """Copy the boxes of all bricks that can hold the nearest target of a point in `box`.

    With d the distance from the middle of the box to its nearest target and r the radius of the
    box, no such target is farther from the middle than d + 2 r. Returns the number of bricks and
    the index of the target nearest to the middle.
    """
    z, y, x = (box[0] + box[3]) / 2, (box[1] + box[4]) / 2, (box[2] + box[5]) / 2
    radius = np.sqrt((box[3] - z) ** 2 + (box[4] - y) ** 2 + (box[5] - x) ** 2)
    a, b, c = points[0, guess] - z, points[1, guess] - y, points[2, guess] - x
    best = a * a + b * b + c * c
    flat, stride, bricks = boxes.ravel(), boxes.shape[1], len(starts) - 1
    for m in range(0, bricks, POINTS):
        mask = closer_boxes(flat, stride, m, z, y, x, best)
        while mask:
            t = m + lowest(mask)
            mask &= mask - types.uint64(1)
            best, guess = _nearer(points, starts[t], starts[t + 1], z, y, x, best, guess)
    # a hair more, for rounding
    most = ((np.sqrt(best) + 2 * radius) * (1 + 1e-9)) ** 2 + 1e-9
    count = 0
    for m in range(0, bricks, POINTS):
        mask = closer_boxes(flat, stride, m, z, y, x, most)
        while mask:
            t = m + lowest(mask)
            mask &= mask - types.uint64(1)
            near_bricks[count] = t
            for k in range(6):
                near_boxes[k, count] = boxes[k, t]
            count += 1
    for k in range(6):
        for n in range(count, count + POINTS):
            near_boxes[k, n] = FAR
    return count, guess


@njit(inline="always")
def _squared(cell, target, spacing, flipped):
    """Squared distance of two cells, summed in the order of the array's own axes."""
    a = (_z(cell) - _z(target)) * spacing[0]
    b = (_y(cell) - _y(target)) * spacing[1]
    c = (_x(cell) - _x(target)) * spacing[2]
    return c * c + b * b + a * a if flipped else a * a + b * b + c * c


@njit(cache=True, nogil=True)
def directed_squared(query, target, low, high, spacing, flipped, rows, squared, limit, bits, most, out):
    """Squared distance in mm² of each query cell to the nearest target cell.

    `query` and `target` are what `sort_into_bricks` returns for one common box; `bits` must be
    zero and is left so. Where no target lies within `most` (squared, mm²), `out` is the squared
    distance of any target.
    """
    # a hair more: the searches sum in other orders than `_squared`
    over = most * (1 + 1e-9) + 1e-9
    cells, starts, bricks, points, boxes = query
    t_cells, t_starts, t_bricks, t_points, t_boxes = target
    size = ((high - low) >> _BRICK_SHIFT) + 1
    # one empty brick all round
    full = np.zeros((size[0] + 2, size[1] + 2, size[2] + 2), np.uint8)
    for brick in t_bricks:
        bz, rest = brick // (size[1] * size[2]), brick % (size[1] * size[2])
        full[bz + 1, rest // size[2] + 1, rest % size[2] + 1] = 1

    deep = high[1] - low[1] + 1 + 2 * REACH
    wide = _words(high[2] - low[2] + 1)
    for cell in t_cells:
        x = _x(cell) - low[2] + 64
        row = (_z(cell) - low[0] + REACH) * deep + _y(cell) - low[1] + REACH
        bits[row * wide + (x >> 6)] |= types.uint64(1) << types.uint64(x & 63)
    offsets = np.empty(len(rows), np.int64)
    for k in range(len(rows)):
        offsets[k] = (rows[k, 0] * deep + rows[k, 1]) * wide
    near_boxes, near_bricks, pivot = np.empty_like(t_boxes), np.empty_like(t_starts), 0
    flat, stride = near_boxes.ravel(), near_boxes.shape[1]
    guess = t_cells[0]

    for m in range(len(bricks)):
        bz, rest = bricks[m] // (size[1] * size[2]), bricks[m] % (size[1] * size[2])
        by, bx = rest // size[2], rest % size[2]
        near = full[bz : bz + 3, by : by + 3, bx : bx + 3].any()
        count = 0
        for q in range(starts[m], starts[m + 1]):
            cell = cells[q]
            cz, cy, cx = _z(cell), _y(cell), _x(cell)
            dz, dy, dx = cz - _z(guess), cy - _y(guess), cx - _x(guess)
            a, b, c = dz * spacing[0], dy * spacing[1], dx * spacing[2]
            best = min(a * a + b * b + c * c, over)
            if near or best <= limit:
                s = cx - low[2] + 64 - _HALF_WINDOW
                row = (cz - low[0] + REACH) * deep + cy - low[1] + REACH
                word, shift = row * wide + (s >> 6), types.uint64(s & 63)
                for k in range(len(offsets)):
                    if squared[k] >= best:
                        break
                    at = word + offsets[k]
                    w = bits[at] >> shift
                    w |= (bits[at + 1] << types.uint64(1)) << (types.uint64(63) - shift)
                    if w:
                        after = lowest(w >> types.uint64(_HALF_WINDOW))
                        before = leading(w << types.uint64(_HALF_WINDOW)) + 1
                        along = after if after < before else -before
                        d = squared[k] + (along * spacing[2]) * (along * spacing[2])
                        if d < best:
                            best, dz, dy, dx = d, -rows[k, 0], -rows[k, 1], -along
                guess = ((cz - dz) << Z_SHIFT) | ((cy - dy) << Y_SHIFT) | ((cx - dx) << X_SHIFT)
                if best <= limit:
                    out[q] = _squared(cell, guess, spacing, flipped)
                    continue
            if count == 0:
                count, pivot = _gather(
                    boxes[:, m], pivot, t_starts, t_points, t_boxes, near_boxes, near_bricks
                )
            z, y, x = points[0, q], points[1, q], points[2, q]
            found = -1
            for n in range(0, count, POINTS):
                mask = closer_boxes(flat, stride, n, z, y, x, best)
                while mask:
                    t = near_bricks[n + lowest(mask)]
                    mask &= mask - types.uint64(1)
                    best, found = _nearer(t_points, t_starts[t], t_starts[t + 1], z, y, x, best, found)
            if found >= 0:
                guess = t_cells[found]
            out[q] = _squared(cell, guess, spacing, flipped)

    for cell in t_cells:
        x = _x(cell) - low[2] + 64
        row = (_z(cell) - low[0] + REACH) * deep + _y(cell) - low[1] + REACH
        bits[row * wide + (x >> 6)] = 0
