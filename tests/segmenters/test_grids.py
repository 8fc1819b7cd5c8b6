"""Grids of patches and slices: the way there and back, by hand and against known programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import grids as patch
from umdlib.images.volume import Volume
from umdlib.segmenters.preparation import slices, torchio_grids
from umdlib.segmenters.systems import sam_med3d
from umdlib.segmenters.systems.litemedsam import area_weights

AFFINE = np.array([[0, -2.2137, 0, 80], [1.9071, 0, 0, -120], [0, 0, -4.1033, 333], [0, 0, 0, 1.0]])
SHAPE = (47, 52, 29)


def image(dtype=np.float32) -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.uniform(-100, 200, SHAPE).astype(dtype), AFFINE, "HU", "phantom")


def test_the_grid_is_that_of_torchio():
    """47 x 52 x 29 voxels of 1.9071, 2.2137, 4.1033 mm at 1.5 mm, then RAS (TorchIO 1.2.1)."""
    for made in (patch.isotropic_ras, patch.torchio_ras):
        grid = made(image(), 1.5)
        assert grid.shape == (76, 59, 79)
        np.testing.assert_allclose(np.diag(grid.affine), (1.5, 1.5, 1.5, 1))
        middle = geometry.to_world(AFFINE, (np.array(SHAPE) - 1) / 2)
        centre = geometry.to_world(grid.affine, (np.array(grid.shape) - 1) / 2)
        np.testing.assert_allclose(centre, middle, atol=1e-9)


def affines():
    """Straight, permuted and oblique ones, of spacings with and without ties, as float32 files hold them."""
    rng = np.random.default_rng(0)
    for number in range(24):
        spacing = rng.choice([1.0, 2.0, 4.0, 3.0, 0.977, 2.036, 5.0], 3)
        affine = np.eye(4)
        affine[:3, :3] = np.diag(spacing * rng.choice([-1, 1], 3))[rng.permutation(3)]
        if number % 3 == 2:
            angles = rng.uniform(-25, 25, 3)
            affine[:3, :3] = Rotation.from_euler("zxy", angles, degrees=True).as_matrix() @ affine[:3, :3]
        affine[:3, 3] = rng.uniform(-300, 300, 3).round(number % 5)
        yield affine.astype(np.float32).astype(float)


def test_grid_intensities_and_way_back_are_torchios_to_the_bit():
    """Ties included: voxels of 1, 2 and 4 mm lie exactly between two of 1.5 mm."""
    tio = pytest.importorskip("torchio")
    rng = np.random.default_rng(1)
    for number, affine in enumerate(affines()):
        shape = tuple(int(n) for n in rng.integers(12, 30, 3))
        kind = np.int16 if number % 2 else np.float32
        given = Volume(rng.normal(0, 100, shape).astype(kind), affine, "HU", "noise")
        even = tio.ToCanonical()(tio.Resample(1.5)(tio.ScalarImage(tensor=given.data[None], affine=affine)))
        grid = patch.torchio_ras(given, 1.5)
        np.testing.assert_array_equal(grid.affine, even.affine)
        np.testing.assert_array_equal(torchio_grids.resampled(given, grid), even.data[0].numpy())
        start = rng.integers(-4, 5, 3)
        cube = patch.window(grid, start, 16)
        mask = rng.random((16, 16, 16)) > 0.5
        labels = tio.LabelMap(tensor=mask[None].astype(np.float32), affine=cube.affine)
        target = tio.ScalarImage(tensor=np.zeros((1, *shape), np.float32), affine=affine)
        back = tio.Resample(target)(labels).data[0].numpy() > 0
        np.testing.assert_array_equal(torchio_grids.restored(mask, cube, given), back)


def test_beyond_the_image_a_cube_is_zero():
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4) + 1
    cube = torchio_grids.cut(data, np.array([-1, 1, 3]), 3)
    assert cube.dtype == np.float32
    np.testing.assert_array_equal(cube[1:, :2, :1], data[:, 1:, 3:])
    assert not cube[0].any() and not cube[:, 2].any() and not cube[:, :, 1:].any()
    assert not torchio_grids.cut(data, np.array([9, 9, 9]), 3).any()


def test_a_mask_comes_back_the_same_along_lines_and_voxel_by_voxel(monkeypatch):
    rng = np.random.default_rng(2)
    for affine in affines():
        volume = Volume(np.zeros((17, 21, 13), np.float32), affine)
        grid = patch.window(patch.isotropic_ras(volume, 1.5), rng.integers(-4, 4, 3), 14)
        mask = rng.random((14, 14, 14)) > 0.5
        quick = patch.push(mask, grid, volume)
        with monkeypatch.context() as each:
            each.setattr(patch, "_lines", lambda matrix, axes: None)
            np.testing.assert_array_equal(quick, patch.push(mask, grid, volume))


def test_outside_the_cube_a_mask_is_empty():
    volume = image()
    grid = patch.isotropic_ras(volume, 1.5)
    cube = patch.window(grid, np.array([-10, -10, -10]), 24)
    mask = patch.push(np.ones((24, 24, 24), bool), cube, volume)
    assert mask.shape == SHAPE
    inside = geometry.to_voxel(cube.affine, geometry.to_world(AFFINE, np.argwhere(mask)))
    assert (inside > -0.5 - 1e-9).all()
    assert (inside < 23.5 + 1e-9).all()


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


def test_slices_are_encoded_once_however_many_structures_ask_and_in_batches():
    counts = []

    def encode(pictures):
        counts.append(len(pictures))
        return [slices.Encoded(torch.tensor(p.copy()), p.shape, p.shape) for p in pictures]

    memory = slices.Memory(encode, keep=9, batch=4)
    stack = memory.stack(image())
    for asked in ([3, 4, 5, 6, 7, 8], [5, 6, 9, 3]):
        for z, code in memory.each(asked):
            np.testing.assert_array_equal(code.embedding, stack.data[z])
    assert counts == [4, 2, 1]
    assert memory.free_memory() and not memory.free_memory()
    assert [z for z, _ in memory.each([3, 4])] == [3, 4]
    assert counts[3:] == [1, 1]
    ((_, code),) = memory.each([3])  # from disk
    np.testing.assert_array_equal(code.embedding, stack.data[3])
    assert counts[3:] == [1, 1]
