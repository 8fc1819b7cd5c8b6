"""What means, SDs and n allow a paired test to say, when the pairs were not published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from umdlib.errors import InputError
from umdlib.labels import SESSIONS
from umdlib.published.printed import cells, n_scans

CERTAIN, DEPENDS, NEVER = "for every ρ", "depends on ρ", "for no ρ"


@dataclass(frozen=True)
class PRange:
    """Range of a paired t-test's p over every correlation ρ between the two scores.

    Attributes
    ----------
    difference
        Second mean minus first.
    p_low, p_high
        Two-sided p at the most and the least favourable ρ in [-1, 1], rounding included.
    rho_needed
        Smallest ρ at which p < `alpha`, rounding left out; -1 if every ρ will do, NaN if none.
    """

    difference: float
    p_low: float
    p_high: float
    alpha: float
    rho_needed: float

    @property
    def verdict(self) -> str:
        """Whether p < alpha holds for every ρ, for no ρ, or depends on it."""
        if self.p_high < self.alpha:
            return CERTAIN
        return DEPENDS if self.p_low < self.alpha else NEVER


def paired_p(difference: float, sds: tuple[float, float], rho: float | np.ndarray, n: int) -> np.ndarray:
    """Two-sided p of a paired t-test from means, SDs, the correlation of the pairs and n.

    The SD of the difference is √(s₁² + s₂² - 2 ρ s₁ s₂). SDs that divide by n are used here:
    the standard error then divides by √(n - 1).

    Examples
    --------
    >>> float(paired_p(0.1, (0.2, 0.2), 0.5, 101).round(6))
    2e-06
    """
    a, b = sds
    rho = np.asarray(rho, float)
    se = np.sqrt(np.maximum(a**2 + b**2 - 2 * rho * a * b, 0.0) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(difference) / se
    t = np.where(se > 0, t, np.where(difference != 0, np.inf, 0.0))
    return 2 * scipy.stats.t.sf(t, n - 1)


def p_range(
    means: tuple[float, float],
    sds: tuple[float, float],
    n: int,
    *,
    alpha: float = 0.01,
    half_unit: float = 0.0,
) -> PRange:
    """Range of p over ρ, with the rounding of the four numbers on the unfavourable side.

    Parameters
    ----------
    means, sds
        Of the first and second score of the same subjects; SDs divide by n or n - 1 (the
        difference is below the third digit of p for n above 100; the cells of UMD that can be
        traced divide by n).
    n
        Pairs, 2 or more.
    alpha
        Level for `rho_needed` and the verdict.
    half_unit
        Half a unit of the last printed place.

    Raises
    ------
    InputError
        If n is below 2, a mean or SD is missing, or an SD is negative.

    Examples
    --------
    >>> found = p_range((0.5, 0.3), (0.2, 0.2), 490, alpha=0.0001)
    >>> found.verdict, found.rho_needed
    ('for every ρ', -1.0)
    >>> p_range((0.50, 0.49), (0.2, 0.2), 490, alpha=0.01).verdict
    'depends on ρ'
    """
    if n < 2 or np.isnan([*means, *sds]).any() or min(sds) < 0:
        raise InputError(
            f"Invalid means {means}, SDs {sds}, n {n}. A paired p needs two means, two SDs of 0 "
            "or more, and 2 or more pairs."
        )
    difference = means[1] - means[0]
    least = max(abs(difference) - 2 * half_unit, 0.0)
    wide = (sds[0] + half_unit, sds[1] + half_unit)
    spread = max(abs(sds[0] - sds[1]) - 2 * half_unit, 0.0)
    high = float(paired_p(least, wide, -1.0, n))
    low = float(paired_p(abs(difference) + 2 * half_unit, (spread, 0.0), 0.0, n))
    return PRange(difference, low, high, alpha, _rho_needed(difference, sds, n, alpha))


def _rho_needed(difference: float, sds: tuple[float, float], n: int, alpha: float) -> float:
    """Smallest ρ in [-1, 1] with p < alpha, NaN if there is none."""
    a, b = sds
    if a == 0 or b == 0:
        return -1.0 if float(paired_p(difference, sds, 0.0, n)) < alpha else float("nan")
    critical = scipy.stats.t.isf(alpha / 2, n - 1)
    rho = (a**2 + b**2 - (n - 1) * difference**2 / critical**2) / (2 * a * b)
    return max(float(rho), -1.0) if rho <= 1 else float("nan")


def modality_ranges(table: pd.DataFrame, *, alpha: float = 0.01) -> pd.DataFrame:
    """PET against the structural image for every system and structure of a table of means.

    Parameters
    ----------
    table
        UMD table 1 or 2 as `umdlib.published.read` returns it.
    alpha
        Level of the verdict.

    Returns
    -------
    pandas.DataFrame
        ``session, structure, row, model, segmenter, structural, pet`` (means), ``difference,
        n_pairs, p_low, p_high, rho_needed, verdict, better``. `n_pairs` is the published number
        of scans: pairs that were left out are not known.
    """
    wide = cells(table)
    keys = ["session", "cohort", "structure", "row", "model", "segmenter"]
    rows = []
    for key, pair in wide.groupby(keys, sort=False):
        of = pair.set_index("modality")
        structural = SESSIONS[key[0]].structural
        a, b = of.loc[structural], of.loc["PET"]
        n = n_scans(key[1])
        found = p_range((a["mean"], b["mean"]), (a["sd"], b["sd"]), n, alpha=alpha, half_unit=a["half_unit"])
        better = "PET" if found.difference > 0 else structural if found.difference < 0 else ""
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "structural": a["mean"],
                "pet": b["mean"],
                "difference": found.difference,
                "n_pairs": n,
                "p_low": found.p_low,
                "p_high": found.p_high,
                "rho_needed": found.rho_needed,
                "verdict": found.verdict,
                "better": better,
            }
        )
    return pd.DataFrame(rows)
