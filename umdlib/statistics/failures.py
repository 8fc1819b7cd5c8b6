"""Failures on the pairs: rates per modality, the four quadrants, McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from umdlib.labels import MODALITIES
from umdlib.scores.empty_rules import check_scores
from umdlib.statistics.pairs import group_numbers

QUADRANTS: dict[str, str] = {
    "both": "both work",
    "structural_only": "works on the structural image only",
    "pet_only": "works on PET only",
    "neither": "neither works",
}
# A click shows where a lesion is: only an answer that agrees with it this well has delineated it.
DELINEATED = 0.5


def failed(scores: pd.DataFrame, *, below: float = 0.1) -> pd.Series:
    """Whether each prediction is a failure.

    Parameters
    ----------
    scores
        Score table.
    below
        A prediction with a DSC under this fails. The default, 0.1, means that the structure
        was practically not found.

    Returns
    -------
    pandas.Series
        ``boolean``; a failed run and an empty prediction are failures; NA where the reference is
        empty (nothing to find) or the segmenter was not available.
    """
    result = scores["dice"].lt(below) | scores["status"].isin(["failed", "prediction_empty"])
    nothing = scores["status"].isin(["both_empty", "reference_empty", "unavailable"])
    unknown = scores["dice"].isna() & ~scores["status"].isin(["failed", "prediction_empty"])
    return result.astype("boolean").mask(nothing | unknown)


def mcnemar(structural_only: int, pet_only: int) -> float:
    """Exact McNemar p-value from the two discordant counts.

    Returns
    -------
    float
        1 without a discordant pair: the data say nothing about a difference.

    Notes
    -----
    McNemar (1947), https://doi.org/10.1007/BF02295996; two-sided binomial.

    Examples
    --------
    >>> mcnemar(5, 0)
    0.0625
    """
    discordant = int(structural_only + pet_only)
    if discordant == 0:
        return 1.0
    return float(scipy.stats.binomtest(int(pet_only), discordant, 0.5).pvalue)


def rate_interval(failed: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a failure rate, one pair per subject.

    Returns
    -------
    low, high : float
        NaN without a pair.

    Notes
    -----
    Clopper and Pearson (1934), https://doi.org/10.1093/biomet/26.4.404; it covers at least as often
    as it says, also where no failure was seen.

    Examples
    --------
    >>> low, high = rate_interval(0, 8)
    >>> low, round(high, 3)
    (0.0, 0.369)
    """
    if n == 0:
        return float("nan"), float("nan")
    found = scipy.stats.binomtest(int(failed), int(n)).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def quadrants(
    scores: pd.DataFrame, *, by: Sequence[str] = ("session", "segmenter", "structure"), below: float = 0.1
) -> pd.DataFrame:
    """Count the pairs on which both, one, or neither modality works.

    A subject with several seeds counts once: it fails where most of its seeds fail.

    Parameters
    ----------
    scores
        Score table of one prompt and one step (`umdlib.statistics.pairs.condition`).
    by
        Columns that make a comparison.
    below
        See `failed`.

    Returns
    -------
    pandas.DataFrame
        `by`, the counts `both, structural_only, pet_only, neither`, their sum `n_pairs`,
        `n_subjects`, `failure_structural` and `failure_pet` (shares), `p_mcnemar` (NaN where a
        subject has more than one pair in a comparison: those pairs are not independent).
    """
    check_scores(scores, ["dice"])
    pairs = failure_table(scores, below=below)
    if pairs.empty:
        return pd.DataFrame(columns=_columns(by))
    number, first = group_numbers(pairs, by)
    each = group_numbers(pairs, [*by, "subject"])[1]
    quadrant = 2 * pairs["structural"].to_numpy() + pairs["pet"].to_numpy()
    counts = np.bincount(4 * number + quadrant, minlength=4 * len(first)).reshape(-1, 4)
    table = pairs[list(by)].iloc[first].reset_index(drop=True)
    table[["both", "structural_only", "pet_only", "neither"]] = counts
    table["n_pairs"], table["n_subjects"] = counts.sum(axis=1), np.bincount(number[each])
    table["failure_structural"] = counts[:, 2:].sum(axis=1) / table["n_pairs"]
    table["failure_pet"] = counts[:, 1::2].sum(axis=1) / table["n_pairs"]
    tests = list(map(mcnemar, table["structural_only"], table["pet_only"]))
    table["p_mcnemar"] = pd.Series(tests, dtype=float).where(table["n_pairs"].eq(table["n_subjects"]))
    return table[_columns(by)]


def _columns(by: Sequence[str]) -> list[str]:
    """Columns of the quadrant table."""
    counts = [*QUADRANTS, "n_pairs", "n_subjects", "failure_structural", "failure_pet"]
    return [*by, *counts, "p_mcnemar"]


def failure_table(scores: pd.DataFrame, *, below: float = 0.1) -> pd.DataFrame:
    """One row per pair: `subject, session, structure, segmenter`, `structural` and `pet` (bool).

    A side with several seeds fails where most of them fail. Pairs without a reference on one side
    are left out: there is nothing to fail at.
    """
    keys = ["subject", "session", "structure", "segmenter"]
    found = failed(scores, below=below)
    known = found.notna().to_numpy()
    rows, fails = scores[known], found[known].to_numpy(bool)
    number, first = group_numbers(rows, keys)
    modality, names = pd.factorize(rows["modality"])
    pet = np.array([not MODALITIES[m].structural for m in names], bool)[modality]
    cell, size = 2 * number + pet, 2 * len(first)
    n, lost = (np.bincount(cell, weights=w, minlength=size).reshape(-1, 2) for w in (None, fails))
    order = np.lexsort([pd.factorize(rows[key])[0][first] for key in reversed(keys)])
    order = order[n.all(axis=1)[order]]
    table = rows[keys].iloc[first[order]].reset_index(drop=True)
    table[["structural", "pet"]] = lost[order] / n[order] > 0.5
    return table
