"""The kernels against what NumPy and SciPy say of the same volumes, on rows shorter and longer than a register."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from umdlib.errors import InputError
from umdlib.kernels import areas, boxes, distribution, intensities, nearest, packing, runs, streams, surfaces

SHAPES = [(5, 7, 64), (4, 6, 130), (1, 1, 70)]


def labels(seed, shape, top=4):
    """Blobs of several labels, most of the volume 0."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 1.0)
    return np.where(noise > np.quantile(noise, 0.6), rng.integers(1, top + 1, shape), 0).astype(np.uint8)


def mask(seed, shape):
    return labels(seed, shape, 1).astype(bool)


# boxes, depths, components


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_of_labels_hold_their_voxels_and_no_more(shape):
    volume = labels(1, shape)
    found = np.array([[10**6] * 3 + [-1] * 3] * 5)
    boxes.label_boxes(volume.ravel(), shape, np.arange(256), found)
    for value in range(1, 5):
        inside = np.argwhere(volume == value)
        wanted = [*inside.min(axis=0), *inside.max(axis=0)] if len(inside) else [10**6] * 3 + [-1] * 3
        assert found[value].tolist() == wanted, value


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_of_differences_holds_where_two_volumes_differ(shape):
    a = labels(2, shape)
    b = a.copy()
    for at in ((0, 0, 3), (shape[0] - 1, shape[1] - 1, shape[2] - 1)):
        b[at] ^= 1
    found = np.array([10**6] * 3 + [-1] * 3)
    boxes.difference_box(a.ravel(), a.ravel().copy(), shape, found)
    assert found.tolist() == [10**6] * 3 + [-1] * 3
    boxes.difference_box(a.ravel(), b.ravel(), shape, found)
    inside = np.argwhere(a != b)
    assert found.tolist() == [*inside.min(axis=0), *inside.max(axis=0)]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 1.7)])
def test_depth_is_the_distance_to_the_nearest_voxel_outside_also_beyond_the_array(spacing):
    inside = ndimage.binary_dilation(mask(3, (9, 12, 14)), iterations=2)
    wanted = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    found = boxes.squared_depth(inside, np.array(spacing))
    np.testing.assert_allclose(np.sqrt(found), wanted, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_components_touch_by_their_corners_as_scipy_has_them(seed):
    inside = np.random.default_rng(seed).random((8, 9, 11)) < 0.15
    found, sizes = boxes.label_components(inside)
    wanted, count = ndimage.label(inside, np.ones((3, 3, 3)))
    assert len(sizes) == count + 1 and sizes[0] == 0
    pairs = set(zip(found[inside], wanted[inside], strict=True))
    assert len(pairs) == count and not found[~inside].any()
    np.testing.assert_array_equal(np.sort(sizes[1:]), np.sort(np.bincount(wanted.ravel())[1:]))


# packing and copies


@pytest.mark.parametrize("length", [0, 63, 64, 200])
def test_masks_become_bits_and_labels_their_entries(length):
    rng = np.random.default_rng(length)
    parts = rng.random((3, length)) < 0.3
    parts[2] = False
    volume = np.zeros(length, np.uint8)
    for bit, part in enumerate(parts):
        packing.add_mask(volume, part.view(np.uint8), np.uint8(1 << bit))
    np.testing.assert_array_equal(volume, (parts * np.array([[1], [2], [4]])).sum(axis=0))
    lookup = np.array([0, 4, 0, 9], np.uint16)
    given, out = rng.integers(0, 4, length).astype(np.uint8), np.zeros(length, np.uint16)
    given[:64] = 0
    packing.translate(given, lookup, out)
    np.testing.assert_array_equal(out, lookup[given])


@pytest.mark.parametrize("count", [0, 1, 64, 65, 300])
def test_a_copy_past_the_cache_writes_what_it_should_and_nothing_beside(count):
    room = np.full(1024, 7, np.uint8)
    start = -room.ctypes.data % streams.LINE + streams.LINE
    source = np.random.default_rng(count).integers(0, 256, 400).astype(np.uint8)
    streams.copy(room, start, source, count)
    np.testing.assert_array_equal(room[start : start + count], source[:count])
    assert (room[:start] == 7).all() and (room[start + count :] == 7).all()


def test_of_two_masks_as_runs_the_difference_is_that_of_the_voxels():
    shape = (4, 5, 70)
    first, second = mask(5, shape), mask(6, shape)
    parts = []
    for volume in (first, second):
        room = [np.empty(volume.size, np.int64) for _ in range(3)]
        whole = np.array([0, 0, 0, *(n - 1 for n in shape)])
        count = runs.find_runs(volume.view(np.uint8).ravel(), shape, whole, np.uint8(1), *room)
        parts.append([r[:count] for r in room])
        again = np.zeros(volume.size, np.uint8)
        runs.fill(again, *parts[-1], shape[2], np.uint8(1))
        np.testing.assert_array_equal(again.reshape(shape) > 0, volume)
        assert (
            runs.find_runs(volume.view(np.uint8).ravel(), shape, whole, np.uint8(1), *(r[:1] for r in room))
            == count
        )
    room = [np.empty(sum(len(p[0]) for p in parts), np.int64) for _ in range(3)]
    count = runs.subtract(*parts[0], *parts[1], *room)
    left = np.zeros(first.size, np.uint8)
    runs.fill(left, *(r[:count] for r in room), shape[2], np.uint8(1))
    np.testing.assert_array_equal(left.reshape(shape) > 0, first & ~second)


# intensities


def sphere(reach):
    offsets = np.argwhere(np.ones((2 * reach + 1,) * 3)) - reach
    return offsets[(offsets**2).sum(axis=1) <= reach**2]


def test_sums_and_peaks_of_masks_are_those_of_their_voxels():
    rng = np.random.default_rng(8)
    shape = (9, 8, 7)
    image = rng.normal(2, 1, shape).astype(np.float32)
    masks = rng.random((3, *shape)) < 0.1
    bits = (masks * np.array([1, 2, 4]).reshape(3, 1, 1, 1)).sum(axis=0).astype(np.uint8)
    count, total, highest = np.zeros(3, np.int64), np.zeros(3), np.full(3, -np.inf)
    flat = [np.asfortranarray(v).ravel(order="F") for v in (image, bits)]
    intensities.sums(*flat, count, total, highest)
    assert count.tolist() == masks.sum(axis=(1, 2, 3)).tolist()
    np.testing.assert_allclose(total, [image[m].sum(dtype=float) for m in masks], rtol=1e-6)
    np.testing.assert_array_equal(highest, [image[m].max() for m in masks])
    offsets = sphere(2)
    kernel = np.zeros((5, 5, 5))
    kernel[tuple((offsets + 2).T)] = 1
    sums, voxels = (
        ndimage.convolve(v, kernel, mode="constant") for v in (image.astype(float), np.ones(shape))
    )
    peaks, means = np.full(3, -np.inf), np.full(image.size, np.nan, np.float32)
    intensities.peaks(*flat, means, offsets, np.array(shape), np.array([2, 2, 2]), peaks)
    np.testing.assert_allclose(peaks, [(sums / voxels)[m].max() for m in masks], rtol=1e-5)


# surfaces


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.5)])
def test_areas_of_cells_that_are_planes_are_those_of_geometry(spacing):
    area = areas.cell_areas_mm2(spacing)
    a, b, c = spacing
    assert area[0] == area[255] == 0
    assert area[0b11110000] == pytest.approx(b * c)
    assert area[0b11001100] == pytest.approx(a * c)
    assert area[0b10101010] == pytest.approx(a * b)
    for code in range(256):
        assert area[code] == pytest.approx(area[255 - code]) and (area[code] > 0) == (0 < code < 255)
    # named in reverse, a cell of reversed axes has the same area
    np.testing.assert_allclose(areas.cell_areas_mm2(spacing[::-1])[areas.REVERSED], area)


def test_a_voxel_of_any_spacing_is_an_octahedron():
    """Its area is that of eight triangles with corners half a voxel from the middle."""
    a, b, c = spacing = (2.0, 0.5, 1.5)
    found = surfaces.in_memory_order(np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8), spacing)
    assert found.padding == 3 * 3 * 61 and found.shape == (3, 3, 64)
    corner = np.array([[a, 0, 0], [0, b, 0], [0, 0, c]]) / 2
    side = np.linalg.norm(np.cross(corner[1] - corner[0], corner[2] - corner[0])) / 2
    assert sum(areas.cell_areas_mm2(spacing)[1 << n] for n in range(8)) == pytest.approx(8 * side)


@pytest.mark.parametrize("tolerance", [0.1, 1.0, 2.0, 3.0**0.5, 1e-3])
def test_a_squared_limit_decides_as_the_root_does(tolerance):
    (limit,) = distribution.squared_limits([tolerance])
    near = [np.nextafter(limit, 0), limit, np.nextafter(limit, np.inf)]
    assert [bool(np.sqrt(v) <= tolerance) for v in near] == [True, True, False]


@pytest.mark.parametrize("seed", range(6))
def test_a_percentile_in_bins_is_the_one_by_sorting(seed):
    rng = np.random.default_rng(seed)
    distances = np.sqrt(rng.integers(0, 40, 300).astype(float)) if seed % 2 else rng.exponential(3, 300)
    cells, area = rng.integers(1, 255, 300), areas.cell_areas_mm2((1.0, 1.0, 1.0))
    weights = area[cells & 255]
    for share in (0.05, 0.5, 0.95):
        found, tied = distribution.percentile(distances, cells, area, share, weights.sum(), distances.max())
        wanted = distribution.sorted_percentile(distances, weights, share)
        assert tied or found == wanted
        assert weights[distances <= wanted].sum() / weights.sum() >= share - 1e-12
        assert weights[distances < wanted].sum() / weights.sum() <= share + 1e-12


def test_areas_within_limits_and_moments_are_sums_over_cells():
    rng = np.random.default_rng(1)
    squared, cells = rng.uniform(0, 25, 700), rng.integers(0, 256, 700)
    area, limits, inside = areas.cell_areas_mm2((1.0, 2.0, 1.0)), np.array([1.0, 9.0]), np.array([5.0, 0.0])
    weights, distances = area[cells & 255], squared.copy()
    total, moment, most = distribution.accumulate(distances, cells, area, limits, inside)
    np.testing.assert_array_equal(distances, np.sqrt(squared))
    assert total == pytest.approx(weights.sum()) and most == np.sqrt(squared.max())
    assert moment == pytest.approx((weights * np.sqrt(squared)).sum())
    np.testing.assert_allclose(inside, [5 + weights[squared <= 1].sum(), weights[squared <= 9].sum()])


def test_rows_around_a_cell_are_sorted_and_none_is_left_out_that_is_near_enough():
    spacing = np.array([2.0, 1.0, 0.7])
    rows, squared, limit = nearest.near_rows(spacing)
    assert (np.diff(squared) >= 0).all() and rows[0].tolist() == [0, 0]
    every = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 2, indexing="ij"), -1).reshape(-1, 2)
    near = ((every * spacing[:2]) ** 2).sum(axis=1) < limit
    assert {tuple(r) for r in every[near]} == {tuple(r) for r in rows}


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.6)])
def test_nearest_cells_are_those_that_all_pairs_have(flipped, spacing):
    """Clusters far from each other: near rows, bricks, and the way between them."""
    rng, step = np.random.default_rng(4), np.array(spacing)
    sets = []
    for centres in (((3, 4, 5), (40, 44, 50)), ((6, 4, 9), (12, 30, 40))):
        places = np.unique(np.concatenate([rng.integers(0, 6, (40, 3)) + c for c in centres]), axis=0)
        sets.append((places[:, 0] << 36 | places[:, 1] << 22 | places[:, 2] << 8, places))
    low, high = nearest.bounds(sets[0][0], sets[1][0])
    everything = np.concatenate([p for _, p in sets])
    assert (
        low.tolist() == everything.min(axis=0).tolist() and high.tolist() == everything.max(axis=0).tolist()
    )
    query, target = (nearest.sort_into_bricks(c, low, high, step) for c, _ in sets)
    bits, out = np.zeros(nearest.bits_needed(low, high), np.uint64), np.empty(len(query[0]))
    nearest.directed_squared(
        query, target, low, high, step, flipped, *nearest.near_rows(step), bits, np.inf, out
    )
    assert not bits.any()
    ordered = np.stack([query[0] >> s & 0x3FFF for s in (36, 22, 8)], axis=1)
    wanted = (((ordered[:, None] - sets[1][1]) * step) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(out, wanted, rtol=1e-12)


@pytest.mark.parametrize("shape", [(16383, 1, 1), (1, 1, 20000), (0, 4, 4)])
def test_a_volume_whose_axes_do_not_fit_into_a_cell_is_refused(shape):
    volume = np.zeros(shape, np.uint8)
    with pytest.raises(InputError) as error:
        surfaces.in_memory_order(volume, volume, (1, 1, 1))
    assert str(error.value) == f"Volume of shape {shape}. Axes must be 1 to 16382 long."


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (70, 4, 90)])
def test_a_volume_is_flat_in_the_order_that_it_lies_in_and_padded_with_nothing(order, shape):
    volume = np.asarray(labels(9, shape), order=order)
    pair = surfaces.in_memory_order(volume, volume[...], (1.0, 2.0, 3.0))
    assert pair.flipped == (order == "F")
    turned = volume.T if pair.flipped else volume
    filled = pair.reference.reshape(pair.shape)[..., : turned.shape[2]]
    np.testing.assert_array_equal(filled, turned)
    assert pair.reference.sum() == volume.sum(dtype=int) and pair.padding == pair.reference.size - volume.size
    assert pair.spacing.tolist() == ([3, 2, 1] if pair.flipped else [1, 2, 3])
    if not pair.padding:
        assert np.shares_memory(pair.reference, volume)
