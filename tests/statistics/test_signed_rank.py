"""Signed-rank statistics agree with R, SciPy and pingouin; ties and zeros are no trap."""

import itertools

import numpy as np
import pytest
from scipy import stats
from test_bootstrap import G

from umdlib.statistics.signed_rank import hodges_lehmann, median_interval, rank_biserial, sign_test, wilcoxon

D = [-0.112, -0.034, 0.021, -0.087, -0.154, 0.006, -0.061, -0.043, -0.198, 0.035, -0.072, -0.019]


def test_exact_wilcoxon_and_hodges_lehmann_equal_r():
    # R 4.2.2: w <- wilcox.test(d, conf.int=TRUE); c(w$p.value, w$estimate, w$conf.int)
    p, note = wilcoxon(D)
    assert p == pytest.approx(0.01611328125, abs=1e-12)
    assert note == "exact"
    assert hodges_lehmann(D) == pytest.approx((-0.05525, -0.1085, -0.013), abs=1e-12)


def test_wilcoxon_with_ties_and_zeros_enumerates_every_pattern():
    d = np.array([-0.1, -0.1, 0.2, -0.3, -0.3, 0, 0.05, -0.2, -0.4, 0])
    kept = d[d != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = [np.dot(ranks, s) for s in itertools.product((0, 1), repeat=len(kept))]
    away = np.abs(np.array(sums) - ranks.sum() / 2)
    expected = np.mean(away >= abs(ranks[kept > 0].sum() - ranks.sum() / 2) - 1e-9)
    assert wilcoxon(d) == (pytest.approx(expected, abs=1e-12), "exact (ties)")


def test_five_equal_differences_cannot_fall_below_one_in_sixteen():
    assert wilcoxon([-0.1] * 5) == (0.0625, "exact (ties)")  # 2 of 32 patterns


@pytest.mark.parametrize("seed", range(20))
def test_the_sign_test_inverts_the_interval_of_the_median(seed):
    d = np.round(np.random.default_rng(seed).normal(-0.03, 0.05, 6 + seed), 2)
    _, low, high = median_interval(d)
    assert (low > 0 or high < 0) == (sign_test(d) <= 0.05)


def test_large_sample_wilcoxon_and_hodges_lehmann_equal_r():
    # R: w <- wilcox.test(g, conf.int=TRUE), 60 tied integers; R finds its interval by root search
    assert wilcoxon(G)[0] == pytest.approx(6.01149758541841e-05, rel=1e-9)
    assert hodges_lehmann(G) == pytest.approx((-25.0, -35.0, -13.5), abs=0.51)
    spread = np.array(G) + np.arange(1, 61) / 1000
    # R: wilcox.test(g + (1:60)/1000, conf.int=TRUE)
    assert wilcoxon(spread)[0] == pytest.approx(6.92213364453719e-05, rel=1e-9)
    assert hodges_lehmann(spread) == pytest.approx((-24.949, -34.972, -13.479), abs=0.1)


def test_wilcoxon_equals_scipy():
    d = np.random.default_rng(0).normal(-0.2, 1, 80)
    peer = stats.wilcoxon(d, method="asymptotic", correction=True).pvalue
    assert wilcoxon(d)[0] == pytest.approx(peer, rel=1e-12)


def test_rank_biserial_equals_pingouin():
    pingouin = pytest.importorskip("pingouin")
    peer = pingouin.wilcoxon(np.array(D), np.zeros(len(D)))
    assert rank_biserial(D) == pytest.approx(float(peer["RBC"].iloc[0]), abs=1e-12)


def test_differences_that_differ_by_round_off_tie():
    rough = np.array([0.3 - 0.1, 0.4 - 0.2, 0.5 - 0.3, -(0.3 - 0.1), 0.1])
    clean = np.array([0.2, 0.2, 0.2, -0.2, 0.1])
    assert wilcoxon(rough) == wilcoxon(clean)
    assert wilcoxon(rough)[1] == "exact (ties)"


def test_round_off_of_nothing_is_zero():
    assert wilcoxon(np.full(10, 0.1 + 0.2 - 0.3)) == (1.0, "all differences are zero")


def test_no_pairs_and_all_zero():
    assert wilcoxon([np.nan])[1] == "no pairs"
    assert rank_biserial(np.zeros(5)) == 0.0
    assert np.isnan(rank_biserial([]))
    assert np.isnan(hodges_lehmann([])).all()


def test_every_difference_negative_is_minus_one():
    assert rank_biserial(np.linspace(-0.5, -0.1, 7)) == -1.0


def test_five_subjects_bound_no_95_percent_interval():
    estimate, low, high = hodges_lehmann([0.1, 0.2, 0.3, 0.4, 0.5])
    assert estimate == pytest.approx(0.3)
    assert np.isnan([low, high]).all()
    assert np.isnan(median_interval([0.1, 0.2, 0.3, 0.4, 0.5])[1])


@pytest.mark.parametrize("n", [6, 9, 20, 51])
def test_median_interval_has_the_coverage_of_the_sign_test(n):
    _, low, high = median_interval(np.arange(1.0, n + 1))
    below = int(low) - 1  # values outside on the left
    assert high == n - below
    assert stats.binom.cdf(below, n, 0.5) <= 0.025 < stats.binom.cdf(below + 1, n, 0.5)
