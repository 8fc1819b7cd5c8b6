"""Checks of one table: each takes its cells and returns one row per test, passed or not.

The cells are those of `umdlib.published.cells`, with `n` (0 where it is not known) and the scale of
their metric in their unit, as `sized` adds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.published import bounds
from umdlib.published.outcomes import Cell, outcome, outcomes, shown
from umdlib.published.printed import CENTRES, cells
from umdlib.published.scales import PER_CENT, scale_of

_GROUP = ["cohort", "modality", "model", "prompt", "metric"]
AVERAGE = "average"
_UNKNOWN_N = "n is not known."


def sized(table: pd.DataFrame, n: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Cells of a table with what the checks need to know of each.

    Parameters
    ----------
    table
        As `umdlib.published.read` returns it; a column `n`, where there is one, goes before the
        numbers of `n`.
    n
        Subjects of each cohort.

    Returns
    -------
    pandas.DataFrame
        The cells with `n` (0: not known) and `low`, `high`, the limits of the metric in its unit.

    Raises
    ------
    InputError
        If n is 1 or negative: no SD exists then.
    """
    wide = cells(table)
    known = pd.Series({c: (n or {}).get(c, 0) for c in wide["cohort"].unique()}, dtype=object)
    wide["n"] = wide["cohort"].map(known).astype(int)
    if "n" in table:
        own = table.drop_duplicates(["line", "column"]).set_index(["line", "column"])["n"]
        wide["n"] = own.loc[list(zip(wide["line"], wide["column"], strict=True))].to_numpy(int)
    bad = wide[(wide["n"] < 0) | (wide["n"] == 1)]
    if len(bad):
        first = bad.iloc[0]
        raise InputError(f"Invalid n {first['n']} for cohort '{first['cohort']}'. Must be 2 or more.")
    scales = [scale_of(m, u) for m, u in zip(wide["metric"], wide["unit"], strict=True)]
    wide["low"], wide["high"] = zip(*scales, strict=True)
    return wide


def grouped(rows: Iterable[Cell], *keys: str) -> list[list[Cell]]:
    """Return cells with the same values of `keys`, in the order of their first."""
    groups: dict[tuple, list[Cell]] = {}
    for c in rows:
        groups.setdefault(tuple(str(c[k]) for k in keys), []).append(c)
    return list(groups.values())


def score_range(wide: pd.DataFrame) -> pd.DataFrame:
    """Every centre, quartile and end of an interval lies in the range of its metric; no SD is negative."""
    places = (*CENTRES, "q1", "q3", "lower", "upper")
    rows = []
    for c in wide[np.isfinite(wide["low"])].to_dict("records"):
        values = [c[s] for s in places if not np.isnan(c[s])]
        spreads = [c[s] for s in ("sd", "iqr") if not np.isnan(c[s])]
        if values:
            bad = min(values) < c["low"] or max(values) > c["high"] or min([0.0, *spreads]) < 0
            limits = f"{c['low']:g} to {c['high']:g}" if c["high"] < np.inf else f"{c['low']:g} or more"
            rows.append(
                outcome("range", c, bad, "impossible", f"A value of this metric and unit is {limits}.")
            )
    return outcomes(rows)


def sd_bound(wide: pd.DataFrame) -> pd.DataFrame:
    """No SD is larger than values in the range of the metric with this mean can have."""
    rows = []
    bounded = wide["mean"].notna() & wide["sd"].notna() & np.isfinite(wide["low"])
    for c in wide[bounded].to_dict("records"):
        if not c["n"]:
            rows.append(outcome("sd bound", c, True, "not testable", _UNKNOWN_N))
            continue
        limits = {"low": c["low"], "high": c["high"], "half_unit": c["half_unit"]}
        most = bounds.largest_sd(c["mean"], n=c["n"], **limits)
        if np.isnan(most):
            rows.append(outcome("sd bound", c, True, "not testable", "The mean is outside the range."))
            continue
        m, printed = shown(c["mean"], c["half_unit"]), shown(c["sd"], c["half_unit"])
        if c["high"] < np.inf:
            text = (
                f"Values in [{c['low']:g}, {c['high']:g}] with mean {m} have an SD of at most "
                f"√({shown(c['mean'] - c['low'], c['half_unit'])} × {shown(c['high'] - c['mean'], c['half_unit'])}"
                f" × {c['n']}/{c['n'] - 1}) = {shown(most, c['half_unit'])}; printed {printed}."
            )
        else:
            text = (
                f"{c['n']} values of {c['low']:g} or more with mean {m} have an SD of at most "
                f"({m} - {c['low']:g}) × √{c['n']} = {shown(most, c['half_unit'])}; printed {printed}."
            )
        rows.append(outcome("sd bound", c, c["sd"] - c["half_unit"] > most, "impossible", text))
    return outcomes(rows)


def _with_average(wide: pd.DataFrame) -> Iterable[tuple[Cell, dict[str, np.ndarray]]]:
    """Yield each average row, and the numbers of the rows that it averages."""
    for group in grouped(wide[wide["centre"].notna()].to_dict("records"), *_GROUP):
        own = [c for c in group if c["structure"] == AVERAGE]
        rows = [c for c in group if c["structure"] != AVERAGE]
        if len(own) == 1 and len(rows) > 1 and np.isnan([c["median"] for c in group]).all():
            numbers = ("centre", "sd", "half_unit", "n")
            yield own[0], {name: np.array([c[name] for c in rows], float) for name in numbers}


def average_mean(wide: pd.DataFrame, *, complete: bool = False) -> pd.DataFrame:
    """The average row is the mean of the rows within rounding, or of rows weighted by their n.

    An average between its rows that is neither is one over other subjects than its rows, a kind of
    its own. Where the paper says that every structure was scored in every subject (`complete`) that
    contradicts it; else it is a note.
    """
    rows = []
    for own, others in _with_average(wide):
        centres, n = others["centre"], others["n"]
        slack = own["half_unit"] + others["half_unit"].max() + 1e-12
        mean = centres.mean()
        pooled = np.average(centres, weights=n) if n.min() > 0 else np.nan
        printed = shown(own["centre"], own["half_unit"])
        text = (
            f"The mean of the {len(centres)} rows is {shown(mean, own['half_unit'] / 10)} ± {slack:.2g} "
            f"(rounding); printed {printed}: {own['centre'] - mean:+.2g}."
        )
        if abs(own["centre"] - mean) <= slack or abs(own["centre"] - pooled) <= slack:
            rows.append(outcome("average mean", own, False, "", text))
        elif centres.min() - slack <= own["centre"] <= centres.max() + slack:
            grade = "inconsistent" if complete else "note"
            text += " It lies between the rows, as an average over other subjects than theirs does"
            text += "; the paper counts every structure in every subject." if complete else "."
            rows.append(outcome("average over others", own, True, grade, text))
        else:
            text += f" No weights give it: the rows are {centres.min():g} to {centres.max():g}."
            rows.append(outcome("average mean", own, True, "inconsistent", text))
    return outcomes(rows)


def average_sd(wide: pd.DataFrame, *, complete: bool = False) -> pd.DataFrame:
    """The SD of a subject's average over structures is at most the mean of their SDs.

    An SD of all scores pooled, or of other subjects, may be larger, up to that of values which lie
    as far apart as the rows; unless `complete`, such an SD is of a kind of its own.
    """
    rows = []
    for own, others in _with_average(wide):
        if np.isnan(own["sd"]):
            continue
        if not own["n"] or np.isnan(others["sd"]).any():
            rows.append(outcome("average sd", own, True, "not testable", "n or an SD is missing."))
            continue
        low, high = bounds.sd_of_average_range(others["sd"], n=own["n"])
        slack = others["half_unit"].max() + own["half_unit"]
        most = np.sqrt(others["sd"].max() ** 2 + np.ptp(others["centre"]) ** 2 / 4)
        ends = [shown(v, own["half_unit"]) for v in (others["sd"].mean(), low, high, own["sd"], most)]
        text = (
            f"The mean of the {len(others['sd'])} SDs is {ends[0]}; the SD of the subjects' averages "
            f"lies between {ends[1]} and {ends[2]}; printed {ends[3]}."
        )
        if low - slack <= own["sd"] <= high + slack:
            rows.append(outcome("average sd", own, False, "", text))
        elif not complete and own["sd"] <= most * np.sqrt(own["n"] / (own["n"] - 1)) + slack:
            text += f" Scores of all rows pooled, or of other subjects, may have up to {ends[4]}."
            rows.append(outcome("average over others", own, True, "note", text))
        else:
            rows.append(outcome("average sd", own, True, "inconsistent", text))
    return outcomes(rows)


def counts_of(c: Cell) -> list[tuple[int, int]]:
    """Return the k of `bounds.counts_at_one` that explain a cell, none if it has another scale."""
    if not c["n"] or not c["mean"] > 0 or np.isnan(c["sd"]) or c["low"] != 0 or c["high"] == np.inf:
        return []
    top = c["high"]
    return bounds.counts_at_one(c["mean"] / top, c["sd"] / top, n=c["n"], half_unit=c["half_unit"] / top)


def counts_at_one(wide: pd.DataFrame) -> pd.DataFrame:
    """No cell is what k subjects at the top of the scale and all others at 0 would print."""
    rows = []
    shares = (wide["mean"] > 0) & wide["sd"].notna() & (wide["low"] == 0) & (wide["high"] < np.inf)
    for c in wide[shares].to_dict("records"):
        n, top = c["n"], c["high"]
        if not n:
            rows.append(outcome("counts at one", c, True, "not testable", _UNKNOWN_N))
            continue
        found = counts_of(c)
        text = f"Not k/{n} with the rest 0."
        if found:
            k = found[0][0]
            sd = top * np.sqrt(k / n * (1 - k / n))
            text = (
                f"{k}/{n} = {shown(top * k / n, c['half_unit'] / 10)}, with SD √(p(1 - p)) = "
                f"{shown(sd, c['half_unit'] / 10)}: {k} of {n} subjects at exactly {top:g} and {n - k} at "
                f"exactly 0 print this cell."
            )
        rows.append(outcome("counts at one", c, bool(found), "suspect", text))
    return outcomes(rows)


def fullest_subject(wide: pd.DataFrame) -> pd.DataFrame:
    """How many structures of one subject score 1, where every cell counts subjects at 1.

    Where all rows of a system are 0 or explained by `counts_at_one`, a subject's average is its
    number of ones over the number of structures, and the SD of the average says how they gather.
    """
    rows = []
    for group in grouped(wide[wide["mean"].notna() & (wide["n"] > 0)].to_dict("records"), *_GROUP):
        own = [c for c in group if c["structure"] == AVERAGE]
        others = [c for c in group if c["structure"] != AVERAGE]
        if len(own) != 1 or len(others) < 2 or np.isnan(own[0]["sd"]) or own[0]["high"] == np.inf:
            continue
        ones = [0 if c["mean"] == 0 else (counts_of(c) or [(-1, 0)])[0][0] for c in others]
        if min(ones) < 0 or sum(ones) == 0:
            continue
        top = own[0]["high"]
        low, high = bounds.fullest_subject(
            ones, own[0]["sd"] / top, n=own[0]["n"], half_unit=own[0]["half_unit"] / top
        )
        if np.isnan(low):
            text = f"No way to spread {sum(ones)} ones over subjects gives this SD of their averages."
        else:
            span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            text = (
                f"{sum(ones)} scores of {top:g} over {len(ones)} structures and {own[0]['n']} subjects; the "
                f"SD of the average needs {span} of them in one subject."
            )
        rows.append(outcome("fullest subject", own[0], np.isnan(low) or low > 1, "note", text))
    return outcomes(rows)


_MEAN_BELOW, _SCORE_ABOVE = 0.02, 0.8  # shares of the scale: what is near 0, and near 1


def one_large_score(wide: pd.DataFrame) -> pd.DataFrame:
    """A cell near 0 whose SD needs a score near 1; those of `counts_at_one` are left to it."""
    top = wide["high"].where(wide["low"] == 0)
    near_zero = wide["mean"].gt(0) & wide["mean"].lt(_MEAN_BELOW * top) & wide["sd"].gt(0) & np.isfinite(top)
    rows = []
    for c in wide[near_zero].to_dict("records"):
        if counts_of(c) or c["mean"] < 10 * c["half_unit"]:  # too few digits for a ratio
            continue
        least = bounds.largest_value_at_least(c["mean"] + c["half_unit"], max(c["sd"] - c["half_unit"], 0.0))
        text = (
            f"Mean {shown(c['mean'], c['half_unit'])} and SD {shown(c['sd'], c['half_unit'])} need at least "
            f"one score of {min(least, c['high']):.2f} or more (sd² ≤ (max - mean) × mean)."
        )
        rows.append(outcome("one large score", c, least > _SCORE_ABOVE * c["high"], "note", text))
    return outcomes(rows)


def quartile_order(wide: pd.DataFrame) -> pd.DataFrame:
    """Each median lies within its quartiles."""
    return _ordered(wide, "quartile order", "impossible", ["q1", "median", "q3"])


def interval_order(wide: pd.DataFrame) -> pd.DataFrame:
    """Each mean lies within its interval."""
    return _ordered(wide, "interval order", "inconsistent", ["lower", "mean", "upper"])


def _ordered(wide: pd.DataFrame, check: str, grade: str, names: list[str]) -> pd.DataFrame:
    """Three numbers of every cell that has them must not fall."""
    rows = []
    for c in wide[wide[names].notna().all(axis=1)].to_dict("records"):
        low, middle, high = (c[s] for s in names)
        text = f"{' ≤ '.join(shown(c[s], c['half_unit']) for s in names)} must hold."
        rows.append(outcome(check, c, not low <= middle <= high, grade, text))
    return outcomes(rows)


def unit_mix(wide: pd.DataFrame) -> pd.DataFrame:
    """No column of fractions holds numbers that can only be per cent, and none of per cent loses its sign."""
    fractions = wide["unit"].isin(["fraction", "unstated"]) & np.isfinite(wide["high"])
    rows = []
    for group in grouped(wide[fractions & wide["centre"].notna()].to_dict("records"), "column"):
        big = [c for c in group if c["centre"] > 1]
        small = [c["raw"] for c in group if c["centre"] <= 1]
        text = f"All {len(small)} numbers are 0 to 1."
        if big:
            text = f"{', '.join(c['raw'] for c in big)} stand in column '{big[0]['column']}'"
            text += f" beside {', '.join(small)}." if small else " of scores."
        rows.append(outcome("unit mix", (big or group)[0], bool(big), "inconsistent", text))
    return outcomes(rows + _signs_lost(wide[wide["unit"].eq(PER_CENT) & wide["centre"].notna()]))


def _signs_lost(wide: pd.DataFrame) -> list[dict]:
    """Columns where some cells have a per cent sign, and others without one are 1 or less."""
    rows = []
    for group in grouped(wide.to_dict("records"), "column"):
        signed = [c["raw"] for c in group if "%" in c["raw"]]
        bare = [c for c in group if "%" not in c["raw"]]
        if not signed or not bare or "%" in bare[0]["column"]:
            continue
        small = [c for c in bare if 0 < c["centre"] <= 1]
        text = f"All {len(bare)} numbers without a per cent sign are above 1."
        if small:
            text = f"{', '.join(c['raw'] for c in small)} stand without a per cent sign in column "
            text += f"'{small[0]['column']}' beside {', '.join(signed)}."
        rows.append(outcome("unit mix", (small or bare)[0], bool(small), "inconsistent", text))
    return rows


def shared_variation(wide: pd.DataFrame, *, above: float = 0.4) -> pd.DataFrame:
    """How correlated the structures of a subject must be, from the SD of the average."""
    rows = []
    for own, others in _with_average(wide):
        if np.isnan(others["sd"]).any() or np.isnan(own["sd"]) or (others["sd"] > 0).sum() < 2:
            continue
        rho = bounds.implied_correlation(others["sd"], own["sd"])
        text = (
            f"SD of the average {shown(own['sd'], own['half_unit'])}, mean SD "
            f"{shown(others['sd'].mean(), own['half_unit'])}: the {len(others['sd'])} structures of a subject "
        )
        text += (
            f"correlate by {rho:.2f} on average."
            if rho <= 1
            else "would have to correlate by more than 1: one of the two is not right."
        )
        rows.append(outcome("shared variation", own, above < rho <= 1, "note", text))
    return outcomes(rows)
