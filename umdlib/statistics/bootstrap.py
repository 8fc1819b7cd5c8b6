"""Bootstrap intervals over subjects and the tests that invert them, many comparisons in one product."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from umdlib.errors import InputError, unknown_name
from umdlib.scores.empty_rules import score_limits
from umdlib.statistics.distribution_free import distribution_free_bounds, distribution_free_tail

STUDENT_BELOW = 5  # four subjects have 35 different resamples: no tail of a studentised mean
FEW = 10  # subjects; below, the studentised interval alone covers a percent or two too little
SEEN = 10  # resamples as extreme as the data; with fewer, Student's tail goes on where theirs ends
_TAIL_FROM = 20  # subjects; the far tail of fewer is nobody's: there p ends at 2 / n_resamples
KINDS = ("score", "difference", "contrast")
_ROUND_OFF = 1e-9  # 0.5 - 0.4 and 0.6 - 0.5 are the same difference
FEWEST = 6  # subjects of a test: with fewer not even six differences of one sign would reach 0.05
_CUT = 5  # the distribution-free bound that cuts a 95 % interval holds with 99 %


def resample_counts(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `n` subjects is drawn in each bootstrap resample.

    Returns
    -------
    numpy.ndarray
        Shape (n_resamples, n), float64; each row sums to `n`. The draws are those of
        ``rng.integers(0, n, (n_resamples, n))``, as in `scipy.stats.bootstrap`.

    Examples
    --------
    >>> resample_counts(4, 2, np.random.default_rng(0)).sum(axis=1)
    array([4., 4.])
    """
    if n < 1 or n_resamples < 1:
        raise InputError(f"Invalid resampling of {n} subjects {n_resamples} times. Both >= 1.")
    drawn = rng.integers(0, n, (n_resamples, n))
    drawn += n * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * n_resamples)
    return counts.reshape(n_resamples, n).astype(float)


def seeded_counts(n: int, n_resamples: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Draw `resample_counts` from a seed, or take them where they were drawn last.

    Returns
    -------
    counts : numpy.ndarray
        Shape (n_resamples, n), not to be written to.
    rng : numpy.random.Generator
        The generator after that draw.
    """
    counts, state = _counts(n, n_resamples, seed)
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return counts, rng


@functools.lru_cache(maxsize=2)
def _counts(n: int, n_resamples: int, seed: int) -> tuple[np.ndarray, dict]:
    """Counts ready for a product, and the state of their generator."""
    small, state = _kept_counts(n, n_resamples, seed)
    counts = small.astype(float)
    counts.flags.writeable = False
    return counts, state


@functools.lru_cache(maxsize=32)
def _kept_counts(n: int, n_resamples: int, seed: int) -> tuple[np.ndarray, dict]:
    """Counts in a byte each, where that is enough, kept for further means over as many subjects."""
    rng = np.random.default_rng(seed)
    counts = resample_counts(n, n_resamples, rng)
    return counts.astype(np.uint8 if counts.max() < 256 else np.uint16), rng.bit_generator.state


def resampled_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of each column in each resample, over the subjects that have a value.

    Parameters
    ----------
    values
        Shape (n, cells); NaN where a subject has no value.
    counts
        Shape (n_resamples, n), from `resample_counts`. One set for all cells keeps segmenters and
        structures of a subject together.

    Returns
    -------
    numpy.ndarray
        Shape (n_resamples, cells); NaN where a resample drew no subject with a value.
    """
    defined = np.isfinite(values)
    sums = counts @ np.where(defined, values, 0.0)
    if defined.all():
        return sums / counts.shape[1]
    drawn = counts @ defined.astype(float)
    return np.divide(sums, drawn, out=np.full_like(sums, np.nan), where=drawn > 0)


def bca_interval(
    values: np.ndarray, counts: np.ndarray, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap interval of the mean of each column.

    Parameters
    ----------
    values
        Shape (n, cells), one row per subject, NaN where undefined.
    counts
        Shape (n_resamples, n), from `resample_counts`.
    confidence
        Nominal coverage, 0 to 1.

    Returns
    -------
    low, high : numpy.ndarray
        Shape (cells,). NaN with fewer than two defined subjects; both equal to the mean where all
        defined values are the same.

    Notes
    -----
    Efron (1987), https://doi.org/10.1080/01621459.1987.10478410. Equal to
    `scipy.stats.bootstrap` (BCa) on the same draws where every subject has a value.

    Examples
    --------
    >>> counts = resample_counts(4, 999, np.random.default_rng(0))
    >>> low, high = bca_interval(np.array([[0.1], [0.2], [0.3], [0.6]]), counts)
    >>> bool(0.1 <= low[0] < 0.3 < high[0] <= 0.6)
    True
    """
    means = np.sort(resampled_means(values, counts), axis=0)  # NaN go last
    kept = np.isfinite(means).sum(axis=0)
    estimate, acceleration, n = _jackknife(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A resample that draws everyone once has this mean, but for the order of the sum.
        slack = 1e-12 * np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0)
        below = (means < estimate - slack).sum(axis=0) + (means <= estimate + slack).sum(axis=0)
        bias = ndtri(below / (2 * kept))
        tail = ndtri((1 - confidence) / 2)
        shares = [ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (tail, -tail)]
    low, high = (_quantile_sorted(means, kept, share) for share in shares)
    same = _equal(values)
    low, high = np.where(same, estimate, low), np.where(same, estimate, high)
    return np.where(n < 2, np.nan, low), np.where(n < 2, np.nan, high)


def student_interval(values: np.ndarray, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean of each column.

    Parameters
    ----------
    values
        Shape (n, cells), one row per subject, NaN where undefined.
    confidence
        Nominal coverage, 0 to 1; reached by normal values.

    Returns
    -------
    low, high : numpy.ndarray
        Shape (cells,). NaN with fewer than two defined subjects.

    Examples
    --------
    >>> low, high = student_interval(np.array([[0.1], [0.2]]))
    >>> round(float(low[0]), 2), round(float(high[0]), 2)
    (-0.49, 0.79)
    """
    mean, error, n = _mean_and_error(values)
    half = stdtrit(np.maximum(n - 1, 1), (1 + confidence) / 2) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class MeanEstimate:
    """Means of columns with their studentised bootstrap: intervals and p-values that agree.

    A mean is called different from a value at level ``a`` exactly where its ``1 - a`` interval leaves
    that value out, because `p_value` inverts `interval`.

    Attributes
    ----------
    values
        Shape (n, cells), one row per subject, NaN where undefined.
    mean, error, n
        Shape (cells,): mean, its standard error, number of defined subjects.
    ratios
        Shape (n_resamples, cells): each resample's deviation from the mean in its own standard error,
        ascending, NaN last.
    bounds
        Smallest and largest possible value; None where there are none.
    """

    values: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    n: np.ndarray
    ratios: np.ndarray
    bounds: tuple[float, float] | None = None

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Interval of each mean, see `mean_interval`."""
        low, high = self.studentised(confidence)
        t_low, t_high = student_interval(self.values, confidence=confidence)
        low = np.where(self.n < FEW, np.minimum(low, t_low), low)
        high = np.where(self.n < FEW, np.maximum(high, t_high), high)
        few = self.n < STUDENT_BELOW
        low, high = np.where(few, t_low, low), np.where(few, t_high, high)
        if self.bounds is None:
            return np.where(np.isinf(low), t_low, low), np.where(np.isinf(high), t_high, high)
        wide = 1 - (1 - confidence) / _CUT
        bottom, top = distribution_free_bounds(self.values, self._limits(), confidence=wide)
        bottom = np.maximum(bottom, np.minimum(self.bounds[0], self.mean))
        top = np.minimum(top, np.maximum(self.bounds[1], self.mean))
        return np.maximum(low, bottom), np.minimum(high, top)

    def studentised(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Studentised bootstrap (bootstrap-t) interval alone, of the mean of each column.

        Each resample's mean is divided by that resample's own standard error, so that the interval
        knows how uncertain the standard error of few or skewed values is.

        Returns
        -------
        low, high : numpy.ndarray
            Shape (cells,). NaN with fewer than two defined subjects; both equal to the mean where all
            defined values are the same. An end is infinite where more resamples than the tail holds
            drew one value only.

        Notes
        -----
        Efron (1981), https://doi.org/10.2307/3314608; Hesterberg (2015),
        https://doi.org/10.1080/00031305.2015.1089789, who recommends it for skewed samples. A resample
        of fewer than two defined values is left out.
        """
        kept, cells = self._kept(), np.arange(len(self.mean))
        ends = []
        for share, outward in (((1 + confidence) / 2, np.ceil), ((1 - confidence) / 2, np.floor)):
            nudge = -1e-9 if outward is np.ceil else 1e-9  # a whole number may miss itself by round-off
            place = outward(share * (kept + 1) + nudge) - 1
            place = np.clip(place, 0, np.maximum(kept, 1) - 1).astype(int)
            with np.errstate(invalid="ignore"):
                moved = self.mean - self.ratios[place, cells] * self.error
            ends.append(np.where(self.error > 0, moved, self.mean))
        return np.where(self.n < 2, np.nan, ends[0]), np.where(self.n < 2, np.nan, ends[1])

    def tails(self, null: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided p-values that each mean lies above, and below, `null`.

        From 20 subjects on, where fewer than ten resamples are as extreme as the data, the tail goes on
        as Student's does, so that a p-value below ``10 / n_resamples`` keeps its size. With fewer subjects
        it ends at ``1 / n_resamples``: what lies further out rests on no data.

        Returns
        -------
        above, below : numpy.ndarray
            Shape (cells,). NaN with fewer than two subjects, and without any variance: equal values say
            nothing about how far others would lie.
        """
        return self.tail(null, 1), self.tail(null, -1)

    def tail(self, null: float, side: int) -> np.ndarray:
        """One of `tails`: that each mean lies above `null` (`side` 1), or below (-1)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (self.mean - null) / self.error
        freedom = np.maximum(self.n - 1, 1)
        ratios = [column[:k] for column, k in zip(self.ratios.T, self._kept(), strict=True)]
        # the lower tail of the ratios is the upper one of their mirror
        ordered = ratios if side > 0 else [-column[::-1] for column in ratios]
        student = stdtr(freedom, -side * t)
        p = np.array([_tail(*c) for c in zip(ordered, side * t, self.n, strict=True)])
        p = np.where(self.n < FEW, np.maximum(p, student), p)
        p = np.where(self.n < STUDENT_BELOW, student, p)
        if self.bounds is not None:
            p = np.minimum(p, _CUT * distribution_free_tail(self.values, self._limits(), null, -side))
        return np.where((self.error > 0) & (self.n > 1), p, np.nan)

    def p_value(self) -> np.ndarray:
        """Two-sided p-value of the hypothesis that each mean is zero."""
        return np.minimum(1.0, 2 * np.minimum(*self.tails(0.0)))

    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        """`bounds` of each column, wider where pseudo-values of a standardised mean lie beyond them."""
        low, high = self.bounds
        return np.nanmin(self.values, axis=0, initial=low), np.nanmax(self.values, axis=0, initial=high)

    def _kept(self) -> np.ndarray:
        """Number of resamples of each column that have a ratio."""
        return (~np.isnan(self.ratios)).sum(axis=0)


def _tail(ordered: np.ndarray, t: float, n: int) -> float:
    """Share of ascending ratios that reach `t`; beyond the last ten, continued by Student's tail."""
    kept = len(ordered)
    reached = kept - np.searchsorted(ordered, t - 1e-12)
    p = (reached + 1) / (kept + 1)
    if (
        n < _TAIL_FROM
        or reached >= SEEN
        or kept <= SEEN
        or not (np.isfinite(ordered[-SEEN]) and np.isfinite(t))
    ):
        return float(p)
    at = stdtr(n - 1, -ordered[-SEEN])
    return float(min(p, (SEEN + 1) / (kept + 1) * stdtr(n - 1, -t) / at)) if at > 0 else float(p)


def estimate_means(
    values: np.ndarray, counts: np.ndarray, *, bounds: tuple[float, float] | None = None
) -> MeanEstimate:
    """Means of columns with their studentised bootstrap over subjects.

    Examples
    --------
    The p-value is below 0.05 where the 95 % interval leaves out 0, and nowhere else.

    >>> values = np.array([[-0.1, 0.1], [-0.2, 0.2], [-0.3, -0.1], [-0.1, 0.1], [-0.2, 0.0]])
    >>> estimate = estimate_means(values, resample_counts(5, 999, np.random.default_rng(0)))
    >>> low, high = estimate.interval()
    >>> (estimate.p_value() < 0.05).tolist(), ((low > 0) | (high < 0)).tolist()
    ([True, False], [True, False])
    """
    mean, error, n = _mean_and_error(values)
    ratios = np.sort(_studentised_means(values - mean, counts), axis=0)
    return MeanEstimate(values, mean, error, n, ratios, bounds)


def _studentised_means(centred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over its own standard error, per resample and column; infinite without spread."""
    defined = np.isfinite(centred)
    filled = np.where(defined, centred, 0.0)
    drawn = np.full((len(counts), 1), 1.0 * counts.shape[1])
    if not defined.all():
        drawn = counts @ defined.astype(float)
    drawn = np.where(drawn > 1, drawn, np.nan)
    means = (counts @ filled) / drawn
    squares = (counts @ filled**2) / drawn
    variance = squares - means**2
    # Round-off in a resample without spread is not spread.
    variance = np.where(variance > 1e-12 * squares, variance, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = means / np.sqrt(variance / (drawn - 1))
    return np.where((means == 0) & (variance == 0), 0.0, ratio)


def mean_interval(
    values: np.ndarray, counts: np.ndarray, *, bounds: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The book's 95 % interval of the mean of each column: studentised bootstrap over subjects.

    Parameters
    ----------
    values, counts
        See `bca_interval`.
    bounds
        Smallest and largest possible value, such as (-1, 1) for a difference of overlaps; None
        where there are none. The interval is cut where values within these bounds put the mean
        with 99 % whatever their distribution (`umdlib.statistics.distribution_free`): one subject that fails alone
        can stretch a studentised interval over the whole scale.

    Returns
    -------
    low, high : numpy.ndarray
        Shape (cells,). From ten subjects on the studentised interval; from five, with neither end
        inside Student's interval; below five, Student's. Without bounds an end that would be
        infinite is Student's. NaN with fewer than two defined subjects.

    Notes
    -----
    `umdlib.statistics.operating_characteristics.coverage` is the reason for the choice: of
    Student's, BCa and this interval it covers most on the shapes that paired differences of DSC have,
    skewed ones included. Where a failure is too rare to be among the subjects none of the three covers.
    """
    return estimate_means(values, counts, bounds=bounds).interval()


class _MeanInterval(NamedTuple):
    """A mean over subjects, its interval, the p-value that belongs to it, and how many subjects."""

    estimate: float
    low: float
    high: float
    p_value: float
    n_subjects: int

    def columns(self) -> dict[str, float]:
        """Estimate, interval and p-value by the names that tables give them."""
        return dict(zip(("estimate", "ci_low", "ci_high", "p_value"), self[:4], strict=True))


def interval_of_mean(
    values: np.ndarray, metric: str, n_resamples: int, seed: int, *, kind: str = "difference"
) -> _MeanInterval:
    """Mean over subjects with the book's 95 % interval and the p-value of a zero mean.

    Parameters
    ----------
    values
        Shape (n,), one per subject; NaN left out.
    metric
        What they are of: it says how far they can lie apart.
    n_resamples, seed
        Of the bootstrap over subjects.
    kind
        ``score``, ``difference`` of two scores, or ``contrast`` of two such differences.

    Returns
    -------
    MeanInterval
        The interval is NaN below two subjects, the p-value below six, whose test nobody could check.
        From six on it is under 0.05 exactly where the interval leaves out 0.

    Examples
    --------
    >>> found = interval_of_mean(np.array([-0.1, -0.2, -0.1, -0.3, -0.2, -0.2]), "dice", 999, 0)
    >>> round(found.estimate, 2), found.high < 0, found.p_value < 0.05
    (-0.18, True, True)
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        mean = float(values[0]) if len(values) else np.nan
        return _MeanInterval(mean, np.nan, np.nan, np.nan, len(values))
    counts, _ = seeded_counts(len(values), n_resamples, seed)
    estimate = estimate_means(values[:, None], counts, bounds=value_bounds(metric, kind))
    low, high = estimate.interval()
    p_value = 1.0 if np.abs(values).max() <= _ROUND_OFF else estimate.p_value()[0]
    p_value = p_value if len(values) >= FEWEST else np.nan
    return _MeanInterval(float(values.mean()), float(low[0]), float(high[0]), float(p_value), len(values))


def value_bounds(metric: str, kind: str = "difference") -> tuple[float, float] | None:
    """Smallest and largest possible score, difference, or contrast of a metric; None without bounds.

    Examples
    --------
    >>> value_bounds("dice"), value_bounds("dice", "contrast"), value_bounds("assd")
    ((-1.0, 1.0), (-2.0, 2.0), None)
    """
    if kind not in KINDS:
        raise unknown_name("kind of value", kind, KINDS)
    if score_limits(metric) is None:
        return None
    return {"score": (0.0, 1.0), "difference": (-1.0, 1.0), "contrast": (-2.0, 2.0)}[kind]


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, its standard error, and number of defined values of each column."""
    defined = np.isfinite(values)
    n = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(defined, values, 0.0).sum(axis=0) / n
        squares = (np.where(defined, values - mean, 0.0) ** 2).sum(axis=0)
        error = np.sqrt(squares / (n - 1) / n)
    return mean, np.where(_equal(values) & (n > 1), 0.0, error), n


def _equal(values: np.ndarray) -> np.ndarray:
    """Whether all defined values of each column are the same, but for round-off."""
    largest = np.nanmax(values, axis=0, initial=-np.inf)
    return largest - np.nanmin(values, axis=0, initial=np.inf) <= _ROUND_OFF


def _jackknife(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, acceleration and number of defined values of each column."""
    defined = np.isfinite(values)
    n = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = total / n
        left_out = np.where(defined, (total - values) / (n - 1), estimate)
        spread = left_out.mean(axis=0) - left_out
        acceleration = (spread**3).sum(axis=0) / (6 * ((spread**2).sum(axis=0)) ** 1.5)
    return estimate, acceleration, n


def _quantile_sorted(ordered: np.ndarray, kept: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Quantile `share` of each sorted column, linear between order statistics."""
    position = np.where(np.isfinite(share), share, 0.0) * (np.maximum(kept, 1) - 1)
    left = np.floor(position).astype(int)
    right = np.minimum(left + 1, np.maximum(kept, 1) - 1)
    columns = np.arange(ordered.shape[1])
    a, b, part = ordered[left, columns], ordered[right, columns], position - left
    # The two-sided form of numpy's interpolation, so that equal draws give equal bits.
    value = np.where(part < 0.5, a + (b - a) * part, b - (b - a) * (1 - part))
    return np.where(np.isfinite(share), value, np.nan)


def resampled_medians(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Median of each column in each resample, from sorted cumulative counts.

    Parameters
    ----------
    values
        Shape (n, cells), without NaN.
    counts
        Shape (n_resamples, n).

    Returns
    -------
    numpy.ndarray
        Shape (n_resamples, cells).

    Notes
    -----
    The bootstrap distribution of a median sits on few values; its 95 % interval covered 91-93 % in
    simulations of 6 to 20 subjects. `umdlib.statistics.signed_rank.median_interval` needs no resampling and
    covers at least what it says.
    """
    medians = np.empty((len(counts), values.shape[1]))
    for cell, column in enumerate(values.T):
        order = np.argsort(column, kind="stable")
        reached = np.cumsum(counts[:, order], axis=1)
        half = counts[:, order].sum(axis=1) / 2
        lower = column[order][(reached >= half[:, None]).argmax(axis=1)]
        upper = column[order][(reached > half[:, None]).argmax(axis=1)]
        medians[:, cell] = (lower + upper) / 2
    return medians
