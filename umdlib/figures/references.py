"""Figures of supervised references: loss curves, excess gaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdlib.figures.style import axes, legend_below, rows_down, segmenter_style
from umdlib.labels import MODALITIES
from umdlib.statistics import reference_gap as supervised
from umdlib.tables import metric_title, structure_title


def loss_curves(
    logs: Mapping[str, pd.DataFrame],
    modalities: Mapping[str, str],
    *,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Training loss of each network against CPU minutes.

    Parameters
    ----------
    logs
        Name -> log with columns ``loss`` and ``cpu_s`` (per epoch).
    modalities
        Name -> modality, whose colour the line has; lines of one modality differ by dashes.
    legend
        Whether it is drawn, below the figure: of several panels one has it.
    ax
        Axes to draw on; None makes them.
    """
    ax = axes(ax, figsize=(6.4, 4.0))
    dashes, used = ("-", "--", ":", "-."), {}
    for name, log in logs.items():
        modality = modalities[name]
        line = dashes[used.setdefault(modality, 0) % len(dashes)]
        used[modality] += 1
        ax.plot(
            log["cpu_s"].cumsum() / 60,
            log["loss"],
            lw=1.7,
            ls=line,
            label=name,
            color=MODALITIES[modality].colour,
        )
    ax.set_xlabel("CPU minutes")
    ax.set_ylabel("loss of the training batches")
    if legend:
        legend_below(ax, columns=2)
    return ax


def excess_plot(excess: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Gap of each segmenter beside the reference's, and the excess with its interval.

    Parameters
    ----------
    excess
        From `umdlib.statistics.reference_gap.excess_gap` of one session: by segmenter, or by segmenter and
        structure (then structures go down).
    ax
        Axes to draw on; None makes them.
    """
    rows = excess[excess["estimate"].notna()]
    by = "structure" if "structure" in rows else "segmenter"
    names = list(dict.fromkeys(rows[by]))
    looks = segmenter_style(rows["segmenter"])
    shown = list(dict.fromkeys(rows["segmenter"]))
    ax = axes(ax, figsize=(7.2, 1.6 + 0.42 * max(len(names), 2)))
    ax.axvline(0, color="#444444", lw=0.9)
    for i, segmenter in enumerate(shown):
        part = rows[rows["segmenter"].eq(segmenter)]
        shift = (i - (len(shown) - 1) / 2) * 0.7 / len(shown) if by == "structure" else 0
        y = np.array([names.index(n) for n in part[by]]) + shift
        ax.hlines(y, part["ci_low"], part["ci_high"], color=looks[segmenter]["color"], lw=1.8)
        ax.scatter(part["estimate"], y, s=34, zorder=3, label=supervised.title(segmenter), **looks[segmenter])
    written = structure_title if by == "structure" else supervised.title
    rows_down(ax, map(written, names))
    metric = metric_title(excess.attrs.get("metric", "dice"))
    reference = supervised.title(excess.attrs.get("reference", "the reference"))
    ax.set_xlabel(f"{metric}: gap minus that of {reference}")
    if by == "structure":
        legend_below(ax)
    return ax
