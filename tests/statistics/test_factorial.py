"""The 3 × 2 design against arithmetic: planted effects come back, and the gap is their sum."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from umdbook.chapters import learned_gap as chapter
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.statistics import factorial as design

# mean of every cell: tested on (structural, pet) after training on ...
CELLS = {"structural": (0.8, 0.3), "pet": (0.4, 0.6), "both": (0.75, 0.55)}


def table(subjects=12, noise=0.02, seeds=(0, 1), sessions=("petct",), seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for session, n in itertools.product(sessions, range(subjects)):
        person = rng.normal(0, 0.05)
        for trained_on, s, structure in itertools.product(CELLS, seeds, ("liver", "spleen")):
            for side, modality in enumerate(("CT" if session == "petct" else "MR", "PET")):
                score = CELLS[trained_on][side] + person + rng.normal(0, noise)
                rows.append(
                    {
                        "subject": f"sub-{n:03d}",
                        "session": session,
                        "modality": modality,
                        "structure": structure,
                        "prompt": "centre",
                        "step": 0,
                        "seed": 0,
                        "segmenter": f"clicknet_{trained_on}" + (f"_{s}" if s else ""),
                        "dice": float(np.clip(score, 0, 1)),
                        "status": "ok",
                        "reason": "",
                    }
                )
    return pd.DataFrame(rows)


def contrasts(scores, **options) -> pd.DataFrame:
    found = design.contrast_table(design.design_scores(scores), n_resamples=2000, **options)
    return found.set_index("contrast")


def test_planted_effects_come_back():
    found = contrasts(table())
    wanted = {
        "gap": -0.5,
        "modality effect": -0.2,
        "transfer effect": -0.3,
        "reverse gap": 0.2,
        "interaction": -0.7,
        "gap after joint training": -0.2,
        "cost of joint training on structural images": -0.05,
        "cost of joint training on PET": -0.05,
    }
    assert list(found.index) == list(wanted)
    for name, value in wanted.items():
        assert found.loc[name, "estimate"] == pytest.approx(value, abs=0.02)
        assert found.loc[name, "ci_low"] < found.loc[name, "estimate"] < found.loc[name, "ci_high"]
        assert found.loc[name, "ci_high"] - found.loc[name, "ci_low"] < 0.05
        assert found.loc[name, "p_value"] < 0.05  # its interval leaves out 0


def test_the_gap_is_the_sum_of_modality_and_transfer_effect():
    found = contrasts(table(noise=0.1))
    parts = found.loc["modality effect", "estimate"] + found.loc["transfer effect", "estimate"]
    assert found.loc["gap", "estimate"] == pytest.approx(parts, abs=1e-12)


def test_the_person_cancels_within_subjects():
    """Without noise the persons differ, the contrasts do not: intervals of width 0."""
    found = contrasts(table(noise=0))
    np.testing.assert_allclose(found["ci_low"], found["estimate"], atol=1e-9)
    np.testing.assert_allclose(found["ci_high"], found["estimate"], atol=1e-9)


def test_the_share_that_was_learned():
    share = design.learned_share(design.design_scores(table()), n_resamples=2000).iloc[0]
    assert share["estimate"] == pytest.approx(0.6, abs=0.02)
    assert share["ci_low"] < 0.6 < share["ci_high"]


def test_no_share_of_a_gap_that_may_be_zero():
    scores = table()
    scores.loc[scores["segmenter"].str.contains("structural"), "dice"] = 0.5
    share = design.learned_share(design.design_scores(scores), n_resamples=200).iloc[0]
    assert np.isnan(share["estimate"])
    assert "may be zero" in share["note"]


def test_the_table_has_six_cells_per_session():
    found = design.design_table(design.design_scores(table(sessions=("petct", "petmr"))))
    assert len(found) == 12
    assert found["modality"].tolist() == ["CT", "PET"] * 3 + ["MR", "PET"] * 3
    for row in found.itertuples():
        wanted = CELLS[row.trained_on][row.side == "pet"]
        assert row.estimate == pytest.approx(wanted, abs=0.06)
        assert row.ci_low < row.estimate < row.ci_high
        assert (row.n_subjects, row.n_seeds) == (12, 2)


def test_a_structure_that_one_cell_lacks_leaves_all_cells():
    """A missing score of one network takes that subject's structure out everywhere."""
    scores = table(subjects=3, noise=0)
    gone = (
        scores["subject"].eq("sub-001")
        & scores["structure"].eq("spleen")
        & scores["segmenter"].eq("clicknet_pet")
        & scores["modality"].eq("PET")
    )
    scores.loc[gone, ["dice", "status"]] = [np.nan, "failed"]
    rows = design.design_scores(scores)
    left = rows[rows["subject"].eq("sub-001")]
    assert set(left["structure"]) == {"liver"}
    assert len(left) == 6


def test_a_structure_that_one_subject_lacks_counts_as_in_all():
    scores = table(subjects=3, noise=0)
    whole = design.cells(design.design_scores(scores))
    fewer = scores[scores["subject"].ne("sub-001") | scores["structure"].ne("spleen")]
    pd.testing.assert_frame_equal(design.cells(design.design_scores(fewer)), whole)
    every = design.by_training_seed(scores)["score"].tolist()
    assert design.by_training_seed(fewer)["score"].tolist() == pytest.approx(every)


def test_a_seed_that_one_training_lacks_leaves_all_trainings():
    scores = table(subjects=3)
    scores = scores[scores["segmenter"].ne("clicknet_pet_1")]
    assert set(design.design_scores(scores)["n_seeds"]) == {1}
    seeds = design.by_training_seed(scores)
    assert set(seeds[seeds["training_seed"].eq(1)]["trained_on"]) == {"structural", "both"}


def test_every_training_seed_has_its_own_contrasts():
    scores = table()
    second = scores["segmenter"].str.endswith("_1") & scores["modality"].eq("PET")
    scores.loc[second, "dice"] -= 0.1
    singly = design.contrasts_by_training_seed(scores, n_resamples=99)
    gaps = singly[singly["contrast"].eq("gap")].set_index("training_seed")["estimate"]
    assert gaps[0] == pytest.approx(-0.5, abs=0.02)
    assert gaps[1] == pytest.approx(-0.6, abs=0.02)
    both = contrasts(scores).loc["gap", "estimate"]
    assert both == pytest.approx(gaps.mean())
    layout = chapter.seed_layout(singly)
    assert list(layout.columns)[2:] == ["Training seed 0", "Training seed 1"]
    assert layout["Contrast"].tolist() == list(design.CONTRASTS)
    assert chapter.seed_sentence(singly).startswith("Between training seeds the ")


def test_one_training_seed_has_nothing_to_compare():
    singly = design.contrasts_by_training_seed(table(seeds=(0,)), n_resamples=99)
    assert chapter.seed_layout(singly).empty
    assert chapter.seed_sentence(singly) == ""
    none = design.contrasts_by_training_seed(table().query("segmenter == 'threshold'"))
    assert chapter.seed_layout(none).empty


def test_further_trainings_stand_beside_the_runs_own_on_its_subjects():
    scores = table()
    run = scores[~scores["segmenter"].str.endswith("_1")]
    other = scores.assign(subject=scores["subject"].replace("sub-003", "sub-103"), dice=0.0)
    joined = chapter.with_further(run, other)
    assert set(joined["segmenter"]) == set(scores["segmenter"])
    assert "sub-103" not in set(joined["subject"])
    own = joined[joined["segmenter"].isin(run["segmenter"])]
    pd.testing.assert_frame_equal(own.reset_index(drop=True), run.reset_index(drop=True))


def test_a_table_without_these_networks_is_empty_and_says_nothing_wrong():
    scores = table(subjects=2)
    scores["segmenter"] = scores["segmenter"].str.replace("clicknet", "other")
    rows = design.design_scores(scores)
    assert rows.empty
    assert design.design_table(rows).empty
    assert design.contrast_table(rows).empty
    assert design.learned_share(rows).empty
    assert design.by_training_seed(scores).empty


def test_cells_of_two_sessions_are_refused():
    rows = design.design_scores(table(subjects=2, sessions=("petct", "petmr")))
    with pytest.raises(InputError, match="Cells of one session, not of petct, petmr"):
        design.cells(rows)


def test_the_share_of_the_gap_agrees_with_the_modality_effect():
    """100 % is in the share's interval exactly where 0 is in the modality effect's."""
    agreed = 0
    for seed in range(12):
        gap = {"clicknet_structural": -0.3, "clicknet_pet": 0.06 * (seed % 3)}
        table = score_table(n_subjects=8, structures=["liver", "spleen"], gap=gap, seed=seed)
        rows = design.design_scores(table)
        share = design.learned_share(rows, n_resamples=400)
        effect = design.contrast_table(rows, names=["modality effect"], n_resamples=400)
        if share["estimate"].isna().all():
            continue
        agreed += 1
        whole = share["ci_low"].iloc[0] <= 1 <= share["ci_high"].iloc[0]
        none = effect["ci_low"].iloc[0] <= 0 <= effect["ci_high"].iloc[0]
        assert whole == none
    assert agreed > 6


def test_without_a_difference_between_seeds_the_interval_is_that_of_subjects():
    subjects = np.random.default_rng(0).normal(0.1, 0.05, 9)
    mean, low, high, freedom = design._crossed(np.column_stack([subjects] * 3), None)
    peer = stats.ttest_1samp(subjects, 0).confidence_interval(0.95)
    assert freedom == 8
    assert (mean, low, high) == pytest.approx((subjects.mean(), peer.low, peer.high), abs=1e-12)


def test_two_seeds_that_differ_leave_one_degree_of_freedom():
    values = np.random.default_rng(0).normal(0, 0.001, (12, 2)) + np.array([0.1, 0.3])
    mean, low, high, freedom = design._crossed(values, None)
    assert freedom == pytest.approx(1, abs=0.01)
    # Student's t of the two seeds' means: 0.2 +- 12.706 * 0.1
    assert (low, high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=0.02)


def test_intervals_over_subjects_and_seeds_cover():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(600):
        values = rng.normal(0, 0.1, (8, 1)) + rng.normal(0, 0.1, (1, 3)) + rng.normal(0, 0.05, (8, 3))
        _, low, high, _ = design._crossed(values, None)
        hits.append(low <= 0 <= high)
    assert np.mean(hits) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 600)


def test_contrasts_over_seeds_need_two_of_them():
    both = design.contrasts_over_seeds(table(seeds=(0, 1)))
    assert set(both["n_seeds"]) == {2}
    assert (both["ci_low"] <= both["estimate"]).all()
    assert design.contrasts_over_seeds(table(seeds=(0,))).empty
