"""Turns: nothing is interpolated, and every voxel keeps its place in the world."""

import itertools

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import geometry, orientation, volume
from umdlib.images.volume import LabelMap

AFFINE = np.array([[0.0, -2, 0, 30], [1.5, 0, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])
TURNS = [
    np.stack([np.array(order, float), np.array(signs, float)], axis=1)
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
]


def label_map():
    data = np.random.default_rng(0).integers(0, 9, (5, 4, 3)).astype(np.uint8)
    return LabelMap(data, AFFINE)


@pytest.mark.parametrize("turn", TURNS)
def test_a_reference_in_any_order_of_the_same_grid_is_reordered(turn):
    own = label_map()
    other = LabelMap(
        orientation.turned(own.data, turn), orientation.turned_affine(AFFINE, own.shape, turn), "other"
    )
    found = volume.onto_grid(other, own)
    np.testing.assert_array_equal(found.data, own.data)
    np.testing.assert_array_equal(found.affine, own.affine)
    assert found.data.flags.f_contiguous or turn.tolist() == TURNS[0].tolist()


def test_what_differs_in_more_than_the_order_is_refused_with_its_distance():
    own, moved = label_map(), AFFINE.copy()
    moved[0, 3] += 0.3
    with pytest.raises(InputError, match=r"0.15 voxels \(0.3 mm\) apart, at most 0.05 voxels"):
        volume.onto_grid(LabelMap(own.data, moved), own)
    turn = TURNS[5]
    shifted = orientation.turned_affine(moved, own.shape, turn)
    with pytest.raises(InputError, match="differs from its reference"):
        volume.onto_grid(LabelMap(orientation.turned(own.data, turn), shifted), own)
    with pytest.raises(InputError, match="shape"):
        volume.onto_grid(LabelMap(own.data[1:], AFFINE), own)


def test_rounding_of_spacings_over_many_slices_is_one_grid():
    shape = (128, 128, 267)
    written, saved = np.diag([4.6875, 4.6875, 3.27001953, 1]), np.diag([4.6875, 4.6875, 3.26999998, 1])
    voxels, mm = geometry.corner_distance(written, saved, shape)
    assert voxels == pytest.approx(0.00159, abs=1e-5)
    assert mm == pytest.approx(0.0052, abs=1e-4)
    data = np.zeros(shape, np.uint8)
    assert volume.onto_grid(LabelMap(data, saved), LabelMap(data, written)).affine[2, 2] == 3.27001953


def test_canonical_keeps_every_voxel_in_its_place():
    own = label_map()
    data, affine = orientation.to_ras(own.data, own.affine)
    assert (np.diag(affine)[:3] > 0).all()
    np.testing.assert_array_equal(orientation.canonical(own).data, data)
    assert orientation.canonical(own).name == own.name
    for value in range(1, 9):
        places = [
            sorted(map(tuple, geometry.to_world(a, np.argwhere(d == value)).round(6).tolist()))
            for d, a in ((own.data, own.affine), (data, affine))
        ]
        assert places[0] == places[1]


@pytest.mark.parametrize("codes", ["RAX", "RLS", "RA", ""])
def test_axes_that_do_not_span_the_world_are_refused(codes):
    with pytest.raises(InputError, match="Invalid axes"):
        orientation.turn_to(AFFINE, codes)
