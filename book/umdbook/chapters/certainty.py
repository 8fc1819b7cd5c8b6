"""Tables and sentences of the chapter on certainty."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.statistics.distribution_free import distribution_free_bounds
from umdlib.statistics.equivalence import detectable_effect
from umdlib.statistics.operating_characteristics import EQUIVALENCE_RULES
from umdlib.statistics.verdicts import VERDICTS
from umdlib.tables.markdown import number
from umdlib.tables.modality_table import metric_title, session_title, with_session_titles
from umdlib.tables.verdicts import reachable_words, verdict_legend


def interval_rows(overall: pd.DataFrame) -> pd.DataFrame:
    """Three intervals of each mean difference: studentised, BCa, Student's."""
    rows = overall[overall["estimate"].notna()]
    table = with_session_titles(rows[["session", "segmenter"]]).assign(
        subjects=rows["n_subjects"].astype(int)
    )
    table["mean difference"] = [number(v, sign=True) for v in rows["estimate"]]
    titles = {"ci": "studentised bootstrap", "bca": "BCa bootstrap", "t": "Student’s t"}
    for name, title in titles.items():
        ends = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
        table[title] = [f"{number(a, sign=True)} to {number(b, sign=True)}" for a, b in ends]
    return table


def verdict_counts(comparisons: pd.DataFrame) -> str:
    """Count the verdicts on comparisons, with the sizes of their families."""
    known = comparisons[comparisons["estimate"].notna()]
    counts = known["verdict"].value_counts()
    counted = "; ".join(f"*{v}* {counts[v]}" for v in VERDICTS if v in counts)
    families = [
        f"{session_title(name)}: {' or '.join(f'{n:.0f}' for n in sorted(part['n_holm'].unique()))} "
        "p-values per segmenter (Holm)"
        for name, part in known.groupby("session", sort=False)
    ]
    margin = comparisons.attrs.get("margin", 0.02)
    return (
        f"Of {len(known)} comparisons of a segmenter on a structure: {counted}; margin ±{margin:g}, each question "
        f"at 5 % after Holm. Families: {'; '.join(families)}. {verdict_legend(known)}"
        + reachable_words(known)
    )


def ranking_notes(ranks: pd.DataFrame) -> str:
    """Stability of every ranking of `umdlib.statistics.ranking.rank_segmenters`, as a Markdown list."""
    lines = []
    for (session, modality), part in ranks.groupby(["session", "modality"], sort=False):
        row = part.iloc[0]
        lines.append(
            f"- {session_title(session)}, {modality}: mean Kendall τ {number(row['kendall_tau'], 2)}; "
            f"n = {row['n_subjects']} subjects, {row['n_cases']} common cases, {row['n_dropped']} left out"
        )
    for (name, note), gone in ranks[ranks["note"].ne("")].groupby(["segmenter", "note"], sort=False):
        places = [
            f"{session_title(s)} ({', '.join(part['modality'])})"
            for s, part in gone.groupby("session", sort=False)
        ]
        lines.append(f"- {name} is not ranked on {', '.join(places)}: {note}")
    return "\n".join(lines)


def alarm_words(rates: pd.DataFrame, n_subjects: int, n_structures: int, correlation: float) -> str:
    """What `umdlib.statistics.operating_characteristics.type_one_error` found."""
    rate = {t: f"{100 * r:.1f} %" for t, r in zip(rates["test"], rates["rate"], strict=True)}
    return (
        f"Tested over subjects, {rate['sign-flip, subjects']} of {rates['n_cohorts'].iloc[0]} "
        f"cohorts of {n_subjects} subjects give a false alarm. If the {n_structures} structures of a subject count "
        f"as so many subjects, it is {rate['t test, structures pooled']}, at a correlation of only "
        f"{correlation:g}. If each structure is tested on its own without a correction, *some* gap "
        f"is found in {rate['any structure, uncorrected']} of the cohorts; with Holm's correction "
        f"in {rate['any structure, Holm']}."
    )


def coverage_words(covered: pd.DataFrame) -> str:
    """Say how far the intervals of a mean cover, the worst point first."""
    ours = covered[covered["interval"].eq("studentised")].sort_values("rate", kind="stable")
    worst = ours.iloc[0]
    error, n = 100 * covered["error"].max(), covered["n_cohorts"].iloc[0]
    hard = ours[ours["ceiling"].lt(0.95)]
    words = (
        f"The worst point first: with {worst['n_subjects']} subjects of the shape *{worst['shape']}*, the reported "
        f"interval holds the mean in {100 * worst['rate']:.0f} % of the cohorts instead of 95 % ({n} cohorts per "
        f"point, standard error up to {error:.1f} %). "
    )
    for shape, part in hard.groupby("shape", sort=False):
        part = part.sort_values("n_subjects")
        rates = ", ".join(f"{100 * r:.0f}" for r in part["rate"])
        sizes = ", ".join(str(k) for k in part["n_subjects"])
        words += f"*{shape}*: {rates} % with {sizes} subjects. "
    if len(hard):
        words += (
            "There the cohort often shows no failure at all, and no interval that is made from its values can hold a "
            "mean that failures make. "
        )
    spans = covered[covered["ceiling"].ge(0.95)].groupby("interval")["rate"].agg(_span)
    return words + (
        f"At all other points the studentised bootstrap covers {spans['studentised']}, BCa {spans['bca']}, "
        f"Student's interval {spans['student']}."
    )


def missing_words(covered: pd.DataFrame) -> str:
    """Say how far intervals of a standardised mean cover, with and without the structures' uncertainty."""
    wide = covered.pivot_table(index=["shape", "n_subjects"], columns="values", values="rate", sort=False)
    each = "; ".join(
        f"*{shape}* (n = {n}): {100 * row['own']:.1f} and {100 * row['jackknife']:.1f} %"
        for (shape, n), row in wide.iterrows()
    )
    return (
        f"On cohorts that lack structures by chance, an interval over the subjects' own standardised means holds the "
        f"mean in {_span(wide['own'])}, one over their pseudo-values, which is reported, in "
        f"{_span(wide['jackknife'])} ({covered['n_cohorts'].iloc[0]} cohorts each). {each}."
    )


def _span(rates: pd.Series) -> str:
    """Smallest and largest of some rates, in per cent."""
    return f"{100 * rates.min():.1f} to {100 * rates.max():.1f} %"


def shape_words(alarms: pd.DataFrame) -> str:
    """Say how often tests find a mean difference that is zero, the worst shape first."""
    wide = alarms.pivot_table(index=["shape", "n_subjects"], columns="test", values="rate")
    worst = wide["mean"].idxmax()
    normal = wide.loc["normal"] if "normal" in wide.index else wide
    skewed = wide.drop(index=[s for s in _LOST_SHAPES if s in wide.index.get_level_values(0)])
    return (
        f"The worst point first: {worst[1]} subjects of the shape *{worst[0]}*, moved so that its mean is zero. The "
        f"reported test finds a difference in {100 * wide.loc[worst, 'mean']:.0f} % of the cohorts, the sign-flip "
        f"test in {100 * wide.loc[worst, 'permutation']:.0f} %: most of these cohorts hold none of the subjects that "
        "lose, and no test can know better. On shapes "
        f"that every cohort shows, the reported test gives {_span(skewed['mean'])}, the sign-flip test "
        f"{_span(skewed['permutation'])}; "
        f"on normal differences {_span(normal['mean'])} and {_span(normal['permutation'])}. "
        "Far in the tail skew weighs more: at 5 % / 13 = 0.38 %, the level of the "
        f"first of 13 structures, the reported test gives {_span(skewed['mean of 13'])} on those shapes and "
        f"{_span(normal['mean of 13'])} on normal ones."
    )


_LOST_SHAPES = ("15 % lost", "rare failures", "10 % lose 0.3", "5 % lose 0.6")


def alarm_table(alarms: pd.DataFrame) -> pd.DataFrame:
    """False alarms in per cent: shapes down, tests and sizes across, the worst shape first."""
    wide = alarms.pivot_table(index="shape", columns=["test", "n_subjects"], values="rate", sort=False)
    order = wide["mean"].max(axis=1).sort_values(ascending=False).index
    table = pd.DataFrame({"mean zero, shape": order})
    for test, title in (("mean", "reported"), ("permutation", "sign-flip")):
        for n in wide[test]:
            table[f"{title}, n = {n}"] = [number(100 * v, 1) for v in wide.loc[order, (test, n)]]
    return table


def equivalence_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Share of cohorts called the same, in per cent: shapes and sizes down, rules across."""
    keys = ["shape", "mean", "equivalent", "n_subjects"]
    wide = rates.pivot_table(index=keys, columns="rule", values="rate", sort=False).reset_index()
    table = wide[["shape"]].assign(**{"true mean": [number(m, sign=True) for m in wide["mean"]]})
    table["subjects"] = wide["n_subjects"]
    table["the same"] = wide["equivalent"].map({True: "true", False: "an error"})
    for rule, title in EQUIVALENCE_RULES.items():
        table[title] = [number(100 * v, 1) for v in wide[rule]]
    return table


def equivalence_words(rates: pd.DataFrame) -> str:
    """Say how often equivalence is claimed wrongly, and what it costs not to."""
    wide = rates.pivot_table(index=["shape", "n_subjects"], columns="rule", values="rate")
    wrong = set(rates.loc[~rates["equivalent"], "shape"])
    errors = wide[wide.index.get_level_values("shape").isin(wrong)]
    worst = errors["interval"].idxmax()
    power = wide.loc["no gap"]
    enough = power.index[power["reported"].ge(0.8)]
    when = f"{enough.min()} subjects show it" if len(enough) else "none of these sizes shows it"
    return (
        f"An interval inside the margin alone calls {100 * errors.loc[worst, 'interval']:.0f} % of the cohorts of "
        f"{worst[1]} subjects the same where *{worst[0]}*: those that happen to hold nobody who loses. So a second "
        "condition stands beside it: the chance that a failing share of subjects just large enough to matter stays "
        f"unseen in n subjects must be below 5 % too. With both, at most "
        f"{100 * errors['reported'].max():.1f} % of such "
        f"cohorts are called the same. The cost: where there is no gap at all, {when} in four of five cohorts."
    )


def median_words(covered: pd.DataFrame) -> str:
    """What `umdlib.statistics.operating_characteristics.coverage` found for the median."""
    spans = covered.groupby("interval")["rate"].agg(_span)
    return (
        f"The percentile bootstrap of a median covers {spans['median bootstrap']}, the interval from order "
        "statistics, which cannot cover less than it says, whatever the shape, "
        f"{spans['order statistics']} ({covered['n_cohorts'].iloc[0]} cohorts per "
        "point). It is wide, and it is the one reported."
    )


def unseen_words(n_subjects: int) -> str:
    """Say what a cohort of this size without any failure cannot exclude."""
    rate = 1 - 0.05 ** (1 / n_subjects)
    low, high = distribution_free_bounds(np.zeros((n_subjects, 1)), (-1, 1), confidence=0.95)
    return (
        f"With {n_subjects} subjects of whom none fails, up to {100 * rate:.0f} % of all subjects "
        "could (exact one-sided 95 % bound), and a statement that holds for every distribution of differences would "
        f"have to allow a mean difference from {number(low[0], 2, sign=True)} to {number(high[0], 2, sign=True)}. "
        "The intervals in this book speak of subjects like those that were seen."
    )


def detectable_table(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Smallest detectable difference for the sizes of a run and for UMD's PET/CT cohort."""
    typical = comparisons["sd"].median()
    sizes = pd.Series(sorted({*comparisons.query("n_pairs > 1")["n_pairs"].astype(int), 490}))
    effects = sizes.map(detectable_effect)
    metric = metric_title(comparisons.attrs.get("metric", "dice"))
    columns = {"subjects": sizes, "in SD": effects.map(number), metric: (effects * typical).map(number)}
    return pd.DataFrame(columns)
