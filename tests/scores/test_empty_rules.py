"""Undefined scores take the value their rule names, and bad tables are refused."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores.empty_rules import (
    check_scores,
    higher_is_better,
    is_directed,
    score_limits,
    with_empty_rule,
)
from umdlib.scores.simulated import score_table

STATES = ["ok", "prediction_empty", "reference_empty", "both_empty", "failed", "unavailable"]


@pytest.fixture
def states():
    """One row per status, as the benchmark writes them."""
    return pd.DataFrame(
        {
            "structure": "liver",
            "status": STATES,
            "dice": [0.8, 0.0, 0.0, np.nan, np.nan, np.nan],
            "hausdorff_95": [12.0, np.nan, np.nan, np.nan, np.nan, np.nan],
        }
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("rule", "dice", "distance"),
    [
        ("drop", [0.8, 0, 0, NAN, NAN, NAN], [12, NAN, NAN, NAN, NAN, NAN]),
        ("zero", [0.8, 0, 0, 0, NAN, NAN], [12, 12, 12, 12, NAN, NAN]),
        ("one", [0.8, 0, 0, 1, NAN, NAN], [12, 12, 12, 0, NAN, NAN]),
        ("worst", [0.8, 0, 0, 0, 0, NAN], [12, 12, 12, 12, 12, NAN]),
    ],
)
def test_each_rule_gives_each_state_its_value(states, rule, dice, distance):
    np.testing.assert_array_equal(with_empty_rule(states, "dice", rule), dice)
    np.testing.assert_array_equal(with_empty_rule(states, "hausdorff_95", rule), distance)


def test_infinite_distance_is_undefined(states):
    states["hausdorff_95"] = [12.0, np.inf, np.inf, np.nan, np.nan, np.nan]
    assert with_empty_rule(states, "hausdorff_95", "drop").notna().sum() == 1


def test_unknown_rule_is_refused_with_the_nearest(states):
    with pytest.raises(InputError, match="Did you mean 'zero'"):
        with_empty_rule(states, "dice", "zeros")


def test_a_row_that_occurs_twice_is_named():
    table = score_table(n_subjects=3, structures=["liver"], gap={"a": 0.0})
    with pytest.raises(InputError, match=r"subject=sub-001, .*segmenter=a.*scored once"):
        check_scores(pd.concat([table, table.iloc[:1]]), ["dice"])


def test_missing_column_and_unknown_status_are_named():
    table = score_table(n_subjects=3, structures=["liver"], gap={"a": 0.0})
    with pytest.raises(InputError, match="Unknown column 'seed'"):
        check_scores(table.drop(columns="seed"), ["dice"])
    with pytest.raises(InputError, match="Unknown status 'okay'"):
        check_scores(table.assign(status="okay"), ["dice"])


def test_the_largest_distance_is_of_the_same_structure_or_of_the_table():
    table = pd.DataFrame(
        {
            "structure": ["liver", "liver", "liver", "aorta", "aorta"],
            "status": ["ok", "ok", "failed", "ok", "both_empty"],
            "hausdorff_95": [12.0, 3.0, NAN, 5.0, NAN],
        }
    )
    assert with_empty_rule(table, "hausdorff_95", "worst").tolist() == [12.0, 3.0, 12.0, 5.0, 5.0]
    lost = table.assign(
        hausdorff_95=[12.0, 3.0, NAN, NAN, NAN], status=["ok", "ok", "ok", "failed", "both_empty"]
    )
    np.testing.assert_array_equal(
        with_empty_rule(lost, "hausdorff_95", "worst"), [12.0, 3.0, NAN, 12.0, 12.0]
    )


def test_a_metric_without_a_better_end_is_not_completed():
    for metric in ("rvd", "reference_ml"):
        assert not is_directed(metric)
        with pytest.raises(InputError, match=f"Metric '{metric}' has no better end.*Use empty='drop'"):
            higher_is_better(metric)
    table = pd.DataFrame({"structure": ["liver"], "status": ["ok"], "rvd": [0.1]})
    assert with_empty_rule(table, "rvd", "drop").tolist() == [0.1]
    with pytest.raises(InputError, match="has no better end"):
        with_empty_rule(table, "rvd", "zero")


def test_only_overlaps_have_limits():
    limits = {m: score_limits(m) for m in ("dice", "surface_dice_2.5mm", "assd", "rvd")}
    assert limits == {"dice": (0.0, 1.0), "surface_dice_2.5mm": (0.0, 1.0), "assd": None, "rvd": None}


def test_rows_of_unavailable_segmenters_may_occur_twice_and_a_column_is_asked_for():
    table = score_table(n_subjects=1, structures=["liver"], gap={"a": 0.0}).assign(status="unavailable")
    check_scores(pd.concat([table, table]), ["dice"])
    with pytest.raises(InputError, match="Unknown column 'dcie'.*Did you mean 'dice'"):
        check_scores(table, ["dcie"])
