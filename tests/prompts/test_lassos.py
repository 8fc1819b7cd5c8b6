"""Closed lines around a structure and masks to start from: drawn, put on a grid, kept, counted."""

import json
import math

import numpy as np
import pytest
from test_drawing import COARSE, LIVER, OBLIQUE, curved, draw

from umdlib import prompts, protocols
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap
from umdlib.prompts import lassos
from umdlib.prompts.initial import initial_mask


def test_a_lasso_encloses_the_part_that_it_was_drawn_around():
    reference = curved()
    line = draw("lasso_128", {"CT": reference}, [LIVER])["liver"].lasso
    assert len(line) == 128
    mask = lassos.enclosed(line, reference)
    (index,) = np.flatnonzero(mask.any(axis=(0, 1)))
    part = reference.data[:, :, index] == 1
    assert (mask[:, :, index] != part).sum() < 0.02 * part.sum()
    # the chords of a few corners cut the ring's bends, but stay in one slice and meet the structure
    few = lassos.enclosed(draw("lasso_8", {"CT": reference}, [LIVER])["liver"].lasso, reference)
    assert np.flatnonzero(few.any(axis=(0, 1))).tolist() == [index]
    assert (few & (reference.data == 1)).any()


def test_a_lasso_of_a_ring_runs_along_its_outer_outline():
    i, j, _ = np.indices((30, 30, 5))
    radius = np.hypot(i - 15, j - 15)
    ring = LabelMap(((radius < 10) & (radius > 6)).astype(np.uint8), OBLIQUE)
    line = draw("lasso_64", {"CT": ring}, [LIVER])["liver"].lasso
    corners = geometry.to_voxel(OBLIQUE, np.array(line))
    assert np.hypot(*(corners[:, :2] - 15).T).min() > 8.9
    assert lassos.enclosed(line, ring)[15, 15].any()


def test_a_lasso_on_another_grid_fills_one_slice_and_a_small_one_its_middle():
    line = draw("lasso_16", {"CT": curved()}, [LIVER])["liver"].lasso
    image = LabelMap(np.zeros((60, 60, 60), np.uint8), COARSE)
    mask = lassos.enclosed(line, image)
    assert min(len(np.flatnonzero(mask.any(axis=a))) for a in ((0, 1), (0, 2), (1, 2))) == 1
    tiny = [tuple(geometry.to_world(COARSE, v)) for v in ((9.2, 9.2, 9), (9.4, 9.2, 9), (9.3, 9.4, 9))]
    assert np.argwhere(lassos.enclosed(tiny, image)).tolist() == [[9, 9, 9]]
    with pytest.raises(InputError, match="lasso's middle lies outside"):
        lassos.enclosed([(x + 9000, y, z) for x, y, z in line], image)


def test_an_initial_mask_is_the_reference_grown_by_its_length_on_any_grid():
    reference = LabelMap(np.zeros((9, 9, 9), np.uint8), np.diag([2.0, 2.0, 3.0, 1.0]))
    reference.data[4, 4, 4] = 1
    prompt = draw("initial_mask_2mm", {"CT": reference}, [LIVER])["liver"]
    found = {tuple(v) for v in np.argwhere(prompt.initial.voxels()).tolist()}
    assert found == {(4, 4, 4), (3, 4, 4), (5, 4, 4), (4, 3, 4), (4, 5, 4)}  # 3 mm along K is too far
    fine = LabelMap(np.zeros((36, 36, 54), np.uint8), np.diag([0.5, 0.5, 0.5, 1.0]))
    assert prompt.initial.on(fine).sum() == 5 * 4 * 4 * 6
    np.testing.assert_array_equal(prompt.initial.on(reference), prompt.initial.voxels())
    with pytest.raises(InputError, match="initial mask is empty"):
        initial_mask(np.zeros((3, 3, 3), bool), np.eye(4))


@pytest.mark.parametrize("protocol", ["lasso_16", "initial_mask_5mm"])
def test_a_stored_lasso_or_mask_is_the_same_to_the_bit_and_counted_as_its_protocol_says(protocol):
    for name, prompt in draw(protocol).items():
        kept = json.loads(json.dumps(prompts.to_record(prompt)))
        assert prompts.from_record(kept) == prompt
        if name == "spleen":  # absent
            assert (prompt.lasso, prompt.initial, prompt.note) == ((), None, prompts.REFERENCE_EMPTY)
            continue
        for _ in range(2):
            named = protocols.coordinates_given(protocol, prompt.step)
            assert prompt.coordinates == named or (math.isnan(named) and math.isnan(prompt.coordinates))
            prompt = prompt.with_click(prompts.Click((0.0, 0.0, 0.0)))
        assert prompt.step == 2
    assert protocols.coordinates_given("lasso_16", 1) == 2 * 16 + 1 + 3


def test_prompts_without_them_are_recorded_as_they_were():
    assert not {"lasso", "initial"} & set(prompts.to_record(prompts.Prompt("liver")))


def test_a_lasso_of_two_corners_is_refused():
    with pytest.raises(InputError, match="3 corners or more"):
        protocols.protocol("lasso_2")
