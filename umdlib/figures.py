"""Figures of paired comparisons, each a function from a table to axes."""

from __future__ import annotations

from importlib import resources

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdlib import resampling
from umdlib.errors import InputError
from umdlib.labels import MODALITIES, session
from umdlib.tables import metric_title, structure_title

# Okabe & Ito (2008) without the modality colours; the marker tells the rest.
_SEGMENTER_COLOURS = ("#000000", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#666666", "#a6761d")
_SEGMENTER_MARKERS = "osD^vPX<>"


def use_style() -> None:
    """Make the book's look the default of matplotlib in this process."""
    mpl.style.use(str(resources.files("umdlib") / "style.mplstyle"))


def segmenter_style(segmenters: list[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of each segmenter; the marker alone tells up to nine of them apart."""
    names = sorted(set(segmenters))
    return {
        name: {
            "color": _SEGMENTER_COLOURS[i % len(_SEGMENTER_COLOURS)],
            "marker": _SEGMENTER_MARKERS[i % len(_SEGMENTER_MARKERS)],
        }
        for i, name in enumerate(names)
    }


def _axes(ax: Axes | None, **figure: object) -> Axes:
    """The axes given, or new ones in the book's style."""
    if ax is not None:
        return ax
    with mpl.style.context(str(resources.files("umdlib") / "style.mplstyle")):
        return plt.subplots(**figure)[1]


def paired_plot(
    differences: pd.DataFrame,
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Each subject's two scores joined by a line, beside the differences with their mean.

    Parameters
    ----------
    differences
        Rows of `umdlib.paired.paired_differences` of one session, segmenter and structure (or of
        several structures, which are averaged within subject).
    n_resamples, seed
        Of the bootstrap interval of the mean difference.
    ax
        Axes to draw on; None makes them.

    Returns
    -------
    matplotlib.axes.Axes
        Scores on the left scale, differences on the right scale, whose zero is at the level of the
        structural mean.
    """
    rows = differences[differences["state"].eq("paired")]
    if len(rows["session"].unique()) != 1:
        raise InputError("A paired plot shows one session with at least one pair.")
    rows = rows.groupby("subject")[["structural", "pet", "difference"]].mean()
    structural, pet = (
        MODALITIES[session(differences["session"].iloc[0]).structural],
        MODALITIES["PET"],
    )
    ax = _axes(ax, figsize=(5.6, 4.0))
    for _, row in rows.iterrows():
        ax.plot(
            [0, 1], [row["structural"], row["pet"]], color="#888888", lw=0.7, alpha=0.6, zorder=1
        )
    for x, side, modality in ((0, "structural", structural), (1, "pet", pet)):
        ax.scatter(np.full(len(rows), x), rows[side], s=14, color=modality.colour, zorder=2)
        ax.plot(
            [x - 0.14, x + 0.14], [rows[side].mean()] * 2, color=modality.colour, lw=3, zorder=3
        )
    _difference_axis(ax, rows, n_resamples, seed)
    ax.set_xticks([0, 1, 2], [structural.title, "PET", f"PET − {structural.title}"])
    ax.set_xlim(-0.4, 2.5)
    ax.set_ylabel(metric_title(differences.attrs.get("metric", "dice")))
    return ax


def _difference_axis(ax: Axes, rows: pd.DataFrame, n_resamples: int, seed: int) -> None:
    """Differences and their mean with interval, on a scale at the right."""
    values = rows[["difference"]].to_numpy()
    counts = resampling.resample_counts(len(values), n_resamples, np.random.default_rng(seed))
    low, high = resampling.bca_interval(values, counts)
    base = rows["structural"].mean()
    right = ax.secondary_yaxis("right", functions=(lambda y: y - base, lambda d: d + base))
    right.set_ylabel("paired difference")
    spots = np.random.default_rng(0).uniform(-0.09, 0.09, len(values)) + 1.85
    ax.scatter(spots, base + values[:, 0], s=12, color="#888888", zorder=2)
    ax.plot([1.6, 2.4], [base, base], color="#444444", lw=0.8, ls="--", zorder=1)
    mean = float(values.mean())
    ax.plot([2.15, 2.15], [base + low[0], base + high[0]], color="black", lw=2.4, zorder=3)
    ax.plot(2.15, base + mean, "o", color="black", ms=7, zorder=4)


def forest(
    comparisons: pd.DataFrame, *, margin: float | None = None, ax: Axes | None = None
) -> Axes:
    """Mean paired difference with its interval, structures down, one marker per segmenter.

    Parameters
    ----------
    comparisons
        From `umdlib.paired.compare`, of one session.
    margin
        Equivalence margin, drawn as a band; None takes the table's own.
    ax
        Axes to draw on; None makes them.

    Returns
    -------
    matplotlib.axes.Axes
        Filled markers: significant at 0.05 after Holm's correction.
    """
    rows = comparisons[comparisons["estimate"].notna()]
    structures = list(dict.fromkeys(rows["structure"]))
    looks = segmenter_style(list(comparisons["segmenter"]))
    ax = _axes(ax, figsize=(7.2, 1.2 + 0.42 * max(len(structures), 3)))
    margin = comparisons.attrs.get("margin", 0.0) if margin is None else margin
    ax.axvspan(-margin, margin, color="#dddddd", lw=0, zorder=0)
    ax.axvline(0, color="#444444", lw=0.9, zorder=1)
    shown = [s for s in looks if s in set(rows["segmenter"])]
    for i, segmenter in enumerate(shown):
        part = rows[rows["segmenter"].eq(segmenter)]
        shift = (i - (len(shown) - 1) / 2) * 0.7 / max(len(shown), 1)
        _forest_rows(ax, part, structures, shift, looks[segmenter], segmenter)
    ax.set_yticks(range(len(structures)), [structure_title(s) for s in structures])
    ax.set_ylim(len(structures) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
    ax.set_xlabel(f"{metric_title(comparisons.attrs.get('metric', 'dice'))}, PET minus structural")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=min(len(shown), 4) or 1)
    return ax


def _forest_rows(
    ax: Axes, part: pd.DataFrame, structures: list[str], shift: float, look: dict, label: str
) -> None:
    """Interval and marker of one segmenter on every structure."""
    y = np.array([structures.index(s) for s in part["structure"]]) + shift
    ax.hlines(y, part["ci_low"], part["ci_high"], color=look["color"], lw=1.8, zorder=2)
    sure = part["p_holm"].lt(0.05).to_numpy()
    for filled in (True, False):
        ax.scatter(
            part["estimate"][sure == filled], y[sure == filled], s=36, zorder=3,
            marker=look["marker"], edgecolor=look["color"],
            facecolor=look["color"] if filled else "white",
            label=label if filled else None,
        )  # fmt: skip
