"""Tables, figure and sentences of the chapter on what the second image adds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from umdlib.figures.style import axes, nothing, rows_down
from umdlib.labels import MODALITIES
from umdlib.scores import table as score_tables
from umdlib.statistics.second_image import ALL, second_image_table
from umdlib.statistics.verdicts import FLOOR, at_floor
from umdlib.tables.markdown import count, gap_text, interval, number, p_text
from umdlib.tables.modality_table import session_title, structure_title

__all__ = ["second_image_table"]

NOTHING = (
    "This run holds no scores with both images and with one: `umdlib score MANIFEST --segmenters "
    "clicknet_fused,clicknet_structural,clicknet_pet --out RUN` makes them."
)


def read(path: str, scores: str) -> pd.DataFrame:
    """Score rows with both images beside those of the run; the run's where there are no others."""
    table = score_tables.read_scores(scores)
    if not Path(path).is_file():
        return table
    more = score_tables.read_scores(path)
    more = more[~more["segmenter"].isin(set(table["segmenter"]))]
    return pd.concat([table, more], ignore_index=True)


def title(row: pd.Series) -> str:
    """What was added to what.

    Examples
    --------
    >>> title(pd.Series({"added": "PET", "modality": "CT"}))
    'PET added to CT'
    """
    return f"{row['added']} added to {row['modality']}"


def layout(table: pd.DataFrame) -> pd.DataFrame:
    """With one image and with both, structures down; what both leave at the floor is not identifiable."""
    floor = at_floor(table, sides=("alone", "both"))
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "image": [title(r) for _, r in table.iterrows()],
            "structure": table["structure"].map(structure_title),
            "one image": [number(v) for v in table["alone"]],
            "both": [number(v) for v in table["both"]],
            "added [95 %]": [
                gap_text(r.estimate, r.ci_low, r.ci_high, f)
                for r, f in zip(table.itertuples(), floor, strict=True)
            ],
            "p": table["p_value"].map(p_text),
            "n": table["n_subjects"],
        }
    )


def words(table: pd.DataFrame) -> str:
    """What the second image added, in a sentence for each segmented image."""
    if table.empty:
        return NOTHING
    table = table[~at_floor(table, sides=("alone", "both"))]
    overall = table[table["structure"].eq(ALL)]
    lines = []
    for _, row in overall.iterrows():
        part = table[
            table["session"].eq(row["session"])
            & table["modality"].eq(row["modality"])
            & table["structure"].ne(ALL)
        ]
        if part.empty:
            continue
        most = part.loc[part["estimate"].idxmax()]
        better = int((part["estimate"] > 0).sum())
        shown = int((part["ci_low"] > 0).sum())
        lines.append(
            f"- {session_title(row['session'])}, {title(row)}: "
            f"{interval(row['estimate'], row['ci_low'], row['ci_high'])} DSC over "
            f"{count(row['n_subjects'], 'subject')}; higher in {better} of {len(part)} structures (with an interval "
            f"above 0 in {shown}), most in {structure_title(most['structure']).lower()} "
            f"({number(most['estimate'], sign=True)})."
        )
    return "\n".join(lines) or f"What the second image adds is {FLOOR}: both scores are at the floor."


def plot(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Difference between both images and one, structures down, one colour for each segmented image."""
    structures = list(dict.fromkeys(table["structure"]))
    ax = axes(ax, figsize=(6.0, 1.4 + 0.34 * max(len(structures), 2)))
    if table.empty:
        return nothing(ax)
    ax.axvline(0, color="#444444", lw=0.9)
    images = list(dict.fromkeys(table["modality"]))
    for n, modality in enumerate(images):
        part = table[table["modality"].eq(modality)]
        y = [structures.index(s) + (n - (len(images) - 1) / 2) * 0.3 for s in part["structure"]]
        colour = MODALITIES[modality].colour
        ax.hlines(y, part["ci_low"], part["ci_high"], color=colour, lw=1.6)
        marker = "D" if modality == "PET" else "o"
        ax.plot(part["estimate"], y, marker, color=colour, ms=5, label=title(part.iloc[0]))
    rows_down(ax, map(structure_title, structures))
    ax.set_xlabel("DSC with both images minus with one")
    below = -0.6 / ax.figure.get_figheight()  # each panel has its own: colours differ with the session
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=2)
    return ax
