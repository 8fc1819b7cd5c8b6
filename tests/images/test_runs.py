"""Masks as runs give what masks give: sizes, differences, largest components, deepest voxels."""

import numpy as np
import pytest
from scipy import ndimage

from umdlib.images import masks
from umdlib.images.runs import runs_of


def blobs(seed):
    """Two masks with components of many sizes, in either order of axes."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, (40, 30, 90)[seed % 3], 3))
    shape = (rng.integers(60, 140), *shape[1:]) if seed % 4 == 0 else shape
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 2.5))
    first = np.asarray(noise > np.quantile(noise, rng.uniform(0.3, 0.97)), order="FC"[seed % 2])
    second = np.roll(first, (1, 2, 0), (0, 1, 2)) | (rng.random(shape) < 0.01)
    return first, np.asarray(second, order="CF"[seed % 5 == 0]), tuple(rng.choice([1, 1.5, 0.98, 3], 3))


@pytest.mark.parametrize("seed", range(24))
def test_runs_say_what_masks_say(seed):
    first, second, spacing = blobs(seed)
    flipped = bool(first.flags.f_contiguous and not first.flags.c_contiguous)
    missed = runs_of(first).minus(runs_of(second, flipped=flipped))
    assert np.array_equal(missed.mask(), first & ~second)
    box = tuple(slice(n // 4, n // 4 + n // 2) for n in first.shape)
    assert np.array_equal(missed.within(box).mask()[box], (first & ~second)[box])
    assert missed.within(box).size == (first & ~second)[box].sum()
    for runs, mask in ((runs_of(first), first), (missed, first & ~second)):
        size, component = masks.largest_component(mask)
        found = runs.largest_component()
        assert found.size == size
        if size:
            assert np.array_equal(found.mask(), component)
            assert found.deepest_voxel(spacing) == masks.deepest_voxel(component, spacing)
            assert found.box() == masks.bounding_boxes(component, [1])[0]


def test_of_equal_components_and_depths_the_first_in_c_order_counts():
    mask = np.zeros((70, 9, 9), bool, order="F")
    mask[3:6, 5:8, 1:4] = mask[60:63, 1:4, 1:4] = True
    component = runs_of(mask).largest_component()
    assert component.box() == (slice(3, 6), slice(5, 8), slice(1, 4))
    bar = np.zeros((9, 70, 9), bool, order="F")
    bar[3:6, 4:60, 3:6] = True
    assert runs_of(bar).deepest_voxel((1, 1, 1)) == (4, 5, 4)


@pytest.mark.parametrize("order", "FC")
def test_rows_may_run_across_those_in_memory(order):
    rng = np.random.default_rng(1)
    mask = np.zeros((120, 70, 90), bool, order)
    mask[20:100, 9:60, 30:80] = rng.random((80, 51, 50)) < 0.4
    along, across = runs_of(mask, flipped=order == "F"), runs_of(mask, flipped=order == "C")
    assert along.size == across.size == mask.sum()
    assert np.array_equal(across.mask(), mask)
    assert runs_of(mask & False, flipped=order == "C").size == 0


def test_an_empty_mask_has_no_box_and_no_voxel():
    runs = runs_of(np.zeros((5, 6, 7), bool))
    assert runs.size == 0 and runs.box() is None and runs.deepest_voxel((1, 1, 1)) is None
    assert runs.largest_component().size == 0


def test_a_bit_is_set_along_runs_and_only_there():
    labels = np.zeros((6, 7, 80), np.uint16)
    labels[2, 3, 60:70], labels[4, 4, :] = 300, 7
    bits = np.ones(labels.shape, np.uint8)
    runs_of(labels, 300).into(bits, 2)
    assert np.array_equal(bits, np.where(labels == 300, 5, 1))


def test_a_volume_is_copied_into_the_other_order_of_axes():
    from umdlib.kernels.surfaces import flat_rows

    rng = np.random.default_rng(3)
    volume = (rng.random((130, 70, 90)) < 0.02).astype(np.uint16) * rng.integers(1, 999, (130, 70, 90))
    volume = volume.astype(np.uint16)
    flat, shape = flat_rows(volume, True)
    assert shape == (90, 70, 130)
    assert np.array_equal(flat, volume.ravel("F"))
