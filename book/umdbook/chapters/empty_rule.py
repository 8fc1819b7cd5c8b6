"""Tables and sentences of the chapter on empty rules."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from umdlib.labels import sorted_sessions
from umdlib.scores.empty_rules import EMPTY_RULES
from umdlib.tables.markdown import number
from umdlib.tables.modality_table import metric_title, with_session_titles
from umdlib.tables.titles import segmenter_title

__all__ = ["EMPTY_RULES"]

_SETTING = ["session", "modality", "metric", "empty", "common"]


def joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Comparisons under several rules as one table, with the metric and the rule of each."""
    named = [part.assign(empty=part.attrs["empty"], metric=part.attrs["metric"]) for part in parts]
    return pd.concat(named, ignore_index=True)


def state_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Number of predictions of each status, per session, segmenter and modality."""
    keys = ["session", "segmenter", "modality"]
    table = scores.groupby([*keys, "status"], sort=False).size().reset_index(name="n")
    wide = table.pivot_table(index=keys, columns="status", values="n", fill_value=0, sort=False)
    wide.columns = [str(c).replace("_", " ") for c in wide.columns]
    table = wide.astype(int).reset_index()
    places = table["session"].map(sorted_sessions(table["session"]).index)
    order = table.assign(session=places, modality=table["modality"].eq("PET")).sort_values(keys).index
    return with_session_titles(table.loc[order])


def rule_verdicts(summaries: pd.DataFrame) -> pd.DataFrame:
    """How far the empty rule moves each mean difference, and whether its verdict changes."""
    keys = ["session", "segmenter", "metric"]
    known = summaries[summaries.groupby(keys)["estimate"].transform("count") > 0]
    sign = known["estimate"].gt(0).map({True: "+", False: "−"})
    differs = known["verdict"].str.startswith("differs")
    verdict = (known["verdict"] + sign.where(differs, "")).where(known["estimate"].notna(), "no pairs")
    known = known.assign(verdict=verdict)
    grouped = known.groupby(keys, sort=False)
    table = grouped["estimate"].agg(["min", "max"]).reset_index()
    changes = grouped["verdict"].nunique().gt(1).to_numpy()
    return with_session_titles(table.drop(columns=["min", "max"])).assign(
        metric=table["metric"].map(metric_title),
        lowest=[number(v, sign=True) for v in table["min"]],
        highest=[number(v, sign=True) for v in table["max"]],
        verdict=["**depends on the rule**" if c else "the same" for c in changes],
    )


def winners(ranks: pd.DataFrame) -> pd.DataFrame:
    """The winner under every metric and choice of cases, an empty rule per column.

    A winner is bold where it is not that of the first setting; the number of cases follows.

    `ranks`: from `umdlib.statistics.ranking.ranking_sensitivity`.
    """
    best = ranks.groupby(_SETTING)["rank"].transform("min")
    rows = ranks[ranks["rank"].eq(best)].groupby(_SETTING, sort=False)
    titled = rows["segmenter"].agg(lambda names: " = ".join(map(segmenter_title, names)))
    table = titled.rename("winner").reset_index()
    changes = rows["winner_changes"].first().to_numpy(bool)
    cases = rows["n_cases"].first()
    table["winner"] = [
        (f"**{w}**" if c else w) + f" ({n})" for w, c, n in zip(table["winner"], changes, cases, strict=True)
    ]
    rules = list(dict.fromkeys(table["empty"]))
    keys = [k for k in _SETTING if k != "empty"]
    lowest = ranks.groupby(keys, sort=False)["tau"].min()
    table = (
        table.pivot_table(index=keys, columns="empty", values="winner", aggfunc="first", sort=False)
        .reindex(columns=rules)
        .fillna("–")
    )
    table["lowest τ"] = [number(t, 2) for t in lowest.reindex(table.index)]
    table = table.reset_index()
    table["metric"] = table["metric"].map(metric_title)
    table["common"] = table["common"].map({True: "common", False: "each its own"})
    return with_session_titles(table).rename(columns={"common": "on cases"}).rename_axis(columns=None)


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
        f"Of {len(scores) - count.get('unavailable', 0):,} predictions, {one_sided:,} lack one of the "
        f"two masks (DSC 0, distances undefined), {both} lack both, and {failed} runs failed. " + verdict
    )
