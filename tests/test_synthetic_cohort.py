"""A synthetic cohort on disk: complete, reproducible in any order, resumable; bad requests refused."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from umdlib.errors import InputError
from umdlib.labels import ORGANS
from umdlib.plausibility import interior
from umdlib.synthetic import Factors, simulate, synthesise
from umdlib.synthetic.cohort import make_pair
from umdlib.synthetic.labelled import tissue_named
from umdlib.synthetic.literature import READINGS, VOLUMES
from umdlib.synthetic.tissue import CODES
from umdlib.volume import LabelMap, read_label_map, read_volume

COARSE = 8.0
LEFT_KIDNEY, RIGHT_KIDNEY = (
    next(s.value for s in ORGANS if s.name == name) for name in ("kidney_left", "kidney_right")
)
SUBJECTS = 50
UMD_VOLUMES = {  # ml, what a reader would accept of an adult (literature.VOLUMES, widened by cuts)
    "lung": (1500, 6500), "colon": (250, 1400),
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    synthesise(out, subjects=1, seed=5, spacing_mm=COARSE, lesions=1)
    return out


def hashes(out: Path) -> dict[str, str]:
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*")) if p.is_file()
    }  # fmt: skip


def rows(out):
    lines = (out / "manifest.tsv").read_text().splitlines()
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


def test_manifest_names_files_that_exist_in_their_units(cohort):
    table = rows(cohort)
    assert [(r["subject"], r["session"], r["modality"], r["unit"]) for r in table] == [
        ("sub-001", "petct", "CT", "HU"), ("sub-001", "petct", "PET", "SUV"),
        ("sub-002", "petmr", "MR", "a.u."), ("sub-002", "petmr", "PET", "SUV"),
    ]  # fmt: skip
    for row in table:
        image = read_volume(cohort / row["image"], unit=row["unit"])
        labels = read_label_map(cohort / row["reference"], values=tuple(s.value for s in ORGANS))
        assert image.shape == labels.shape
        assert labels.data.dtype == np.uint8
        assert len(np.unique(labels.data)) == 14


def test_headers_carry_both_transforms_and_mm(cohort):
    image = nib.load(cohort / rows(cohort)[0]["image"])
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_truth_is_beside_the_images(cohort):
    record = json.loads(next((cohort / "sub-001").rglob("*_synthesis.json")).read_text())
    assert record["person"]["volumes_ml"].keys() == VOLUMES.keys()
    assert record["acquisition"]["breathing_mm"] > 0
    assert len(record["lesions"]) == 1
    assert record["factors"]["noise"] == 1.0
    assert "/" not in record["key"]


@pytest.mark.slow
def test_another_order_and_two_processes_give_the_same_bytes(cohort, tmp_path):
    """The other session first, in parallel: image bytes depend on (seed, subject, session) only."""
    synthesise(tmp_path, subjects=1, seed=5, spacing_mm=COARSE, lesions=1, jobs=2)
    assert hashes(tmp_path) == hashes(cohort)


def test_a_finished_subject_is_kept_and_a_broken_one_made_again(cohort):
    before = hashes(cohort)
    lost = cohort / rows(cohort)[1]["image"]
    lost.unlink()
    said = []
    synthesise(cohort, subjects=1, seed=5, spacing_mm=COARSE, lesions=1, progress=said.append)
    assert [s.split(" ")[1] for s in said] == ["written", "kept"]
    assert hashes(cohort) == before


@pytest.mark.slow
def test_another_seed_is_another_person(cohort):
    a, b = (make_pair("sub-001", "petct", seed, COARSE).anatomy.person for seed in (5, 6))
    assert a.volumes_ml != b.volumes_ml
    record = json.loads(next((cohort / "sub-001").rglob("*_synthesis.json")).read_text())
    assert record["person"]["volumes_ml"] == a.volumes_ml


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"subjects": 0}, "Invalid subjects 0"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"jobs": 0}, "Invalid jobs 0"),
        ({"lesions": -2}, "Invalid lesions -2"),
        ({"spacing_mm": 20.0}, "Invalid spacing 20.0 mm"),
        ({"sessions": ("petct", "petct")}, "each once"),
        ({"sessions": ("petctt",)}, "Did you mean 'petct'"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(tmp_path, wrong, match):
    with pytest.raises(InputError, match=match):
        synthesise(tmp_path / "out", **({"subjects": 1, "seed": 0} | wrong))
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot make folder"):
        synthesise(tmp_path / "file" / "out", subjects=1, seed=0)


def toy_labels(affine=None):
    """Lungs, liver, bladder, two kidneys and a brain as blocks on 6 mm voxels."""
    data = np.zeros((60, 40, 160), np.uint8)
    for value, box in {
        8: (slice(12, 24), slice(10, 30), slice(95, 125)), 1: (slice(32, 48), slice(8, 30), slice(75, 100)),
        10: (slice(25, 35), slice(20, 30), slice(30, 40)), 4: (slice(20, 40), slice(5, 33), slice(135, 155)),
        2: (slice(14, 22), slice(5, 12), slice(62, 80)), 3: (slice(38, 46), slice(5, 12), slice(60, 74)),
    }.items():  # fmt: skip
        data[box] = value
    data[36:48, 10:30, 101:125] = 8
    affine = np.diag([6.0, 6.0, 6.0, 1.0]) if affine is None else affine
    return LabelMap(data, affine, "toy")


def test_a_users_label_map_gets_both_images_and_its_references():
    shot = simulate(toy_labels(), seed=2, spacing_mm=COARSE)
    assert shot.structural.unit == "HU" and shot.pet.unit == "SUV"
    liver = ndimage.binary_erosion(shot.pet_reference.data == 1, iterations=2)
    want = shot.anatomy.person.uptake_suv["liver"]
    assert np.median(shot.pet.data[liver]) == pytest.approx(want, rel=0.15)
    bladder = ndimage.binary_erosion(shot.pet_reference.data == 10, iterations=1)
    assert shot.pet.data[bladder].mean() > 4
    for tissue in ("cortical_bone", "grey_matter", "kidney_left_cortex", "fat", "muscle"):
        assert (shot.anatomy.tissue == CODES[tissue]).any(), tissue


@pytest.mark.slow
def test_a_flipped_map_is_the_same_body():
    a = toy_labels()
    flipped = np.diag([-6.0, 6.0, 6.0, 1.0])
    flipped[0, 3] = 6.0 * (a.shape[0] - 1)
    b = LabelMap(a.data[::-1].copy(), flipped, "flipped")
    one, two = (simulate(m, seed=2, spacing_mm=COARSE, session="petmr") for m in (a, b))
    assert np.array_equal(one.pet.data, two.pet.data)


def test_wrong_label_maps_are_refused():
    with pytest.raises(InputError, match="Label value 10 in toy has no name"):
        simulate(
            toy_labels(),
            names={1: "liver", 2: "kidney_left", 3: "kidney_right", 4: "brain", 8: "lung"},
        )
    with pytest.raises(InputError, match="Unknown structure 'livre'"):
        tissue_named("livre")
    turned = np.eye(4)
    turned[:2, :2] = [[0.866, -0.5], [0.5, 0.866]]
    with pytest.raises(InputError, match="oblique"):
        simulate(toy_labels(turned * [6, 6, 6, 1]))
    sheared = np.diag([6.0, 6, 6, 1])
    sheared[0, 1] = 3
    with pytest.raises(InputError, match="not perpendicular"):
        simulate(toy_labels(sheared))
    with pytest.raises(InputError, match="Every voxel of toy is 0"):
        simulate(LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4), "toy"))


def one_piece(mask: np.ndarray) -> float:
    """Share of a mask that its largest part holds."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.bincount(parts.ravel())[1:].max() / mask.sum()


def readings(image, labels) -> dict[str, float]:
    """Mean of an image over the interior of every structure."""
    return {
        s.name: float(image.data[interior(labels.data == s.value)].mean()) for s in ORGANS
    }  # fmt: skip


def out_of_range(found: list[dict[str, float]], modality: str) -> list[tuple]:
    """Structures that read outside their range in more than a tenth of the subjects.

    On the test's coarse voxels the fat around and within an organ lowers its CT number further.
    """
    faults = []
    for name, (ct_low, ct_high, pet_low, pet_high) in READINGS.items():
        low, high = (ct_low - 12, ct_high) if modality == "CT" else (pet_low, pet_high)
        values = [round(scan[name], 2) for scan in found]
        if np.mean([low <= v <= high for v in values]) < 0.9:
            faults.append((modality, name, low, high, values))
    return faults


@pytest.mark.slow
def test_fifty_subjects_stay_within_the_literature():
    """Volume, HU and SUV of 50 subjects against the sourced ranges of `literature`."""
    still = Factors(breathing=0, misregistration=0, attenuation=0)
    scans, people = {"CT": [], "PET": []}, []
    for i in range(SUBJECTS):
        session = ("petct", "petmr")[i % 2]
        shot = make_pair(f"sub-{i:03d}", session, 11, COARSE, 0, still)
        labels, tissue = shot.anatomy.label_map.data, shot.anatomy.tissue
        body = ndimage.binary_erosion(tissue != CODES["air"])
        voxel = float(np.prod(np.diag(shot.anatomy.affine)[:3])) / 1000
        people.append(shot.anatomy.person)
        for structure in ORGANS:
            mask = labels == structure.value
            low, high = UMD_VOLUMES.get(structure.name) or (
                0.72 * VOLUMES[structure.name].low, 1.1 * VOLUMES[structure.name].high,
            )  # fmt: skip
            assert low < mask.sum() * voxel < high, (i, structure.name, mask.sum() * voxel)
            assert not (mask & ~body)[:, :, 2:-2].any(), (i, structure.name)
            if structure.name not in ("lung", "colon", "pancreas"):
                assert one_piece(mask) > 0.95, (i, structure.name)
        left, right = (
            ndimage.center_of_mass(labels == value)[0] for value in (LEFT_KIDNEY, RIGHT_KIDNEY)
        )
        assert left < right, i
        scans["PET"].append(readings(shot.pet, shot.pet_reference))
        if session == "petct":
            scans["CT"].append(readings(shot.structural, shot.structural_reference))
        uptake = shot.anatomy.person.uptake_suv["liver"]
        assert scans["PET"][-1]["liver"] == pytest.approx(uptake, rel=0.10), i
    faults = [fault for modality in scans for fault in out_of_range(scans[modality], modality)]
    assert not faults
    assert 0.3 < np.mean([p.sex == "F" for p in people]) < 0.7
    assert np.ptp([p.bmi for p in people]) > 10
