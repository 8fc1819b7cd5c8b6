"""What a promptable network sees of an image: windows by unit, blocks, the working grid, its border."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib.images import geometry
from umdlib.images.grids import Grid
from umdlib.images.volume import Volume
from umdlib.networks.inputs import OUTSIDE, blocks, both_on_grid, bright, channels, covered, cut, on_grid

GRID = Grid((6, 5, 4), np.diag([8.0, 8, 8, 1]))


@pytest.mark.parametrize(
    ("unit", "value", "wide", "narrow"),
    [
        ("HU", -2000, -1, -1),  # cut, both
        ("HU", 140, 0.14, 0.5),
        ("HU", 500, 0.5, 1),
        ("SUV", 0, -1, -1),
        ("SUV", 5, 0, 1),  # the root of a quarter of 20
        ("SUV", 80, 1, 1),
    ],
)
def test_two_windows_of_a_unit_are_those_that_are_stated(unit, value, wide, narrow):
    pair = channels(np.full((1, 1, 1), float(value)), unit)
    assert pair.dtype == np.float32
    assert pair.ravel() == pytest.approx([wide, narrow], abs=1e-6)


def test_a_unit_without_a_scale_is_scaled_by_its_brightest_and_an_empty_image_is_dark():
    values = np.zeros((10, 10, 10))
    values[0] = np.arange(1, 101).reshape(10, 10)
    assert bright(values) == pytest.approx(np.percentile(np.arange(1, 101), 99.5))
    one, three = channels(values, "a.u."), channels(3 * values, "a.u.")
    np.testing.assert_allclose(one, three, atol=1e-6)
    quarter = channels(np.array([[[0.0, 25.0, 100.0]]]), "a.u.")[:, 0, 0]
    share = 25 / np.percentile([25, 100], 99.5)
    np.testing.assert_allclose(quarter[:, 1], [2 * share - 1, 2 * share**0.5 - 1], atol=1e-6)
    assert (channels(np.zeros((2, 2, 2)), "a.u.") == -1).all()


def test_blocks_are_means_of_whole_voxels_and_stay_in_their_place():
    """A field linear in the world is the same field after averaging: values and affine move together."""
    affine = np.array([[0, -3.0, 0, 20], [2.0, 0, 0, -5], [0, 0, 9.0, 7], [0, 0, 0, 1]])
    shape = (9, 7, 4)  # the last voxel of the first two axes fills no block
    world = geometry.to_world(affine, np.indices(shape).reshape(3, -1).T)
    image = Volume((world @ (1.0, -2.0, 0.5)).reshape(shape), affine, "HU")
    means, where = blocks(image, GRID)
    assert means.shape == (2, 3, 4)  # 4 of 2 mm, 2 of 3 mm, 1 of 9 mm
    centres = geometry.to_world(where, np.indices(means.shape).reshape(3, -1).T)
    np.testing.assert_allclose(means.ravel(), centres @ (1.0, -2.0, 0.5), atol=1e-3)


def test_an_image_thinner_than_a_block_is_not_averaged_away():
    image = Volume(np.ones((40, 2, 40), np.float32), np.eye(4), "HU")
    means, where = blocks(image, GRID)
    assert means.shape == image.shape and np.array_equal(where, image.affine)


def test_what_lies_beyond_the_image_is_outside_and_nothing_else():
    affine = np.array([[0, 5.0, 0, 9], [-6.0, 0, 0, 30], [0, 0, 7.0, -10], [0, 0, 0, 1]])
    image = Volume(np.full((4, 5, 3), 40.0), affine, "HU")
    inside = covered(image, GRID)
    centres = geometry.to_world(GRID.affine, np.indices(GRID.shape).reshape(3, -1).T)
    voxel = geometry.to_voxel(affine, centres)
    wanted = ((voxel >= -0.5) & (voxel < np.array(image.shape) - 0.5)).all(axis=1).reshape(GRID.shape)
    assert 0 < wanted.sum() < wanted.size
    np.testing.assert_array_equal(inside, wanted)
    pair = on_grid(image, GRID)
    np.testing.assert_allclose(pair[:, inside], [[0.04] * inside.sum(), [0.0] * inside.sum()], atol=1e-6)
    assert (pair[:, ~inside] == OUTSIDE).all()


def test_of_two_images_the_structural_one_comes_first_and_one_that_is_missing_is_blank():
    ct = Volume(np.full((20, 20, 20), 240.0), np.diag([4.0, 4, 4, 1]), "HU")
    pet = Volume(np.full((20, 20, 20), 5.0), np.diag([4.0, 4, 4, 1]), "SUV")
    first = both_on_grid(ct, pet, GRID)
    np.testing.assert_array_equal(first, both_on_grid(pet, ct, GRID))
    assert first[:, 1, 1, 1] == pytest.approx([0.24, 1, 0, 1])
    np.testing.assert_array_equal(both_on_grid(ct, None, GRID)[:2], first[:2])
    assert (both_on_grid(ct, None, GRID)[2:] == OUTSIDE).all()
    assert (both_on_grid(pet, None, GRID)[:2] == OUTSIDE).all()


@pytest.mark.parametrize("start", [(0, 0, 0), (-2, 1, 3), (4, 4, -3), (9, 9, 9), (-9, 0, 0)])
def test_a_cube_is_what_padding_and_slicing_give(start):
    data = np.arange(2 * 5 * 6 * 7).reshape(2, 5, 6, 7)
    padded = np.pad(data, [(0, 0)] + [(20, 20)] * 3, constant_values=-7)
    box = tuple(slice(20 + s, 24 + s) for s in start)
    np.testing.assert_array_equal(cut(data, np.array(start), 4, -7), padded[(slice(None), *box)])
