"""Undefined scores take the value their rule names, and bad tables are refused."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores.empty_rules import check_scores, with_empty_rule
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
