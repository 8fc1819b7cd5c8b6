"""Figures of certainty: clicks, rankings, empty rules, tests that err and intervals that cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from umdlib.figures.style import (
    Looks,
    axes,
    legend_below,
    line_handles,
    nothing,
    rows_down,
    segmenter_style,
    stacked_bars,
    wrapped_title,
)
from umdlib.labels import MODALITIES
from umdlib.statistics.operating_characteristics import INTERVALS
from umdlib.statistics.variance_components import SOURCES
from umdlib.tables import metric_title, segmenter_title


def click_plot(
    curves: pd.DataFrame,
    *,
    metric: str = "dice",
    against: str = "step",
    looks: Looks | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Mean score after each corrective click, solid on the structural modality, dashed on PET.

    Parameters
    ----------
    curves
        From `umdlib.statistics.click_curves.curve_table`, of one session and one protocol per segmenter.
    metric
        Its name.
    against
        ``step`` (corrective clicks) or ``coordinates`` (numbers given, first prompt included).

    Returns
    -------
    matplotlib.axes.Axes
        The marker is the segmenter's; open on PET. Vertical lines are intervals.
    """
    rows = curves[curves["modality"].ne("difference")]
    looks = looks or segmenter_style(curves["segmenter"])
    ax = axes(ax, figsize=(6.6, 4.4))
    curves_shown = list(rows.groupby(["segmenter", "modality"], sort=False))
    places = np.unique(rows[against])
    gap = np.diff(places).min() if len(places) > 1 else 1.0
    for i, ((segmenter, modality), part) in enumerate(curves_shown):
        part = part.sort_values(against)
        pet, look = modality == "PET", looks[segmenter]
        # A little apart, so that the intervals stand beside each other.
        x = part[against] + gap * 0.05 * (i - (len(curves_shown) - 1) / 2)
        ax.vlines(x, part["ci_low"], part["ci_high"], color=look["color"], lw=1.1, alpha=0.8)
        face = {"mec": look["color"], "mfc": "white" if pet else look["color"]}
        ax.plot(x, part["estimate"], ls="--" if pet else "-", **face, **look)
    if 0 < len(places) <= 8:
        ax.set_xticks(places)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel({"step": "corrective clicks", "coordinates": "coordinates given"}[against])
    ax.set_ylabel(f"mean {metric_title(metric)}")
    handles = [Line2D([], [], label=segmenter_title(s), **looks[s]) for s in dict.fromkeys(rows["segmenter"])]
    if legend:
        legend_below(ax, handles=[*handles, *line_handles()])
    return ax


def ranking_stability(ranks: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Share of subject resamples in which each segmenter has each rank, as a grid of areas.

    Parameters
    ----------
    ranks
        From `umdlib.statistics.ranking.rank_segmenters`, of one session and modality.

    Returns
    -------
    matplotlib.axes.Axes
        The disc area is the share; the share is written beside it.
    """
    rows = ranks[ranks["rank"].notna()].sort_values("rank", kind="stable").reset_index(drop=True)
    n = len(rows)
    ax = axes(ax, figsize=(1.9 + 0.95 * max(n, 3), 1.3 + 0.55 * max(n, 2)))
    if n == 0:
        return nothing(ax)
    colour = MODALITIES[rows["modality"].iloc[0]].colour
    for y, shares in enumerate(rows["rank_shares"]):
        for x, share in enumerate(shares):
            if share > 0.0005:
                ax.scatter(x + 1, y, s=620 * share, color=colour, alpha=0.75, lw=0)
                place = {"ha": "center", "va": "center", "textcoords": "offset points"}
                ax.annotate(f"{100 * share:.0f} %", (x + 1, y), (0, -21), fontsize=8, **place)
    ax.set_yticks(range(n), map(wrapped_title, rows["segmenter"]))
    ax.set_ylim(n - 0.4, -0.5)
    ax.set_xticks(range(1, n + 1))
    ax.set_xlim(0.5, n + 0.5)
    ax.set_xlabel("rank (1 is best)")
    return ax


def rule_plot(
    summaries: pd.DataFrame,
    *,
    metric: str = "dice",
    looks: Looks | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """The mean difference of each segmenter under each empty rule, with intervals.

    Parameters
    ----------
    summaries
        Rows of `umdlib.statistics.comparison.compare` by session and segmenter, one set per rule, with `empty`.
    metric
        Its name.
    """
    rows = summaries[summaries["estimate"].notna()]
    rules = list(dict.fromkeys(rows["empty"]))
    looks = looks or segmenter_style(summaries["segmenter"])
    shown = list(rows["segmenter"].unique())
    ax = axes(ax, figsize=(6.6, 3.8))
    ax.axhline(0, color="#444444", lw=0.9)
    for i, segmenter in enumerate(shown):
        part = rows[rows["segmenter"].eq(segmenter)]
        x = np.array([rules.index(r) for r in part["empty"]]) + (i - (len(shown) - 1) / 2) * 0.16
        ax.vlines(x, part["ci_low"], part["ci_high"], color=looks[segmenter]["color"], lw=1.8)
        ax.plot(x, part["estimate"], ls="none", label=segmenter_title(segmenter), **looks[segmenter])
    ax.set_xticks(range(len(rules)), rules)
    ax.set_xlabel("empty rule")
    ax.set_ylabel(f"{metric_title(metric)}\nPET − structural")
    if legend:
        legend_below(ax)
    return ax


def variance_bars(components: pd.DataFrame, *, legend: bool = True, ax: Axes | None = None) -> Axes:
    """Share of each source in the sum of squares, one stacked bar per segmenter.

    Parameters
    ----------
    components
        From `umdlib.statistics.variance_components.component_table`, of one session.

    Returns
    -------
    matplotlib.axes.Axes
        Sources that hold the modality are hatched: together they are the modality's part.
    """
    wide = components.pivot_table(index="segmenter", columns="source", values="share", sort=False)
    wide = wide.reindex(columns=list(SOURCES)).fillna(0.0)
    ax = axes(ax, figsize=(7.2, 2.0 + 0.45 * max(len(wide), 2)))
    looks = {
        source: {"color": colour, "hatch": "///" * ("modality" in source), "label": SOURCES[source]}
        for source, colour in zip(SOURCES, _SOURCE_COLOURS, strict=True)
    }
    stacked_bars(
        ax, wide, {k: look | {"edgecolor": "white", "lw": 0.5} for k, look in looks.items()}, height=0.7
    )
    rows_down(ax, map(wrapped_title, wide.index))
    ax.grid(visible=False)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of the sum of squares")
    if legend:
        legend_below(ax, columns=3)
    return ax


def error_rates(rates: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Simulated rates with their Monte-Carlo interval, against the nominal 5 %.

    Parameters
    ----------
    rates
        From `umdlib.statistics.operating_characteristics.type_one_error`.
    """
    ax = axes(ax, figsize=(7.2, 1.1 + 0.4 * len(rates)))
    y = np.arange(len(rates))
    ax.axvline(0.05, color="black", lw=1.2, ls="--")
    ax.errorbar(rates["rate"], y, xerr=1.96 * rates["error"], fmt="o", color="#0072b2", elinewidth=2)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for place, rate in zip(y, rates["rate"], strict=True):
        where = {"xytext": (14, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(f"{100 * rate:.1f} %", (rate, place), **where, fontsize=9, bbox=box)
    rows_down(ax, rates["test"])
    ax.set_xlim(0, max(1.12 * rates["rate"].max(), 0.1))
    ax.set_xlabel("share of cohorts without a gap that are called significant (nominal 0.05)")
    return ax


def coverage_plot(covered: pd.DataFrame, *, legend: bool = True, ax: Axes | None = None) -> Axes:
    """Coverage of nominal 95 % intervals against the number of subjects.

    Parameters
    ----------
    covered
        From `umdlib.statistics.operating_characteristics.coverage`, of one shape.

    Returns
    -------
    matplotlib.axes.Axes
        One line per interval, with the Monte-Carlo 95 % interval of each point; dashed, what was
        promised; dotted, the share of cohorts that could be covered at all, where it is less.
    """
    names = list(dict.fromkeys(covered["interval"]))
    looks = {n: _INTERVAL_LOOK.get(n, {"color": "#666666", "marker": "x"}) for n in names}
    ax = axes(ax, figsize=(6.6, 4.2))
    ax.axhline(0.95, color="black", lw=1.2, ls="--", zorder=1)
    for name in names:
        part = covered[covered["interval"].eq(name)].sort_values("n_subjects")
        spread = {"yerr": 1.96 * part["error"], "elinewidth": 1.2}
        ax.errorbar(part["n_subjects"], part["rate"], **spread, ms=5, **looks[name])
    limit = covered.drop_duplicates("n_subjects").sort_values("n_subjects")
    if limit["ceiling"].lt(0.95).any():
        ax.plot(limit["n_subjects"], limit["ceiling"], ls=":", color="#444444", lw=1.6)
    ax.set_xscale("log")
    lowest = covered["rate"].min()
    ax.set_ylim(0.74 if lowest > 0.75 else lowest - 0.05, 1.005)
    sizes = sorted(covered["n_subjects"].unique())
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel("subjects")
    ax.set_ylabel("coverage")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    if legend:
        handles = [Line2D([], [], label=INTERVALS.get(n, n), **looks[n]) for n in names]
        handles.append(Line2D([], [], color="black", ls="--", label="promised"))
        legend_below(ax, handles=handles)
    return ax


_SOURCE_COLOURS = (
    "#0072b2",
    "#56b4e9",
    "#d55e00",
    "#a6c8dd",
    "#e8a070",
    "#f2c9ab",
    "#f7e3d6",
    "#666666",
    "#bbbbbb",
)
_INTERVAL_LOOK = {
    "studentised": {"color": "#0072b2", "marker": "o"},
    "bca": {"color": "#d55e00", "marker": "s"},
    "student": {"color": "#7a7a7a", "marker": "^"},
    "order statistics": {"color": "#0072b2", "marker": "o"},
    "median bootstrap": {"color": "#d55e00", "marker": "s"},
}
