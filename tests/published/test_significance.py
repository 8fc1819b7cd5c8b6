import numpy as np
import pytest
from scipy import stats

from umdlib import published
from umdlib.errors import InputError
from umdlib.published.significance import CERTAIN, DEPENDS, NEVER


def test_p_is_that_of_scipy_on_the_pairs():
    rng = np.random.default_rng(1)
    a = rng.normal(0.5, 0.1, 60)
    b = 0.6 * a + rng.normal(0.22, 0.08, 60)
    p = published.paired_p(b.mean() - a.mean(), (a.std(), b.std()), np.corrcoef(a, b)[0, 1], 60)
    assert np.isclose(p, stats.ttest_rel(a, b).pvalue)


def test_the_range_holds_the_p_of_any_pairs():
    rng = np.random.default_rng(2)
    for _ in range(200):
        n = int(rng.integers(5, 400))
        a = rng.beta(2, 2, n)
        b = np.clip(rng.uniform(-1, 1) * (a - 0.5) + 0.5 + rng.normal(0, 0.1, n), 0, 1)
        four = [round(float(v), 4) for v in (a.mean(), b.mean(), a.std(), b.std())]
        found = published.p_range(tuple(four[:2]), tuple(four[2:]), n, half_unit=5e-5)
        assert found.p_low - 1e-12 <= stats.ttest_rel(a, b).pvalue <= found.p_high + 1e-12


def test_rho_needed_is_where_p_crosses_the_level():
    found = published.p_range((0.50, 0.52), (0.2, 0.15), 100, alpha=0.01)
    assert found.verdict == DEPENDS
    assert np.isclose(published.paired_p(0.02, (0.2, 0.15), found.rho_needed, 100), 0.01)


def test_verdicts_by_hand():
    # SD of the difference is at most 0.2: t >= 0.1 / (0.2 / sqrt(399)) = 10.
    assert published.p_range((0.4, 0.5), (0.1, 0.1), 400).verdict == CERTAIN
    # At least |0.3 - 0.1| = 0.2: t <= 0.01 / (0.2 / sqrt(99)) = 0.5.
    assert published.p_range((0.4, 0.41), (0.3, 0.1), 100).verdict == NEVER


def test_rounding_can_take_certainty_away():
    sharp = published.p_range((0.0001, 0.0003), (0.0001, 0.0001), 30, alpha=0.01)
    assert sharp.verdict == CERTAIN
    blunt = published.p_range((0.0001, 0.0003), (0.0001, 0.0001), 30, alpha=0.01, half_unit=5e-5)
    assert blunt.verdict == DEPENDS


@pytest.mark.parametrize(
    ("means", "sds", "n"),
    [
        ((0.1, np.nan), (0.1, 0.1), 10),
        ((0.1, 0.2), (0.1, np.nan), 10),
        ((0.1, 0.2), (-0.1, 0.1), 10),
        ((0.1, 0.2), (0.1, 0.1), 1),
    ],
)
def test_what_a_paired_p_needs_is_asked_for(means, sds, n):
    with pytest.raises(InputError, match="A paired p needs"):
        published.p_range(means, sds, n)


def test_nninteractive_loses_nine_organs_on_pet_for_certain():
    found = published.modality_ranges(published.read("umd_table1"), alpha=0.01)
    own = found.query("segmenter == 'nninteractive' and structure != 'average'")
    certain = own[own["verdict"] == CERTAIN]["better"].value_counts()
    assert certain.to_dict() == {"CT": 9, "PET": 2}
