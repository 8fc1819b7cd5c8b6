"""Equivalence and relevance against a margin, and the smallest difference that a sample can show."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.statistics.bootstrap import MeanEstimate


def equivalence_p(estimate: MeanEstimate, margin: float) -> np.ndarray:
    """P-value that each mean lies within ±`margin`: two one-sided tests by the reported interval.

    Parameters
    ----------
    estimate
        Of paired differences.
    margin
        Largest difference that does not matter, in units of the metric; > 0.

    Returns
    -------
    numpy.ndarray
        Shape (cells,). Below 0.05 exactly where the 90 % interval lies inside the margin. NaN with
        fewer than two subjects and without any variance: equal differences, of which two are enough
        for a variance of zero, say nothing about how far those of others would lie.

    Notes
    -----
    Schuirmann (1987), https://doi.org/10.1007/BF01068419, with the studentised bootstrap in place of
    Student's t.

    Examples
    --------
    >>> from umdlib.statistics.bootstrap import estimate_means, resample_counts
    >>> values = np.array([[0.01], [-0.01], [0.005], [-0.005], [0.002], [0.001]])
    >>> estimate = estimate_means(values, resample_counts(6, 999, np.random.default_rng(0)))
    >>> bool(equivalence_p(estimate, 0.02)[0] < 0.05)
    True
    """
    _check(margin)
    return np.maximum(estimate.tail(-margin, 1), estimate.tail(margin, -1))


def relevance_p(estimate: MeanEstimate, margin: float) -> np.ndarray:
    """P-value that each mean lies beyond ±`margin`, on either side.

    Returns
    -------
    numpy.ndarray
        Shape (cells,). Below 0.05 exactly where the 95 % interval lies wholly outside the margin.
    """
    _check(margin)
    return np.minimum(1.0, 2 * np.minimum(estimate.tail(margin, 1), estimate.tail(-margin, -1)))


def unseen_p(
    mean: np.ndarray, n: np.ndarray, margin: float, loss: np.ndarray, gain: np.ndarray
) -> np.ndarray:
    """Chance that a cohort shows none of the failures that would move its mean out of the margin.

    A cohort in which nobody fails looks the same in both modalities whether failures do not exist or
    are rare. If a share s of all subjects lost the structure, the mean would be lower by s times what
    such a subject loses; the smallest s that ends outside the margin is unseen in n subjects with
    probability (1 - s)^n.

    Parameters
    ----------
    mean, n
        Mean difference and number of subjects.
    margin
        See `equivalence_p`.
    loss, gain
        What a subject can lose or gain: the mean score on the structural image, and on PET.

    Returns
    -------
    numpy.ndarray
        The larger chance of both sides.

    Examples
    --------
    Of a structure scored at 0.85, 2.4 % of failures cost 0.02: eight subjects would hide them.

    >>> sizes = np.array([8, 48, 130])
    >>> unseen_p(np.zeros(3), sizes, 0.02, np.full(3, 0.85), np.full(3, 0.85)).round(2)
    array([0.83, 0.32, 0.05])
    """
    _check(margin)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.clip((margin + mean) / loss, 0, 1), np.clip((margin - mean) / gain, 0, 1)]
    return np.fmax(*((1 - s) ** n for s in shares))


def _check(margin: float) -> None:
    """Refuse a margin that is not positive."""
    if not margin > 0:
        raise InputError(f"Invalid equivalence margin {margin}. Must be above 0.")


@lru_cache(maxsize=4096)
def detectable_effect(n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest standardised mean difference d_z that `n` pairs show with the given power.

    Returns
    -------
    float
        Of the two-sided one-sample t test; NaN with fewer than two pairs.

    Examples
    --------
    A difference of 0.13 standard deviations at the size of UMD's PET/CT cohort:

    >>> round(detectable_effect(490), 4)
    0.1268
    """
    if n < 2:
        return float("nan")
    limit = scipy.stats.t.ppf(1 - alpha / 2, n - 1)

    def shortfall(effect: float) -> float:
        shift = effect * np.sqrt(n)
        other_side = np.nan_to_num(scipy.stats.nct.cdf(-limit, n - 1, shift))  # NaN where below 1e-300
        return float(scipy.stats.nct.sf(limit, n - 1, shift) + other_side - power)

    top = 0.01
    while shortfall(top) < 0:
        top *= 2
    return float(scipy.optimize.brentq(shortfall, top / 4, top, xtol=1e-10))
