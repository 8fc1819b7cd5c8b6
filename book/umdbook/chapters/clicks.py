"""Tables and sentences of the chapter on corrective clicks."""

from __future__ import annotations

import pandas as pd

from umdlib.tables.markdown import gap_texts, number
from umdlib.tables.modality_table import session_title, with_session_titles
from umdlib.tables.titles import segmenter_title


def gain_rows(curves: pd.DataFrame) -> pd.DataFrame:
    """Gain of every corrective click on either modality, and their difference.

    `curves`: from `umdlib.statistics.click_curves.curve_table`.
    """
    later, rows = curves[curves["gain"].notna()], []
    keys = ["session", "segmenter", "prompt", "step"]
    for key, part in later.groupby(keys, sort=False):
        found = dict(zip(part["modality"], gap_texts(part, "gain", "gain_low", "gain_high"), strict=True))
        pet, difference = found.pop("PET", "–"), found.pop("difference", "–")
        structural = next(iter(found.values()), "–")
        rows.append([*key, part["n_subjects"].min(), structural, pet, difference])
    columns = ["session", "segmenter", "prompt", "click", "n", "structural", "PET"]
    return with_session_titles(pd.DataFrame(rows, columns=[*columns, "PET − structural"]))


def effort_layout(effort: pd.DataFrame) -> pd.DataFrame:
    """Scores and seconds of `umdlib.statistics.click_curves.effort_table`, modalities side by side."""
    if effort.empty:
        return pd.DataFrame(columns=["session", "segmenter", "prompt", "clicks", "coordinates"])
    rows = effort.assign(
        score=[f"{number(r.median)} ({number(r.q1)}–{number(r.q3)})" for r in effort.itertuples()],
        time=[number(s, 2) for s in effort["seconds"]],
    )
    keys = ["session", "segmenter", "prompt", "step", "coordinates"]
    wide = rows.pivot_table(
        index=keys, columns="modality", values=["score", "time"], aggfunc="first", sort=False
    )
    table = wide.index.to_frame(index=False)
    modalities = [m for m in ("CT", "MR", "PET") if m in set(rows["modality"])]
    for name, unit in (("score", ""), ("time", " (s)")):
        for modality in modalities:
            table[modality + unit] = wide[name, modality].fillna("–").to_numpy()
    return with_session_titles(table).rename(columns={"step": "clicks"})


def until_layout(effort: pd.DataFrame) -> pd.DataFrame:
    """Rows of `umdlib.statistics.click_curves.until_satisfied` for a page."""
    prompts = [
        f"{r.prompts:.0f}" if r.prompts == r.prompts else f"more than {r.budget}" for r in effort.itertuples()
    ]
    table = effort.assign(
        prompts=prompts,
        at_once=[f"{share:.0%}" for share in effort["at_once"]],
        reached=[f"{share:.0%}" for share in effort["reached"]],
        seconds=[number(s, 2) for s in effort["seconds"]],
    )
    names = {"at_once": "after the first", "reached": "after the last", "n_subjects": "n"}
    return with_session_titles(table.drop(columns="budget")).rename(columns=names)


def gain_words(bad: pd.DataFrame) -> str:
    """Clicks that made things worse, from rows of `umdlib.statistics.click_curves.curve_table`."""
    if bad.empty:
        return "No additional click lowered a mean score significantly."
    names = [
        f"{segmenter_title(r.segmenter)} on {r.modality} ({session_title(r.session)}), click {r.step}"
        for r in bad.itertuples()
    ]
    return f"The interval of the gain lies wholly on the worse side of 0 for: {'; '.join(names)}."
