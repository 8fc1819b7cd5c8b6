"""What a synthetic subject must be: an anatomy, two grids, physics that can be switched off."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from umdlib.errors import InputError
from umdlib.images.geometry import resample
from umdlib.images.volume import grid_difference
from umdlib.labels import ORGANS
from umdlib.synthetic import Factors, factors, image_pair, only
from umdlib.synthetic.anatomy.drawing import Anatomy, draw_anatomy
from umdlib.synthetic.anatomy.kernel import cell_borders
from umdlib.synthetic.anatomy.lesions import draw_lesions
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.literature import SOURCES, T1_MS, TISSUE, UPTAKE, VOLUMES
from umdlib.synthetic.scanner.acquisition import Acquisition, draw_acquisition
from umdlib.synthetic.scanner.attenuation import line_mean
from umdlib.synthetic.scanner.motion import fill_bladder
from umdlib.synthetic.scanner.sampling import (
    FWHM_PER_SD,
    Grid,
    blur,
    blur_to,
    correlated_noise,
    grid_over,
    sample,
)

STILL = Acquisition(breathing_mm=0, misregistration_mm=0, bladder_ml=0)
VALUE = {s.name: s.value for s in ORGANS}


@pytest.fixture(scope="module")
def anatomy():
    person = draw_person(np.random.default_rng(7), sex="F", bmi=24, height_cm=168)
    return draw_anatomy(person, spacing_mm=4.0)


@pytest.fixture(scope="module")
def acquisition():
    return Acquisition(breathing_mm=12, misregistration_mm=8, rigid_mm=(1, 0, 0), bladder_ml=80)


@pytest.fixture(scope="module")
def pair(anatomy, acquisition):
    return image_pair(anatomy, session="petct", acquisition=acquisition, seed=1, spacing_mm=6.0)


def centre(mask, affine):
    return affine[:3, :3] @ np.array(ndimage.center_of_mass(mask)) + affine[:3, 3]


def test_every_structure_is_there_and_inside_the_body(anatomy):
    labels = anatomy.label_map.data
    body = ndimage.binary_erosion(anatomy.tissue != CODES["air"], iterations=1)
    for structure in ORGANS:
        mask = labels == structure.value
        assert mask.any(), structure.name
        assert not (mask & ~body)[:, :, 2:-2].any(), structure.name


@pytest.mark.parametrize("name", [s.name for s in ORGANS if s.name not in ("lung", "colon", "pancreas")])
def test_structure_is_one_piece(anatomy, name):
    mask = anatomy.label_map.data == VALUE[name]
    parts, n = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    assert np.bincount(parts.ravel())[1:].max() / mask.sum() > 0.985, n


def test_lungs_are_two(anatomy):
    parts, _ = ndimage.label(anatomy.label_map.data == VALUE["lung"])
    sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
    assert sizes[1] > 0.6 * sizes[0]
    assert sizes[:2].sum() > 0.97 * sizes.sum()


def test_left_is_left(anatomy):
    """RAS+: x grows to the right of the patient."""
    x = {n: centre(anatomy.label_map.data == v, anatomy.affine)[0] for n, v in VALUE.items()}
    assert x["kidney_left"] < -30 and x["spleen"] < -50 and x["stomach"] < -10 and x["heart"] < -5
    assert x["kidney_right"] > 30 and x["liver"] > 20


def test_organs_stack_from_bladder_to_brain(anatomy):
    z = {n: centre(anatomy.label_map.data == v, anatomy.affine)[2] for n, v in VALUE.items()}
    order = ["urinary_bladder", "colon", "pancreas", "liver", "heart", "brain"]
    assert [z[n] for n in order] == sorted(z[n] for n in order)
    assert abs(z["kidney_left"] - z["pancreas"]) < 60


def test_stomach_gas_lies_in_front_of_its_content(anatomy):
    """A subject lies on the back: air rises to the front (+y)."""
    gas, content = (
        centre(anatomy.tissue == CODES[n], anatomy.affine) for n in ("stomach_gas", "stomach_content")
    )
    assert gas[1] > content[1] + 5


@pytest.mark.slow
def test_same_person_is_the_same_body_on_another_grid(anatomy):
    fine = draw_anatomy(anatomy.person, spacing_mm=3.0)
    for structure in ORGANS:
        a, b = ((x.label_map.data == structure.value) for x in (anatomy, fine))
        at = centre(a, anatomy.affine) - centre(b, fine.affine)
        assert np.abs(at).max() < 3.0, structure.name
        assert a.sum() * 64 == pytest.approx(b.sum() * 27, rel=0.12), structure.name


def test_volumes_follow_the_person(anatomy):
    labels = anatomy.label_map.data
    for name in ("liver", "brain", "heart", "kidney_left", "kidney_right", "urinary_bladder"):
        ml = (labels == VALUE[name]).sum() * 0.064
        assert ml == pytest.approx(anatomy.person.volumes_ml[name], rel=0.12), name


def test_spacing_too_coarse_is_refused(anatomy):
    with pytest.raises(InputError, match=r"Invalid spacing 6\.0 mm"):
        draw_anatomy(anatomy.person, spacing_mm=6.0)


@pytest.mark.slow
def test_heavier_means_more_fat():
    fat = []
    for bmi in (19, 33):
        person = draw_person(np.random.default_rng(1), sex="M", bmi=bmi, height_cm=178)
        drawn = draw_anatomy(person, spacing_mm=5.0)
        fat.append((drawn.tissue == CODES["fat"]).sum())
    assert fat[1] > 1.6 * fat[0]


def test_grids_of_a_pair_differ_but_share_the_world(pair):
    assert grid_difference(pair.structural, pair.pet)
    for name in ("liver", "brain", "kidney_left"):
        a, b = (
            centre(r.data == VALUE[name], r.affine) for r in (pair.structural_reference, pair.pet_reference)
        )
        assert np.abs(a - b).max() < 1.5, name


def test_ct_shows_liver_fat_and_lung_at_their_hu(pair):
    labels = pair.structural_reference.data
    for name, low, high in (("liver", 50, 62), ("lung", -880, -720), ("spleen", 42, 56), ("brain", 25, 42)):
        mask = ndimage.binary_erosion(labels == VALUE[name], iterations=2)
        assert low < np.median(pair.structural.data[mask]) < high, name
    tissue = resample(pair.anatomy.tissue, pair.anatomy.affine, pair.structural.affine, labels.shape, order=0)
    fat = ndimage.binary_erosion(tissue == CODES["fat"], iterations=1)
    assert -115 < np.median(pair.structural.data[fat]) < -85


def test_pet_liver_has_the_uptake_and_noise_asked_for(anatomy):
    shot = image_pair(anatomy, session="petct", acquisition=STILL, seed=4, spacing_mm=6.0)
    mask = ndimage.binary_erosion(shot.pet_reference.data == VALUE["liver"], iterations=3)
    values = shot.pet.data[mask]
    assert mask.sum() > 300
    assert values.mean() == pytest.approx(anatomy.person.uptake_suv["liver"], rel=0.06)
    assert values.std() / values.mean() == pytest.approx(STILL.liver_cov, rel=0.10)


def test_every_factor_off_gives_the_structural_image_to_the_bit(anatomy, acquisition):
    for session in ("petct", "petmr"):
        shot = image_pair(
            anatomy, session=session, acquisition=acquisition, seed=1, factors=only(), spacing_mm=6.0
        )
        assert not grid_difference(shot.pet, shot.structural)
        assert np.array_equal(shot.pet.data, shot.structural.data.astype(np.float32))
        assert shot.pet.unit == shot.structural.unit


@pytest.mark.parametrize("factor", ["noise", "breathing", "misregistration", "bladder_filling"])
def test_factor_off_equals_a_scan_without_its_cause(anatomy, acquisition, pair, factor):
    """The cause planted at 0 and the strength at 0 must be the same image."""
    causes = {
        "breathing": {"breathing_mm": 0.0},
        "misregistration": {"misregistration_mm": 0.0, "rigid_mm": (0.0, 0.0, 0.0)},
        "bladder_filling": {"bladder_ml": 0.0},
        "noise": {"liver_cov": 0.0},
    }
    off = image_pair(
        anatomy,
        session="petct",
        acquisition=acquisition,
        seed=1,
        factors=factors({factor: 0}),
        spacing_mm=6.0,
    )
    without = image_pair(
        anatomy, session="petct", acquisition=replace(acquisition, **causes[factor]), seed=1, spacing_mm=6.0
    )
    assert np.allclose(off.pet.data, without.pet.data, atol=2 / 1024)
    assert not np.array_equal(off.pet.data, pair.pet.data)
    assert np.array_equal(off.structural.data, pair.structural.data)


def test_lines_through_the_middle_of_a_disc_are_its_diameter():
    """The mean line integral at the centre of a long cylinder of radius r and value 1 is 2 r."""
    x = np.arange(-30, 31) * 8.0
    for radius in (24.0, 48.0, 80.0):
        disc = (np.hypot(x[:, None], x[None, :]) <= radius).astype(np.float32)
        cylinder = np.repeat(disc[:, :, None], 20, axis=2)
        assert line_mean(cylinder, 8.0)[30, 30, 10] == pytest.approx(2 * radius, rel=0.12)


def test_attenuation_mismatch_is_at_the_dome_and_off_without_a_cause(anatomy):
    """CT expired, PET 14 mm deeper: CT's liver lies where PET has lung, which is overcorrected."""
    still = {"noise": 0.0, "breathing": 0.0}
    moved = Acquisition(breathing_mm=0, misregistration_mm=14, bladder_ml=0)

    def image(scan, **strengths):
        return image_pair(
            anatomy,
            session="petct",
            acquisition=scan,
            seed=1,
            factors=factors(still | strengths),
            spacing_mm=6.0,
        ).pet.data

    off = image(moved, attenuation_mismatch=0)
    on = image(moved)
    ratio = np.where(off > 0.1, on / np.maximum(off, 0.1), 1)
    assert 1.2 < ratio.max() < 2.0
    assert np.abs(ratio[:, :, -20:] - 1).max() < 0.02  # nothing at the head
    assert (
        image(replace(moved, misregistration_mm=-14.0)).sum()
        < image(replace(moved, misregistration_mm=-14.0), attenuation_mismatch=0).sum()
    )
    assert np.array_equal(image(STILL), image(STILL, attenuation_mismatch=0))


def test_four_classes_lower_bone_by_what_was_published(anatomy):
    """Bone lesions lose 8 % (SD 3 %) where bone counts as soft tissue (Martinez-Möller 2009)."""
    off, on = (
        image_pair(
            anatomy,
            session="petmr",
            acquisition=STILL,
            seed=1,
            spacing_mm=6.0,
            factors=factors({"noise": 0, "attenuation": strength}),
        ).pet
        for strength in (0.0, 1.0)
    )
    tissue = resample(anatomy.tissue, anatomy.affine, off.affine, off.shape, order=0)
    z = off.affine[2, 3] + off.affine[2, 2] * np.arange(off.shape[2])
    bone = (tissue == CODES["marrow"]) & (z < -40)[None, None, :]
    assert -0.11 < on.data[bone].mean() / off.data[bone].mean() - 1 < -0.05
    liver = ndimage.binary_erosion(tissue == CODES["liver"], iterations=2)
    assert on.data[liver].mean() == pytest.approx(off.data[liver].mean(), rel=0.01)


def test_lung_is_wrong_by_what_was_planted_where_a_map_has_four_classes(anatomy):
    scan = replace(STILL, lung_bias=0.15)
    off, on = (
        image_pair(
            anatomy,
            session="petmr",
            acquisition=scan,
            seed=1,
            spacing_mm=6.0,
            factors=factors({"noise": 0, "attenuation": strength}),
        )
        for strength in (0.0, 1.0)
    )
    lung = ndimage.binary_erosion(off.pet_reference.data == VALUE["lung"], iterations=4)
    assert on.pet.data[lung].mean() / off.pet.data[lung].mean() == pytest.approx(1.15, abs=0.03)


def test_signal_of_mr_follows_the_relaxation_times():
    """Spoiled gradient echo (3.6 ms, 10 degrees) of T1 at 3 T (de Bazelaire 2004), relative to fat."""
    decay = np.exp(-3.6 / np.array(list(T1_MS.values())))
    signal = (1 - decay) / (1 - np.cos(np.radians(10)) * decay)
    assert [TISSUE[name].t1 for name in T1_MS] == pytest.approx(
        signal / signal[list(T1_MS).index("fat")], abs=0.01
    )


def test_borders_of_cells_are_where_two_points_are_equally_far():
    """Against a search over all points of the jittered grid."""
    rng = np.random.default_rng(0)
    offsets = rng.uniform(0.12, 0.88, (64, 64, 2)).astype(np.float32)
    x, y = (rng.uniform(90, 900, (12, 10, 8)).astype(np.float32) for _ in "xy")
    found = np.zeros(x.shape, bool)
    width, half = np.full_like(x, 30.0), np.full_like(x, 3.0)
    cell_borders(x, y, width, half, offsets, np.ones_like(found), found)
    points = 30 * (np.indices((64, 64)).transpose(1, 2, 0) + offsets).reshape(-1, 2)
    far = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])
    near = np.sort(far, axis=-1)[..., :2]
    assert (found == ((near[..., 1] - near[..., 0]) / 2 < 3)).mean() > 0.99  # looks one square far
    assert 0.05 < found.mean() < 0.6


def test_one_letter_of_the_ladder_changes_only_its_part(anatomy, acquisition):
    base, blurred, noisy, moved, recoloured = (
        image_pair(anatomy, session="petct", acquisition=acquisition, seed=1, factors=f, spacing_mm=6.0).pet
        for f in (only(), only("R"), only("N"), only("A"), only("C"))
    )
    assert blurred.unit == noisy.unit == moved.unit == "HU"
    assert grid_difference(base, blurred) and not (
        grid_difference(base, noisy) or grid_difference(base, moved)
    )
    assert recoloured.unit == "SUV" and not grid_difference(base, recoloured)
    difference = noisy.data - base.data
    assert abs(difference.mean()) < 1
    assert difference.std() > 20
    still = slice(-12, None)  # above the apex of the lungs nothing moves but the rigid 1 mm
    assert np.abs(moved.data - base.data)[:, :, still].mean() < np.abs(moved.data - base.data).mean()


def test_misregistration_moves_the_dome_down_by_what_was_planted(anatomy):
    shifted = Acquisition(breathing_mm=0, misregistration_mm=14, bladder_ml=0)
    off = {"noise": 0.0, "breathing": 0.0, "attenuation_mismatch": 0.0}
    a, b = (
        image_pair(anatomy, session="petct", acquisition=q, seed=1, factors=factors(off), spacing_mm=4.0)
        for q in (STILL, shifted)
    )
    dome = []
    for shot in (a, b):
        hot = shot.pet.data > 0.55 * anatomy.person.uptake_suv["liver"]
        grid = shot.pet
        x = int(round((70 - grid.affine[0, 3]) / grid.affine[0, 0]))
        y = int(round((0 - grid.affine[1, 3]) / grid.affine[1, 1]))
        z = grid.affine[2, 3] + grid.affine[2, 2] * np.arange(grid.shape[2])
        liver = (shot.pet_reference.data[x, y] == VALUE["liver"]) | hot[x, y]
        top = z[(z > 0) & (z < 260) & liver & hot[x, y]].max()
        dome.append(top)
    assert dome[0] - dome[1] == pytest.approx(14, abs=4.1)


def test_bladder_grows_by_what_was_planted(anatomy):
    grown = fill_bladder(anatomy, 90)
    more = (grown == CODES["bladder"]).sum() - (anatomy.tissue == CODES["bladder"]).sum()
    assert more * 0.064 == pytest.approx(90, rel=0.05)
    assert fill_bladder(anatomy, 0) is anatomy.tissue


def measured_fwhm(image, axis, spacing_mm):
    """Width of a blurred line from its second moment, in mm."""
    profile = image.sum(axis=tuple(i for i in range(3) if i != axis))
    at = np.arange(profile.size) * spacing_mm
    mean = (profile * at).sum() / profile.sum()
    return FWHM_PER_SD * np.sqrt((profile * (at - mean) ** 2).sum() / profile.sum())


@pytest.mark.parametrize("fwhm_mm", [6.0, 6.8, 9.0])
def test_point_spread_is_what_was_asked(fwhm_mm):
    """A 2.4 mm voxel blurred, then sampled on 2 mm voxels: 5 % by its second moment."""
    source = np.zeros((41, 41, 41), np.float32)
    source[20, 20, 20] = 1
    affine = np.diag([2.4, 2.4, 2.4, 1.0])
    spread = blur_to(source, 2.4, fwhm_mm)
    image = sample(spread, affine, grid_over((0, 0, 0), (96, 96, 96), (2.0, 2.0, 2.0), (0.3, 0.1, 0.7)))
    for axis in range(3):
        assert measured_fwhm(image, axis, 2.0) == pytest.approx(fwhm_mm, rel=0.05)


def test_no_width_is_no_change():
    image = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    assert blur(image, (1, 1, 1), 0) is image


@pytest.mark.parametrize("spacing_mm", [(4.07, 4.07, 4.0), (2.0, 2.0, 1.5)])
def test_noise_has_unit_deviation_and_the_filters_correlation(spacing_mm):
    noise = correlated_noise(np.random.default_rng(0), (80, 80, 80), spacing_mm, 5.0)
    assert noise.std() == pytest.approx(1, rel=0.03)
    k = ndimage.gaussian_filter1d(np.eye(1, 41, 20)[0], 5.0 / FWHM_PER_SD / spacing_mm[0])
    expected = (k[1:] * k[:-1]).sum() / (k * k).sum()
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(expected, abs=0.03)


def test_noise_variance_grows_with_activity(anatomy):
    shot = image_pair(anatomy, session="petct", acquisition=STILL, seed=4, spacing_mm=6.0)
    clean = image_pair(
        anatomy, session="petct", acquisition=STILL, seed=4, spacing_mm=6.0, factors=factors({"noise": 0})
    )
    noise = shot.pet.data - clean.pet.data
    low = (clean.pet.data > 0.4) & (clean.pet.data < 0.6)
    high = (clean.pet.data > 1.8) & (clean.pet.data < 2.4)
    assert noise[high].var() / noise[low].var() == pytest.approx(
        clean.pet.data[high].mean() / clean.pet.data[low].mean(), rel=0.15
    )


def test_spline_field_is_the_same_on_axes_and_at_points():
    field = SplineField(np.random.default_rng(0), (0, 0, 0), (50, 60, 70), 20, 1.0)
    axes = np.linspace(0, 50, 6), np.linspace(-9, 60, 7), np.linspace(0, 90, 8)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    assert np.allclose(field.on_axes(*axes).ravel(), field.at(points), atol=1e-5)


def test_deformation_keeps_topology(anatomy):
    """Choi & Lee 2000: coefficients below 0.4 knot distances give a one-to-one map."""
    total = 0.0
    for fields in anatomy.frame.warps:
        total = max(total, sum(f.bound / float(np.min(f.knots_mm)) for f in fields))
    assert total < 0.4


def test_lesions_are_hot_where_they_were_planted(anatomy):
    lesions = draw_lesions(anatomy, 4, np.random.default_rng(3))
    shot = image_pair(
        anatomy,
        session="petct",
        acquisition=STILL,
        seed=1,
        spacing_mm=5.0,
        factors=factors({"noise": 0}),
        lesions=lesions,
    )
    wide = [lesion for lesion in lesions if lesion.diameter_mm > 12]  # narrower ones are blurred away
    assert wide
    for lesion in wide:
        ijk = np.rint((np.array(lesion.centre_mm) - shot.pet.affine[:3, 3]) / shot.pet.spacing_mm)
        value = shot.pet.data[tuple(ijk.astype(int))]
        assert value > 0.3 * lesion.suv


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"nois": 1}, "Did you mean 'noise'"),
        ({"noise": -0.1}, "Invalid strength -0.1 of factor 'noise'"),
        ({"contrast": 1.5}, "Must be 0 to 1"),
        ({"noise": float("nan")}, "Invalid strength nan"),
    ],
)
def test_wrong_factors_are_refused(wrong, match):
    with pytest.raises(InputError, match=match):
        factors(wrong)


def test_unknown_ladder_letter_is_refused():
    with pytest.raises(InputError, match="Unknown factor of PET 'X'"):
        only("X")


def test_every_tissue_has_a_sourced_record():
    for record in [*TISSUE.values(), *UPTAKE.values(), *VOLUMES.values()]:
        assert record.source in SOURCES
    for record in TISSUE.values():
        key = record.uptake.partition("*")[0]
        assert key in UPTAKE or key in ("myocardium", "heart_wall") or float(key) >= 0


def test_acquisitions_and_persons_are_drawn_within_bounds():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        person = draw_person(rng)
        scan = draw_acquisition(rng, session="petct", bmi=person.bmi)
        assert 17 <= person.bmi <= 39.5 and 148 <= person.height_cm <= 198
        assert 5 <= scan.breathing_mm <= 24 and 0.05 <= scan.liver_cov <= 0.2


def test_image_of_a_still_scan_does_not_move(anatomy):
    assert isinstance(anatomy, Anatomy)
    grid = Grid((4, 4, 4), np.eye(4))
    from umdlib.synthetic.scanner.motion import pet_shifts

    assert pet_shifts(anatomy, grid, STILL, factors({"breathing": 0, "misregistration": 0})) == [None]
    assert Factors().record()["noise"] == 1.0
