"""Scores in and out of the training's domain: names taken apart, changes and shares by hand."""

import numpy as np
import pandas as pd
import pytest

from umdlib.statistics import domain_changes, domain_scores, reference_parts

QUICK = {"n_resamples": 99}


def row(subject, segmenter, modality, dice, structure="liver", **more):
    known = {"subject": subject, "session": "petct", "modality": modality, "structure": structure}
    known |= {"segmenter": segmenter, "prompt": "centre", "step": 0, "seed": 0, "status": "ok", "reason": ""}
    return known | {"dice": dice} | more


def long(cells):
    """Rows as `domain_scores` gives them, from {(domain, modality): scores by number}, of one training."""
    rows = [
        {"domain": d, "number": str(n), "trained_on": "both", "modality": m, "structure": "liver", "score": v}
        for (d, m), values in cells.items()
        for n, v in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_a_subjects_name_is_its_domain_and_its_number_and_a_network_its_training():
    table = pd.DataFrame(
        [
            row("same-001", "clicknet_both", "CT", 0.9),
            row("far-off-001", "clicknet_both", "CT", 0.8),
            row("same-002", "clicknet_pet_3", "PET", 0.7),
        ]
    )
    found = domain_scores(table)
    assert found[["domain", "number", "trained_on"]].to_numpy().tolist() == [
        ["same", "001", "both"],
        ["far-off", "001", "both"],
        ["same", "002", "pet"],
    ]
    assert found["score"].tolist() == [0.9, 0.8, 0.7]


def test_other_networks_later_clicks_and_what_was_not_run_are_no_scores_of_a_domain():
    table = pd.DataFrame(
        [
            row("same-001", "threshold", "CT", 0.9),
            row("same-001", "clicknet_both", "CT", 0.9, step=1),
            row("same-001", "clicknet_both", "CT", np.nan, status="unavailable"),
        ]
    )
    assert domain_scores(table).empty
    assert domain_changes(domain_scores(table), **QUICK).empty


def test_a_structure_that_one_domain_lacks_is_left_out_of_all():
    table = pd.DataFrame(
        [
            row("same-001", "clicknet_both", "CT", 0.9),
            row("same-001", "clicknet_both", "CT", 0.1, "lung"),
            row("bodies-001", "clicknet_both", "CT", 0.8),
        ]
    )
    assert set(domain_scores(table)["structure"]) == {"liver"}


def test_the_change_is_within_subjects_of_one_number():
    scores = long(
        {("same", "CT"): [0.9, 0.8, 0.7], ("scanner", "CT"): [0.8, 0.6], ("still", "CT"): [0.9] * 3}
    )
    found = domain_changes(scores, **QUICK).set_index("domain")
    assert found.loc["same", "score"] == pytest.approx(0.8) and found.loc["same", "n_subjects"] == 3
    assert np.isnan(found.loc["same", ["change", "ci_low", "ci_high"]].astype(float)).all()
    # -0.1 and -0.2 of the two subjects that both domains have, not 0.7 - 0.8
    assert found.loc["scanner", "change"] == pytest.approx(-0.15)
    assert found.loc["scanner", "score"] == pytest.approx(0.7) and found.loc["scanner", "n_subjects"] == 2
    # Student's interval of 0, 0.1, 0.2: t(0.975, 2) = 4.302653
    half = 4.302653 * 0.1 / np.sqrt(3)
    ends = found.loc["still", ["ci_low", "ci_high"]].tolist()
    assert ends == pytest.approx([0.1 - half, 0.1 + half], abs=1e-6)


def test_a_domain_without_a_common_subject_has_a_score_and_no_change():
    scores = long({("same", "CT"): [0.9]})
    away = long({("scanner", "CT"): [0.5]}).assign(number="7")
    found = domain_changes(pd.concat([scores, away]), **QUICK).set_index("domain").loc["scanner"]
    assert found["score"] == 0.5 and np.isnan(found["change"]) and found["n_subjects"] == 0


def test_reference_and_image_sum_to_the_gap():
    cells = {("same", "PET"): [0.5, 0.4], ("still", "PET"): [0.6, 0.7], ("same", "CT"): [0.9, 0.7]}
    found = reference_parts(long(cells), **QUICK).set_index("part")["estimate"]
    assert found["gap"] == pytest.approx((0.5 - 0.9 + 0.4 - 0.7) / 2)
    assert found["reference"] == pytest.approx((0.5 - 0.6 + 0.4 - 0.7) / 2)
    assert found["image"] == pytest.approx((0.6 - 0.9 + 0.7 - 0.7) / 2)
    assert found["reference"] + found["image"] == pytest.approx(found["gap"])


@pytest.mark.parametrize("gone", [("same", "PET"), ("still", "PET"), ("same", "CT")])
def test_a_gap_is_not_taken_apart_without_a_domain_or_an_image(gone):
    cells = {("same", "PET"): [0.5], ("still", "PET"): [0.6], ("same", "CT"): [0.9]}
    del cells[gone]
    assert reference_parts(long(cells), **QUICK).empty
