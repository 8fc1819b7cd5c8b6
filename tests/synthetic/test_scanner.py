"""The scanner's parts in closed form, on blocks of tissue instead of a body."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS
from umdlib.synthetic import Factors, factors, only
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.literature import TISSUE
from umdlib.synthetic.scanner import attenuation, contrast, motion, pet, sampling, structural
from umdlib.synthetic.scanner.acquisition import Acquisition, draw_acquisition
from umdlib.synthetic.scanner.sampling import Grid, grid_over

PERSON = draw_person(np.random.default_rng(3), sex="M", bmi=25, height_cm=175)
STEP = 4.0


def rng(seed=0):
    return np.random.default_rng(seed)


def block(*names, shape=(30, 30, 30), **more) -> Anatomy:
    """Slabs of tissues along x on 4 mm voxels around the origin, inside a rim of air."""
    tissue = np.zeros(shape, np.uint8)
    for part, name in zip(np.array_split(np.arange(4, shape[0] - 4), len(names)), names, strict=True):
        tissue[part, 4:-4, 4:-4] = CODES[name]
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = -STEP * (np.array(shape) - 1) / 2
    return Anatomy(tissue, affine, PERSON, **more)


def grid_of(anatomy) -> Grid:
    return Grid(anatomy.tissue.shape, anatomy.affine)


# grids and point spread


@pytest.mark.parametrize("offset", [(0, 0, 0), (0.31, 0.17, 0.93)])
def test_a_grid_covers_its_box_and_is_moved_by_shares_of_a_voxel(offset):
    low, high, voxel = (-10.0, 3.0, 0.5), (25.0, 30.0, 7.0), (4.0, 3.0, 2.5)
    grid, plain = grid_over(low, high, voxel, offset), grid_over(low, high, voxel)
    for axis, a, b in zip(grid.axes_mm(), low, high, strict=True):
        assert axis[0] <= a and axis[-1] >= b
    np.testing.assert_allclose(grid.spacing_mm, voxel)
    np.testing.assert_allclose((plain.affine - grid.affine)[:3, 3], np.array(offset) * voxel, atol=1e-4)


def test_widths_of_two_point_spreads_add_in_squares_and_no_activity_is_lost():
    source = np.zeros((41, 41, 41))
    source[20, 20, 20] = 1
    twice = sampling.blur(sampling.blur(source, (2, 2, 3), 8.0), (2, 2, 3), (6.0, 6.0, 9.0))
    once = sampling.blur(source, (2, 2, 3), (10.0, 10.0, (64 + 81) ** 0.5))
    assert twice.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(twice, once, atol=0.02 * once.max())


def test_the_structural_width_scales_with_the_cohorts_voxels():
    assert sampling.structural_fwhm("petct", 4.0) == 3.0
    assert sampling.structural_fwhm("petmr", 8.0) == 6.0


@pytest.mark.parametrize("shift", [None, (3.0, -2.0, 5.0)])
def test_a_linear_field_is_sampled_where_its_content_was_moved_to(shift):
    affine = np.diag([4.0, 5.0, 6.0, 1.0])
    x, y, z = np.meshgrid(*(np.arange(12) * s for s in (4.0, 5.0, 6.0)), indexing="ij")
    values = (x - 2 * y + 0.5 * z).astype(np.float32)
    grid = grid_over((12, 12, 12), (28, 34, 40), (3.0, 3.0, 3.0), (0.2, 0.4, 0.6))
    found = sampling.sample(values, affine, grid, shift_mm=shift)
    gx, gy, gz = np.meshgrid(*grid.axes_mm(), indexing="ij")
    sx, sy, sz = shift or (0, 0, 0)
    np.testing.assert_allclose(found, (gx - sx) - 2 * (gy - sy) + 0.5 * (gz - sz), atol=1e-3)


def test_beyond_the_anatomy_is_what_was_named():
    far = grid_over((500, 500, 500), (510, 510, 510), (3, 3, 3))
    values = np.ones((4, 4, 4), np.float32)
    for shift in (None, (0.0, 1.0, 0.0)):
        assert (sampling.sample(values, np.eye(4), far, shift_mm=shift, fill=-1000.0) == -1000).all()


def test_a_voxel_belongs_to_the_structure_with_the_largest_share_of_more_than_half():
    anatomy = block("liver", "spleen")
    grid = grid_over((-60, -60, -60), (60, 60, 60), (6.0, 6.0, 6.0), (0.3, 0.6, 0.1))
    found = sampling.sample_labels(anatomy.tissue, anatomy.affine, grid)
    value = {s.name: s.value for s in ORGANS}
    assert set(np.unique(found)) == {0, value["liver"], value["spleen"]}
    x = grid.axes_mm()[0]
    for name in ("liver", "spleen"):
        mask = found == value[name]
        wanted = (anatomy.tissue == CODES[name]).sum() * STEP**3
        assert mask.sum() * 6.0**3 == pytest.approx(wanted, rel=0.12)
        middle = (x[:, None, None] * mask).sum() / mask.sum()
        true = (grid_of(anatomy).axes_mm()[0][:, None, None] * (anatomy.tissue == CODES[name])).sum()
        assert middle == pytest.approx(true / (anatomy.tissue == CODES[name]).sum(), abs=1.0)


def test_a_cut_grid_keeps_the_places_of_its_voxels():
    grid = grid_over((0, 0, 0), (50, 60, 70), (4.0, 5.0, 6.0), (0.2, 0.3, 0.4))
    box, part = sampling.crop(grid, (10, 20, 30), (30, 40, 50))
    for whole, piece, b, low, high in zip(
        grid.axes_mm(), part.axes_mm(), box, (10, 20, 30), (30, 40, 50), strict=True
    ):
        np.testing.assert_allclose(piece, whole[b])
        assert piece[0] <= low and piece[-1] >= high


# contrast


def test_uptake_of_a_tissue_is_its_key_times_its_factor_and_the_heart_wall_is_never_below_blood():
    suv, table = PERSON.uptake_suv, contrast.uptake_table(PERSON)
    assert table[CODES["visceral_fat"]] == pytest.approx(1.2 * suv["fat"])
    assert table[CODES["soft"]] == 1.0 and table[CODES["air"]] == 0.0
    wall = max(suv["blood"], 0.45 * suv["myocardium"])
    assert table[CODES["heart_wall"]] == pytest.approx(wall)
    assert table[CODES["heart_blood"]] == pytest.approx(suv["blood"])


@pytest.mark.parametrize("size", [1.5, 6.0, 20.0])
def test_texture_has_unit_deviation_and_grows_smoother_with_its_size(size):
    field = contrast.texture(rng(), (64, 60, 56), size)
    assert field.shape == (64, 60, 56) and field.dtype == np.float32
    assert field.std() == pytest.approx(1, abs=0.06) and abs(field.mean()) < 0.25
    assert np.array_equal(field, contrast.texture(rng(), (64, 60, 56), size))
    neighbours = np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]
    assert neighbours > {1.5: 0.3, 6.0: 0.8, 20.0: 0.97}[size]


def test_tissues_have_their_ct_numbers_and_lung_is_denser_where_it_lies_lower():
    """A subject lies on the back: 0.45 HU more per mm towards the couch."""
    anatomy = block("lung", "liver", shape=(40, 60, 60))
    values = contrast.ct_values(anatomy.tissue, anatomy.affine, rng())
    for name, tolerance in (("lung", 12), ("liver", 3)):
        mask = anatomy.tissue == CODES[name]
        assert values[mask].mean() == pytest.approx(TISSUE[name].hu, abs=tolerance)
    lung = np.where(anatomy.tissue == CODES["lung"], values, np.nan)[4:20, 4:-4, 4:-4].mean(axis=(0, 2))
    slope = np.polyfit(anatomy.affine[1, 3] + STEP * np.arange(4, 56), lung, 1)[0]
    assert slope == pytest.approx(-0.45, abs=0.12)


def test_mr_gives_fat_600_and_the_others_their_share():
    anatomy = block("fat", "liver", "bladder", shape=(60, 40, 40))
    values = contrast.mr_values(anatomy.tissue, anatomy.affine, rng())
    for name in ("fat", "liver", "bladder"):
        mean = values[anatomy.tissue == CODES[name]].mean()
        assert mean == pytest.approx(600 * TISSUE[name].t1, rel=0.02)
    assert (values[anatomy.tissue == 0] == 0).all()


def test_a_patchy_tissue_keeps_its_mean_uptake_and_a_smooth_one_its_value():
    anatomy = block("ureter", "aorta", shape=(90, 90, 90))
    values = contrast.pet_values(anatomy.tissue, anatomy.affine, PERSON, rng(1))
    patchy, blood = (values[anatomy.tissue == CODES[n]] for n in ("ureter", "aorta"))
    assert patchy.mean() == pytest.approx(PERSON.uptake_suv["ureter"], rel=0.15)
    assert np.log(patchy).std() == pytest.approx(TISSUE["ureter"].patchy, rel=0.15)
    np.testing.assert_allclose(blood, PERSON.uptake_suv["blood"], rtol=1e-5)


# attenuation, motion, filling


def test_attenuation_is_that_of_water_at_0_hu_none_in_air_and_half_as_steep_in_bone():
    mu = attenuation.coefficients()
    assert mu[CODES["airway"]] == pytest.approx(0.0096 * 0.01)
    assert mu[CODES["air"]] == 0
    assert mu[CODES["cortical_bone"]] == pytest.approx(0.0096 * (1 + 0.5 * 0.9))
    assert mu[CODES["fat"]] == pytest.approx(0.0096 * (1 - 0.102))


@pytest.mark.parametrize("heights", [None, (1.0, 1270.0)])
def test_a_scan_that_does_not_move_is_not_miscorrected(heights):
    anatomy = block("liver", heights=heights)
    still = Acquisition(breathing_mm=0, misregistration_mm=0)
    factor = attenuation.mismatch(anatomy, grid_of(anatomy), still, Factors())
    assert factor.dtype == np.float32 and (factor == 1).all()


def test_the_whole_dome_moves_and_neither_apex_nor_pelvis():
    grid = Grid((1, 1, 3), np.diag([1.0, 1.0, 280.0, 1.0]))
    share = motion.motion_profile(block("liver", heights=(1.0, 900.0)), grid).ravel()  # 900, 1180, 1460
    assert share[0] == share[2] == 0 and share[1] == pytest.approx(0.6 + 0.3 * 60 / 80)
    stretched = motion.motion_profile(block("liver", heights=(0.5, 1130.0)), grid).ravel()  # 1130, 1270, 1410
    assert stretched[1] == 1
    assert not motion.motion_profile(block("liver"), grid).any()


def test_states_of_breathing_average_to_the_displacement_and_span_the_amplitude():
    anatomy = block("liver", heights=(1.0, 1270.0))
    grid = Grid((1, 1, 1), np.eye(4))  # at the dome
    scan = Acquisition(breathing_mm=20, misregistration_mm=7, rigid_mm=(1.0, -2.0, 0.5))
    shifts = np.array(
        [[float(np.ravel(v)[0]) for v in s] for s in motion.pet_shifts(anatomy, grid, scan, Factors())]
    )
    down = -(shifts[:, 2] - 0.5)
    assert down.mean() == pytest.approx(7, abs=1e-5)
    assert np.ptp(down) == pytest.approx(20 * (0.95 - 0.02))
    assert (shifts[:, 0] == 1).all()
    np.testing.assert_allclose(
        shifts[:, 1] + 2, 0.2 * down, atol=1e-5
    )  # the belly rises as the dome descends
    (one,) = motion.pet_shifts(anatomy, grid, scan, factors({"breathing": 0, "misregistration": 2}))
    assert [float(np.ravel(v)[0]) for v in one] == pytest.approx([2, -4 + 0.2 * 14, 1 - 14])
    assert motion.pet_shifts(anatomy, grid, scan, only()) == [None]


def bladder_in(around: str) -> Anatomy:
    """A bladder of 8 voxels a side in a tissue, with a plate of bone beside it."""
    anatomy = block(around)
    tissue = anatomy.tissue
    tissue[11:19, 11:19, 11:19] = CODES["bladder"]
    tissue[20:22] = CODES["cortical_bone"]
    box = (slice(0, 30),) * 3
    distance = ndimage.distance_transform_edt(tissue != CODES["bladder"], sampling=STEP)
    return Anatomy(tissue, anatomy.affine, PERSON, bladder=(box, distance, 0.0))


def test_a_bladder_fills_by_its_volume_over_soft_tissue_and_never_over_bone():
    anatomy = bladder_in("visceral_fat")
    grown = motion.fill_bladder(anatomy, 40.0)
    more = (grown != anatomy.tissue).sum()
    assert more * STEP**3 / 1000 == pytest.approx(40, abs=12)  # a shell of equal distances at a time
    assert (grown[anatomy.tissue == CODES["cortical_bone"]] == CODES["cortical_bone"]).all()
    assert (grown[grown != anatomy.tissue] == CODES["bladder"]).all()
    assert np.array_equal(motion.fill_bladder(bladder_in("liver"), 40.0), bladder_in("liver").tissue)
    assert motion.fill_bladder(block("liver"), 40.0).max() == CODES["liver"]


# noise


@pytest.mark.parametrize(("value", "floor"), [(2.0, 2.0), (0.0, 0.03)])
def test_noise_of_pet_is_the_root_of_activity_and_does_not_vanish_outside_the_body(value, floor):
    anatomy = block("liver")
    liver = PERSON.uptake_suv["liver"]
    grid = Grid((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
    image = np.full(grid.shape, value * liver, np.float32)
    noise = pet._pet_noise(image, grid, anatomy, "SUV", 0.1, rng())
    assert noise.std() == pytest.approx(0.1 * liver * floor**0.5, rel=0.05)
    assert abs(noise.mean()) < 0.1 * noise.std()


def test_noise_of_mr_is_rician_in_air_and_its_strength_scales():
    """The magnitude of two normal deviates of 14 has the mean 14 (pi / 2)^0.5 and no value below 0."""
    anatomy = block("air")
    for strength in (1.0, 3.0):
        image = structural.mr_image(
            anatomy,
            grid_of(anatomy),
            factors=factors({"structural_noise": strength, "ghosting": 0, "bias_field": 0}),
            rng=rng(),
            fwhm_mm=3.0,
        )
        assert image.data.mean() == pytest.approx(strength * 14 * (np.pi / 2) ** 0.5, rel=0.04)
        assert image.data.min() >= 0 and image.unit == "a.u." and image.data.dtype == np.int16


def test_ct_without_noise_is_its_tissues_and_a_couch_behind_the_back():
    anatomy = block("liver", shape=(40, 40, 24))
    still = {"factors": factors({"structural_noise": 0}), "fwhm_mm": 3.0}
    image = structural.ct_image(anatomy, grid_of(anatomy), rng=rng(), **still).data
    assert image.dtype == np.int16 and image.min() == -1000
    assert image[12:28, 12:28, 8:16].mean() == pytest.approx(TISSUE["liver"].hu, abs=4)
    assert (image[:, -3:] == -1000).all()  # no couch in front
    behind = grid_over((-60, -110, -20), (60, 60, 20), (4.0, 4.0, 4.0))
    couch = structural.ct_image(anatomy, behind, rng=rng(), **still).data
    back = -4 * 19.5 + 4 * STEP
    y = behind.axes_mm()[1]
    assert couch[:, y < back - 7].max() > -500  # its shell
    assert (couch[:, y < back - 7] == -955).any()  # and its core


def test_noise_of_ct_grows_with_what_the_rays_cross():
    grid = Grid((60, 60, 16), np.diag([6.0, 6.0, 6.0, 1.0]))
    thin, thick = (np.full(grid.shape, -1000.0, np.float32) for _ in "ab")
    thin[25:35, 25:35], thick[2:58, 2:58] = 0, 0
    a, b = (structural._ct_noise(hu, grid, rng())[27:33, 27:33].std() for hu in (thin, thick))
    assert b > 1.5 * a > 0


def test_coils_change_the_signal_smoothly_around_one_and_nothing_that_does_not_breathe_makes_ghosts():
    grid = Grid((50, 50, 80), np.diag([6.0, 6.0, 8.0, 1.0]))
    gain = structural.bias_field(grid, rng(2), 1.0)
    assert gain.min() > 0 and np.exp(np.log(gain).mean()) == pytest.approx(1, abs=0.15)
    assert max(np.abs(np.diff(np.log(gain), axis=a)).max() for a in range(3)) < 0.05
    np.testing.assert_allclose(np.log(structural.bias_field(grid, rng(2), 2.0)), 2 * np.log(gain), atol=1e-5)
    values = np.ones((30, 30, 30), np.float32)
    assert not structural.ghosts(values, grid_of(block("liver")), block("liver")).any()
    values[:, :15] = 0
    ghost = structural.ghosts(values, grid_of(block("liver")), block("liver", heights=(1.0, 1270.0)))
    assert 0 < np.abs(ghost).max() <= 2 * 0.02 * 1.01


# mixtures


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_half_the_contrast_is_half_of_both_with_the_liver_where_it_was(share):
    """Uptake is scaled so that the liver has the structural image's value: it does not change there."""
    anatomy = block("liver", "spleen", shape=(40, 40, 40))
    source = np.full(anatomy.tissue.shape, TISSUE["liver"].hu, np.float32)
    ct = Volume(source, anatomy.affine, "HU")
    uptake = contrast.uptake_table(PERSON)[anatomy.tissue]
    mixed = pet.mix(source, ct, uptake, anatomy, share, 3.0)
    suv = PERSON.uptake_suv
    assert mixed[9:15, 15:25, 15:25].mean() == pytest.approx(TISSUE["liver"].hu, abs=1)
    wanted = (TISSUE["liver"].hu + 1000) * suv["spleen"] / suv["liver"] - 1000
    expected = (1 - share) * TISSUE["liver"].hu + share * wanted
    assert mixed[26:31, 15:25, 15:25].mean() == pytest.approx(expected, abs=1)


def test_an_image_that_moves_is_the_mean_over_its_states():
    grid = Grid((9, 9, 9), np.eye(4))
    source = rng().random((9, 9, 9)).astype(np.float32)
    assert np.array_equal(pet.move(source, np.eye(4), grid, [None], "SUV"), source)
    moved = pet.move(source, np.eye(4), grid, [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0)], "SUV")
    up, down = np.roll(source, 1, axis=2), np.roll(source, -1, axis=2)
    np.testing.assert_allclose(moved[..., 1:-1], ((up + down) / 2)[..., 1:-1], atol=1e-6)
    np.testing.assert_allclose(moved[..., 0], source[..., 1] / 2, atol=1e-6)  # what comes in is air


# strengths and draws


def test_letters_of_the_ladder_part_the_factors_of_pet_among_them():
    on = [{k for k, v in only(letter).record().items() if v} for letter in "RNCA"]
    kept = {k for k, v in only().record().items() if v}
    assert kept == {"structural_noise", "bias_field", "ghosting"}
    for a, b in itertools.combinations(on, 2):
        assert a & b == kept
    assert set().union(*on) == set(Factors().record())
    assert only("R", "noise") == only("R", "N")
    assert factors({"noise": 2.0}, base=only("R")).record() == only("R").record() | {"noise": 2.0}


@pytest.mark.parametrize(
    ("strengths", "sentence"),
    [
        ({"noise": "1"}, "Invalid strength '1' of factor 'noise'. Must be 0 or more."),
        ({"resolution": float("inf")}, "Invalid strength inf of factor 'resolution'. Must be 0 or more."),
        ({"contrast": 1.01}, "Invalid strength 1.01 of factor 'contrast'. Must be 0 to 1."),
    ],
)
def test_a_strength_out_of_range_is_one_sentence(strengths, sentence):
    with pytest.raises(InputError) as error:
        factors(strengths)
    assert str(error.value) == sentence


def test_noise_of_a_scan_grows_with_the_body_and_is_higher_in_pet_ct():
    def cov(session, bmi):
        return np.array([draw_acquisition(rng(n), session=session, bmi=bmi).liver_cov for n in range(60)])

    inside = (cov("petct", 35) < 0.2) & (cov("petmr", 20) > 0.05)
    np.testing.assert_allclose(
        cov("petct", 35)[inside] / cov("petct", 20)[inside], (35 / 20) ** 0.6, rtol=2e-3
    )
    np.testing.assert_allclose(cov("petct", 20)[inside] / cov("petmr", 20)[inside], 0.105 / 0.09, rtol=2e-3)
    assert draw_acquisition(rng(1), session="petct", bmi=25) == draw_acquisition(
        rng(1), session="petct", bmi=25
    )
    record = draw_acquisition(rng(1), session="petct", bmi=25).record()
    assert isinstance(record["rigid_mm"], list) and len(record["rigid_mm"]) == 3
