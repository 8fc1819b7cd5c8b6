"""Prompts until a mask is good enough: by hand, absent structures and distances included."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import clicks as chapter
from umdlib.statistics import until_satisfied


def rows(values, *, segmenter="a", modality="PET", metric="dice", seconds=1.0):
    """Score rows from {(subject, structure): scores by step}."""
    made = []
    for (subject, structure), scores in values.items():
        for step, score in enumerate(scores):
            made.append(
                {
                    "subject": subject,
                    "session": "petct",
                    "modality": modality,
                    "structure": structure,
                    "segmenter": segmenter,
                    "prompt": "centre",
                    "step": step,
                    "seed": 0,
                    "status": "ok",
                    metric: score,
                    "seconds": seconds,
                }
            )
    return pd.DataFrame(made)


SCORES = {
    ("s1", "liver"): (0.9, 0.95, 0.95),  # at once
    ("s1", "spleen"): (0.5, 0.7, 0.85),  # at the third prompt
    ("s2", "liver"): (0.2, 0.8, 0.7),  # at the second, though worse later
    ("s3", "liver"): (0.1, 0.2, 0.3),  # never
}


def test_prompts_until_a_score_are_those_counted_by_hand():
    (found,) = until_satisfied(rows(SCORES), target=0.8).to_dict("records")
    assert found["at_once"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert found["reached"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["prompts"] == 3  # of 1, 2, 3 and never: the upper of the two in the middle
    assert found["seconds"] == pytest.approx(np.median([1, 3, 2, 3]))
    assert (found["budget"], found["n_subjects"]) == (3, 3)


def test_where_most_are_never_good_enough_there_is_no_median():
    table = until_satisfied(rows(SCORES), target=0.9)
    assert np.isnan(table["prompts"].item())
    assert chapter.until_layout(table)["prompts"].item() == "more than 3"
    assert chapter.until_layout(until_satisfied(rows(SCORES), target=0.8))["prompts"].item() == "3"


def test_a_distance_satisfies_from_below_and_a_single_prompt_is_no_effort():
    distances = rows({k: tuple(10 * (1 - s) for s in v) for k, v in SCORES.items()}, metric="hausdorff_95")
    (found,) = until_satisfied(distances, target=2.0 + 1e-9, metric="hausdorff_95").to_dict("records")
    assert found["reached"] == pytest.approx(2 / 3)
    single = rows({k: v[:1] for k, v in SCORES.items()}, segmenter="b")
    assert until_satisfied(single, target=0.8).empty
