"""Prompts until a mask is good enough: by hand, absent structures and distances included."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import clicks as chapter
from umdlib.statistics import curve_table, effort_table, gain_is_worse, until_satisfied


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


def both_images():
    """Liver and spleen of two subjects on both images, three steps; the spleen of s2 is lost on PET."""
    ct = {
        ("s1", "liver"): (0.8, 0.9, 0.9),
        ("s1", "spleen"): (0.6, 0.7, 0.9),
        ("s2", "liver"): (0.7, 0.7, 0.9),
    }
    pet = {
        ("s1", "liver"): (0.5, 0.6, 0.8),
        ("s1", "spleen"): (0.3, 0.6, 0.6),
        ("s2", "liver"): (0.6, 0.4, 0.8),
    }
    ct[("s2", "spleen")], pet[("s2", "spleen")] = (0.9, 0.9, 0.9), (0.9, np.nan, 0.9)
    return pd.concat([rows(ct, modality="CT"), rows(pet)], ignore_index=True)


def test_a_curve_is_means_gains_and_differences_of_whole_cases():
    table = curve_table(both_images(), n_resamples=99).set_index(["modality", "step"])
    # of s2 the liver alone on PET: its spleen is not scored at every step, and taken to lie 0.2, 0.0, 0.2
    # below its liver, as in s1
    assert table.loc["PET", "estimate"].tolist() == pytest.approx([0.45, 0.5, 0.7])
    assert table.loc["CT", "estimate"].tolist() == pytest.approx([0.75, 0.8, 0.9])
    assert table.loc["PET", "gain"].tolist()[1:] == pytest.approx([0.05, 0.2])
    assert np.isnan(table.loc[("PET", 0), "gain"])
    # PET minus CT on the structures that both have: s1 -0.3, s2 -0.1 with the first click
    assert table.loc[("difference", 0), "estimate"] == pytest.approx(-0.2)
    # with the second s1 -0.2 (spleen 0.2 above liver), s2 -0.3 in the liver, so -0.2
    assert table.loc[("difference", 1), "gain"] == pytest.approx(0.0, abs=1e-12)
    assert table["n_subjects"].eq(2).all() and not table["at_floor"].any()


def test_effort_is_the_median_over_subjects_of_their_means():
    table = effort_table(both_images()).set_index(["modality", "step"])
    # s1 0.4; s2 the liver's 0.6 alone, whose spleen is taken to lie 0.2 below it as in s1: 0.5
    assert table.loc[("PET", 0), ["q1", "median", "q3"]].tolist() == pytest.approx([0.425, 0.45, 0.475])
    assert table.loc[("CT", 2), "median"] == pytest.approx(0.9)
    assert table["coordinates"].unstack("modality").loc[2].tolist() == [9, 9]  # three clicks of three numbers


def test_a_click_makes_things_worse_where_its_whole_interval_says_so():
    bad, open_end = (
        pd.Series({"gain_low": -0.3, "gain_high": -0.1}),
        pd.Series({"gain_low": -0.3, "gain_high": 0.1}),
    )
    assert gain_is_worse(bad) and not gain_is_worse(open_end)
    assert not gain_is_worse(bad, "hausdorff_95")  # a distance that falls is a gain
    assert gain_is_worse(pd.Series({"gain_low": 1.0, "gain_high": 2.0}), "hausdorff_95")
