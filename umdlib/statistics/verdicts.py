"""Verdicts on comparisons: difference, relevance and equivalence decided together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.errors import unknown_name
from umdlib.scores.empty_rules import score_limits

# Verdict -> what it rests on, in the words that a table prints under itself.
VERDICTS: dict[str, str] = {
    "differs and matters": "the difference is shown, and shown to be larger than the margin",
    "differs": "the difference is shown; whether it is larger than the margin is not",
    "differs by less than the margin": "the difference is shown, and shown to be too small to matter",
    "the same": "shown to lie within the margin; no difference is shown",
    "undecided": "neither a difference nor equivalence is shown",
    "not identifiable": "both modalities are at the floor: their difference says nothing",
}


def decide(comparisons: pd.DataFrame, *, correction: str = "holm", alpha: float = 0.05) -> pd.Series:
    """One of `VERDICTS` per comparison, empty where there is no estimate.

    Parameters
    ----------
    comparisons
        Columns `estimate` and, for each of ``p``, ``p_relevance`` and ``p_equivalence``, its corrected
        form (such as `p_holm`, `p_relevance_holm`, `p_equivalence_holm`); `at_floor`.
    correction
        ``holm`` or ``bh``. Each of the three questions is a family of its own.
    alpha
        Level.
    """
    if correction not in ("holm", "bh"):
        raise unknown_name("correction", correction, ("holm", "bh"))
    shown = {
        name: comparisons[f"{column}_{correction}"].lt(alpha)
        for name, column in (("differs", "p"), ("beyond", "p_relevance"), ("inside", "p_equivalence"))
    }
    found = np.select(
        [
            comparisons["estimate"].isna(),
            comparisons["at_floor"].fillna(False).astype(bool),
            shown["differs"] & shown["inside"],
            shown["differs"] & shown["beyond"],
            shown["differs"],
            shown["inside"],
        ],
        [
            "",
            "not identifiable",
            "differs by less than the margin",
            "differs and matters",
            "differs",
            "the same",
        ],
        "undecided",
    )
    return pd.Series(found, comparisons.index, dtype=object)


def at_floor(comparisons: pd.DataFrame, *, metric: str, below: float) -> pd.Series:
    """Whether a comparison is one of two floors: a gap between them is not identifiable.

    Parameters
    ----------
    comparisons
        Columns `neither` and `n_pairs` of `umdlib.statistics.failures.quadrants`, and the means.
    metric
        What is compared.
    below
        A DSC under this is a failure.

    Returns
    -------
    pandas.Series
        True where every pair fails on both modalities or, of an overlap, both means lie under `below`.
    """
    floor = comparisons["n_pairs"].gt(0) & comparisons["neither"].eq(comparisons["n_pairs"])
    if score_limits(metric) is None:
        return floor
    return floor | comparisons[["mean_structural", "mean_pet"]].lt(below).all(axis=1)
