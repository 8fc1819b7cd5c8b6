"""Is the adapter wired right? Tables and figures of the chapter on canaries."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import seaborn as sns

from umdlib import published
from umdlib.canaries.checks import CLEARLY, FAULTS, SAME
from umdlib.canaries.replay import checked_segmenters, example_wiring, found
from umdlib.canaries.simulation import columns, simulate, summary, verdicts
from umdlib.cohort.manifest import Cohort, read_cohort
from umdlib.labels import ORGANS, structure
from umdlib.tables.markdown import markdown_table, numbered_table
from umdlib.tables.titles import segmenter_title

__all__ = ["CLEARLY", "SAME", "columns", "found", "read_cohort", "simulate", "summary", "verdicts"]


_WORDS = {name: name.replace("_", " ") for name in FAULTS} | {
    organ.name: " ".join(reversed(organ.title.split(", "))).lower() for organ in ORGANS
}
_NAMES = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def worded(text: str) -> str:
    """A text of the checks with faults and organs in words.

    Examples
    --------
    >>> worded("dead_structure"), worded("kidney_right → esophagus")
    ('dead structure', 'right kidney → oesophagus')
    """
    return _NAMES.sub(lambda found: _WORDS[found.group()], text)


def words(findings: pd.DataFrame) -> str:
    """The result of `check_run` as a table in Markdown with a sentence before it."""
    if findings.empty:
        return "No stored prediction was found: nothing could be checked."
    alarms = int((findings["faults"] != "").sum())
    words = {"faults": findings["faults"].replace("", "none").map(worded)}
    words["detail"] = findings["detail"].map(worded)
    shown = findings[["segmenter", "modality", "n_cases", "faults", "detail", "control"]].assign(**words)
    shown.columns = ["Segmenter", "Modality", "Cases", "Alarm", "In words", "Positive control"]
    head = f"{len(findings)} combinations of segmenter and modality were checked, {alarms} raised an alarm."
    return f"{head}\n\n{markdown_table(shown)}"


def columns_markdown(simulated: pd.DataFrame) -> str:
    """`columns` as a table, beside UMD's VISTA3D and SAT columns on CT."""
    printed = published.cells(published.read("umd_table1"))
    printed = printed[printed["modality"].eq("CT")].set_index(["segmenter", "structure"])["mean"]
    shown = simulated.map("{:.2f}".format)
    for name, title in (("vista3d", "UMD: VISTA3D"), ("sat_pro", "UMD: SAT")):
        shown[title] = [f"{printed[name, s]:.2f}" for s in simulated.index]
    shown.insert(0, "Structure", [structure(s).title for s in simulated.index])
    return markdown_table(shown, align=dict.fromkeys(shown.columns[1:], "right"))


def verdict_table(verdicts: pd.DataFrame) -> str:
    """Planted faults beside what the checks name."""
    caption = "Which fault was planted, and what the checks name."
    shown = verdicts.assign(named=verdicts["named"].map(worded), detail=verdicts["detail"].map(worded))
    return numbered_table(shown.rename(columns=str.capitalize), caption, "tab-verdicts")


def margin_table(runs: pd.DataFrame) -> str:
    """How far right and miswired runs stay from the thresholds."""
    caption = "Largest distances of right runs from the thresholds, smallest of miswired ones."
    return numbered_table(runs.assign(named=runs["named"].map(worded)), caption, "tab-margins")


def wiring_plot(cohort: Cohort, root: str, findings: pd.DataFrame, limit: int):
    """The wiring matrix of the segmenter whose diagonal is the brightest; None where none has masks."""
    import matplotlib.pyplot as plt

    modality, matrices = cohort.cases[0].modality, {}
    for name in checked_segmenters(findings):
        matrix = example_wiring(cohort, root, [name], modality, limit=limit)
        matrices |= {} if matrix is None else {name: matrix}
    if not matrices:
        return None
    name = max(matrices, key=lambda n: np.nanmean(np.diag(matrices[n])))
    ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")[1]
    short = {s.name: s.short for s in cohort.structures if s.name in matrices[name].index}
    values = matrices[name].loc[list(short), list(short)].astype(float).fillna(0.0)
    values = values.rename(index=short, columns=short)
    sns.heatmap(values, vmin=0, vmax=1, cmap="cividis", square=True, cbar_kws={"label": "Mean DSC"}, ax=ax)
    ax.grid(visible=False)
    ax.set(xlabel="Reference", ylabel="Asked for", title=f"{segmenter_title(name)}, {modality}")
    return ax
