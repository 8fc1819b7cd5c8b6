"""The rules that give an undefined score a value, or leave it out, by name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.scores.table import KEYS, STATUSES

# What each rule says, in the words that a table prints under itself.
EMPTY_RULES: dict[str, str] = {
    "drop": "undefined scores are left out",
    "zero": "a structure absent from both masks scores as no agreement",
    "one": "a structure absent from both masks scores as full agreement",
    "worst": "every undefined score, failed runs included, is the worst possible",
}

_PER_CENT = 2.0  # no overlap, and no simulated one with its noise, is as large
_DISTANCES = ("hausdorff", "hausdorff_95", "assd")
_UNDIRECTED = ("rvd", "reference_ml", "prediction_ml")


def is_directed(metric: str) -> bool:
    """Whether one end of `metric` is better: not so for a volume or a signed difference of two.

    Examples
    --------
    >>> is_directed("dice"), is_directed("rvd")
    (True, False)
    """
    return metric not in _UNDIRECTED


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of `metric` is a better one (overlaps), or a smaller (distances).

    Raises
    ------
    InputError
        Neither end of `metric` is better.

    Examples
    --------
    >>> higher_is_better("dice"), higher_is_better("hausdorff_95")
    (True, False)
    """
    if not is_directed(metric):
        raise InputError(
            f"Metric '{metric}' has no better end: it can be compared, but neither ranked nor "
            f"completed by an empty rule. Use empty='drop', or a metric such as 'dice'."
        )
    return metric not in _DISTANCES


def score_limits(metric: str) -> tuple[float, float] | None:
    """Smallest and largest possible value of an overlap; None for a distance or a volume.

    Examples
    --------
    >>> score_limits("dice"), score_limits("assd")
    ((0.0, 1.0), None)
    """
    return (0.0, 1.0) if metric == "dice" or metric.startswith("surface_dice") else None


def _difference_limits(metric: str) -> tuple[float, float] | None:
    """Smallest and largest possible difference of two scores; None where there is none.

    Examples
    --------
    >>> _difference_limits("dice")
    (-1.0, 1.0)
    """
    return (-1.0, 1.0) if score_limits(metric) else None


def check_columns(scores: pd.DataFrame, metrics: Iterable[str] = ()) -> None:
    """Refuse what is not a score table, and metrics that it lacks or whose values they cannot have.

    Raises
    ------
    InputError
        Naming the column; an overlap in per cent.
    """
    if not isinstance(scores, pd.DataFrame):
        raise InputError(
            f"Scores are a {type(scores).__name__}, not a table. `umdlib.read_scores` reads a file."
        )
    for name in (*KEYS, "status", *metrics):
        if name not in scores.columns:
            raise unknown_name("column", name, scores.columns)
    for name in metrics:
        if not pd.api.types.is_numeric_dtype(scores[name]) and len(scores):
            raise InputError(f"Column '{name}' of the score table holds {scores[name].dtype}, not numbers.")
        overlap = name == "dice" or name.startswith("surface_dice_")
        if (
            overlap
            and (wrong := scores.loc[scores[name].between(_PER_CENT, np.finfo(float).max), name]).any()
        ):
            raise InputError(
                f"Column '{name}' of the score table holds {wrong.iloc[0]:g}. Must lie in [0, 1]: is it in per cent?"
            )


def check_scores(scores: pd.DataFrame, metrics: Iterable[str]) -> None:
    """Refuse a score table as `check_columns` does, and one with an unknown status or a row twice.

    Raises
    ------
    InputError
        Naming the column, the status, or the key of the row that occurs twice.
    """
    check_columns(scores, metrics)
    for status in scores["status"].unique():
        if status not in STATUSES:
            raise unknown_name("status", status, STATUSES)
    rows = scores.loc[scores["status"] != "unavailable", list(KEYS)]
    twice = rows[rows.duplicated()]
    if len(twice):
        row = ", ".join(f"{k}={v}" for k, v in twice.iloc[0].items())
        raise InputError(
            f"{len(twice)} duplicate rows in the score table, first: {row}. "
            "Each prediction must be scored once."
        )


def with_empty_rule(scores: pd.DataFrame, metric: str, empty: str) -> pd.Series:
    """The column `metric` with undefined values filled by the rule `empty`.

    Parameters
    ----------
    scores
        Score table; `status` says why a value is undefined.
    metric
        Name of an overlap (0 to 1) or a distance (mm).
    empty
        Name of a rule of `EMPTY_RULES`. *No agreement* is 0 for an overlap and, for a distance,
        the largest distance of the same structure in this table (in the whole table where the
        structure has none); *full agreement* is 1 and 0 mm. A structure that one mask lacks has
        no agreement under every rule but ``drop``, where its distances stay undefined.

    Returns
    -------
    pandas.Series
        float64, index of `scores`; NaN where still undefined. Unavailable segmenters stay NaN
        under every rule.

    Raises
    ------
    InputError
        If there is no such rule.

    Examples
    --------
    >>> table = pd.DataFrame({"structure": ["liver"] * 3, "dice": [0.9, np.nan, np.nan],
    ...                       "status": ["ok", "both_empty", "failed"]})
    >>> [with_empty_rule(table, "dice", rule).tolist() for rule in ("drop", "one", "worst")]
    [[0.9, nan, nan], [0.9, 1.0, nan], [0.9, 0.0, 0.0]]
    """
    if empty not in EMPTY_RULES:
        raise unknown_name("empty rule", empty, EMPTY_RULES)
    values = scores[metric].astype(float)
    values = values.where(np.isfinite(values))
    if empty == "drop":
        return values
    no, full = _no_agreement(scores["structure"], values, metric), 1.0 * higher_is_better(metric)
    one_sided = scores["status"].isin(["reference_empty", "prediction_empty"])
    both, failed = scores["status"].eq("both_empty"), scores["status"].eq("failed")
    values = values.mask(values.isna() & one_sided, no)
    values = values.mask(values.isna() & both, full if empty == "one" else no)
    return values.mask(values.isna() & failed, no) if empty == "worst" else values


def rows_with_score(scores: pd.DataFrame, kept: pd.Series, metric: str, empty: str) -> pd.DataFrame:
    """Rows that are kept, checked, with their score; a rule that fills a distance looks at all of them.

    Parameters
    ----------
    scores
        Score table.
    kept
        Whether each of its rows is.
    metric, empty
        As `with_empty_rule` takes them.

    Returns
    -------
    pandas.DataFrame
        With the column `score`; the index numbers the rows of `scores`.
    """
    scores, kept = scores.reset_index(drop=True), kept.to_numpy(bool)
    rows = scores[kept]
    check_scores(rows, [metric])
    if empty == "drop":
        return rows.assign(score=with_empty_rule(rows, metric, empty))
    return rows.assign(score=with_empty_rule(scores, metric, empty)[kept])


def _no_agreement(structure: pd.Series, values: pd.Series, metric: str) -> pd.Series:
    """Value of no agreement per row: 0, or the largest distance of the structure."""
    if higher_is_better(metric):
        return pd.Series(0.0, index=values.index)
    return values.groupby(structure).transform("max").fillna(values.max())
