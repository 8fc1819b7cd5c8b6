"""The chapter on the supervised baseline: every verdict on an excess, and tables of hand-made numbers."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import supervised as chapter
from umdlib.figures import segmenter_style
from umdlib.statistics import FLOOR
from umdlib.training.nnunet.recipes import RECIPES


@pytest.mark.parametrize(
    ("low", "high", "gap", "metric", "verdict"),
    [
        (np.nan, np.nan, -0.1, "dice", "too few subjects"),
        (-0.1, 0.0, -0.1, "dice", "not told apart"),
        (-0.2, -0.1, -0.3, "dice", "loses more"),
        (0.1, 0.2, -0.3, "dice", "loses less"),
        (0.1, 0.2, 0.3, "dice", "gains more"),
        (-0.2, -0.1, 3.0, "hausdorff_95", "loses less"),
        (0.1, 0.2, 3.0, "hausdorff_95", "loses more"),
        (0.1, 0.2, 3.0, "rvd", "gap lies above"),
        (-0.2, -0.1, 3.0, "rvd", "gap lies below"),
    ],
)
def test_an_excess_is_told_by_its_interval_and_the_better_end_of_its_metric(low, high, gap, metric, verdict):
    row = SimpleNamespace(at_floor=False, ci_low=low, ci_high=high, gap=gap)
    assert chapter._excess_verdict(row, metric) == verdict
    assert chapter._excess_verdict(SimpleNamespace(at_floor=True), metric) == FLOOR


def excess(**changes):
    row = {"session": "petct", "segmenter": "threshold", "gap": -0.3, "reference_gap": -0.1, "estimate": -0.2}
    row |= {"ci_low": -0.25, "ci_high": -0.125, "at_floor": False, "n_subjects": 8}
    return pd.DataFrame([row | changes])


def test_the_layouts_hold_the_numbers_and_their_intervals():
    shown = chapter.excess_layout(excess()).iloc[0].tolist()
    assert shown == ["PET/CT", "Threshold", "−0.300", "−0.100", "−0.200 [−0.250, −0.125]", 8, "loses more"]
    means = excess(estimate=0.8, ci_low=0.75, ci_high=0.85, modality="CT", printed=np.nan)
    assert chapter.reference_layout(means).iloc[0].tolist()[3:] == ["0.800 [0.750, 0.850]", 8, "–"]
    alone = chapter.reference_layout(means.assign(ci_low=np.nan, ci_high=np.nan))
    assert alone["mean DSC here [95 %]"].tolist() == ["0.800"]
    gaps = chapter.gap_layout(excess(printed=-0.08)).iloc[0].tolist()
    assert gaps == ["Threshold", "PET/CT", "−0.200 [−0.250, −0.125]", 8, "−0.080"]


def test_a_reference_that_does_not_hold_is_named_with_its_reason():
    rows = pd.concat([excess(), excess(session="petmr")], ignore_index=True)
    conditions = rows.assign(modality="CT", home=0.9, holds=[True, False], why=["", "it lost"])
    assert chapter.condition_words(conditions) == (
        "- **No reference for this cohort**, PET/MR: Threshold does not count here, because it lost. No excess gap is "
        "computed."
    )
    shown = chapter.condition_layout(conditions)
    assert shown["a reference here"].tolist() == ["yes", "**no**"]
    assert shown["mean DSC on its own data"].tolist() == ["0.900", "0.900"]


def quartiles():
    rows = [("liver", "threshold", 1, 0.5, 0.4, 0.6, 7), ("aorta", "threshold", 1, 0.3, 0.2, 0.4, 5)]
    rows.append(("liver", "b", 0, 0.9, 0.8, 0.95, 6))
    columns = ["structure", "segmenter", "points", "median", "q1", "q3", "n_subjects"]
    return pd.DataFrame(rows, columns=columns).assign(session="petct")


def test_quartiles_stand_above_the_ceilings_of_pet_and_of_dice_alone():
    best = pd.DataFrame(
        {"modality": ["PET", "CT"], "structure": "liver", "title": ["grid", "grid"], "ceiling": [0.97, 0.99]}
    )
    table = quartiles()
    table.attrs["metric"] = "dice"
    shown = chapter.quartile_layout(table, "petct", best=best)
    assert list(shown) == ["segmenter", "Liver", "Aorta", "n"]
    assert shown.to_numpy().tolist() == [
        ["Threshold (1p)", "0.500 (0.400–0.600)", "0.300 (0.200–0.400)", "7"],
        ["b", "0.900 (0.800–0.950)", "–", "6"],
        ["*reference, grid*", "0.970", "–", ""],
    ]
    table.attrs["metric"] = "surface_dice_1mm"
    assert len(chapter.quartile_layout(table, "petct", best=best)) == 2


def test_an_excess_between_floors_has_a_row_and_no_point():
    rows = pd.concat([excess(), excess(segmenter="b", at_floor=True)], ignore_index=True)
    rows.attrs["reference"] = "nnunet_small"
    ax = chapter.excess_plot(rows, looks=segmenter_style(["threshold", "b"]))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Threshold", "b"]
    points = [x for line in ax.lines if line.get_marker() not in ("", "None", None) for x in line.get_xdata()]
    assert [x for x in points if np.isfinite(x)] == [-0.2]
    assert ax.get_xlabel() == "DSC: gap minus that of nnU-Net v2, trained here" and not ax.figure.legends
    by_structure = chapter.excess_plot(excess(structure="liver"))
    assert [t.get_text() for t in by_structure.figure.legends[0].texts] == ["Threshold"]
    assert [t.get_text() for t in by_structure.get_yticklabels()] == ["Liver"]
    plt.close("all")


def test_the_recipes_are_compared_by_their_iterations():
    numbers = chapter.recipe_numbers()
    small, full = (RECIPES[n].epochs * RECIPES[n].iterations for n in ("small", "full"))
    assert numbers["times_iterations"] == round(full / small) and numbers["full_iterations"] == full
    assert numbers["small_mm"] == RECIPES["small"].spacing_mm[0]
