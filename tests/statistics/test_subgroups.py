"""Subgroups are compared with each other; flow counts every subject once."""

import numpy as np
import pandas as pd
import pytest

from umdlib import figures
from umdlib.scores.simulated import Model, score_table
from umdlib.statistics.flow import flow_table
from umdlib.statistics.plan import departures, exploratory_words, plan_hash, plan_words, read_plan
from umdlib.statistics.subgroups import division_test, subgroup_table, subject_factors


@pytest.fixture
def people():
    rows = [
        {
            "subject": f"sub-{i + 1:03d}",
            "session": "petct",
            "modality": m,
            "sex": "FM"[i % 2],
            "age": 40 + 3 * i,
            "height_cm": 170,
            "weight_kg": 60 + 2 * i,
        }
        for i in range(16)
        for m in ("CT", "PET")
    ]
    return pd.DataFrame(rows)


def test_groups_follow_the_manifest(people):
    factors = subject_factors(people)
    assert list(factors) == ["sex", "age", "body mass"]
    as_read = people.astype({"age": str, "height_cm": str, "weight_kg": str})
    pd.testing.assert_frame_equal(subject_factors(as_read), factors)
    assert factors.loc["sub-001"].tolist() == [False, False, False]
    assert factors.loc["sub-016"].tolist() == [True, True, True]
    people.loc[people["subject"].eq("sub-001"), "age"] = np.nan
    assert subject_factors(people).loc["sub-001", "age"] is None
    with_lesions = subject_factors(people, {"sub-002": 3, "sub-003": 0})
    assert with_lesions["lesion load"].loc[["sub-002", "sub-003"]].tolist() == [True, False]


def test_a_planted_interaction_is_found_and_an_absent_one_is_not(people):
    scores = score_table(
        n_subjects=16, structures=["liver", "aorta"], gap={"a": -0.1}, model=Model(noise_sd=0.05), seed=1
    )
    men = scores["subject"].isin(people.loc[people["sex"].eq("M"), "subject"]) & scores["modality"].eq("PET")
    scores.loc[men, "dice"] -= 0.2
    found = subgroup_table(scores, subject_factors(people), n_resamples=999).set_index("factor")
    assert found.loc["sex", "estimate"] == pytest.approx(-0.2, abs=0.06)
    assert found.loc["sex", "p_holm"] < 0.01
    assert found.loc["age", "p_value"] > 0.05
    assert found["n_holm"].eq(3).all()


def test_a_group_of_three_is_not_tested(people):
    scores = score_table(n_subjects=6, structures=["liver"], gap={"a": -0.1}, seed=1)
    row = subgroup_table(scores, subject_factors(people), n_resamples=99).set_index("factor").loc["sex"]
    assert np.isnan(row["p_value"])
    assert row["note"] == "a group of 3: no test below 4"


def test_divisions_hold_their_level():
    rng = np.random.default_rng(0)
    p = [division_test(rng.normal(size=5), rng.normal(size=6), n_resamples=99, seed=0) for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 400))


def test_the_flow_counts_subjects_where_they_are_lost(people):
    scores = score_table(n_subjects=16, structures=["liver"], gap={"a": -0.1}, seed=1)
    people = people[~(people["subject"].eq("sub-001") & people["modality"].eq("PET"))]
    scores = scores[~(scores["subject"].eq("sub-001") & scores["modality"].eq("PET"))]
    lost = scores["subject"].eq("sub-002") & scores["modality"].eq("PET")
    scores.loc[lost, ["dice", "status"]] = [np.nan, "failed"]
    row = flow_table(people, scores).iloc[0]
    assert row[["enrolled", "imaged", "scored", "analysed"]].tolist() == [16, 15, 15, 14]
    assert (row["n_pairs"], row["n_unpaired"]) == (14, 2)
    ax = figures.participant_flow(flow_table(people, scores))
    assert "1 lost" in [t.get_text() for t in ax.texts]


def test_a_table_quotes_the_plan_and_says_where_it_departs():
    planned = read_plan()["settings"]
    assert departures(planned) == {}
    assert plan_words(planned).startswith(f"Plan {plan_hash()[:8]}, frozen ")
    assert "margin 0.05 instead of 0.02" in plan_words(planned | {"margin": 0.05})


def test_comparisons_that_the_plan_does_not_hold_are_called_exploratory():
    assert exploratory_words().startswith(f"Plan {plan_hash()[:8]}, frozen {read_plan()['frozen']}: ")
    assert exploratory_words().endswith("exploratory.")
