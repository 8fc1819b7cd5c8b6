"""The chapter on planning: what a run shows of a spread, and what it would take."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import planning as chapter
from umdlib.statistics.plan import plan_hash
from umdlib.statistics.planning import planning_table


def comparisons(**changes):
    """Three comparisons: two that count, one between two floors."""
    rows = {"estimate": [-0.1, -0.2, 0.0], "sd": [0.04, 0.06, 9.0], "mean_structural": [0.7, 0.9, 0.01]}
    return pd.DataFrame(rows).assign(at_floor=[False, None, True], n_holm=[13, 13, 12]).assign(**changes)


def test_medians_leave_out_floors_and_what_has_no_estimate():
    table = comparisons(at_floor=[False, False, True])
    assert chapter.inputs(table) == {"sd": pytest.approx(0.05), "level": pytest.approx(0.8), "family": 13}
    lost = comparisons(at_floor=[False, False, True], estimate=[-0.1, np.nan, 0.0])
    assert chapter.inputs(lost)["sd"] == 0.04
    unknown = chapter.inputs(comparisons())  # a floor that is not known is none to plan with
    assert unknown["level"] == 0.7
    assert chapter.inputs(comparisons(n_holm=np.nan))["family"] == 1


def test_a_margin_above_the_level_is_not_planned_for():
    found = chapter.needed({"sd": 0.05, "level": 0.04, "family": 1})
    assert found["margin"].tolist() == [0.01, 0.02, 0.03]
    assert chapter.needed({"sd": float("nan"), "level": 0.8, "family": 1}).empty
    assert chapter.needed({"sd": 0.05, "level": 0.005, "family": 1}).empty


def test_numbers_of_subjects_are_those_of_the_plan_with_commas():
    values = {"sd": 0.05, "level": 0.8, "family": 1}
    found = planning_table(0.05, 0.8, margins=(0.01, 0.02), family=1)
    layout = chapter.layout(found, "dice")
    assert next(iter(layout)) == "margin (DSC)" and layout["margin (DSC)"].tolist() == ["0.01", "0.02"]
    # 52 and 55 subjects at a margin of 0.02: doctests of `umdlib.statistics.planning`
    assert layout["subjects to find a difference of that size"].tolist()[1] == "52"
    assert layout["subjects to show that there is none (interval)"].tolist()[1] == "55"
    wanted = int(found["needed"].iloc[1])
    words = chapter.words(values, "dice", wanted, 0.02)
    assert f"within ±0.02 one structure needs {wanted:,} subjects; this run has {wanted}: enough." in words
    assert chapter.words(values, "dice", wanted - 1, 0.02).endswith(f"{wanted - 1}: too few.")
    assert "differences 0.050 DSC, mean on the structural image 0.800" in words
    assert chapter.words({**values, "sd": 0.0}, "dice", 9, 0.02) == chapter.NONE


def test_the_plan_is_shown_whole_and_with_its_hash():
    plan = chapter.plan_table().set_index("item")["plan"]
    assert plan["SHA-256"] == f"`{plan_hash()}`"
    assert {"primary endpoint", "prompt", "frozen", "written"} <= set(plan.index)
    assert plan.index.str.startswith("family: ").sum() >= 2


def test_a_line_per_question_on_logarithmic_scales_or_a_sentence():
    found = planning_table(0.05, 0.8, margins=(0.01, 0.02, 0.05), family=1)
    ax = chapter.margin_plot(found, "dice")
    assert len(ax.lines) == 3 and (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.lines[0].get_ydata().tolist() == found["difference"].tolist()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.01", "0.02", "0.05"]
    assert ax.get_xlabel() == "margin, DSC" and len({line.get_color() for line in ax.lines}) == 3
    assert chapter.margin_plot(found.iloc[:0], "dice").texts[0].get_text() == chapter.NONE
    plt.close("all")
