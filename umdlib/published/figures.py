"""Figures drawn from the papers' own numbers; each function draws on `ax`, or axes of its own, and returns it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from umdlib.figures.links import keep_numbers
from umdlib.figures.narrow import WIDTH, set_narrow
from umdlib.figures.style import legend_below
from umdlib.labels import MODALITIES
from umdlib.published.explorer import condition_title, pick
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.pairing import DESIGNS, World
from umdlib.published.printed import fact, read
from umdlib.published.significance import paired_p

# One colour per segmenter; Paul Tol's "muted" scheme (2021), safe in colour vision deficiencies.
SEGMENTER_COLOURS = {
    "sam_med3d_turbo": "#332288",
    "segvol": "#999933",
    "nninteractive": "#cc6677",
    "vista3d": "#88ccee",
    "sat_pro": "#ddcc77",
    "nnunet": "#555555",
    "segresnet": "#999999",
    "stunet": "#bbbbbb",
    "swinunetr": "#dddddd",
    "sam": "#44aa99",
    "medsam": "#117733",
    "seganypet": "#882255",
    "seganypet_lesion": "#aa4499",
}
_INK = "#222222"


def _axes(width: float, height: float) -> Axes:
    """Axes of a new figure, in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def modality_dumbbells(wide: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Means of one system on both modalities, a line per structure; bars are ± 1 SD."""
    ax = ax or _axes(5, 4.4)
    rows = list(dict.fromkeys(wide["row"]))
    y = {name: len(rows) - 1 - i for i, name in enumerate(rows)}
    for _, pair in wide.groupby("row"):
        ax.plot(pair["mean"], [y[r] for r in pair["row"]], color="#999999", lw=2, zorder=1)
    for name, own in wide.groupby("modality"):
        shift = -0.12 if name == "PET" else 0.12
        ax.errorbar(
            own["mean"],
            [y[r] + shift for r in own["row"]],
            xerr=[np.minimum(own["sd"], own["mean"]), np.minimum(own["sd"], 1 - own["mean"])],
            fmt="D" if name == "PET" else "o",
            color=MODALITIES[name].colour,
            ms=5,
            elinewidth=1,
            label=MODALITIES[name].title,
        )
    names = wide.drop_duplicates("row")["structure"].map(STRUCTURES)
    ax.set(xlim=(-0.02, 1.02), xlabel="DSC", yticks=list(y.values()), yticklabels=names)
    ax.set_title(MODELS[wide["segmenter"].iloc[0]], fontsize=10)
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    sns.despine(ax=ax)
    return ax


def dumbbell_panels(wide: pd.DataFrame) -> np.ndarray:
    """Draw `modality_dumbbells` of every system of a session, and the legend in the last panel."""
    axes, narrow = _dumbbell_grid(wide, 2, 3, (9, 8.4)), _dumbbell_grid(wide, 3, 2, (WIDTH, 9))
    for ax in narrow.flat:
        ax.set(xticks=[0, 0.5, 1])
        ax.tick_params(labelsize=8)
        ax.set_title(ax.get_title(loc="left"), fontsize=9)
    keep_numbers(axes[0, 0], wide[["segmenter", "structure", "modality", "mean", "sd"]])
    set_narrow(axes[0, 0], narrow[0, 0])
    return axes


def _dumbbell_grid(wide: pd.DataFrame, rows: int, columns: int, size: tuple[float, float]) -> np.ndarray:
    """One form of the panels."""
    _, axes = plt.subplots(rows, columns, figsize=size, sharey=True, layout="constrained")
    for (_, own), ax in zip(wide.groupby("segmenter", sort=False), axes.flat, strict=False):
        modality_dumbbells(own, ax)
    axes[-1, -1].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", frameon=False)
    axes[-1, -1].axis("off")
    return axes


def quartile_boxes(wide: pd.DataFrame) -> Axes:
    """Boxes from printed quartiles: the box is Q1 to Q3, the line the median, nothing else.

    Parameters
    ----------
    wide
        Cells with `median`, `q1`, `q3`: structures side by side, systems within them. Phones have them lie down.
    """
    wide = wide[wide["median"].notna()]
    structures = list(dict.fromkeys(wide["structure"]))
    systems = list(dict.fromkeys(zip(wide["segmenter"], wide["prompt"], strict=True)))
    names = [STRUCTURES[s].replace(", ", "\n") for s in structures]
    low, high = wide["q1"].min(), wide["q3"].max()
    limits = (low - 0.05 * (high - low), high + 0.05 * (high - low))
    ax = _axes(11, 4.2 + 0.2 * -(-len(systems) // 5))
    _draw_boxes(ax, wide, structures, systems)
    ax.set_xticks(range(len(structures)), names, rotation=35 if len(names) > 8 else 0)
    ax.set(ylabel="DSC", ylim=limits)
    narrow = _axes(WIDTH, 1.5 + 0.09 * len(wide) + 0.17 * len(systems))
    _draw_boxes(narrow, wide, structures, systems, lying=True)
    narrow.set_yticks(range(len(structures)), names)
    narrow.set(xlabel="DSC", xlim=limits, ylim=(len(structures) - 0.5, -0.5))
    for drawn, lying in ((ax, False), (narrow, True)):
        drawn.tick_params(axis="y" if lying else "x", length=0)
        drawn.grid(visible=False)
        drawn.grid(axis="x" if lying else "y", color="#dddddd", lw=0.6)
        drawn.set_axisbelow(True)
        sns.despine(ax=drawn)
        legend_below(drawn, columns=5)
    keep_numbers(ax, wide[["structure", "segmenter", "prompt", "median", "q1", "q3"]])
    return set_narrow(ax, narrow)


def _draw_boxes(
    ax: Axes,
    wide: pd.DataFrame,
    structures: list[str],
    systems: list[tuple[str, str]],
    *,
    lying: bool = False,
) -> None:
    """Draw the boxes of each system, upright or lying, within its places among the structures."""
    width = 0.8 / len(systems)
    for j, (segmenter, prompt) in enumerate(systems):
        own = wide[(wide["segmenter"] == segmenter) & (wide["prompt"] == prompt)]
        places = np.array([structures.index(s) for s in own["structure"]]) - 0.4 + (j + 0.5) * width
        points = [p for s, p in systems if s == segmenter]
        several = len(points) > 1
        share = points.index(prompt) / (len(points) - 1) if several else 0
        boxes = [
            {"med": c.median_, "q1": c.q1, "q3": max(c.q3, c.q1 + 1e-3), "whislo": c.q1, "whishi": c.q3}
            for c in own.rename(columns={"median": "median_"}).itertuples()
        ]
        drawn = ax.bxp(
            boxes,
            positions=places,
            widths=width * 0.9,
            orientation="horizontal" if lying else "vertical",
            showfliers=False,
            showcaps=False,
            manage_ticks=False,
            patch_artist=True,
            boxprops={
                "facecolor": SEGMENTER_COLOURS[segmenter],
                "alpha": 0.35 + 0.5 * share if several else 0.75,
                "edgecolor": _INK,
                "linewidth": 0.5,
            },
            medianprops={"color": _INK, "linewidth": 1.8},
        )
        drawn["boxes"][0].set_label(MODELS[segmenter] + (f", {prompt}" if several else ""))


def training_bars(training: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Volumes each system was trained on, by modality; what was not published is said.

    Whole-body parts are plain, regional ones hatched, parts of unknown coverage dotted.
    """
    ax = ax or _axes(10, 4)
    hatch = {"whole-body": "", "regional": "///", "unknown": ".."}
    systems = list(dict.fromkeys(training["system"]))
    for i, system in enumerate(reversed(systems)):
        left = 0.0
        for _, part in training[training["system"] == system].iterrows():
            if not part["volumes"] > 0:
                continue
            known = part["modality"] in MODALITIES
            ax.barh(
                i,
                part["volumes"],
                left=left,
                height=0.6,
                color=MODALITIES[part["modality"]].colour if known else "#eeeeee",
                hatch=hatch[part["coverage"]],
                edgecolor="white" if known else "#777777",
                lw=0.8,
            )
            left += part["volumes"]
        text = f" {left:,.0f}" if left else " number of volumes not published"
        if (training[training["system"] == system]["modality"] == "unknown").any() and left:
            text += ", split not published"
        ax.text(left, i, text, va="center", fontsize=8, color=_INK)
    ax.set(yticks=range(len(systems)), yticklabels=systems[::-1], xlabel="3D volumes")
    ax.set_xlim(0, 1.28 * training.groupby("system")["volumes"].sum().max())
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.locator_params(axis="x", nbins=4)
    keep_numbers(ax, training)
    legend_below(ax, handles=_training_keys())
    sns.despine(ax=ax)
    return ax


def _training_keys() -> list[plt.Rectangle]:
    """Modalities by colour, coverage by hatch."""
    looks = {m.title: {"fc": m.colour} for m in MODALITIES.values()} | {
        "modality not published": {"fc": "#eeeeee", "ec": "#777777", "hatch": ".."},
        "whole-body": {"fc": "#777777", "ec": "white"},
        "regional": {"fc": "#777777", "ec": "white", "hatch": "///"},
        "coverage not published": {"fc": "#777777", "ec": "white", "hatch": ".."},
    }
    return [plt.Rectangle((0, 0), 1, 1, label=label, **look) for label, look in looks.items()]


def sd_arch(wide: pd.DataFrame, n: int, ax: Axes | None = None) -> Axes:
    """Printed SDs against means, under the largest SD that scores in [0, 1] can have."""
    ax = ax or _axes(7.5, 4.2)
    mean = np.linspace(0, 1, 400)
    bound = np.sqrt(mean * (1 - mean) * n / (n - 1))
    ax.fill_between(mean, bound, 0.56, color="#dddddd", lw=0)
    ax.plot(mean, bound, color=_INK, lw=1)
    ax.text(0.5, 0.53, "no data can print these", ha="center", fontsize=8, color=_INK)
    sns.scatterplot(
        wide,
        x="mean",
        y="sd",
        hue="modality",
        style="modality",
        palette={name: m.colour for name, m in MODALITIES.items()},
        markers={name: "D" if name == "PET" else "o" for name in MODALITIES},
        s=30,
        alpha=0.8,
        ax=ax,
    )
    ax.legend(frameon=False)
    ax.set(xlim=(0, 1), ylim=(0, 0.56), xlabel="Mean DSC", ylabel="SD")
    sns.despine(ax=ax)
    return ax


def p_against_rho(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """p of a paired t-test against the correlation that was not published.

    Parameters
    ----------
    rows
        Columns ``label, difference, sd_a, sd_b, n``.
    """
    ax = ax or _axes(7.5, 4.2)
    rho = np.linspace(-1, 1, 401)
    styles = ["-", "--", "-.", ":"]
    for i, (_, r) in enumerate(rows.iterrows()):
        p = paired_p(r["difference"], (r["sd_a"], r["sd_b"]), rho, int(r["n"]))
        label = f"{r['label']} ({r['difference']:+.3f})"
        ax.plot(rho, np.maximum(p, 1e-12), styles[i % 4], label=label, color=f"C{i}")
    for level in (0.01, 0.0001):
        ax.axhline(level, color="#777777", lw=0.8)
        ax.text(-0.99, level * 1.3, f"p = {level:g}", fontsize=8, color="#555555")
    ax.set(yscale="log", ylim=(1e-12, 1.5), xlim=(-1, 1))
    ax.set(xlabel="Correlation ρ of the two scores over subjects", ylabel="p")
    ax.legend(fontsize=8, frameon=False, loc="lower left")
    sns.despine(ax=ax)
    return ax


def effort(wide: pd.DataFrame, x: str, ax: Axes | None = None) -> Axes:
    """Mean over organs of the median DSC against points or seconds per case.

    Parameters
    ----------
    wide
        Columns ``segmenter, prompt, dice`` and `x`, with ``low`` and ``high`` of the organs.
    x
        ``points`` or ``seconds``.
    """
    ax = ax or _axes(5.5, 4.2)
    for i, (_, r) in enumerate(wide.sort_values("dice", ascending=False).iterrows()):
        colour = SEGMENTER_COLOURS[r["segmenter"]]
        ax.plot([r[x], r[x]], [r["low"], r["high"]], color=colour, lw=1.5, alpha=0.6)
        if x == "points" and r["points_high"] > r["points_low"]:
            ax.plot([r["points_low"], r["points_high"]], [r["dice"]] * 2, color=colour, lw=3)
        ax.plot(r[x], r["dice"], "o", color=colour, ms=7)
        ax.annotate(
            f"{MODELS[r['segmenter']]}, {r['prompt']}",
            (max(r[x], r["points_high"]) if x == "points" else r[x], r["dice"]),
            xytext=(7, (8, 8, 8, 2, -3, -8)[i] - 3),
            textcoords="offset points",
            fontsize=8,
        )
    label = {"points": "Points per structure and case", "seconds": "Seconds per case"}[x]
    end = {"points": 1500, "seconds": 130}[x]
    ax.set(xscale="log", xlim=(None, end), ylim=(0, 1), xlabel=label, ylabel="Median DSC")
    ax.set_xticks({"points": [1, 3, 10, 30, 100], "seconds": [2, 5, 10, 20, 40]}[x])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.grid(color="#eeeeee", lw=0.6)
    sns.despine(ax=ax)
    return ax


def effort_panels(wide: pd.DataFrame) -> np.ndarray:
    """Draw `effort` against points and against seconds."""
    _, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for x, ax in zip(("points", "seconds"), axes, strict=True):
        effort(wide, x, ax)
    return axes


def simulated_estimates(found: pd.DataFrame, world: World, ax: Axes | None = None) -> Axes:
    """Estimates of many simulated benchmarks of each design, and the true gap."""
    ax = ax or _axes(9, 3.8)
    colours = {"own tasks": "#cc6677", "same structures": "#ddcc77", "paired": "#117733"}
    named = found.assign(design=found["design"].map(DESIGNS))
    sns.histplot(
        named,
        x="estimate",
        hue="design",
        palette={DESIGNS[name]: colour for name, colour in colours.items()},
        bins=90,
        alpha=0.75,
        element="bars",
        edgecolor="none",
        ax=ax,
    )
    ax.axvline(world.gap, color=_INK, lw=1.5)
    top = ax.get_ylim()[1]
    ax.text(world.gap, top, " true gap", va="top", fontsize=9)
    ax.set(xlabel="Estimated gap, PET minus structural (DSC)", ylabel="Simulated benchmarks")
    handles, words = ax.get_legend().legend_handles, ax.get_legend().get_texts()
    for handle, text in zip(handles, words, strict=True):
        handle.set_label(text.get_text())
    ax.get_legend().remove()
    legend_below(ax, handles=handles, columns=1)
    sns.despine(ax=ax)
    ax.locator_params(axis="x", nbins=6)
    return ax


def cohort_bars() -> np.ndarray:
    """Scans and masks of each cohort of SegAnyPET's table 1, coloured by the part of the study.

    The three sums that the table prints say which part a cohort belongs to, since they follow its rows.
    """
    printed = read("seganypet_table1")
    counts = printed[printed["metric"] == "count"].pivot(index="line", columns="column", values="value")
    counts["cohort"] = printed.groupby("line")["cohort"].first()
    sums = counts["cohort"].str.extract(r"\((.*)\)")[0]
    counts["part"] = sums.bfill()
    long = (
        counts[sums.isna()]
        .rename(columns={"Num. Scans": "scans", "Num. Masks": "masks"})
        .melt(["cohort", "part"], ["scans", "masks"], "of", "number")
    )
    _, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
    for place, of in zip(axes, ("scans", "masks"), strict=True):
        sns.barplot(
            long[long["of"] == of],
            x="number",
            y="cohort",
            hue="part",
            palette=["#4477aa", "#ccbb44", "#aa3377"],
            dodge=False,
            legend=of == "masks",
            ax=place,
        )
        for bars in place.containers:
            place.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
        place.set(xlabel=of, ylabel="")
        place.xaxis.set_major_formatter("{x:,.0f}")
        place.locator_params(axis="x", nbins=4)
        place.margins(x=0.22)
        sns.despine(ax=place)
    sns.move_legend(axes[1], "center right", title=None, fontsize=8, frameon=False)
    keep_numbers(axes[0], long)
    return axes


def two_selections(
    scores: pd.DataFrame, *, by: str, a: tuple[str, str], b: tuple[str, str], ax: Axes | None = None
) -> Axes:
    """Any two selections of the published scores, a line per structure or system.

    Parameters
    ----------
    scores
        As `umdlib.published.explorer.comparable_scores` gives it.
    by
        ``structure`` or ``segmenter``.
    a, b
        (condition, segmenter or structure).
    """
    ax = ax or _axes(8, 5.4)
    names = STRUCTURES | MODELS
    first, second = (pick(scores, by=by, condition=c, chosen=k) for c, k in (a, b))
    keys = list(dict.fromkeys([*first.index, *second.index]))[::-1]
    styles = ((first, a, "o", "#0072b2", 0.12), (second, b, "D", "#d55e00", -0.12))
    for own, (condition, chosen), marker, colour, shift in styles:
        y = np.array([keys.index(k) for k in own.index]) + shift
        ax.hlines(y, own["lo"], own["hi"], color=colour, lw=1.5, alpha=0.6)
        label = f"{names[chosen]}, {condition_title(condition)}"
        ax.plot(own["v"], y, marker, color=colour, label=label)
    ax.set(xlim=(-0.02, 1.02), xlabel="DSC")
    ax.set(yticks=range(len(keys)), yticklabels=[names[k] for k in keys])
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    sns.despine(ax=ax)
    return ax


def prompt_effort(wide: pd.DataFrame) -> pd.DataFrame:
    """Points, seconds and DSC of each line of SegAnyPET supplementary table 3.

    Parameters
    ----------
    wide
        Its cells.

    Returns
    -------
    pandas.DataFrame
        ``segmenter, prompt, points_low, points_high, points`` (geometric middle), ``seconds,
        dice`` (mean of the organs' medians), ``low, high`` (lowest and highest organ).
    """
    slices = (int(fact("slices_low")), int(fact("slices_high")))
    rows = []
    for _, group in wide.groupby("line"):
        prompt, dice = group["prompt"].iloc[0], group["median"].dropna()
        per_slice = int(prompt.split("N")[0]) if "N" in prompt else None
        low, high = (per_slice * s for s in slices) if per_slice else (int(prompt.split()[0]),) * 2
        rows.append(
            {
                "segmenter": group["segmenter"].iloc[0],
                "prompt": prompt,
                "points_low": low,
                "points_high": high,
                "points": float(np.sqrt(low * high)),
                "seconds": group["value"].dropna().iloc[0],
                "dice": dice.mean(),
                "low": dice.min(),
                "high": dice.max(),
            }
        )
    return pd.DataFrame(rows)
