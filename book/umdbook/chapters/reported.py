"""Tables, sentences and a figure of the chapter on reported numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook import names
from umdlib import evaluation
from umdlib.cohort.manifest import read_cohort
from umdlib.figures.style import axes, legend_below, rows_down
from umdlib.labels import SESSIONS, session
from umdlib.published.names import MODELS
from umdlib.statistics.reported import own_harness, own_protocol
from umdlib.tables.markdown import number, numbered_table
from umdlib.tables.modality_table import session_title, with_session_titles
from umdlib.weights import card

_REPORTED_COLUMNS: dict[str, str] = {
    "reported": "reported",
    "printed": "UMD printed",
    "native": "here, own prompt",
    "common": "here, common prompt",
}


def of_the_papers(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the systems that somebody reported a number of; what else this run scored has pages of its own."""
    rows = rows.assign(title=rows["segmenter"].map(MODELS).fillna(rows["title"].map(names.title)))
    numbers = [c for c in ("reported", "printed", "harness") if c in rows]
    known = rows[numbers].notna().any(axis=1).groupby(rows["title"]).transform("any")
    return rows[known].reset_index(drop=True)


def official_layout(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per system of `umdlib.statistics.reported.reported_table`: its numbers, and what is missing."""
    found = []
    for title, part in rows.groupby("title", sort=False):
        line = {"system": title}
        for column, name in _REPORTED_COLUMNS.items():
            line[name] = _span(part[column])
            # the paper's mark: known as an average over modalities only
            if column == "reported" and part["reported_text"].astype(str).str.startswith("~").any():
                line[name] = f"~{line[name]}"
        why = [f"why_{c}" for c in (*_REPORTED_COLUMNS, "harness") if f"why_{c}" in part]
        reasons = dict.fromkeys(r for c in why for r in part[c] if r)
        found.append({**line, "missing": "; ".join(reasons) or "nothing"})
    return pd.DataFrame(found)


def _span(values: pd.Series) -> str:
    """One number, or the range over sessions and modalities."""
    return " to ".join(dict.fromkeys(number(v) for v in (values.min(), values.max())))


def card_figures() -> pd.DataFrame:
    """The last figure that each network's training wrote of itself, for every image that it was trained on.

    Of a specialist nnU-Net's pseudo Dice, of a network with clicks the Dice after the first click: both on patches
    of the training subjects. The latter is one number for all modalities of the training.
    """
    rows = []
    for name in card.names():
        data, last = card.read(name).data, card.read_log(name).iloc[-1]
        if "pseudo_dice" in last:
            segmenter = "_".join(name.split("_")[:2])
            rows.append((segmenter, data["session"], data["modalities"][0], last["pseudo_dice"], False))
        elif "dice_first" in last:
            pairs = [(s.name, m) for s in SESSIONS.values() for m in (s.structural, "PET")]
            rows += [(name, s, m, last["dice_first"], True) for s, m in pairs if m in data["modalities"]]
    return pd.DataFrame(rows, columns=["segmenter", "session", "modality", "reported", "average"])


def asked_own_prompt(
    manifest: str, scores: pd.DataFrame, folder: str, *, subjects: int
) -> pd.DataFrame | None:
    """Scores of the first pairs of each session with the random voxel that networks were trained with.

    Only networks that the run has not asked with it; None where there is none, or no image.
    """
    random = scores.loc[scores["prompt"].eq("random"), "segmenter"].unique()
    networks = {n for n in card_figures()["segmenter"] if own_protocol(n) == "random"}
    here = set(scores.loc[scores["status"].ne("unavailable"), "segmenter"].unique())
    networks = sorted(networks & here - set(random))
    if subjects < 1 or not networks or not Path(manifest).is_file():
        return None
    cohort = read_cohort(manifest)
    cases = [c for s in cohort.sessions() for pair in cohort.pairs(s)[:subjects] for c in pair]
    settings = evaluation.Settings((evaluation.Plan("random", (0,), 0),))
    return evaluation.score_cohort(cohort, networks, folder, cases=cases, settings=settings)


def own_numbers() -> dict[str, str]:
    """Subjects per session on which this program measured the networks, and how these were drawn, for the text."""
    made = [card.read(n).data for n in card.names()]
    n = sorted(own_harness()["n_subjects"].unique())
    seeds, voxels = ({f"{d[key]:g}" for d in made} for key in ("seed", "spacing_mm"))
    return {
        "n_own": " or ".join(map(str, n)),
        "own_recipe": f"seed {' or '.join(sorted(seeds))}, {' or '.join(sorted(voxels))} mm",
    }


def own_layout(table: pd.DataFrame) -> pd.DataFrame:
    """The telescoping sum of this project's networks: four numbers, three gaps, their sum."""
    shown = pd.DataFrame(
        {
            "network": table["segmenter"].map(names.title),
            "session": table["session"].map(session_title),
            "modality": table["modality"],
            "its training": [("~" if r.average else "") + number(r.reported) for r in table.itertuples()],
            "same subjects, here": [number(v) for v in table["harness"]],
            "this cohort, own prompt": [number(v) for v in table["native"]],
            "this cohort, common prompt": [number(v) for v in table["common"]],
        }
    )
    for gap in ("harness_gap", "data_gap", "prompt_gap"):
        shown[gap.replace("_", " ")] = [number(v, sign=True) for v in table[gap]]
    shown["sum"] = [number(v, sign=True) for v in table["total"]]
    notes = []
    for _, row in table.iterrows():
        why = [row[f"why_{g}"] for g in ("harness_gap", "data_gap", "prompt_gap")]
        if row["few"] and np.isfinite(row["native"]):
            n = int(row["n_subjects"])
            whom = f"the same {n} subjects" if n > 1 else "one subject"
            why.append(f"both prompts on {whom}, asked by this page")
        notes.append("; ".join(dict.fromkeys(filter(None, why))))
    return shown.assign(note=notes)


def own_words(table: pd.DataFrame) -> str:
    """Say how many sums are whole and which term is the largest in most of them."""
    gaps = ["harness_gap", "data_gap", "prompt_gap"]
    whole = table[table[gaps].notna().all(axis=1)]
    if whole.empty:
        return "No network of this run has all four numbers."
    largest = whole[gaps].abs().idxmax(axis=1).value_counts()
    terms = ", ".join(f"the {g.replace('_', ' ')} in {n}" for g, n in largest.items())
    return f"All terms are known in {len(whole)} of {len(table)} rows; the largest is {terms}."


def missing_reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """Why numbers of `umdlib.statistics.reported.reported_table` are missing, with the systems they lack."""
    names = {**_REPORTED_COLUMNS, "harness": "this program on the reported data"}
    found = []
    for column, title in names.items():
        if f"why_{column}" in rows:
            gone = rows[rows[f"why_{column}"].ne("")]
            for why, part in gone.groupby(f"why_{column}", sort=False):
                found.append([title, why, ", ".join(dict.fromkeys(part["title"]))])
    return pd.DataFrame(found, columns=["number", "why it is missing", "systems"])


def reported_words(rows: pd.DataFrame) -> str:
    """How far `umdlib.statistics.reported.reported_table` reaches."""
    both = rows.dropna(subset=["reported", "printed"])
    here = rows.dropna(subset=["reported", "common"])
    gap = both["reported"] - both["printed"]
    return (
        f"A reported number and one printed by UMD exist in {len(both)} of {len(rows)} rows; the "
        f"first minus the second is {number(gap.min(), sign=True)} to "
        f"{number(gap.max(), sign=True)} DSC. {len(here) or 'No'} {'row has' if len(here) <= 1 else 'rows have'} a "
        "reported number and a measurement of this run."
    )


def ceilings_words(limits: pd.DataFrame) -> str:
    """Measured DSC beside the best that is possible, as a numbered table; or that no system has a limit."""
    if limits.empty:
        return "Every system of this run looks at the whole image."
    caption = (
        "Mean DSC, and the mean of the best DSC that is possible where the system looks (plain means over the "
        "structures that a subject has, then over subjects: so no mean exceeds its ceiling)."
    )
    shown = with_session_titles(limits).rename(
        columns={"step": "clicks after the first", "dice": "DSC", "n_subjects": "n"}
    )
    return numbered_table(shown, caption, "tab-reported-ceilings", {"DSC": ".3f", "ceiling": ".3f"})


def reported_beside_measured(table: pd.DataFrame) -> Axes:
    """Reported, printed-on-UMD and measured mean DSC of every segmenter and modality, as dots."""
    columns = {
        "reported": ("reported elsewhere", "#999933", "s"),
        "printed": ("printed by UMD", "#000000", "o"),
        "native": ("measured here, its own prompt", "#56b4e9", "^"),
        "common": ("measured here, common prompt", "#882255", "D"),
    }
    rows = table.dropna(subset=list(columns), how="all").reset_index(drop=True)
    ax = axes(None, figsize=(7.2, 1.6 + 0.27 * max(len(rows), 2)))
    numbers = rows[list(columns)]
    ax.hlines(range(len(rows)), numbers.min(axis=1), numbers.max(axis=1), color="#bbbbbb", lw=1.2)
    for name, (label, colour, marker) in columns.items():
        if rows[name].notna().any():
            ax.scatter(rows[name], range(len(rows)), s=36, color=colour, marker=marker, label=label, zorder=3)
    names = rows["title"] + ", " + rows["session"].map(lambda s: session(s).title) + ": "
    rows_down(ax, names + rows["modality"])
    ax.set_xlim(-0.02, 1.0)
    ax.set_xlabel("mean DSC")
    legend_below(ax, columns=2)
    return ax
