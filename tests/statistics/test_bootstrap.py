"""Bootstrap intervals agree with SciPy and R, and with the p-values that invert them."""

import itertools

import numpy as np
import pytest
from scipy import stats

from umdlib.errors import InputError
from umdlib.statistics.bootstrap import (
    bca_interval,
    estimate_means,
    interval_of_mean,
    mean_interval,
    resample_counts,
    resampled_means,
    resampled_medians,
    seeded_counts,
    student_interval,
)
from umdlib.statistics.distribution_free import distribution_free_bounds, distribution_free_tail


def studentised_interval(values, counts):
    return estimate_means(values, counts).studentised(0.95)


# R: set.seed(1); round(rnorm(24, -30, 45))
E = [-58, -22, -68, 42, -15, -67, -8, 3, -4, -44, 38, -12, -58, -130, 21]
E += [-32, -31, 12, 7, -3, 11, 5, -27, -120]
# then round(rnorm(30, -60, 50))
F = [-29, -63, -68, -134, -84, -39, 8, -65, -41, -63, -129, -81, -80, -63, -5]
F += [-22, -68, -73, -25, -32, -94, -95, -42, -22, -66, -16, -40, -91, -43, -116]
# then round(rnorm(60, -30, 40))
G = [27, 49, -45, -72, -7, -35, 66, -32, -2, -29, -60, -22, -102, 29, -24, 57, -11, -58, -6, -67]
G += [-80, -18, -48, -30, -27, -54, -53, -35, 17, -91, -6, -17, 13, -42, -15, -19, -52, 18, 16, -2]
G += [33, -8, -81, -53, -79, -49, -55, -28, -66, -24, -56, 41, -1, 6, -15, 37, -55, -48, 27, -56]


def column(values):
    return np.asarray(values, dtype=float)[:, None]


@pytest.mark.parametrize("n", [6, 20, 83])
def test_bca_equals_scipy_on_the_same_draws(n):
    # Multiples of 1/1024 add up without round-off, so that both count the same ties.
    values = np.round(np.random.default_rng(n).gamma(2.0, 0.1, n) * 1024) / 1024
    ours = bca_interval(column(values), resample_counts(n, 999, np.random.default_rng(7)))
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    np.testing.assert_allclose([ours[0][0], ours[1][0]], [peer.low, peer.high], atol=1e-12)


# Losses with a long tail.
SKEWED = [-0.041, -0.112, -0.225, -0.007, -0.181, -0.03, -0.354, -0.093, -0.012, -0.166]
SKEWED += [-0.004, -0.071, -0.118, -0.27, -0.052, -0.001, -0.083, -0.145, -0.022, -0.06]


def test_studentised_interval_is_that_of_a_loop_over_the_draws():
    values, n, times = np.array(SKEWED), len(SKEWED), 999
    drawn = values[np.random.default_rng(3).integers(0, n, (times, n))]
    ratio = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1) / np.sqrt(n))
    ratio, error = np.sort(ratio), values.std(ddof=1) / np.sqrt(n)
    counts = resample_counts(n, times, np.random.default_rng(3))
    low, high = studentised_interval(column(values), counts)
    # The 25th and the 975th of 999 bound 95 %.
    assert low[0] == pytest.approx(values.mean() - ratio[974] * error, rel=1e-9)
    assert high[0] == pytest.approx(values.mean() - ratio[24] * error, rel=1e-9)


def test_studentised_interval_of_all_draws_equals_r():
    values = column([0, -0.02, -0.03, -0.05, -0.09, -0.4])
    drawn = itertools.product(range(6), repeat=6)
    counts = np.array([np.bincount(row, minlength=6) for row in drawn], dtype=float)
    low, high = studentised_interval(values, counts)
    # R: g <- expand.grid(rep(list(1:6), 6)); v <- matrix(x[as.matrix(g)], ncol = 6)
    #    m <- rowMeans(v); se <- sqrt(rowSums((v - m)^2) / 5 / 6); tt <- (m - mean(x)) / se
    #    tt[se < 1e-12] <- sign(m[se < 1e-12] - mean(x)) * Inf; N <- length(tt) + 1
    #    mean(x) - sort(tt)[round(c(0.975, 0.025) * N)] * sd(x) / sqrt(6)
    assert (low[0], high[0]) == pytest.approx((-0.791474958472093, -0.00159224539199926), rel=1e-9)


def test_students_interval_equals_r_and_scipy():
    low, high = student_interval(column(SKEWED))
    # R: t.test(x)$conf.int
    assert (low[0], high[0]) == pytest.approx((-0.1475600526886902, -0.0571399473113098), rel=1e-12)
    peer = stats.ttest_1samp(SKEWED, 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((peer.low, peer.high), rel=1e-12)


def test_default_interval_is_students_below_five_and_not_narrower_below_ten():
    for n in (2, 4, 5, 9, 10, 20):
        values = column(SKEWED[:n])
        counts = resample_counts(n, 2000, np.random.default_rng(0))
        ours, own = mean_interval(values, counts), studentised_interval(values, counts)
        student = student_interval(values)
        if n < 5:
            assert ours == student
        elif n < 10:
            assert ours == (min(own[0], student[0]), max(own[1], student[1]))
        else:
            assert ours == own


def test_one_lost_subject_stretches_no_interval_over_the_scale():
    values = column([-0.01, -0.02, 0.0, -0.015, -0.03, 0.01, -0.005, -0.9])
    counts = resample_counts(8, 4000, np.random.default_rng(0))
    free = studentised_interval(values, counts)
    low, high = mean_interval(values, counts, bounds=(-1, 1))
    assert free[0][0] < -1
    # One-sided gap of 8 subjects at 99.5 %: 0.5418. By hand, from the lowest loss upwards:
    held = 0.005 * (5 / 8 - 0.5418) + 0.01 * (6 / 8 - 0.5418)
    held += 0.87 * (7 / 8 - 0.5418) + 0.1 * (1 - 0.5418)
    assert low[0] == pytest.approx(-(1 - held), abs=1e-4)
    assert high[0] == max(free[1][0], student_interval(values)[1][0])


def test_an_infinite_end_is_students_where_there_are_no_limits():
    values = column([0, 0, 0, 0, 0, 7.0])  # a third of the resamples have no spread
    counts = resample_counts(6, 999, np.random.default_rng(0))
    assert np.isinf(studentised_interval(values, counts)).any()
    ends = np.ravel(mean_interval(values, counts))
    assert ends[1] == pytest.approx(student_interval(values)[1][0])
    assert np.isfinite(ends).all()


def test_distribution_free_bounds_equal_anderson_by_hand():
    values = column([0.1, 0.4, 0.8])
    gap = 0.636044788092677  # R: uniroot(function(d) (1-d)^3 + 3*d*(2/3-d)^2 - 0.05, c(.4, .66))
    # Birnbaum and Tingey (1951): P(D+ > d) of three values is (1 - d)^3 + 3 d (2/3 - d)^2.
    assert (1 - gap) ** 3 + 3 * gap * (2 / 3 - gap) ** 2 == pytest.approx(0.05, abs=1e-4)
    low, high = distribution_free_bounds(values, (0, 1), confidence=0.9)
    # Upper: only i = 2 (2/3 - gap) and 3 (1 - gap) hold mass back from 1.
    assert high[0] == pytest.approx(1 - (0.4 * (2 / 3 - gap) + 0.2 * (1 - gap)), abs=1e-4)
    assert low[0] == pytest.approx(0.1 * (1 - gap) + 0.3 * (2 / 3 - gap), abs=1e-4)
    with pytest.raises(InputError, match=r"Value 0.8 lies outside the limits \(0, 0.5\)"):
        distribution_free_bounds(values, (0, 0.5))


def test_bounds_of_nobody_are_the_limits():
    low, high = distribution_free_bounds(np.full((3, 1), np.nan), (-1, 1))
    assert (low[0], high[0]) == (-1, 1)


def test_counts_are_the_draws_of_a_gather():
    values = np.random.default_rng(0).normal(size=(9, 4))
    drawn = np.random.default_rng(3).integers(0, 9, (50, 9))
    means = resampled_means(values, resample_counts(9, 50, np.random.default_rng(3)))
    np.testing.assert_allclose(means, values[drawn].mean(axis=1), atol=1e-14)


def test_missing_values_do_not_reach_other_cells():
    values = np.random.default_rng(0).normal(size=(12, 3))
    counts = resample_counts(12, 500, np.random.default_rng(1))
    full = bca_interval(values, counts)
    values[:, 1], values[:5, 2] = np.nan, np.nan
    low, high = bca_interval(values, counts)
    assert (low[0], high[0]) == pytest.approx((full[0][0], full[1][0]), abs=1e-14)
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    assert low[2] < np.nanmean(values[:, 2]) < high[2]


def test_constant_column_has_an_interval_of_width_zero_and_one_subject_none():
    counts = resample_counts(5, 200, np.random.default_rng(0))
    values = np.full((5, 2), 0.25)
    values[1:, 1] = np.nan
    low, high = bca_interval(values, counts)
    assert low[0] == high[0] == 0.25
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_medians_are_those_of_a_gather():
    values = np.round(np.random.default_rng(2).normal(size=(10, 3)), 1)  # ties, even n
    drawn = np.random.default_rng(3).integers(0, 10, (80, 10))
    medians = resampled_medians(values, resample_counts(10, 80, np.random.default_rng(3)))
    np.testing.assert_allclose(medians, np.median(values[drawn], axis=1), atol=1e-14)


def test_resampling_nobody_is_refused():
    with pytest.raises(InputError, match="0 subjects"):
        resample_counts(0, 10, np.random.default_rng(0))


@pytest.mark.parametrize("n", [2, 4, 5, 8, 9, 10, 20, 48])
def test_p_value_is_below_five_percent_where_the_interval_leaves_out_zero(n):
    rng = np.random.default_rng(n)
    values = np.concatenate(
        [
            rng.normal(0.03, 0.05, (n, 60)),
            0.1 - rng.beta(0.5, 4, (n, 60)),
            np.where(rng.random((n, 60)) < 0.2, -0.6, 0.1),
            np.round(rng.normal(0.02, 0.03, (n, 60)), 2),
        ],
        axis=1,
    )
    values[rng.random(values.shape) < 0.05] = np.nan
    found = estimate_means(values, resample_counts(n, 999, rng), bounds=(-1.0, 1.0))
    low, high = found.interval()
    p = found.p_value()
    known = np.isfinite(p)
    assert known.sum() > 100
    assert (((low > 0) | (high < 0)) == (p <= 0.05))[known].all()


def test_p_value_of_four_subjects_is_students():
    values = column([-0.1, -0.2, -0.15, 0.02])
    p = estimate_means(values, resample_counts(4, 99, np.random.default_rng(0))).p_value()
    assert p[0] == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, rel=1e-9)


def test_p_value_that_no_resample_reaches_keeps_its_size_from_twenty_subjects_on():
    values = np.random.default_rng(0).normal(-0.3, 0.1, (48, 1))
    counts = resample_counts(48, 999, np.random.default_rng(0))
    p = estimate_means(values, counts).p_value()[0]
    peer = stats.ttest_1samp(values[:, 0], 0).pvalue
    assert 1e-3 < np.log(p) / np.log(peer) < 1.5
    assert p < 1e-12
    few = estimate_means(values[:8], resample_counts(8, 999, np.random.default_rng(0))).p_value()[0]
    assert few >= 2 / 1000


def test_no_variance_tests_nothing():
    found = estimate_means(column([0.1] * 6), resample_counts(6, 99, np.random.default_rng(0)))
    assert np.isnan(found.p_value()).all()
    assert np.isnan(interval_of_mean([0.1], "dice", 99, 0).low)
    assert interval_of_mean([0.0] * 6, "dice", 99, 0).p_value == 1.0
    assert interval_of_mean([1e-17, -1e-17] * 3, "dice", 99, 0).p_value == 1.0


def test_differences_that_are_equal_but_for_round_off_test_nothing_either():
    lower = np.array([0.4, 0.41, 0.42, 0.43, 0.44, 0.45, 0.46, 0.47])
    values = (lower + 0.1) - lower - 0.2  # -0.1 eight times, on paper
    assert np.ptp(values) > 0
    counts = resample_counts(8, 499, np.random.default_rng(0))
    found = estimate_means(values[:, None], counts, bounds=(-1.0, 1.0))
    assert np.isnan(found.p_value()).all()
    ends = [end[0] for end in (*found.interval(), *bca_interval(values[:, None], counts))]
    assert ends == pytest.approx([-0.1] * 4, abs=1e-12)


def test_fewer_than_six_subjects_have_an_interval_and_no_p_value():
    # Student's p of the same four values is 0.00003
    few = interval_of_mean([-0.3, -0.29, -0.28, -0.27], "dice", 499, 0)
    assert few.high < 0
    assert np.isnan(few.p_value)
    assert interval_of_mean([-0.3, -0.29, -0.28, -0.27, -0.3, -0.26], "dice", 499, 0).p_value < 0.05


def test_distribution_free_tail_inverts_the_bound():
    values = np.random.default_rng(0).beta(2, 3, (15, 4))
    values[3, 1] = np.nan
    low, high = distribution_free_bounds(values, (-1, 1), confidence=0.9)
    for i in range(4):
        assert distribution_free_tail(values, (-1, 1), low[i], -1)[i] == pytest.approx(0.05, abs=1e-5)
        assert distribution_free_tail(values, (-1, 1), high[i], 1)[i] == pytest.approx(0.05, abs=1e-5)
    assert (distribution_free_tail(values, (-1, 1), 0.0, 1) == 1).all()


def test_counts_of_a_seed_are_kept_with_the_generator_after_them():
    for n in (6, 7, 8, 6):  # drawn, dropped as floats, and taken from what is kept
        rng = np.random.default_rng(4)
        drawn = resample_counts(n, 50, rng)
        counts, after = seeded_counts(n, 50, 4)
        np.testing.assert_array_equal(counts, drawn)
        assert after.integers(0, 2**40, 3).tolist() == rng.integers(0, 2**40, 3).tolist()
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0] = 0
