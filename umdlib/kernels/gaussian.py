"""Gaussian filter along the axes of a volume, equal to `scipy.ndimage.gaussian_filter1d` to the bit, and faster."""

from __future__ import annotations

import numpy as np

from umdlib.kernels.compiled import njit

_ENDS = {"nearest": "edge", "wrap": "wrap"}  # SciPy's words to NumPy's
_CHUNK = 512  # voxels of a row that are added at once: they stay in the cache


def filtered(values: np.ndarray, sd: float, axis: int, *, mode: str, truncate: float) -> np.ndarray:
    """A volume after a Gaussian along one axis.

    Parameters
    ----------
    values
        (I, J, K) float32.
    sd
        Standard deviation in voxels, above 0.
    axis
        0, 1 or 2.
    mode
        ``"nearest"`` or ``"wrap"``: what lies beyond the ends.
    truncate
        Standard deviations after which the kernel ends.

    Returns
    -------
    numpy.ndarray
        C-contiguous float32.
    """
    reach = int(truncate * sd + 0.5)
    weights = np.exp(-0.5 / (sd * sd) * np.arange(-reach, reach + 1) ** 2)
    weights = (weights / weights.sum())[: reach + 1]  # from the far end to the middle
    line = np.pad(np.arange(values.shape[axis]), reach, mode=_ENDS[mode])
    values = np.ascontiguousarray(values)
    out = np.empty_like(values)
    if axis == 2:
        _along_rows(values, line, weights, out)
    elif axis == 1:
        _across_rows(values, line, weights, out)
    else:
        flat = (1, values.shape[0], values.shape[1] * values.shape[2])
        _across_rows(values.reshape(flat), line, weights, out.reshape(flat))
    return out


@njit(cache=True, nogil=True)
def _across_rows(values, line, weights, out):
    """Filter along the second axis: whole rows are added."""
    reach, n_k = len(weights) - 1, values.shape[2]
    total = np.empty(_CHUNK)
    for i in range(values.shape[0]):
        for start in range(0, n_k, _CHUNK):
            stop = min(start + _CHUNK, n_k)
            for j in range(values.shape[1]):
                middle = values[i, line[j + reach], start:stop]
                for k in range(stop - start):
                    total[k] = np.float64(middle[k]) * weights[reach]
                for r in range(reach):
                    low = values[i, line[j + r], start:stop]
                    high = values[i, line[j + 2 * reach - r], start:stop]
                    for k in range(stop - start):
                        total[k] += (np.float64(low[k]) + np.float64(high[k])) * weights[r]
                for k in range(stop - start):
                    out[i, j, start + k] = total[k]


@njit(cache=True, nogil=True)
def _along_rows(values, line, weights, out):
    """Filter along the third axis."""
    reach, n_k = len(weights) - 1, values.shape[2]
    row, total = np.empty(n_k + 2 * reach), np.empty(n_k)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(reach):
                row[k], row[n_k + reach + k] = values[i, j, line[k]], values[i, j, line[n_k + reach + k]]
            for k in range(n_k):
                row[reach + k] = values[i, j, k]
            for k in range(n_k):
                total[k] = row[k + reach] * weights[reach]
            for r in range(reach):
                for k in range(n_k):
                    total[k] += (row[k + r] + row[k + 2 * reach - r]) * weights[r]
            for k in range(n_k):
                out[i, j, k] = total[k]


__all__ = ["filtered"]
