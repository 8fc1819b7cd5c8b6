"""Sign-flip tests agree with exact tests in R and with enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from test_bootstrap import E, F, G, column

from umdlib.statistics.permutation import _saddlepoint, sign_flip_p


def test_exact_sign_flip_enumerates_every_pattern():
    values = np.array([-0.3, 0.1, -0.2, -0.4, 0.05, 0.0, np.nan])
    kept = values[np.isfinite(values) & (values != 0)]
    sums = [abs(np.dot(s, kept)) for s in itertools.product((-1, 1), repeat=len(kept))]
    expected = np.mean(np.array(sums) >= abs(kept.sum()) - 1e-12)
    p, how = sign_flip_p(column(values), n_resamples=99, rng=np.random.default_rng(0))
    assert (p[0], how[0]) == (expected, "exact")


def test_exact_sign_flip_equals_r():
    d = [-112, -34, 21, -87, -154, 6, -61, -43, -198, 35, -72, -19]
    p, how = sign_flip_p(column(d), n_resamples=99, rng=np.random.default_rng(0))
    # R 4.2.2, exactRankTests 0.8.35: perm.test(d, exact=TRUE)$p.value
    assert p[0] == pytest.approx(0.01171875, abs=1e-12)
    assert how[0] == "exact"


def test_exact_sign_flip_of_24_subjects_equals_r():
    # R: perm.test(e, exact=TRUE)$p.value
    expected = 0.0126725435256958
    p, how = sign_flip_p(column(E), n_resamples=99, rng=np.random.default_rng(0))
    assert how[0] == "exact"
    assert p[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "expected", "relative"),
    [
        (E, 0.0126725435256958, 0.05),  # R: perm.test(e, exact=TRUE)$p.value
        (G, 2.47140307737901e-05, 0.05),  # R: perm.test(g, exact=TRUE)$p.value
        (F, 5.58793544769287e-09, 0.40),  # R: perm.test(f, exact=TRUE)$p.value; 6 of 2**30 patterns
    ],
)
def test_saddlepoint_is_close_to_r_far_into_the_tail(values, expected, relative):
    assert _saddlepoint(np.array(values, float)) == pytest.approx(expected, rel=relative)


def test_p_value_below_the_number_of_resamples_keeps_its_size():
    spread = np.array(G) + np.arange(1, 61) / 1000  # without ties
    p, how = sign_flip_p(column(spread), n_resamples=999, rng=np.random.default_rng(0))
    assert how[0] == "saddlepoint"
    assert p[0] == pytest.approx(2.47140307737901e-05, rel=0.05)


def test_equal_sized_differences_keep_their_monte_carlo_p():
    values = np.full(48, 0.1)
    values[:12] *= -1
    exact = 2 * stats.binom.cdf(12, 48, 0.5)
    p, how = sign_flip_p(column(values), n_resamples=9999, rng=np.random.default_rng(0))
    assert how[0] == "monte carlo"
    assert p[0] == pytest.approx(exact, abs=4 * np.sqrt(exact / 9999))
    # the formula for a smooth sum is far too small here
    assert _saddlepoint(values) < 0.7 * exact


def test_equal_sized_differences_up_to_32_are_exact():
    values = np.full(30, 0.1)
    values[:6] *= -1
    p, how = sign_flip_p(column(values), n_resamples=99, rng=np.random.default_rng(0))
    assert (how[0], p[0]) == ("exact", pytest.approx(2 * stats.binom.cdf(6, 30, 0.5), rel=1e-12))


def test_all_of_one_sign_has_the_smallest_possible_p():
    values = column(np.linspace(0.1, 0.4, 40))
    p, _ = sign_flip_p(values, n_resamples=999, rng=np.random.default_rng(0))
    assert p[0] == 2.0**-39


def test_no_difference_gives_one_and_no_data_gives_nan():
    values = np.column_stack([np.zeros(4), np.full(4, np.nan)])
    p, _ = sign_flip_p(values, n_resamples=99, rng=np.random.default_rng(0))
    assert p[0] == 1.0
    assert np.isnan(p[1])
