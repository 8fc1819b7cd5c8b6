"""Imports of a user's own files: patterns, nnU-Net, masks, BIDS; folders as users have them; names; privacy."""

import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import phantom
import pytest
from phantom import CT_GRID, PET_GRID, VALUE

from umdlib import cohort
from umdlib.__main__ import main
from umdlib.cohort.bids import sidecar_factor
from umdlib.cohort.ibsi import plan_ibsi
from umdlib.cohort.importing import KINDS, ImportOptions, plan_import
from umdlib.cohort.names import read_names
from umdlib.cohort.pattern import plan_pattern
from umdlib.cohort.plan import carry_out
from umdlib.cohort.privacy import head_in_view, header_texts, read_ids
from umdlib.errors import InputError

PATTERN = {"image": "{subject}/{modality}.nii.gz", "reference": "{subject}/{modality}_seg.nii.gz"}


def pair(folder, labels=VALUE):
    """CT and PET of a subject, each with its label map."""
    for name, grid in (("CT", CT_GRID), ("PET", PET_GRID)):
        phantom.write_image(folder / f"{name}.nii.gz", grid, name)
        phantom.write_labels(folder / f"{name}_seg.nii.gz", grid, labels)
    return folder


def run(capsys, *words):
    status = main([str(w) for w in words])
    said = capsys.readouterr()
    return status, said.out, said.err


# patterns, and folders as users have them


def test_ibsi_of_six_patients(shared, tmp_path):
    place = shared / "real" / "ibsi_sts"
    found = cohort.read_cohort(carry_out(plan_ibsi(place), tmp_path / "manifest.tsv"))
    assert [s.name for s in found.structures] == ["tumour"]
    assert cohort.inclusion_table(found)["n_pairs"].tolist() == [6]
    assert (cohort.check_cohort(found)["fault"] == "").all()
    apart = cohort.read_cohort(carry_out(plan_ibsi(place, apart=True), tmp_path / "a" / "manifest.tsv"))
    assert cohort.inclusion_table(apart)["n_pairs"].tolist() == [6, 6]


def test_pattern_without_match_is_an_error(tmp_path):
    phantom.write_image(tmp_path / "a_CT.nii.gz", CT_GRID, "CT")
    with pytest.raises(InputError, match="has no reference"):
        plan_pattern(tmp_path, image="{subject}_{modality}.nii.gz", reference="{subject}.nii")
    with pytest.raises(InputError, match=r"No file in .* holds 1 other files, e.g. a_CT.nii.gz"):
        plan_pattern(tmp_path, image="{subject}-{modality}.nii.gz", reference="{subject}.nii")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("{subject}/{modality}/slice.dcm", "names DICOM slices. `umdlib import dicom`"),
        ("{subject}/{modality}.tif", "must end with one of .nii.gz, .nii, .nrrd"),
        ("{subject}/{kind}_{modality}.nii.gz", "has the field {kind}. Known"),
        ("{subject}.nii.gz", "lacks the field {modality}"),
    ],
)
def test_patterns_that_cannot_be_are_refused(tmp_path, image, said):
    with pytest.raises(InputError, match=said.replace("{", r"\{")):
        plan_pattern(tmp_path, image=image)


def test_links_are_followed_and_leftovers_of_systems_are_no_subjects(tmp_path):
    pair(tmp_path / "store" / "p1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "sub-001").symlink_to(tmp_path / "store" / "p1")
    (source / "sub-002").symlink_to(tmp_path / "nowhere")
    (tmp_path / "store" / "p1" / "loop").symlink_to(source)
    (source / "sub-004").write_text("../store/p1")  # as git stores a link where the system has none
    for leftover in ("._sub-003/CT.nii.gz", "__MACOSX/CT.nii.gz", "sub-001/._CT.nii.gz", ".DS_Store"):
        (source / leftover).parent.mkdir(exist_ok=True)
        (source / leftover).write_bytes(b"leftover")
    plan = plan_pattern(source, **PATTERN)
    assert {r.subject for r in plan.rows} == {"sub-001"}
    why = {Path(what).name: why for what, why in plan.left_out}
    assert "leads nowhere" in why["sub-002"] and "leads back" in why["loop"]
    assert "stored as text, to ../store/p1" in why["sub-004"]


def test_a_closed_folder_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    pair(tmp_path / "source" / "sub-001")
    pair(tmp_path / "source" / "sub-002")
    iterdir = Path.iterdir

    def closed(self):  # root may enter any folder
        if self.name == "sub-002":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", closed)
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    assert {r.subject for r in plan.rows} == {"sub-001"}
    assert any("sub-002" in what and "Permission denied" in why for what, why in plan.left_out)


def test_a_folder_whose_name_is_not_utf8_is_left_out_or_copied(tmp_path):
    """As an archive of an old Windows unpacks: the report of the import could not be written."""
    names = ("a", os.fsdecode(b"J\xf6rg"))
    for name in names:
        (tmp_path / "in" / name).mkdir(parents=True)
        phantom.write_image(tmp_path / "in" / name / "CT.nii.gz", CT_GRID, "CT")
    for copy, subjects in ((False, ["a"]), (True, ["a", "J-rg"])):
        plan = plan_pattern(tmp_path / "in", image=PATTERN["image"])
        found = cohort.read_cohort(carry_out(plan, tmp_path / f"out{copy}", copy=copy))
        assert sorted(found.subjects()) == sorted(subjects)
        report = (tmp_path / f"out{copy}_import.tsv").read_text()
        assert ("J\\udcf6rg/CT.nii.gz is not UTF-8" in report) is not copy


def test_what_matches_no_pattern_is_listed(tmp_path):
    pair(tmp_path / "source" / "sub-001")
    phantom.write_image(tmp_path / "source" / "sub-001" / "pet" / "PT2.nii.gz", PET_GRID, "PET")
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    assert ("sub-001/pet/PT2.nii.gz", "matches neither pattern") in plan.left_out


def test_a_modality_without_a_name_keeps_its_own_and_an_unknown_one_is_named(tmp_path):
    for name in ("CT", "MR_T1", "PET"):
        (tmp_path / f"a/{name}.nii.gz").parent.mkdir(exist_ok=True)
        (tmp_path / f"a/{name}.nii.gz").touch()
    plan = plan_pattern(tmp_path, image="{subject}/{modality}.nii.gz")
    known = "matches neither pattern, 'MR_T1' being no known modality; name it: --modality MR_T1=MR"
    known += ", or references by --reference"
    assert [why for _, why in plan.left_out] == [known]
    plan = plan_pattern(tmp_path, image="{subject}/{modality}.nii.gz", modalities={"MR_T1": "MR"})
    assert {r.modality for r in plan.rows} == {"CT", "MR", "PET"}


def test_sessions_and_folders_by_pattern(tmp_path):
    for session in ("test", "retest"):
        for place, name, grid in (("anat", "ct", CT_GRID), ("pet", "pet", PET_GRID)):
            stem = tmp_path / f"source/sub-1/ses-{session}/{place}/sub-1_ses-{session}"
            phantom.write_image(f"{stem}_{name}.nii.gz", grid, name.upper())
            phantom.write_labels(f"{stem}_space-{name}_dseg.nii.gz", grid, VALUE)
    options = ImportOptions(
        image="{subject}/ses-{session}/*/{subject}_ses-{session}_{modality}.nii.gz",
        reference="{subject}/ses-{session}/*/{subject}_ses-{session}_space-{modality}_dseg.nii.gz",
        modalities={"ct": "CT", "pet": "PET"},
    )
    plan = plan_import("pattern", tmp_path / "source", options)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert found.sessions() == ["petct-retest", "petct-test"] and len(found.pairs()) == 2
    assert not plan.left_out


def test_masks_of_structures_by_pattern(tmp_path):
    phantom.write_image(tmp_path / "s/a_CT.nii.gz", CT_GRID, "CT")
    for name in ("liver", "Bladder", "oesophagus", "left kidney", "blob"):
        mask = phantom.organs(CT_GRID)[
            {"Bladder": "urinary_bladder", "oesophagus": "esophagus", "left kidney": "kidney_left"}.get(
                name, "liver"
            )
        ]
        phantom.write_mask(tmp_path / f"s/a_CT_seg_{name}.nii.gz", CT_GRID, mask)
    plan = plan_pattern(
        tmp_path / "s",
        image="{subject}_{modality}.nii.gz",
        reference="{subject}_{modality}_seg_{structure}.nii.gz",
    )
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert [s.name for s in found.structures] == ["liver", "kidney_left", "urinary_bladder", "esophagus"]
    assert (
        "a_CT_seg_blob.nii.gz",
        "'blob' is not a known structure; name it in a table (--names)",
    ) in plan.left_out


@pytest.mark.parametrize("kind", ["pattern", "masks"])
def test_a_segmentation_of_3d_slicer_says_what_its_values_mean(tmp_path, kind):
    """Its value 1 is the spleen: by the guess of 13 organs it was enrolled as the liver."""
    sitk = pytest.importorskip("SimpleITK")
    place = tmp_path / "in/a/segmentations" if kind == "masks" else tmp_path / "in/a"
    place.mkdir(parents=True)
    phantom.write_image(tmp_path / "in/a/CT.nii.gz", CT_GRID, "CT")
    phantom.write_labels(tmp_path / "labels.nii.gz", CT_GRID, {"spleen": 1, "liver": 2, "heart": 3})
    image = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))[5:40, 3:30, 20:]  # cropped, as Slicer does
    for number, name in enumerate(("Spleen", "Liver", "my node")):
        image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(place / "CT.seg.nrrd"))
    options = ImportOptions(image="{subject}/{modality}.nii.gz", reference="{subject}/{modality}.seg.nrrd")
    plan = plan_import(kind, tmp_path / "in", options)
    (case,) = cohort.read_cohort(carry_out(plan, tmp_path / "out")).cases
    names = {s.value: s.name for s in case.structures}
    organs, found = phantom.organs(CT_GRID), case.read_reference().data
    assert {names[v]: int((found == v).sum()) for v in names} == {
        "liver": organs["liver"].sum(),
        "spleen": organs["spleen"].sum(),
        "my node": organs["heart"].sum(),
    }
    assert not any("guess" in note for note in plan.notes)


def write_totalsegmentators(path, names):
    """A label map as `TotalSegmentator --ml` writes it: the names of its values in an extension of the header."""
    phantom.write_labels(path, CT_GRID, {name: value for value, name in names.items()})
    rows = "".join(f'<Label Key="{v}" Red="0" Alpha="1"><![CDATA[{n}]]></Label>\n' for v, n in names.items())
    table = f"<?xml version='1.0'?> <CaretExtension><LabelTable>\n{rows}</LabelTable></CaretExtension>"
    image = nib.load(path)
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table.encode()))
    nib.save(image, path)


@pytest.mark.parametrize("kind", ["pattern", "masks", "bids"])
def test_a_label_map_of_totalsegmentator_says_what_its_values_mean(tmp_path, kind):
    """The spleen, value 1 there, was enrolled as the liver."""
    stems = {
        "bids": ("sub-a/ct/sub-a_ct", "sub-a/ct/sub-a_dseg"),
        "masks": ("a/ct", "a/seg/all"),
        "pattern": ("a/CT", "a/CT_seg"),
    }
    image, labels = (tmp_path / "in" / f"{s}.nii.gz" for s in stems[kind])
    phantom.write_image(image, CT_GRID, "CT")
    labels.parent.mkdir(parents=True, exist_ok=True)
    write_totalsegmentators(labels, {1: "spleen", 2: "kidney_right", 5: "liver"})
    plan = plan_import(kind, tmp_path / "in", ImportOptions(**PATTERN))
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    values = {s.name: s.value for s in found.structures}
    reference = found.cases[0].read_reference().data
    for name in ("spleen", "kidney_right", "liver"):
        np.testing.assert_array_equal(reference == values[name], phantom.organs(CT_GRID)[name])
    assert not any("guess" in note for note in plan.notes)


def test_names_in_a_reference_that_the_cohort_contradicts_are_doubted(tmp_path):
    phantom.write_image(tmp_path / "ct.nii.gz", CT_GRID, "CT")
    write_totalsegmentators(tmp_path / "seg.nii.gz", {1: "spleen", 2: "kidney_left"})
    rows = [
        {
            "subject": "a",
            "session": "petct",
            "modality": "CT",
            "image": "ct.nii.gz",
            "reference": "seg.nii.gz",
        }
        | {"unit": "HU"}
    ]
    _, report = cohort.check_manifest(cohort.write_manifest(tmp_path / "manifest.tsv", rows))
    (said,) = report.findings.loc[report.findings["check"] == "names", "message"].loc[
        lambda m: m.str.contains("itself")
    ]
    assert "its values are 1 spleen (here liver): is the dseg.tsv right" in said


def test_names_that_are_guessed_are_said_to_be(tmp_path):
    pair(tmp_path / "source" / "sub-001")
    assert any("which is a guess" in n for n in plan_pattern(tmp_path / "source", **PATTERN).notes)
    (tmp_path / "source" / "dataset.json").write_text('{"labels": {"background": 0, "spleen": 1}}')
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    assert not any("guess" in n for n in plan.notes) and [s.name for s in plan.structures] == ["spleen"]


def test_a_users_values_name_the_labels_of_a_pattern_and_of_nnunet(tmp_path):
    table = tmp_path / "names.tsv"
    table.write_text("value\tname\tstructure\n1\tGTVp\tGTVp\n6\tGTVn\tGTVn\n2\tartefact\t-\n")
    names = read_names(table)
    pair(tmp_path / "source" / "sub-001", {"liver": 1, "kidney_left": 2, "spleen": 6})
    plan = plan_pattern(tmp_path / "source", names=names, **PATTERN)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert [(s.value, s.name) for s in found.structures] == [(1, "GTVn"), (2, "GTVp")]
    made = np.asarray(nib.load(found.cases[0].reference).dataobj)
    given = np.asarray(nib.load(tmp_path / "source/sub-001/CT_seg.nii.gz").dataobj)
    np.testing.assert_array_equal(made, np.select([given == 1, given == 6], [2, 1], 0))
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "spleen": 1, "Liver": 2}}
    nnunet(tmp_path / "Dataset001", about)
    plan = plan_import("nnunet", tmp_path / "Dataset001", ImportOptions(names=table))
    assert [s.name for s in plan.records()] == ["GTVn", "GTVp"]
    masks = pair(tmp_path / "masks" / "s1").parent
    plan = plan_import("masks", masks, ImportOptions(names=table))
    assert any("gives values without a scheme, which 'masks' has no use for" in n for n in plan.notes)
    table.write_text("scheme\tvalue\tname\tstructure\ntotalsegmentor\t1\tspleen\tspleen\n")
    with pytest.raises(InputError, match="'totalsegmentor'. Did you mean 'totalsegmentator'"):
        plan_import("masks", masks, ImportOptions(names=table))


def test_one_damaged_file_does_not_end_an_import(tmp_path):
    for n in (1, 2, 3):
        pair(tmp_path / f"source/sub-00{n}")
    whole = (tmp_path / "source/sub-002/CT.nii.gz").read_bytes()
    (tmp_path / "source/sub-002/CT.nii.gz").write_bytes(whole[: len(whole) // 2])
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert len(found.pairs()) == 2 and len(found.cases) == 5
    report = (tmp_path / "dest_import.tsv").read_text()
    assert "sub-002_petct_CT" in report and "truncated" in report
    assert "3 subjects, 5 images:" in plan.text()


def test_every_format_that_is_read_becomes_one_nifti_file_without_texts(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    truth = phantom.image(CT_GRID, "CT").data
    phantom.write_image(tmp_path / "ct.nii.gz", CT_GRID, "CT")
    phantom.write_labels(tmp_path / "seg.nii.gz", CT_GRID, {"liver": 1})
    for number, suffix in enumerate((".nrrd", ".mha", ".mhd", ".nhdr", ".hdr", ".mgz")):
        place = tmp_path / f"source/p{number}"
        place.mkdir(parents=True)
        for name, file in (("CT", "ct"), ("CT_seg", "seg")):
            if suffix in (".hdr", ".mgz"):
                found = nib.load(tmp_path / f"{file}.nii.gz")
                kind = nib.Nifti1Pair if suffix == ".hdr" else nib.MGHImage
                nib.save(kind(np.asarray(found.dataobj), found.affine), place / f"{name}{suffix}")
            else:
                image = sitk.Cast(sitk.ReadImage(str(tmp_path / f"{file}.nii.gz")), sitk.sitkFloat32)
                image.SetMetaData("PatientName", "DOE JANE")
                sitk.WriteImage(image, str(place / f"{name}{suffix}"))
        plan = plan_pattern(
            tmp_path / "source",
            image=f"{{subject}}/{{modality}}{suffix}",
            reference=f"{{subject}}/{{modality}}_seg{suffix}",
        )
        found = cohort.read_cohort(carry_out(plan, tmp_path / f"dest{number}"))
        (case,) = found.cases
        np.testing.assert_allclose(case.read_image().data, truth, atol=1e-3)
        assert case.read_reference().data.any() and case.image.suffixes == [".nii", ".gz"]
        assert b"DOE" not in gzip.decompress(case.image.read_bytes())[:4000]
        assert any("not NIfTI in one file: converted" in n for n in plan.notes)


def test_voxels_that_are_not_a_number_become_air_where_it_is_asked_for(tmp_path):
    pair(tmp_path / "source/sub-001")
    for name, grid in (("CT", CT_GRID), ("PET", PET_GRID)):
        data = phantom.image(grid, name).data
        data[:4] = np.nan
        nib.save(nib.Nifti1Image(data, grid[0]), tmp_path / f"source/sub-001/{name}.nii.gz")
    with pytest.raises(InputError, match="Nothing could be enrolled"):
        carry_out(plan_pattern(tmp_path / "source", **PATTERN), tmp_path / "refused")
    assert "column `outside`" in (tmp_path / "refused_import.tsv").read_text()
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest", outside=True))
    assert [case.read_image().data[:4].max() for case in found.cases] == [-1000, 0]
    # a manifest of one's own says it in a column
    table = "subject\tsession\tmodality\timage\treference\tunit\toutside\n"
    rows = [
        f"a\tpetct\t{m}\t{m}.nii.gz\t{m}_seg.nii.gz\t{u}\t{v}\n"
        for m, u, v in (("CT", "HU", "-1000"), ("PET", "SUV", "0"))
    ]
    manifest = tmp_path / "source/sub-001/manifest.tsv"
    manifest.write_text(table + "".join(rows))
    own = cohort.read_cohort(manifest)
    assert [case.read_image().data[:4].max() for case in own.cases] == [-1000, 0]
    before = own.hash()
    manifest.write_text(table + "".join(rows).replace("-1000", "-1024"))
    assert cohort.read_cohort(manifest).hash() != before
    manifest.write_text(table + "".join(rows).replace("-1000", "air"))
    with pytest.raises(InputError, match="outside 'air' in .* line 2. Must be a number"):
        cohort.read_cohort(manifest)


def test_an_archive_in_the_folder_is_told(tmp_path):
    pair(tmp_path / "source/sub-001")
    (tmp_path / "source/more.tar.gz").write_bytes(b"anything")
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    assert any(what.endswith("more.tar.gz") and "cohorts unpack" in why for what, why in plan.left_out)


# nnU-Net


def nnunet(folder, about):
    """Two cases of nnU-Net's raw layout, the second without a reference."""
    for seed, case in enumerate(("case_001", "case_002")):
        phantom.write_image(folder / f"imagesTr/{case}_0000.nii.gz", CT_GRID, "CT", seed=seed)
        phantom.write_image(folder / f"imagesTr/{case}_0001.nii.gz", CT_GRID, "PET", seed=seed)
    phantom.write_labels(folder / "labelsTr/case_001.nii.gz", CT_GRID, {"spleen": 1, "liver": 2})
    phantom.write_image(folder / "imagesTs/case_900_0000.nii.gz", CT_GRID, "CT", seed=9)
    (folder / "dataset.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    "about",
    [
        {
            "channel_names": {"0": "CT", "1": "PET (SUV)"},
            "labels": {"background": 0, "spleen": 1, "Liver": 2},
        },
        {"modality": {"0": "CT", "1": "PT"}, "labels": {"0": "background", "1": "spleen", "2": "liver"}},
    ],
    ids=["version 2", "version 1"],
)
def test_nnunet_names_its_channels_and_labels(tmp_path, about):
    nnunet(tmp_path / "raw", about)
    plan = plan_import("nnunet", tmp_path / "raw")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert [(s.value, s.name) for s in found.structures] == [(1, "liver"), (6, "spleen")]
    assert len(found.pairs()) == 2 and len(found.cases) == 5
    data = found.case("case_001", "petct", "PET").read_reference().data
    truth = phantom.organs(CT_GRID)
    assert ((data == 6) == truth["spleen"]).all() and ((data == 1) == truth["liver"]).all()
    assert found.case("case_002", "petct", "CT").reference is None
    assert any("case_002" in what and "without one" in why for what, why in plan.left_out)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"channel_names": {"0": "ADC"}, "labels": {}}, "No channel .* is CT, MR or PET"),
        ({"channel_names": {"0": "CT"}, "labels": {"liver": "x1"}}, "has the value x1|names"),
        ([], "holds no record"),
        ({"channel_names": {"0": "CT"}, "labels": {}, "file_ending": ".nrrd"}, "Convert them"),
    ],
)
def test_dataset_json_that_cannot_be_used(tmp_path, about, said):
    nnunet(tmp_path / "raw", about)
    with pytest.raises(InputError):
        plan_import("nnunet", tmp_path / "raw")


# masks


def test_masks_in_a_folder_of_each_subject(tmp_path):
    for subject in ("a", "b"):
        phantom.write_image(tmp_path / f"s/{subject}/ct.nii.gz", CT_GRID, "CT")
        phantom.write_image(tmp_path / f"s/{subject}/pet.nii.gz", PET_GRID, "PET")
        for name in ("liver", "spleen"):
            phantom.write_mask(
                tmp_path / f"s/{subject}/segmentations/{name}.nii.gz", CT_GRID, phantom.organs(CT_GRID)[name]
            )
    phantom.write_mask(tmp_path / "s/b/pet_masks/liver.nii.gz", PET_GRID, phantom.organs(PET_GRID)["heart"])
    phantom.write_image(tmp_path / "s/b/localiser.nii.gz", CT_GRID, "CT")
    plan = plan_import("masks", tmp_path / "s")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert len(found.pairs()) == 2
    pet = found.case("a", "petct", "PET").read_reference()
    assert pet.shape == PET_GRID[1] and set(np.unique(pet.data)) == {0, 1, 6}
    assert any("put on the image's grid" in n for n in plan.notes)
    assert any(what.endswith("localiser.nii.gz") for what, _ in plan.left_out)
    clash = [n for n in plan.notes if n.startswith("b_petct_PET") and "two structures" in n]
    assert not clash  # liver from two files is one structure


# BIDS

SIDECAR = {
    "Units": "Bq/mL",
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
    "AttenuationCorrection": "CT-based",
    "InjectedRadioactivity": 350.0,
    "InjectedRadioactivityUnits": "MBq",
    "InjectionStart": -6586.2,
    "ScanStart": 0,
    "TimeZero": "10:49:46",
    "TracerRadionuclide": "F18",
    "TracerName": "FDG",
}


def bids(folder, sidecar=SIDECAR, sessions=("a",)):
    """A BIDS folder with PET in Bq/ml, its sidecar at the top, and label maps in its derivatives."""
    made = folder / "derivatives/seg/sub-01"
    for n, s in enumerate(sessions):
        phantom.write_image(folder / f"sub-01/ses-{s}/ct/sub-01_ses-{s}_ct.nii.gz", CT_GRID, "CT", seed=n)
        phantom.write_image(
            folder / f"sub-01/ses-{s}/pet/sub-01_ses-{s}_pet.nii.gz", PET_GRID, "PET", 2500.0, n
        )
        for space, grid in (("ct", CT_GRID), ("pet", PET_GRID)):
            file = made / f"ses-{s}/sub-01_ses-{s}_space-{space}_dseg.nii.gz"
            phantom.write_labels(file, grid, {"liver": 1, "spleen": 2})
    (folder / "derivatives/seg/dseg.tsv").write_text("index\tname\n0\tBackground\n1\tLiver\n2\tspleen\n")
    (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\tweight\nsub-01\t61\tF\t70\n")
    (folder / "pet.json").write_text(json.dumps(sidecar))


def test_test_and_retest_in_bids_are_two_sessions(tmp_path):
    bids(tmp_path / "bids", sessions=("test", "retest"))
    plan = plan_import("bids", tmp_path / "bids")
    assert [r.name for r in plan.rows] == [
        f"sub-01_petct-{s}_{m}" for s in ("retest", "test") for m in ("CT", "PET")
    ]
    assert all(
        len(r.reference) == 1 and f"space-{r.modality.lower()}_" in r.reference[0].path.name
        for r in plan.rows
    )


def test_bids_makes_suv_of_its_sidecar(tmp_path):
    bids(tmp_path / "bids")
    plan = plan_import("bids", tmp_path / "bids")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    assert found.sessions() == ["petct-a"] and len(found.pairs()) == 1
    pet = found.case("sub-01", "petct-a", "PET")
    np.testing.assert_allclose(
        pet.read_image().data, phantom.image(PET_GRID, "PET").data, rtol=1e-4, atol=1e-4
    )
    assert [(s.value, s.name) for s in found.structures] == [(1, "liver"), (6, "spleen")]
    assert found.table[["age", "sex", "weight_kg"]].to_numpy().tolist() == [["61", "F", "70"]] * 2
    assert found.table["tracer"].tolist() == ["", "FDG"]


def test_bids_sidecar_by_hand():
    # one half-life after 350 MBq in 70 kg: SUV 1 is 350e6 / 2 / 70000 = 2500 Bq/ml
    assert sidecar_factor(SIDECAR, person={"weight_kg": "70"}) == pytest.approx(1 / 2500, rel=1e-9)
    assert sidecar_factor(SIDECAR | {"Units": "kBq/ml"}, person={"weight_kg": "70"}) == pytest.approx(
        1 / 2.5, rel=1e-9
    )
    assert sidecar_factor({"Units": "SUV"}) == 1.0
    late = SIDECAR | {"ImageDecayCorrectionTime": -6586.2}  # corrected to the injection
    assert sidecar_factor(late, person={"weight_kg": "70"}) == pytest.approx(1 / 5000, rel=1e-9)


@pytest.mark.parametrize("nuclide", ["F18", "18F", "[18F]", "F-18", "^18^Fluorine", "fluorine-18"])
def test_a_sidecar_may_call_its_nuclide_in_any_way(nuclide):
    assert sidecar_factor(
        SIDECAR | {"TracerRadionuclide": nuclide}, person={"weight_kg": "70"}
    ) == pytest.approx(1 / 2500, rel=1e-4)


def test_a_sidecar_in_dicoms_words_needs_the_injection_that_dcm2niix_does_not_write():
    dcm2niix = {
        "Units": "BQML",
        "RadionuclideTotalDose": 350e6,
        "RadionuclideHalfLife": 6586.2,
        "PatientWeight": 70,
    }
    dcm2niix |= {"AttenuationCorrectionMethod": "measured,AC_CT", "DecayCorrection": "ADMIN"}
    assert sidecar_factor(dcm2niix) == pytest.approx(1 / 5000, rel=1e-9)
    with pytest.raises(InputError, match="InjectionStart is missing.*`umdlib import dicom` reads it"):
        sidecar_factor(dcm2niix | {"DecayCorrection": "START"})


def test_bids_by_lean_mass_and_surface_needs_height_and_sex():
    # as by DICOM: 55857.1 g and 18481 cm2 of a man of 70 kg and 1.75 m; 175 MBq are left
    person = {"weight_kg": "70", "height_cm": "175", "sex": "M"}
    assert sidecar_factor(SIDECAR, person=person, suv="lbm") == pytest.approx(55857.1 / 175e6, rel=1e-4)
    assert sidecar_factor(SIDECAR, person=person, suv="bsa") == pytest.approx(18481.0 / 175e6, rel=1e-4)
    assert sidecar_factor({"Units": "SUV"}, person=person, suv="lbm") == pytest.approx(0.797959, rel=1e-4)
    with pytest.raises(InputError, match="height .* is missing"):
        sidecar_factor(SIDECAR, person={"weight_kg": "70"}, suv="bsa")
    with pytest.raises(InputError, match="1.75 cm. Must be 40 to 250"):
        sidecar_factor(SIDECAR, person=person | {"height_cm": "1.75"}, suv="bsa")
    with pytest.raises(InputError, match="sex in participants.tsv is ''"):
        sidecar_factor(SIDECAR, person=person | {"sex": ""}, suv="lbm")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"InjectionStart": 0}, "are all 0: a scan that begins with its injection"),
        ({"InjectionStart": None}, "InjectionStart is missing"),
        ({"ImageDecayCorrected": False}, "not corrected for decay"),
        ({"AttenuationCorrection": "none"}, "AttenuationCorrection is missing or none"),
        ({"Units": "counts"}, "Units is 'counts'"),
        ({"InjectedRadioactivity": None}, "InjectedRadioactivity is missing"),
        ({"InjectedRadioactivityUnits": "MB"}, "InjectedRadioactivityUnits is 'mb'"),
        ({"TracerRadionuclide": "X9"}, "RadionuclideHalfLife"),
        ({"RadionuclideHalfLife": 109.77}, "is it in minutes"),
        ({"InjectedRadioactivity": 350e6}, "Must be 0.1 to 50,000 MBq: is it in another unit"),
    ],
)
def test_a_sidecar_that_cannot_become_suv_names_its_key(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        sidecar_factor(SIDECAR | change, person={"weight_kg": "70"})
    with pytest.raises(InputError, match="the body weight is missing"):
        sidecar_factor(SIDECAR)


def test_bids_leaves_out_the_pet_that_cannot_become_suv_and_keeps_the_ct(tmp_path):
    bids(tmp_path / "bids", SIDECAR | {"InjectionStart": 0})
    plan = plan_import("bids", tmp_path / "bids")
    assert [r.modality for r in plan.rows] == ["CT"]
    assert any("begins with its injection" in why for _, why in plan.left_out)


@pytest.mark.parametrize("kind", ["bids", "nnunet", "masks", "pattern"])
def test_folders_of_ones_own_are_imported_checked_and_scored(tmp_path, capsys, kind):
    source, more = tmp_path / "source", []
    if kind == "bids":  # as Vienna's test and retest
        bids(source, sessions=("test", "retest"))
    elif kind == "nnunet":
        nnunet(
            source,
            {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "spleen": 1, "liver": 2}},
        )
    elif kind == "masks":
        for name, grid in (("ct", CT_GRID), ("pet", PET_GRID)):
            phantom.write_image(source / f"p1/{name}.nii.gz", grid, name.upper())
        phantom.write_mask(source / "p1/seg/liver.nii.gz", CT_GRID, phantom.organs(CT_GRID)["liver"])
    else:
        pair(source / "p1")
        more = ["--image", PATTERN["image"], "--reference", PATTERN["reference"]]
    status, out, err = run(capsys, "import", kind, source, tmp_path / "dest", *more)
    assert status == 0, err
    status, out, _ = run(capsys, "check", tmp_path / "dest/manifest.tsv", "--inside", tmp_path)
    assert status == 0, out
    words = ["score", tmp_path / "dest/manifest.tsv", "--segmenters", "threshold", "--prompts", "centre"]
    status, _, err = run(capsys, *words, "--out", tmp_path / "run")
    assert status == 0, err
    assert (tmp_path / "run/scores.parquet").is_file()
    status, out, _ = run(
        capsys, "check", tmp_path / "dest/manifest.tsv", "--inside", tmp_path / "dest/nowhere"
    )
    assert status == 1 and "lies outside" in out


# names


def test_a_users_table_goes_over_the_shipped_one(tmp_path):
    (tmp_path / "n.tsv").write_text(
        "scheme\tfile\tvalue\tname\tstructure\n*\t*\t*\tblob\tprostate\ntotalsegmentator\t*\t22\tprostate\tprostate\n"
        "totalsegmentator\t*\t5\tliver\t-\n"
    )
    names = read_names(tmp_path / "n.tsv")
    assert names.of_name("Blob") == "prostate"
    assert (
        names.of_values("totalsegmentator")[22] == "prostate" and names.of_values("totalsegmentator")[5] == ""
    )
    assert any("liver is left out, was liver" in n for n in names.notes)
    (tmp_path / "n.tsv").write_text("value\tname\tstructure\n*\tblob\tprostate\n*\tblob\tliver\n")
    with pytest.raises(InputError, match="two meanings: 'prostate' on line 2 and 'liver' on line 3"):
        read_names(tmp_path / "n.tsv")
    with pytest.raises(InputError, match="No label names of 'x'"):
        names.of_values("x")


def test_unknown_values_and_overlaps_are_told(tmp_path):
    source = tmp_path / "d/train_0001/FDG"
    phantom.write_image(source / "CT.nii.gz", CT_GRID, "CT")
    phantom.write_image(source / "PET.nii.gz", PET_GRID, "PET")
    phantom.write_labels(source / "totseg_24.nii.gz", CT_GRID, {"liver": 5, "spleen": 1, "heart": 200})
    plan = plan_import("deep-psma", tmp_path / "d")
    carry_out(plan, tmp_path / "dest")
    assert any("value 200 of totseg_24.nii.gz" in n and "has no known name" in n for n in plan.notes)
    mask = phantom.organs(CT_GRID)["liver"]
    phantom.write_image(tmp_path / "m/a/ct.nii.gz", CT_GRID, "CT")
    phantom.write_mask(tmp_path / "m/a/seg/liver.nii.gz", CT_GRID, mask)
    phantom.write_mask(tmp_path / "m/a/seg/spleen.nii.gz", CT_GRID, mask)
    plan = plan_import("masks", tmp_path / "m")
    carry_out(plan, tmp_path / "dest2")
    assert any(f"{mask.sum()} voxels belong to two structures" in n for n in plan.notes)


# privacy


def test_texts_and_extensions_of_headers_are_scrubbed(tmp_path):
    pair(tmp_path / "source/sub-001")
    path = tmp_path / "source/sub-001/CT.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.get_fdata(dtype=np.float32))
    image.header["descrip"] = b"DOE^JANE 19610203"
    image.header["db_name"] = b"ward 7"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
    assert set(header_texts(path)) == {"descrip", "db_name", "extension"}
    plan = plan_pattern(tmp_path / "source", **PATTERN)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "dest"))
    ct, pet = (c.image for c in found.cases)
    assert ct.parent.name == "images" and pet.parent.name == "sub-001"  # the clean one is used where it lies
    assert header_texts(ct) == {}
    raw = gzip.decompress(ct.read_bytes())
    assert b"DOE" not in raw and b"Jane" not in raw and b"ward" not in raw
    np.testing.assert_array_equal(found.cases[0].read_image().data, data)


def test_ids_are_mapped_through_a_table_that_stays_outside(tmp_path, capsys):
    for name in ("Doe_Jane", "Roe_Rick"):
        pair(tmp_path / f"source/{name}")
    words = [
        "import",
        "pattern",
        tmp_path / "source",
        tmp_path / "dest",
        "--ids",
        tmp_path / "who.tsv",
        "--copy",
    ]
    words += ["--image", PATTERN["image"], "--reference", PATTERN["reference"]]
    status, out, err = run(capsys, *words)
    assert status == 0 and "keep it to yourself" in out, err
    found = cohort.read_cohort(tmp_path / "dest/manifest.tsv")
    assert found.subjects() == ["sub-001", "sub-002"]
    assert read_ids(tmp_path / "who.tsv").known == {"Doe_Jane": "sub-001", "Roe_Rick": "sub-002"}
    inside = [p for p in (tmp_path / "dest").rglob("*") if "Doe" in p.name]
    assert not inside and "Doe" not in found.table["image"].str.cat()
    (tmp_path / "who.tsv").write_text("source\tsubject\nDoe_Jane\tx\nRoe_Rick\tx\n")
    with pytest.raises(InputError, match="'x' occurs twice"):
        read_ids(tmp_path / "who.tsv")


def test_a_head_in_view_is_warned_of(tmp_path):
    made = phantom.image(CT_GRID, "CT")
    assert not head_in_view(made)  # no skull
    affine, shape = CT_GRID
    z = affine[2, 3] + 8 * np.arange(shape[2])
    body = made.data > -300
    ring = body & ~phantom.organs(CT_GRID)["brain"] & (z > 410)
    data = np.where(ring, 900, made.data).astype(np.float32)
    assert head_in_view(type(made)(data, affine, "HU"))
    assert not head_in_view(type(made)(data, affine, "SUV"))


# the command


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path, capsys):
    pair(tmp_path / "source/sub-001")
    before = sorted(tmp_path.rglob("*"))
    words = [
        "import",
        "pattern",
        tmp_path / "source",
        tmp_path / "dest",
        "--dry-run",
        "--image",
        PATTERN["image"],
    ]
    status, out, _ = run(capsys, *words)
    assert status == 0 and sorted(tmp_path.rglob("*")) == before
    assert "1 subjects, 2 images" in out and "without a reference" in out and "Nothing was written" in out
    assert "matches neither pattern" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dicon", "{s}", "{d}"], "Did you mean 'dicom'?"),
        (["dicom", "{s}/none", "{d}"], "does not exist"),
        (["dicom", "{s}", "{d}"], "No series in"),
        (["pattern", "{s}", "{d}"], "Kind pattern needs --image"),
        (["pattern", "{s}", "{d}", "--image", "{{subject}}", "--modality", "CT"], "Write NAME=CT"),
        (["deep-psma", "{s}", "{d}", "--target", "organ"], "Did you mean 'organs'?"),
        (["nnunet", "{s}", "{d}"], "raw layout has one"),
        (["bids", "{s}", "{d}", "--suv", "lean"], "Unknown SUV 'lean'"),
    ],
)
def test_mistakes_end_with_one_sentence(tmp_path, capsys, words, said):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").write_text("not an image")
    filled = [w.format(s=tmp_path / "s", d=tmp_path / "d") for w in words]
    status, _, err = run(capsys, "import", *filled)
    assert status == 2 and said in err and "Traceback" not in err


def test_every_kind_is_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    out = capsys.readouterr().out
    assert all(kind in out for kind in KINDS)
