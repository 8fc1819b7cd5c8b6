"""Signed-rank statistics of paired differences: test, shift, effect size, median interval."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

DECIMALS = 9  # differences equal to this many decimals are tied
EXACT_UP_TO = 50  # as in R and SciPy


def rounded(differences: np.ndarray) -> np.ndarray:
    """The defined differences, rounded so that equal scores give equal differences.

    ``0.3 - 0.1`` and ``0.4 - 0.2`` differ by round-off; ranked as they are, they would not tie.

    Examples
    --------
    >>> np.unique(rounded(np.array([0.3 - 0.1, 0.4 - 0.2, np.nan]))).size
    1
    """
    differences = np.asarray(differences, dtype=float)
    # Adding zero turns -0.0 into 0.0.
    return np.round(differences[np.isfinite(differences)], DECIMALS) + 0.0


def wilcoxon(differences: np.ndarray) -> tuple[float, str]:
    """Two-sided Wilcoxon signed-rank p-value, and a note on how it came about.

    Parameters
    ----------
    differences
        Shape (n,), NaN ignored. Zeros are dropped, as Wilcoxon did and R does.

    Returns
    -------
    p_value : float
        NaN without data, 1 where every difference is zero. Exact below 50 non-zero differences, from
        all patterns of signs of the (mid)ranks at hand, else normal with correction for ties and
        continuity.
    note : str
        ``exact``, ``exact (ties)``, ``normal``, ``normal (ties)``, ``all differences are zero``,
        ``no pairs``.

    Notes
    -----
    Wilcoxon (1945), https://doi.org/10.2307/3001968. Without ties or zeros equal to R's
    ``wilcox.test(d)``, which leaves the exact way where there are some; with them to
    ``coin::wilcoxsign_test(distribution = "exact", zero.method = "Wilcoxon")``.

    Examples
    --------
    >>> wilcoxon(np.array([-0.1, -0.2, -0.3, -0.4, -0.5]))
    (0.0625, 'exact')
    >>> wilcoxon(np.array([-0.1, -0.1, -0.1, -0.1, -0.1]))
    (0.0625, 'exact (ties)')
    """
    kept = rounded(differences)
    if kept.size == 0:
        return float("nan"), "no pairs"
    kept = kept[kept != 0]
    if kept.size == 0:
        return 1.0, "all differences are zero"
    ties = " (ties)" if np.unique(np.abs(kept)).size < kept.size else ""
    if kept.size < EXACT_UP_TO:
        return _exact_p(kept), "exact" + ties
    return _normal_p(kept), "normal" + ties


def _exact_p(kept: np.ndarray) -> float:
    """Share of the sign patterns of the ranks with a sum as far from the middle as the observed."""
    doubled = np.round(2 * scipy.stats.rankdata(np.abs(kept))).astype(int)  # midranks are halves
    total = int(doubled.sum())
    above = int(doubled[kept > 0].sum())
    tail = _sum_shares(doubled)[: min(above, total - above) + 1].sum()
    return float(min(1.0, 2 * tail))


def _sum_shares(ranks: np.ndarray) -> np.ndarray:
    """Share of the sign patterns in which the positive ones of whole ranks sum to 0, 1, 2, …."""
    shares = np.zeros(int(ranks.sum()) + 1)
    shares[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(shares)
        shifted[rank:] = shares[:-rank]
        shares = (shares + shifted) / 2
    return shares


def sign_test(differences: np.ndarray) -> float:
    """Two-sided sign-test p-value that the median is zero: it inverts `median_interval`.

    Parameters
    ----------
    differences
        Shape (n,), NaN ignored. A zero speaks for neither side, and so against a difference.

    Returns
    -------
    float
        NaN without data. At most 0.05 exactly where the 95 % interval of the median leaves out 0.

    Examples
    --------
    >>> sign_test(np.array([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6]))
    0.03125
    """
    kept = rounded(differences)
    if kept.size == 0:
        return float("nan")
    fewest = min((kept <= 0).sum(), (kept >= 0).sum())
    return float(min(1.0, 2 * scipy.stats.binom.cdf(fewest, kept.size, 0.5)))


def _normal_p(kept: np.ndarray) -> float:
    """Normal approximation with tie and continuity correction, of non-zero differences."""
    n, ranks = kept.size, scipy.stats.rankdata(np.abs(kept))
    above = ranks[kept > 0].sum() - n * (n + 1) / 4
    _, ties = np.unique(ranks, return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48
    z = (above - np.sign(above) * 0.5) / np.sqrt(variance)
    return float(min(1.0, 2 * scipy.stats.norm.sf(abs(z))))


def rank_biserial(differences: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation: favourable minus unfavourable share of the ranks.

    Returns
    -------
    float
        -1 (every difference negative) to 1; 0 where all are zero; NaN without data. Zeros dropped.

    Notes
    -----
    Kerby (2014), https://doi.org/10.2466/11.IT.3.1.

    Examples
    --------
    >>> rank_biserial(np.array([0.1, 0.2, -0.3]))
    0.0
    """
    kept = rounded(differences)
    if kept.size == 0:
        return float("nan")
    kept = kept[kept != 0]
    if kept.size == 0:
        return 0.0
    ranks = scipy.stats.rankdata(np.abs(kept))
    return float((ranks * np.sign(kept)).sum() / ranks.sum())


@lru_cache(maxsize=256)
def _signed_rank_quantile(n: int, tail: float) -> int:
    """Smallest q with P(V <= q) >= tail for the signed-rank sum V of n values (R's qsignrank)."""
    return int(np.searchsorted(np.cumsum(_sum_shares(np.arange(1, n + 1))), tail - 1e-15))


def hodges_lehmann(differences: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median of the Walsh averages and its interval: the shift that belongs to Wilcoxon's test.

    Returns
    -------
    estimate, low, high : float
        NaN without data; the interval is NaN where n is too small for the confidence (n < 6
        at 95 %).

    Notes
    -----
    Hodges and Lehmann (1963), https://doi.org/10.1214/aoms/1177704172. The interval inverts the
    signed-rank test: exact below 50 differences (R's ``wilcox.test(d, conf.int=TRUE)``), normal
    above; zeros are kept, so it is conservative with many of them.

    Examples
    --------
    >>> hodges_lehmann(np.array([1.0, 2.0, 3.0]))[0]
    2.0
    """
    kept = rounded(differences)
    n = kept.size
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    walsh = np.sort(np.add.outer(kept, kept).ravel()[_upper_triangle(n)] / 2)
    cut = _walsh_cut(n, (1 - confidence) / 2)
    estimate = float(np.median(walsh))
    if cut < 1:
        return estimate, float("nan"), float("nan")
    return estimate, float(walsh[cut - 1]), float(walsh[-cut])


@lru_cache(maxsize=4)
def _upper_triangle(n: int) -> np.ndarray:
    """Places of a flat matrix of n rows on and above its diagonal."""
    return np.flatnonzero(np.tri(n, dtype=bool).T)


def _walsh_cut(n: int, tail: float) -> int:
    """Rank of the Walsh average that bounds the interval; 0 where none does."""
    if n < EXACT_UP_TO:
        # P(V <= cut - 1) must not exceed the tail.
        quantile = _signed_rank_quantile(n, tail)
        return max(quantile, 1) if 2.0**-n <= tail else 0
    mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
    return int(np.floor(mean + scipy.stats.norm.ppf(tail) * np.sqrt(variance) + 0.5))


def median_interval(differences: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median with the order-statistic interval of the sign test.

    Returns
    -------
    estimate, low, high : float
        Coverage is at least `confidence` for any distribution; NaN bounds where n is too small
        (n < 6 at 95 %).

    Examples
    --------
    With six values, the extremes bound the median with 1 - 2 / 64 = 97 % confidence.

    >>> median_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    (3.5, 1.0, 6.0)
    """
    kept = np.sort(rounded(differences))
    if kept.size == 0:
        return float("nan"), float("nan"), float("nan")
    cut = int(scipy.stats.binom.ppf((1 - confidence) / 2, kept.size, 0.5))
    if scipy.stats.binom.cdf(cut, kept.size, 0.5) <= (1 - confidence) / 2:
        cut += 1
    if cut < 1:
        return float(np.median(kept)), float("nan"), float("nan")
    return float(np.median(kept)), float(kept[cut - 1]), float(kept[-cut])
