"""Scores of one system at rising effort: a step that no other row shows."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from umdlib.published.checks import grouped
from umdlib.published.outcomes import Cell, outcome, outcomes, shown

_SERIES = ["cohort", "modality", "structure", "metric", "segmenter"]


def _level_of(prompt: str) -> float:
    """Return the number of points or clicks of a prompt, NaN if it names none.

    Examples
    --------
    >>> _level_of("3 points"), _level_of("text")
    (3.0, nan)
    """
    found = re.match(r"(\d+) (?:point|click)", prompt)
    return float(found[1]) if found else float("nan")


_FENCES, _LEAST_SHARES = 3.0, 8


def uneven_steps(wide: pd.DataFrame) -> pd.DataFrame:
    """No number rises by another share of the way than the other numbers of the table do.

    For every system with three or more numbers of points the share of the rise from the fewest to the
    most that is reached in between is taken for each statistic of each cell. Shares outside the
    quartiles by more than three times their distance are suspect; with fewer than eight shares
    nothing is tested, nor where the rise is below 20 units of the last place.
    """
    series = wide.assign(points=wide["prompt"].map(_level_of))
    series = series[series["points"].notna() & series["centre"].notna()].to_dict("records")
    steps: list[tuple[Cell, str, float, tuple[float, float, float]]] = []
    for group in grouped(series, *_SERIES):
        ordered = sorted(group, key=lambda c: c["points"])
        first, last = ordered[0], ordered[-1]
        for c in ordered[1:-1]:
            for s in ("centre", "q1", "q3"):
                rise = last[s] - first[s]
                if abs(rise) >= 40 * c["half_unit"]:
                    share = (c[s] - first[s]) / rise
                    steps.append((c, s, share, (first[s], c[s], last[s])))
    if len(steps) < _LEAST_SHARES:
        return outcomes([])
    shares = np.array([share for *_, share, _ in steps])
    low, high = np.quantile(shares, [0.25, 0.75])
    rows = []
    for c, s, share, numbers in steps:
        bad = not low - _FENCES * (high - low) <= share <= high + _FENCES * (high - low)
        others = np.delete(shares, [i for i, step in enumerate(steps) if step[0] is c and step[1] == s])
        name = {"centre": "centre", "q1": "Q1", "q3": "Q3"}[s]
        text = (
            f"{name}: {' to '.join(shown(v, c['half_unit']) for v in numbers)}, {share:.0%} of the rise at "
            f"{c['prompt']}; the other {len(others)} of the table reach {others.min():.0%} to {others.max():.0%}."
        )
        rows.append(outcome("uneven step", c, bad, "suspect", text))
    return outcomes(rows)
