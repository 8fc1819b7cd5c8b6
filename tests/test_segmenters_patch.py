"""Grids of patches and slices: the way there and back, by hand and against known programs."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import grids as patch
from umdlib.images.volume import Volume
from umdlib.segmenters.preparation import slices
from umdlib.segmenters.systems import sam_med3d
from umdlib.segmenters.systems.litemedsam import area_weights

AFFINE = np.array([[0, -2.2137, 0, 80], [1.9071, 0, 0, -120], [0, 0, -4.1033, 333], [0, 0, 0, 1.0]])
SHAPE = (47, 52, 29)


def image(dtype=np.float32) -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.uniform(-100, 200, SHAPE).astype(dtype), AFFINE, "HU", "phantom")


def test_the_grid_is_that_of_torchio():
    """47 x 52 x 29 voxels of 1.9071, 2.2137, 4.1033 mm at 1.5 mm, then RAS (TorchIO 1.2.1)."""
    grid = patch.isotropic_ras(image(), 1.5)
    assert grid.shape == (76, 59, 79)
    np.testing.assert_allclose(np.diag(grid.affine), (1.5, 1.5, 1.5, 1))
    middle = geometry.to_world(AFFINE, (np.array(SHAPE) - 1) / 2)
    np.testing.assert_allclose(
        geometry.to_world(grid.affine, (np.array(grid.shape) - 1) / 2), middle, atol=1e-9
    )


def test_linear_intensities_survive_the_resampling():
    """A field that is linear in the world is reproduced exactly by linear interpolation."""
    ijk = np.indices(SHAPE).reshape(3, -1).T
    world = geometry.to_world(AFFINE, ijk)
    data = (world @ (1.0, -2.0, 0.5)).reshape(SHAPE)
    volume = Volume(data, AFFINE)
    grid = patch.isotropic_ras(volume, 1.5)
    start = np.array([20, 15, 20])
    cube = patch.window(grid, start, 16)
    got = patch.pull(volume, grid, cube, start)
    centres = geometry.to_world(cube.affine, np.indices((16, 16, 16)).reshape(3, -1).T)
    np.testing.assert_allclose(got.ravel(), centres @ (1.0, -2.0, 0.5), atol=1e-4)


def test_outside_the_image_the_cube_is_zero_and_the_mask_stays_inside():
    volume = image()
    grid = patch.isotropic_ras(volume, 1.5)
    start = np.array([-10, -10, -10])
    cube = patch.window(grid, start, 24)
    values = patch.pull(volume, grid, cube, start)
    assert not values[:10].any()
    assert values[10:, 10:, 10:].any()
    mask = patch.push(np.ones((24, 24, 24), bool), cube, volume)
    assert mask.shape == SHAPE
    inside = geometry.to_voxel(cube.affine, geometry.to_world(AFFINE, np.argwhere(mask)))
    assert (inside > -0.5 - 1e-9).all()
    assert (inside < 23.5 + 1e-9).all()


def test_whole_numbers_stay_whole():
    volume = image(np.int16)
    grid = patch.isotropic_ras(volume, 1.5)
    values = patch.pull(volume, grid, patch.window(grid, np.zeros(3, int), 16), np.zeros(3, int))
    np.testing.assert_array_equal(values, np.trunc(values))


def test_a_cube_without_intensity_above_zero_is_refused():
    with pytest.raises(InputError, match="no varying intensity above 0"):
        sam_med3d.standardised(np.full((4, 4, 4), -5, np.float32), "phantom")


def test_slices_are_lps_and_come_back():
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 10:12, 3:5] = True
    stack = slices.axial(Volume(mask, AFFINE))
    np.testing.assert_array_equal(stack.back(stack.data), mask)
    # columns run to the left (-x), rows to the back (-y), slices to the head (+z)
    assert stack.affine[0, 0] < 0
    assert stack.affine[1, 1] < 0
    assert stack.affine[2, 2] > 0


def test_ct_greys_are_windowed_and_zero_stays_black_elsewhere():
    data = np.array([-500, -160, 40, 240, 900], np.float32).reshape(5, 1, 1)
    assert slices.grey(Volume(data, np.eye(4), "HU")).ravel().tolist() == [0, 0, 127, 255, 255]
    suv = np.array([0, 1, 2, 3, 4], np.float32).reshape(5, 1, 1)
    grey = slices.grey(Volume(suv, np.eye(4), "SUV")).ravel()
    assert grey[0] == 0
    assert grey[-1] == 255


def test_shrinking_averages_by_area_as_opencv_does():
    """Three pixels to two: each new one is one old and half of the middle."""
    np.testing.assert_allclose(area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    np.testing.assert_allclose(area_weights(2, 4), [[1, 0], [1, 0], [0, 1], [0, 1]])
