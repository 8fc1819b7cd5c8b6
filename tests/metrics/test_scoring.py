"""Metrics against closed forms, brute force, and values from another program."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from umdlib.errors import InputError
from umdlib.kernels.areas import REVERSED, cell_areas_mm2, triangles
from umdlib.kernels.cells import STRUCTURE_SHIFT
from umdlib.metrics import scoring as metrics

UNIT = (1.0, 1.0, 1.0)
METRICS = ["dice", "surface_dice_1mm", "surface_dice_5mm", "hausdorff", "hausdorff_95", "assd"]


def one(reference, prediction, spacing_mm=UNIT, tolerances_mm=(1.0, 5.0)):
    """The row of a pair of boolean masks."""
    pair = (np.asarray(m).astype(np.uint8) for m in (reference, prediction))
    table = metrics.score(*pair, spacing_mm=spacing_mm, values=[1], tolerances_mm=tolerances_mm)
    return table.iloc[0]


def box(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def brute(reference, prediction, spacing_mm, tolerance_mm):
    """Surface Dice, HD, HD95 and ASSD by comparing every cell with every other."""
    area = cell_areas_mm2(spacing_mm)
    sides = []
    for mask in (reference, prediction):
        padded = np.pad(mask, 1)
        cells = []
        for z, y, x in np.ndindex(*np.add(mask.shape, 1)):
            corners = padded[z : z + 2, y : y + 2, x : x + 2].ravel()
            code = int("".join("01"[int(c)] for c in corners), 2)
            if 0 < code < 255:
                cells.append((z, y, x, area[code]))
        sides.append(np.array(cells))
    directed = []
    for a, b in (sides, sides[::-1]):
        steps = (a[:, None, :3] - b[None, :, :3]) * spacing_mm
        directed.append((np.sqrt((steps**2).sum(axis=2)).min(axis=1), a[:, 3]))
    total = sum(a.sum() for _, a in directed)
    robust = []
    for distance, weight in directed:
        order = np.lexsort((weight, distance))
        share = np.cumsum(weight[order]) / weight.sum()
        robust.append(distance[order][np.flatnonzero(share >= 0.95 - 1e-12)[0]])
    return (
        sum(a[d <= tolerance_mm].sum() for d, a in directed) / total,
        max(d.max() for d, _ in directed),
        max(robust),
        sum((d * a).sum() for d, a in directed) / total,
    )


# --- closed forms ---------------------------------------------------------------------------------


def test_identical_masks_are_perfect():
    mask = box((9, 8, 7), (2, 2, 2), (6, 5, 5))
    row = one(mask, mask, (1, 2, 3))
    assert row[METRICS].tolist() == [1, 1, 1, 0, 0, 0]
    assert row.status == "ok"
    assert row.rvd == 0


def test_one_voxel_has_the_surface_of_an_octahedron():
    # eight cut corners: a regular octahedron of half-diagonal 1/2, area sqrt(3)
    assert 8 * cell_areas_mm2(UNIT)[0b00000001] == pytest.approx(3**0.5)


def test_parallel_slabs_are_as_far_apart_as_they_were_moved():
    # 2 mm voxels along K: the near faces lie 2 mm apart, the far faces 6 mm; narrow rims between
    a, b = box((40, 40, 12), (0, 0, 2), (40, 40, 4)), box((40, 40, 12), (0, 0, 5), (40, 40, 7))
    row = one(a, b, (1, 1, 2), tolerances_mm=(2.0, 5.9, 6.0))
    assert row.dice == 0
    assert row.hausdorff == 6
    assert row.hausdorff_95 == 6
    assert row["surface_dice_2mm"] == pytest.approx(0.5, abs=0.06)
    assert row["surface_dice_5.9mm"] < 0.6
    assert row["surface_dice_6mm"] == 1


def test_volumes_are_in_millilitres():
    row = one(box((9, 9, 9), (0, 0, 0), (5, 4, 5)), box((9, 9, 9), (0, 0, 0), (5, 4, 6)), (2, 2, 5))
    assert row.reference_ml == pytest.approx(100 * 20 / 1000)
    assert row.prediction_ml == pytest.approx(120 * 20 / 1000)
    assert row.rvd == pytest.approx(0.2)


def test_sphere_moved_by_d_has_the_dice_of_two_balls():
    # Dice = 1 - 1.5 x + 0.5 x^3 with x = d / 2 r
    z, y, x = np.ogrid[:60, :60, :70]
    balls = [(z - 30) ** 2 + (y - 30) ** 2 + (x - c) ** 2 <= 20**2 for c in (30, 38)]
    ratio = 8 / 40
    assert one(*balls).dice == pytest.approx(1 - 1.5 * ratio + 0.5 * ratio**3, abs=0.005)


# --- the state of a pair --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_ref", "n_pred", "status", "overlap", "rvd"),
    [
        (0, 0, "both_empty", np.nan, np.nan),
        (0, 1, "reference_empty", 0.0, np.nan),
        (1, 0, "prediction_empty", 0.0, -1.0),
    ],
)
def test_an_empty_mask_is_a_state(n_ref, n_pred, status, overlap, rvd):
    masks = [box((4, 4, 4), (1, 1, 1), (1 + n, 3, 3)) for n in (n_ref, n_pred)]
    row = one(*masks)
    expected = [overlap, overlap, overlap, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(row[METRICS].astype(float), expected)
    np.testing.assert_array_equal(row.rvd, rvd)
    assert row.status == status
    assert row.reference_ml == masks[0].sum() / 1000


def test_a_structure_at_the_edge_of_the_volume_has_a_surface_there():
    inner, cut = box((8, 8, 8), (2, 2, 2), (6, 6, 6)), box((4, 8, 8), (0, 2, 2), (4, 6, 6))
    assert one(cut, cut).surface_dice_1mm == 1
    moved = one(inner, box((8, 8, 8), (2, 2, 2), (6, 6, 7)))
    at_edge = one(cut, box((4, 8, 8), (0, 2, 2), (4, 6, 7)))
    assert at_edge[METRICS].tolist() == moved[METRICS].tolist()


def test_a_mask_that_fills_the_volume_has_all_its_faces():
    # rows of two chunks of 64 voxels and a rest of one value, up to the edge
    full = np.ones((5, 6, 130), bool)
    less = full.copy()
    less[..., -1] = False
    rows = [one(a, b, UNIT, (0.5,)) for a, b in ((full, less), (np.pad(full, 1), np.pad(less, 1)))]
    same_columns = ["dice", "surface_dice_0.5mm", "hausdorff", "hausdorff_95", "assd"]
    assert rows[0][same_columns].tolist() == pytest.approx(rows[1][same_columns].tolist(), rel=1e-12)
    assert rows[0].hausdorff == 1


# --- a tolerance that equals a distance -----------------------------------------------------------


def test_a_float32_header_does_not_move_a_tie():
    a, b = box((9, 9, 9), (2, 2, 2), (6, 6, 6)), box((9, 9, 9), (2, 2, 3), (6, 6, 7))
    exact = one(a, b, (0.98, 0.98, 0.98), (0.98,))
    stored = one(a, b, tuple(float(np.float32(0.98)) for _ in range(3)), (0.98,))
    assert exact["surface_dice_0.98mm"] == 1
    pd.testing.assert_series_equal(exact, stored)


@pytest.mark.parametrize("size", [0.859375, 0.9765625, 1.23456789, float(np.float32(4.07283))])
def test_a_spacing_of_any_digits_is_a_tolerance_and_a_distance(size):
    a, b = box((9, 9, 9), (2, 2, 2), (6, 6, 6)), box((9, 9, 9), (2, 2, 3), (6, 6, 7))
    written = float(str(np.float32(size))) if float(np.float32(size)) == size else size
    table = metrics.score(
        a.astype(np.uint8), b.astype(np.uint8), spacing_mm=(size,) * 3, values=[1], tolerances_mm=(written,)
    )
    assert table.iloc[0, 3] == 1
    assert table["hausdorff"].item() == written


def test_tolerances_need_no_order():
    a, b = box((9, 9, 9), (1, 1, 1), (6, 6, 6)), box((9, 9, 9), (2, 2, 4), (8, 7, 8))
    rows = [one(a, b, UNIT, t) for t in [(1.0, 2.0, 3.0), (3.0, 1.0, 2.0)]]
    for tau in ("1", "2", "3"):
        assert rows[0][f"surface_dice_{tau}mm"] == rows[1][f"surface_dice_{tau}mm"]


# --- the surface Dice alone -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_surface_dice_alone_is_the_one_among_all_metrics(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(12, 90, 3).tolist())
    spacing = tuple(rng.choice([0.98, 1.0, 1.5, 3.0, 5.0], 3).tolist())
    order = "CF"[seed % 2]
    pair = [np.zeros(shape, np.uint8, order) for _ in range(2)]
    for label_map in pair:
        for value in (1, 2, 3, 3, 2):
            at, size = rng.integers(0, shape), rng.integers(1, 20, 3)
            label_map[tuple(slice(a, a + s) for a, s in zip(at, size, strict=True))] = value
    # a tolerance that is a distance, one beyond what is looked for nearby, one beyond the volume
    for tolerances in [(2 * spacing[0],), (40.0, 0.5, 3.0), (1000.0,)]:
        options = {"spacing_mm": spacing, "values": [1, 2, 3, 4], "tolerances_mm": tolerances}
        alone, every = metrics.surface_dice(*pair, **options), metrics.score(*pair, **options)
        assert list(alone) == ["value", "status", *(f"surface_dice_{t:g}mm" for t in tolerances)]
        pd.testing.assert_frame_equal(alone, every[list(alone)])


@pytest.mark.parametrize(
    ("spacing", "offset", "tolerance"),
    [
        ((0.8, 0.8, 1.0), (0, 5, 3), 5.0),
        ((0.6, 0.6, 1.0), (0, 5, 4), 5.0),
        ((0.98, 0.98, 0.98), (0, 0, 6), 5.88),
        ((2.04, 2.04, 3.0), (0, 5, 0), 10.2),
        ((2.04, 2.04, 3.0), (5, 0, 0), 10.2),
        ((0.7, 0.7, 0.7), (0, 0, 40), 28.0),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("at", range(0, 12, 2))
def test_surface_dice_alone_keeps_what_lies_at_the_tolerance(spacing, offset, tolerance, order, at):
    pair = np.zeros((2, 20, 24, 64), np.uint8)
    pair[0, 4, at, 9] = 1
    pair[1, 4 + offset[0], at + offset[1], 9 + offset[2]] = 1
    pair = [np.asarray(v, order=order) for v in pair]
    options = {"spacing_mm": spacing, "values": [1], "tolerances_mm": (tolerance,)}
    alone, every = metrics.surface_dice(*pair, **options), metrics.score(*pair, **options)
    assert alone.iloc[0, 2] == every.iloc[0, 3]


def test_surface_dice_alone_refuses_what_score_refuses():
    with pytest.raises(InputError, match="tolerance"):
        metrics.surface_dice(
            *[np.zeros((4, 4, 4), np.uint8)] * 2, spacing_mm=UNIT, values=[1], tolerances_mm=[0]
        )


# --- brute force ----------------------------------------------------------------------------------


def blobs(rng, shape):
    """A mask with smooth and ragged parts; sometimes a lone voxel."""
    if rng.random() < 0.1:
        mask = np.zeros(shape, bool)
        mask[tuple(rng.integers(0, shape))] = True
        return mask
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.choice([0, 0.7, 1.5]))
    return noise > np.quantile(noise, rng.uniform(0.4, 0.97))


@pytest.mark.parametrize("seed", range(40))
def test_equal_to_brute_force(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    spacing = tuple(rng.choice([0.98, 1.0, 2.04, 3.0, 4.07, 0.9765625, 1.2345678901], 3).tolist())
    reference, prediction = blobs(rng, shape), blobs(rng, shape)
    tolerance = float(rng.choice([spacing[0], 2 * spacing[1], 3.0]))
    reference.flat[-1], prediction.flat[0] = True, True
    if seed % 2:
        reference, prediction = np.asfortranarray(reference), np.asfortranarray(prediction)
    row = one(reference, prediction, spacing, (tolerance,))
    found = [row[f"surface_dice_{tolerance:g}mm"], row.hausdorff, row.hausdorff_95, row.assd]
    np.testing.assert_allclose(found, brute(reference, prediction, spacing, tolerance), rtol=1e-12)
    common = 2 * (reference & prediction).sum()
    assert row.dice == common / (reference.sum() + prediction.sum())


@pytest.mark.parametrize("seed", range(8))
def test_far_errors_in_long_rows_equal_distance_maps(seed):
    # rows of several 64-voxel chunks, spurious blobs far away: the search in bricks
    rng = np.random.default_rng(seed)
    shape = tuple(rng.permutation([150, 40, 30]).tolist())
    spacing = tuple(rng.choice([0.98, 1.5, 3.0, 5.0], 3).tolist())
    masks = []
    for _ in range(2):
        mask = np.zeros(shape, bool)
        for _ in range(3):
            at, size = rng.integers(0, shape), rng.integers(2, 20, 3)
            mask[tuple(slice(a, a + s) for a, s in zip(at, size, strict=True))] = True
        masks.append(mask)
    codes = []
    for mask in masks:
        padded, code = np.pad(mask, 1), np.zeros(np.add(shape, 1), np.uint8)
        for n, corner in enumerate(itertools.product((0, 1), repeat=3)):
            part = tuple(slice(c, c + s + 1) for c, s in zip(corner, shape, strict=True))
            code |= padded[part].astype(np.uint8) << np.uint8(7 - n)
        codes.append(code)
    surfaces = [(c > 0) & (c < 255) for c in codes]
    maps = [ndimage.distance_transform_edt(~s, sampling=spacing) for s in surfaces]
    area = cell_areas_mm2(spacing)
    sides = [
        (maps[1][surfaces[0]], area[codes[0][surfaces[0]]]),
        (maps[0][surfaces[1]], area[codes[1][surfaces[1]]]),
    ]
    row = one(*masks, spacing, (2.0, 10.0))
    total = sum(a.sum() for _, a in sides)
    assert row.hausdorff == max(d.max() for d, _ in sides)
    assert row.assd == pytest.approx(sum((d * a).sum() for d, a in sides) / total, rel=1e-12)
    for tau in (2.0, 10.0):
        inside = sum(a[d <= tau].sum() for d, a in sides) / total
        assert row[f"surface_dice_{tau:g}mm"] == pytest.approx(inside, abs=1e-12)


# --- another program ------------------------------------------------------------------------------

# google-deepmind/surface-distance at commit 1f805ce, for the masks of `golden_masks`:
#   d = compute_surface_distances(a, b, spacing); compute_surface_dice_at_tolerance(d, tau);
#   compute_robust_hausdorff(d, 95), (d, 100); compute_average_surface_distance(d)
# spacing, tau, surface Dice, HD95, HD, average distance there, and back
GOLDEN = [
    (
        (1.0, 1.0, 1.0),
        1.0,
        0.6194626358314509,
        3.0,
        3.7416573867739413,
        1.1875217380229064,
        0.9919242172945345,
    ),
    (
        (2.04, 0.98, 3.0),
        2.04,
        0.7555554928837463,
        5.028916384272063,
        6.789550795155744,
        1.7373891711847491,
        1.5309979316076432,
    ),
    (
        (1.0, 1.0, 1.0),
        1.0,
        0.5700340953429449,
        3.7416573867739413,
        6.557438524302,
        0.05165976379931872,
        1.537208271670204,
    ),
    (
        (2.04, 0.98, 3.0),
        2.04,
        0.5844896966065212,
        6.404123671510412,
        10.977886864055394,
        0.05943448282705203,
        2.5120293033365098,
    ),
    (
        (1.0, 1.0, 1.0),
        1.0,
        0.5644175896567576,
        4.898979485566356,
        7.681145747868608,
        0.007787100124552358,
        1.736806422603025,
    ),
    (
        (2.04, 0.98, 3.0),
        2.04,
        0.5866601444751769,
        9.872405988410323,
        15.657586020839867,
        0.005506451527796044,
        3.242916720477117,
    ),
    (
        (1.0, 1.0, 1.0),
        1.0,
        0.0,
        15.748015748023622,
        16.911534525287763,
        3.354579568430234,
        10.541601279456478,
    ),
    (
        (2.04, 0.98, 3.0),
        2.04,
        0.0,
        33.773273456980746,
        36.10152905349024,
        7.37475922445481,
        22.48992380253556,
    ),
    (
        (1.0, 1.0, 1.0),
        1.0,
        0.9998433457761425,
        1.0,
        1.4142135623730951,
        0.019426380120078347,
        0.06517516566946288,
    ),
    ((2.04, 0.98, 3.0), 2.04, 1.0, 0.98, 1.96, 0.017378157088498013, 0.06852109818052353),
]


def golden_masks(n):
    """Ellipsoids that touch the border, patterns with every ambiguous cell, one voxel."""
    i, j, k = np.ogrid[:17, :13, :11]
    a = ((i - 8) / 7.5) ** 2 + ((j - 4) / 5.5) ** 2 + ((k - 5) / 4.2) ** 2 <= 1
    b = ((i - 9.5) / 6) ** 2 + ((j - 6) / 5) ** 2 + ((k - 6) / 5.5) ** 2 <= 1
    c = (7 * i + 5 * j * j + 3 * k * i) % 11 < 4
    d = np.zeros(a.shape, bool)
    d[16, 0, 10] = True
    return [(a, b), (a, c), (b & c, a ^ c), (d, a), (c, ~c)][n]


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("column", range(2))
def test_equal_to_surface_distance(n, column):
    spacing, tau, surface_dice, robust, most, there, back = GOLDEN[2 * n + column]
    a, b = golden_masks(n)
    row = one(a, b, spacing, (tau,))
    assert row[f"surface_dice_{tau:g}mm"] == pytest.approx(surface_dice, abs=1e-12)
    assert row.hausdorff_95 == robust
    assert row.hausdorff == most
    # the pooled mean lies between the two directed ones, which is all that program gives
    assert min(there, back) - 1e-12 <= row.assd <= max(there, back) + 1e-12


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_share_that_is_reached_exactly_is_decided_by_the_last_bit(order):
    # five lone voxels a side: 40 equal cells, and the cumulative area of 38 of them is 0.95 of all but for
    # rounding; surface-distance (commit 1f805ce) gives 2 where its sums reach 0.95 and 2.5 where they do
    # not, which the last bit of a norm decides: it differs between processors
    places = ("000000800000800000000004000000000080000080", "000004000000000020000000000400000400000100")
    masks = []
    for text in places:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:162]
        masks.append(np.array(bits.reshape(6, 3, 9).astype(bool), order=order))
    assert [m.sum() for m in masks] == [5, 5]
    spacing = (0.5, 2.04, 2.04)
    cells = np.full(40, cell_areas_mm2(spacing)[1])
    reached = (np.cumsum(cells) / np.sum(cells))[37] >= 0.95
    assert one(*masks, spacing).hausdorff_95 == (2.0 if reached else 2.5)


def test_areas_do_not_depend_on_how_axes_are_named():
    spacing = (0.98, 2.04, 3.0)
    np.testing.assert_allclose(cell_areas_mm2(spacing[::-1])[REVERSED], cell_areas_mm2(spacing), rtol=1e-14)


def test_every_shape_of_a_cell_has_triangles():
    # the surface is the same seen from inside; only full and empty cells have none
    counts = [len(t) for t in triangles()]
    assert counts == counts[::-1]
    assert [c for c, n in enumerate(counts) if n == 0] == [0, 255]


# --- properties -----------------------------------------------------------------------------------

SHAPE = (5, 6, 7)
masks = hnp.arrays(bool, SHAPE)
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 2.04, 5.0])] * 3)
properties = settings(max_examples=25)


def same(a, b):
    np.testing.assert_allclose(a[METRICS].astype(float), b[METRICS].astype(float), rtol=1e-12, atol=1e-12)


@properties
@given(masks, masks, spacings)
def test_exchange_of_the_masks_changes_nothing(a, b, spacing):
    same(one(a, b, spacing), one(b, a, spacing))


@properties
@given(masks, masks, spacings, st.permutations(range(3)), st.integers(0, 7))
def test_flips_and_permuted_axes_change_nothing(a, b, spacing, axes, flips):
    flipped = tuple(n for n in range(3) if flips >> n & 1)
    moved = [np.flip(m.transpose(axes), flipped) for m in (a, b)]
    same(one(a, b, spacing), one(*moved, tuple(spacing[n] for n in axes)))


@properties
@given(masks, masks, spacings, st.integers(1, 70))
def test_padding_changes_nothing(a, b, spacing, width):
    padded = [np.pad(m, ((0, 1), (1, 0), (width, 2))) for m in (a, b)]
    same(one(a, b, spacing), one(*padded, spacing))


@properties
@given(masks, masks, spacings)
def test_surface_dice_grows_with_the_tolerance(a, b, spacing):
    row = one(a, b, spacing, (0.4, 1.0, 2.0, 4.0))
    values = row[[f"surface_dice_{t}mm" for t in ("0.4", "1", "2", "4")]].astype(float)
    assert values.isna().all() or values.is_monotonic_increasing


@properties
@given(masks, masks, st.integers(0, np.prod(SHAPE) - 1))
def test_a_false_positive_never_raises_dice(a, b, voxel):
    voxel = np.unravel_index(voxel, SHAPE)
    if a[voxel]:
        return
    b[voxel] = False
    before = one(a, b).dice
    b[voxel] = True
    assert np.isnan(before) or one(a, b).dice <= before


@properties
@given(st.lists(st.tuples(masks, masks), min_size=1, max_size=4), spacings)
def test_overlapping_masks_score_as_each_alone(pairs, spacing):
    packed = [metrics.pack_bits(list(side)) for side in zip(*pairs, strict=True)]
    table = metrics.score_bits(*packed, spacing_mm=spacing, bits=len(pairs))
    for bit, (a, b) in enumerate(pairs):
        row, alone = table.iloc[bit], one(a, b, spacing)
        assert row.status == alone.status
        same(row, alone)


# --- many structures ------------------------------------------------------------------------------


def label_maps(rng, shape=(70, 20, 15), values=(3, 7, 200)):
    pair = []
    for _ in range(2):
        volume = np.zeros(shape, np.uint8)
        for v in values:
            volume[blobs(rng, shape) & blobs(rng, shape)] = v
        pair.append(volume)
    return pair


def test_all_structures_at_once_as_each_alone():
    a, b = label_maps(np.random.default_rng(1))
    table = metrics.score(a, b, spacing_mm=(2, 1, 3), values=[200, 3, 7, 9])
    assert table["value"].tolist() == [200, 3, 7, 9]
    for n, v in enumerate([200, 3, 7]):
        same(table.iloc[n], one(a == v, b == v, (2, 1, 3)))
    assert table.status.iloc[3] == "both_empty"


def test_memory_order_and_type_change_nothing():
    a, b = label_maps(np.random.default_rng(2))
    arguments = {"spacing_mm": (2, 1, 3), "values": [3, 7, 200]}
    plain = metrics.score(a, b, **arguments)
    wide = np.zeros((70, 40, 15), np.uint8)
    wide[:, ::2] = b
    for c, d in [
        (np.asfortranarray(a), np.asfortranarray(b)),
        (np.asfortranarray(a), b),
        (a, wide[:, ::2]),
        (a.astype(np.int64), b.astype(np.uint16)),
    ]:
        found = metrics.score(c, d, **arguments)
        pd.testing.assert_frame_equal(plain, found, rtol=1e-12)


def test_label_map_as_bits():
    a, b = label_maps(np.random.default_rng(3))
    values = [3, 7, 200]
    plain = metrics.score(a, b, spacing_mm=(2, 1, 3), values=values)
    packed = [metrics.label_bits(m, values) for m in (a, b)]
    bits = metrics.score_bits(*packed, spacing_mm=(2, 1, 3), bits=3)
    columns = metrics.metric_columns()
    pd.testing.assert_frame_equal(plain[columns], bits[columns], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 9, 17, 64])
def test_packed_masks_come_back_as_they_were(count):
    rng = np.random.default_rng(count)
    masks = [rng.random((13, 11, 17)) < rng.choice([0.01, 0.5]) for _ in range(count)]
    expected = np.zeros((13, 11, 17), np.uint64)
    for bit, mask in enumerate(masks):
        expected |= mask.astype(np.uint64) << np.uint64(bit)
    orders = [np.asfortranarray, np.ascontiguousarray, lambda m: m, lambda m: np.repeat(m, 2, 1)[:, ::2]]
    for first in orders:
        packed = metrics.pack_bits([first(masks[0]), *(orders[n % 4](m) for n, m in enumerate(masks[1:]))])
        np.testing.assert_array_equal(packed, expected)
        for bit, mask in enumerate(masks):
            np.testing.assert_array_equal(metrics.unpack_bit(packed, bit), mask)


def test_bits_of_a_label_map_in_any_order_and_type():
    a, _ = label_maps(np.random.default_rng(7))
    expected = metrics.pack_bits([a == 200, a == 3])
    assert expected.max() == 2
    for other in (
        a,
        np.asfortranarray(a),
        a.transpose(1, 0, 2).copy().transpose(1, 0, 2),
        a.astype(np.int32),
        a.astype(np.uint16),
    ):
        np.testing.assert_array_equal(metrics.label_bits(other, [200, 3]), expected)
    with pytest.raises(InputError, match="given twice"):
        metrics.label_bits(a, [3, 3])


def test_joint_counts_are_a_histogram():
    a, b = label_maps(np.random.default_rng(4))
    counts = metrics.joint_counts(a, b, [3, 7, 200])
    lookup = np.zeros(256, int)
    lookup[[3, 7, 200]] = 1, 2, 3
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (lookup[a], lookup[b]), 1)
    np.testing.assert_array_equal(counts, expected)


def test_a_second_volume_of_the_same_shape_sees_nothing_of_the_first():
    a, b = label_maps(np.random.default_rng(5))
    c, d = label_maps(np.random.default_rng(6))
    arguments = {"spacing_mm": (2, 1, 3), "values": [3, 7, 200]}
    first = metrics.score(a, b, **arguments)
    metrics.score(c, d, **arguments)
    metrics.score(np.zeros_like(a), d, **arguments)
    pd.testing.assert_frame_equal(first, metrics.score(a, b, **arguments))


# --- bad input ------------------------------------------------------------------------------------

EMPTY = np.zeros((3, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"prediction": EMPTY[:2]}, r"shape \(2, 3, 3\)"),
        ({"prediction": EMPTY.astype(float)}, "float64"),
        ({"reference": EMPTY[0], "prediction": EMPTY[0]}, "Three axes"),
        ({"spacing_mm": (1, 0, 1)}, "Invalid spacing"),
        ({"spacing_mm": (1, -2, 1)}, "Invalid spacing"),
        ({"spacing_mm": (1, 1)}, "Invalid spacing"),
        ({"spacing_mm": (1, np.nan, 1)}, "Invalid spacing"),
        ({"spacing_mm": "abc"}, "Invalid spacing abc mm"),
        ({"spacing_mm": ((1, 2), 3)}, "Invalid spacing"),
        ({"tolerances_mm": (0.0,)}, "Invalid tolerance 0 mm"),
        ({"tolerances_mm": None}, "Invalid tolerances None"),
        ({"tolerances_mm": ("a",)}, "Invalid tolerances .'a',."),
        ({"tolerances_mm": (-1.0,)}, "Invalid tolerance"),
        ({"tolerances_mm": (1.0, 2.0, 1.0000001)}, "six digits"),
        ({"values": [0]}, "Invalid label value 0"),
        ({"values": [1, 1]}, "given twice"),
        ({"values": [1.5]}, "Invalid label value"),
        ({"values": range(1, 8193)}, "At most 8191"),
        ({"reference": EMPTY.astype(int) - 1}, "Must be 0 to 65535"),
    ],
)
def test_bad_input_is_named(change, match):
    arguments = {"reference": EMPTY, "prediction": EMPTY, "spacing_mm": UNIT, "values": [1]}
    arguments |= change
    with pytest.raises(InputError, match=match):
        metrics.score(arguments.pop("reference"), arguments.pop("prediction"), **arguments)


def test_as_many_structures_are_scored_as_a_cell_has_numbers_for():
    assert metrics.MOST_STRUCTURES == (1 << (63 - STRUCTURE_SHIFT)) - 1


def test_bits_are_unsigned():
    with pytest.raises(InputError, match="unsigned"):
        metrics.score_bits(EMPTY.astype(int), EMPTY, spacing_mm=UNIT, bits=1)
    with pytest.raises(InputError, match="1 to 64"):
        metrics.pack_bits([])


def test_more_structures_than_bits_are_refused_in_words():
    with pytest.raises(InputError, match="65 structures do not fit in one volume of 64 bits"):
        metrics.label_bits(np.zeros((2, 2, 2), np.uint8), list(range(1, 66)))


def test_a_volume_of_bits_holds_at_least_one_mask_and_at_most_64():
    for masks in ([], [np.ones((1, 1, 1), bool)] * 65):
        with pytest.raises(InputError, match=f"{len(masks)} masks to pack"):
            metrics.pack_bits(masks)
