"""Pairs are formed by subject and seed; the comparison table says why a value is missing."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.statistics.comparison import compare, condition, paired_differences, subject_means, unpaired

QUICK = {"n_resamples": 500}


@pytest.fixture
def table():
    return score_table(n_subjects=12, structures=["liver", "aorta"], seed=4)


def test_difference_is_pet_minus_structural(table):
    pairs = paired_differences(table)
    row = pairs.iloc[0]
    cells = table[
        (table[["subject", "structure", "segmenter"]] == row[["subject", "structure", "segmenter"]]).all(
            axis=1
        )
    ].set_index("modality")["dice"]
    assert row["difference"] == pytest.approx(cells["PET"] - cells["CT"], abs=1e-15)
    assert pairs["state"].eq("paired").all()
    assert len(pairs) == 12 * 2 * 3


def test_a_modality_blind_segmenter_has_a_gap_of_exactly_zero(table):
    blind = table[table["modality"].eq("CT")]
    both = pd.concat([blind, blind.assign(modality="PET")])
    result = compare(both, **QUICK)
    assert (result[["estimate", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (result["p_value"] == 1).all()
    assert result["note"].eq("all differences are zero").all()
    assert result["equivalent"].all()


def test_row_order_does_not_matter(table):
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        paired_differences(table).sort_values(["segmenter", "structure", "subject"], ignore_index=True),
        paired_differences(shuffled).sort_values(["segmenter", "structure", "subject"], ignore_index=True),
    )


def test_unpaired_rows_are_kept_and_counted_with_their_reason(table):
    table.loc[table.index[3], ["dice", "status"]] = [np.nan, "failed"]
    lone = table.drop(index=table.index[0])
    pairs = paired_differences(lone)
    counted = unpaired(pairs)
    assert counted["n"].sum() == 2
    assert set(counted["why"]) == {"structural: no row", "structural: failed"}
    assert set(counted["state"]) == {"PET only"}
    assert pairs.loc[pairs["state"].ne("paired"), "difference"].isna().all()


def test_seeds_are_averaged_within_the_subject():
    many = score_table(n_subjects=5, structures=["liver"], gap={"a": -0.1}, n_seeds=4)
    pairs = paired_differences(many)
    assert pairs["n_seeds"].eq(4).all()
    assert len(pairs) == 5
    wide = many.pivot_table(index=["subject", "seed"], columns="modality", values="dice")
    expected = (wide["PET"] - wide["CT"]).groupby("subject").mean()
    np.testing.assert_allclose(pairs.set_index("subject")["difference"], expected)


def test_only_seeds_scored_on_both_sides_enter_either_mean():
    many = score_table(n_subjects=1, structures=["liver"], gap={"a": -0.1}, n_seeds=2)
    gone = many["modality"].eq("PET") & many["seed"].eq(1)
    many.loc[gone, ["dice", "status"]] = [np.nan, "failed"]
    row = paired_differences(many).iloc[0]
    assert row["n_seeds"] == 1
    assert row["structural"] == many.loc[many["seed"].eq(0) & many["modality"].eq("CT"), "dice"].iloc[0]


def test_structures_of_a_subject_are_one_value(table):
    pairs = paired_differences(table)
    matrix = subject_means(pairs, ["session", "segmenter"])
    assert matrix.shape == (12, 3)
    overall = compare(table, by=("session", "segmenter"), **QUICK)
    assert overall["n_subjects"].tolist() == [12, 12, 12]
    assert overall["n_pairs"].tolist() == [24, 24, 24]


def test_condition_takes_the_centre_prompt_or_the_only_one(table):
    other = table[table["segmenter"].eq("a")].assign(prompt="random", seed=1)
    own = table[table["segmenter"].eq("b")].assign(segmenter="d", prompt="class")
    kept = condition(pd.concat([table, other, own], ignore_index=True))
    assert kept.groupby("segmenter")["prompt"].unique().explode().tolist() == [
        "centre",
        "centre",
        "centre",
        "class",
    ]
    with pytest.raises(InputError, match="prompt of a 'box'"):
        condition(pd.concat([table, other], ignore_index=True), prompt="box")


def test_condition_takes_step_zero():
    steps = score_table(n_subjects=2, structures=["liver"], gap={"a": 0.0}, steps=(0, 1, 2))
    assert condition(steps)["step"].unique().tolist() == [0]
    assert condition(steps, step=2)["step"].unique().tolist() == [2]
    assert len(condition(steps, step=None)) == len(steps)


def test_the_intervals_of_a_cell_do_not_depend_on_other_segmenters(table):
    every = compare(table, **QUICK).set_index(["segmenter", "structure"])
    alone = compare(table[table["segmenter"].eq("b")], **QUICK).set_index(["segmenter", "structure"])
    columns = ["estimate", "ci_low", "ci_high", "p_permutation", "p_wilcoxon", "hl", "d_z"]
    np.testing.assert_allclose(
        every.loc[alone.index, columns].to_numpy(float), alone[columns].to_numpy(float), rtol=1e-12
    )


def test_an_all_nan_segmenter_harms_no_other(table):
    broken = table[table["segmenter"].eq("a")].assign(segmenter="z", dice=np.nan, status="failed")
    before = compare(table, **QUICK)
    after = compare(pd.concat([table, broken], ignore_index=True), **QUICK)
    same = after[after["segmenter"].ne("z")].reset_index(drop=True)
    columns = [c for c in before if c not in ("p_bh", "n_bh")]
    pd.testing.assert_frame_equal(same[columns], before[columns], check_dtype=False)
    np.testing.assert_allclose(same["p_bh"], before["p_bh"])
    gone = after[after["segmenter"].eq("z")]
    assert gone["note"].eq("no pairs (structural: failed; PET: failed)").all()
    assert gone["n_holm"].eq(0).all()
    assert gone["failure_pet"].eq(1).all()
    assert gone["p_value"].isna().all()


def test_one_subject_has_an_estimate_without_interval_or_test(table):
    row = compare(table[table["subject"].eq("sub-001")], **QUICK).iloc[0]
    assert np.isfinite(row["estimate"])
    assert np.isnan([row["ci_low"], row["d_z"], row["smallest_detectable"], row["p_tost"]]).all()
    assert row["note"] == "one subject: no interval, no test"
    assert np.isnan([row["p_permutation"], row["p_wilcoxon"], row["p_holm"]]).all()
    assert row["n_holm"] == 0


def test_a_table_of_unavailable_segmenters_only_says_so(table):
    gone = table.assign(status="unavailable", reason="weights not found", dice=np.nan)
    result = compare(gone, **QUICK)
    assert len(result) == 6
    assert result["note"].eq("unavailable: weights not found").all()
    assert set(compare(table, **QUICK)) == set(result)


def test_three_intervals_of_every_mean(table):
    result = compare(table, **QUICK)
    for name in ("ci", "bca", "t"):
        assert (result[f"{name}_low"] < result["estimate"]).all()
        assert (result[f"{name}_high"] > result["estimate"]).all()
    width = {n: (result[f"{n}_high"] - result[f"{n}_low"]).mean() for n in ("ci", "bca")}
    assert width["ci"] > width["bca"]


def test_zero_variance_says_so(table):
    ct = table[table["modality"].eq("CT")].assign(dice=0.75)
    constant = pd.concat([ct, ct.assign(modality="PET", dice=0.5)], ignore_index=True)
    row = compare(constant, **QUICK).iloc[0]
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (-0.25, -0.25, -0.25)
    assert np.isnan(row["d_z"])
    assert row["note"].startswith("all differences are equal")
    assert row["p_permutation"] == 2.0**-11


def test_different_cases_per_segmenter_have_their_own_n(table):
    part = table[~(table["segmenter"].eq("c") & table["subject"].isin(["sub-001", "sub-002"]))]
    n = compare(part, **QUICK).groupby("segmenter")["n_pairs"].unique()
    assert (n["a"].tolist(), n["c"].tolist()) == ([12], [10])


def test_two_sessions_do_not_mix(table):
    mr = score_table(n_subjects=7, structures=["liver"], sessions=["petmr"], seed=9)
    both = compare(pd.concat([table, mr], ignore_index=True), **QUICK)
    assert both.groupby("session")["n_pairs"].max().to_dict() == {"petct": 12, "petmr": 7}
    assert both.loc[both["session"].eq("petmr"), "n_holm"].unique().tolist() == [1]


def test_a_lesion_cohort_of_six_subjects_runs():
    lesions = score_table(n_subjects=6, structures=["lesion"], gap={"a": -0.2}, seed=1)
    row = compare(lesions, **QUICK).iloc[0]
    assert row["n_pairs"] == 6
    assert row["note"] == ""
    five = compare(lesions[lesions["subject"].lt("sub-006")], **QUICK).iloc[0]
    assert five["note"] == "fewer than six subjects: p cannot fall below 0.05"
    assert five["p_value"] >= 0.0625


def test_an_unavailable_segmenter_is_a_row_that_says_so(table):
    gone = table[table["segmenter"].eq("a")].assign(
        segmenter="z", status="unavailable", reason="weights not found", dice=np.nan
    )
    result = compare(pd.concat([table, gone], ignore_index=True), **QUICK)
    rows = result[result["segmenter"].eq("z")]
    assert rows["note"].eq("unavailable: weights not found").all()
    assert len(rows) == 2
    assert rows["estimate"].isna().all()


def test_one_modality_only_is_refused_in_words(table):
    mr = table[table["modality"].eq("CT")].assign(modality="MR")
    with pytest.raises(InputError, match=r"only MR\. A paired difference needs both"):
        paired_differences(mr)
    only_ct = compare(table[table["modality"].eq("CT")], **QUICK)
    assert only_ct["note"].eq("no pairs (PET: no row)").all()


def test_distances_are_compared_the_other_way_round(table):
    result = compare(table, metric="hausdorff_95", **QUICK)
    assert (result.loc[result["segmenter"].eq("c"), "estimate"] > 0).all()


def test_bad_names_are_refused(table):
    with pytest.raises(InputError, match="Unknown test 't'"):
        compare(table, test="t")
    with pytest.raises(InputError, match="Unknown column 'organ'"):
        compare(table, by=("session", "organ"), **QUICK)
    with pytest.raises(InputError, match="Unknown session 'petus'"):
        paired_differences(table.assign(session="petus"))
    with pytest.raises(InputError, match="confidence 95"):
        compare(table, confidence=95)


def test_duplicate_rows_are_refused_by_name(table):
    with pytest.raises(InputError, match=r"duplicate rows.*sub-001"):
        compare(pd.concat([table, table.head(1)], ignore_index=True))


def test_unpaired_subjects_are_counted_per_comparison(table):
    lone = table.drop(index=table.index[table["subject"].eq("sub-003") & table["modality"].eq("PET")])
    result = compare(lone, **QUICK)
    assert result["n_unpaired"].eq(1).all()
    assert result["n_pairs"].eq(11).all()


def test_a_segmenter_that_knows_one_modality_says_why_it_has_no_pair():
    scores = score_table(n_subjects=3, structures=["liver"], gap={"b": -0.2}, seed=1)
    scores["status"] = scores["status"].mask(scores["modality"].eq("CT"), "unavailable")
    scores["reason"] = "Not trained for CT of petct."
    assert compare(scores, n_resamples=99)["note"].eq("no pairs (structural: unavailable)").all()
