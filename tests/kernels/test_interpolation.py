"""Interpolation and Gaussian filters against SciPy's, to the bit."""

import numpy as np
import pytest
import scipy

from umdlib.kernels import gaussian, linear
from umdlib.synthetic.scanner.sampling import blur

RNG = np.random.default_rng(0)
VOLUME = RNG.normal(size=(13, 9, 21)).astype(np.float32)
MAPPING = np.array([[0.71, 0, 0, -1.3], [0, -0.6, 0, 8.4], [0, 0, 1.1, 0.3], [0, 0, 0, 1]])
SHAPE = (17, 16, 20)  # reaches beyond the volume on every side


@pytest.mark.parametrize("mode", ["nearest", "wrap"])
@pytest.mark.parametrize("sd", [0.1, 0.64, 1.3, 6.0])  # the last kernel is longer than two of the axes
def test_a_gaussian_is_scipys(sd, mode):
    for axis in range(3):
        expected = scipy.ndimage.gaussian_filter1d(VOLUME, sd, axis=axis, mode=mode, truncate=3.5)
        for values in (VOLUME, np.asfortranarray(VOLUME)):
            found = gaussian.filtered(values, sd, axis, mode=mode, truncate=3.5)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


def test_a_blur_of_another_type_keeps_its_precision():
    exact = blur(VOLUME.astype(float), (2.0, 2.0, 3.0), 6.0)
    single = blur(VOLUME, (2.0, 2.0, 3.0), 6.0)
    assert (exact.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single, exact, atol=1e-6)


def test_a_volume_on_another_grid_is_scipys():
    turn, start = MAPPING[:3, :3], MAPPING[:3, 3]
    expected = scipy.ndimage.affine_transform(VOLUME, turn, start, SHAPE, order=1, cval=-7.0)
    assert 0.2 < (expected == -7).mean() < 0.8
    np.testing.assert_array_equal(linear.resampled(VOLUME, MAPPING, SHAPE, -7.0), expected)
    assert linear.along(MAPPING) and not linear.along(MAPPING + np.eye(4)[::-1] * 1e-9)


def test_values_at_places_are_scipys_to_the_last_voxel_and_not_beyond():
    size = np.array(VOLUME.shape)[:, None, None, None]
    places = (RNG.random((3, 30, 20, 10)) * (size + 3) - 2).astype(np.float32)
    places[:, 0] = np.round(places[:, 0])
    places[:, 0, 0, 0] = np.array(VOLUME.shape) - 1
    expected = scipy.ndimage.map_coordinates(VOLUME, places, order=1, cval=-7.0, output=np.float32)
    found = linear.read_at(VOLUME, places, -7.0)
    np.testing.assert_array_equal(found, expected)
    assert found[0, 0, 0] == VOLUME[-1, -1, -1] and (found == -7).any()


def test_displaced_places_are_those_of_scipys_field():
    field = RNG.normal(size=(3, 5, 4, 6)).astype(np.float32)
    coarse, scale = np.diag([0.3, 0.31, 0.29, 1.0]), np.array([0.5, -0.25, 0.3])
    coarse[:3, 3] = [-0.6, 0.2, 0.1]
    found = linear.displaced(field, coarse, MAPPING, scale, SHAPE)
    single, index = MAPPING.astype(np.float32), np.indices(SHAPE, np.float32)
    for axis, part in enumerate(field):
        shift = scipy.ndimage.affine_transform(
            part, np.diag(coarse)[:3], coarse[:3, 3], SHAPE, order=1, mode="nearest"
        )
        line = single[axis, axis] * index[axis] + single[axis, 3]
        np.testing.assert_array_equal(found[axis], line - np.float32(scale[axis]) * shift)


def test_a_model_at_points_is_the_mean_of_scipys_values_over_its_states():
    xyz, offsets, states = (
        RNG.random((500, 3)) * 25 - 2,
        np.array([[0, 0, 0], [4.5, 0, 0], [0, 0, -2.0]]),
        (-1.5, 0, 1.5),
    )
    found = np.empty((3, 500))
    linear.at_points(VOLUME, np.linalg.inv(MAPPING), xyz, offsets, np.array(states), found)
    turn, start = np.linalg.inv(MAPPING)[:3, :3], np.linalg.inv(MAPPING)[:3, 3:]
    for row, offset in zip(found, offsets, strict=True):
        places = [turn @ (xyz + offset - [0, 0, s]).T + start for s in states]
        values = [
            scipy.ndimage.map_coordinates(VOLUME, p, order=1, mode="nearest", output=float) for p in places
        ]
        np.testing.assert_array_equal(row, sum(values) / 3)
