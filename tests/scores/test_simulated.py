"""Simulated scores have the gaps, spreads and failures that they were asked for."""

import numpy as np
import pytest

from umdlib.scores.simulated import Model, score_table
from umdlib.scores.table import KEYS, check_scores

STILL = Model(subject_sd=0.0, noise_sd=0.0)


def test_without_spread_every_score_is_the_level_and_the_gap():
    table = score_table(n_subjects=3, structures=["liver"], gap={"a": 0.0, "b": -0.25}, model=STILL)
    means = table.groupby(["segmenter", "modality"])["dice"].mean()
    expected = {("a", "CT"): 0.75, ("a", "PET"): 0.75, ("b", "CT"): 0.75, ("b", "PET"): 0.5}
    assert means.to_dict() == pytest.approx(expected)


def test_structures_are_spread_about_the_level_the_first_the_easiest():
    table = score_table(n_subjects=1, structures=["x", "y", "z"], gap={"a": 0.0}, model=STILL)
    scores = table[table["modality"].eq("CT")].set_index("structure")["dice"]
    assert scores["y"] == pytest.approx(0.75) and scores["x"] > scores["y"] > scores["z"]
    assert np.log(scores["x"] / (1 - scores["x"])) - np.log(3) == pytest.approx(0.8)


def test_each_click_halves_what_is_wrong():
    table = score_table(n_subjects=2, structures=["liver"], gap={"a": 0.0}, steps=(0, 1, 3), model=STILL)
    assert table.groupby("step")["dice"].unique().explode().to_dict() == {0: 0.75, 1: 0.875, 3: 0.96875}


def test_failures_are_of_pet_and_have_no_distance():
    table = score_table(n_subjects=200, structures=["liver"], gap={"a": 0.0}, model=Model(failure_rate=0.25))
    lost = table["status"].eq("prediction_empty")
    assert table.loc[lost, "modality"].eq("PET").all() and table.loc[lost, "dice"].eq(0).all()
    assert 0.17 < lost[table["modality"].eq("PET")].mean() < 0.33
    assert table.loc[lost, ["hausdorff_95", "assd"]].isna().all(axis=None)
    assert table.loc[lost, "rvd"].eq(-1).all() and table.loc[~lost, "hausdorff_95"].notna().all()


def test_a_subject_is_one_in_all_structures_of_an_image():
    model = Model(subject_sd=2.0, noise_sd=0.0)
    table = score_table(n_subjects=50, structures=["x", "y"], gap={"a": 0.0}, model=model)
    wide = table.pivot_table(index=["modality", "subject"], columns="structure", values="dice")
    assert wide.loc["CT"].corr(method="spearman").iloc[0, 1] > 0.999
    between = wide["x"].unstack("modality").corr(method="spearman").iloc[0, 1]
    assert abs(between) < 0.5


def test_a_table_is_one_that_the_project_reads_and_a_seed_repeats_it():
    given = {"n_subjects": 2, "sessions": ("petct", "petmr"), "n_seeds": 2, "structures": ["liver", "aorta"]}
    table = score_table(**given, seed=3)
    assert len(check_scores(table)) == len(table) == 2 * 2 * 2 * 2 * 2 * 3
    assert not table.duplicated(list(KEYS)).any()
    assert table["dice"].equals(score_table(**given, seed=3)["dice"])
    assert not table["dice"].equals(score_table(**given, seed=4)["dice"])
    assert set(table.loc[table["session"].eq("petmr"), "modality"]) == {"MR", "PET"}
