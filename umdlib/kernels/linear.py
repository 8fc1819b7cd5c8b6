"""Linear interpolation between voxels, equal to `scipy.ndimage` of order 1 to the bit, some ten times as fast.

Sums are taken in SciPy's order, in double precision. Volumes are C-contiguous float32 (I, J, K).
"""

from __future__ import annotations

import numpy as np

from umdlib.kernels.compiled import njit

_OUTSIDE = -1  # first voxel of a place outside a volume


def _places_along(
    index: np.ndarray, size: int, *, nearest: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second voxel and share of the second, of places along one axis.

    Parameters
    ----------
    index
        (n,) fractional voxel indices.
    size
        Voxels along the axis.
    nearest
        Whether places outside take the voxel at the border; else they are `_OUTSIDE`.
    """
    below = np.floor(index)
    first, second = (np.clip(b, 0, size - 1).astype(np.int64) for b in (below, below + 1))
    if not nearest:
        first[(index < 0) | (index > size - 1)] = _OUTSIDE
    return first, second, index - below


def along(mapping: np.ndarray) -> bool:
    """Whether an affine (4, 4) from one voxel grid to another turns no axis."""
    turn = np.asarray(mapping)[:3, :3]
    return bool(np.array_equal(turn, np.diag(np.diag(turn))))


def resampled(data: np.ndarray, mapping: np.ndarray, shape: tuple[int, int, int], fill: float) -> np.ndarray:
    """A volume (I, J, K) float32 at the voxels of a grid whose axes are `along` its own; `fill` outside."""
    index = [mapping[a, 3] + np.arange(n) * mapping[a, a] for a, n in enumerate(shape)]
    places = [_places_along(i, n, nearest=False) for i, n in zip(index, data.shape, strict=True)]
    out = np.empty(shape, np.float32)
    _along_axes(np.ascontiguousarray(data), *zip(*places, strict=True), np.float32(fill), out)
    return out


def read_at(data: np.ndarray, places: np.ndarray, fill: float) -> np.ndarray:
    """A volume (I, J, K) float32 at fractional voxels (3, A, B, C) float32; `fill` outside."""
    out = np.empty(places.shape[1:], np.float32)
    _at_places(np.ascontiguousarray(data), places.reshape(3, -1), np.float32(fill), out.reshape(-1))
    return out


def displaced(
    field: np.ndarray, coarse: np.ndarray, mapping: np.ndarray, scale: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Where in a source the content of each voxel of a grid comes from, if a field displaces it.

    Parameters
    ----------
    field
        (3, A, B, C) float32 displacement along the world's axes, on a coarse grid; beyond it the value at its border.
    coarse, mapping
        (4, 4) affines from voxels of the grid to those of the field and of the source, both `along` the axes.
    scale
        (3,) voxels of the source per mm along each axis.
    shape
        Of the grid.

    Returns
    -------
    numpy.ndarray
        (3, I, J, K) float32.
    """
    steps = np.diag(coarse)[:3]
    index = [(np.arange(n) + coarse[a, 3] / steps[a]) * steps[a] for a, n in enumerate(shape)]
    places = [_places_along(i, n, nearest=True) for i, n in zip(index, field.shape[1:], strict=True)]
    single = mapping.astype(np.float32)
    lines = [single[a, a] * np.arange(n, dtype=np.float32) + single[a, 3] for a, n in enumerate(shape)]
    out = np.empty((3, *shape), np.float32)
    ends = zip(*places, strict=True)
    _displaced(np.ascontiguousarray(field), *ends, tuple(lines), scale.astype(np.float32), out)
    return out


@njit(inline="always")
def _eight(data, i, j, k, i2, j2, k2, x, y, z):
    """Weighted sum of the eight voxels of two places along each axis."""
    u, v, w = 1.0 - x, 1.0 - y, 1.0 - z
    x, y, z = 1.0 - u, 1.0 - v, 1.0 - w  # as SciPy: the last weight is what is left
    t = np.float64(data[i, j, k]) * u * v * w
    t += np.float64(data[i, j, k2]) * u * v * z
    t += np.float64(data[i, j2, k]) * u * y * w
    t += np.float64(data[i, j2, k2]) * u * y * z
    t += np.float64(data[i2, j, k]) * x * v * w
    t += np.float64(data[i2, j, k2]) * x * v * z
    t += np.float64(data[i2, j2, k]) * x * y * w
    t += np.float64(data[i2, j2, k2]) * x * y * z
    return t


@njit(inline="always")
def _inside(place, size):
    """The nearest voxel that there is."""
    return int(min(max(place, 0.0), size - 1.0))


@njit(inline="always")
def _near(data, a, b, c):
    """The value at a place, that at the border for one outside."""
    i, j, k = np.floor(a), np.floor(b), np.floor(c)
    return _eight(
        data,
        _inside(i, data.shape[0]),
        _inside(j, data.shape[1]),
        _inside(k, data.shape[2]),
        _inside(i + 1, data.shape[0]),
        _inside(j + 1, data.shape[1]),
        _inside(k + 1, data.shape[2]),
        a - i,
        b - j,
        c - k,
    )


@njit(cache=True, nogil=True)
def at_points(data, to_voxel, xyz, offsets, states, out):
    """Values (offsets, n) at world points (n, 3) moved by each offset (m, 3), mean over states moved along z (s,)."""
    m = to_voxel
    for o in range(len(offsets)):
        for n in range(len(xyz)):
            x, y, z = xyz[n, 0] + offsets[o, 0], xyz[n, 1] + offsets[o, 1], xyz[n, 2] + offsets[o, 2]
            total = 0.0
            for s in states:
                w = z - s
                total += _near(
                    data,
                    m[0, 0] * x + m[0, 1] * y + m[0, 2] * w + m[0, 3],
                    m[1, 0] * x + m[1, 1] * y + m[1, 2] * w + m[1, 3],
                    m[2, 0] * x + m[2, 1] * y + m[2, 2] * w + m[2, 3],
                )
            out[o, n] = total / len(states)


@njit(cache=True, nogil=True)
def _at_places(data, places, fill, out):
    """Values (n,) at fractional voxels (3, n) float32; `fill` outside."""
    ni, nj, nk = data.shape
    for n in range(places.shape[1]):
        a, b, c = np.float64(places[0, n]), np.float64(places[1, n]), np.float64(places[2, n])
        if a < 0 or b < 0 or c < 0 or a > ni - 1 or b > nj - 1 or c > nk - 1:
            out[n] = fill
        else:
            i, j, k = int(a), int(b), int(c)
            i2, j2, k2 = min(i + 1, ni - 1), min(j + 1, nj - 1), min(k + 1, nk - 1)
            out[n] = _eight(data, i, j, k, i2, j2, k2, a - i, b - j, c - k)


@njit(inline="always")
def _row(data, i, j, i2, j2, x, y, part):
    """Four rows of voxels (4, K), each weighted along the first two axes."""
    u, v = 1.0 - x, 1.0 - y
    x, y = 1.0 - u, 1.0 - v
    for k in range(data.shape[2]):
        part[0, k] = np.float64(data[i, j, k]) * u * v
        part[1, k] = np.float64(data[i, j2, k]) * u * y
        part[2, k] = np.float64(data[i2, j, k]) * x * v
        part[3, k] = np.float64(data[i2, j2, k]) * x * y


@njit(inline="always")
def _in_row(part, k, k2, z):
    """The value in a row between two voxels, with the share z of the second."""
    w = 1.0 - z
    z = 1.0 - w
    t = part[0, k] * w
    t += part[0, k2] * z
    t += part[1, k] * w
    t += part[1, k2] * z
    t += part[2, k] * w
    t += part[2, k2] * z
    t += part[3, k] * w
    t += part[3, k2] * z
    return t


@njit(cache=True, nogil=True)
def _along_axes(data, first, second, share, fill, out):
    """Values (A, B, C) at the places of each axis, see `_places_along`; `fill` outside."""
    (fa, fb, fc), (ga, gb, gc), (sa, sb, sc) = first, second, share
    part = np.empty((4, data.shape[2]))
    for a in range(len(fa)):
        for b in range(len(fb)):
            if fa[a] < 0 or fb[b] < 0:
                out[a, b, :] = fill
                continue
            _row(data, fa[a], fb[b], ga[a], gb[b], sa[a], sb[b], part)
            for c in range(len(fc)):
                out[a, b, c] = fill if fc[c] < 0 else _in_row(part, fc[c], gc[c], sc[c])


@njit(cache=True, nogil=True)
def _displaced(field, first, second, share, base, scale, out):
    """Places (3, A, B, C) float32: of each axis `base` less `scale` times what a field (3, ...) says there."""
    (fa, fb, fc), (ga, gb, gc), (sa, sb, sc) = first, second, share
    part = np.empty((4, field.shape[3]))
    for axis in range(3):
        line = base[axis]
        for a in range(len(fa)):
            for b in range(len(fb)):
                _row(field[axis], fa[a], fb[b], ga[a], gb[b], sa[a], sb[b], part)
                for c in range(len(fc)):
                    shift = np.float32(_in_row(part, fc[c], gc[c], sc[c]))
                    n = a if axis == 0 else b if axis == 1 else c
                    out[axis, a, b, c] = line[n] - scale[axis] * shift


__all__ = ["along", "at_points", "displaced", "read_at", "resampled"]
