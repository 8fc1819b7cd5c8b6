"""Numbers of subjects: they give the power that they promise, one fewer does not."""

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.statistics.equivalence import detectable_effect
from umdlib.statistics.planning import (
    _equivalence_power,
    planning_table,
    subjects_for_difference,
    subjects_for_equivalence,
    subjects_for_unseen,
)


def test_one_subject_fewer_would_not_find_the_difference():
    n = subjects_for_difference(0.08, 0.03)
    assert detectable_effect(n) * 0.08 <= 0.03 < detectable_effect(n - 1) * 0.08


def test_equivalence_has_the_power_that_it_promises():
    n, rng = subjects_for_equivalence(0.05, 0.02), np.random.default_rng(0)
    values = rng.normal(0, 0.05, (n, 4000))
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    from scipy import stats

    t = (0.02 - np.abs(values.mean(axis=0))) / error
    assert np.mean(stats.t.sf(t, n - 1) < 0.05) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("sd", "margin", "alpha"), [(0.05, 0.02, 0.05), (0.3, 0.02, 0.05 / 13), (0.001, 0.1, 0.05)]
)
def test_one_subject_fewer_would_not_show_equivalence(sd, margin, alpha):
    n = subjects_for_equivalence(sd, margin, alpha=alpha)
    assert _equivalence_power(n, sd, margin, alpha) >= 0.8
    assert n == 2 or _equivalence_power(n - 1, sd, margin, alpha) < 0.8


def test_a_failure_that_matters_is_seen_in_nineteen_of_twenty_cohorts():
    n = subjects_for_unseen(0.02, 0.8)
    assert (1 - 0.025) ** n <= 0.05 < (1 - 0.025) ** (n - 1)


def test_the_same_needs_both():
    table = planning_table(0.05, 0.85, family=13)
    assert (table["needed"] == table[["equivalence", "unseen"]].max(axis=1)).all()
    assert table["needed"].is_monotonic_decreasing
    assert (planning_table(0.05, 0.85)["needed"] < table["needed"]).all()


def test_impossible_questions_are_refused():
    with pytest.raises(InputError, match="deviation 0"):
        subjects_for_difference(0, 0.02)
    with pytest.raises(InputError, match="margin 0.9"):
        subjects_for_unseen(0.9, 0.8)
