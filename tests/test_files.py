"""Tables as spreadsheets save them, names in both Unicode forms, and what cannot be read."""

import os
import unicodedata
from contextlib import suppress

import pandas as pd
import pytest

from umdlib import files
from umdlib.errors import InputError

ROWS = [["subject", "note"], ["sub-001", "a"], ["sub-002", "n/a"]]
TEXT = "\n".join("\t".join(row) for row in ROWS) + "\n"


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        TEXT.replace("\ta\n", '\t"a"\n').encode(),
        TEXT.replace("\n", "\t\t\n").encode(),
        (TEXT + "\t\n\n").encode(),
    ],
    ids=["plain", "bom_crlf", "cr_only", "utf_16", "quoted", "empty_columns", "blank_rows"],
)
def test_a_table_is_read_as_any_spreadsheet_saves_it(tmp_path, raw):
    (tmp_path / "t.tsv").write_bytes(raw)
    table = files.read_tsv(tmp_path / "t.tsv", ["subject"])
    assert [table.columns.tolist(), *table.to_numpy().tolist()] == ROWS


def test_the_index_of_a_table_is_the_line_in_the_file(tmp_path):
    (tmp_path / "t.tsv").write_text("subject\tnote\n\n\nsub-001\ta\n\nsub-002\tb\n")
    assert files.read_tsv(tmp_path / "t.tsv").index.tolist() == [4, 6]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"subject,note\nsub-001,a\n", "not tab-separated.*save it as"),
        (b"subject\tnote\nsub-001\t\x00a\n", r"Line 2 .* control character '\\x00'"),
        (b"subject\tnote\tnote\na\tb\tc\n", "Column 'note' .* twice"),
        (b"subject\tnote\n\nsub-001\n", "Line 3 .* has 1 fields. The header has 2"),
        (b"\n\n", "is empty"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path, raw, said):
    (tmp_path / "t.tsv").write_bytes(raw)
    with pytest.raises(InputError, match=said):
        files.read_tsv(tmp_path / "t.tsv")


def test_a_table_that_is_a_folder_or_absent_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        files.read_tsv(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        files.read_tsv(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="Cannot read .*none"):
        files.file_hash(tmp_path / "none")


@pytest.mark.parametrize(("on_disk", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_both_unicode_forms(tmp_path, on_disk, asked):
    path = tmp_path / unicodedata.normalize(on_disk, "müller.nii")
    path.touch()
    assert files.existing(tmp_path / unicodedata.normalize(asked, "müller.nii")) == path


@pytest.mark.parametrize(("name", "said"), [("x" * 300, "too long"), ("a\0b", "null")])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        files.existing(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_closed_folder_is_named(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            files.existing(tmp_path / "closed" / "t.tsv")
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_table_is_written_without_tabs_in_its_cells_and_read_back(tmp_path):
    table = pd.DataFrame({"a": ["x\ty\nz", "", None], "b": [1.5, float("nan"), 2.0]})
    path = files.write_tsv(tmp_path / "new" / "t.tsv", table)
    assert path.read_text("utf-8") == "a\tb\nx y z\t1.5\nn/a\tn/a\nn/a\t2.0\n"
    assert files.read_tsv(path)["b"].tolist() == ["1.5", "n/a", "2.0"]


def test_a_file_that_is_half_written_does_not_take_the_place_of_a_whole_one(tmp_path):
    (tmp_path / "a.txt").write_text("whole")
    with suppress(ZeroDivisionError), files.replaced(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write .*File exists|Cannot write .*Not a directory"):
        files.write_tsv(tmp_path / "file" / "t.tsv", pd.DataFrame({"a": [1]}))
