"""Tables and sentences of the chapter on a gap without labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook import names
from umdlib.evaluation import agree_run
from umdlib.figures.style import Looks, axes, legend_below, nothing, segmenter_style
from umdlib.scores.table import read_scores
from umdlib.statistics import label_free, pairs
from umdlib.tables.markdown import gap_texts, interval, intervals, number
from umdlib.tables.modality_table import session_title
from umdlib.viewer.cases import scored_segmenters

__all__ = ["agree_run", "scored_segmenters"]


def beside_gap(within: pd.DataFrame, scores: str) -> pd.DataFrame:
    """Agreement beside the measured gap, of first prompts."""
    table = read_scores(scores)
    rows = pairs.condition(table[table["status"].ne("unavailable") & table["seed"].eq(0)])
    return label_free.with_gap(within, pairs.paired_differences(rows))


def bounds_layout(table: pd.DataFrame) -> pd.DataFrame:
    """What agreement bounds, beside what was measured."""
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "segmenter": table["segmenter"].map(names.title),
            "agreement (DSC)": [number(v) for v in table["agreement"]],
            "gap at most": [number(v) for v in table["largest_gap"]],
            "one mask wrong by at least": [number(v) for v in table["least_error"]],
            "measured gap": gap_texts(table, "measured_gap"),
            "pairs beyond the bound": table["broken"].astype(int),
            "undefined": table["n_undefined"],
            "n": table["n_subjects"],
        }
    )


def between_layout(between: pd.DataFrame) -> pd.DataFrame:
    """Mean agreement of two segmenters on the structural images and on PET."""
    rows = between.assign(image=np.where(between["modality"].eq("PET"), "PET", "structural"))
    keys = ["session", "first", "second"]
    wide = rows.pivot_table(index=keys, columns="image", values="agreement", sort=False).reset_index()
    wide = wide.reindex(columns=[*keys, "structural", "PET"])
    return pd.DataFrame(
        {
            "session": wide["session"].map(session_title),
            "one segmenter": wide["first"].map(names.title),
            "the other": wide["second"].map(names.title),
            "structural image": [number(v) for v in wide["structural"]],
            "PET": [number(v) for v in wide["PET"]],
        }
    )


def validation_layout(table: pd.DataFrame) -> pd.DataFrame:
    """How well agreement ranks and predicts, with intervals."""
    shown = [text.replace("+", "") for text in intervals(table, "value", "low", "high")]
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "what": table["what"],
            "value [95 %]": shown,
            "of": table["n"].astype(int),
            "subjects": table["n_subjects"],
        }
    )


def words(bounds: pd.DataFrame, validation: pd.DataFrame) -> str:
    """Say whether the bound held, and whether agreement ranked the systems here."""
    broken, sessions = int(bounds["broken"].sum()), []
    for session, part in validation.groupby("session", sort=False):
        row = part[part["what"].eq("rank of systems by size of the gap")].iloc[0]
        if not np.isfinite(row["value"]):
            text = "no rank: fewer than three systems"
        elif np.isfinite(row["low"]):
            text = f"{number(row['value'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]"
        else:
            text = (
                f"{number(row['value'], 2)} (no interval: {row['n_subjects']} subjects, {row['n']} systems)"
            )
        sessions.append(f"{session_title(session)} {text}")
    held = (
        "Every measured gap lies within its bound"
        if not broken
        else f"**{broken} pairs lie beyond their bound**"
    )
    return (
        f"{held}. Rank correlation of the systems' agreement with the size of their gap (−1 where the gap always "
        f"grows as agreement falls): {'; '.join(sessions)}. Agreement says nothing of the gap's sign."
    )


def more_subjects(path: str, *, n_resamples: int = 1000, seed: int = 0) -> str:
    """The same on a cohort that a benchmark asked, large enough for intervals, in a paragraph."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return ""
    beside = pd.DataFrame(found["columns"])
    table = label_free.validation_table(beside, n_resamples=n_resamples, seed=seed).set_index("what")
    ranks = "; ".join(
        f"{what.removeprefix('rank of ')} {interval(*table.loc[what, ['value', 'low', 'high']])}"
        for what in table.index[table.index.str.startswith("rank of ")]
    )
    errors = [
        number(table.loc[f"error of the gap predicted by {by}", "value"])
        for by in ("agreement", "the others' mean")
    ]
    n, systems = beside["subject"].nunique(), beside["segmenter"].nunique()
    return (
        f"Intervals need more subjects. On {n} simulated subjects of PET/CT with PET voxels of "
        f"{found['spacing_mm']:g} mm and {systems} systems (`{found['command']}`, {found['date']}) the rank "
        f"correlations of agreement are: {ranks}. The gap of a subject left out is predicted with an error of "
        f"{errors[0]} from its agreement, and of {errors[1]} from the mean of the others."
    )


def pairs_plot(
    rows: pd.DataFrame, *, looks: Looks | None = None, legend: bool = True, ax: Axes | None = None
) -> Axes:
    """Agreement of each subject and structure against its measured gap."""
    ax = axes(ax, figsize=(6, 4))
    if rows.empty:
        return nothing(ax)
    looks = looks or segmenter_style(rows["segmenter"])
    for name, part in rows.groupby("segmenter", sort=False):
        ax.scatter(part["agreement"], part["gap"], s=14, alpha=0.7, label=names.title(name), **looks[name])
    ax.axhline(0, color="#444444", lw=0.9)
    ax.set_xlabel("agreement without labels (DSC)")
    ax.set_ylabel("measured gap, PET − structural (DSC)")
    if legend:
        legend_below(ax, columns=2)
    return ax
