"""Tables, sentences and a figure of the chapter on planning."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from umdlib.figures.style import axes, legend_below, nothing
from umdlib.statistics.plan import plan_hash, read_plan
from umdlib.statistics.planning import planning_table
from umdlib.tables.markdown import number
from umdlib.tables.modality_table import metric_title

_MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1)
NONE = "No comparison of this run has a spread to plan with."
_QUESTIONS = {
    "difference": ("find a difference of that size", "#0072b2", "o"),
    "equivalence": ("show that there is none (interval)", "#d55e00", "s"),
    "unseen": ("see a failure that would matter", "#000000", "^"),
}


def plan_table() -> pd.DataFrame:
    """The frozen plan, an item a row."""
    plan = read_plan()
    rows = [["primary endpoint", plan["primary_endpoint"]], ["prompt", plan["prompt"]]]
    rows += [[f"family: {k}", v] for k, v in plan["families"].items()]
    rows += [
        [k.replace("_", " "), metric_title(v) if k == "metric" else str(v)]
        for k, v in plan["settings"].items()
    ]
    rows += [["frozen", plan["frozen"]], ["written", plan["written"]], ["SHA-256", f"`{plan_hash()}`"]]
    return pd.DataFrame(rows, columns=["item", "plan"])


def inputs(comparisons: pd.DataFrame) -> dict[str, float]:
    """Spread of the differences and level of the structural scores in a run, as medians."""
    known = comparisons[comparisons["estimate"].notna() & ~comparisons["at_floor"].fillna(True).astype(bool)]
    family = comparisons["n_holm"].max()
    return {
        "sd": float(known["sd"].median()),
        "level": float(known["mean_structural"].median()),
        "family": max(1, int(family if family == family else 1)),
    }


def needed(values: dict[str, float], margins: tuple[float, ...] = _MARGINS) -> pd.DataFrame:
    """Numbers of subjects for each margin below the level; no rows where a run shows no spread."""
    below = tuple(m for m in margins if m < values["level"])
    if not (values["sd"] > 0 and below):
        return pd.DataFrame(columns=["margin", *_QUESTIONS, "needed"], dtype=float)
    return planning_table(values["sd"], values["level"], margins=below, family=values["family"])


def layout(needed: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Numbers of subjects for each margin."""
    table = pd.DataFrame({f"margin ({metric_title(metric)})": [number(m, 2) for m in needed["margin"]]})
    for column, (title, _, _) in _QUESTIONS.items():
        table[f"subjects to {title}"] = [f"{n:,}" for n in needed[column]]
    table["for the verdict *the same*"] = [f"{n:,}" for n in needed["needed"]]
    return table


def words(values: dict[str, float], metric: str, subjects: int, margin: float) -> str:
    """Say what the numbers rest on, and how far this run is from them."""
    mine = needed(values, (margin,))
    if mine.empty:
        return NONE
    wanted = int(mine["needed"].iloc[0])
    enough = "enough" if subjects >= wanted else "too few"
    return (
        f"Medians of this run over segmenters and structures that are not at the floor: standard deviation of the "
        f"paired differences {number(values['sd'])} {metric_title(metric)}, mean on the structural image "
        f"{number(values['level'])}. Each test at 5 % divided by a family of {values['family']}, 80 % power. For the "
        f"verdict *the same* within ±{margin:g} one structure needs {wanted:,} subjects; this run has {subjects}: "
        f"{enough}."
    )


def margin_plot(needed: pd.DataFrame, metric: str) -> Axes:
    """Numbers of subjects against the margin, one line per question."""
    ax = axes(None, figsize=(6.2, 3.8))
    if needed.empty:
        return nothing(ax, NONE)
    for column, (title, colour, marker) in _QUESTIONS.items():
        ax.plot(needed["margin"], needed[column], color=colour, marker=marker, label=title)
    ax.set(xscale="log", yscale="log", xlabel=f"margin, {metric_title(metric)}", ylabel="subjects")
    ax.set_xticks(needed["margin"], [f"{m:g}" for m in needed["margin"]])
    ax.minorticks_off()
    legend_below(ax, columns=2)
    return ax
