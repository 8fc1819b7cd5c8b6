"""Ceilings beside scores: what a table of them must hold, and means over subjects by hand."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.statistics import beside_ceilings, read_ceilings, structure_ceilings

HEAD = "subject\tsession\tmodality\tstructure\tkind\tsize_mm\tceiling\treason\n"


@pytest.fixture
def written(tmp_path):
    def write(*lines):
        path = tmp_path / "ceilings.tsv"
        path.write_text(HEAD + "".join("\t".join(line) + "\n" for line in lines))
        return path

    return write


def line(subject="s1", kind="grid", size="n/a", ceiling="0.9", structure="liver"):
    return (subject, "petct", "PET", structure, kind, size, ceiling, "n/a" if ceiling != "n/a" else "empty")


def test_what_no_ceiling_can_be_is_refused_with_its_line(written):
    with pytest.raises(InputError) as error:
        read_ceilings(path := written(line(kind="shft")))
    assert str(error.value).startswith(f"Unknown kind of ceiling in {path} 'shft'. Did you mean 'shift'?")
    with pytest.raises(InputError) as error:
        read_ceilings(written(line(), line(ceiling="high")))
    assert str(error.value) == f"Line 3 of {path}: ceiling is 'high', not a number."
    with pytest.raises(InputError) as error:
        read_ceilings(written(line(size="2 mm")))
    assert str(error.value) == f"Line 2 of {path}: size_mm is '2 mm', not a number."
    with pytest.raises(InputError) as error:
        read_ceilings(written(line(ceiling="1.01")))
    assert str(error.value) == f"Line 2 of {path}: a ceiling of 1.01. Must lie in [0, 1]."
    assert read_ceilings(written(line(ceiling="1"), line(ceiling="0")))["ceiling"].tolist() == [1, 0]


def test_a_ceiling_that_is_not_there_keeps_its_reason_and_moves_no_mean(written):
    table = read_ceilings(
        written(
            line(ceiling="0.8"), line("s2"), line("s3", ceiling="n/a"), line(kind="grid, best", ceiling="1")
        )
    )
    assert table["reason"].tolist() == ["", "", "empty", ""]
    found = structure_ceilings(table).set_index("kind")
    assert found.loc["grid", "ceiling"] == pytest.approx(0.85) and found.loc["grid", "n_subjects"] == 2
    assert found["bound"].to_dict() == {"grid": False, "grid, best": True}


def test_sizes_of_one_kind_are_rows_of_their_own(written):
    table = read_ceilings(
        written(*(line(kind="shift", size=s, ceiling=c) for s, c in (("5", "0.9"), ("10", "0.7"))))
    )
    assert structure_ceilings(table)[["size_mm", "ceiling"]].to_numpy().tolist() == [[5, 0.9], [10, 0.7]]


def test_a_score_stands_beside_the_ceiling_of_the_same_rows():
    rows = [
        {"subject": s, "session": "petct", "segmenter": "a", "prompt": "centre", "step": 0, "modality": "PET"}
        | {"structure": n, "dice": d, "ceiling": c}
        for s, n, d, c in (
            ("s1", "liver", 0.4, 0.8),
            ("s1", "lung", 0.6, 1.0),
            ("s2", "liver", 0.9, 0.9),
            ("s2", "lung", np.nan, 0.1),  # without a score its ceiling says nothing about one
        )
    ]
    (found,) = beside_ceilings(pd.DataFrame(rows)).to_dict("records")
    assert (found["dice"], found["ceiling"]) == (
        pytest.approx((0.5 + 0.9) / 2),
        pytest.approx((0.9 + 0.9) / 2),
    )
    assert found["n_subjects"] == 2
    assert beside_ceilings(pd.DataFrame(rows).drop(columns="ceiling")).empty
