"""Operating characteristics: how often the tests err and the intervals cover, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from umdlib.rank_tests import median_interval
from umdlib.resampling import bca_interval, resample_counts, resampled_medians, sign_flip_p

SHAPES = ("normal", "skewed", "two humps")


def correlated_differences(
    n_cohorts: int,
    n_subjects: int,
    n_structures: int,
    *,
    correlation: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Paired differences without a gap, correlated within the subject.

    Returns
    -------
    numpy.ndarray
        Shape (n_cohorts, n_subjects, n_structures), mean 0, variance 1, any two structures of a
        subject with the given correlation.

    Examples
    --------
    >>> x = correlated_differences(1, 20_000, 2, correlation=0.5, rng=np.random.default_rng(0))
    >>> round(float(np.corrcoef(x[0].T)[0, 1]), 1)
    0.5
    """
    shared = rng.normal(0, np.sqrt(correlation), (n_cohorts, n_subjects, 1))
    return shared + rng.normal(0, np.sqrt(1 - correlation), (n_cohorts, n_subjects, n_structures))


def type_one_error(
    *,
    n_subjects: int = 20,
    n_structures: int = 13,
    correlation: float = 0.08,
    n_cohorts: int = 1000,
    n_resamples: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of cohorts without any gap in which each test finds one at 5 %.

    Parameters
    ----------
    n_subjects, n_structures, correlation
        Of each simulated cohort, see `correlated_differences`.
    n_cohorts
        Simulated cohorts; the Monte-Carlo error of a rate r is ``sqrt(r (1 - r) / n_cohorts)``.
    n_resamples
        Sign patterns of the permutation test.
    seed
        Of the generator.

    Returns
    -------
    pandas.DataFrame
        `test`, `rate`, `error` (Monte-Carlo standard error), `n_cohorts`: tests over subjects, the
        same with all structures pooled as if they were subjects, and the chance of any rejection
        among the structures with and without Holm's correction.
    """
    rng = np.random.default_rng(seed)
    x = correlated_differences(
        n_cohorts, n_subjects, n_structures, correlation=correlation, rng=rng
    )
    means, pooled = x.mean(axis=2), x.reshape(n_cohorts, -1)
    flips, _ = sign_flip_p(means.T, n_resamples=n_resamples, rng=rng)
    each = np.sort(stats.ttest_1samp(x, 0, axis=1).pvalue, axis=1)
    p_values = {
        "sign-flip, subjects": flips,
        "Wilcoxon, subjects": stats.wilcoxon(means, axis=1, method="exact").pvalue,
        "t test, structures pooled": stats.ttest_1samp(pooled, 0, axis=1).pvalue,
        "Wilcoxon, structures pooled": stats.wilcoxon(pooled, axis=1, method="asymptotic").pvalue,
        "any structure, uncorrected": each[:, 0],
        "any structure, Holm": each[:, 0] * n_structures,  # Holm's first step decides "any"
    }
    return _rates({name: p < 0.05 for name, p in p_values.items()}, "test")


def _rates(hits: dict[str, np.ndarray], what: str) -> pd.DataFrame:
    """Share of hits with its Monte-Carlo standard error."""
    table = pd.DataFrame({what: list(hits), "rate": [float(h.mean()) for h in hits.values()]})
    table["n_cohorts"] = [len(h) for h in hits.values()]
    return table.assign(error=np.sqrt(table["rate"] * (1 - table["rate"]) / table["n_cohorts"]))


def draw(shape: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Differences of a known shape: normal, skewed (exponential), or two humps.

    The two humps are 45 % of cases that lose everything and 55 % that lose nothing, as where a
    segmenter finds a structure or misses it.
    """
    if shape == "normal":
        return rng.normal(0, 1, size)
    if shape == "skewed":
        return rng.exponential(1, size)
    return np.where(rng.random(size) < 0.45, -0.8, 0.0) + rng.normal(0, 0.03, size)


def truth(shape: str) -> tuple[float, float]:
    """Mean and median of `draw`.

    Examples
    --------
    >>> truth("normal")
    (0.0, 0.0)
    """
    if shape == "normal":
        return 0.0, 0.0
    if shape == "skewed":
        return 1.0, float(np.log(2))
    # The lower hump holds 45 %; the median is the (0.50 - 0.45) / 0.55 quantile of the upper one.
    return -0.36, float(0.03 * stats.norm.ppf(0.05 / 0.55))


def coverage(
    *,
    sizes: Sequence[int] = (6, 10, 20, 50),
    shapes: Sequence[str] = SHAPES,
    n_cohorts: int = 500,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of simulated cohorts in which each nominal 95 % interval holds the truth.

    Returns
    -------
    pandas.DataFrame
        `shape, n_subjects, interval, rate, error, n_cohorts`. Intervals: of the mean by BCa and by
        t; of the median by percentile bootstrap and by order statistics.
    """
    rng = np.random.default_rng(seed)
    tables = []
    for shape in shapes:
        for n in sizes:
            values = draw(shape, (n, n_cohorts), rng)
            counts = resample_counts(n, n_resamples, rng)
            rates = _rates(_covered(values, counts, truth(shape)), "interval")
            tables.append(rates.assign(shape=shape, n_subjects=n))
    columns = ["shape", "n_subjects", "interval", "rate", "error", "n_cohorts"]
    return pd.concat(tables, ignore_index=True)[columns]


def _covered(
    values: np.ndarray, counts: np.ndarray, known: tuple[float, float]
) -> dict[str, np.ndarray]:
    """Whether each interval of each column holds the known mean or median."""
    mean, median = known
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    centre = values.mean(axis=0)
    medians = np.quantile(resampled_medians(values, counts), [0.025, 0.975], axis=0)
    ordered = np.array([median_interval(column)[1:] for column in values.T]).T
    intervals = {
        "mean, BCa": (bca_interval(values, counts), mean),
        "mean, t": ((centre - half, centre + half), mean),
        "median, bootstrap": (medians, median),
        "median, order statistics": (ordered, median),
    }
    return {
        name: (low <= target) & (target <= high)
        for name, ((low, high), target) in intervals.items()
    }
