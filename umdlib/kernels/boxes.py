"""Boxes of structures and of differences, found in one pass; (Z, Y, X) arrays as in `cells`."""

from __future__ import annotations

import numpy as np

from umdlib.kernels.cells import _empty_row, _guarded_rows, _row
from umdlib.kernels.compiled import njit
from umdlib.kernels.lanes import LANES, first_bits, leading, lowest, unequal, unlike


@njit(inline="always")
def _grow(box, z, y, first, last):
    """Make a box (lowest z, y, x, highest z, y, x) hold a run of a row."""
    box[0], box[1], box[2] = min(box[0], z), min(box[1], y), min(box[2], first)
    box[3], box[4], box[5] = max(box[3], z), max(box[4], y), max(box[5], last)


@njit(cache=True, nogil=True)
def label_boxes(volume, shape, index, boxes):
    """Grow `boxes` (structures + 1, 6) to hold each structure's voxels; rows of 64 or more."""
    nz, ny, nx = shape
    rows = _guarded_rows(volume, nx)
    zero = volume[0] ^ volume[0]
    for z in range(nz):
        for y in range(ny):
            if _empty_row(volume, volume, z, y, nz, ny, nx):
                continue
            row, start = _row(volume, rows, z, y, nz, ny, nx)
            for at in range(0, nx, LANES):
                valid = first_bits(nx - at)
                left = unlike(row, start + at, zero) & valid
                while left:
                    value = row[start + at + lowest(left)]
                    same = ~unlike(row, start + at, value) & valid
                    left &= ~same
                    first, last = at + lowest(same), at + 63 - leading(same)
                    _grow(boxes[index[value]], z, y, first, last)


@njit(cache=True, nogil=True)
def difference_box(a, b, shape, box):
    """Grow `box` to hold every voxel where two volumes differ; rows of 64 or more."""
    nz, ny, nx = shape
    a_rows, b_rows = _guarded_rows(a, nx), _guarded_rows(b, nx)
    for z in range(nz):
        for y in range(ny):
            p, i = _row(a, a_rows, z, y, nz, ny, nx)
            q, j = _row(b, b_rows, z, y, nz, ny, nx)
            for at in range(0, nx, LANES):
                differ = unequal(p, i + at, q, j + at) & first_bits(nx - at)
                if differ:
                    _grow(box, z, y, at + lowest(differ), at + 63 - leading(differ))


@njit(cache=True, nogil=True)
def squared_depth(inside, spacing):
    """Squared distance in mm² of each voxel (Z, Y, X) to the nearest voxel outside the mask.

    What lies beyond the array is outside. Lower envelopes of parabolas, axis by axis
    (Felzenszwalb & Huttenlocher 2012, doi:10.4086/toc.2012.v008a019).
    """
    nz, ny, nx = inside.shape
    depth = np.empty(inside.shape)
    for z in range(nz):
        for y in range(ny):
            run = 0
            for x in range(nx):
                run = run + 1 if inside[z, y, x] else 0
                depth[z, y, x] = run
            run = 0
            for x in range(nx - 1, -1, -1):
                run = run + 1 if inside[z, y, x] else 0
                depth[z, y, x] = (min(depth[z, y, x], run) * spacing[2]) ** 2
    size = max(ny, nz) + 2
    line, root, edge = np.empty(size), np.empty(size, np.int64), np.empty(size + 1)
    for z in range(nz):
        for x in range(nx):
            _envelope(depth[z, :, x], spacing[1], line, root, edge)
    for y in range(ny):
        for x in range(nx):
            _envelope(depth[:, y, x], spacing[0], line, root, edge)
    return depth


@njit(inline="always")
def _envelope(values, step, line, root, edge):
    """Replace values by the least of all parabolas value + (distance)²; both ends are 0 outside."""
    n = len(values)
    inside = False
    for k in range(n):
        inside |= values[k] > 0
        line[k + 1] = values[k]
    if not inside:
        return
    line[0] = line[n + 1] = 0.0
    area, last = step * step, 0
    root[0], edge[0], edge[1] = 0, -np.inf, np.inf
    for k in range(1, n + 2):
        while True:
            r = root[last]
            cross = (line[k] - line[r]) / (2 * area * (k - r)) + (k + r) / 2
            if cross > edge[last]:
                break
            last -= 1
        last += 1
        root[last], edge[last], edge[last + 1] = k, cross, np.inf
    last = 0
    for k in range(1, n + 1):
        while edge[last + 1] < k:
            last += 1
        r = root[last]
        values[k - 1] = line[r] + ((k - r) * step) * ((k - r) * step)


@njit(cache=True, nogil=True)
def label_components(inside):
    """Components of a mask (Z, Y, X), 26 neighbours: label map int32 and sizes, from 1 on."""
    nz, ny, nx = inside.shape
    labelled = np.zeros((nz, ny, nx), np.int32)
    parent = np.zeros(inside.size // 2 + 2, np.int32)
    count = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not inside[z, y, x]:
                    continue
                label = labelled[z, y, x - 1] if x else 0
                # of the rows before, those that touch; next to a voxel to the left, one is enough
                first = x + 1 if label else max(x - 1, 0)
                for dz, dy in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                    if z + dz < 0 or not 0 <= y + dy < ny:
                        continue
                    for w in range(first, min(x + 2, nx)):
                        other = labelled[z + dz, y + dy, w]
                        if other == 0:
                            continue
                        if label == 0:
                            label = other
                        elif other != label:
                            label = _join(parent, label, other)
                if label == 0:
                    count += 1
                    parent[count] = count
                    label = count
                labelled[z, y, x] = label
    sizes, final = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int32)
    used = 0
    for label in range(1, count + 1):
        root = label
        while parent[root] != root:
            root = parent[root]
        if root == label:
            used += 1
            final[label] = used
        else:
            final[label] = final[root]
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                label = final[labelled[z, y, x]]
                labelled[z, y, x] = label
                sizes[label] += label > 0
    return labelled, sizes[: used + 1]


@njit(inline="always")
def _join(parent, a, b):
    """Join two components under the smaller label; return it."""
    while parent[a] != a:
        a = parent[a]
    while parent[b] != b:
        b = parent[b]
    low, high = min(a, b), max(a, b)
    parent[high] = low
    return low
