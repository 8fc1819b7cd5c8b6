"""Cubes around a click, regions that grow in them, and pictures of slices: small arrays worked out by hand."""

import numpy as np
import pytest
import scipy.ndimage

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import REFERENCE_EMPTY, Click, Prompt, box_of
from umdlib.segmenters.ceilings import ceiling
from umdlib.segmenters.contract import Segmenter
from umdlib.segmenters.preparation import crop, growing, slices
from umdlib.segmenters.systems import lesion_contour, litemedsam, sam, threshold


def image(data, spacing=(1.0, 1.0, 1.0), unit="HU") -> Volume:
    return Volume(np.asarray(data, np.float32), np.diag([*spacing, 1.0]), unit, "phantom")


def at(*xyz, positive=True) -> Click:
    return Click(tuple(map(float, xyz)), positive)


def test_blocks_are_means_of_whole_voxels_and_the_last_repeats_the_edge():
    line = image(np.arange(7.0).reshape(7, 1, 1))
    part = crop.crop_around(line, np.zeros(3), reach_mm=4, block_mm=2)
    assert part.step == (2, 2, 2) and part.start == (0, 0, 0) and part.stop == (5, 1, 1)
    assert part.data.ravel().tolist() == [0.5, 2.5, 4.0]  # 0, 1 | 2, 3 | 4, 4
    assert part.affine[:3, 3].tolist() == [0.5, 0.5, 0.5] and part.spacing_mm == (2, 2, 2)
    back = part.restore(np.array([True, False, True]).reshape(3, 1, 1))
    assert back.ravel().tolist() == [True, True, False, False, True, False, False]


def test_voxels_are_joined_only_where_two_fit_into_a_block():
    part = crop.crop_around(image(np.ones((4, 4, 4)), (1.6, 3.0, 1.0)), np.zeros(3), reach_mm=9, block_mm=2.5)
    assert part.step == (1, 1, 2)


def test_a_click_outside_is_refused_with_point_and_image():
    with pytest.raises(InputError) as error:
        crop.crop_around(image(np.ones((3, 3, 3))), np.array([9.123, 0, 0]), reach_mm=2, block_mm=2)
    assert str(error.value) == "The click at (9.12, 0.0, 0.0) mm lies outside phantom (3, 3, 3)."


def test_a_ball_holds_its_click_and_a_side_ends_half_way_to_the_next_negative_one():
    part = crop.crop_around(image(np.ones((9, 3, 3))), np.array([4.0, 1, 1]), reach_mm=9, block_mm=1)
    assert crop.ball(part, at(4, 1, 1), 1.0).sum() == 7
    assert np.argwhere(crop.ball(part, at(4.4, 1.4, 1), 0.1)).tolist() == [[4, 1, 1]]
    mine = part.own_side(at(1, 1, 1), (at(1, 1, 1), at(7, 1, 1, positive=False)))
    assert mine[:4].all() and not mine[4:].any()
    assert part.own_side(at(1, 1, 1), (at(1, 1, 1),)).all()


def test_an_eroded_mask_is_that_of_a_ball_of_voxels():
    rng = np.random.default_rng(1)
    mask = rng.random((12, 11, 10)) < 0.9
    near = np.indices((5, 5, 3)).reshape(3, -1).T - (2, 2, 1)
    ball = ((near * (1.0, 1.0, 2.0)) ** 2).sum(axis=1).reshape(5, 5, 3) <= 2.5**2
    expected = scipy.ndimage.binary_erosion(mask, ball, border_value=1)
    np.testing.assert_array_equal(growing.eroded(mask, (1.0, 1.0, 2.0), 2.5), expected)


def test_a_thin_bridge_is_cut_and_a_thin_tube_is_kept():
    data = np.zeros((31, 11, 11), bool)
    data[1:12, 1:10, 1:10] = data[19:30, 1:10, 1:10] = True
    data[12:19, 5, 5] = True
    part = crop.crop_around(image(data.astype(float)), np.array([6.0, 5, 5]), reach_mm=40, block_mm=1)
    kept = growing.core(part.data > 0.5, part, at(6, 5, 5), 3.0)
    assert kept[2:11, 3:8, 3:8].all() and not kept[19:].any()
    tube = np.zeros_like(data)
    tube[:, 4:7, 4:7] = True
    assert growing.core(tube, part, at(6, 5, 5), 3.0)[:, 5, 5].all()


def test_the_band_is_robust_and_never_narrower_than_a_unit_allows():
    # median 10, median deviation 1: 1.4826; in HU at least 12
    values = np.array([9.0, 10, 10, 11, 8, 12, 500])
    assert growing._band(values, "HU", 2.0) == pytest.approx((10 - 24, 10 + 24))
    assert growing._band(values, "a.u.", 2.0) == pytest.approx((10 - 2 * 1.4826, 10 + 2 * 1.4826))
    assert growing._band(np.full(5, 10.0), "SUV", 2.0) == pytest.approx((6.0, 14.0))  # a fifth of the median


def test_limits_of_a_threshold_follow_the_unit():
    data = np.full((9, 9, 9), 40.0)
    data[4, 4, 4] = 100.0
    part = crop.crop_around(image(data), np.full(3, 4.0), reach_mm=9, block_mm=1)
    assert threshold.limits(part, at(4, 4, 4), "SUV") == (pytest.approx(41.0), np.inf)
    assert threshold.limits(part, at(4, 4, 4), "HU") == (-10.0, 90.0)
    assert threshold.limits(part, at(4, 4, 4), "a.u.") == (30.0, 50.0)


def test_a_lesions_threshold_lies_between_its_maximum_and_the_shell_around_it():
    x, y, z = np.indices((41, 41, 41)) - 20
    away = np.sqrt(x**2 + y**2 + z**2)
    data = np.where(away < 6, 10.0, np.where(away < 15, 7.0, 2.0))
    # most of the shell is above half of the maximum: another lesion, no background
    data = np.where((away > 16) & (x > -5), 9.0, data)
    part = crop.crop_around(image(data, unit="SUV"), np.full(3, 20.0), reach_mm=50, block_mm=1)
    assert lesion_contour.threshold(part, at(20, 20, 20)) == pytest.approx(2 + 0.41 * 8)
    alone = crop.crop_around(image(np.full((5, 5, 5), 3.0)), np.full(3, 2.0), reach_mm=50, block_mm=1)
    assert lesion_contour.threshold(alone, at(2, 2, 2)) == pytest.approx(0.41 * 3)  # no shell: no background


def test_a_ceiling_is_that_of_the_share_that_can_be_seen():
    wanted = np.zeros((4, 4, 4), bool)
    wanted[:2] = True
    half = np.zeros_like(wanted)
    half[0] = True

    def sees(voxels):
        return Segmenter("s", "S", "S.", None, frozenset({"click"}), reach=lambda *given: voxels)

    phantom, prompt = image(np.zeros((4, 4, 4))), Prompt("liver")
    assert ceiling(sees(half), phantom, prompt, wanted) == pytest.approx(2 * 0.5 / 1.5)
    assert ceiling(sees(wanted), phantom, prompt, wanted) == 1
    assert ceiling(sees(~wanted), phantom, prompt, wanted) == 0
    assert np.isnan(ceiling(sees(wanted), phantom, prompt, np.zeros_like(wanted)))
    assert np.isnan(ceiling(sees(wanted), phantom, Prompt("liver", note=REFERENCE_EMPTY), wanted))


def stack_of(shape=(8, 6, 4)) -> tuple[Volume, slices.Stack]:
    phantom = image(np.zeros(shape))
    return phantom, slices.axial(phantom)


def test_a_picture_is_lps_and_a_box_is_inclusive_pixels_of_it():
    phantom, stack = stack_of()
    assert stack.data.shape == (4, 6, 8)
    box = box_of(phantom.affine, (1, 2, 1), (3, 4, 2))
    # of 8 columns and 6 rows, both counted from the other side
    assert slices.pixels_of(box, stack) == (1, 2, (4, 1, 6, 3))


def test_clicks_go_to_the_box_that_holds_them_and_others_stand_alone():
    phantom, stack = stack_of()
    box = box_of(phantom.affine, (1, 2, 1), (3, 4, 2))
    clicks = (at(2, 3, 1), at(7, 0, 1), at(3, 3, 1, positive=False), at(6, 5, 3, positive=False))
    parts = {(z, b): points for z, points, b in sam._parts(phantom, Prompt("liver", clicks, box), stack)}
    assert sorted(parts, key=str) == [(1, (4, 1, 6, 3)), (1, None), (2, (4, 1, 6, 3))]
    inside, signs = parts[1, (4, 1, 6, 3)]
    assert inside.tolist() == [[5, 2], [4, 2]] and signs.tolist() == [1, 0]
    alone, signs = parts[1, None]
    assert alone.tolist() == [[0, 5], [4, 2]] and signs.tolist() == [1, 0]
    assert parts[2, (4, 1, 6, 3)] is None


def test_what_a_sam_can_reach_are_its_slices():
    phantom, _ = stack_of()
    box = box_of(phantom.affine, (1, 2, 1), (3, 4, 2))
    seen = sam._reach(phantom, Prompt("liver", (), box), np.ones(phantom.shape, bool))
    assert seen.any(axis=(0, 1)).tolist() == [False, True, True, False] and seen[:, :, 1].all()


def test_small_specks_get_no_box_and_neighbours_at_a_corner_are_one():
    mask = np.zeros((2, 12, 12), bool)
    mask[1, 0:3, 0:3] = mask[1, 3:6, 3:6] = True  # touch at a corner
    mask[1, 8:11, 8:11] = True  # nine pixels
    assert list(slices._boxes_of(mask)) == [(1, (0, 0, 5, 5))]


def test_a_neighbours_box_is_enlarged_and_cut_and_an_empty_mask_keeps_the_given_one():
    small = np.zeros((256, 256), np.uint8)
    given = np.array([1, 2, 3, 4])
    assert litemedsam._around(small, given) is given
    small[0:2, 250:256] = 1  # rows 0 to 1, columns 250 to 255
    assert litemedsam._around(small, given).tolist() == [247, 0, 256, 4]
    assert litemedsam._scaled_box((10, 20, 30, 41), (512, 300)).tolist() == [5, 10, 15, 20]
    assert litemedsam.fitted(np.full((512, 100), 7, np.uint8)).shape == (256, 50)


def test_a_grown_twin_says_that_it_is_no_better_than_its_region():
    twin = slices.grown(sam.MEDSAM)
    assert (twin.name, twin.prompts) == ("medsam_grown", frozenset({"click", "negative_click"}))
    assert twin.settings["box_rule"] and "No better than that region" in twin.summary
    assert twin.weights == sam.MEDSAM.weights
