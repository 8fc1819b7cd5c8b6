"""Numbers of subjects that a margin needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from umdlib.errors import InputError
from umdlib.statistics.equivalence import detectable_effect

_POWER = 0.8


def subjects_for_difference(sd: float, size: float, *, alpha: float = 0.05) -> int:
    """Smallest number of pairs that show a mean difference of a given size.

    Parameters
    ----------
    sd
        Standard deviation of the paired differences.
    size
        Mean difference to be found, in the same units; > 0.
    alpha
        Of the two-sided t test; its power is 0.8.

    Examples
    --------
    >>> subjects_for_difference(0.05, 0.02)
    52
    """
    _check(sd, size, alpha)
    z = scipy.stats.norm.ppf(1 - alpha / 2) + scipy.stats.norm.ppf(_POWER)
    n = max(2, int((z * sd / size) ** 2) - 2)
    while detectable_effect(n, alpha=alpha, power=_POWER) * sd > size:
        n += 1
    return n


def subjects_for_equivalence(sd: float, margin: float, *, alpha: float = 0.05) -> int:
    """Smallest number of pairs whose interval lies inside the margin where there is no difference.

    Parameters
    ----------
    sd, margin
        Standard deviation of the paired differences, and the margin; > 0.
    alpha
        Of each of the two one-sided t tests; the power of both together is 0.8.

    Notes
    -----
    For normal differences with mean zero; the chance that both one-sided tests reject is
    ``2 T(limit) - 1`` with the non-central t distribution T, see Phillips (1990),
    https://doi.org/10.1007/BF01063556.

    Examples
    --------
    >>> subjects_for_equivalence(0.05, 0.02)
    55
    """
    _check(sd, margin, alpha)
    few, enough = 1, 2
    while _equivalence_power(enough, sd, margin, alpha) < _POWER:
        few, enough = enough, 2 * enough
    while enough - few > 1:  # power grows with the number
        middle = (few + enough) // 2
        if _equivalence_power(middle, sd, margin, alpha) < _POWER:
            few = middle
        else:
            enough = middle
    return enough


def _equivalence_power(n: int, sd: float, margin: float, alpha: float) -> float:
    """Chance that both one-sided tests reject at a difference of zero."""
    limit = scipy.stats.t.ppf(1 - alpha, n - 1)
    shift = margin * np.sqrt(n) / sd
    return max(0.0, 2 * float(scipy.stats.nct.sf(limit, n - 1, shift)) - 1)


def subjects_for_unseen(margin: float, level: float, *, alpha: float = 0.05) -> int:
    """Smallest number of subjects that would show a failure frequent enough to matter.

    Parameters
    ----------
    margin
        Largest mean difference that does not matter.
    level
        Mean score of the structural image, which a subject that fails on PET loses.
    alpha
        Chance to see none of the failures, where their share is margin / level.

    Examples
    --------
    >>> subjects_for_unseen(0.02, 0.85)
    126
    """
    if not 0 < margin < level:
        raise InputError(f"Invalid margin {margin} beside a level of {level}. Must lie between 0 and it.")
    return int(np.ceil(np.log(alpha) / np.log1p(-margin / level)))


def planning_table(
    sd: float, level: float, *, margins: tuple[float, ...] = (0.01, 0.02, 0.03, 0.05, 0.1), family: int = 1
) -> pd.DataFrame:
    """Numbers of subjects for each margin and question, at a power of 0.8.

    Parameters
    ----------
    sd, level
        Of the paired differences, and of the structural scores, such as a run's medians.
    margins
        Differences that would just not matter.
    family
        Number of comparisons: each test is at 5 % divided by it (Bonferroni, Holm's first step).

    Returns
    -------
    pandas.DataFrame
        `margin, difference` (to find one of that size), `equivalence` (to show that there is none),
        `unseen` (to see a failure that would matter), `needed` (for a verdict *the same*).
    """
    alpha = 0.05 / family
    rows = []
    for margin in margins:
        inside = subjects_for_equivalence(sd, margin, alpha=alpha)
        unseen = subjects_for_unseen(margin, level, alpha=alpha)
        found = subjects_for_difference(sd, margin, alpha=alpha)
        rows.append([margin, found, inside, unseen, max(inside, unseen)])
    return pd.DataFrame(rows, columns=["margin", "difference", "equivalence", "unseen", "needed"])


def _check(sd: float, size: float, alpha: float) -> None:
    """Refuse what no sample size exists for."""
    if not (sd > 0 and size > 0):
        raise InputError(f"Invalid standard deviation {sd} or difference {size}. Both must be above 0.")
    if not 0 < alpha < 1:
        raise InputError(f"Invalid level {alpha}. Must lie between 0 and 1.")
