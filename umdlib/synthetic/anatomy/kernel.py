"""Compiled loops of the distance fields: one pass over the voxels, no temporary arrays."""

from __future__ import annotations

import math

import numpy as np

from umdlib.kernels.compiled import njit


@njit(cache=True, error_model="numpy")
def capsules(coordinates, corner, boxes, p, q, a, b, out):
    """Lower `out` (I, J, K) to the distance (mm) to capsules from p (N, 3), radius a (N,), to q, radius b.

    `coordinates` x, y, z are of a whole canvas, in which `out` begins at `corner` (3,); capsule n is drawn within
    its box of `out`, `boxes` (N, 3, 2). Rows are contiguous, so that they are vectorised.
    """
    x, y, z = coordinates
    for n in range(len(boxes)):
        p0, p1, p2 = p[n, 0], p[n, 1], p[n, 2]
        d0, d1, d2 = q[n, 0] - p0, q[n, 1] - p1, q[n, 2] - p2
        length2 = max(d0 * d0 + d1 * d1 + d2 * d2, 1e-6)
        radius, wider = a[n], b[n] - a[n]
        low, high = boxes[n, 2]
        for i in range(boxes[n, 0, 0], boxes[n, 0, 1]):
            for j in range(boxes[n, 1, 0], boxes[n, 1, 1]):
                line = out[i, j, low:high]
                xs = x[corner[0] + i, corner[1] + j, corner[2] + low : corner[2] + high]
                ys = y[corner[0] + i, corner[1] + j, corner[2] + low : corner[2] + high]
                zs = z[corner[0] + i, corner[1] + j, corner[2] + low : corner[2] + high]
                for k in range(len(line)):
                    u, v, w = xs[k] - p0, ys[k] - p1, zs[k] - p2
                    t = min(max((u * d0 + v * d1 + w * d2) / length2, 0.0), 1.0)
                    u -= t * d0
                    v -= t * d1
                    w -= t * d2
                    distance = math.sqrt(u * u + v * v + w * w) - (radius + t * wider)
                    line[k] = distance if distance < line[k] else line[k]


@njit(cache=True, error_model="numpy")
def ellipsoid(coordinates, corner, c, rows, inverse, out):
    """Approximate distance (mm) to an ellipsoid into `out`; float32 throughout.

    `coordinates` x, y, z are of a whole canvas, in which `out` begins at `corner` (3,); `rows` (3, 3) are the
    axes, each divided by its radius; `inverse` (3,) one over the radii.
    """
    x, y, z = coordinates
    one, tiny = np.float32(1), np.float32(1e-6)
    last = corner[2] + out.shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            line = out[i, j]
            xs = x[corner[0] + i, corner[1] + j, corner[2] : last]
            ys = y[corner[0] + i, corner[1] + j, corner[2] : last]
            zs = z[corner[0] + i, corner[1] + j, corner[2] : last]
            for k in range(len(line)):
                u, v, w = xs[k] - c[0], ys[k] - c[1], zs[k] - c[2]
                a = rows[0, 0] * u + rows[0, 1] * v + rows[0, 2] * w
                b = rows[1, 0] * u + rows[1, 1] * v + rows[1, 2] * w
                d = rows[2, 0] * u + rows[2, 1] * v + rows[2, 2] * w
                k0 = math.sqrt(a * a + b * b + d * d)
                a *= inverse[0]
                b *= inverse[1]
                d *= inverse[2]
                k1 = math.sqrt(a * a + b * b + d * d)
                line[k] = k0 * (k0 - one) / max(k1, tiny)


@njit(cache=True)
def upsample(field, first, share, second, share2, third, share3, out):
    """Linear interpolation of `field` at indices first + share (per axis), into `out`."""
    line = np.empty(field.shape[2], np.float32)
    for i in range(out.shape[0]):
        p, s = first[i], share[i]
        for j in range(out.shape[1]):
            q, t = second[j], share2[j]
            for n in range(field.shape[2]):
                low = field[p, q, n] * (1 - t) + field[p, q + 1, n] * t
                high = field[p + 1, q, n] * (1 - t) + field[p + 1, q + 1, n] * t
                line[n] = low * (1 - s) + high * s
            for k in range(out.shape[2]):
                r, v = third[k], share3[k]
                out[i, j, k] = line[r] * (1 - v) + line[r + 1] * v


@njit(cache=True)
def smooth_min(a, b, k, out):
    """Union of two distance fields (flat arrays), rounded over k mm, into `out`."""
    for i in range(out.size):
        h = max(k - abs(a[i] - b[i]), 0.0) / k
        out[i] = min(a[i], b[i]) - h * h * k / 4


@njit(cache=True)
def spline(values, first, weights, out):
    """Cubic B-spline along the last axis: four coefficients each, `first` (K,), `weights` (K, 4).

    Not a matrix product: those round differently from one processor to the next.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                n = first[k]
                out[i, j, k] = (
                    weights[k, 0] * values[i, j, n]
                    + weights[k, 1] * values[i, j, n + 1]
                    + weights[k, 2] * values[i, j, n + 2]
                    + weights[k, 3] * values[i, j, n + 3]
                )


@njit(cache=True)
def cell_borders(x, y, width, half_mm, offsets, where, out):
    """Mark in `out` what lies within `half_mm` of the border of two cells, `where` is true.

    Cells are those of the nearest of points scattered on a grid of `width` (mm) in x and y;
    `offsets` (N, N, 2) are the points' places in their squares, repeated.
    """
    n = offsets.shape[0]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                if not where[i, j, k]:
                    continue
                step = width[i, j, k]
                u, v = x[i, j, k] / step, y[i, j, k] / step
                a, b = int(math.floor(u)), int(math.floor(v))
                first, second = 1e9, 1e9
                for p in range(a - 1, a + 2):
                    for q in range(b - 1, b + 2):
                        du = p + offsets[p % n, q % n, 0] - u
                        dv = q + offsets[p % n, q % n, 1] - v
                        distance = du * du + dv * dv
                        if distance < first:
                            first, second = distance, first
                        elif distance < second:
                            second = distance
                border = 0.5 * step * (math.sqrt(second) - math.sqrt(first))
                out[i, j, k] = border < half_mm[i, j, k]
