"""The manifest: what is read, and every fault by name."""

import gzip

import numpy as np
import pytest

from umdlib import cohort
from umdlib.cohort.subset import write_subset
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume


def edited(manifest, old, new, count=1):
    manifest.write_text(manifest.read_text().replace(old, new, count))
    return manifest


def test_cohort_knows_subjects_pairs_and_structures(make_cohort):
    found = cohort.read_cohort(make_cohort(3))
    assert found.subjects() == ["sub-001", "sub-002", "sub-003"]
    assert [(a.modality, b.modality) for a, b in found.pairs("petct")] == [("CT", "PET")] * 3
    assert [(s.value, s.name) for s in found.structures] == [(1, "ball"), (4, "rod")]
    assert cohort.check_cohort(found)["fault"].tolist() == [""] * 6


def test_unpaired_subject_is_counted_and_named(make_cohort):
    manifest = make_cohort(2)
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:-1]))
    table = cohort.inclusion_table(cohort.read_cohort(manifest))
    assert table.loc[0, ["n_subjects", "n_pairs", "unpaired"]].tolist() == [2, 1, "sub-002"]


def test_hash_is_of_content_not_of_place(make_cohort, tmp_path):
    one = cohort.read_cohort(make_cohort(1, tmp_path / "one"))
    two = cohort.read_cohort(make_cohort(1, tmp_path / "two"))
    assert one.hash() == two.hash()
    volume = two.cases[0].read_image()
    write_volume(two.cases[0].image, Volume(volume.data + 1, volume.affine, "HU"))
    assert one.hash() != two.hash()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("subject\t", "patient\t", "Column 'subject' is missing in"),
        ("sub-001_CT.nii.gz", "sub-009_CT.nii.gz", "line 2 does not exist"),
        ("petct\tCT", "petctt\tCT", "Did you mean 'petct'?"),
        ("petct\tCT", "petmr\tCT", "This session holds MR and PET"),
        ("SUV", "Bq/ml", "Must be SUV: convert the activity first."),
        ("sub-002\tpetct\tCT", "sub-001\tpetct\tCT", "occurs twice in"),
        ("\tHU", "", "has 5 fields. The header has 6."),
        ("sub-001\t", "\t", "Empty subject in"),
    ],
)
def test_fault_in_manifest_is_named(make_cohort, old, new, said):
    manifest = edited(make_cohort(2), old, new)
    with pytest.raises(InputError, match=".") as fault:
        cohort.read_cohort(manifest)
    assert said in str(fault.value)
    assert str(manifest) in str(fault.value) or "manifest" in str(fault.value)


@pytest.mark.parametrize("mark", [",", ";", " "])
def test_manifest_that_is_not_tab_separated_is_refused(make_cohort, mark):
    manifest = make_cohort(1)
    manifest.write_text(manifest.read_text().replace("\t", mark))
    with pytest.raises(InputError, match="is not tab-separated"):
        cohort.read_cohort(manifest)


def test_a_manifest_from_elsewhere_is_kept_in_its_folder(make_cohort, tmp_path):
    manifest = make_cohort(1)
    assert len(cohort.read_cohort(manifest, inside=manifest.parent).cases) == 2
    outside = tmp_path / "outside.nii.gz"
    outside.write_bytes((manifest.parent / "sub-001_CT.nii.gz").read_bytes())
    edited(manifest, "sub-001_CT.nii.gz", "../outside.nii.gz")
    assert len(cohort.read_cohort(manifest).cases) == 2
    with pytest.raises(InputError, match="lies outside"):
        cohort.read_cohort(manifest, inside=manifest.parent)


def test_a_case_without_a_reference(make_cohort):
    manifest = edited(make_cohort(1), "sub-001_CT_dseg.nii.gz", "n/a")
    found = cohort.read_cohort(manifest)
    assert found.cases[0].reference is None
    assert found.hash() != cohort.read_cohort(edited(manifest, "n/a", "sub-001_CT_dseg.nii.gz")).hash()
    with pytest.raises(InputError, match="sub-001_petct_CT has no reference"):
        found.cases[0].read_reference()


def test_two_sessions_of_one_kind_and_columns_for_subgroups(make_cohort):
    manifest = make_cohort(1)
    header, *lines = manifest.read_text().splitlines()
    rows = [f"{header}\ttracer\tage\tsex\tweight_kg"]
    rows += [f"{line.replace('petct', 'petct-fdg')}\tFDG\t61\tfemale\t70.5" for line in lines]
    rows += [f"{line.replace('petct', 'petct-psma')}\tPSMA\tn/a\tF\t" for line in lines]
    manifest.write_text("\n".join(rows))
    found = cohort.read_cohort(manifest)
    assert found.sessions() == ["petct-fdg", "petct-psma"]
    assert len(found.pairs()) == 2 and len(found.pairs("petct-psma")) == 1
    assert found.table["sex"].tolist() == ["F"] * 4 and found.table["age"].tolist() == ["61", "61", "", ""]
    for old, new, said in (("\t61\t", "\t610\t", "from 0 to 120"), ("female", "woman", "F, M, O or n/a")):
        with pytest.raises(InputError, match=said):
            cohort.read_cohort(edited(manifest, old, new))
        edited(manifest, new, old)


def test_structures_as_bids_and_nnunet_name_them(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "spleen": 1, "ignore": 3}}')
    found, guessed = cohort.read_structures(tmp_path)
    assert ([(s.value, s.name) for s in found], guessed) == ([(1, "spleen")], False)
    (tmp_path / "dseg.tsv").write_text(
        "index\tname\tabbreviation\tcolor\n0\tBackground\tn/a\tn/a\n"
        "1.0\tCortex, left/right\tn/a\t#ff0000\n2\tliver\tLv\tn/a\n"
    )
    found, guessed = cohort.read_structures(tmp_path)
    assert [(s.value, s.name, s.title) for s in found] == [
        (1, "Cortex_left_right", "Cortex, left/right"),
        (2, "liver", "Liver"),
    ]
    assert (found[0].colour, found[1].short, found[1].colour) == ("#ff0000", "Lv", "#b5543a")
    assert cohort.read_structures(tmp_path / "nothing_here")[1]


def test_a_written_manifest_is_the_one_that_was_read(make_cohort, tmp_path):
    manifest = edited(make_cohort(2), "sub-001_CT_dseg.nii.gz", "n/a")
    table = cohort.read_cohort(manifest).table
    again = cohort.write_manifest(manifest.with_name("again.tsv"), table.to_dict("records"))
    assert cohort.read_cohort(again).table.equals(table)


def test_manifest_in_latin_1_is_refused(make_cohort):
    manifest = make_cohort(1)
    manifest.write_bytes(manifest.read_bytes().replace(b"sub-001", "süb-001".encode("latin-1")))
    with pytest.raises(InputError, match="is not UTF-8: byte .* is 0xfc"):
        cohort.read_cohort(manifest)


def test_missing_and_empty_manifest(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        cohort.read_cohort(tmp_path / "manifest.tsv")
    (tmp_path / "manifest.tsv").write_text("")
    with pytest.raises(InputError, match="is empty"):
        cohort.read_cohort(tmp_path / "manifest.tsv")


def _ruin(case, how):
    image, labels = case.read_image(), case.read_reference()
    data = image.data.copy()
    if how == "nan":
        data[3, 4, 5] = np.nan
        write_volume(case.image, Volume(data, image.affine, "HU"))
    elif how == "zero":
        write_volume(case.image, Volume(np.zeros_like(data), image.affine, "HU"))
    elif how == "4d":
        write_volume(case.image, Volume(np.stack([data, data], -1), image.affine, "HU"))
    elif how == "2d":
        write_volume(case.image, Volume(data[:, :, :1], image.affine, "HU"))
    elif how == "rgb":
        colour = np.zeros(data.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
        write_volume(case.image, Volume(colour, image.affine, "HU"))
    elif how == "truncated":
        case.image.write_bytes(case.image.read_bytes()[:-2000])
    elif how == "half_header":
        case.image.write_bytes(gzip.compress(gzip.decompress(case.image.read_bytes())[:200]))
    elif how == "text":
        case.image.write_text("not an image")
    elif how == "grid":
        write_label_map(case.reference, LabelMap(labels.data[:-1], labels.affine))
    elif how == "moved":
        moved = labels.affine.copy()
        moved[0, 3] += 0.5
        write_label_map(case.reference, LabelMap(labels.data, moved))
    elif how == "float":
        write_volume(case.reference, Volume(labels.data * np.float32(0.9999), labels.affine))
    elif how == "value":
        write_label_map(case.reference, LabelMap(labels.data * 3, labels.affine))
    elif how == "empty":
        write_label_map(case.reference, LabelMap(labels.data * 0, labels.affine))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("nan", "1 voxels of"),
        ("zero", "Every voxel of"),
        ("4d", "A volume has three axes"),
        ("2d", "A volume has three axes"),
        ("rgb", "holds colours (RGB)"),
        ("truncated", "is truncated"),
        ("half_header", "is truncated"),
        ("text", "is not a NIfTI file"),
        ("grid", "shape (60, 50, 28) against (59, 50, 28)"),
        ("moved", "a corner lies 0.25 voxels (0.5 mm) apart"),
        ("float", "is not a whole number"),
        ("value", "Label value 3 in"),
        ("empty", "holds no structure"),
    ],
)
def test_fault_in_a_file_is_named_and_the_others_are_still_read(make_cohort, how, said):
    found = cohort.read_cohort(make_cohort(2))
    _ruin(found.cases[0], how)
    report = cohort.check_cohort(found)
    assert said in report["fault"].iloc[0]
    assert "sub-001_CT" in report["fault"].iloc[0]
    if how == "empty":  # then the pair shares no structure, which is said of its other image
        assert "share no structure" in report["fault"].iloc[1]
        report = report.drop(index=report.index[1])
    assert (report["fault"].iloc[1:] == "").all()


def test_float_label_map_of_whole_numbers_is_read(make_cohort):
    case = cohort.read_cohort(make_cohort(1)).cases[0]
    labels = case.read_reference()
    write_volume(case.reference, Volume(labels.data.astype(np.float32), labels.affine))
    again = case.read_reference()
    assert again.data.dtype == np.uint8
    assert np.array_equal(again.data, labels.data)


def test_a_subset_keeps_what_is_named_and_leaves_the_images_where_they_are(make_cohort, tmp_path):
    whole = cohort.read_cohort(make_cohort(3))
    kept = [whole.structures[0].name]
    part = cohort.read_cohort(write_subset(whole, tmp_path / "part", subjects=["sub-002"], structures=kept))
    assert [s.name for s in part.structures] == kept
    originals = [c for c in whole.cases if c.subject == "sub-002"]
    assert [c.image.resolve() for c in part.cases] == [c.image.resolve() for c in originals]
    value = whole.structures[0].value
    for case, original in zip(part.cases, originals, strict=True):
        before = original.read_reference().data
        np.testing.assert_array_equal(case.read_reference().data, np.where(before == value, value, 0))
    for wrong, said in (
        ({"subjects": ["sub-9"]}, "sub-9"),
        ({"structures": ["bal"]}, "'ball'"),
        ({"session": "petmr", "subjects": ["sub-001"]}, "Nothing of"),
    ):
        with pytest.raises(InputError, match=said):
            write_subset(whole, tmp_path / "wrong", **wrong)


@pytest.mark.parametrize(
    ("line", "message"),
    [('moved "a bit', None), ('"moved', "Line 4 of .* quotation mark"), ('"a" b', "quotation mark")],
)
def test_a_quotation_mark_takes_no_line_away(make_cohort, line, message):
    manifest = make_cohort(2)
    lines = manifest.read_text().splitlines()
    notes = ["note", "", line, *[""] * (len(lines) - 3)]
    text = [f"{a}\t{b}" for a, b in zip(lines, notes, strict=True)]
    manifest.write_text("\n".join([text[0], "", *text[1:]]) + "\n")  # a blank line counts
    if message is None:
        assert len(cohort.read_cohort(manifest).cases) == 4
        return
    with pytest.raises(InputError, match=message):
        cohort.read_cohort(manifest)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ball", "../ball", "Invalid structure name"),
        ("ball", " ", "Invalid structure name"),
        ("#", "red", "Invalid colour"),
    ],
)
def test_names_and_colours_of_structures_are_checked(make_cohort, old, new, message):
    table = make_cohort(1).parent / "dseg.tsv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        cohort.read_cohort(table.with_name("manifest.tsv"))


@pytest.mark.parametrize(
    ("modality", "change", "message"),
    [("PET", lambda d: d * 5000, "is it activity"), ("CT", lambda d: d + 1024, "is an offset still")],
)
def test_images_of_another_unit_than_the_manifest_says_are_faults(make_cohort, modality, change, message):
    manifest = make_cohort(1)
    case = next(c for c in cohort.read_cohort(manifest).cases if c.modality == modality)
    image = case.read_image()
    write_volume(case.image, Volume(change(image.data), image.affine, image.unit))
    report = cohort.check_cohort(cohort.read_cohort(manifest)).set_index("modality")["fault"]
    assert message in report[modality]
    assert report.drop(modality).eq("").all()


def test_a_manifest_without_rows_is_refused_and_rows_without_columns_are_not_written(make_cohort, tmp_path):
    manifest = make_cohort(1)
    manifest.write_text(manifest.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(InputError, match="No case in .*At least one row"):
        cohort.read_cohort(manifest)
    with pytest.raises(InputError, match="rows lack session, modality"):
        cohort.write_manifest(tmp_path / "m.tsv", [{"subject": "sub-001", "image": "a.nii.gz", "unit": "HU"}])
    assert not (tmp_path / "m.tsv").exists()
