"""Tables and sentences of the chapter on subgroups."""

from __future__ import annotations

import pandas as pd

from umdlib.cohort.manifest import read_cohort
from umdlib.files import read_tsv
from umdlib.statistics.flow import STEPS
from umdlib.statistics.subgroups import FACTORS
from umdlib.tables.markdown import count, gap_texts, intervals, p_text
from umdlib.tables.modality_table import session_title


def read_people(manifest: str, people: str = "") -> pd.DataFrame:
    """Rows of the manifest of all whose scores are read: of a released run, or of the run's own cohort."""
    return read_tsv(people) if people else read_cohort(manifest).table


def flow_layout(flow: pd.DataFrame) -> pd.DataFrame:
    """Numbers of subjects at every step.

    `flow`: from `umdlib.statistics.flow.flow_table`.
    """
    table = pd.DataFrame({"session": flow["session"].map(session_title), "segmenter": flow["segmenter"]})
    for step, title in STEPS.items():
        table[title] = flow[step]
    table["pairs (subject, structure)"] = flow["n_pairs"]
    table["without a pair"] = flow["n_unpaired"]
    return table.assign(**{"most common reason": flow["why"].replace("", "–")})


def layout(groups: pd.DataFrame) -> pd.DataFrame:
    """Paired difference in both groups of a factor and the test between them.

    `groups`: from `umdlib.statistics.subgroups.subgroup_table`.
    """
    names = {factor: titles for factor, (titles, _) in FACTORS.items()}
    table = pd.DataFrame({"session": groups["session"].map(session_title), "segmenter": groups["segmenter"]})
    for i, (side, heading) in enumerate((("first", "one group"), ("second", "the other"))):
        means = intervals(groups, side, f"{side}_low", f"{side}_high")
        rows = zip(groups["factor"], means, groups[f"n_{side}"], strict=True)
        table[heading] = [f"{names[factor][i]}: {mean} (n = {n})" for factor, mean, n in rows]
    table["difference"] = gap_texts(groups, "estimate")
    table["p (interaction)"] = [p_text(p) for p in groups["p_value"]]
    table["p (Holm)"] = [p_text(p) for p in groups["p_holm"]]
    return table.assign(note=groups["note"])


def words(groups: pd.DataFrame) -> str:
    """Say how many interactions were tested and how many are shown."""
    tested = groups[groups["p_value"].notna()]
    absent = [f for f in FACTORS if f not in set(groups["factor"])]
    gone = f" Not in the manifest of this cohort: {', '.join(absent)}." if absent else ""
    if tested.empty:
        return "No group is large enough for a test." + gone
    shown = int(tested["p_holm"].lt(0.05).sum())
    family = int(tested["n_holm"].max())
    alone = int(tested["p_value"].lt(0.05).sum())
    return (
        f"{count(len(tested), 'interaction')} tested, {shown} shown (p < 0.05 after Holm over the {family} factors of "
        f"a segmenter); without a correction {alone} would be called one. A subgroup in which a difference is "
        f"significant beside one in which it is not is not an interaction: only *p (interaction)* compares the two."
        + gone
    )
