"""Equivalence against a margin, and the smallest difference that a sample can show."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from umdlib.errors import InputError


def tost(differences: np.ndarray, margin: float) -> float:
    """P-value of the two one-sided t tests that the mean difference lies within ±`margin`.

    Parameters
    ----------
    differences
        Shape (n,), one per subject; NaN ignored.
    margin
        Largest difference that does not matter, in units of the metric; > 0.

    Returns
    -------
    float
        Small where equivalence is shown. NaN with fewer than two subjects; without any variance
        0 where the constant lies inside the margin and 1 where it does not.

    Notes
    -----
    Schuirmann (1987), https://doi.org/10.1007/BF01068419.

    Examples
    --------
    >>> round(tost(np.array([0.01, -0.01, 0.005, -0.005]), 0.02), 4)
    0.011
    """
    if not margin > 0:
        raise InputError(f"Invalid equivalence margin {margin}. Must be above 0.")
    kept = np.asarray(differences, dtype=float)
    kept = kept[np.isfinite(kept)]
    if kept.size < 2:
        return float("nan")
    error = kept.std(ddof=1) / np.sqrt(kept.size)
    if error < 1e-15:
        return 0.0 if abs(kept.mean()) < margin else 1.0
    t_nearer = (margin - abs(kept.mean())) / error
    return float(stats.t.sf(t_nearer, kept.size - 1))


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
    limit = stats.t.ppf(1 - alpha / 2, n - 1)

    def shortfall(effect: float) -> float:
        shift = effect * np.sqrt(n)
        other_side = np.nan_to_num(stats.nct.cdf(-limit, n - 1, shift))  # NaN where below 1e-300
        return float(stats.nct.sf(limit, n - 1, shift) + other_side - power)

    top = 0.01
    while shortfall(top) < 0:
        top *= 2
    return float(optimize.brentq(shortfall, top / 4, top, xtol=1e-10))


def smallest_detectable(differences: np.ndarray, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean difference that this many pairs with this spread show with the given power.

    Returns
    -------
    float
        In units of the metric; NaN with fewer than two defined differences.
    """
    kept = np.asarray(differences, dtype=float)
    kept = kept[np.isfinite(kept)]
    if kept.size < 2:
        return float("nan")
    return detectable_effect(kept.size, alpha=alpha, power=power) * float(kept.std(ddof=1))
