"""Pairs of images of a ball in fat: seeds, strengths, grids, units, displacement; and their files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from umdlib.cohort import read_cohort
from umdlib.errors import InputError
from umdlib.images.volume import read_label_map, read_volume
from umdlib.labels import ORGANS
from umdlib.synthetic import Factors, factors, image_pair, only
from umdlib.synthetic import cohort as writing
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.lesions import draw_lesions
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.plausibility import edge_fwhm
from umdlib.synthetic.scanner.acquisition import Acquisition
from umdlib.synthetic.scanner.sampling import SCANNERS
from umdlib.synthetic.scanner.simulation import lesions_on
from umdlib.synthetic.truth import read_record, record_path, truth

VALUE = {s.name: s.value for s in ORGANS}
STILL = Acquisition(breathing_mm=0, misregistration_mm=0, bladder_ml=0)
RADIUS_MM = 30.0
CLEAN = {"noise": 0, "structural_noise": 0, "bias_field": 0, "ghosting": 0}


@pytest.fixture(scope="module")
def ball() -> Anatomy:
    """A liver of 30 mm radius in fat, on 2.8 mm voxels."""
    n, step = 46, 2.8
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -step * (n - 1) / 2
    x = affine[0, 3] + step * np.arange(n)
    far = np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)
    tissue = np.where(far < RADIUS_MM, CODES["liver"], np.where(far < 60, CODES["fat"], 0)).astype(np.uint8)
    return Anatomy(tissue, affine, draw_person(np.random.default_rng(3), bmi=25))


def pair(anatomy, session="petct", seed=1, strengths=None, scan=STILL, **more):
    return image_pair(
        anatomy, session=session, acquisition=scan, seed=seed, factors=factors(strengths or {}), **more
    )


def middle(volume, mask):
    """Centre of mass (mm) of the intensities of a volume above half of the mask's."""
    hot = np.where(volume.data > volume.data[mask].mean() / 2, volume.data, 0.0)
    at = [
        (hot.sum(axis=tuple(i for i in range(3) if i != a)) * np.arange(n)).sum()
        for a, n in enumerate(hot.shape)
    ]
    return volume.affine[:3, :3] @ (np.array(at) / hot.sum()) + volume.affine[:3, 3]


def test_a_pair_is_its_seed_and_a_number_is_a_sequence_of_it(ball):
    one, again, other = pair(ball), pair(ball, seed=np.random.SeedSequence(1)), pair(ball, seed=2)
    for image in ("structural", "pet"):
        a, b, c = (getattr(p, image).data for p in (one, again, other))
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(one.pet_reference.data, other.pet_reference.data)


def test_twice_the_noise_is_the_same_noise_twice_as_strong(ball):
    clean, once, twice = (pair(ball, strengths={"noise": n}).pet for n in (0, 1, 2))
    inside = pair(ball).pet_reference.data == VALUE["liver"]
    first, second = (v.data[inside] - clean.data[inside] for v in (once, twice))
    np.testing.assert_allclose(second, 2 * first, atol=3 / 1024)
    assert first.std() > 0.05


def test_values_of_pet_are_steps_of_1024_to_the_suv_and_never_below_zero(ball):
    shot = pair(ball)
    assert shot.pet.unit == "SUV" and shot.pet.data.dtype == np.float32
    assert np.array_equal(shot.pet.data * 1024, np.rint(shot.pet.data * 1024)) and shot.pet.data.min() == 0
    inside = shot.pet_reference.data == VALUE["liver"]
    assert np.median(shot.pet.data[inside]) == pytest.approx(ball.person.uptake_suv["liver"], rel=0.12)


@pytest.mark.parametrize(("session", "modality", "unit"), [("petct", "CT", "HU"), ("petmr", "MR", "a.u.")])
def test_grids_are_the_scanners_and_scale_with_the_spacing(ball, session, modality, unit):
    shots = [pair(ball, session, spacing_mm=s) for s in (4.0, 6.0)]
    for shot, scale in zip(shots, (1.0, 1.5), strict=True):
        assert shot.structural.unit == unit and shot.structural.data.dtype == np.int16
        for image, name in ((shot.structural, modality), (shot.pet, "PET")):
            np.testing.assert_allclose(image.spacing_mm, np.array(SCANNERS[session, name].voxel_mm) * scale)
    for shot in shots:
        assert shot.structural_reference.shape == shot.structural.shape
        for reference in (shot.structural_reference, shot.pet_reference):
            ml = (reference.data == VALUE["liver"]).sum() * np.prod(reference.spacing_mm) / 1000
            assert ml == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3 / 1000, rel=0.08)


def test_strengths_of_pet_leave_the_structural_image_as_it_was(ball):
    wild = factors({"noise": 3, "resolution": 2, "contrast": 0.3, "misregistration": 2})
    for session in ("petct", "petmr"):
        a = pair(ball, session).structural
        b = image_pair(ball, session=session, acquisition=STILL, seed=1, factors=wild).structural
        assert np.array_equal(a.data, b.data)


@pytest.mark.parametrize("strength", [0.8, 1.0, 1.4])
def test_the_edge_of_a_ball_is_as_wide_as_the_point_spread(ball, strength):
    shot = pair(ball, strengths=CLEAN | {"resolution": strength})
    found = edge_fwhm(shot.pet, shot.pet_reference.data == VALUE["liver"])
    assert found == pytest.approx(strength * SCANNERS["petct", "PET"].fwhm_mm, rel=0.08)


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_a_rigid_shift_moves_pet_and_not_its_reference(ball, strength):
    moved = replace(STILL, rigid_mm=(2.0, -3.0, 1.5))
    strengths = CLEAN | {"misregistration": strength, "attenuation_mismatch": 0}
    a, b = (pair(ball, strengths=strengths, scan=s) for s in (STILL, moved))
    assert np.array_equal(a.pet_reference.data, b.pet_reference.data)
    mask = a.pet_reference.data == VALUE["liver"]
    shift = middle(b.pet, mask) - middle(a.pet, mask)
    np.testing.assert_allclose(shift, strength * np.array([2.0, -3.0, 1.5]), atol=0.1)


def test_half_the_contrast_has_the_structural_unit_and_the_livers_value(ball):
    shot = pair(ball, strengths=CLEAN | {"contrast": 0.5})
    inside = shot.pet_reference.data == VALUE["liver"]
    assert shot.pet.unit == "HU" and np.median(shot.pet.data[inside]) == pytest.approx(
        57, abs=30
    )  # its uptake is uneven
    full, none = (pair(ball, strengths=CLEAN | {"contrast": c}).pet.unit for c in (1, 0))
    assert (full, none) == ("SUV", "HU")


def test_a_lesion_shines_where_its_label_is_and_is_absent_from_the_reference(ball):
    lesions = draw_lesions(ball, 3, np.random.default_rng(1))
    plain, sick = pair(ball, strengths=CLEAN), pair(ball, strengths=CLEAN, lesions=lesions)
    assert np.array_equal(plain.pet_reference.data, sick.pet_reference.data)
    labels = lesions_on(sick, sick.pet)
    assert labels.shape == sick.pet.shape and set(np.unique(labels.data)) <= {0, 1, 2, 3}
    more = sick.pet.data - plain.pet.data
    assert more[labels.data > 0].mean() > 10 * np.abs(more[labels.data == 0]).mean()
    record = json.loads(json.dumps(sick.record()))
    assert [x["host"] for x in record["lesions"]] == [x.host for x in lesions]
    assert record["acquisition"]["breathing_mm"] == 0 and record["person"]["sex"] in "FM"


def test_a_session_that_is_not_known_is_refused(ball):
    with pytest.raises(InputError, match="Did you mean 'petct'"):
        pair(ball, "petctt")


# files


@pytest.mark.parametrize(
    ("session", "n", "subject"), [("petct", 0, "sub-001"), ("petct", 6, "sub-007"), ("petmr", 0, "sub-011")]
)
def test_subjects_of_the_second_session_follow_those_of_the_first(session, n, subject):
    assert writing.subject_id(n, session, 10, ("petct", "petmr")) == subject


def test_a_pair_on_disk_is_the_pair_and_its_record_says_what_is_in_it(ball, tmp_path):
    shot = pair(ball, lesions=draw_lesions(ball, 1, np.random.default_rng(1)))
    folder = tmp_path / "sub-001" / "ses-petct"
    paths = {m: writing.image_paths(folder, "sub-001", "petct", m) for m in ("CT", "PET")}
    assert paths["CT"][0] == folder / "anat" / "sub-001_ses-petct_ct.nii.gz"
    assert paths["PET"][1].name == "sub-001_ses-petct_space-pet_dseg.nii.gz"
    for image, reference in paths.values():
        image.parent.mkdir(parents=True, exist_ok=True)
        reference.parent.mkdir(parents=True, exist_ok=True)
    where = record_path(folder, "sub-001", "petct")
    record = writing.write_pair(shot, "petct", paths, where, {"subject": "sub-001", "session": "petct"})
    assert read_record(where) == json.loads(json.dumps(record))
    writing.write_tables(tmp_path, writing.manifest_rows(tmp_path, record, paths))
    (ct, pet) = read_cohort(tmp_path / "manifest.tsv").cases
    assert (ct.modality, pet.modality, ct.image) == ("CT", "PET", paths["CT"][0])
    assert np.array_equal(read_volume(pet.image, unit="SUV").data, shot.pet.data)
    assert np.array_equal(ct.read_reference().data, shot.structural_reference.data)
    assert truth(pet)["fwhm_mm"] == SCANNERS["petct", "PET"].fwhm_mm
    assert record["reference_ml"]["PET"]["liver"] == writing.volumes_ml(shot.pet_reference)["liver"] > 90
    assert record["reference_ml"]["CT"]["spleen"] == 0
    lesion = paths["PET"][1].with_name("sub-001_ses-petct_space-pet_label-lesion_dseg.nii.gz")
    assert np.array_equal(read_label_map(lesion).data, lesions_on(shot, shot.pet).data)
    about = json.loads((tmp_path / "dataset_description.json").read_text())
    assert about["BIDSVersion"] == "1.10.0" and about["GeneratedBy"][0]["Name"] == "umdlib.synthetic"


def test_every_strength_at_one_is_the_scanners(ball):
    assert set(Factors().record().values()) == {1.0} and factors(None) == Factors()
    a = image_pair(ball, session="petct", acquisition=STILL, seed=1)
    assert np.array_equal(a.pet.data, pair(ball).pet.data)
    assert pair(ball, strengths=only().record()).pet.unit == "HU"
