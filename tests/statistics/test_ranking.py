"""Ranks of segmenters by hand: common cases, distances, ties, and what a choice turns round."""

import numpy as np
import pandas as pd
import pytest

from umdlib.statistics import rank_segmenters, ranking_sensitivity
from umdlib.statistics.ranking import case_matrix


def table(values, metric="dice", **more):
    """PET scores from {segmenter: score by subject}; None is a failed run."""
    rows = [
        {"subject": f"s{n}", "session": "petct", "modality": "PET", "structure": "liver", "segmenter": name}
        | {"prompt": "centre", "step": 0, "seed": 0, "reason": "", "status": "failed" if v is None else "ok"}
        | {"dice": np.nan, metric: np.nan if v is None else v}
        for name, scores in values.items()
        for n, v in enumerate(scores)
    ]
    return pd.DataFrame(rows).assign(**more)


def test_a_case_that_one_segmenter_lacks_is_no_common_case():
    scores = table({"a": [0.9, 0.8, 0.1], "b": [0.7, 0.6, None]})
    assert case_matrix(scores).index.get_level_values("subject").tolist() == ["s0", "s1"]
    assert len(case_matrix(scores, common=False)) == 3
    found = rank_segmenters(scores, n_resamples=20).set_index("segmenter")
    assert found["score"].to_dict() == pytest.approx({"a": 0.85, "b": 0.65})
    assert found["n_dropped"].tolist() == [1, 1] and found["n_cases"].tolist() == [2, 2]
    failed = case_matrix(scores, empty="worst")
    assert failed.loc[("s2", "liver"), "b"] == 0.0


def test_a_segmenter_that_is_best_in_every_subject_is_first_in_every_resample():
    found = rank_segmenters(table({"b": [0.5, 0.6, 0.7], "a": [0.8, 0.9, 0.9]}), n_resamples=50)
    assert found["segmenter"].tolist() == ["a", "b"]
    assert found[["rank", "rank_low", "rank_high"]].to_numpy().tolist() == [[1, 1, 1], [2, 2, 2]]
    assert found["share_first"].tolist() == [1, 0] and found["kendall_tau"].tolist() == [1, 1]
    assert found["rank_shares"].tolist() == [(1.0, 0.0), (0.0, 1.0)]


def test_the_smallest_distance_is_the_first():
    scores = table({"far": [9.0, 8.0], "near": [2.0, 3.0]}, "hausdorff_95")
    found = rank_segmenters(scores, metric="hausdorff_95", n_resamples=20)
    assert found["segmenter"].tolist() == ["near", "far"]


def test_a_structural_image_of_another_kind_is_not_ranked():
    scores = table({"a": [0.5], "b": [0.6]})
    both = pd.concat([scores, scores.assign(modality="MR")], ignore_index=True)
    assert set(rank_segmenters(both, n_resamples=9)["modality"]) == {"PET"}
    assert rank_segmenters(scores.assign(modality="MR"), n_resamples=9).empty


def test_failures_that_a_rule_leaves_out_or_counts_turn_the_winner_round():
    scores = table({"bold": [0.9, 0.9, None, None], "steady": [0.6, 0.6, 0.6, 0.6]})
    found = ranking_sensitivity(scores, metrics=["dice"], commons=[True])
    found = found.set_index(["empty", "segmenter"])
    assert found.loc[("drop", "bold"), "rank"] == 1 and found.loc[("worst", "bold"), "rank"] == 2
    assert found.loc[("worst", "bold"), "score"] == pytest.approx(0.45)
    assert not found.loc[("zero", "bold"), "winner_changes"]
    assert found.loc[("worst", "bold"), "winner_changes"]
    assert found.loc[("worst", "bold"), "tau"] == pytest.approx(-1)
    assert found.loc[("drop", "bold"), "tau"] == pytest.approx(1)


def test_equal_segmenters_have_no_order_to_agree_with():
    found = ranking_sensitivity(table({"a": [0.5, 0.6], "b": [0.6, 0.5]}), metrics=["dice"])
    assert found["rank"].eq(1.5).all() and found["tau"].isna().all()
    assert not found["winner_changes"].any()


def test_a_structure_that_some_subjects_lack_counts_as_much_as_any():
    """`b` is better in the liver of all, `a` on the one colon by more; plain means would prefer `b`."""
    liver = table({"a": [0.8, 0.8, 0.8, 0.8], "b": [0.9, 0.9, 0.9, 0.9]})
    colon = table({"a": [0.4], "b": [0.2]}, structure="colon")
    scores = pd.concat([liver, colon], ignore_index=True)
    ranks = rank_segmenters(scores, n_resamples=50).set_index("segmenter")
    assert ranks["score"].to_dict() == pytest.approx({"a": 0.6, "b": 0.55})
    found = ranking_sensitivity(scores, metrics=["dice"], commons=[True]).set_index(["empty", "segmenter"])
    assert found.loc["drop", "score"].to_dict() == pytest.approx({"a": 0.6, "b": 0.55})
    assert found.loc[("drop", "a"), "rank"] == 1
