"""Metrics of two boolean masks against hand-made answers."""

import math

import numpy as np
import pytest

import umdlib as umd
from umdlib.errors import InputError

SPACING = (1.0, 2.0, 3.0)


def block(start=0):
    """A block of 4 × 4 × 4 voxels in a field of 12, moved along I."""
    mask = np.zeros((12, 12, 12), bool)
    mask[2 + start : 6 + start, 4:8, 4:8] = True
    return mask


def test_equal_masks_agree_wholly():
    assert umd.dice(block(), block()) == 1
    assert umd.surface_dice(block(), block(), spacing_mm=SPACING) == 1
    assert umd.hausdorff_95(block(), block(), spacing_mm=SPACING) == 0
    assert umd.assd(block(), block(), spacing_mm=SPACING) == 0


def test_half_of_a_moved_block_overlaps():
    assert umd.dice(block(), block(2)) == 0.5  # 2 of 4 slices


def test_a_block_that_is_moved_two_voxels_lies_two_voxels_away():
    moved = block(2)
    assert umd.hausdorff_95(block(), moved, spacing_mm=SPACING) == pytest.approx(2.0)  # 2 voxels of 1 mm
    assert umd.hausdorff_95(block(), moved, spacing_mm=(4.0, 2.0, 3.0)) > 2.0
    assert 0 < umd.assd(block(), moved, spacing_mm=SPACING) < 2.0
    assert umd.surface_dice(block(), moved, spacing_mm=SPACING, tolerance_mm=2.0) == 1
    assert umd.surface_dice(block(), moved, spacing_mm=SPACING, tolerance_mm=1.0) < 1


def test_one_empty_mask_has_no_distance_and_no_overlap():
    nothing = np.zeros_like(block())
    for pair in ((block(), nothing), (nothing, block())):
        assert umd.dice(*pair) == 0
        assert umd.surface_dice(*pair, spacing_mm=SPACING) == 0
        assert math.isnan(umd.hausdorff_95(*pair, spacing_mm=SPACING))
        assert math.isnan(umd.assd(*pair, spacing_mm=SPACING))


def test_both_masks_empty_is_undefined():
    nothing = np.zeros_like(block())
    assert math.isnan(umd.dice(nothing, nothing))
    assert math.isnan(umd.surface_dice(nothing, nothing, spacing_mm=SPACING))


@pytest.mark.parametrize(
    ("reference", "prediction", "said"),
    [
        (block().astype(np.uint8), block(), "reference holds uint8"),
        (block(), block()[0], "prediction has shape"),
        (block(), block()[:5], "must be on one grid"),
        (block().astype(int), block(), "The reference holds int64. A mask is boolean"),
        (block(), block().astype(float), "The prediction holds float64. A mask is boolean"),
        (block()[0], block()[0], r"shape \(12, 12\). Three axes are needed"),
        (block(), block()[1:], r"prediction has shape \(11, 12, 12\), its reference \(12, 12, 12\)"),
    ],
)
def test_what_is_not_two_masks_of_one_grid_is_refused(reference, prediction, said):
    with pytest.raises(InputError, match=said):
        umd.dice(reference, prediction)
