"""Bounds of a mean that hold for every distribution on a known range."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

from umdlib.errors import InputError


@lru_cache(maxsize=4096)
def _largest_gap(n: int, level: float) -> float:
    """One-sided Kolmogorov-Smirnov quantile: how far a sample's distribution may lie off."""
    return float(scipy.stats.ksone.ppf(level, n))


def distribution_free_bounds(
    values: np.ndarray, limits: tuple[float | np.ndarray, float | np.ndarray], *, confidence: float = 0.99
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of each column that covers for any distribution within `limits`.

    Parameters
    ----------
    values
        Shape (n, cells), one row per subject, NaN where undefined.
    limits
        Smallest and largest possible value, of all columns or one of each, shape (cells,).
    confidence
        Coverage is at least this, failures too rare to be in the sample included.

    Returns
    -------
    low, high : numpy.ndarray
        Shape (cells,). `limits` where no value is defined.

    Raises
    ------
    InputError
        If a value lies outside the limits.

    Notes
    -----
    Anderson (1969): the sample's distribution function is moved sideways as far as the one-sided
    Kolmogorov-Smirnov test allows, and the mass that this sets free is put on the limit. Bulletin
    of the International Statistical Institute 43, 249-251; compared with others by Phan, Thomas and
    Learned-Miller (2021), https://doi.org/10.48550/arXiv.2106.03163.

    Examples
    --------
    Eight subjects without any difference cannot exclude a fifth of failures that were not seen.

    >>> low, high = distribution_free_bounds(np.zeros((8, 1)), (-1, 1), confidence=0.95)
    >>> round(float(low[0]), 2), round(float(high[0]), 2)
    (-0.45, 0.45)
    """
    bottom, top = limits
    if not np.all(np.less(bottom, top)):
        raise InputError(f"Invalid limits {limits}. The first must be the smaller one.")
    outside = np.isfinite(values) & ((values < bottom - 1e-9) | (values > top + 1e-9))
    if outside.any():
        raise InputError(f"Value {values[outside][0]:g} lies outside the limits {limits}.")
    level = (1 + confidence) / 2
    columns = [np.sort(column[np.isfinite(column)]) for column in values.T]
    bottom, top = (np.broadcast_to(end, len(columns)) for end in limits)
    high = [_upper(column, end, level) for column, end in zip(columns, top, strict=True)]
    low = [-_upper(-column[::-1], -end, level) for column, end in zip(columns, bottom, strict=True)]
    return np.array(low, dtype=float), np.array(high, dtype=float)


def distribution_free_tail(
    values: np.ndarray, limits: tuple[float | np.ndarray, float | np.ndarray], null: float, side: int
) -> np.ndarray:
    """One-sided p-value that the mean of each column lies beyond `null`, for any distribution.

    Parameters
    ----------
    values, limits
        See `distribution_free_bounds`.
    null
        Hypothetical mean.
    side
        1 for *the mean is below* `null`, -1 for *above*.

    Returns
    -------
    numpy.ndarray
        Shape (cells,): the largest level at which the bound of `distribution_free_bounds` on that side
        still holds `null`; 1 where the observed mean does not lie beyond it.

    Examples
    --------
    >>> low, high = distribution_free_bounds(np.full((8, 1), 0.9), (-1, 1), confidence=0.9)
    >>> float(distribution_free_tail(np.full((8, 1), 0.9), (-1, 1), low[0], -1)[0].round(3))
    0.05
    """
    bottom, top = limits
    flipped = values if side > 0 else -values
    top, null = (top, null) if side > 0 else (-bottom, -null)
    n = np.isfinite(flipped).sum(axis=0)
    top = np.broadcast_to(np.asarray(top, float), n.shape)
    ordered = np.sort(np.where(np.isfinite(flipped), flipped, top), axis=0)
    steps = np.diff(ordered, axis=0, append=top[None])
    reached = np.minimum(np.arange(1, len(ordered) + 1)[:, None] / np.maximum(n, 1), 1)
    beyond = (n > 0) & (top - (steps * reached).sum(axis=0) < null)
    asked = np.flatnonzero(beyond)
    tail = np.ones(len(n))
    if len(asked):
        gap = _gap_short_of(null, top[asked], steps[:, asked], reached[:, asked])
        tail[asked] = scipy.stats.ksone.sf(gap, np.maximum(n[asked], 1))
    return tail


def _gap_short_of(null: float, top: np.ndarray, steps: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Largest gap of the two distribution functions, per column, whose bound is short of `null`."""
    inside, outside = np.zeros(steps.shape[1]), np.ones(steps.shape[1])
    share = np.empty_like(reached)
    for _ in range(40):
        middle = (inside + outside) / 2
        np.subtract(reached, middle, out=share)
        np.maximum(share, 0, out=share)
        np.multiply(steps, share, out=share)
        short = top - share.sum(axis=0) < null
        inside, outside = np.where(short, middle, inside), np.where(short, outside, middle)
    return inside


def _upper(ordered: np.ndarray, top: float, level: float) -> float:
    """Upper bound of the mean of one sample, ascending."""
    n = len(ordered)
    if n == 0:
        return top
    steps = np.diff(ordered, append=top)
    share = np.maximum(np.arange(1, n + 1) / n - _largest_gap(n, level), 0.0)
    return float(top - steps @ share)
