"""The score table: typed, unique, stamped; nothing invented."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores import table as scores


def table(**changes):
    rows = [
        {
            "subject": f"sub-{n:03d}",
            "session": "petct",
            "modality": m,
            "structure": "liver",
            "segmenter": "threshold",
            "prompt": "centre",
            "step": 0,
            "seed": 0,
            "dice": 0.5,
            "surface_dice_1mm": 0.4,
            "status": "ok",
            "reason": "",
        }
        for n in (1, 2)
        for m in ("CT", "PET")
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_round_trip_keeps_rows_and_stamp(tmp_path):
    path = tmp_path / "scores.parquet"
    scores.write_scores(path, table(), stamp={"cohort": "mine"})
    again = scores.read_scores(path)
    pd.testing.assert_frame_equal(again, scores.check_scores(table()), check_dtype=False)
    assert again.attrs["stamp"] == {"schema": scores.SCHEMA_VERSION, "cohort": "mine"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subject": "sub-001"}, "occurs twice"),
        ({"dice": 1.2}, r"Must lie in \[0, 1\]"),
        ({"dice": -1.0}, r"Must lie in \[0, 1\]"),
        ({"surface_dice_1mm": -1.0}, r"Must lie in \[0, 1\]"),
        ({"status": "fine"}, "Unknown status"),
        ({"status": "failed"}, "failed and yet has a Dice"),
    ],
)
def test_impossible_table_is_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        scores.write_scores(tmp_path / "scores.parquet", table(**changes))
    assert not list(tmp_path.iterdir())


def test_missing_column_is_named():
    with pytest.raises(InputError, match="Column 'seed' is missing"):
        scores.check_scores(table().drop(columns="seed"))


def test_missing_pair_is_listed_by_name():
    rows = table().iloc[:3]
    assert scores.missing_pairs(rows) == [
        "sub-002 petct liver threshold centre step 0 seed 0: PET is missing"
    ]
    assert scores.missing_pairs(table()) == []


def test_combining_tables_of_two_cohorts_is_refused(tmp_path):
    first, second = table().iloc[:2], table().iloc[2:]
    for name, rows, cohort in (("a", first, "x"), ("b", second, "y")):
        scores.write_scores(tmp_path / name, rows, stamp={"cohort_hash": cohort})
    with pytest.raises(InputError, match="come from 2 cohorts"):
        scores.combine([tmp_path / "a", tmp_path / "b"])


def test_combined_stamp_names_all_segmenters(tmp_path):
    for name in ("a", "b"):
        scores.write_scores(
            tmp_path / name, table(segmenter=name), stamp={"segmenters": {name: {"version": "1"}}}
        )
    stamp = scores.combine([tmp_path / "a", tmp_path / "b"]).attrs["stamp"]
    assert sorted(stamp["segmenters"]) == ["a", "b"]


def test_foreign_file_and_other_schema_are_refused(tmp_path):
    (tmp_path / "text").write_text("no table")
    with pytest.raises(InputError, match="is not a Parquet table"):
        scores.read_scores(tmp_path / "text")
    table().to_parquet(tmp_path / "plain")
    with pytest.raises(InputError, match="has schema version None"):
        scores.read_scores(tmp_path / "plain")


def test_undefined_stays_nan(tmp_path):
    rows = table(dice=np.nan, surface_dice_1mm=np.nan, status="both_empty")
    scores.write_scores(tmp_path / "t", rows)
    assert scores.read_scores(tmp_path / "t")["dice"].isna().all()


def test_nothing_to_combine_is_an_error():
    with pytest.raises(InputError, match="No score table to combine"):
        scores.combine([])
