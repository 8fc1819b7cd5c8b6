"""Checks of two tables that summarise the same scores."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from umdlib.published import bounds
from umdlib.published.checks import grouped, sized
from umdlib.published.copies import twins_of
from umdlib.published.outcomes import Cell, outcome, outcomes, place, shown

_JOIN = ["cohort", "modality", "structure", "segmenter"]


def audit_across(moments: pd.DataFrame, quartiles: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """Compare means and SDs of one table with quartiles of another for the same scores.

    Parameters
    ----------
    moments, quartiles
        Tables as `umdlib.published.read` returns them; joined on cohort, modality, structure, segmenter.
    n
        Subjects of each cohort.

    Returns
    -------
    pandas.DataFrame
        Two tests per common cell: whether any distribution in [0, 1] with these quartiles has
        this mean, and whether any with these quartiles and this mean has this SD.
    """
    rows = []
    for c in _common(moments, quartiles, n):
        where = {**c, "raw": f"{c['raw']} | {c['raw_other']}", "section": "across"}
        where["table"] = f"{c['table']} and {c['table_other']}"
        if not c["n"]:
            rows.append(outcome("mean in quartiles", where, True, "not testable", "n unknown."))
            continue
        rows += [_mean_in_quartiles(c, where), _sd_in_quartiles(c, where)]
    return outcomes(rows)


def _common(moments: pd.DataFrame, quartiles: pd.DataFrame, n: Mapping[str, int]) -> list[Cell]:
    """Cells of both tables side by side."""
    a = sized(moments, n)
    b = sized(quartiles, n)[[*_JOIN, "median", "q1", "q3", "raw", "table"]]
    return (
        a.drop(columns=["median", "q1", "q3"]).merge(b, on=_JOIN, suffixes=("", "_other")).to_dict("records")
    )


def _quartiles(c: Cell) -> str:
    return ", ".join(shown(c[s], c["half_unit"]) for s in ("q1", "median", "q3"))


def _mean_in_quartiles(c: Cell, where: Cell) -> dict:
    """Can scores with these quartiles have this mean."""
    low, high = bounds.mean_range_from_quartiles(c["q1"], c["median"], c["q3"], n=c["n"])
    slack = 2 * c["half_unit"]
    bad = not low - slack <= c["mean"] <= high + slack
    text = f"Scores with quartiles {_quartiles(c)} have a mean of {low:.4f} to {high:.4f}; printed {c['mean']:.4f}."
    return outcome("mean in quartiles", where, bad, "inconsistent", text)


def _sd_in_quartiles(c: Cell, where: Cell) -> dict:
    """Can scores with these quartiles and this mean have this SD."""
    low, high = bounds.sd_range_from_quartiles(
        c["q1"], c["median"], c["q3"], c["mean"], n=c["n"], half_unit=c["half_unit"]
    )
    if np.isnan(low):
        text = "The mean does not fit these quartiles."
        return outcome("sd in quartiles", where, True, "not testable", text)
    bad = not low <= c["sd"] + c["half_unit"] or not c["sd"] - c["half_unit"] <= high
    text = (
        f"Scores with quartiles {_quartiles(c)} and mean {c['mean']:.4f} have an SD of {low:.4f} to "
        f"{high:.4f}; printed {c['sd']:.4f}."
    )
    return outcome("sd in quartiles", where, bad, "inconsistent", text)


def fits(moment: Cell, quartile: Cell) -> bool:
    """Whether scores with the quartiles of one cell can have the mean and SD of another."""
    c = {**moment, **{s: quartile[s] for s in ("q1", "median", "q3")}}
    c["n"] = quartile["n"]
    return all(t(c, c)["grade"] == "passed" for t in (_mean_in_quartiles, _sd_in_quartiles))


def which_is_the_copy(moments: pd.DataFrame, quartiles: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """Settle which of two equal cells of quartiles is the copy, from the means that another table prints.

    A cell whose own mean and SD, printed elsewhere, fit its quartiles is taken for the original; how
    much that means depends on how many other cells of its column would not fit.
    """
    means = sized(moments, n)
    means = means[means["structure"] != "average"].to_dict("records")
    rows = []
    for twins in twins_of(sized(quartiles, n)):
        by_cell = {place(c): [m for m in means if all(m[k] == c[k] for k in _JOIN)] for c in twins}
        owners = [c for c in twins if by_cell[place(c)] and fits(by_cell[place(c)][0], c)]
        if len(owners) != 1:
            continue
        own, own_mean = owners[0], by_cell[place(owners[0])][0]
        column = [m for m in means if all(m[k] == own[k] for k in ("cohort", "modality", "segmenter"))]
        others = [m for m in column if m is not own_mean]
        broken = sum(not fits(m, own) for m in others)
        copies = "; ".join(place(c) for c in twins if c is not own)
        text = (
            f"{own_mean['table']} prints {own_mean['raw']} for {place(own)}, which these quartiles allow; "
            f"{broken} of the {len(others)} other cells of that column do not fit them. The copy is: {copies}."
        )
        rows.append(outcome("which is the copy", own, True, "note", text))
    return outcomes(rows)


def reversed_orders(moments: pd.DataFrame, quartiles: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """Pairs of systems that the means order in one way and the medians in the other, per structure."""
    rows = []
    for group in grouped(_common(moments, quartiles, n), "cohort", "modality", "structure"):
        for a, b in combinations(group, 2):
            by_mean, by_median = a["mean"] - b["mean"], a["median"] - b["median"]
            where = {
                **a,
                "section": "",
                "column": f"{a['column']} and {b['column']}",
                "table": f"{a['table']} and {a['table_other']}",
                "raw": f"{a['raw']}, {b['raw']} | {a['raw_other']}, {b['raw_other']}",
            }
            text = f"First minus second: {by_mean:+.4f} by the means, {by_median:+.4f} by the medians."
            rows.append(outcome("reversed order", where, by_mean * by_median < 0, "note", text))
    return outcomes(rows)


def same_cells(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Cells that two tables of quartiles both print have the same digits."""
    keys = [*_JOIN, "prompt", "metric"]
    rows = []
    for c in sized(table).merge(sized(other), on=keys, suffixes=("", "_4")).to_dict("records"):
        bad = any(c[s] != c[f"{s}_4"] for s in ("median", "q1", "q3"))
        text = f"{c['table']}: {c['raw']}; {c['table_4']}: {c['raw_4']}."
        rows.append(outcome("same cell twice", c, bad, "inconsistent", text))
    return outcomes(rows)
