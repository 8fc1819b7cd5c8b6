"""Lesion-wise counts on masks drawn by hand."""

import itertools

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.metrics import lesions as detection


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


def test_empty_masks_have_no_lesions():
    reference, prediction = masks()
    none = np.zeros_like(reference)
    volume = pytest.approx(0.011)
    assert detection.detect(none, none, spacing_mm=(1, 1, 1)).reference == 0
    missed = detection.detect(reference, none, spacing_mm=(1, 1, 1))
    assert (missed.found, missed.invented, missed.missed_ml) == (0, 0, volume)
    invented = detection.detect(none, prediction, spacing_mm=(1, 1, 1))
    assert (invented.reference, invented.invented, invented.invented_ml) == (0, 2, pytest.approx(0.012))


def test_masks_on_two_grids_are_named():
    with pytest.raises(InputError, match="one grid"):
        detection.detect(np.ones((2, 2, 2)), np.ones((2, 2, 3)), spacing_mm=(1, 1, 1))


@pytest.mark.parametrize("spacing_mm", [(1, 0, 1), (1, -1, 1), (1, 1)])
def test_a_spacing_is_positive(spacing_mm):
    with pytest.raises(InputError, match="Invalid spacing"):
        detection.detect(*masks(), spacing_mm=spacing_mm)


def test_lesions_that_touch_by_an_edge_are_one_and_by_a_corner_two():
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = True
    counted = {
        n: detection.detect(mask, mask, spacing_mm=(1, 1, 1), connectivity=n).reference for n in (6, 18, 26)
    }
    assert counted == {6: 3, 18: 2, 26: 1}
    assert detection.detect(mask, mask, spacing_mm=(1, 1, 1)).reference == 2


def test_flat_masks_and_unknown_neighbourhoods_are_refused():
    flat, full = np.ones((3, 3), bool), np.ones((2, 2, 2), bool)
    with pytest.raises(InputError, match="counted in volumes"):
        detection.detect(flat, flat, spacing_mm=(1, 1, 1))
    with pytest.raises(InputError, match="Must be 6, 18 or 26"):
        detection.detect(full, full, spacing_mm=(1, 1, 1), connectivity=8)


def flooded(mask, reach):
    """Components as sets of voxels, by filling from voxel to voxel; a step changes `reach` axes at most."""
    left, parts = set(map(tuple, np.argwhere(mask).tolist())), []
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if 0 < np.abs(s).sum() <= reach]
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            at = edge.pop()
            part.add(at)
            near = {tuple(a + b for a, b in zip(at, s, strict=True)) for s in steps} & left
            left -= near
            edge += near
        parts.append(part)
    return parts


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_filling_voxel_by_voxel(seed, connectivity):
    rng = np.random.default_rng(seed)
    pair = np.zeros((2, 12, 70, 9), bool)
    pair[:, 2:9, 3:66, 1:8] = rng.random((2, 7, 63, 7)) < rng.uniform(0.02, 0.2, (2, 1, 1, 1))
    pair = [np.asfortranarray(m) if seed % 2 else m for m in pair]
    reach = detection.NEIGHBOURS[connectivity]
    (there, back), (a, b) = [flooded(m, reach) for m in pair], map(set, map(voxels, pair))
    missed = [p for p in there if not p & b]
    invented = [p for p in back if not p & a]
    found = detection.detect(*pair, spacing_mm=(1, 2, 5), connectivity=connectivity)
    assert found == detection.Detection(
        len(there),
        len(back),
        len(there) - len(missed),
        len(invented),
        pytest.approx(sum(map(len, missed)) / 100),
        pytest.approx(sum(map(len, invented)) / 100),
    )


def voxels(mask):
    return map(tuple, np.argwhere(mask).tolist())


@pytest.mark.parametrize("mask", [np.full((2, 2, 2), 0.3), np.full((2, 2, 2), 2)])
def test_probabilities_and_label_maps_are_no_masks(mask):
    for pair in ((mask, mask > 9), (mask > 9, mask)):
        with pytest.raises(InputError, match="holds 0 and 1"):
            detection.detect(*pair, spacing_mm=(1, 1, 1))
    ones = np.ones((2, 2, 2), np.uint8)
    assert detection.detect(ones, ones, spacing_mm=(1, 1, 1)).found == 1
