"""Figures of pairs: each subject on both modalities, and the difference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from umdlib.errors import InputError
from umdlib.figures.links import add_targets, case_address, explored, keep_numbers, mark_words
from umdlib.figures.style import GREY, axes, legend_below, nothing, rows_down
from umdlib.labels import MODALITIES, Modality, session
from umdlib.scores.empty_rules import score_limits
from umdlib.statistics.bootstrap import interval_of_mean
from umdlib.statistics.pairs import means_over_structures
from umdlib.tables import metric_title, number, structure_title


def _pairs(differences: pd.DataFrame) -> tuple[pd.DataFrame, Modality]:
    """Mean over the pairs of each subject and structure of one session, and the structural modality."""
    rows = differences[differences["state"].eq("paired")]
    sessions = list(rows["session"].unique())
    if len(sessions) > 1:
        raise InputError(f"A figure of pairs shows one session, found {', '.join(sessions)}.")
    means = rows.groupby(["subject", "structure"], sort=False)[["structural", "pet", "difference"]].mean()
    return means, MODALITIES[session(sessions[0]).structural if sessions else "CT"]


def paired_plot(
    differences: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Each subject's two scores joined by a line, beside the differences with their mean.

    Parameters
    ----------
    differences
        Rows of `umdlib.statistics.comparison.paired_differences` of one session, segmenter and structure (or of
        several structures, whose mean in each subject is standardised where it lacks some).
    n_resamples, seed
        Of the bootstrap interval of the mean difference.

    Returns
    -------
    matplotlib.axes.Axes
        Scores on the left scale, differences on the right scale, whose zero is at the level of the
        structural mean.

    Raises
    ------
    InputError
        If the rows are of several sessions.
    """
    cells, structural = _pairs(differences)
    ax = axes(ax, figsize=(5.6, 4.0))
    if cells.empty:
        return nothing(ax)
    rows = means_over_structures(cells, jackknife=False)
    of_mean = means_over_structures(cells[["difference"]])["difference"].to_numpy()
    ax.plot([0, 1], rows[["structural", "pet"]].to_numpy().T, color=GREY, lw=0.7, alpha=0.7)
    for x, side, modality in ((0, "structural", structural), (1, "pet", MODALITIES["PET"])):
        marker = "o" if side == "structural" else "D"
        spots = np.full(len(rows), x)
        ax.scatter(spots, rows[side], s=15, color=modality.colour, marker=marker, zorder=3)
        ax.plot([x - 0.16, x + 0.16], [rows[side].mean()] * 2, color=modality.colour, lw=3)
    metric = differences.attrs.get("metric", "dice")
    _open_subjects(ax, rows, differences, structural.name)
    _difference_axis(ax, rows, interval_of_mean(of_mean, metric, n_resamples, seed)[1:3])
    ax.set_xticks([0, 1, 2], [structural.title, "PET", f"PET − {structural.title}"])
    ax.set_xlim(-0.4, 2.5)
    ax.set_ylabel(metric_title(metric))
    limits = score_limits(metric)
    if limits:  # the scale goes on for the differences, the scores do not
        ticks = [t for t in ax.get_yticks() if limits[0] <= round(t, 9) <= limits[1]]
        low, high = ax.get_ylim()
        ax.set_yticks(ticks)
        ax.set_ylim(low, high)
    return ax


def _open_subjects(ax: Axes, rows: pd.DataFrame, differences: pd.DataFrame, structural: str) -> None:
    """Links of the ends of each subject's line to the subject, and the numbers of all."""
    shown = differences[differences["state"].eq("paired")]
    keys = ("session", "segmenter", "structure", "prompt", "step")
    one = {k: shown[k].iloc[0] for k in keys if shown[k].eq(shown[k].iloc[0]).all()}
    addresses = []
    for subject, r in rows.iterrows():
        numbers = f"{structural} {number(r['structural'])}, PET {number(r['pet'])}"
        row = {**one, "subject": subject}
        addresses.append(case_address(mark_words(row, numbers), row, **explored(differences.attrs, row)))
    for x, side in enumerate(("structural", "pet")):
        add_targets(ax, [x] * len(rows), rows[side], addresses)
    keep_numbers(ax, rows.reset_index().assign(**one))


def _difference_axis(ax: Axes, rows: pd.DataFrame, ends: tuple[float, float]) -> None:
    """Differences and their mean with its interval, on a scale at the right."""
    values, (low, high) = rows["difference"].to_numpy(), ends
    base = rows["structural"].mean()
    right = ax.secondary_yaxis("right", functions=(partial(np.add, -base), partial(np.add, base)))
    right.set_ylabel("paired difference")
    right.spines["right"].set_visible(True)
    spots = 1.85 + _spread(values, 0.09)
    ax.scatter(spots, base + values, s=13, color=GREY, zorder=2)
    ax.plot([1.6, 2.4], [base, base], color="#444444", lw=0.9, ls="--", zorder=1)
    if np.isfinite(low):
        ax.plot([2.15, 2.15], [base + low, base + high], color="black", lw=2.4, zorder=3)
    ax.plot(2.15, base + values.mean(), "o", color="black", ms=7, zorder=4)


def _spread(values: np.ndarray, width: float) -> np.ndarray:
    """Sideways offsets that keep neighbouring points apart, the same at every drawing."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return width * np.array([-1.0, 0.35, -0.35, 1.0])[order % 4]


def bland_altman(differences: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Difference against mean of the two scores, with mean difference (band: its interval) and limits of agreement.

    Parameters
    ----------
    differences
        Rows of `umdlib.statistics.comparison.paired_differences` of one session; several structures are points of
        their own.

    Notes
    -----
    Bland and Altman (1986), https://doi.org/10.1016/S0140-6736(86)90837-8. The limits hold 95 % of
    the differences only where these are normal and one per subject.
    """
    rows, structural = _pairs(differences)
    ax = axes(ax, figsize=(6.0, 4.2))
    if rows.empty:
        return nothing(ax)
    metric = differences.attrs.get("metric", "dice")
    means = (rows["structural"] + rows["pet"]) / 2
    ax.scatter(means, rows["difference"], s=14, color=MODALITIES["PET"].colour, alpha=0.7, lw=0)
    per_subject = means_over_structures(rows[["difference"]])["difference"].to_numpy()
    mean, sd = per_subject.mean(), rows["difference"].std()
    if len(per_subject) > 1:
        ends = interval_of_mean(per_subject, metric, 10_000, 0)[1:3]
        ax.axhspan(*ends, color="#bbbbbb", alpha=0.45, lw=0, zorder=0)
    ax.axhline(0, color="#444444", lw=0.8)
    for level, name in ((mean, "mean"), (mean - 1.96 * sd, "−1.96 SD"), (mean + 1.96 * sd, "+1.96 SD")):
        if np.isfinite(level):
            ax.axhline(level, color="black", lw=1.4, ls="-" if name == "mean" else "--")
            where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
            ax.annotate(f"{name} {number(level, 2, sign=True)}", (1, level), (-4, 3), fontsize=9, **where)
    ax.set_xlabel(f"mean {metric_title(metric)} of {structural.title} and PET")
    ax.set_ylabel(f"PET − {structural.title}")
    return ax


def distributions(
    differences: pd.DataFrame,
    *,
    ceilings: pd.DataFrame | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Score distribution of every structure on both modalities: box with every subject as a point.

    Parameters
    ----------
    differences
        Rows of `umdlib.statistics.comparison.paired_differences` of one session and segmenter.
    ceilings
        From `umdlib.tables.beside_scores`: a line at each, one style per kind.

    Returns
    -------
    matplotlib.axes.Axes
        Structures down; the box is median and quartiles, its whiskers reach 1.5 box lengths.
    """
    rows, structural = _pairs(differences)
    structures = list(dict.fromkeys(rows.index.get_level_values("structure")))
    ax = axes(ax, figsize=(7.2, 1.1 + 0.5 * max(len(structures), 1)))
    if rows.empty:
        return nothing(ax)
    sides = ((-0.19, "structural", structural, "o"), (0.19, "pet", MODALITIES["PET"], "D"))
    for shift, side, modality, marker in sides:
        groups = [rows.xs(s, level="structure")[side].to_numpy() for s in structures]
        places = np.arange(len(groups)) + shift
        box = {"facecolor": modality.colour, "alpha": 0.3, "lw": 0.8}
        shape = {
            "orientation": "horizontal",
            "widths": 0.3,
            "sym": "",
            "manage_ticks": False,
            "patch_artist": True,
        }
        ax.boxplot(groups, positions=places, medianprops={"color": "black", "lw": 1.6}, boxprops=box, **shape)
        look = {"s": 8, "color": modality.colour, "marker": marker, "lw": 0, "zorder": 3}
        for place, values in zip(places, groups, strict=True):
            ax.scatter(values, place + _spread(values, 0.08), **look)
    rows_down(ax, map(structure_title, structures))
    ax.set_xlabel(metric_title(differences.attrs.get("metric", "dice")))
    dice = differences.attrs.get("metric", "dice") == "dice"  # ceilings are of no other metric
    styles = _ceiling_lines(ax, ceilings, structures) if ceilings is not None and dice else []
    if legend:
        pet = MODALITIES["PET"].colour
        handles = [
            Line2D([], [], ls="", marker="o", color="#444444", label="structural (upper)"),
            Line2D([], [], ls="", marker="D", color=pet, label="PET (lower)"),
            *styles,
        ]
        legend_below(ax, handles=handles)
    return ax


def _ceiling_lines(ax: Axes, ceilings: pd.DataFrame, structures: list[str]) -> list[Line2D]:
    """A short line at the ceiling of each structure and modality; entries of a legend."""
    styles = []
    for style, (title, part) in zip(("-", ":", "--"), ceilings.groupby("title", sort=False), strict=False):
        look = {"color": "black", "lw": 1.6, "ls": style}
        for r in part[part["structure"].isin(structures)].itertuples():
            y = structures.index(r.structure) + (0.19 if r.modality == "PET" else -0.19)
            ax.vlines(r.ceiling, y - 0.17, y + 0.17, zorder=4, **look)
        styles.append(Line2D([], [], label=str(title), **look))
    return styles
