"""Operating characteristics: how often the tests err and the intervals cover, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy
from scipy.special import expit, ndtr

from umdlib.errors import InputError, unknown_name
from umdlib.statistics.bootstrap import (
    bca_interval,
    estimate_means,
    mean_interval,
    resample_counts,
    resampled_medians,
    student_interval,
)
from umdlib.statistics.equivalence import equivalence_p, unseen_p
from umdlib.statistics.pairs import standardised_means
from umdlib.statistics.permutation import sign_flip_p
from umdlib.statistics.signed_rank import median_interval

# Shapes of paired differences, in DSC; `draw` makes them.
SHAPES: dict[str, str] = {
    "normal": "normal differences",
    "two modalities": "either score logit-normal, correlated in the subject",
    "structures": "mean of 13 correlated structures, each lost in a tenth of the cases",
    "skewed": "most subjects lose little, some much (beta)",
    "long tail": "exponential losses, cut at 1",
    "log-normal": "log-normal losses, cut at 1",
    "unchanged or lower": "half of the subjects do not change at all",
    "found or lost": "45 % of the subjects lose the structure",
    "15 % lost": "15 % of the subjects lose the structure",
    "rare failures": "5 % of the subjects lose the structure",
    "10 % lose 0.3": "a tenth of the subjects loses 0.3, the others nothing",
    "5 % lose 0.6": "a twentieth of the subjects loses 0.6, the others nothing",
}
# Share of the subjects that lose something, what they lose, spread of all others.
_LOST = {
    "found or lost": (0.45, 0.8, 0.03),
    "15 % lost": (0.15, 0.8, 0.03),
    "rare failures": (0.05, 0.8, 0.03),
    "10 % lose 0.3": (0.1, 0.3, 0.01),
    "5 % lose 0.6": (0.05, 0.6, 0.01),
}
_LOG_NORMAL = 0.05  # median loss
INTERVALS: dict[str, str] = {
    "studentised": "studentised bootstrap",
    "bca": "BCa bootstrap",
    "student": "Student's t",
    "median bootstrap": "percentile bootstrap of the median",
    "order statistics": "order statistics, median",
}
_MEAN_TESTS: dict[str, str] = {
    "mean": "the reported interval inverted",
    "mean of 13": "the same at 5 % / 13, Holm's first step over 13 structures",
    "permutation": "sign-flip",
    "student": "Student's t",
}
EQUIVALENCE_RULES: dict[str, str] = {
    "student": "two one-sided t tests",
    "interval": "the 90 % interval inside the margin",
    "reported": "the same, and no failure that could be hidden",
}
_BLOCK = 250  # cohorts that share their resamples


def _correlated_differences(
    n_cohorts: int, n_subjects: int, n_structures: int, *, correlation: float, rng: np.random.Generator
) -> np.ndarray:
    """Paired differences without a gap, correlated within the subject.

    Examples
    --------
    >>> x = _correlated_differences(1, 20_000, 2, correlation=0.5, rng=np.random.default_rng(0))
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
        Of each simulated cohort, see `_correlated_differences`.
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
    x = _correlated_differences(n_cohorts, n_subjects, n_structures, correlation=correlation, rng=rng)
    means, pooled = x.mean(axis=2), x.reshape(n_cohorts, -1)
    flips, _ = sign_flip_p(means.T, n_resamples=n_resamples, rng=rng)
    counts = resample_counts(n_subjects, n_resamples, rng)
    each = np.sort(scipy.stats.ttest_1samp(x, 0, axis=1).pvalue, axis=1)
    p_values = {
        "interval inverted, subjects": estimate_means(means.T, counts).p_value(),
        "sign-flip, subjects": flips,
        "Wilcoxon, subjects": scipy.stats.wilcoxon(means, axis=1, method="exact").pvalue,
        "t test, structures pooled": scipy.stats.ttest_1samp(pooled, 0, axis=1).pvalue,
        "Wilcoxon, structures pooled": scipy.stats.wilcoxon(pooled, axis=1, method="asymptotic").pvalue,
        "any structure, uncorrected": each[:, 0],
        "any structure, Holm": each[:, 0] * n_structures,  # Holm's first step decides "any"
    }
    return _rates({name: p < 0.05 for name, p in p_values.items()}, "test")


def _student_p(values: np.ndarray) -> np.ndarray:
    """p of the one-sample t test of each column; columns that hardly vary give no warning."""
    n = len(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = values.mean(axis=0) / (values.std(axis=0, ddof=1) / np.sqrt(n))
    return 2 * scipy.stats.t.sf(np.abs(t), n - 1)


def false_alarms(
    *,
    sizes: Sequence[int] = (8, 12, 20, 48),
    shapes: Sequence[str] = tuple(SHAPES),
    n_cohorts: int = 1000,
    n_resamples: int = 1560,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of cohorts in which a test at 5 % finds a mean difference that is zero, by shape.

    Parameters
    ----------
    sizes
        Numbers of subjects.
    shapes
        Names in `SHAPES`; each is moved so that its mean is zero.
    n_cohorts, n_resamples, seed
        See `coverage`. Of 1560 resamples three in either tail lie just below 5 % / 13; with 999 it would be one.

    Returns
    -------
    pandas.DataFrame
        `shape, n_subjects, test` (key of `_MEAN_TESTS`), `rate, error, n_cohorts`. A sign-flip test
        promises 5 % for symmetric shapes alone.
    """
    rng = np.random.default_rng(seed)
    tables = []
    for shape in shapes:
        mean = truth(shape)[0]
        bounds = (-1.0 - mean, 1.0 - mean)
        for n in sizes:
            hits = {name: [] for name in _MEAN_TESTS}
            for size in _blocks(n_cohorts):
                values = np.clip(draw(shape, (n, size), rng), -1, 1) - mean
                counts = resample_counts(n, n_resamples, rng)
                p_mean = estimate_means(values, counts, bounds=bounds).p_value()
                hits["mean"].append(p_mean < 0.05)
                hits["mean of 13"].append(p_mean < 0.05 / 13)
                hits["permutation"].append(sign_flip_p(values, n_resamples=n_resamples, rng=rng)[0] < 0.05)
                hits["student"].append(_student_p(values) < 0.05)
            rates = _rates({name: np.concatenate(h) for name, h in hits.items()}, "test")
            tables.append(rates.assign(shape=shape, n_subjects=n))
    columns = ["shape", "n_subjects", "test", "rate", "error", "n_cohorts"]
    return pd.concat(tables, ignore_index=True)[columns]


_UNEQUAL = ("10 % lose 0.3", "5 % lose 0.6", "rare failures", "15 % lost", "skewed", "normal")


def equivalence_rates(*, margin: float = 0.02, n_cohorts: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Share of cohorts that are called equivalent, by shape, size and rule.

    The shapes are those of `_UNEQUAL` and ``no gap``: normal differences around zero with a standard
    deviation of one margin, where equivalence is true and the rate is power. The mean score of the structural
    image, which a failing subject loses, is 0.85.

    Parameters
    ----------
    margin
        Largest difference that does not matter.
    n_cohorts, seed
        See `coverage`.

    Returns
    -------
    pandas.DataFrame
        `shape, n_subjects, rule` (key of `EQUIVALENCE_RULES`), `rate, error, n_cohorts, mean` (true), and
        `equivalent`: whether that mean lies within the margin.
    """
    rng = np.random.default_rng(seed)
    tables = []
    for shape in (*_UNEQUAL, "no gap"):
        mean = truth(shape)[0] if shape in SHAPES else 0.0
        for n in (8, 12, 20, 48, 150):
            hits = {name: [] for name in EQUIVALENCE_RULES}
            for size in _blocks(n_cohorts):
                found = draw(shape, (n, size), rng) if shape in SHAPES else rng.normal(0, margin, (n, size))
                counts = resample_counts(n, 999, rng)
                estimate = estimate_means(np.clip(found, -1, 1), counts, bounds=(-1.0, 1.0))
                inside = equivalence_p(estimate, margin)
                unseen = unseen_p(estimate.mean, estimate.n, margin, np.array(0.85), 0.85 + estimate.mean)
                t = (margin - np.abs(estimate.mean)) / estimate.error
                hits["student"].append(scipy.stats.t.sf(t, n - 1) < 0.05)
                hits["interval"].append(inside < 0.05)
                hits["reported"].append((inside < 0.05) & (unseen < 0.05))
            rates = _rates({name: np.concatenate(h) for name, h in hits.items()}, "rule")
            same = abs(mean) < margin
            tables.append(rates.assign(shape=shape, n_subjects=n, mean=mean, equivalent=same))
    columns = ["shape", "n_subjects", "rule", "rate", "error", "n_cohorts", "mean", "equivalent"]
    return pd.concat(tables, ignore_index=True)[columns]


def _rates(hits: dict[str, np.ndarray], what: str) -> pd.DataFrame:
    """Share of hits with its Monte-Carlo standard error."""
    table = pd.DataFrame({what: list(hits), "rate": [float(h.mean()) for h in hits.values()]})
    table["n_cohorts"] = [len(h) for h in hits.values()]
    return table.assign(error=np.sqrt(table["rate"] * (1 - table["rate"]) / table["n_cohorts"]))


def draw(shape: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Paired differences of DSC of a known shape, within [-1, 1].

    Parameters
    ----------
    shape
        Name in `SHAPES`.
    size
        (subjects, cohorts).
    rng
        Source of the draws.

    Raises
    ------
    InputError
        If there is no such shape.
    """
    if shape not in SHAPES:
        raise unknown_name("shape", shape, SHAPES)
    if shape == "normal":
        return rng.normal(-0.05, 0.08, size)
    if shape == "two modalities":
        person = rng.normal(0, 0.5, size)
        pet = expit(0.6 + person + rng.normal(0, 0.5, size))
        return pet - expit(1.4 + person + rng.normal(0, 0.3, size))
    if shape == "structures":
        person = np.sqrt(0.2) * rng.normal(0, 1, (*size, 1))
        rank = ndtr(person + np.sqrt(0.8) * rng.normal(0, 1, (*size, 13)))
        return np.where(rank < 0.1, -0.75, -0.25 * (1 - rank)).mean(axis=-1)
    if shape == "skewed":
        return -rng.beta(0.8, 6, size)
    if shape == "long tail":
        return -np.minimum(rng.exponential(0.15, size), 1.0)
    if shape == "log-normal":
        return -np.minimum(_LOG_NORMAL * rng.lognormal(0, 1, size), 1.0)
    if shape == "unchanged or lower":
        return np.where(rng.random(size) < 0.5, 0.0, -rng.beta(1, 4, size))
    share, loss, spread = _LOST[shape]
    lost = np.where(rng.random(size) < share, -loss, 0.0)
    return lost + rng.normal(0, spread, size)


def truth(shape: str) -> tuple[float, float]:
    """Mean and median of `draw`; the median is NaN where it has no closed form or is not unique.

    Examples
    --------
    >>> truth("normal")
    (-0.05, -0.05)
    """
    if shape == "normal":
        return -0.05, -0.05
    if shape == "two modalities":
        return _logit_normal_mean(0.6, 0.5) - _logit_normal_mean(1.4, 0.34), np.nan
    if shape == "structures":
        return -(0.1 * 0.75 + 0.25 * 0.9**2 / 2), np.nan
    if shape == "skewed":
        return -0.8 / 6.8, -float(scipy.stats.beta.median(0.8, 6))
    if shape == "long tail":
        return -0.15 * (1 - np.exp(-1 / 0.15)), -0.15 * float(np.log(2))
    if shape == "log-normal":
        cut = -np.log(_LOG_NORMAL)
        whole = _LOG_NORMAL * np.exp(0.5) * ndtr(cut - 1) + ndtr(-cut)
        return -float(whole), -_LOG_NORMAL
    if shape == "unchanged or lower":
        return -0.1, np.nan
    # The lower hump holds less than half; the median is a quantile of the upper one.
    share, loss, spread = _LOST[shape]
    return -loss * share, float(spread * scipy.stats.norm.ppf((0.5 - share) / (1 - share)))


def _logit_normal_mean(centre: float, variance: float) -> float:
    """Mean of the logistic function of a normal variable, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ expit(centre + np.sqrt(variance) * nodes) / weights.sum())


def ceiling(shape: str, n_subjects: int) -> float:
    """Share of cohorts that show both kinds of subject, where the shape has two kinds; else 1.

    A cohort without any failure says nothing about failures: an interval that is made from its
    values alone holds the mean only where that happens to lie near the other subjects.

    Examples
    --------
    >>> round(ceiling("rare failures", 8), 2), ceiling("normal", 8)
    (0.34, 1.0)
    """
    if shape not in _LOST:
        return 1.0
    lost = _LOST[shape][0]
    return 1 - lost**n_subjects - (1 - lost) ** n_subjects


def coverage(
    *,
    sizes: Sequence[int] = (5, 8, 12, 20, 50, 490),
    shapes: Sequence[str] = tuple(SHAPES),
    of: str = "mean",
    n_cohorts: int = 500,
    n_resamples: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of simulated cohorts in which each nominal 95 % interval holds the truth.

    Parameters
    ----------
    sizes
        Numbers of subjects.
    shapes
        Names in `SHAPES`.
    of
        ``mean`` or ``median``: what the intervals are of.
    n_cohorts
        Simulated cohorts per size and shape.
    n_resamples
        Of every bootstrap.
    seed
        Of the generator.

    Returns
    -------
    pandas.DataFrame
        `shape, n_subjects, interval` (key of `INTERVALS`), `rate`, `error` (Monte-Carlo standard
        error), `width` (mean), `n_cohorts`, `ceiling` (see `ceiling`).

    Raises
    ------
    InputError
        If a shape is unknown, or has no known median where that is required.
    """
    if of == "median":
        for shape in shapes:
            if not np.isfinite(truth(shape)[1]):
                raise InputError(f"No known median of '{shape}' to be covered.")
    rng = np.random.default_rng(seed)
    tables = []
    for shape in shapes:
        for n in sizes:
            blocks = [
                _covered(draw(shape, (n, size), rng), shape, of, n_resamples, rng)
                for size in _blocks(n_cohorts)
            ]
            hits = {k: np.concatenate([b[k][0] for b in blocks]) for k in blocks[0]}
            widths = [np.mean(np.concatenate([b[k][1] for b in blocks])) for k in hits]
            rates = _rates(hits, "interval").assign(width=widths)
            rates = rates.assign(shape=shape, n_subjects=n, ceiling=ceiling(shape, n))
            tables.append(rates)
    columns = ["shape", "n_subjects", "interval", "rate", "error", "width", "n_cohorts", "ceiling"]
    return pd.concat(tables, ignore_index=True)[columns]


# Name -> subjects, chance of each structure to be missing, spread of its values as a distribution.
MISSING: dict[str, tuple[int, tuple[float, ...], str]] = {
    "2 structures, one missing in half": (20, (0.0, 0.5), "normal"),
    "2 structures, one missing in four of five": (50, (0.0, 0.8), "normal"),
    "3 structures, one missing in four of five, long tail": (20, (0.0, 0.0, 0.8), "exponential"),
    "3 structures, one missing in seven of ten": (12, (0.0, 0.0, 0.7), "normal"),
    "13 structures, three of ten missing": (12, (0.3,) * 13, "normal"),
}


def missing_coverage(
    *, shapes: Sequence[str] = tuple(MISSING), n_cohorts: int = 500, n_resamples: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Share of simulated cohorts with missing structures whose 95 % interval holds the standardised mean.

    Structures lose 0 to 0.3; a subject's level has a standard deviation of 0.05, a cell's own part one of
    0.08. What is missing is missing by chance.

    Parameters
    ----------
    shapes
        Names in `MISSING`.
    n_cohorts, n_resamples, seed
        See `coverage`.

    Returns
    -------
    pandas.DataFrame
        `shape, n_subjects, values` (``own`` of each subject, which take the effects of structures as
        known, or ``jackknife``, which are reported; see `umdlib.statistics.pairs.standardised_means`),
        `rate, error, n_cohorts`.
    """
    rng = np.random.default_rng(seed)
    tables = []
    for shape in shapes:
        n, missing, spread = MISSING[shape]
        losses = np.linspace(-0.3, 0.0, len(missing))
        hits = {"own": [], "jackknife": []}
        for size in _blocks(n_cohorts):
            columns = [_missing_cohort(n, missing, spread, losses, rng) for _ in range(size)]
            counts = resample_counts(n, n_resamples, rng)
            for name in hits:
                values = [standardised_means(c, jackknife=name == "jackknife") for c in columns]
                low, high = mean_interval(np.transpose(values), counts)
                hits[name].append((low <= losses.mean()) & (losses.mean() <= high))
        rates = _rates({name: np.concatenate(h) for name, h in hits.items()}, "values")
        tables.append(rates.assign(shape=shape, n_subjects=n))
    columns = ["shape", "n_subjects", "values", "rate", "error", "n_cohorts"]
    return pd.concat(tables, ignore_index=True)[columns]


def _missing_cohort(
    n: int, missing: Sequence[float], spread: str, losses: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Subjects by structures of one cohort, every subject with a structure and every structure in a subject."""
    size = (n, len(missing))
    own = rng.normal(0, 0.08, size) if spread == "normal" else 0.08 * (1 - rng.exponential(1, size))
    values = losses + rng.normal(0, 0.05, (n, 1)) + own
    while True:
        gone = rng.random(size) < missing
        if not (gone.all(axis=1).any() or gone.all(axis=0).any()):
            return pd.DataFrame(np.where(gone, np.nan, values))


def _blocks(n_cohorts: int) -> list[int]:
    """Sizes of blocks of cohorts; each block has resamples of its own."""
    full, rest = divmod(n_cohorts, _BLOCK)
    return [_BLOCK] * full + [rest] * (rest > 0)


def _covered(
    values: np.ndarray, shape: str, of: str, n_resamples: int, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Whether each interval of each column holds the known mean or median, and its width."""
    counts = resample_counts(len(values), n_resamples, rng)
    if of == "mean":
        target = truth(shape)[0]
        intervals = {
            "studentised": mean_interval(values, counts, bounds=(-1.0, 1.0)),
            "bca": bca_interval(values, counts),
            "student": student_interval(values),
        }
    else:
        target = truth(shape)[1]
        medians = np.quantile(resampled_medians(values, counts), [0.025, 0.975], axis=0)
        ordered = np.array([median_interval(column)[1:] for column in values.T]).T
        # Fewer than six values bound no median with 95 %: the interval is the whole scale.
        ordered = np.where(np.isfinite(ordered), ordered, [[-1.0], [1.0]])
        intervals = {"median bootstrap": tuple(medians), "order statistics": tuple(ordered)}
    return {name: ((low <= target) & (target <= high), high - low) for name, (low, high) in intervals.items()}
