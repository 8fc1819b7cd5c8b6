"""Lesion-wise counts on masks drawn by hand."""

import numpy as np
import pytest

from umdlib import detection
from umdlib.errors import InputError


def masks():
    reference, prediction = np.zeros((2, 20, 10, 10), bool)
    reference[1:3, 1:3, 1:3] = True  # found: one voxel is shared
    reference[10:13, 1, 1] = True  # missed: 3 voxels
    prediction[2:4, 2:4, 2:4] = True
    prediction[17, 5:9, 5] = True  # invented: 4 voxels
    return reference, prediction


def test_lesions_found_missed_and_invented():
    found = detection.detect(*masks(), spacing_mm=(2, 1, 5))
    assert found == detection.Detection(2, 2, 1, 1, pytest.approx(0.03), pytest.approx(0.04))


def test_lesions_that_touch_at_a_corner_are_one():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert detection.detect(mask, mask, spacing_mm=(1, 1, 1)).reference == 1


def test_empty_masks_have_no_lesions():
    reference, prediction = masks()
    none = np.zeros_like(reference)
    volume = pytest.approx(0.011)
    assert detection.detect(none, none, spacing_mm=(1, 1, 1)).reference == 0
    missed = detection.detect(reference, none, spacing_mm=(1, 1, 1))
    assert (missed.found, missed.invented, missed.missed_ml) == (0, 0, volume)
    invented = detection.detect(none, prediction, spacing_mm=(1, 1, 1))
    assert (invented.reference, invented.invented, invented.invented_ml) == (
        0, 2, pytest.approx(0.012)
    )  # fmt: skip


def test_masks_on_two_grids_are_named():
    with pytest.raises(InputError, match="one grid"):
        detection.detect(np.ones((2, 2, 2)), np.ones((2, 2, 3)), spacing_mm=(1, 1, 1))


@pytest.mark.parametrize("spacing_mm", [(1, 0, 1), (1, -1, 1), (1, 1)])
def test_a_spacing_is_positive(spacing_mm):
    with pytest.raises(InputError, match="Invalid spacing"):
        detection.detect(*masks(), spacing_mm=spacing_mm)
