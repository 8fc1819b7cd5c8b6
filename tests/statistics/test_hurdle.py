"""Hurdle model, ranking and variance components agree with R and survive bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.statistics.hurdle import hurdle_table
from umdlib.statistics.ranking import case_matrix, rank_segmenters, ranking_sensitivity
from umdlib.statistics.variance_components import component_table

SCORES = {
    ("liver", "CT"): [775, 885, 893, 777, 775, 825, 914, 838, 858, 773, 957, 833],
    ("liver", "PET"): [870, 912, 828, 762, 852, 774, 874, 774, 752, 575, 815, 761],
    ("spleen", "CT"): [773, 788, 867, 757, 760, 740, 817, 694, 812, 682, 758, 759],
    ("spleen", "PET"): [660, 729, 647, 631, 682, 548, 679, 663, 640, 421, 786, 615],
    ("aorta", "CT"): [545, 643, 662, 596, 472, 559, 597, 543, 547, 508, 578, 568],
    ("aorta", "PET"): [458, 330, 373, 287, 397, 387, 470, 299, 306, 202, 531, 326],
}
FAILS = {
    ("liver", "CT"): "000000000001001100000100000000000000000001000000000000100011",
    ("liver", "PET"): "001001010001001110101111100011000100101111000010000001101001",
    ("aorta", "CT"): "010101110011001000001101001001111100000111111000011010111001",
    ("aorta", "PET"): "010110000011101110101100110111111000111111101100110001111001",
}


def as_scores(cells):
    """A score table of one segmenter from lists of DSC per structure and modality."""
    rows = [
        {
            "subject": f"s{i:02d}",
            "session": "petct",
            "modality": modality,
            "structure": structure,
            "segmenter": "a",
            "prompt": "centre",
            "step": 0,
            "seed": 0,
            "dice": value,
            "status": "ok",
            "reason": "",
        }
        for (structure, modality), values in cells.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def joint(monkeypatch):
    """Joint models also of the dozen subjects that R's numbers are of."""
    monkeypatch.setattr("umdlib.statistics.hurdle.CLUSTERS", 6)


@pytest.fixture
def scores():
    return as_scores({k: np.array(v) / 1000 for k, v in SCORES.items()})


def test_gee_equals_geepack(scores, joint):
    table = hurdle_table(scores).query("part == 'score'").set_index("structure")
    # R, geepack 1.3.9: geeglm(y ~ 0 + structure + structure:pet, id=subject, corstr="exchangeable")
    expected = {"liver": -0.0461666666667, "spleen": -0.1255, "aorta": -0.2043333333333}
    errors = {"liver": 0.0233692679643, "spleen": 0.0226232734148, "aorta": 0.0272435857215}
    for structure, value in expected.items():
        row = table.loc[structure]
        assert row["estimate"] == pytest.approx(value, abs=1e-10)
        half = (row["ci_high"] - row["ci_low"]) / 2
        # Mancl & DeRouen: 12/11 of the sandwich in this balanced design; t with 11 degrees.
        assert half == pytest.approx(2.200985160083 * errors[structure] * 12 / 11, rel=1e-6)


def test_overall_effect_and_interaction_equal_r(scores, joint):
    row = hurdle_table(scores).query("part == 'score' and structure == 'all'").iloc[0]
    # R: t.test(rowMeans(w)), w the 12 x 3 differences
    assert row["estimate"] == pytest.approx(-0.125333333333, abs=1e-10)
    # R: T2 = 25.3610605552351 by hand; the small-sample variance divides it by 12/11
    statistic = 25.3610605552351 * 11 / 12
    assert row["p_interaction"] == pytest.approx(stats.f.sf(statistic * 10 / 22, 2, 10), rel=1e-6)


def test_mixed_model_equals_lme4(scores, joint):
    table = hurdle_table(scores, method="mixed").query("part == 'score'").set_index("structure")
    assert table["method"].eq("mixed model, random intercept and modality effect").all()
    # R, lme4 1.1.31: lmer(y ~ 0 + structure + structure:pet + (1 + pet | subject))
    half = (table["ci_high"] - table["ci_low"]) / 2
    assert table.loc["aorta", "estimate"] == pytest.approx(-0.2043333333333, abs=1e-6)
    assert half["aorta"] == pytest.approx(2.200985160083 * 0.0238346855745, rel=2e-3)


def test_failure_model_equals_geepack():
    fails = as_scores({k: [0.0 if c == "1" else 0.8 for c in v] for k, v in FAILS.items()})
    row = hurdle_table(fails).query("part == 'failure'").iloc[0]
    # R: geeglm(y ~ 0 + structure + pet, id=subject, family=binomial, corstr="exchangeable")
    assert row["scale"] == "log odds"
    assert row["estimate"] == pytest.approx(0.905810318284, abs=2e-3)
    error = (row["ci_high"] - row["ci_low"]) / 2 / 2.00099537808827  # R: qt(0.975, 59)
    assert error == pytest.approx(0.242052634627, rel=1e-2)


def test_few_clusters_have_the_p_values_of_their_means(scores):
    table = hurdle_table(scores, n_resamples=999).query("part == 'score'").set_index("structure")
    assert table["method"].eq("means over subjects").all()
    assert table["note"].eq("fewer than 20 subjects: no joint model").all()
    # R: t.test(rowMeans(w)), w the 12 x 3 differences
    assert table.loc["all", "estimate"] == pytest.approx(-0.125333333333, abs=1e-10)
    out = table["ci_low"].gt(0) | table["ci_high"].lt(0)
    assert out.equals(table["p_value"].lt(0.05))
    assert table["p_value"].min() >= 2 / 1000  # what 999 resamples of 12 subjects can say
    # Hotelling's F of the 12 complete rows; R: T2 = 25.3610605552351 by hand
    assert table.loc["all", "p_interaction"] == pytest.approx(
        stats.f.sf(25.3610605552351 * 10 / 22, 2, 10), rel=1e-6
    )


def test_a_structure_of_four_subjects_has_its_own_number_and_no_p_value(scores):
    few = scores[scores["structure"].ne("aorta") | scores["subject"].lt("s04")]
    table = hurdle_table(few, n_resamples=499).query("part == 'score'").set_index("structure")
    assert table["n_subjects"].to_dict() == {"all": 12, "aorta": 4, "liver": 12, "spleen": 12}
    assert table["p_value"].isna().to_dict() == {"all": False, "aorta": True, "liver": False, "spleen": False}
    assert table.loc["aorta", "note"] == "fewer than 20 subjects: no joint model, and of 4 no test"


def test_no_failures_is_said(scores):
    row = hurdle_table(scores).query("part == 'failure'").iloc[0]
    assert row["note"] == "no prediction fails"
    assert np.isnan(row["p_value"])


def test_failures_on_one_side_only_give_a_risk_difference(scores):
    scores.loc[scores["modality"].eq("PET") & scores["subject"].lt("s06"), "dice"] = 0.0
    row = hurdle_table(scores).query("part == 'failure'").iloc[0]
    assert (row["estimate"], row["scale"]) == (0.5, "risk difference")
    assert (row["ci_low"] > 0) == (row["p_value"] < 0.05)
    assert np.isfinite([row["ci_low"], row["ci_high"]]).all()


def test_two_subjects_that_fail_give_no_interval(scores):
    scores.loc[scores["modality"].eq("PET") & scores["subject"].lt("s02"), "dice"] = 0.0
    row = hurdle_table(scores).query("part == 'failure'").iloc[0]
    assert row["estimate"] > 0 and np.isnan([row["ci_low"], row["p_value"]]).all()
    assert "the rates differ in 2 of 12 subjects alone" in row["note"]


def test_mixed_model_falls_back_where_it_cannot_be_trusted(scores, joint):
    scores["dice"] = np.where(scores["modality"].eq("PET"), 0.5, 0.75)  # no variance at all
    table = hurdle_table(scores, method="mixed").query("part == 'score'")
    assert table["method"].ne("mixed model, random intercept and modality effect").all()
    assert table["estimate"].to_numpy() == pytest.approx(-0.25)
    assert table["note"].iloc[0] == "mixed model refused"


def test_hurdle_of_one_structure_one_subject_and_nobody():
    lesions = score_table(n_subjects=6, structures=["lesion"], gap={"a": -0.2})
    table = hurdle_table(lesions).query("part == 'score'")
    assert np.isfinite(table["estimate"]).all()
    assert table["p_interaction"].isna().all()
    alone = hurdle_table(lesions[lesions["subject"].eq("sub-001")]).query("part == 'score'")
    assert alone["note"].iloc[0].startswith("fewer than 6 subjects")
    assert hurdle_table(lesions, method="gee").columns.tolist() == alone.columns.tolist()
    with pytest.raises(InputError, match="Unknown method 'lmm'"):
        hurdle_table(lesions, method="lmm")


def test_a_structure_that_always_fails_on_pet_leaves_the_score_part(scores):
    lost = scores["modality"].eq("PET") & scores["structure"].eq("aorta")
    scores.loc[lost, ["dice", "status"]] = [0.0, "prediction_empty"]
    table = hurdle_table(scores).query("part == 'score'")
    assert set(table["structure"]) == {"all", "liver", "spleen"}


VALUES = [410, 218, 366, 175, 495, 296, 390, 227, 809, 683, 817, 723, 508, 322, 531, 334, 467, 345]
VALUES += [340, 254, 644, 600, 649, 590, 607, 327, 539, 359, 606, 319, 576, 304, 713, 638, 727, 666]
VALUES += [602, 378, 647, 410, 641, 484, 705, 516, 928, 787, 878, 725, 603, 439, 820, 657, 666, 672]
VALUES += [648, 541, 935, 912, 915, 873, 460, 427, 500, 470, 493, 417, 609, 468, 749, 813, 700, 763]


@pytest.fixture
def crossed():
    """6 subjects x 3 structures x 2 prompts x 2 modalities."""
    keys = pd.MultiIndex.from_product(
        [[f"s{i}" for i in range(6)], ["liver", "spleen", "aorta"], [0, 1], ["CT", "PET"]],
        names=["subject", "structure", "seed", "modality"],
    )
    table = pd.DataFrame({"dice": np.array(VALUES) / 1000}, index=keys).reset_index()
    return table.assign(session="petct", segmenter="a", prompt="random", step=0, status="ok", reason="")


def test_sums_of_squares_equal_r(crossed):
    table = component_table(crossed).set_index("source")
    # R: anova(lm(y ~ i*o*m + i:o:k + i:o:k:m))[, 1:2]
    expected = {
        "subject": (5, 0.6189430694444),
        "structure": (2, 1.3418867777778),
        "modality": (1, 0.2889266805556),
        "subject:structure": (10, 0.1045158888889),
        "subject:modality": (5, 0.0632020694444),
        "structure:modality": (2, 0.0446674444444),
        "subject:structure:modality": (10, 0.0223255555556),
        "prompt": (18, 0.0952957500000),
        "prompt:modality": (18, 0.0082717500000),
    }
    for source, (df, squares) in expected.items():
        assert table.loc[source, "df"] == df
        assert table.loc[source, "sum_squares"] == pytest.approx(squares, abs=1e-10)
    assert table["share"].sum() == pytest.approx(1, abs=1e-12)


def test_components_equal_lme4(crossed):
    table = component_table(crossed).set_index("source")
    # R, lme4: VarCorr(lmer(y ~ (1|i)+(1|o)+(1|m)+(1|i:o)+(1|i:m)+(1|o:m)+(1|i:o:m)+(1|i:o:k)));
    # REML equals the method of moments in a balanced design with positive estimates.
    expected = {
        "subject": 0.008577429529109,
        "structure": 0.026683308092433,
        "modality": 0.007116299545378,
        "subject:structure": 0.000846094706812,
        "subject:modality": 0.001734646736783,
        "structure:modality": 0.001675089730844,
        "subject:structure:modality": 0.000886506490812,
        "prompt": 0.002417333253034,
        "prompt:modality": 0.000459540872190,
    }
    for source, value in expected.items():
        assert table.loc[source, "component"] == pytest.approx(value, rel=2e-3)


def test_a_modality_blind_segmenter_has_no_variance_of_modality(crossed):
    ct = crossed[crossed["modality"].eq("CT")]
    blind = pd.concat([ct, ct.assign(modality="PET")], ignore_index=True)
    table = component_table(blind).set_index("source")
    touched = table.index.str.contains("modality")
    assert table.loc[touched, "sum_squares"].max() < 1e-28
    assert table.loc["prompt", "sum_squares"] > 0.01


def test_one_prompt_cannot_be_told_from_the_interactions(crossed):
    table = component_table(crossed[crossed["seed"].eq(0)])
    assert table["note"].str.startswith("one prompt").all()
    assert table.loc[table["source"].eq("prompt"), "share"].isna().all()
    assert table["share"].sum() == pytest.approx(1)


def test_incomplete_subjects_are_left_out_and_counted(crossed):
    table = component_table(crossed.drop(index=crossed.index[0]))
    assert table["n_subjects"].eq(5).all()
    assert table["n_left_out"].eq(1).all()
    alone = component_table(crossed[crossed["subject"].eq("s0")])
    assert alone["note"].str.startswith("fewer than two subjects").all()


@pytest.fixture
def many():
    return score_table(n_subjects=15, structures=["liver", "aorta"], seed=6)


def test_ranking_follows_the_known_order_on_pet(many):
    ranks = rank_segmenters(many, n_resamples=500).query("modality == 'PET'")
    assert ranks["segmenter"].tolist() == ["a", "b", "c"]
    assert ranks["rank"].tolist() == [1, 2, 3]
    assert ranks["share_first"].sum() == pytest.approx(1)
    assert [sum(s) for s in ranks["rank_shares"]] == pytest.approx([1, 1, 1])
    assert ranks["kendall_tau"].iloc[0] > 0.9


def test_the_winner_over_other_cases_is_not_the_winner_over_common_ones():
    table = score_table(n_subjects=10, structures=["liver"], gap={"a": 0.0, "b": 0.0})
    hard = table["subject"].isin(["sub-001", "sub-002", "sub-003"])
    table["dice"] = np.where(hard, 0.2, 0.8) + 0.05 * table["segmenter"].eq("a")
    skips = table.drop(index=table.index[hard & table["segmenter"].eq("b")])
    fair = rank_segmenters(skips, n_resamples=50)
    unfair = rank_segmenters(skips, n_resamples=50, common=False)
    assert fair["segmenter"].iloc[0] == "a"
    assert unfair["segmenter"].iloc[0] == "b"
    assert (fair["n_cases"].iloc[0], fair["n_dropped"].iloc[0]) == (7, 3)


def test_a_segmenter_without_scores_drops_no_case(many):
    gone = many[many["segmenter"].eq("a")].assign(segmenter="z", dice=np.nan, status="failed")
    ranks = rank_segmenters(pd.concat([many, gone], ignore_index=True), n_resamples=50)
    assert ranks["n_cases"].eq(30).all()
    assert ranks.loc[ranks["segmenter"].eq("z"), "note"].eq("no score on any case").all()
    assert ranks.loc[ranks["segmenter"].eq("z"), "rank"].isna().all()


def test_equal_segmenters_share_their_rank():
    table = score_table(n_subjects=5, structures=["liver"], gap={"a": 0.0})
    twin = pd.concat([table, table.assign(segmenter="b")], ignore_index=True)
    ranks = rank_segmenters(twin, n_resamples=50)
    assert ranks["rank"].eq(1.5).all()
    assert ranks["share_first"].eq(1).all()


def test_missed_structures_flip_a_ranking_by_distance_unless_they_count():
    table = score_table(n_subjects=6, structures=["liver"], gap={"careful": 0.0, "lucky": 0.0})
    table["hausdorff_95"] = np.where(table["segmenter"].eq("lucky"), 5.0, 10.0)
    missed = table["segmenter"].eq("lucky") & table["subject"].gt("sub-002")
    table.loc[missed, ["hausdorff_95", "dice", "status"]] = [np.nan, 0.0, "prediction_empty"]
    far = table["segmenter"].eq("careful") & table["modality"].eq("PET")
    table.loc[far & table["subject"].eq("sub-001"), "hausdorff_95"] = 20.0
    result = ranking_sensitivity(table, metrics=["hausdorff_95"], commons=[False])
    winners = result[result["rank"].eq(1) & result["modality"].eq("PET")].set_index("empty")
    assert winners["segmenter"].to_dict()["drop"] == "lucky"
    assert winners["segmenter"].to_dict()["worst"] == "careful"
    assert bool(winners.loc["worst", "winner_changes"])


def test_case_matrix_is_averaged_over_seeds(many):
    part = many[many["modality"].eq("PET")]
    twice = pd.concat([part, part.assign(seed=1, dice=part["dice"] + 0.02)], ignore_index=True)
    np.testing.assert_allclose(case_matrix(twice), case_matrix(part) + 0.01)


def test_scores_without_failure_hold_no_failed_seed():
    table = score_table(n_subjects=12, structures=["liver", "spleen"], gap={"a": 0.0}, seed=1)
    seeds = pd.concat([table.assign(seed=s) for s in range(3)], ignore_index=True)
    lost = seeds["seed"].eq(0) & seeds["modality"].eq("PET")
    seeds.loc[lost, ["dice", "status"]] = [0.0, "prediction_empty"]
    with_lost, without = (
        hurdle_table(t).query("part == 'score'") for t in (seeds, seeds[~seeds["seed"].eq(0)])
    )
    pd.testing.assert_frame_equal(with_lost, without)


def test_a_hurdle_of_several_steps_at_once_is_refused():
    table = score_table(n_subjects=6, structures=["liver"], gap={"a": 0.0}, steps=(0, 1))
    with pytest.raises(InputError, match="is of one step"):
        hurdle_table(table, step=None)


def test_a_ranking_without_common_cases_says_so():
    table = score_table(n_subjects=4, structures=["liver"], gap={"a": 0.0, "b": 0.0})
    first = table["subject"].isin(sorted(set(table["subject"]))[:2])
    table = table[first.eq(table["segmenter"].eq("a"))]
    ranks = rank_segmenters(table, n_resamples=9)
    assert ranks["note"].eq("no case that all segmenters have").all()
