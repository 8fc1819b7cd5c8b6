"""Sentences that say what a result means, with n, unit and interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.tables.markdown import count, interval, number
from umdlib.tables.modality_table import metric_title, session_title, structure_title


def pair_words(row: pd.Series, metric: str = "dice") -> str:
    """One comparison of `umdlib.statistics.comparison.compare` in a sentence."""
    if not np.isfinite(row["estimate"]):
        return f"{row['segmenter']}: {row['note']}."
    change = interval(row["estimate"], row["ci_low"], row["ci_high"])
    note = f" Note: {row['note']}." if row["note"] else ""
    has = np.isfinite(row["ci_low"])
    return (
        f"{row['segmenter']}, {structure_title(row['structure']).lower()}: {change} "
        f"{metric_title(metric)} (mean difference{', 95 % interval' if has else ''}, "
        f"n = {count(row['n_pairs'], 'subject')}). Hodges–Lehmann shift {number(row['hl'], sign=True)}; rank-biserial "
        f"correlation {number(row['rank_biserial'], 2, sign=True)}, where −1 would mean that every "
        f"subject has the lower value on PET.{note}"
    )


def mark_words(uncorrected: pd.DataFrame, corrected: pd.DataFrame) -> str:
    """How many marks of `umdlib.tables.modality_table` a correction takes away."""
    raw, sure = (int((c["mark"].ne("") & c["structure"].ne("all")).sum()) for c in (uncorrected, corrected))
    known = uncorrected[uncorrected["state"].eq("") & uncorrected["structure"].ne("all")]
    return (
        f"Without a correction, {raw} of {len(known) // 2} comparisons of a segmenter on a "
        f"structure would carry a mark; {sure} keep it."
    )


def alarm_words(rates: pd.DataFrame, n_structures: int, correlation: float) -> str:
    """What `umdlib.statistics.operating_characteristics.type_one_error` found."""
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
    """What `umdlib.statistics.operating_characteristics.coverage` found for the mean, and what follows from it."""
    fair = covered[covered["ceiling"].ge(0.95)]
    sizes = fair["n_subjects"]

    def span(name: str) -> str:
        rates = 100 * fair.loc[fair["interval"].eq(name), "rate"]
        return f"{rates.min():.1f} to {rates.max():.1f} %"

    error = 100 * covered["error"].max()
    words = (
        f"Over all shapes and {sizes.min()} to {sizes.max()} subjects the studentised bootstrap "
        f"covers {span('studentised')} instead of 95 %, BCa {span('bca')}, Student's interval "
        f"{span('student')} ({covered['n_cohorts'].iloc[0]} cohorts per point, standard error up "
        f"to {error:.1f} %)."
    )
    lost = covered[covered["ceiling"].lt(0.95)]
    if lost.empty:
        return words
    worst = lost[lost["interval"].eq("studentised")].sort_values("rate").iloc[0]
    return words + (
        f" Left out of these ranges are points at which the cohort often does not show both kinds "
        f"of subject. The worst: {worst['shape']}, {worst['n_subjects']} subjects. In only "
        f"{100 * worst['ceiling']:.0f} % of such cohorts is a failure among the subjects at all, "
        f"and {100 * worst['rate']:.0f} % of the intervals hold the mean."
    )


def median_words(covered: pd.DataFrame) -> str:
    """What `umdlib.statistics.operating_characteristics.coverage` found for the median."""
    rates = 100 * covered.set_index("interval")["rate"]
    boot, order = rates["median bootstrap"], rates["order statistics"]
    return (
        f"The percentile bootstrap of a median covers {boot.min():.1f} to {boot.max():.1f} %: with "
        "few subjects it jumps between a handful of values, and where half of the subjects lose "
        "something it jumps from one hump to the other. The interval from order statistics, which "
        "cannot cover less than it says, whatever the shape, holds the median in "
        f"{order.min():.1f} to {order.max():.1f} % ({covered['n_cohorts'].iloc[0]} cohorts per "
        "point). It is wide, and it is the one reported."
    )


def unseen_words(n_subjects: int, low: float, high: float) -> str:
    """What a cohort without any failure cannot exclude.

    Parameters
    ----------
    n_subjects
        Of the cohort.
    low, high
        From `umdlib.statistics.distribution_free.distribution_free_bounds` of differences that are all zero.
    """
    rate = 1 - 0.05 ** (1 / n_subjects)
    return (
        f"With {n_subjects} subjects of whom none fails, up to {100 * rate:.0f} % of all subjects "
        "could (exact one-sided 95 % bound). A statement that holds for every distribution of "
        f"differences between −1 and 1, unseen failures included, would have to allow a mean "
        f"difference from {number(low, 2, sign=True)} to {number(high, 2, sign=True)} even if the "
        "observed differences were all zero. No interval in this book claims that much: they speak "
        "of subjects like those that were seen."
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
        f"two masks (DSC 0, distances undefined), {both} lack both, and {failed} runs failed. " + verdict
    )


def gain_words(bad: pd.DataFrame) -> str:
    """Clicks that made things worse, from rows of `umdlib.statistics.click_curves.click_curves`."""
    if bad.empty:
        return "No click lowers a mean score with an interval that leaves out 0."
    names = [
        f"{r.segmenter} on {r.modality} ({session_title(r.session)}), click {r.step}"
        for r in bad.itertuples()
    ]
    said = "The interval of the gain lies wholly on the worse side of 0 for: "
    return said + "; ".join(names) + "."


def reported_words(rows: pd.DataFrame) -> str:
    """How far `umdlib.statistics.reported.reported_table` reaches."""
    both = rows.dropna(subset=["reported", "printed"])
    here = rows.dropna(subset=["reported", "common"])
    gap = both["reported"] - both["printed"]
    return (
        f"A reported number and one printed by UMD exist in {len(both)} of {len(rows)} rows; the "
        f"first is the larger one by {number(gap.min(), sign=True)} to "
        f"{number(gap.max(), sign=True)} DSC. A reported number and a measurement of this run "
        f"exist in {len(here)} rows."
    )
