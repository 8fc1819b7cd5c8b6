"""What withholding structures costs: pairs of two networks, and the three differences by hand."""

import numpy as np
import pandas as pd
import pytest

from umdlib.statistics import cost_of_withholding, paired_scores


def row(segmenter, dice, structure="liver", subject="s1", **more):
    known = {"subject": subject, "session": "petct", "modality": "PET", "structure": structure}
    known |= {"segmenter": segmenter, "prompt": "centre", "step": 0, "seed": 0, "status": "ok", "reason": ""}
    return known | {"dice": dice} | more


def pairs_of(rows):
    return paired_scores(pd.DataFrame(rows), "full", "fewer", ["liver"])


def test_a_pair_is_one_structure_of_one_subject_on_pet_with_one_click():
    rows = [
        row("full", 0.9),
        row("fewer", 0.6),
        row("full", 0.8, "lung"),  # without a partner
        row("full", 0.1, modality="CT"),
        row("fewer", 0.1, modality="CT"),
        row("full", 0.1, step=1),
        row("fewer", 0.1, step=1),
        row("full", 0.1, prompt="random"),
        row("fewer", 0.1, prompt="random"),
        row("full", 0.1, "tumour"),
        row("fewer", 0.1, "tumour"),
        row("threshold", 0.2),
    ]
    (found,) = pairs_of(rows).to_dict("records")
    assert (found["structure"], found["full"], found["fewer"]) == ("liver", 0.9, 0.6)
    assert found["withheld"] and found["difference"] == pytest.approx(-0.3)


def test_without_one_of_the_two_networks_there_are_no_pairs():
    assert pairs_of([row("full", 0.9)]).empty
    gone = row("fewer", np.nan, status="unavailable")
    assert pairs_of([row("full", 0.9), gone]).empty


def test_the_cost_is_the_change_on_withheld_less_that_on_trained_structures():
    rows = []
    for subject, withheld, trained in (("s1", 0.5, 0.80), ("s2", 0.3, 0.70), ("s3", 0.4, 0.75)):
        rows += [row("full", 0.9, "liver", subject), row("fewer", withheld, "liver", subject)]
        for name, change in (("lung", 0.0), ("heart", 0.1)):  # two structures are one value of a subject
            rows += [row("full", 0.8, name, subject), row("fewer", trained + change, name, subject)]
    found = cost_of_withholding(pairs_of(rows), n_resamples=99).set_index("group")
    assert found.loc["withheld", "estimate"] == pytest.approx(-0.5)
    assert found.loc["trained", "estimate"] == pytest.approx((0.05 - 0.05 + 0.0) / 3)
    assert found.loc["withheld minus trained", "estimate"] == pytest.approx(-0.5)
    assert found["n_structures"].tolist() == [1, 2, 3]
    assert found.loc["withheld", ["full", "fewer"]].tolist() == pytest.approx([0.9, 0.4])
    assert np.isnan(found.loc["withheld minus trained", "full"])
    # Student's interval of the contrasts -0.45, -0.55, -0.5
    half = 4.302653 * 0.05 / np.sqrt(3)
    ends = found.loc["withheld minus trained", ["ci_low", "ci_high"]].tolist()
    assert ends == pytest.approx([-0.5 - half, -0.5 + half], abs=1e-6)


def test_a_subject_without_either_kind_of_structure_is_in_no_difference():
    rows = [row(s, 0.5, n, "s1") for s in ("full", "fewer") for n in ("liver", "lung")]
    rows += [row(s, 0.9, "liver", "s2") for s in ("full", "fewer")]
    found = cost_of_withholding(pairs_of(rows), n_resamples=99)
    assert found["n_subjects"].tolist() == [1, 1, 1]
    assert found["full"].dropna().tolist() == [0.5, 0.5]
    only = [r for r in rows if r["structure"] == "liver"]
    assert cost_of_withholding(pairs_of(only), n_resamples=99).empty
