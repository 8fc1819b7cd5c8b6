"""Sentences of the chapter on certainty say what hand-made tables hold, the worst point first."""

import pandas as pd
import pytest

from umdbook.chapters import certainty as chapter
from umdlib.statistics.operating_characteristics import EQUIVALENCE_RULES


def test_false_alarms_are_those_of_their_tests():
    rates = {
        "sign-flip, subjects": 0.051,
        "t test, structures pooled": 0.182,
        "any structure, uncorrected": 0.4,
        "any structure, Holm": 0.049,
    }
    table = pd.DataFrame({"test": list(rates), "rate": list(rates.values()), "n_cohorts": 1000})
    words = chapter.alarm_words(table, 20, 13, 0.08)
    assert "5.1 % of 1000 cohorts of 20 subjects" in words
    assert "13 structures" in words and "it is 18.2 %, at a correlation of only 0.08" in words
    assert "found in 40.0 % of the cohorts; with Holm's correction in 4.9 %" in words


def covered():
    rows = [
        # shape, subjects, interval, rate, ceiling
        ("lost", 8, "studentised", 0.57, 0.57),
        ("lost", 20, "studentised", 0.88, 0.88),
        ("lost", 8, "student", 0.5, 0.57),
        ("lost", 8, "bca", 0.5, 0.57),
        ("normal", 8, "studentised", 0.951, 1.0),
        ("normal", 20, "studentised", 0.949, 1.0),
        ("normal", 8, "student", 0.95, 1.0),
        ("normal", 8, "bca", 0.90, 1.0),
    ]
    table = pd.DataFrame(rows, columns=["shape", "n_subjects", "interval", "rate", "ceiling"])
    return table.assign(error=0.01, n_cohorts=500)


def test_coverage_names_the_worst_point_and_keeps_hopeless_shapes_out_of_the_spans():
    words = chapter.coverage_words(covered())
    assert words.startswith("The worst point first: with 8 subjects of the shape *lost*")
    assert "holds the mean in 57 % of the cohorts instead of 95 % (500 cohorts per point" in words
    assert "*lost*: 57, 88 % with 8, 20 subjects." in words
    assert "the studentised bootstrap covers 94.9 to 95.1 %, BCa 90.0 to 90.0 %" in words
    easy = covered().query("shape == 'normal'")
    assert "does not show a failure" not in chapter.coverage_words(easy)


def alarms():
    rows = [
        ("rare failures", 8, "mean", 0.40),
        ("rare failures", 8, "mean of 13", 0.39),
        ("rare failures", 8, "permutation", 0.45),
        ("skewed", 8, "mean", 0.07),
        ("skewed", 8, "mean of 13", 0.021),
        ("skewed", 8, "permutation", 0.12),
        ("normal", 8, "mean", 0.05),
        ("normal", 8, "mean of 13", 0.003),
        ("normal", 8, "permutation", 0.05),
    ]
    return pd.DataFrame(rows, columns=["shape", "n_subjects", "test", "rate"])


def test_alarms_by_shape_leave_shapes_of_rare_losses_out_of_the_spans():
    words = chapter.shape_words(alarms())
    assert "5 % / 13 = 0.38 %" in words and "0.3 to 2.1 % on those shapes and 0.3 to 0.3 % on normal" in words
    assert "8 subjects of the shape *rare failures*" in words
    assert "a difference in 40 % of the cohorts, the sign-flip test in 45 %" in words
    assert "the reported test gives 5.0 to 7.0 %, the sign-flip test 5.0 to 12.0 %" in words
    table = chapter.alarm_table(alarms())
    assert table["mean zero, shape"].tolist() == ["rare failures", "skewed", "normal"]
    assert table["sign-flip, n = 8"].tolist() == ["45.0", "12.0", "5.0"]


def rates(power):
    rows = []
    for shape, mean, equivalent, both in (("no gap", 0.0, True, power), ("15 % lost", -0.13, False, 0.01)):
        for n in (8, 150):
            for rule in EQUIVALENCE_RULES:
                rate = {"reported": both if n == 150 else 0.0}.get(rule, 0.3 if n == 8 else 0.2)
                rows.append((shape, n, rule, rate, mean, equivalent))
    return pd.DataFrame(rows, columns=["shape", "n_subjects", "rule", "rate", "mean", "equivalent"])


@pytest.mark.parametrize(
    ("power", "said"), [(0.81, "150 subjects show it"), (0.79, "none of these sizes shows it")]
)
def test_equivalence_costs_what_the_shape_without_a_gap_shows(power, said):
    words = chapter.equivalence_words(rates(power))
    assert "calls 30 % of the cohorts of 8 subjects the same where *15 % lost*" in words
    assert "at most 1.0 % of such cohorts" in words
    assert f"where there is no gap at all, {said} in four of five cohorts" in words
    table = chapter.equivalence_table(rates(power))
    assert table["the same"].tolist() == ["true", "true", "an error", "an error"]
    assert table["true mean"].tolist()[-1] == "−0.130"


def test_a_cohort_without_a_failure_leaves_the_share_that_would_be_seen_19_times_in_20():
    words = chapter.unseen_words(8)
    assert "up to 31 % of all subjects could" in words  # 1 - 0.05 ** (1 / 8) = 0.312
    assert "up to 1 %" in chapter.unseen_words(490)  # 0.6 %


def test_the_smallest_detectable_difference_scales_with_the_spread():
    table = chapter.detectable_table(pd.DataFrame({"sd": [0.1, 0.2, 0.3], "n_pairs": [1, 8, 8]}))
    assert table["subjects"].tolist() == [8, 490]
    in_sd, dice = (table[c].astype(float) for c in ("in SD", "DSC"))
    assert (dice - 0.2 * in_sd).abs().max() < 0.001
    assert in_sd[1] < in_sd[0] / 5


def test_coverage_with_missing_structures_names_both_kinds_of_values():
    rows = [("half", 20, "own", 0.9), ("half", 20, "jackknife", 0.951), ("few", 12, "own", 0.94)]
    table = pd.DataFrame(
        [*rows, ("few", 12, "jackknife", 0.955)], columns=["shape", "n_subjects", "values", "rate"]
    )
    words = chapter.missing_words(table.assign(n_cohorts=500))
    assert "in 90.0 to 94.0 %" in words and "in 95.1 to 95.5 % (500 cohorts each)" in words
    assert "*half* (n = 20): 90.0 and 95.1 %" in words
