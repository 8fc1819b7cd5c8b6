"""Corrections, equivalence and power agree with R, statsmodels and pingouin."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from test_paired_ranks import D

from umdlib.errors import InputError
from umdlib.statistics.equivalence import detectable_effect, smallest_detectable, tost
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


def test_tost_equals_r_and_pingouin():
    # R: max(t.test(d, mu=-0.05, alternative="greater")$p.value,
    #        t.test(d, mu=0.05, alternative="less")$p.value)
    assert tost(np.array(D), 0.05) == pytest.approx(0.681736918921475, abs=1e-12)
    pingouin = pytest.importorskip("pingouin")
    near = np.array(D) / 10
    peer = pingouin.tost(near, np.zeros(len(D)), bound=0.02, paired=True)
    assert tost(near, 0.02) == pytest.approx(float(peer["pval"].iloc[0]), abs=1e-12)


def test_tost_without_variance_or_subjects():
    assert tost(np.full(5, 0.01), 0.02) == 0.0
    assert tost(np.full(5, 0.03), 0.02) == 1.0
    assert np.isnan(tost(np.array([0.1]), 0.02))
    with pytest.raises(InputError, match="margin -1"):
        tost(np.array(D), -1)


@pytest.mark.parametrize(
    ("n", "expected"),
    # R: power.t.test(n=n, power=0.8, type="one.sample", sd=1, strict=TRUE, tol=1e-12)$delta
    [(6, 1.43454478204009), (20, 0.660441654622837), (490, 0.126811799998518)],
)
def test_detectable_effect_equals_r_and_statsmodels(n, expected):
    assert detectable_effect(n) == pytest.approx(expected, rel=1e-8)
    peer = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert detectable_effect(n) == pytest.approx(float(np.squeeze(peer)), rel=1e-5)


def test_smallest_detectable_difference_is_in_units_of_the_metric():
    d = np.array(D)
    assert smallest_detectable(d) == pytest.approx(detectable_effect(12) * d.std(ddof=1))
    assert np.isnan(smallest_detectable(d[:1]))
