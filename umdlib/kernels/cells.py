"""Surface cells of all structures of a volume, found in one pass over its voxels.

Arrays here are (Z, Y, X), C-contiguous, whatever the axes are called outside. A cell (z, y, x) is
the corner between the eight voxels (z-1..z, y-1..y, x-1..x); there is one more cell than voxels
along each axis, and what lies outside the volume is 0.
"""

from __future__ import annotations

import numpy as np
from numba import types

from umdlib.kernels.compiled import njit
from umdlib.kernels.lanes import LANES, first_bits, having, lowest, unequal, unlike

# In a chunk map (one entry per 64 voxels of a row): the chunk holds more than one value, or is
# the last of its row and not empty.
_MIXED = 65535

# A surface cell is one integer: structure, z, y, x and code, from high to low bits, so that sorted
# integers are grouped by structure and run through the volume in raster order.
_AXIS_BITS = 14
X_SHIFT, Y_SHIFT, Z_SHIFT, STRUCTURE_SHIFT = 8, 22, 36, 50
AXIS_MASK = (1 << _AXIS_BITS) - 1


@njit(cache=True, nogil=True)
def _guarded_rows(flat, nx):
    """The first row, the last row and a row of zeros, with room for 64 more on both sides."""
    rows = np.zeros((3, nx + 2 * LANES), flat.dtype)
    rows[0, LANES : LANES + nx] = flat[:nx]
    rows[1, LANES : LANES + nx] = flat[len(flat) - nx :]
    return rows.ravel()


@njit(inline="always")
def _row(flat, rows, z, y, nz, ny, nx):
    """Array and offset of row (z, y): guarded where reading 64 voxels could leave the volume."""
    width = nx + 2 * LANES
    if z < 0 or y < 0 or z >= nz or y >= ny:
        return rows, 2 * width + LANES
    if z == 0 and y == 0:
        return rows, LANES
    if z == nz - 1 and y == ny - 1:
        return rows, width + LANES
    return flat, (z * ny + y) * nx


@njit(inline="always")
def _summary(mixed, value, count):
    """Entry of a chunk map."""
    if mixed or (value and (count < LANES or value >= _MIXED)):
        return _MIXED
    return value


@njit(inline="always")
def _place(index, r, p, wide):
    """Where a pair of labels is counted; unsigned, so that no sign is looked at."""
    return types.uint64(index[r]) * wide + types.uint64(index[p])


@njit(inline="always")
def _empty_row(r, p, z, y, nz, ny, nx):
    """Whether a row of two volumes is known to hold nothing; of the first and the last it is not.

    No array is chosen here, as `_row` does: choosing one costs more than reading a row.
    """
    n = z * ny + y
    if n == 0 or n == nz * ny - 1:
        return False
    zero, found = r[0] ^ r[0], types.uint64(0)
    for at in range(0, nx, LANES):
        i = n * nx + at
        found |= (unlike(r, i, zero) | unlike(p, i, zero)) & first_bits(nx - at)
    return found == 0


@njit(cache=True, nogil=True)
def count_labels(reference, prediction, shape, index, r_chunks, p_chunks, r_used, p_used, counts):
    """Voxels by (reference, prediction) structure; fills chunk maps (Z+2, Y+2, C) and row maps.

    The maps must be zero, or those of an earlier call on volumes of the same shape.
    """
    nz, ny, nx = shape
    r_rows, p_rows = _guarded_rows(reference, nx), _guarded_rows(prediction, nx)
    zero, flat, wide = reference[0] ^ reference[0], counts.ravel(), types.uint64(counts.shape[1])
    counted = 0
    for z in range(nz):
        for y in range(ny):
            if r_used[z + 1, y + 1]:
                r_chunks[z + 1, y + 1] = 0
            if p_used[z + 1, y + 1]:
                p_chunks[z + 1, y + 1] = 0
            if _empty_row(reference, prediction, z, y, nz, ny, nx):
                r_used[z + 1, y + 1] = p_used[z + 1, y + 1] = False
                continue
            r, r_start = _row(reference, r_rows, z, y, nz, ny, nx)
            p, p_start = _row(prediction, p_rows, z, y, nz, ny, nx)
            r_any, p_any = types.uint64(0), types.uint64(0)
            for at in range(0, nx, LANES):
                i, j, c = r_start + at, p_start + at, at // LANES
                valid = first_bits(nx - at)
                r_full, p_full = unlike(r, i, zero) & valid, unlike(p, j, zero) & valid
                if not (r_full | p_full):
                    continue
                count = min(LANES, nx - at)
                changes, later = types.uint64(0), valid & ~types.uint64(1)
                if r_full:
                    r_changes = unequal(r, i, r, i - 1) & later
                    r_any |= r_full
                    r_chunks[z + 1, y + 1, c] = _summary(r_changes, r[i], count)
                    changes |= r_changes
                if p_full:
                    p_changes = unequal(p, j, p, j - 1) & later
                    p_any |= p_full
                    p_chunks[z + 1, y + 1, c] = _summary(p_changes, p[j], count)
                    changes |= p_changes
                run = 0
                while changes:
                    t = lowest(changes)
                    flat[_place(index, r[i + run], p[j + run], wide)] += t - run
                    run = t
                    changes &= changes - types.uint64(1)
                flat[_place(index, r[i + run], p[j + run], wide)] += count - run
                counted += count
            r_used[z + 1, y + 1], p_used[z + 1, y + 1] = r_any != 0, p_any != 0
    counts[0, 0] += nz * ny * nx - counted


@njit(cache=True, nogil=True)
def count_bits(reference, prediction, shape, index, r_chunks, p_chunks, r_used, p_used, counts):
    """Voxels of each structure (bit) in the reference, the prediction, both: rows of `counts`.

    Maps as in `count_labels`.
    """
    nz, ny, nx = shape
    r_rows, p_rows = _guarded_rows(reference, nx), _guarded_rows(prediction, nx)
    zero = reference[0] ^ reference[0]
    for z in range(nz):
        for y in range(ny):
            if r_used[z + 1, y + 1]:
                r_chunks[z + 1, y + 1] = 0
            if p_used[z + 1, y + 1]:
                p_chunks[z + 1, y + 1] = 0
            if _empty_row(reference, prediction, z, y, nz, ny, nx):
                r_used[z + 1, y + 1] = p_used[z + 1, y + 1] = False
                continue
            r, r_start = _row(reference, r_rows, z, y, nz, ny, nx)
            p, p_start = _row(prediction, p_rows, z, y, nz, ny, nx)
            r_any, p_any = False, False
            for c in range((nx + LANES - 1) // LANES):
                i, j = r_start + c * LANES, p_start + c * LANES
                count = min(LANES, nx - c * LANES)
                valid = first_bits(count)
                r_full, p_full = unlike(r, i, zero) & valid, unlike(p, j, zero) & valid
                if not (r_full | p_full):
                    continue
                r0, p0 = r[i], p[j]
                r_mixed, p_mixed = unlike(r, i, r0) & valid, unlike(p, j, p0) & valid
                if r_full:
                    r_any = True
                    r_chunks[z + 1, y + 1, c] = _summary(r_mixed, r0, count)
                if p_full:
                    p_any = True
                    p_chunks[z + 1, y + 1, c] = _summary(p_mixed, p0, count)
                changes = types.uint64(0)
                if r_mixed | p_mixed:
                    changes = unequal(r, i, r, i - 1) | unequal(p, j, p, j - 1)
                    changes &= valid & ~types.uint64(1)
                run = 0
                while run < count:
                    stop = min(lowest(changes), count)
                    _add_bits(types.uint64(r[i + run]), types.uint64(p[j + run]), stop - run, counts)
                    run = stop
                    changes &= changes - types.uint64(1)
            r_used[z + 1, y + 1], p_used[z + 1, y + 1] = r_any, p_any


@njit(inline="always")
def _add_bits(r, p, count, counts):
    """Add a run of equal voxels to the counts of its bits."""
    for row, mask in enumerate((r, p, r & p)):
        while mask:
            counts[row, lowest(mask)] += count
            mask &= mask - types.uint64(1)


@njit(inline="always")
def _write(structure, place, masks, found, total, counts):
    """Write one structure's surface cells among 64, given its voxels at the cells' corners."""
    a1, a0, b1, b0, c1, c0, d1, d0 = masks
    some = a1 | a0 | b1 | b0 | c1 | c0 | d1 | d0
    cells = some & ~(a1 & a0 & b1 & b0 & c1 & c0 & d1 & d0)
    one = types.uint64(1)
    while cells:
        t = types.uint64(lowest(cells))
        cells &= cells - one
        if total < len(found):
            code = (a1 >> t & one) << types.uint64(7) | (a0 >> t & one) << types.uint64(6)
            code |= (b1 >> t & one) << types.uint64(5) | (b0 >> t & one) << types.uint64(4)
            code |= (c1 >> t & one) << types.uint64(3) | (c0 >> t & one) << types.uint64(2)
            code |= (d1 >> t & one) << one | (d0 >> t & one)
            found[total] = place + (types.intp(t) << X_SHIFT) + types.intp(code)
        counts[structure] += 1
        total += 1
    return total


@njit(inline="always")
def _first_value(row, at, before, now):
    """First value of a row that is left: from `at` - 1 on where `before`, from `at` on else."""
    return row[at - 1 + lowest(before)] if before else row[at + lowest(now)]


@njit(cache=True, nogil=True)
def find_cells(volume, shape, index, overlapping, chunks, used, found, counts):
    """Write the surface cells of all structures to `found`; return how many there are.

    More than `found` can hold are counted, not written; `counts` gets the cells of each
    structure. Voxels hold a label, whose structure is `index[label]` (0 for none), or, where
    `overlapping`, bits: bit b is structure b + 1 if `index[b]` is not 0. A row is at least 64
    voxels long.
    """
    nz, ny, nx = shape
    rows = _guarded_rows(volume, nx)
    zero, one, total = volume[0] ^ volume[0], types.uint64(1), 0
    for z in range(nz + 1):
        for y in range(ny + 1):
            if not (used[z, y] | used[z, y + 1] | used[z + 1, y] | used[z + 1, y + 1]):
                continue
            a, i = _row(volume, rows, z - 1, y - 1, nz, ny, nx)
            b, j = _row(volume, rows, z - 1, y, nz, ny, nx)
            c, k = _row(volume, rows, z, y - 1, nz, ny, nx)
            d, m = _row(volume, rows, z, y, nz, ny, nx)
            previous = types.uint16(0)
            for n in range(nx // LANES + 1):
                u = chunks[z, y, n]
                same = u == chunks[z, y + 1, n] and u == chunks[z + 1, y, n]
                same = same and u == chunks[z + 1, y + 1, n] and u != _MIXED
                if same and u == previous:
                    continue
                previous = u if same else types.uint16(_MIXED)
                at = n * LANES
                place = (z << Z_SHIFT) | (y << Y_SHIFT) | (at << X_SHIFT)
                # voxels at the cells' own x, and at x - 1
                now, before = first_bits(nx - at), first_bits(nx - at + 1)
                if n == 0:
                    before &= ~one
                if overlapping:
                    for bit in range(len(index)):
                        if index[bit]:
                            v = one << types.uint64(bit)
                            masks = (
                                having(a, i + at - 1, v) & before,
                                having(a, i + at, v) & now,
                                having(b, j + at - 1, v) & before,
                                having(b, j + at, v) & now,
                                having(c, k + at - 1, v) & before,
                                having(c, k + at, v) & now,
                                having(d, m + at - 1, v) & before,
                                having(d, m + at, v) & now,
                            )
                            here = place | ((bit + 1) << STRUCTURE_SHIFT)
                            total = _write(bit + 1, here, masks, found, total, counts)
                    continue
                a1, a0 = unlike(a, i + at - 1, zero) & before, unlike(a, i + at, zero) & now
                b1, b0 = unlike(b, j + at - 1, zero) & before, unlike(b, j + at, zero) & now
                c1, c0 = unlike(c, k + at - 1, zero) & before, unlike(c, k + at, zero) & now
                d1, d0 = unlike(d, m + at - 1, zero) & before, unlike(d, m + at, zero) & now
                while a1 | a0 | b1 | b0 | c1 | c0 | d1 | d0:
                    if a1 | a0:
                        v = _first_value(a, i + at, a1, a0)
                    elif b1 | b0:
                        v = _first_value(b, j + at, b1, b0)
                    elif c1 | c0:
                        v = _first_value(c, k + at, c1, c0)
                    else:
                        v = _first_value(d, m + at, d1, d0)
                    masks = (
                        a1 & ~unlike(a, i + at - 1, v),
                        a0 & ~unlike(a, i + at, v),
                        b1 & ~unlike(b, j + at - 1, v),
                        b0 & ~unlike(b, j + at, v),
                        c1 & ~unlike(c, k + at - 1, v),
                        c0 & ~unlike(c, k + at, v),
                        d1 & ~unlike(d, m + at - 1, v),
                        d0 & ~unlike(d, m + at, v),
                    )
                    a1, a0, b1, b0 = a1 & ~masks[0], a0 & ~masks[1], b1 & ~masks[2], b0 & ~masks[3]
                    c1, c0, d1, d0 = c1 & ~masks[4], c0 & ~masks[5], d1 & ~masks[6], d0 & ~masks[7]
                    structure = index[v]
                    if structure:
                        here = place | (structure << STRUCTURE_SHIFT)
                        total = _write(structure, here, masks, found, total, counts)
    return total


@njit(cache=True, nogil=True)
def group_by_structure(found, counts):
    """Cells by structure, each in raster order, and where each structure's begin."""
    starts = np.zeros(len(counts) + 1, np.int64)
    starts[1:] = np.cumsum(counts)
    cursor, grouped = starts[:-1].copy(), np.empty_like(found)
    for cell in found:
        structure = cell >> STRUCTURE_SHIFT
        grouped[cursor[structure]] = cell
        cursor[structure] += 1
    return grouped, starts
