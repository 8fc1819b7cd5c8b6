"""nnInteractive's other prompts: a box, a lasso and a mask to start from, in whatever order they come."""

from dataclasses import replace

import numpy as np
import pytest
from test_systems import AFFINE, CENTRE, phantom, twin, world

from umdlib.prompts import initial_mask
from umdlib.prompts.prompt import Click, Prompt, box_of


@pytest.fixture(scope="module")
def segment():
    return twin("nninteractive")[1]


LINE = tuple(world(v) for v in ((12, 16, 11), (24, 16, 11), (24, 27, 11), (12, 27, 11)))
BALL = initial_mask(phantom("HU", half_mm=(12, 14, 6))[1], AFFINE)
CLICK = Click(world((17, 30, 11)), positive=False)
FIRST = {
    "box": Prompt("liver", box=box_of(AFFINE, (13, 17, 9), (21, 25, 13))),
    "lasso": Prompt("liver", lasso=LINE),
    "mask": Prompt("liver", initial=BALL),
    "mask and box": Prompt("liver", initial=BALL, box=box_of(AFFINE, (13, 17, 9), (21, 25, 13))),
}


@pytest.mark.parametrize("kind", ["lasso", "mask and box"])
def test_a_mask_does_not_depend_on_what_was_asked_before(segment, kind):
    image, _ = phantom("HU")
    prompt = FIRST[kind]
    corrected = prompt.with_click(CLICK)
    first, second = segment(image, prompt), segment(image, corrected)
    assert first.any() and (first != second).any()
    segment(image, Prompt("spleen", (Click(world(CENTRE)),)))
    np.testing.assert_array_equal(segment(image, corrected), second)
    np.testing.assert_array_equal(segment(image, prompt), first)


def test_of_a_box_the_middle_axial_slice_is_given(segment):
    image, _ = phantom("HU")
    whole = segment(image, FIRST["box"])
    flat = Prompt("liver", box=box_of(AFFINE, (13, 17, 11), (21, 25, 11)))
    np.testing.assert_array_equal(segment(image, flat), whole)
    other = Prompt("liver", box=box_of(AFFINE, (13, 17, 9), (21, 25, 9)))
    assert (segment(image, other) != whole).any()


def test_a_mask_alone_is_refined_and_with_a_click_it_is_where_the_click_starts(segment):
    image, _ = phantom("HU")
    alone = segment(image, FIRST["mask"])
    assert (alone != BALL.on(image)).any()
    clicked = segment(image, FIRST["mask"].with_click(CLICK))
    assert (clicked != segment(image, replace(FIRST["mask"], initial=None, clicks=(CLICK,)))).any()
