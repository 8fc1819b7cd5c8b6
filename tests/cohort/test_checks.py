"""Faults planted in pairs of a drawn body: each is found, with its number, and clean pairs raise nothing."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from umdlib import cohort, labels
from umdlib.__main__ import main
from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.images.volume import LabelMap, Volume, read_label_map, read_volume, write_label_map, write_volume
from umdlib.labels import Structure

# centre and half axes in mm (RAS), painted in this order
ORGANS = (
    ("lung", (80, 0, 140), (50, 70, 110)),
    ("lung", (-90, 0, 140), (50, 70, 110)),
    ("liver", (70, 20, 0), (80, 60, 70)),
    ("heart", (-20, 30, 130), (50, 45, 50)),
    ("stomach", (-50, 40, 10), (40, 30, 45)),
    ("spleen", (-90, -30, 10), (30, 25, 45)),
    ("kidney_right", (60, -50, -60), (25, 22, 45)),
    ("kidney_left", (-60, -50, -55), (25, 22, 45)),
    ("colon", (80, 10, -130), (25, 25, 60)),
    ("colon", (-80, 10, -130), (25, 25, 60)),
    ("pancreas", (0, 20, -30), (45, 15, 15)),
    ("esophagus", (0, -20, 170), (10, 10, 110)),
    ("aorta", (-10, -40, 30), (14, 14, 130)),
    ("urinary_bladder", (0, 20, -260), (35, 30, 35)),
    ("brain", (0, 0, 480), (65, 80, 65)),
)
GRIDS = {
    "CT": (np.array([[-5.0, 0, 0, 190], [0, -5, 0, 150], [0, 0, 5, -340], [0, 0, 0, 1]]), (77, 61, 190)),
    "PET": (np.array([[6.0, 0, 0, -190], [0, 6, 0, -150], [0, 0, 6, -340], [0, 0, 0, 1]]), (64, 51, 158)),
}
UPTAKE = {"brain": 8.0, "urinary_bladder": 25.0, "liver": 2.2, "heart": 3.0, "lung": 0.4}
TUMOUR = Structure(1, "tumour", "Tumour", "Tu", "#cc79a7")


def drawn(modality, seed, tumour_mm=0.0):
    """Image and labels of one body; its organs vary with the seed, the same on both grids."""
    affine, shape = GRIDS[modality]
    rng = np.random.default_rng(seed)
    axes = [affine[a, a] * np.arange(n) + affine[a, 3] for a, n in enumerate(shape)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    body = (x / 170) ** 2 + (y / 125) ** 2 + ((z - 110) / 460) ** 2 < 1
    inner = (x / 155) ** 2 + (y / 110) ** 2 + ((z - 110) / 445) ** 2 < 1  # without the fat under the skin
    data = np.where(body, 40.0, -1000.0)
    if modality == "PET":
        data = np.where(inner, 0.5, np.where(body, 0.2, 0.01))
    found = np.zeros(shape, np.uint8)
    for name, centre, axes_mm in ORGANS:
        cx, cy, cz = centre + rng.normal(0, 2, 3)
        a, b, c = axes_mm * rng.uniform(0.95, 1.05, 3)
        inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2 < 1
        found[inside] = labels.structure(name).value
        data[inside] = UPTAKE.get(name, 1.5) if modality == "PET" else (-800 if name == "lung" else 60)
    if tumour_mm:
        found = ((x - 40) ** 2 + y**2 + (z + 100) ** 2 < tumour_mm**2).astype(np.uint8)
    noise = np.random.default_rng([seed, modality == "PET"]).normal(0, 1, shape)
    data = data * (1 + 0.1 * noise) if modality == "PET" else data + 10 * noise
    dtype = np.float32 if modality == "PET" else np.int16
    return Volume(data.astype(dtype), affine, labels.MODALITIES[modality].unit), LabelMap(found, affine)


def write_cohort(root, subjects=3, tumour_mm=None):
    """A cohort of PET/CT pairs; `tumour_mm` gives the radius of one tumour on CT and on PET instead."""
    rows = []
    for number in range(1, subjects + 1):
        for modality in GRIDS:
            image, reference = drawn(modality, number, (tumour_mm or {}).get(modality, 0.0))
            base = f"sub-{number:03d}_{modality}"
            write_volume(root / f"{base}.nii.gz", image)
            write_label_map(root / f"{base}_dseg.nii.gz", reference)
            row = {
                "subject": f"sub-{number:03d}",
                "session": "petct",
                "modality": modality,
                "unit": image.unit,
            }
            rows.append(row | {"image": f"{base}.nii.gz", "reference": f"{base}_dseg.nii.gz"})
    write_structures(root / "dseg.tsv", (TUMOUR,) if tumour_mm else labels.ORGANS)
    return write_manifest(root / "manifest.tsv", rows)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    write_cohort(root)
    return root


def two_of(clean, root):
    """A copy of the first two subjects; its manifest."""
    shutil.copytree(clean, root, ignore=shutil.ignore_patterns("sub-003*"))
    manifest = root / "manifest.tsv"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "sub-003" not in line))
    return manifest


def change(root, modality, image=lambda v: v, reference=lambda v: v, subject="sub-002"):
    """Rewrite one case: functions of the volume and of the label map."""
    path = root / f"{subject}_{modality}.nii.gz"
    write_volume(path, image(read_volume(path, unit=labels.MODALITIES[modality].unit)))
    path = root / f"{subject}_{modality}_dseg.nii.gz"
    write_label_map(path, reference(read_label_map(path)))


def scaled(factor, offset=0.0):
    return lambda v: Volume(
        (v.data * np.float32(factor) + np.float32(offset)).astype(np.float32), v.affine, v.unit
    )


def placed(move):
    """Both image and reference under another affine."""

    def place(v):
        affine = v.affine.copy()
        move(affine)
        return type(v)(v.data, affine)

    return {"image": place, "reference": place}


def flipped(axis):
    def flip(v):
        return type(v)(np.flip(v.data, axis).copy(), v.affine)

    return {"image": flip, "reference": flip}


def relabelled(names):
    """Label values under new ones, all at once."""
    table = np.arange(256, dtype=np.uint8)
    for old, new in names.items():
        table[old] = new
    return lambda v: LabelMap(table[v.data], v.affine)


def z_scored(v):
    data = v.data.astype(np.float32)
    return Volume((data - data.mean()) / data.std(), v.affine, v.unit)


def not_corrected(v):
    """PET times the mean over transverse directions of exp(-attenuation along the line through the body)."""
    ijk = np.stack(np.meshgrid(*map(np.arange, v.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(ijk @ v.affine[:3, :3].T + v.affine[:3, 3], -1, 0)
    size = np.sqrt(np.maximum(1 - ((z - 110) / 460) ** 2, 1e-6))
    p, factor = np.stack([x / (170 * size), y / (125 * size)]), 0
    for angle in np.arange(0, np.pi, np.pi / 12):
        d = np.stack([np.cos(angle) / (170 * size), np.sin(angle) / (125 * size)])
        along, length = (p * d).sum(axis=0), (d * d).sum(axis=0)
        chord = 2 * np.sqrt(np.maximum(along**2 - length * ((p * p).sum(axis=0) - 1), 0)) / length
        factor = factor + np.exp(-0.0096 * chord) / 12
    # its scale is arbitrary: here one that keeps SUV in the body plausible
    return Volume((3 * v.data * factor).astype(np.float32), v.affine, v.unit)


def raw_header(root, modality, edit, references=True):
    """Edit the NIfTI header of a case as another program might have written it."""
    for end in ("", "_dseg") if references else ("",):
        path = root / f"sub-002_{modality}{end}.nii.gz"
        image = nib.load(path)
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        edit(image)
        nib.save(image, path)


def far(affine):
    affine[2, 3] += 800


def origin_lost(affine):
    affine[:3, 3] = 0


def by_30_mm(affine):
    affine[2, 3] += 30


def other_qform(offset):
    def edit(image):
        affine = image.affine.copy()
        if offset:
            affine[2, 3] += offset
        else:
            affine[0] *= -1
        image.set_qform(affine, 1)

    return edit


def total_segmentator(value):
    """Values of TotalSegmentator for the names of this project's."""
    names = {1: 5, 2: 3, 3: 2, 6: 1, 13: 6, 11: 7, 8: 10, 12: 15, 4: 90, 5: 51, 7: 52, 9: 20, 10: 21}
    return relabelled({old: new if new < 14 else 0 for old, new in names.items()})(value)


def same_person(root):
    for modality in GRIDS:
        shutil.copy(root / f"sub-001_{modality}.nii.gz", root / f"sub-002_{modality}.nii.gz")


def without_pet(root):
    text = (root / "manifest.tsv").read_text().splitlines(keepends=True)
    (root / "manifest.tsv").write_text("".join(line for line in text if "sub-002_PET" not in line))


def tumour_without_names(root):
    write_cohort(root, 2, {"CT": 30, "PET": 30})
    (root / "dseg.tsv").unlink()


SWAPPED_KIDNEYS = relabelled({2: 3, 3: 2})
METRES = {"edit": lambda image: image.header.set_xyzt_units("meter")}
MICRONS = {"edit": lambda image: image.header.set_xyzt_units("micron")}

# name -> (what is done to the clean cohort, the check that finds it, least and most of its number)
PLANTED = {
    "PET 800 mm away": (lambda r: change(r, "PET", **placed(far)), "overlap|shift", (0, 900)),
    "PET's origin lost": (lambda r: change(r, "PET", **placed(origin_lost)), "overlap|shift", (100, 900)),
    "PET moved by 30 mm": (lambda r: change(r, "PET", **placed(by_30_mm)), "shift", (29, 31)),
    "PET mirrored left to right": (lambda r: change(r, "PET", **flipped(0)), "mirrored", (-1.2, -0.3)),
    "PET upside down": (lambda r: change(r, "PET", **flipped(2)), "mirrored", (-1.2, -0.3)),
    "both images mirrored": (lambda r: [change(r, m, **flipped(0)) for m in GRIDS], "place", (-400, -10)),
    "kidneys swapped in one reference": (
        lambda r: change(r, "PET", reference=SWAPPED_KIDNEYS),
        "swapped",
        (0, 0.05),
    ),
    "liver and spleen swapped in one reference": (
        lambda r: change(r, "CT", reference=relabelled({1: 6, 6: 1})),
        "swapped",
        (0, 0.05),
    ),
    "one person under two names": (same_person, "duplicate", (2, 2)),
    "CT as both images": (
        lambda r: [
            shutil.copy(r / f"sub-002_CT{end}.nii.gz", r / f"sub-002_PET{end}.nii.gz")
            for end in ("", "_dseg")
        ],
        "duplicate",
        (2, 2),
    ),
    "sform and qform 25 mm apart": (lambda r: raw_header(r, "CT", other_qform(25)), "read", None),
    "sform and qform mirrored": (lambda r: raw_header(r, "CT", other_qform(0)), "read", None),
    "a header in metres": (lambda r: raw_header(r, "PET", **METRES), "read", None),
    "a header in micrometres": (lambda r: raw_header(r, "PET", **MICRONS), "spacing", (0.0059, 0.0061)),
    "the image alone in micrometres": (
        lambda r: raw_header(r, "PET", **MICRONS, references=False),
        "read",
        None,
    ),
    "SUV times 5": (lambda r: change(r, "PET", scaled(5)), "suv", (1.5, 5)),
    "SUV by 1000": (lambda r: change(r, "PET", scaled(1e-3)), "suv", (0, 0.1)),
    "PET in Bq/ml": (lambda r: change(r, "PET", scaled(5000)), "suv", (500, 1e6)),
    "PET z-scored": (lambda r: change(r, "PET", z_scored), "suv", (-0.02, 0.1)),
    "PET without attenuation correction": (
        lambda r: change(r, "PET", not_corrected),
        "attenuation",
        (0.7, 3),
    ),
    "CT times 10": (lambda r: change(r, "CT", scaled(10)), "hu", (0.01, 1)),
    "CT z-scored": (lambda r: change(r, "CT", z_scored), "hu", (1, 100)),
    "CT with its offset": (lambda r: change(r, "CT", scaled(1, 1100)), "hu", (0, 1100)),
    "references that agree to 0.6 only": (
        lambda r: write_cohort(r, 2, {"CT": 30, "PET": 23}),
        "agreement",
        (0.55, 0.66),
    ),
    "another program's label values": (
        lambda r: [change(r, m, reference=total_segmentator) for m in GRIDS],
        "place",
        (-900, -10),
    ),
    "another program's spleen as liver": (
        lambda r: [change(r, m, reference=total_segmentator) for m in GRIDS],
        "volume",
        (0, 9000),
    ),
    "a tumour without its name": (tumour_without_names, "names", (1, 1)),
    "a subject without a partner": (without_pet, "unpaired", (1, 1)),
    "an empty reference": (
        lambda r: change(r, "PET", reference=lambda v: LabelMap(v.data * 0, v.affine)),
        "empty",
        (0, 0),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_with_its_number(clean, tmp_path, name):
    plant, checks, ends = PLANTED[name]
    manifest = two_of(clean, tmp_path / "cohort")
    plant(tmp_path / "cohort")
    _, report = cohort.check_manifest(manifest)
    found = report.findings[report.findings["check"].isin(checks.split("|"))]
    assert len(found), report.findings[["check", "message"]].to_string()
    if ends is not None:
        assert found["value"].between(*ends).any(), found[["check", "value", "message"]].to_string()
    if "tumour" not in name and "agree" not in name:
        assert set(report.findings["subject"]) <= {"sub-002"}
    assert report.sound == (name == "a subject without a partner")


def test_clean_pairs_raise_nothing(clean):
    _, report = cohort.check_manifest(clean / "manifest.tsv")
    assert report.findings.empty, report.findings["message"].tolist()
    assert report.cases["structures"].tolist() == [13] * 6
    assert report.sound


def test_processes_find_what_one_finds(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "cohort")
    change(tmp_path / "cohort", "PET", **placed(by_30_mm))
    lines = []
    one = cohort.check_manifest(tmp_path / "cohort" / "manifest.tsv")[1]
    two = cohort.check_manifest(tmp_path / "cohort" / "manifest.tsv", jobs=2, progress=lines.append)[1]
    assert one.findings.equals(two.findings)
    assert one.cases.equals(two.cases)
    assert lines == [
        "[1/3] sub-001 petct: nothing found",
        "[2/3] sub-002 petct: 1 finding",
        "[3/3] sub-003 petct: nothing found",
    ]


def test_damaged_and_missing_files_are_listed_and_the_others_checked(clean, tmp_path, capsys):
    root = tmp_path / "cohort"
    shutil.copytree(clean, root)
    (root / "sub-001_CT.nii.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    (root / "sub-003_PET_dseg.nii.gz").unlink()
    assert main(["check", str(root / "manifest.tsv"), "--json", str(tmp_path / "r.json")]) == 1
    said = capsys.readouterr().out
    assert "FAULT sub-001 petct CT: File" in said and "git-lfs pointer" in said
    assert "FAULT sub-003 petct PET: The reference of" in said and "line 7 does not exist" in said
    assert "6 cases, 2 with a fault or doubt: 2 faults, 0 doubts, 1 note" in said
    report = json.loads((tmp_path / "r.json").read_text())
    assert not report["sound"] and report["counts"] == {"fault": 2, "doubt": 0, "note": 1}
    assert report["findings"][0]["value"] is None
    assert [c["structures"] for c in report["cases"]] == [0, 13, 13, 13, 13]


def test_a_sound_cohort_ends_with_status_0(clean, capsys):
    assert main(["check", str(clean / "manifest.tsv")]) == 0
    assert "6 cases, 0 with a fault or doubt" in capsys.readouterr().out


def test_an_image_without_a_reference_is_checked(clean, tmp_path):
    root = tmp_path / "cohort"
    manifest = two_of(clean, root)
    manifest.write_text(manifest.read_text().replace("sub-002_CT_dseg.nii.gz", "n/a"))
    assert cohort.check_manifest(manifest)[1].findings.empty
    change(root, "PET", scaled(5))
    assert cohort.check_manifest(manifest)[1].findings["check"].tolist() == ["suv"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pet_that_lies_elsewhere_is_told_without_any_reference(clean, tmp_path, axis):
    root = tmp_path / "cohort"
    two_of(clean, root)

    def moved(v):
        affine = v.affine.copy()
        affine[axis, 3] -= 30
        return Volume(v.data, affine, v.unit)

    change(root, "PET", image=moved)
    lines = (root / "manifest.tsv").read_text().splitlines()
    place = lines[0].split("\t").index("reference")
    rows = [line.split("\t") for line in lines[1:]]
    text = ["\t".join([*row[:place], "n/a", *row[place + 1 :]]) for row in rows]
    (root / "manifest.tsv").write_text("\n".join([lines[0], *text]) + "\n")
    findings = cohort.check_manifest(root / "manifest.tsv")[1].findings
    assert findings[["check", "subject"]].to_numpy().tolist() == [["outline", "sub-002"]]
    assert findings["value"][0] == pytest.approx(30, abs=3)
    assert "-30" in findings["message"][0].replace("-29", "-30").replace("-31", "-30")


def test_real_trios_raise_nothing(shared, tmp_path):
    from umdlib.cohort.ibsi import plan_ibsi
    from umdlib.cohort.plan import carry_out

    manifest = carry_out(plan_ibsi(shared / "real" / "ibsi_sts"), tmp_path / "manifest.tsv")
    _, report = cohort.check_manifest(manifest)
    assert report.findings.empty, report.findings["message"].tolist()


def test_one_image_under_two_names_is_a_note_where_the_others_differ(clean, tmp_path):
    root = tmp_path / "cohort"
    two_of(clean, root)
    for end in ("", "_dseg"):
        shutil.copy(root / f"sub-001_CT{end}.nii.gz", root / f"sub-002_CT{end}.nii.gz")
    report = cohort.check_manifest(root / "manifest.tsv")[1]
    assert report.findings[["kind", "check", "subject"]].to_numpy().tolist() == [
        ["note", "duplicate", "sub-002"]
    ]
    assert report.sound
