"""Failures are counted in four quadrants, and McNemar's test agrees with R and statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as peer

from umdlib.scores.simulated import score_table
from umdlib.statistics.failures import failed, mcnemar, quadrants


@pytest.mark.parametrize(
    ("structural_only", "pet_only", "expected"),
    [
        (7, 2, 0.1796875),  # R: binom.test(2, 9)$p.value
        (19, 1, 4.00543212891e-05),  # R: binom.test(1, 20)$p.value
        (0, 0, 1.0),
    ],
)
def test_mcnemar_equals_r(structural_only, pet_only, expected):
    assert mcnemar(structural_only, pet_only) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_equals_statsmodels():
    table = np.array([[20, 11], [3, 5]])
    assert mcnemar(11, 3) == pytest.approx(peer(table, exact=True).pvalue, rel=1e-12)


@pytest.fixture
def four():
    """Four subjects, one in each quadrant."""
    table = score_table(n_subjects=4, structures=["liver"], gap={"a": 0.0})
    table["dice"] = [0.9, 0.9, 0.9, 0.05, 0.05, 0.9, 0.05, 0.05]  # CT, PET of each subject
    return table


def test_the_four_quadrants(four):
    row = quadrants(four).iloc[0]
    assert row[["both", "structural_only", "pet_only", "neither"]].tolist() == [1, 1, 1, 1]
    assert (row["failure_structural"], row["failure_pet"], row["p_mcnemar"]) == (0.5, 0.5, 1.0)


def test_a_failed_run_is_a_failure_and_an_absent_structure_is_not(four):
    four.loc[0, ["dice", "status"]] = [np.nan, "failed"]
    four.loc[1, ["dice", "status"]] = [np.nan, "both_empty"]
    assert failed(four).isna().tolist() == [False, True] + [False] * 6
    assert bool(failed(four)[0])
    assert quadrants(four).iloc[0]["n_pairs"] == 3


def test_threshold_is_a_parameter(four):
    assert quadrants(four, below=0.01).iloc[0]["both"] == 4


def test_a_subject_counts_once_whatever_its_seeds(four):
    table = score_table(n_subjects=5, structures=["liver"], gap={"a": 0.0}, n_seeds=3)
    assert quadrants(table).iloc[0]["n_pairs"] == 5


def test_pooled_structures_have_no_mcnemar_p():
    table = score_table(n_subjects=5, structures=["liver", "spleen"], gap={"a": 0.0})
    row = quadrants(table, by=["session", "segmenter"]).iloc[0]
    assert (row["n_pairs"], row["n_subjects"]) == (10, 5)
    assert np.isnan(row["p_mcnemar"])
