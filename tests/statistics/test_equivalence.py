"""Corrections, equivalence and power agree with R, statsmodels and pingouin."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from test_signed_rank import D

from umdlib.errors import InputError
from umdlib.statistics.bootstrap import estimate_means, resample_counts
from umdlib.statistics.equivalence import detectable_effect, equivalence_p, relevance_p, unseen_p
from umdlib.statistics.multiplicity import adjust, benjamini_hochberg, holm

P = np.array([0.01, 0.04, 0.03, 0.002])


def test_holm_and_bh_equal_r():
    assert holm(P) == pytest.approx([0.03, 0.06, 0.06, 0.008])  # R: p.adjust(p, "holm")
    assert benjamini_hochberg(P) == pytest.approx([0.02, 0.04, 0.04, 0.008])  # R: p.adjust(p, "BH")


def test_missing_p_is_in_no_family():
    p = np.array([0.01, np.nan, 0.03, 0.002])
    # R: p.adjust(p, "holm"); p.adjust(p, "BH")
    np.testing.assert_allclose(holm(p), [0.020, np.nan, 0.030, 0.006])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.015, np.nan, 0.030, 0.006])
    assert np.isnan(holm(np.array([np.nan, np.nan]))).all()


def test_corrections_equal_statsmodels():
    p = np.random.default_rng(0).uniform(0, 0.2, 78)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_families_are_split_and_their_size_is_printed():
    table = pd.DataFrame(
        {
            "session": "petct",
            "segmenter": ["a", "a", "a", "b", "b", "b"],
            "structure": ["liver", "spleen", "aorta"] * 2,
            "p_value": [0.01, 0.02, np.nan, 0.04, np.nan, np.nan],
        }
    )
    done = adjust(table)
    assert done["n_holm"].tolist() == [2, 2, 2, 1, 1, 1]
    assert done["n_bh"].tolist() == [2, 1, 0, 2, 1, 0]
    np.testing.assert_allclose(done["p_holm"], [0.02, 0.02, np.nan, 0.04, np.nan, np.nan])
    np.testing.assert_allclose(done["p_bh"], [0.02, 0.02, np.nan, 0.04, np.nan, np.nan])


def estimate(values, seed=0):
    values = np.asarray(values, dtype=float)[:, None]
    counts = resample_counts(len(values), 1999, np.random.default_rng(seed))
    return estimate_means(values, counts, bounds=(-1.0, 1.0))


def test_equivalence_of_four_subjects_is_that_of_two_t_tests():
    # R: max(t.test(d, mu=-0.05, alternative="greater")$p.value,
    #        t.test(d, mu=0.05, alternative="less")$p.value); below five subjects the interval is Student's
    d = np.array(D[:4])
    t = (0.2 - abs(d.mean())) / (d.std(ddof=1) / 2)
    assert equivalence_p(estimate(d), 0.2)[0] == pytest.approx(stats.t.sf(t, 3), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_equivalence_is_the_90_percent_interval_inside_the_margin(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.005, 0.02, 12)
    found = estimate(values, seed)
    low, high = found.interval(0.9)
    for margin in (0.01, 0.015, 0.02, 0.03):
        inside = -margin < low[0] and high[0] < margin
        assert inside == (equivalence_p(found, margin)[0] < 0.05)
    low, high = found.interval(0.95)
    for margin in (0.001, 0.002, 0.01):
        beyond = low[0] > margin or high[0] < -margin
        assert beyond == (relevance_p(found, margin)[0] < 0.05)


def test_nothing_is_equivalent_without_variance_or_subjects():
    for values in ([0.0] * 8, [0.01, 0.01], [0.03] * 5, [0.1]):
        assert np.isnan(equivalence_p(estimate(values), 0.02)).all()
    with pytest.raises(InputError, match="margin -1"):
        equivalence_p(estimate(D), -1)


def test_failures_that_a_cohort_can_hide_are_no_equivalence():
    # by hand: 0.02 / 0.85 = 2.353 % of failures; unseen in 8 subjects with 0.97647 ** 8
    p = unseen_p(np.zeros(1), np.array([8]), 0.02, np.array([0.85]), np.array([0.85]))
    assert p[0] == pytest.approx((1 - 0.02 / 0.85) ** 8)
    assert unseen_p(np.zeros(1), np.array([490]), 0.02, np.array([0.85]), np.array([0.85]))[0] < 1e-5


@pytest.mark.parametrize(
    ("n", "expected"),
    # R: power.t.test(n=n, power=0.8, type="one.sample", sd=1, strict=TRUE, tol=1e-12)$delta
    [(6, 1.43454478204009), (20, 0.660441654622837), (490, 0.126811799998518)],
)
def test_detectable_effect_equals_r_and_statsmodels(n, expected):
    assert detectable_effect(n) == pytest.approx(expected, rel=1e-8)
    peer = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert detectable_effect(n) == pytest.approx(float(np.squeeze(peer)), rel=1e-5)
