"""Shapley shares: additive, exactly 0 for what changes nothing, blind to names, and known by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.statistics import attribution

FACTORS = "RNCA"


def cells(values, subject="sub-001", reverse=None, **fixed):
    """Cells of one subject and structure from 17 scores, the last of the real PET."""
    names = [*attribution.subsets(FACTORS), attribution.PET, *(reverse or {})]
    scores = [*values, *(reverse or {}).values()]
    given = {"subject": subject, "session": "petct", "structure": "liver", "segmenter": "a", **fixed}
    return pd.DataFrame({**given, "cell": names, "score": scores, "reason": ""})


def test_shares_and_residual_sum_to_the_gap_for_every_subject():
    rng = np.random.default_rng(0)
    table = pd.concat([cells(rng.random(17), f"sub-{i:03d}") for i in range(200)])
    rows = attribution.share_rows(table)
    assert attribution.additivity_error(rows) < 1e-9
    wide = rows.pivot_table(index="subject", columns="factor", values="share")
    assert (wide[["R", "N", "C", "A", "residual"]].sum(axis=1) - wide["gap"]).abs().max() < 1e-9


def test_a_factor_that_changes_nothing_has_exactly_no_share():
    rng = np.random.default_rng(1)
    half = rng.random(8)
    values = np.array(
        [half[(n & 1) | (n >> 1 & 2) | (n >> 1 & 4)] for n in range(16)]
    )  # bit 1 (N) is ignored
    found = attribution.shapley_values(values)
    assert found[1] == 0.0 and np.all(found[[0, 2, 3]] != 0)
    low, high = attribution.order_extremes(values)
    assert low[1] == high[1] == 0.0


def test_renaming_the_factors_renames_their_shares():
    values = np.random.default_rng(2).random(16)
    found = attribution.shapley_values(values)
    for order in itertools.permutations(range(4)):
        moved = np.array([values[sum((n >> i & 1) << order[i] for i in range(4))] for n in range(16)])
        np.testing.assert_allclose(attribution.shapley_values(moved), found[list(order)], atol=1e-15)


def test_shares_are_the_mean_over_the_24_orders_and_lie_between_their_extremes():
    values = np.random.default_rng(3).random(16)
    parts = []
    for order in itertools.permutations(FACTORS):
        part, before = {}, 0
        for letter in order:
            after = before | 1 << FACTORS.index(letter)
            part[letter], before = values[after] - values[before], after
        parts.append([part[f] for f in FACTORS])
    assert len(parts) == 24
    np.testing.assert_allclose(attribution.shapley_values(values), np.mean(parts, axis=0), atol=1e-12)
    low, high = attribution.order_extremes(values)
    np.testing.assert_allclose(low, np.min(parts, axis=0), atol=1e-12)
    np.testing.assert_allclose(high, np.max(parts, axis=0), atol=1e-12)


def test_undoing_a_factor_on_pet_has_the_sign_of_its_share():
    """PET scores 0.5; without its contrast 0.7, without its displacement 0.6, without both 0.8."""
    undone = {"PET-C": 0.7, "PET-A": 0.6, "PET-C+A": 0.8}
    rows = attribution.share_rows(cells(np.full(17, 0.5), reverse=undone)).set_index("factor")
    assert rows.loc["C", "reverse"] == pytest.approx(-0.2)
    assert rows.loc["A", "reverse"] == pytest.approx(-0.1)
    assert np.isnan(rows.loc["R", "reverse"])


def test_a_cell_without_score_gives_a_reason_and_no_number():
    table = cells(np.full(17, 0.5))
    table.loc[5, ["score", "reason"]] = [np.nan, "too small"]
    rows = attribution.share_rows(table)
    assert rows["share"].isna().all() and rows["reason"].eq("too small").all()
    found = attribution.share_table(rows)
    assert found["estimate"].isna().all() and found["n_undefined"].eq(1).all()


def test_intervals_resample_subjects_and_not_structures():
    """Structures of a subject are averaged first: two alike add nothing."""
    rng = np.random.default_rng(4)
    drawn = [(f"sub-{i:03d}", rng.random(17)) for i in range(12)]
    one = pd.concat([cells(v, s) for s, v in drawn])
    two = pd.concat([one, one.assign(structure="spleen")])
    tables = [attribution.share_table(attribution.share_rows(t), n_resamples=300) for t in (one, two)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert tables[0]["n_subjects"].eq(12).all() and (tables[0]["low"] < tables[0]["high"]).all()


def test_worths_that_are_not_all_subsets_are_refused():
    with pytest.raises(InputError, match="2, 4, 8"):
        attribution.shapley_values(np.zeros(15))


def test_a_structure_that_half_of_the_subjects_lack_counts_as_in_all():
    """PET alone costs: nothing in the liver, 0.2 in the aorta; a mean of what each has would be -0.05."""
    table = []
    for i in range(6):
        level = 0.8 + 0.01 * i
        table.append(cells([level] * 17, f"s{i}"))
        if i < 3:
            table.append(cells([level] * 16 + [level - 0.2], f"s{i}", structure="aorta"))
    found = attribution.share_table(attribution.share_rows(pd.concat(table)), n_resamples=99)
    of = found.set_index("factor")["estimate"]
    assert of["gap"] == pytest.approx(-0.1)
    assert of[["R", "N", "C", "A", "residual"]].sum() == pytest.approx(of["gap"], abs=1e-12)
