"""What means, SDs, quartiles and n can be together, whatever the data behind them.

Every function takes printed numbers with the half unit of their last place, and is generous: it
allows the rounding, either definition of an SD (n or n - 1 below the sum) and the usual
definitions of a quartile. What still does not fit cannot be the summary of any data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def largest_sd(mean: float, *, n: int, low: float = 0.0, high: float = 1.0, half_unit: float = 0.0) -> float:
    """Largest SD of `n` values in [`low`, `high`] with this mean.

    Bhatia & Davis (2000): the variance is at most (high - mean)(mean - low), reached when every
    value is `low` or `high`. Times n / (n - 1), so that a sample SD passes too, and at the
    mean within `half_unit` that allows most. Without an upper limit one value holds all that is
    above `low`, and the sample SD is (mean - low) √n.

    Parameters
    ----------
    mean, low, high, half_unit
        In the unit of the score; `high` may be infinite.
    n
        Number of values, 2 or more.

    Returns
    -------
    float
        NaN if the mean is NaN or no mean within `half_unit` lies in the range.

    Notes
    -----
    doi 10.1080/00029890.2000.12005203.

    Examples
    --------
    >>> round(largest_sd(0.4101, n=490), 4), round(largest_sd(85.0, n=16, high=100.0), 2)
    (0.4924, 36.88)
    >>> round(largest_sd(12.0, n=16, high=float("inf")), 2)
    48.0
    """
    least, most = max(mean - half_unit, low), min(mean + half_unit, high)
    if np.isnan(mean) or least > most:
        return float("nan")
    if high == np.inf:
        return float((most - low) * np.sqrt(n))
    best = min(max((low + high) / 2, least), most)
    return float(np.sqrt((high - best) * (best - low) * n / (n - 1)))


def largest_value_at_least(mean: float, sd: float) -> float:
    """How large at least one value must be, given mean and SD of values above 0.

    From the same inequality: sd² <= (max - mean) mean.

    Examples
    --------
    >>> round(largest_value_at_least(0.0021, 0.0451), 3)
    0.971
    """
    return mean + sd**2 / mean if mean > 0 else float("nan")


def sd_of_average_range(sds: np.ndarray, *, n: int) -> tuple[float, float]:
    """Smallest and largest SD that the average of several scores can have over `n` subjects.

    Minkowski: the SD of a mean of k variables is at most the mean of their SDs (all correlated
    1); it is at least (2 max - sum) / k, or 0. With a factor for either definition of an SD.

    Examples
    --------
    >>> low, high = sd_of_average_range(np.array([0.3, 0.1]), n=10**6)
    >>> round(low, 3), round(high, 3)
    (0.1, 0.2)
    """
    sds = np.asarray(sds, float)
    factor = np.sqrt(n / (n - 1))
    least = max(0.0, 2 * sds.max() - sds.sum()) / len(sds)
    return float(least / factor), float(sds.mean() * factor)


def implied_correlation(sds: np.ndarray, sd_average: float) -> float:
    """Mean correlation between scores that the SD of their average implies.

    Weighted by the products of the SDs; NaN if fewer than two scores vary. Above 1 or far below
    0 is impossible.

    Examples
    --------
    >>> round(implied_correlation(np.array([0.2, 0.2]), 0.2), 3)
    1.0
    >>> round(implied_correlation(np.array([0.2, 0.2]), 0.1), 3)
    -0.5
    """
    sds = np.asarray(sds, float)
    products = sds.sum() ** 2 - np.sum(sds**2)
    if products <= 0:
        return float("nan")
    return float(((len(sds) * sd_average) ** 2 - np.sum(sds**2)) / products)


def mean_range_from_quartiles(
    q1: float, median: float, q3: float, *, n: int, low: float = 0.0, high: float = 1.0
) -> tuple[float, float]:
    """Smallest and largest mean of `n` values in [`low`, `high`] with these quartiles.

    A quarter of the values lies in each of the four ranges; the mean is smallest when each value
    sits at the lower end of its range, and largest at the upper. One value per quarter is given
    away for the definition of a quartile.

    Examples
    --------
    >>> low, high = mean_range_from_quartiles(0.2, 0.4, 0.6, n=10**9)
    >>> round(low, 3), round(high, 3)
    (0.3, 0.55)
    """
    width = high - low
    a, b, c = ((x - low) / width for x in (q1, median, q3))
    least = (a + b + c) / 4 - c / n
    most = (1 + a + b + c) / 4 + (1 - a) / n
    return low + width * max(least, 0.0), low + width * min(most, 1.0)


def sd_range_from_quartiles(
    q1: float, median: float, q3: float, mean: float, *, n: int, half_unit: float = 0.0
) -> tuple[float, float]:
    """Smallest and largest SD of `n` values in [0, 1] with these quartiles and this mean.

    The values of each quarter lie in a known range. For a given mean, the sum of squares is
    smallest when each quarter is one point (the means as equal as the ranges allow) and largest
    when each quarter sits on the two ends of its range. Three values are given away for the
    definition of a quartile, and `half_unit` for each rounded number.

    Returns
    -------
    tuple of float
        NaN, NaN if no values in [0, 1] have these quartiles and this mean.

    Examples
    --------
    >>> low, high = sd_range_from_quartiles(0.0, 0.0, 0.0, 0.1, n=10**9)
    >>> round(low, 3), round(high, 3)
    (0.173, 0.3)
    """
    edges = np.array([0.0, q1, median, q3, 1.0])
    lower, upper = edges[:-1], edges[1:]
    least, most = mean_range_from_quartiles(q1, median, q3, n=n)
    if not least - half_unit <= mean <= most + half_unit:
        return float("nan"), float("nan")
    total = float(np.clip(4 * mean, lower.sum(), upper.sum()))
    slack = 3 / n + 8 * half_unit
    low2 = np.mean(_level(lower, upper, total) ** 2) - mean**2 - slack
    filled = _fill(lower, upper, total)
    high2 = np.mean(filled * (lower + upper) - lower * upper) - mean**2 + slack
    return float(np.sqrt(max(low2, 0.0))), float(np.sqrt(high2))


def _level(lower: np.ndarray, upper: np.ndarray, total: float) -> np.ndarray:
    """Numbers within their ranges, as equal as possible, with this sum."""
    knots = np.unique(np.concatenate([lower, upper]))
    sums = np.array([np.clip(level, lower, upper).sum() for level in knots])
    return np.clip(np.interp(total, sums, knots), lower, upper)


def _fill(lower: np.ndarray, upper: np.ndarray, total: float) -> np.ndarray:
    """Numbers within their ranges with this sum, the highest ranges filled first."""
    out, left = lower.copy(), total - lower.sum()
    for i in np.argsort(lower + upper)[::-1]:
        step = min(upper[i] - lower[i], left)
        out[i] += step
        left -= step
    return out


def counts_at_one(mean: float, sd: float, *, n: int, half_unit: float) -> list[tuple[int, int]]:
    """Numbers k of `n` subjects that would print this mean and SD if k score 1 and the rest 0.

    Returns
    -------
    list of (k, ddof)
        ddof 0: the SD divides by n, 1: by n - 1. Empty if none fits, k = 0 and k = n excluded.

    Examples
    --------
    >>> counts_at_one(0.0061, 0.0780, n=490, half_unit=5e-5)
    [(3, 0)]
    """
    slack = half_unit * (1 + 1e-9)
    found = []
    first = max(1, int(np.ceil((mean - slack) * n)))
    last = min(n - 1, int(np.floor((mean + slack) * n)))
    for k in range(first, last + 1):
        p = k / n
        for ddof in (0, 1):
            if abs(np.sqrt(p * (1 - p) * n / (n - ddof)) - sd) <= slack:
                found.append((k, ddof))
    return found


def fullest_subject(ones: list[int], sd: float, *, n: int, half_unit: float) -> tuple[float, float]:
    """Fewest and most ones that the subject with most of them has, from the SD of subjects' averages.

    Parameters
    ----------
    ones
        Subjects that score 1 in each structure; all other scores are 0.
    sd
        SD over subjects of the average over structures (divided by n or n - 1).
    n
        Subjects.
    half_unit
        Half a unit of the last printed place of `sd`.

    Returns
    -------
    tuple of float
        NaN, NaN if no arrangement gives this SD.

    Examples
    --------
    Three structures with one 1 each: all in one of 100 subjects, or in three.

    >>> fullest_subject([1, 1, 1], 0.0995, n=100, half_unit=5e-5)
    (3.0, 3.0)
    >>> fullest_subject([1, 1, 1], 0.0569, n=100, half_unit=5e-5)
    (1.0, 1.0)
    """
    k, total = len(ones), sum(ones)
    squares = [
        k**2 * v + total**2 / n for v in (max(sd - half_unit, 0.0) ** 2 * (n - 1), (sd + half_unit) ** 2 * n)
    ]
    conjugate = [sum(c >= i for c in ones) for i in range(1, max(ones, default=0) + 1)]
    fits = {rows[0] for rows in _row_sums(conjugate, total, n, squares)}
    return (float(min(fits)), float(max(fits))) if fits else (float("nan"), float("nan"))


def _row_sums(conjugate: list[int], total: int, n: int, squares: list[float]) -> Iterator[tuple[int, ...]]:
    """Yield row sums, falling, of 0/1 matrices whose column sums have this conjugate (Gale and Ryser).

    Their squares sum to a number between the two of `squares`; there are at most `n` rows.
    """
    stack: list[tuple[tuple[int, ...], int, int]] = [((), total, 0)]
    while stack:
        rows, left, sum2 = stack.pop()
        if left == 0:
            if squares[0] <= sum2 <= squares[1]:
                yield rows
            continue
        if len(rows) == n or sum2 + left > squares[1]:
            continue
        room = sum(conjugate[: len(rows) + 1]) - (total - left)
        for part in range(1, min(room, left, rows[-1] if rows else left) + 1):
            if sum2 + part * left >= squares[0]:
                stack.append(((*rows, part), left - part, sum2 + part**2))
