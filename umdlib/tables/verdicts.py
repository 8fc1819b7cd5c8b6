"""Sentences on comparisons: verdicts, and what their tests can reach."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.labels import session
from umdlib.statistics.comparison import TESTS
from umdlib.statistics.verdicts import VERDICTS
from umdlib.tables.markdown import count, interval, p_text
from umdlib.tables.modality_table import metric_title
from umdlib.tables.titles import segmenter_title

# The one rule of intervals and p-values, printed wherever both stand.
INTERVAL_RULE = (
    "Each 95 % interval and the p-value beside it are of one comparison alone: p < 0.05 exactly where the interval "
    "leaves out 0. Verdicts and marks rest on the corrected p-value."
)
_RANKED = ("permutation", "wilcoxon", "median")


def sentences(overall: pd.DataFrame) -> str:
    """Verdicts on comparisons over all structures, one Markdown list item per segmenter.

    Parameters
    ----------
    overall
        From `umdlib.statistics.comparison.compare` by session and segmenter, of one session.

    Returns
    -------
    str
        Each item gives the verdict of `umdlib.statistics.verdicts.VERDICTS` (corrected by
        Benjamini-Hochberg over the segmenters) with estimate, interval, numbers of subjects and pairs.
    """
    return "\n".join(_sentence(row, overall.attrs) for _, row in overall.iterrows())


def _sentence(row: pd.Series, attrs: Mapping) -> str:
    """One list item."""
    name = f"- **{segmenter_title(row['segmenter'])}**"
    if not np.isfinite(row["estimate"]):
        return f"{name}: {row['note']}."
    metric = metric_title(attrs.get("metric", "dice"))
    size = interval(row["estimate"], row["ci_low"], row["ci_high"])
    n = f"n = {count(row['n_subjects'], 'subject')}, {count(row['n_pairs'], 'pair')}"
    has = np.isfinite(row["ci_low"])
    words = f"{size}; {n}" if has else f"difference {size} {metric}; {n}"
    if np.isfinite(row["p_value"]):
        words += f"; p = {p_text(row['p_value'])}, corrected {p_text(row['p_bh'])}".replace("= <", "<")
        words += f" (family of {row['n_bh']:.0f})"
    note = f" ({row['note']})" if row["note"] else ""
    return f"{name}: {_verdict_words(row, attrs)}; {words}.{note}"


def _verdict_words(row: pd.Series, attrs: Mapping) -> str:
    """A verdict as a clause that names metric, direction and margin."""
    metric, margin = metric_title(attrs.get("metric", "dice")), attrs.get("margin", 0.02)
    structural = session(row["session"]).structural
    differs = f"{metric} is {'higher' if row['estimate'] > 0 else 'lower'} on PET than on {structural}"
    words = {
        "differs and matters": f"{differs}, by more than the margin of {margin:g}",
        "differs": f"{differs}; whether by more than the margin of {margin:g} is open",
        "differs by less than the margin": f"{differs}, by less than the margin of {margin:g}",
        "the same": f"{metric} is the same on PET and {structural} within ±{margin:g}",
        "undecided": f"undecided (±{margin:g} {metric})",
        "not identifiable": f"not identifiable: {metric} is at the floor on both {structural} and PET",
    }
    return words[row["verdict"]]


def verdict_legend(comparisons: pd.DataFrame) -> str:
    """Explain the verdicts that occur in a table, in one sentence each."""
    shown = [v for v in VERDICTS if v in set(comparisons["verdict"])]
    return " ".join(f"*{v.capitalize()}*: {VERDICTS[v]}." for v in shown)


def reachable_words(comparisons: pd.DataFrame, *, level: float = 0.05) -> str:
    """Say where the chosen test cannot give a p-value that Holm's correction leaves under `level`.

    A sentence that begins with a space, nothing where the test can. Tests of ranks and signs have a
    smallest p-value; the test of the mean has none.
    """
    test = comparisons.attrs.get("test", "mean")
    known = comparisons[comparisons["estimate"].notna()]
    smallest = 2.0 ** (1 - known["n_subjects"])
    barred = known[(smallest * known["n_holm"]).ge(level)]
    if test not in _RANKED or barred.empty:
        return ""
    n = int(barred["n_subjects"].max())
    family = int(barred.loc[barred["n_subjects"].eq(n), "n_holm"].max())
    return (
        f" With {n} subjects the smallest p-value that the {TESTS[test].split(' over ')[0]} can give is "
        f"2 in {2**n:,}, {p_text(2.0 ** (1 - n))}; times a family of {family} that is "
        f"{p_text(min(family * 2.0 ** (1 - n), 1.0))}. So in {len(barred)} of the {len(known)} "
        f"comparisons no difference, however large, could have had p < {level:g} after Holm."
    )
