"""Checks of printed numbers: each takes cells and returns one row per test, passed or not.

A row has the columns of `COLUMNS`. Its grade says how sure the finding is:

* ``impossible``: no data whatever can print these numbers (scores in [0, 1], n as stated);
* ``inconsistent``: it contradicts another printed number under the papers' own description;
* ``suspect``: possible, but a pattern that data rarely make by themselves;
* ``note``: worth knowing, nothing is wrong;
* ``not testable``: something the test needs was not printed;
* ``passed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.published import bounds
from umdlib.published.printed import STATISTICS

GRADES = ("impossible", "inconsistent", "suspect", "note", "not testable", "passed")
COLUMNS = ("check", "grade", "table", "where", "printed", "arithmetic")
GROUP = ["cohort", "modality", "model", "prompt", "metric"]
AVERAGE = "average"
Cell = Mapping[str, object]  # one row of `umdlib.published.parsing`
# What else could be behind a finding of each check.
INNOCENT: dict[str, str] = {
    "range": "A per cent sign lost on the way, or a score that is not a fraction.",
    "sd bound": "A digit set wrongly, in the paper or in its text version.",
    "average sd": (
        "The average may be taken over other subjects or structures than the rows, or a digit "
        "was set wrongly."
    ),
    "average mean": (
        "Averaging per subject with some structures left out (empty, failed) gives another number "
        "than averaging the rows; so does rounding done twice."
    ),
    "counts at one": (
        "Many metric libraries score an empty prediction against an empty reference as 1: a "
        "convention, not a fault, but no evidence of segmentation either."
    ),
    "one large score": "A single subject that really was segmented well would do the same.",
    "copied cell": "A slip when the table was set. Which of the two cells is the copy is unknown.",
    "quartile order": "Columns of a spreadsheet exchanged.",
    "unit mix": "Numbers taken over from another paper in that paper's unit.",
    "total": "Subjects left out or counted twice after the text was written.",
    "overview": "Rounding of a number that had already been rounded.",
    "line order": "The caption names the colours in another order than the lines.",
    "mean in quartiles": (
        "The two papers may have used different clicks, versions, grids or empty rules on the same "
        "images: then the numbers belong to two experiments, and both can be right."
    ),
    "sd in quartiles": (
        "The two papers may have used different clicks, versions, grids or empty rules on the same "
        "images: then the numbers belong to two experiments, and both can be right."
    ),
    "same cell twice": "One caption was copied from the other table.",
    "shared variation": (
        "Subjects really can be hard in all structures at once, or one prompt or crop per subject "
        "can fail for all of them."
    ),
    "statement": "Text written at another time than the table.",
}


def outcomes(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Rows of tests as a frame with `COLUMNS`."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).fillna("")


def place(cell: Cell) -> str:
    """Where a cell stands, for a reader."""
    parts = [cell["row"], cell["modality"], cell["column"]]
    if cell["section"]:
        parts.insert(0, cell["cohort"])
    return ", ".join(p for p in dict.fromkeys(parts) if p)


def outcome(check: str, cell: Cell, bad: bool, grade: str, arithmetic: str) -> dict:
    """One test of one cell."""
    return {
        "check": check,
        "grade": grade if bad else "passed",
        "table": f"{cell['paper']}, {cell['table']}",
        "where": place(cell),
        "printed": cell["raw"],
        "arithmetic": arithmetic,
    }


def known_n(n: Mapping[str, int], cohort: str) -> int:
    """Subjects of a cohort, 0 if unknown; refuses a size of which no SD exists."""
    size = int(n.get(cohort, 0))
    if size < 0 or size == 1:
        raise InputError(f"Invalid n {size} for cohort '{cohort}'. Must be 2 or more.")
    return size


def score_range(wide: pd.DataFrame) -> pd.DataFrame:
    """Every centre and quartile of a fraction lies in [0, 1], no SD is negative."""
    rows = []
    for c in wide[wide["unit"] == "fraction"].to_dict("records"):
        values = [c[s] for s in STATISTICS if not np.isnan(c[s])]
        if values:
            bad = min(values) < 0 or max(values) > 1
            rows.append(outcome("range", c, bad, "impossible", "A score of this unit is 0 to 1."))
    return outcomes(rows)


def sd_bound(wide: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """No SD is larger than scores in [0, 1] with this mean can have."""
    rows = []
    for c in wide[wide["mean"].notna() & wide["sd"].notna()].to_dict("records"):
        size = known_n(n, c["cohort"])
        if not size:
            rows.append(outcome("sd bound", c, True, "not testable", "n is not known."))
            continue
        most = bounds.largest_sd(c["mean"], n=size, half_unit=c["half_unit"])
        bad = not c["sd"] - c["half_unit"] <= most
        text = (
            f"Scores in [0, 1] with mean {c['mean']:.4f} have an SD of at most "
            f"√({c['mean']:.4f} × {1 - c['mean']:.4f} × {size}/{size - 1}) = {most:.4f}; "
            f"printed {c['sd']:.4f}."
        )
        rows.append(outcome("sd bound", c, bad, "impossible", text))
    return outcomes(rows)


def grouped(cells: Iterable[Cell], *keys: str) -> list[list[Cell]]:
    """Cells with the same values of `keys`, in the order of their first."""
    groups: dict[tuple, list[Cell]] = {}
    for c in cells:
        groups.setdefault(tuple(str(c[k]) for k in keys), []).append(c)
    return list(groups.values())


def _with_average(wide: pd.DataFrame) -> Iterable[tuple[Cell, dict[str, np.ndarray]]]:
    """Groups of cells that have an average row: its cell, and the numbers of the other cells."""
    for group in grouped(wide[wide["mean"].notna()].to_dict("records"), *GROUP):
        own = [c for c in group if c["structure"] == AVERAGE]
        rows = [c for c in group if c["structure"] != AVERAGE]
        if len(own) == 1 and len(rows) > 1:
            numbers = ("mean", "sd", "half_unit")
            yield own[0], {name: np.array([c[name] for c in rows], float) for name in numbers}


def average_sd(wide: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """The SD of the average over structures is at most the mean of their SDs."""
    rows = []
    for own, others in _with_average(wide):
        size = known_n(n, own["cohort"])
        if not size or np.isnan(others["sd"]).any() or np.isnan(own["sd"]):
            rows.append(outcome("average sd", own, True, "not testable", "n or an SD is missing."))
            continue
        half = others["half_unit"].max()
        low, high = bounds.sd_of_average_range(others["sd"], n=size)
        slack = half + own["half_unit"]
        bad = not low - slack <= own["sd"] <= high + slack
        text = (
            f"The mean of the {len(others['sd'])} SDs is {others['sd'].mean():.4f}; the SD of the "
            f"subjects' averages lies between {low:.4f} and {high:.4f}; printed {own['sd']:.4f}."
        )
        rows.append(outcome("average sd", own, bad, "inconsistent", text))
    return outcomes(rows)


def average_mean(wide: pd.DataFrame) -> pd.DataFrame:
    """The average row is the mean of the rows within rounding."""
    rows = []
    for own, others in _with_average(wide):
        mean = others["mean"].mean()
        gap, slack = own["mean"] - mean, own["half_unit"] + others["half_unit"].max()
        text = (
            f"The mean of the {len(others['sd'])} rows is {mean:.5f} ± {slack:g} "
            f"(rounding); printed {own['mean']:.4f}: {gap:+.5f}."
        )
        bad = abs(gap) > slack + 1e-12
        rows.append(outcome("average mean", own, bad, "inconsistent", text))
    return outcomes(rows)


def counts_at_one(wide: pd.DataFrame, n: Mapping[str, int]) -> pd.DataFrame:
    """No cell is what k subjects at 1 and all others at 0 would print."""
    rows = []
    for c in wide[(wide["mean"] > 0) & wide["sd"].notna()].to_dict("records"):
        size = known_n(n, c["cohort"])
        if not size:
            rows.append(outcome("counts at one", c, True, "not testable", "n is not known."))
            continue
        decimals = round(-np.log10(2 * c["half_unit"]))
        found = bounds.counts_at_one(c["mean"], c["sd"], n=size, half_unit=c["half_unit"], decimals=decimals)
        text = f"Not k/{size} with the rest 0."
        if found:
            k = found[0][0]
            sd = np.sqrt(k / size * (1 - k / size))
            text = (
                f"{k}/{size} = {k / size:.5f}, with SD √(p(1 - p)) = {sd:.5f}: {k} of {size} "
                f"subjects at exactly 1 and {size - k} at exactly 0 print this cell."
            )
        rows.append(outcome("counts at one", c, bool(found), "suspect", text))
    return outcomes(rows)


def is_count(c: Cell, n: Mapping[str, int]) -> bool:
    """Whether a cell is explained by k subjects at 1 and the rest at 0."""
    size = known_n(n, c["cohort"])
    if not size or not c["mean"] > 0 or np.isnan(c["sd"]):
        return False
    decimals = round(-np.log10(2 * c["half_unit"]))
    return bool(bounds.counts_at_one(c["mean"], c["sd"], n=size, half_unit=c["half_unit"], decimals=decimals))


def one_large_score(
    wide: pd.DataFrame, n: Mapping[str, int], *, mean_below: float = 0.02, score_above: float = 0.8
) -> pd.DataFrame:
    """A cell near 0 whose SD needs a score near 1; those of `counts_at_one` are left to it."""
    near_zero = wide["mean"].gt(0) & wide["mean"].lt(mean_below) & wide["sd"].gt(0)
    rows = []
    for c in wide[near_zero].to_dict("records"):
        if is_count(c, n):
            continue
        least = bounds.largest_value_at_least(c["mean"] + c["half_unit"], max(c["sd"] - c["half_unit"], 0.0))
        if c["mean"] < 10 * c["half_unit"]:  # too few digits for a ratio
            continue
        text = (
            f"Mean {c['mean']:.4f} and SD {c['sd']:.4f} need at least one score of "
            f"{min(least, 1):.2f} or more (sd² ≤ (max - mean) × mean)."
        )
        rows.append(outcome("one large score", c, least > score_above, "note", text))
    return outcomes(rows)


def copied_cells(wide: pd.DataFrame, n: Mapping[str, int], *, least: float = 0.005) -> pd.DataFrame:
    """No two cells of a table agree in every digit of centre and spread.

    Cells whose centre is below `least`, or without a spread, are left out: near zero, digits run
    out and chance agreement is common. So are cells that `counts_at_one` explains.
    """
    centre = wide["mean"].fillna(wide["median"])
    spread = wide["sd"].fillna(wide["q3"] - wide["q1"])
    kept = wide[(centre >= least) & (spread > 0)]
    kept = kept[np.array([not is_count(c, n) for c in kept.to_dict("records")], dtype=bool)]
    rows = []
    for group in grouped(kept.to_dict("records"), "cohort", "metric", *STATISTICS[:-1]):
        own = group[0]
        twins = "; ".join(f"{place(c)} (line {c['line']})" for c in group)
        text = f"All digits agree in: {twins}." if len(group) > 1 else "No other cell like it."
        rows.append(outcome("copied cell", own, len(group) > 1, "suspect", text))
    return outcomes(rows)


def quartile_order(wide: pd.DataFrame) -> pd.DataFrame:
    """Each median lies within its quartiles."""
    rows = []
    for c in wide[wide["median"].notna() & wide["q1"].notna() & wide["q3"].notna()].to_dict("records"):
        bad = not c["q1"] <= c["median"] <= c["q3"]
        text = f"{c['q1']:.4f} ≤ {c['median']:.4f} ≤ {c['q3']:.4f} must hold."
        rows.append(outcome("quartile order", c, bad, "impossible", text))
    return outcomes(rows)


def unit_mix(wide: pd.DataFrame) -> pd.DataFrame:
    """No column of scores holds fractions beside numbers that can only be per cent."""
    scores = wide[wide["metric"].isin(["dice", "surface_dice_1mm"])]
    centre = scores["mean"].fillna(scores["median"]).fillna(scores["value"])
    rows = []
    for group in grouped(scores.assign(centre=centre).to_dict("records"), "column"):
        big = [c for c in group if c["centre"] > 1]
        small = [c["raw"] for c in group if c["centre"] <= 1]
        text = f"All {len(small)} numbers are 0 to 1."
        if big:
            text = f"{', '.join(c['raw'] for c in big)} stand in column '{big[0]['column']}'"
            text += f" beside {', '.join(small)}." if small else " of scores."
        rows.append(outcome("unit mix", (big or group)[0], bool(big), "inconsistent", text))
    return outcomes(rows)


def shared_variation(wide: pd.DataFrame, *, above: float = 0.4) -> pd.DataFrame:
    """How correlated the structures of a subject must be, from the SD of the average."""
    rows = []
    for own, others in _with_average(wide):
        if np.isnan(others["sd"]).any() or np.isnan(own["sd"]) or (others["sd"] > 0).sum() < 2:
            continue
        rho = bounds.implied_correlation(others["sd"], own["sd"])
        bad = above < rho <= 1
        text = (
            f"SD of the average {own['sd']:.4f}, mean SD {others['sd'].mean():.4f}: the "
            f"{len(others['sd'])} structures of a subject "
        )
        text += (
            f"correlate by {rho:.2f} on average."
            if rho <= 1
            else "would have to correlate by more than 1: one of the two is not right."
        )
        rows.append(outcome("shared variation", own, bad, "note", text))
    return outcomes(rows)
