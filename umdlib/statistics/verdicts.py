"""Verdicts on comparisons: difference, relevance and equivalence decided together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from umdlib.errors import unknown_name
from umdlib.scores.empty_rules import score_limits
from umdlib.statistics.failures import failure_table
from umdlib.statistics.pairs import subject_matrices

# Verdict -> what it rests on, in the words that a table prints under itself.
VERDICTS: dict[str, str] = {
    "differs and matters": "the difference is shown, and shown to be larger than the margin",
    "differs": "the difference is shown; whether it is larger than the margin is not",
    "differs by less than the margin": "the difference is shown, and shown to be too small to matter",
    "the same": "shown to lie within the margin; no difference is shown",
    "undecided": "neither a difference nor equivalence is shown",
    "not identifiable": "both sides are at the floor: their difference says nothing",
}
FLOOR = "not identifiable"
_FLOOR_BELOW = 0.1  # a DSC under this is a failure, see `umdlib.statistics.failures.failed`


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
        ["", FLOOR, "differs by less than the margin", "differs and matters", "differs", "the same"],
        "undecided",
    )
    return pd.Series(found, comparisons.index, dtype=object)


def at_floor(
    table: pd.DataFrame,
    *,
    metric: str = "dice",
    below: float = _FLOOR_BELOW,
    sides: Sequence[str] = ("mean_structural", "mean_pet"),
) -> pd.Series:
    """Whether a difference is one between floors: it is not identifiable, and no equality is shown either.

    The one rule of every table and figure that shows a difference.

    Parameters
    ----------
    table
        The means that are compared; where they are of pairs, columns `neither` and `n_pairs` of
        `umdlib.statistics.failures.quadrants` too.
    metric
        What is compared.
    below
        A DSC under this is a failure.
    sides
        Columns of the means.

    Returns
    -------
    pandas.Series
        True where every pair fails on both sides or, of an overlap, all means lie under `below`.

    Examples
    --------
    >>> table = pd.DataFrame({"mean_structural": [0.04, 0.04], "mean_pet": [0.02, 0.60]})
    >>> at_floor(table).tolist(), at_floor(table, metric="assd").tolist()
    ([True, False], [False, False])
    """
    floor = pd.Series(False, table.index)
    if {"neither", "n_pairs"} <= set(table.columns):
        floor = table["n_pairs"].gt(0) & table["neither"].eq(table["n_pairs"])
    if score_limits(metric) is None:
        return floor
    return floor | table[list(sides)].astype(float).lt(below).all(axis=1)


def means_at_floor(values: pd.DataFrame, metric: str) -> bool:
    """`at_floor` of columns of one value per subject or seed, all of them sides of one difference."""
    return bool(at_floor(values.mean().to_frame().T, metric=metric, sides=list(values)).item())


def floors(pairs: pd.DataFrame, scores: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """`at_floor` of groups of pairs.

    Parameters
    ----------
    pairs
        From `umdlib.statistics.pairs.paired_differences`, or a part of it.
    scores
        The score rows that they were made of, of one prompt and step: they say which pairs fail.
    by
        Columns that make a comparison.

    Returns
    -------
    pandas.Series
        Index `by`. A subject counts once: its means are over its structures.
    """
    keys = ["subject", "session", "structure", "segmenter"]
    fails = failure_table(scores, below=_FLOOR_BELOW)
    fails = fails.assign(neither=fails["structural"] & fails["pet"])[[*keys, "neither"]]
    rows = pairs[pairs["state"].eq("paired")].merge(fails, on=keys, how="left")
    rows["neither"] = rows["neither"].fillna(False).astype(bool)
    by = list(by)
    grouped = rows.groupby(by, sort=False)["neither"]
    table = pd.DataFrame({"neither": grouped.sum(), "n_pairs": grouped.size()})
    for side, matrix in subject_matrices(rows, by, ("structural", "pet")).items():
        table[f"mean_{side}"] = matrix.mean().reindex(table.index)
    return at_floor(table, metric=pairs.attrs.get("metric", "dice"))
