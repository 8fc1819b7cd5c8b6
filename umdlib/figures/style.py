"""The look of every figure: style sheet, colours and markers, axes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from importlib import resources

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D

from umdlib.tables.titles import segmenter_title

# Okabe & Ito (2008) and two of Tol's (2021), none of them a modality's; markers show the rest.
SEGMENTER_COLOURS = (
    "#000000",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#882255",
    "#666666",
    "#999933",
    "#332288",
    "#661100",
)
_SEGMENTER_MARKERS = "osD^vPX<>"
GREY = "#8a8a8a"


def style_sheet() -> str:
    """Path of the book's matplotlib style."""
    return str(resources.files("umdlib.figures") / "style.mplstyle")


# Segmenter -> colour and marker, as `segmenter_style` gives it for all of a run.
Looks = Mapping[str, Mapping[str, str]]


def use_style() -> None:
    """Make the book's look the default of matplotlib in this process."""
    mpl.style.use(style_sheet())


def segmenter_style(segmenters: Iterable[str], then: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """Colour and marker of each segmenter: nine colours, then the same with other markers.

    A page makes one mapping of all segmenters of its run and gives it to each of its figures.

    Parameters
    ----------
    segmenters
        Names, in any order and number.
    then
        Further ones, whose looks come after those.

    Examples
    --------
    >>> segmenter_style(["b", "a"])["a"]
    {'color': '#000000', 'marker': 'o'}
    """
    first, then = (sorted(set(s.unique() if isinstance(s, pd.Series) else s)) for s in (segmenters, then))
    return {
        name: {
            "color": SEGMENTER_COLOURS[i % len(SEGMENTER_COLOURS)],
            # a colour that comes again has another marker
            "marker": _SEGMENTER_MARKERS[(i + i // len(SEGMENTER_COLOURS)) % len(_SEGMENTER_MARKERS)],
        }
        for i, name in enumerate(dict.fromkeys([*first, *then]))
    }


def axes(ax: Axes | None, **figure: object) -> Axes:
    """The axes given, or new ones in the book's style."""
    return _subplots(**figure) if ax is None else ax


def _subplots(**options: object) -> object:
    """New axes in the book's style."""
    with mpl.style.context(style_sheet()):
        new = plt.subplots(**options)[1]
        # The first figure of a Jupyter kernel makes pyplot interactive. Leaving the style would
        # undo that, and no later figure would be shown.
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)
    return new


def given_intervals(ax: Axes, rows: pd.DataFrame, looks: Looks, *, down: str, sure: str = "") -> None:
    """Draw estimates with intervals that are given, a marker per segmenter, beside each other in each row.

    Parameters
    ----------
    ax
        Axes; the categories of `down` become rows 0, 1, … in their order.
    rows
        ``segmenter``, ``estimate``, ``ci_low``, ``ci_high`` (NaN where there is none) and `down`; an estimate that is
        NaN has its row and no mark.
    looks
        Colour and marker of each segmenter.
    down
        Column that names the row.
    sure
        Boolean column: a marker is filled where it is true; all are without one.
    """
    import seaborn as sns  # slow to import, and few pages draw intervals

    shown = list(dict.fromkeys(rows["segmenter"]))
    columns = [rows["estimate"], *(rows[c].fillna(rows["estimate"]) for c in ("ci_low", "ci_high"))]
    values = pd.concat([rows.assign(value=column) for column in columns], ignore_index=True)
    layout = {
        "x": "value",
        "y": down,
        "order": list(dict.fromkeys(rows[down])),
        "hue": "segmenter",
        "hue_order": shown,
        "palette": [looks[s]["color"] for s in shown],
        "markers": [looks[s]["marker"] for s in shown],
        "dodge": 0.7 * (len(shown) - 1) / len(shown) if len(shown) > 1 else False,
        "linestyle": "none",
        "legend": False,
        "markersize": 6,
        "ax": ax,
    }
    bars = {"errorbar": lambda v: (v.iloc[1], v.iloc[2]), "err_kws": {"linewidth": 1.8}}
    face = {"markerfacecolor": "white"} if sure else {}
    sns.pointplot(values, **layout, **bars, estimator=lambda v: v.iloc[0], **face)
    if sure and rows[sure].any():
        sns.pointplot(rows[rows[sure]].assign(value=lambda t: t["estimate"]), **layout, errorbar=None)
    ax.set_ylabel("")


def stacked_bars(
    ax: Axes, parts: pd.DataFrame, looks: Mapping[str, Mapping], *, height: float
) -> dict[str, BarContainer]:
    """Draw the columns of a table as horizontal bars end to end, its rows down.

    Parameters
    ----------
    ax
        Axes.
    parts
        Lengths; a column is a part of every bar.
    looks
        Column to options of its bars; the column's name is their label unless they have another.
    height
        Of a bar; the rows are 1 apart.

    Returns
    -------
    dict
        Column to its bars.
    """
    starts = parts.cumsum(axis=1).shift(axis=1, fill_value=0)
    return {
        name: ax.barh(
            range(len(parts)), parts[name], left=starts[name], height=height, **{"label": name, **looks[name]}
        )
        for name in parts
    }


def words_in_bars(ax: Axes, bars: BarContainer, words: Iterable[str], **look: object) -> None:
    """Write a word into the middle of each bar."""
    for bar, word in zip(bars, words, strict=True):
        middle = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
        ax.text(*middle, word, ha="center", va="center", **look)


def rows_down(ax: Axes, labels: Iterable[str]) -> None:
    """Label rows 0, 1, … of the y axis, the first on top, with a grid across them."""
    labels = list(labels)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")


def legend_below(ax: Axes, *, columns: int = 4, handles: list | None = None) -> None:
    """A legend under the axes, where it hides nothing; none without an entry.

    `columns` at most; fewer where long labels would leave the figure.
    """
    if handles is None:
        handles = ax.get_legend_handles_labels()[0]
    if handles:
        # about 14 letters of the legend's size in an inch, five more for handle and space
        longest = 5 + max(len(str(handle.get_label())) for handle in handles)
        fitting = max(int(14 * ax.figure.get_figwidth() / longest), 1)
        ncols = min(columns, fitting, len(handles))
        ax.figure.legend(handles=handles, loc="outside lower center", ncols=ncols)


def wrapped_title(segmenter: str, width: int = 24) -> str:
    """Title of a segmenter in lines of `width` letters at most, for an axis."""
    return textwrap.fill(segmenter_title(segmenter), width, break_long_words=False)


def panels(rows: int, columns: int, *, width: float, height: float, used: int | None = None) -> list[Axes]:
    """Axes side by side in the book's style, row by row.

    Parameters
    ----------
    rows, columns
        Of the grid; at least one of either is made.
    width, height
        Of one panel, inches.
    used
        Number of axes kept, the rest is removed; all by default.
    """
    rows, columns = max(rows, 1), max(columns, 1)
    size = (width * columns + 0.4, height * rows + 0.6)
    every = list(_subplots(nrows=rows, ncols=columns, squeeze=False, figsize=size).flat)
    for surplus in every[used:] if used else []:
        surplus.remove()
    if used == 0:
        nothing(every[0])
    return every[:used]


def nothing(ax: Axes, words: str = "nothing was scored that this figure could show") -> Axes:
    """Axes that say why they are empty."""
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, style="italic")
    ax.set_axis_off()
    return ax


def line_handles() -> list[Line2D]:
    """Handles of the two lines of `click_plot`, for a legend under panels of one segmenter each."""
    lines = (("structural", "-"), ("PET", "--"))
    return [Line2D([], [], color="#444444", ls=ls, label=label) for label, ls in lines]
