"""Cells that agree in every digit: how likely that is by chance, and which of two is the copy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy

from umdlib.published.checks import counts_of
from umdlib.published.outcomes import Cell, outcome, outcomes, place
from umdlib.published.printed import STATISTICS

_SPREADS = ["sd", "q1", "q3", "iqr", "lower", "upper"]


_LEAST = 0.005  # share of a bounded scale: nearer to zero, digits run out
_LEVEL = 0.005  # agreements with a lower probability are suspect, others are noted
_EXACT = 1e-6  # units of the last place within which numbers are the same
_WINDOWS = (1, 2, 4, 10)  # units of the last place within which cells count as near each other


def copied_cells(wide: pd.DataFrame) -> pd.DataFrame:
    """No two cells of a table agree in every digit of centre and spread more often than chance would.

    Parameters
    ----------
    wide
        Cells as `umdlib.published.checks.sized` gives them. Left out are cells without a spread, with
        a centre near zero of a bounded scale, and those that
        `counts_at_one` explains.

    Notes
    -----
    In a cohort and metric, pairs of cells are counted whose d numbers all lie within w units of each
    other, but are not equal. Where equals are as likely as neighbours, each of the (2w + 1)^d places
    of the window is hit alike, and the number of equal pairs is about Poisson with that count over
    (2w + 1)^d - 1; the largest such mean over the windows is taken, and at least that of one near pair in
    the widest. So two digits say little, and four say much.
    """
    rows = []
    kept = [c for c in wide.to_dict("records") if _informative(c)]
    groups: dict[tuple, list[Cell]] = {}
    for c in kept:
        present = tuple(s for s in STATISTICS if not np.isnan(c[s]))
        groups.setdefault((c["cohort"], c["metric"], c["unit"], c["half_unit"], present), []).append(c)
    for (*_, present), group in groups.items():
        rows += _agreements(group, present)
    return outcomes(rows)


def _informative(c: Cell) -> bool:
    """Whether a cell has a spread, and digits enough to differ from others by chance."""
    floor = _LEAST * c["high"] if np.isfinite(c["high"]) else -np.inf
    spread = any(not np.isnan(c[s]) for s in _SPREADS) and c["sd"] != 0 and c["q3"] != c["q1"]
    return spread and c["centre"] >= floor and not counts_of(c)


def _agreements(group: list[Cell], present: tuple[str, ...]) -> list[dict]:
    """Rows of one cohort, metric, precision and kind of cell."""
    unit = 2 * group[0]["half_unit"]
    numbers = np.array([[c[s] for s in present] for c in group]) / unit
    apart = np.abs(numbers[:, None] - numbers[None]).max(axis=2)[np.triu_indices(len(group), 1)]
    equal = int((apart < _EXACT).sum())
    places = {w: (2 * w + 1) ** len(present) - 1 for w in _WINDOWS}
    near = [((apart < w + 0.5).sum() - equal) / places[w] for w in _WINDOWS]
    expected = float(max(*near, 1 / max(places.values())))
    p = float(scipy.stats.poisson.sf(equal - 1, expected))
    rows, seen = [], set()
    for i, own in enumerate(group):
        if i in seen:
            continue
        twins = [j for j in range(i, len(group)) if np.abs(numbers[i] - numbers[j]).max() < _EXACT]
        seen.update(twins)
        text = "No other cell like it."
        if len(twins) > 1:
            where = "; ".join(f"{place(group[j])} (line {group[j]['line']})" for j in twins)
            text = f"All digits agree in: {where}. By chance {expected:.2g} pairs of the table would agree."
        grade = "suspect" if p < _LEVEL else "note"
        rows.append(outcome("copied cell", own, len(twins) > 1, grade, text))
    return rows


def twins_of(wide: pd.DataFrame) -> Iterable[list[Cell]]:
    """Yield groups of cells that agree in every digit and are suspect for it."""
    found = copied_cells(wide)
    suspect = set(found[found["grade"] == "suspect"]["where"])
    groups: dict[tuple, list[Cell]] = {}
    for c in wide.to_dict("records"):
        key = (c["cohort"], c["metric"], *(str(c[s]) for s in STATISTICS))
        groups.setdefault(key, []).append(c)
    yield from (g for g in groups.values() if len(g) > 1 and place(g[0]) in suspect)
