"""Figures of trained networks: the 3 × 2 design, class boxes, domains, new targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from umdlib.figures.style import GREY, axes, legend_below, rows_down
from umdlib.figures.training import LOOKS
from umdlib.labels import MODALITIES, session
from umdlib.scores.empty_rules import score_limits
from umdlib.statistics.factorial import TRAINED_ON
from umdlib.statistics.pairs import means_over_structures
from umdlib.tables import metric_title, structure_title


def design_plot(
    table: pd.DataFrame,
    *,
    seeds: pd.DataFrame | None = None,
    metric: str = "dice",
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Score on either image after each training: lines that cross are an interaction."""
    ax = axes(ax, figsize=(4.6, 3.9))
    for n, trained_on in enumerate(d for d in TRAINED_ON if d in set(table["trained_on"])):
        part = table[table["trained_on"].eq(trained_on)]
        x = part["side"].eq("pet").to_numpy() + 0.05 * (n - 1)
        look = LOOKS[trained_on]
        ax.vlines(x, part["ci_low"], part["ci_high"], color=look["color"], lw=1.8)
        ax.plot(x, part["estimate"], label=TRAINED_ON[trained_on], ms=7, **look)
        if seeds is not None:
            mine = seeds[seeds["trained_on"].eq(trained_on)]
            spots = mine["side"].eq("pet") + 0.05 * (n - 1) + 0.07
            small = {"s": 16, "facecolors": "white", "edgecolors": look["color"], "linewidths": 1.2}
            ax.scatter(spots, mine["score"], marker=look["marker"], **small, zorder=3)
    structural = session(table["session"].iloc[0]).structural
    ax.set_xticks([0, 1], [f"tested on {structural}", "tested on PET"])
    ax.set_xlim(-0.3, 1.3)
    ax.set_ylim(score_limits(metric))
    ax.set_ylabel(f"mean {metric_title(metric)}")
    if legend:
        legend_below(ax)
    return ax


def effect_plot(contrasts: pd.DataFrame) -> Axes:
    """Contrasts with their intervals, one row each; colour and marker show the session."""
    names = list(dict.fromkeys(contrasts["contrast"]))
    sessions = list(dict.fromkeys(contrasts["session"]))
    ax = axes(None, figsize=(6.4, 1.2 + 0.42 * len(names)))
    ax.axvline(0, color="#444444", lw=0.9)
    for n, name in enumerate(sessions):
        structural = session(name).structural
        colour, marker = MODALITIES[structural].colour, "oD"[n % 2]
        part = contrasts[contrasts["session"].eq(name)].set_index("contrast").reindex(names)
        y = np.arange(len(names)) + 0.22 * (n - (len(sessions) - 1) / 2)
        ax.hlines(y, part["ci_low"], part["ci_high"], color=colour, lw=1.8)
        ax.plot(part["estimate"], y, ls="none", marker=marker, color=colour, label=session(name).title)
    rows_down(ax, names)
    metric = metric_title(contrasts.attrs.get("metric", "dice"))
    ax.set_xlabel(f"difference in {metric}, 95 % interval over subjects")
    legend_below(ax)
    return ax


def class_boxes(
    classes: pd.DataFrame, *, metric: str = "dice", legend: bool = True, ax: Axes | None = None
) -> Axes:
    """One box per system over the structures' mean scores: the form of SegAnyPET's figure 2a."""
    labels = list(dict.fromkeys(classes["label"]))
    structural = MODALITIES[session(classes["session"].iloc[0]).structural]
    ax = axes(ax, figsize=(7.2, 1.2 + 0.5 * len(labels)))
    sides = ((-0.18, structural), (0.18, MODALITIES["PET"]))
    for shift, modality in sides:
        rows = classes[classes["modality"].eq(modality.name)]
        groups = [rows.loc[rows["label"].eq(label), "score"].dropna() for label in labels]
        ax.boxplot(
            groups,
            positions=np.arange(len(labels)) + shift,
            orientation="horizontal",
            widths=0.3,
            manage_ticks=False,
            patch_artist=True,
            medianprops={"color": "black", "lw": 1.6},
            flierprops={"marker": "o", "ms": 4, "mfc": modality.colour, "mec": "none"},
            boxprops={"facecolor": modality.colour, "alpha": 0.35, "lw": 0.8},
        )
    rows_down(ax, labels)
    ax.set_xlim(score_limits(metric))
    ax.set_xlabel(f"{metric_title(metric)}, mean over subjects of each structure")
    if legend:
        handles = [
            Line2D([], [], lw=7, alpha=0.45, color=m.colour, label=m.title) for m in MODALITIES.values()
        ]
        legend_below(ax, handles=handles)
    return ax


def domain_plot(table: pd.DataFrame, titles: Mapping[str, str]) -> Axes:
    """Score of each training in every domain, on its own modality and on the other."""
    ax = axes(None, figsize=(7.2, 4.0))
    metric = table.attrs.get("metric", "dice")
    parts = table.groupby(["domain", "trained_on", "modality"])
    means = {k: means_over_structures(p.set_index(["number", "structure"])[["score"]]) for k, p in parts}
    table = pd.concat(means, names=["domain", "trained_on", "modality"]).reset_index()
    shown = [d for d in titles if d in set(table["domain"])]
    groups = [(d, pet) for d in TRAINED_ON for pet in (False, True)]
    for n, (trained_on, pet) in enumerate(groups):
        look, dx = LOOKS[trained_on], 0.12 * (n - (len(groups) - 1) / 2)
        mine = table[table["trained_on"].eq(trained_on) & table["modality"].eq("PET").eq(pet)]
        face = "white" if pet else look["color"]
        for x, domain in enumerate(shown):
            values = mine.loc[mine["domain"].eq(domain), "score"]
            ax.scatter(np.full(len(values), x + dx), values, s=8, color=GREY, zorder=2)
            ax.plot(x + dx, values.mean(), marker=look["marker"], mec=look["color"], mfc=face, ms=8, zorder=3)
    ax.set_xticks(range(len(shown)), [titles[d] for d in shown])
    ax.set_ylim(score_limits(metric))
    ax.set_ylabel(f"mean {metric_title(metric)} over structures")
    handles = [Line2D([], [], ls="none", label=f"trained on {TRAINED_ON[d]}", **LOOKS[d]) for d in TRAINED_ON]
    handles += [
        Line2D([], [], ls="none", marker="o", color=GREY, label="tested on the structural image"),
        Line2D([], [], ls="none", marker="o", mec=GREY, mfc="white", color=GREY, label="tested on PET"),
    ]
    legend_below(ax, handles=handles, columns=3)
    return ax


def withheld_plot(pairs: pd.DataFrame, *, legend: bool = True, ax: Axes | None = None) -> Axes:
    """Each structure's mean score with and without it in the training; the withheld ones on top."""
    means = pairs.groupby("structure", sort=False)[["withheld", "full", "fewer"]].mean()
    means = means.sort_values(["withheld", "full"], ascending=[False, True], kind="stable")
    ax = axes(ax, figsize=(7.0, 1.2 + 0.32 * len(means)))
    y, look = np.arange(len(means)), LOOKS["pet"]
    ax.hlines(y, means["full"], means["fewer"], color=GREY, lw=1.4)
    ax.plot(means["full"], y, ls="none", ms=7, label="trained on all structures", **look)
    ax.plot(
        means["fewer"],
        y,
        ls="none",
        ms=7,
        mfc="white",
        label="trained without the withheld",
        marker=look["marker"],
        color=look["color"],
    )
    ax.axhline(means["withheld"].sum() - 0.5, color="#444444", lw=0.9, ls=":")
    rows_down(ax, (structure_title(s) + (", withheld" if w else "") for s, w in means["withheld"].items()))
    metric = pairs.attrs.get("metric", "dice")
    ax.set_xlim(score_limits(metric))
    ax.set_xlabel(f"{metric_title(metric)} on PET, mean over subjects")
    if legend:
        legend_below(ax)
    return ax
