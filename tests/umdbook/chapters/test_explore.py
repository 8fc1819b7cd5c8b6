"""A click of one's own, asked in both images."""

import numpy as np
import pytest

from umdbook.chapters import explore
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError


def test_a_click_is_asked_in_both_images_and_measured(make_cohort):
    cohort = read_cohort(make_cohort(1))
    pair = next(iter(explore.pairs_by_name(cohort).values()))
    viewer, table = explore.ask(pair, "threshold", "ball", (-19.0, 0.0, 0.0))
    assert table["modality"].tolist() == ["CT", "PET"]
    assert (table["DSC"] > 0.9).all()
    ball = 4 / 3 * np.pi * 18**3 / 1000
    assert table["volume (ml)"].between(0.85 * ball, 1.15 * ball).all()
    assert table["mean"].iloc[1] == pytest.approx(5.0, rel=0.1)
    assert [p.predictions[0].clicks["ball"][0].xyz_mm for p in viewer.panes] == [(-19.0, 0.0, 0.0)] * 2


def test_without_a_place_the_click_lies_in_the_middle_of_the_reference(make_cohort):
    pair = next(iter(explore.pairs_by_name(read_cohort(make_cohort(1))).values()))
    viewer, _ = explore.ask(pair, "threshold", "rod")
    x, y, _ = viewer.panes[0].predictions[0].clicks["rod"][0].xyz_mm
    assert abs(x - 25) <= 2 and abs(y) <= 2


def test_what_cannot_be_asked_is_a_sentence(make_cohort):
    cohort = read_cohort(make_cohort(2))
    pairs = explore.pairs_by_name(cohort, "sub-002")
    assert next(iter(pairs)) == "sub-002 petct"
    with pytest.raises(InputError, match="sub-003"):
        explore.pairs_by_name(cohort, "sub-003")
    pair = next(iter(pairs.values()))
    with pytest.raises(InputError, match="outside of"):
        explore.ask(pair, "threshold", "ball", (900.0, 0.0, 0.0))
    with pytest.raises(InputError, match="bull"):
        explore.ask(pair, "threshold", "bull")
