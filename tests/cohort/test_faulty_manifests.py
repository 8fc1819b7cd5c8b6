"""Manifests with faults: all rows are named, the others are read; names from an allow-list."""

import pytest

from umdlib.cohort.manifest import read_cohort, read_sound_rows
from umdlib.errors import InputError


def test_all_rows_with_a_fault_are_named_with_their_lines_and_the_others_are_read(make_cohort):
    manifest = make_cohort(3)
    text = manifest.read_text().replace("sub-001_CT.nii", "gone.nii").replace("sub-002_PET_d", "gone_d")
    manifest.write_text(text.replace("\n", "\n\n", 1))
    with pytest.raises(InputError, match="line 3 does not exist: .*gone") as error:
        read_cohort(manifest)
    assert "line 6 does not exist" in str(error.value)
    cohort, faults = read_sound_rows(manifest)
    assert [(f.line, f.subject, f.modality) for f in faults] == [(3, "sub-001", "CT"), (6, "sub-002", "PET")]
    assert [c.name for c in cohort.cases] == [
        "sub-001_petct_PET",
        "sub-002_petct_CT",
        "sub-003_petct_CT",
        "sub-003_petct_PET",
    ]
    assert cohort.table["subject"].tolist() == [c.subject for c in cohort.cases]


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        "=cmd|'_C'!A0",
        "[a](javascript:alert(1))",
        "../up",
        "-rf",
        "+1",
        "@SUM(1)",
        ".hidden",
        "a" * 65,
        "a b",
        "a`b`",
        "$x$",
        "{html}",
        "a\u202eb",
    ],
)
def test_a_subject_is_named_by_letters_digits_and_few_marks(make_cohort, name):
    manifest = make_cohort(1)
    manifest.write_text(manifest.read_text().replace("sub-001\t", f"{name}\t"), encoding="utf-8")
    with pytest.raises(InputError, match=r"Invalid subject .* line 2"):
        read_cohort(manifest)


@pytest.mark.parametrize("name", ["STS_001", "süb-1", "PETCT_0af.3+x", "7"])
def test_usual_names_of_subjects_are_read(make_cohort, name):
    manifest = make_cohort(1)
    manifest.write_text(manifest.read_text().replace("sub-001\t", f"{name}\t"), encoding="utf-8")
    assert read_cohort(manifest).subjects() == [name]


def test_subjects_that_differ_only_in_capitals_are_refused(make_cohort):
    manifest = make_cohort(2)
    manifest.write_text(manifest.read_text().replace("sub-002\t", "SUB-001\t"))
    with pytest.raises(InputError, match="'sub-001' and 'SUB-001' .* line 4 differ only in capitals"):
        read_cohort(manifest)


def test_structures_are_named_as_bids_allows_it(make_cohort):
    manifest = make_cohort(1)
    (manifest.parent / "dseg.tsv").write_text(
        "index\tname\tabbreviation\tcolor\n"
        "0\tBackground\tn/a\tn/a\n1.0\tball, left/right\tn/a\tn/a\n4\trod\tRo\t#00ff00\n"
    )
    first, second = read_cohort(manifest).structures
    assert (first.value, first.name, first.title) == (1, "ball_left_right", "Ball, left/right")
    assert (first.short, second.short, second.colour) == ("Ba", "Ro", "#00ff00")


@pytest.mark.parametrize("short", ["<i onclick=alert(1)>L</i>", "$x^2", "=1+1"])
def test_abbreviations_are_checked(make_cohort, short):
    manifest = make_cohort(1)
    (manifest.parent / "dseg.tsv").write_text(f"index\tname\tabbreviation\n1\tball\t{short}\n4\trod\tRo\n")
    with pytest.raises(InputError, match="Invalid abbreviation"):
        read_cohort(manifest)


def test_a_manifest_as_windows_and_spreadsheets_write_it_is_read(make_cohort):
    manifest = make_cohort(1)
    folder = manifest.parent / "images"
    folder.mkdir()
    for file in manifest.parent.glob("*.nii.gz"):
        file.rename(folder / file.name)
    head, *rows = manifest.read_text().splitlines()
    rows = [row.replace("sub-001_", "images\\sub-001_").replace("sub-001\t", "007\t") for row in rows]
    manifest.write_bytes("\r\n".join([head.title(), *rows, ""]).encode("utf-8-sig"))
    assert read_cohort(manifest).subjects() == ["007"]
    manifest.write_bytes(b"PK\x03\x04\x14\x00\x06\x00")
    with pytest.raises(InputError, match="is an Excel workbook"):
        read_cohort(manifest)
