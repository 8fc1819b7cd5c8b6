"""Tables, sentences and a figure of the chapter on reported numbers."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from umdlib.figures.style import axes, legend_below, rows_down
from umdlib.labels import session
from umdlib.tables.markdown import number, numbered_table
from umdlib.tables.modality_table import session_title

REPORTED_COLUMNS: dict[str, str] = {
    "reported": "reported",
    "printed": "UMD printed",
    "native": "here, own prompt",
    "common": "here, common prompt",
}


def reported_layout(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers and gaps of `umdlib.statistics.reported.reported_table`; a dash where there is none."""
    table = rows[["title", "session", "modality"]].rename(columns={"title": "system"})
    for column, title in REPORTED_COLUMNS.items():
        table[title] = rows[column].map(number)
    # The paper's mark for a number that is known as an average over modalities only.
    average = rows["reported_text"].astype(str).str.startswith("~")
    table["reported"] = table["reported"].where(~average, "~" + table["reported"])
    table = _titled(table)
    for gap in ("harness_gap", "data_gap", "prompt_gap"):
        table[gap.replace("_", " ")] = [number(v, sign=True) for v in rows[gap]]
    return table


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    """The table with sessions under their titles."""
    return table.assign(session=table["session"].map(session_title))


def missing_reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """Why numbers of `umdlib.statistics.reported.reported_table` are missing, with the systems they lack."""
    names = {**REPORTED_COLUMNS, "harness": "this program on the reported data"}
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
        f"first is the larger one by {number(gap.min(), sign=True)} to "
        f"{number(gap.max(), sign=True)} DSC. A reported number and a measurement of this run "
        f"exist in {len(here)} rows."
    )


def ceilings_words(limits: pd.DataFrame) -> str:
    """Measured DSC beside the best that is possible, as a numbered table; or that no system has a limit."""
    if limits.empty:
        return "Every system of this run looks at the whole image."
    caption = (
        "Mean DSC, and the mean of the best DSC that is possible where the system looks (means over structures "
        "within subjects, then over subjects)."
    )
    shown = _titled(limits).rename(
        columns={"step": "clicks after the first", "dice": "DSC", "n_subjects": "n"}
    )
    return numbered_table(shown, caption, "tab-reported-ceilings", {"DSC": ".3f", "ceiling": ".3f"})


def reported_beside_measured(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Reported, printed-on-UMD and measured mean DSC of every segmenter and modality, as dots.

    Parameters
    ----------
    table
        From `umdlib.statistics.reported.reported_table`.
    ax
        Axes to draw on; None makes them.

    Returns
    -------
    matplotlib.axes.Axes
        Rows without any number are left out.
    """
    columns = {
        "reported": ("reported elsewhere", "#999933", "s"),
        "printed": ("printed by UMD", "#000000", "o"),
        "native": ("measured here, its own prompt", "#56b4e9", "^"),
        "common": ("measured here, common prompt", "#882255", "D"),
    }
    rows = table.dropna(subset=list(columns), how="all").reset_index(drop=True)
    ax = axes(ax, figsize=(7.2, 1.6 + 0.27 * max(len(rows), 2)))
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
