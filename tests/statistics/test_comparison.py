"""Pairs are formed by subject and seed; the comparison table says why a value is missing."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores.simulated import Model, score_table
from umdlib.statistics.comparison import Settings, compare, compare_each
from umdlib.statistics.pairs import condition, paired_differences, standardised_means, subject_means, unpaired

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
    assert result["note"].eq("all differences are zero: no test of equivalence").all()
    assert result["p_equivalence"].isna().all()  # no variance shows nothing
    assert result["verdict"].eq("undecided").all()


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
    with pytest.raises(InputError, match="prompt of a 'class'"):
        condition(pd.concat([table, other, own], ignore_index=True), prompt="class")
    with pytest.raises(InputError, match="prompt of the score table 'randm'. Did you mean 'random'"):
        condition(pd.concat([table, other], ignore_index=True), prompt="randm")


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
    columns = [c for c in before if not c.endswith("_bh")]
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
    assert np.isnan([row["ci_low"], row["d_z"], row["smallest_detectable"], row["p_equivalence"]]).all()
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
    assert np.isnan([row["p_mean"], row["p_equivalence"]]).all()


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
    assert five["note"] == "fewer than 6 subjects: no test, no verdict"
    assert np.isnan([five["p_value"], five["p_holm"]]).all()
    assert five["verdict"] == "undecided"


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
    with pytest.raises(InputError, match="margin -1"):
        compare(table, margin=-1)
    with pytest.raises(InputError, match="Unknown setting 'metrics'"):
        compare(table, metrics="dice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": "x"}, "Invalid margin 'x'. Must be a number"),
        ({"margin": np.inf}, "margin inf. Must be above 0 and finite"),
        ({"failure_below": None}, "Invalid failure_below None"),
        ({"confidence": "95"}, "Invalid confidence '95'"),
        ({"n_resamples": 0}, "Invalid n_resamples 0. Must be a whole number of 1 or more"),
        ({"n_resamples": 99.0}, "Invalid n_resamples 99.0"),
        ({"seed": -1}, "Invalid seed -1. Must be a whole number of 0 or more"),
        ({"reference_modality": "XR"}, "Unknown modality 'XR'"),
        ({"by": ()}, "No column to compare by"),
    ],
)
def test_settings_that_no_comparison_can_have_are_refused_in_words(table, change, message):
    with pytest.raises(InputError, match=message):
        compare(table, **change)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda t: "scores.parquet", "Scores are a str, not a table. `umdlib.read_scores` reads a file"),
        (lambda t: t.drop(columns="status"), "Unknown column 'status'"),
        (
            lambda t: t.assign(dice=t["dice"] * 100),
            r"'dice' of the score table holds [\d.]+. Must lie in \[0, 1\]",
        ),
        (lambda t: t.assign(dice=t["dice"].astype(str)), "'dice' of the score table holds .*, not numbers"),
    ],
)
def test_what_is_no_score_table_is_refused_in_words(table, scores, message):
    with pytest.raises(InputError, match=message):
        compare(scores(table), **QUICK)


def test_one_column_to_compare_by_may_stand_alone(table):
    pd.testing.assert_frame_equal(
        compare(table, by="segmenter", **QUICK), compare(table, by=["segmenter"], **QUICK)
    )


def test_duplicate_rows_are_refused_by_name(table):
    with pytest.raises(InputError, match=r"duplicate rows.*sub-001"):
        compare(pd.concat([table, table.head(1)], ignore_index=True))


def test_unpaired_subjects_are_counted_per_comparison(table):
    lone = table.drop(index=table.index[table["subject"].eq("sub-003") & table["modality"].eq("PET")])
    result = compare(lone, **QUICK)
    assert result["note"].eq("1 of 12 without a pair (1 × PET: no row)").all()
    assert result["n_unpaired"].eq(1).all()
    assert result["n_pairs"].eq(11).all()


def test_a_segmenter_that_knows_one_modality_says_why_it_has_no_pair():
    scores = score_table(n_subjects=3, structures=["liver"], gap={"b": -0.2}, seed=1)
    scores["status"] = scores["status"].mask(scores["modality"].eq("CT"), "unavailable")
    scores["reason"] = "Not trained for CT of petct."
    assert compare(scores, n_resamples=99)["note"].eq("no pairs (structural: unavailable)").all()


def two_structures(present):
    """Six subjects: the first structure without a gap, the second loses about 0.167 where it is present."""
    rows = []
    for i in range(6):
        for structure, loss in (("liver", 0.0), ("aorta", 0.166)):
            if structure == "aorta" and not present(i):
                continue
            for modality, dice in (("CT", 0.8), ("PET", 0.8 - loss - 0.001 * (i % 3))):
                rows.append([f"s{i}", "petct", modality, structure, "a", "centre", 0, 0, dice, "ok", ""])
    keys = ["subject", "session", "modality", "structure", "segmenter", "prompt", "step", "seed"]
    return pd.DataFrame(rows, columns=[*keys, "dice", "status", "reason"])


def test_a_structure_that_half_of_the_subjects_lack_counts_as_in_all():
    by = ("session", "segmenter")
    every = compare(two_structures(lambda i: True), by=by, **QUICK).iloc[0]
    half = compare(two_structures(lambda i: i < 3), by=by, **QUICK).iloc[0]
    # A mean over what each subject has would be -0.0425: two structures in three subjects, one in three.
    assert every["estimate"] == pytest.approx(-0.084, abs=1e-9)
    assert half["estimate"] == pytest.approx(-0.084, abs=1e-9)
    assert half["mean_pet"] - half["mean_structural"] == pytest.approx(half["estimate"], abs=1e-12)


def test_missing_pairs_are_said_where_structures_are_averaged():
    table = two_structures(lambda i: True)
    lost = table["subject"].isin(["s4", "s5"]) & table["modality"].eq("PET") & table["structure"].eq("aorta")
    table.loc[lost, ["dice", "status"]] = [np.nan, "failed"]
    row = compare(table, by=("session", "segmenter"), **QUICK).iloc[0]
    assert row["note"] == (
        "2 of 12 without a pair (2 × PET: failed); "
        "2 of 6 × 2 pairs of subject and structure missing: standardised over the structures"
    )
    assert (
        compare(table, **QUICK)
        .set_index("structure")
        .loc["aorta", "note"]
        .startswith("fewer than 6 subjects")
    )
    assert "2 of 6 without a pair (2 × PET: failed)" in compare(table, **QUICK)["note"].tolist()[1]


def test_a_structure_without_any_row_is_said_as_well_as_one_without_a_pair():
    by = ("session", "segmenter")
    row = compare(two_structures(lambda i: i < 3), by=by, **QUICK).iloc[0]
    assert row["note"] == (
        "3 of 6 × 2 pairs of subject and structure missing: standardised over the structures"
    )
    alone = two_structures(lambda i: i == 0)
    alone = alone[alone["subject"].ne("s0") | alone["structure"].eq("aorta")]  # liver and aorta never meet
    assert (
        compare(alone, by=by, **QUICK)["note"]
        .iloc[0]
        .endswith(
            "6 of 6 × 2 pairs of subject and structure missing: "
            "too few in common to standardise, a mean of what each subject has"
        )
    )
    assert "missing" not in compare(alone, **QUICK)["note"].str.cat()


def test_equal_differences_have_no_verdict_whatever_their_round_off():
    scores = difference_table([-0.1] * 8)
    pet = scores["modality"].eq("PET")
    scores.loc[pet, "dice"] = [0.5 + 0.01 * i for i in range(8)]
    scores.loc[~pet, "dice"] = [0.6 + 0.01 * i for i in range(8)]
    row = compare(scores, **QUICK).iloc[0]
    assert np.isnan(row["p_value"]) and row["verdict"] == "undecided"
    assert row["note"].startswith("all differences are equal")


def test_standardised_means_recover_additive_effects():
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(7, 1)) + rng.normal(size=4)
    cells = pd.DataFrame(np.where(rng.random(whole.shape) < 0.3, np.nan, whole))
    np.testing.assert_allclose(standardised_means(cells), whole.mean(axis=1))


def test_subjects_without_a_common_structure_keep_their_plain_means():
    cells = pd.DataFrame({"a": [0.1, np.nan], "b": [np.nan, 0.5]})
    assert standardised_means(cells).tolist() == [0.1, 0.5]


def test_the_p_value_of_the_mean_inverts_its_interval(table):
    result = compare(table, **QUICK)
    out = result["ci_low"].gt(0) | result["ci_high"].lt(0)
    assert out.equals(result["p_mean"].lt(0.05))
    assert result["p_value"].equals(result["p_mean"])


def difference_table(differences, level=0.8):
    """A score table of one structure with given differences."""
    frames = []
    for i, d in enumerate(differences):
        for modality, dice in (("CT", level), ("PET", level + d)):
            frames.append([f"s{i:03d}", "petct", modality, "liver", "a", "centre", 0, 0, dice, "ok", ""])
    keys = ["subject", "session", "modality", "structure", "segmenter", "prompt", "step", "seed"]
    return pd.DataFrame(frames, columns=[*keys, "dice", "status", "reason"])


def test_a_small_difference_of_many_subjects_is_no_loss_that_matters():
    values = np.random.default_rng(0).normal(0, 0.0155, 490)
    row = compare(difference_table(values - values.mean() - 0.007), **QUICK).iloc[0]
    assert row["verdict"] == "differs by less than the margin"


@pytest.mark.parametrize(
    ("mean", "sd", "n", "verdict"),
    [
        (-0.2, 0.05, 12, "differs and matters"),
        (-0.03, 0.03, 12, "differs"),
        (0.0, 0.01, 200, "the same"),
        (0.0, 0.01, 12, "undecided"),  # five per cent of failures would be unseen
        (-0.01, 0.2, 12, "undecided"),
    ],
)
def test_verdicts_are_decided_together(mean, sd, n, verdict):
    values = np.random.default_rng(1).normal(0, 1, n)
    values = (values - values.mean()) / values.std() * sd + mean
    assert compare(difference_table(values), **QUICK).iloc[0]["verdict"] == verdict


def test_two_floors_are_not_identifiable():
    values = np.abs(np.random.default_rng(1).normal(0, 0.001, 300))
    row = compare(difference_table(values, level=0.01), **QUICK).iloc[0]
    assert row["verdict"] == "not identifiable"
    assert np.isnan(row["p_equivalence"])


def test_equivalence_is_corrected_in_a_family_of_its_own():
    table = score_table(
        n_subjects=200,
        structures=["liver", "aorta"],
        gap={"a": 0.0},
        model=Model(noise_sd=0.05, subject_sd=0.05),
    )
    result = compare(table, **QUICK)
    smallest = result["p_equivalence"].min()
    assert smallest < 0.5
    assert result["p_equivalence_holm"].min() == pytest.approx(2 * smallest)


def test_settings_that_share_their_pairs_give_what_each_gives_alone():
    table = score_table(
        n_subjects=7,
        structures=["liver", "aorta"],
        gap={"a": 0.0, "b": -0.2},
        n_seeds=2,
        model=Model(failure_rate=0.2),
    )
    table = table.drop(index=table.index[::9])
    table.loc[table["segmenter"].eq("b") & table["subject"].eq("sub-002"), ["dice", "hausdorff_95"]] = np.nan
    settings = [
        Settings(metric=metric, empty=empty, failure_below=below, reference_modality=modality, n_resamples=50)
        for metric, empty, below, modality in (
            ("dice", "drop", 0.1, None),
            ("hausdorff_95", "worst", 0.5, None),
            ("dice", "zero", 0.5, "CT"),
        )
    ]
    for by in (["session", "segmenter"], ["session", "segmenter", "structure"]):
        for chosen, found in zip(settings, compare_each(table, settings, by=by), strict=True):
            alone = compare(table, by=by, settings=chosen)
            pd.testing.assert_frame_equal(found, alone, check_exact=True)
            assert found.attrs == alone.attrs and found.attrs["empty"] == chosen.empty


def test_pseudo_values_beyond_the_scale_are_compared_and_the_interval_stays_on_it():
    """One subject loses all of the easy structure and lacks the hard one: its standardised loss is beyond -1."""
    n = 12
    rows = [
        {"subject": f"s{i}", "session": "petct", "structure": name, "segmenter": "a", "prompt": "centre"}
        | {
            "step": 0,
            "seed": 0,
            "status": "ok",
            "reason": "",
            "modality": modality,
            "dice": value + 0.002 * i,
        }
        for i in range(n)
        for name, modality, value in (
            ("liver", "CT", 0.5 if i else 0.97),
            ("liver", "PET", 0.9 if i else 0.0),
            ("colon", "CT", 0.97),
            ("colon", "PET", 0.0),
        )
        if i or name == "liver"
    ]
    found = compare(pd.DataFrame(rows), by=("session", "segmenter"), n_resamples=199).iloc[0]
    assert -1 <= found["ci_low"] < found["estimate"] < found["ci_high"] <= 1
