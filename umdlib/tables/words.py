"""Sentences that say what a result means, with n, unit and interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.tables.cells import metric_title, session_title, structure_title
from umdlib.tables.text import interval, number


def pair_words(row: pd.Series, metric: str = "dice") -> str:
    """One comparison of `umdlib.paired.compare` in a sentence."""
    if not np.isfinite(row["estimate"]):
        return f"{row['segmenter']}: {row['note']}."
    change = interval(row["estimate"], row["ci_low"], row["ci_high"])
    note = f" Note: {row['note']}." if row["note"] else ""
    return (
        f"{row['segmenter']}, {structure_title(row['structure']).lower()}: {change} "
        f"{metric_title(metric)} (mean difference, 95 % interval, n = {row['n_pairs']:.0f} "
        f"subjects). Hodges–Lehmann shift {number(row['hl'], sign=True)}; rank-biserial "
        f"correlation {number(row['rank_biserial'], 2, sign=True)}, where −1 would mean that every "
        f"subject has the lower value on PET.{note}"
    )


def mark_words(uncorrected: pd.DataFrame, corrected: pd.DataFrame) -> str:
    """How many marks of `umdlib.tables.modality_table` a correction takes away."""
    raw, sure = (int((c["mark"].ne("") & c["structure"].ne("all")).sum())
                 for c in (uncorrected, corrected))  # fmt: skip
    known = uncorrected[uncorrected["state"].eq("") & uncorrected["structure"].ne("all")]
    return (
        f"Without a correction, {raw} of {len(known) // 2} comparisons of a segmenter on a "
        f"structure would carry a mark; {sure} keep it."
    )


def alarm_words(rates: pd.DataFrame, n_structures: int, correlation: float) -> str:
    """What `umdlib.operating.type_one_error` found."""
    rate = {t: f"{100 * r:.1f} %" for t, r in zip(rates["test"], rates["rate"], strict=True)}
    return (
        f"Tested over subjects, {rate['sign-flip, subjects']} of {rates['n_cohorts'].iloc[0]} "
        f"cohorts give a false alarm. If the {n_structures} structures of a subject count as so "
        f"many subjects, it is {rate['t test, structures pooled']}, at a correlation of only "
        f"{correlation:g}. If each structure is tested on its own without a correction, *some* gap "
        f"is found in {rate['any structure, uncorrected']} of the cohorts; with Holm's correction "
        f"in {rate['any structure, Holm']}."
    )


def coverage_words(covered: pd.DataFrame) -> str:
    """What `umdlib.operating.coverage` found at the smallest number of subjects."""
    n = covered["n_subjects"].min()
    at = covered[covered["n_subjects"].eq(n)].set_index(["interval", "shape"])["rate"]

    def span(name: str) -> str:
        low, high = 100 * at[name].min(), 100 * at[name].max()
        return f"{low:.0f} to {high:.0f} %"

    return (
        f"With {n} subjects, the bootstrap interval of a mean covers {span('mean, BCa')} instead "
        f"of 95 %, Student's {span('mean, t')}, the bootstrap of a median "
        f"{span('median, bootstrap')}, order statistics {span('median, order statistics')} "
        f"(n = {covered['n_cohorts'].iloc[0]} cohorts per point). So comparisons of fewer than ten "
        "subjects have Student's interval and a note, and medians have the interval from order "
        "statistics."
    )


def state_words(scores: pd.DataFrame) -> str:
    """How many predictions of a score table are undefined, and in which way."""
    count = scores["status"].value_counts()
    one_sided = count.get("prediction_empty", 0) + count.get("reference_empty", 0)
    both, failed = count.get("both_empty", 0), count.get("failed", 0)
    verdict = (
        "So no rule can change a DSC here; a distance is another matter."
        if both + failed == 0 and one_sided
        else "So the rules have nothing to decide here."
        if both + failed + one_sided == 0
        else "The rules decide what these count for."
    )
    return (
        f"Of {len(scores) - count.get('unavailable', 0)} predictions, {one_sided} lack one of the "
        f"two masks (DSC 0, distances undefined), {both} lack both, and {failed} runs failed. "
        + verdict
    )


def gain_words(bad: pd.DataFrame) -> str:
    """Clicks that made things worse, from rows of `umdlib.effort.click_curves`."""
    if bad.empty:
        return "After no click is a mean score surely worse than before it."
    names = [
        f"{r.segmenter} on {r.modality} ({session_title(r.session)}), click {r.step}"
        for r in bad.itertuples()
    ]
    return "The mean score is surely worse than before it after: " + "; ".join(names) + "."


def reported_words(rows: pd.DataFrame) -> str:
    """How far `umdlib.reported.reported_table` reaches."""
    both = rows.dropna(subset=["reported", "printed"])
    here = rows.dropna(subset=["reported", "common"])
    gap = both["reported"] - both["printed"]
    return (
        f"A reported number and one printed by UMD exist in {len(both)} of {len(rows)} rows; the "
        f"first is the larger one by {number(gap.min(), sign=True)} to "
        f"{number(gap.max(), sign=True)} DSC. A reported number and a measurement of this run "
        f"exist in {len(here)} rows."
    )
