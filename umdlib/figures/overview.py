"""Figures of comparisons: structures and segmenters at a glance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from umdlib.figures.links import add_targets, case_address, explored, keep_numbers, mark_words
from umdlib.figures.style import (
    Looks,
    axes,
    given_intervals,
    legend_below,
    nothing,
    rows_down,
    segmenter_style,
    stacked_bars,
    words_in_bars,
    wrapped_title,
)
from umdlib.labels import session
from umdlib.statistics.failures import QUADRANTS
from umdlib.statistics.flow import STEPS
from umdlib.statistics.verdicts import FLOOR
from umdlib.tables import gap_text, metric_title, number, segmenter_title, structure_title

_KEYS = ["session", "segmenter", "structure"]
# Light to dark, and hatched where colour would be the only difference.
_QUADRANT_LOOK = {
    "both": ("#dbe9f3", ""),
    "structural_only": ("#0072b2", "///"),
    "pet_only": ("#d55e00", "\\\\\\"),
    "neither": ("#4d4d4d", ""),
}


def forest(comparisons: pd.DataFrame, *, looks: Looks | None = None, ax: Axes | None = None) -> Axes:
    """Mean paired difference with its interval, structures down, one marker per segmenter.

    Parameters
    ----------
    comparisons
        From `umdlib.statistics.comparison.compare`, of one session.
    """
    rows = comparisons[comparisons["estimate"].notna()]
    structures = list(dict.fromkeys(rows["structure"]))
    looks = looks or segmenter_style(comparisons["segmenter"])
    shown = [s for s in dict.fromkeys(comparisons["segmenter"]) if s in set(rows["segmenter"])]
    step = 0.12 + 0.13 * max(len(shown), 2)
    ax = axes(ax, figsize=(7.2, 1.5 + step * max(len(structures), 2)))
    if rows.empty:
        return nothing(ax)
    margin = comparisons.attrs.get("margin", 0.0)
    ax.axvspan(-margin, margin, color="#dddddd", lw=0, zorder=0)
    ax.axvline(0, color="#444444", lw=0.9, zorder=1)
    floor = _floors(rows)
    known = rows.assign(
        sure=rows["p_holm"].lt(0.05) & ~floor,
        **{c: rows[c].where(~floor) for c in ("estimate", "ci_low", "ci_high")},
    )
    if not floor.all():
        given_intervals(ax, known, looks, down="structure", sure="sure")
    y = np.array(_open_rows(ax, rows, shown, structures, comparisons.attrs))
    for segmenter in shown:
        mine = floor & rows["segmenter"].eq(segmenter).to_numpy()
        ax.plot(rows["estimate"][mine], y[mine], ls="none", marker="x", ms=6, color=looks[segmenter]["color"])
    rows_down(ax, map(structure_title, structures))
    for edge in np.arange(0.5, len(structures) - 1):
        ax.axhline(edge, color="#eeeeee", lw=0.8, zorder=0)
    names = " and ".join(session(s).structural for s in comparisons["session"].unique())
    metric = comparisons.attrs.get("metric", "dice")
    sides = "← lower on PET   |   higher on PET →"
    ax.set_xlabel(f"{metric_title(metric)}: PET minus {names}\n{sides}")
    handles = [Line2D([], [], lw=1.8, ms=6, label=segmenter_title(s), **looks[s]) for s in shown]
    look = {"ls": "none", "marker": "o", "ms": 6, "color": "#444444"}
    handles.append(Line2D([], [], label="filled: p < 0.05, corrected (Holm)", **look))
    if floor.any():
        handles.append(Line2D([], [], label=f"{FLOOR}: both at the floor", **look | {"marker": "x"}))
    legend_below(ax, handles=handles)
    return ax


def _floors(rows: pd.DataFrame) -> np.ndarray:
    """Whether the difference of each row is one between two floors."""
    if "at_floor" not in rows:
        return np.zeros(len(rows), bool)
    return rows["at_floor"].fillna(False).astype(bool).to_numpy()


def _open_rows(ax: Axes, rows: pd.DataFrame, shown: list, structures: list, attrs: dict) -> list[float]:
    """Links of a forest's marks to the pairs behind them, and its numbers; the place of each row."""
    apart = 0.7 / len(shown)  # as `given_intervals` has them
    y, addresses = [], []
    for r in rows.to_dict("records"):
        size = gap_text(r["estimate"], r["ci_low"], r["ci_high"], r.get("at_floor")).replace("*", "")
        words = f"{size}, n = {r['n_subjects']:.0f}"
        y.append(
            structures.index(r["structure"]) + apart * (shown.index(r["segmenter"]) - (len(shown) - 1) / 2)
        )
        addresses.append(case_address(mark_words(r, words), r, **explored(attrs, r)))
    add_targets(ax, rows["estimate"], y, addresses)
    keep_numbers(ax, rows[[*_KEYS, "estimate", "ci_low", "ci_high", "n_subjects", "n_pairs"]])
    return y


def slope_chart(overall: pd.DataFrame, *, looks: Looks | None = None, ax: Axes | None = None) -> Axes:
    """Each segmenter's mean on the structural modality and on PET, joined.

    Parameters
    ----------
    overall
        From `umdlib.statistics.comparison.compare` by session and segmenter, of one session.

    Returns
    -------
    matplotlib.axes.Axes
        Names stand at the PET end, kept apart.
    """
    rows = overall[overall["estimate"].notna()].sort_values("mean_pet")
    looks = looks or segmenter_style(overall["segmenter"])
    ax = axes(ax, figsize=(7.2, 4.2))
    if rows.empty:
        return nothing(ax)
    structural = session(overall["session"].iloc[0]).structural
    addresses = []
    for r in rows.to_dict("records"):
        ends = [r["mean_structural"], r["mean_pet"]]
        ax.plot([0, 1], ends, lw=2, ms=8, clip_on=False, **looks[r["segmenter"]])
        words = f"{structural} {number(ends[0])}, PET {number(ends[1])}, n = {r['n_subjects']:.0f}"
        addresses.append(case_address(mark_words(r, words), r, **explored(overall.attrs, r)))
    for x, side in enumerate(("mean_structural", "mean_pet")):
        add_targets(ax, [x] * len(rows), rows[side], addresses)
    low, high = ax.get_ylim()
    heights = _apart(rows["mean_pet"].to_numpy(), (high - low) * 0.06)
    changes = [
        FLOOR if floor else number(r.estimate, sign=True)
        for floor, r in zip(_floors(rows), rows.itertuples(), strict=True)
    ]
    labels = [f"{segmenter_title(s)}  {c}" for s, c in zip(rows["segmenter"], changes, strict=True)]
    for height, label, end in zip(heights, labels, rows["mean_pet"], strict=True):
        ax.annotate(label, (1, end), (1.07, height), va="center", fontsize=9.5)
    ax.set_xticks([0, 1], [structural, "PET"])
    # a letter of a name has a thirteenth of an inch
    wide = max(map(len, labels)) / 13
    ax.set_xlim(-0.15, 1.07 + 1.2 * wide / max(ax.figure.get_figwidth() - 0.8 - wide, 1.5))
    keep_numbers(ax, rows[["session", "segmenter", "mean_structural", "mean_pet", "estimate", "n_subjects"]])
    ax.set_ylabel(f"mean {metric_title(overall.attrs.get('metric', 'dice'))}")
    return ax


def _apart(values: np.ndarray, gap: float) -> np.ndarray:
    """Ascending values moved up as far as needed to lie at least `gap` apart."""
    placed = values.astype(float).copy()
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    return placed - (placed - values).mean() if len(placed) else placed


def failure_quadrants(comparisons: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Share of pairs on which both, one or neither modality works, structures down.

    Parameters
    ----------
    comparisons
        From `umdlib.statistics.comparison.compare` or `umdlib.statistics.failures.quadrants`;
        with several segmenters, of one structure or of all (then segmenters go down).
    """
    rows = comparisons.dropna(subset=list(QUADRANTS))
    several = len(rows["segmenter"].unique()) > 1 or "structure" not in rows
    by = "segmenter" if several else "structure"
    ax = axes(ax, figsize=(7.2, 1.5 + 0.34 * max(len(rows), 2)))
    if rows.empty:
        return nothing(ax)
    names = [(structure_title if by == "structure" else wrapped_title)(n) for n in rows[by]]
    counts = rows[list(_QUADRANT_LOOK)]
    shares = counts.div(counts.sum(axis=1), axis=0).fillna(0)
    looks = {
        key: {"color": colour, "hatch": hatch, "edgecolor": "white", "lw": 0.6, "label": QUADRANTS[key]}
        for key, (colour, hatch) in _QUADRANT_LOOK.items()
    }
    for key, bars in stacked_bars(ax, shares, looks, height=0.72).items():
        shown = [f"{n:.0f}" if part >= 0.03 else "" for n, part in zip(counts[key], shares[key], strict=True)]
        ink = "black" if key == "both" else "white"
        box = {"facecolor": looks[key]["color"], "edgecolor": "none", "pad": 1.2}
        words_in_bars(ax, bars, shown, color=ink, fontsize=9, bbox=box)
    rows_down(ax, names)
    ax.grid(visible=False)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of pairs (numbers: pairs)")
    legend_below(ax, columns=2)
    return ax


def participant_flow(flow: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Subjects at each step from enrolment to analysis, as boxes with what was lost between them.

    Parameters
    ----------
    flow
        From `umdlib.statistics.flow.flow_table`, of one session.

    Returns
    -------
    matplotlib.axes.Axes
        The last two boxes give the range over the segmenters.
    """
    ax = axes(ax, figsize=(5.6, 4.2))
    if flow.empty:
        return nothing(ax)
    heights = np.linspace(0.9, 0.1, len(STEPS))
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "#444444"}
    before = None
    for (step, words), y in zip(STEPS.items(), heights, strict=True):
        ax.text(0.36, y, f"{_span(flow[step])} {words}", ha="center", va="center", bbox=box)
        if before is not None:
            arrow = {"arrowstyle": "-|>", "color": "#444444", "shrinkA": 13, "shrinkB": 13}
            ax.annotate("", (0.36, y), (0.36, before[0]), arrowprops=arrow)
            lost = f"{_span(flow[before[1]] - flow[step])} lost"
            ax.text(0.68, (y + before[0]) / 2, lost, va="center", color="#444444")
        before = (y, step)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_axis_off()
    return ax


def _span(numbers: pd.Series) -> str:
    """One number, or the range of several."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"
