"""The score table: typed, unique, stamped; nothing invented."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.files import write_stamped
from umdlib.scores import table as scores
from umdlib.scores.simulated import score_table
from umdlib.statistics.pairs import condition


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


def test_a_table_is_typed_ordered_and_sorted_whatever_it_came_as():
    given = table(seed=["1", "0", "0", "0"], dice=["0.5", "0.25", "1", "0"], extra="x", rvd=1)
    found = scores.check_scores(given[[*reversed(given.columns)]].iloc[::-1])
    assert list(found)[: len(scores.KEYS) + 1] == [*scores.KEYS, "dice"]
    assert list(found)[-4:] == ["rvd", "status", "reason", "extra"]
    assert found["dice"].tolist() == [0.5, 0.25, 1.0, 0.0] and found["seed"].dtype == "int64"
    assert found["rvd"].dtype == "float64" and found.index.tolist() == [0, 1, 2, 3]


def test_a_row_out_of_range_is_named_with_its_value_and_file(tmp_path):
    rows = table()
    rows.loc[3, "surface_dice_1mm"] = 1.5
    with pytest.raises(InputError) as error:
        scores.write_scores(tmp_path / "t.parquet", rows)
    assert str(error.value) == (
        f"surface_dice_1mm of sub-002 petct PET liver threshold centre 0 0 in {tmp_path / 't.parquet'} is 1.5. "
        "Must lie in [0, 1]."
    )


def test_columns_of_an_older_release_are_read_and_those_it_lacks_are_not_made_up(tmp_path):
    older = table().drop(columns="surface_dice_1mm").assign(old_column=7)
    scores.write_scores(tmp_path / "t", older)
    found = scores.read_scores(tmp_path / "t")
    assert "surface_dice_1mm" not in found and "seconds" not in found and found["old_column"].eq(7).all()


def test_a_missing_and_a_damaged_file_are_refused_with_what_makes_a_new_one(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(
        InputError, match=r"Score table .*t\.parquet does not exist\. `umdlib score` makes one\."
    ):
        scores.read_scores(path)
    scores.write_scores(path, table())
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"t\.parquet is damaged: it is not what was written\. Make it anew\."
    ):
        scores.read_scores(path)
    path.write_bytes(bytes(content[:100]))
    with pytest.raises(InputError):
        scores.read_scores(path)


def test_of_some_subjects_only_their_rows_are_read(tmp_path):
    scores.write_scores(tmp_path / "t", table(), stamp={"a": 1})
    found = scores.read_scores(tmp_path / "t", subjects=["sub-002", "sub-009"])
    assert found["subject"].tolist() == ["sub-002"] * 2 and found.index.tolist() == [0, 1]
    assert found.attrs["stamp"]["a"] == 1
    assert scores.read_scores(tmp_path / "t", subjects=[]).empty


def test_a_partner_of_another_session_is_not_a_pair():
    rows = table(session=["petct", "petct", "petmr", "petct-retest"], modality=["CT", "PET", "MR", "PET"])
    assert scores.missing_pairs(rows) == [
        "sub-002 petct-retest liver threshold centre step 0 seed 0: CT is missing",
        "sub-002 petmr liver threshold centre step 0 seed 0: PET is missing",
    ]
    assert scores.missing_pairs(table(step=1)) == []  # corrective clicks are not asked for


def stamped(rows, **stamp):
    rows.attrs["stamp"] = {"cohort_hash": "x", "segmenters": {"threshold": {}}, **stamp}
    return rows


def test_cases_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "deep" / "scores.parquet"
    scores.add_cases(path, stamped(table().iloc[:2]))
    scores.add_cases(path, stamped(table(dice=0.75).iloc[1:]))
    found = scores.read_scores(path)
    assert found["dice"].tolist() == [0.5, 0.75, 0.75, 0.75]
    lost = stamped(table(dice=np.nan, surface_dice_1mm=np.nan, status="failed").iloc[:1])
    scores.add_cases(path, lost)
    assert scores.read_scores(path)["dice"].tolist() == [
        0.5,
        0.75,
        0.75,
        0.75,
    ]  # a number is not replaced by none
    scores.add_cases(path, stamped(table(dice=0.1).iloc[:1], cohort_hash="y"))
    assert scores.read_scores(path)["dice"].tolist() == [
        0.1
    ]  # of another cohort: the table there is out of date


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write .*file/scores\.parquet: "):
        scores.add_cases(tmp_path / "file" / "scores.parquet", stamped(table()))


def test_stamps_are_merged_and_devices_listed_once(tmp_path):
    for name, device in (("a", "cpu"), ("b", "cuda"), ("c", "cpu")):
        stamp = {"device": device, "cohort": name, "segmenters": {name: {"version": "1"}}}
        scores.write_scores(tmp_path / name, table(segmenter=name), stamp=stamp)
    found = scores.combine([tmp_path / name for name in "abc"])
    assert found.attrs["stamp"]["device"] == "cpu, cuda" and found.attrs["stamp"]["cohort"] == "a"
    assert len(found) == 12
    with pytest.raises(
        InputError, match="sub-001 petct CT liver a centre 0 0 occurs twice in the combined tables"
    ):
        scores.combine([tmp_path / "a", tmp_path / "a"])


def test_a_provenance_holds_versions_machine_and_what_is_added():
    found = scores.provenance(cohort="mine")
    assert found["cohort"] == "mine" and found["packages"]["numpy"] == np.__version__
    assert set(found) == {"umdlib", "commit", "python", "platform", "packages", "cohort"}
    assert [scores._surface_dice_column(t) for t in (1.0, 2.5)] == ["surface_dice_1mm", "surface_dice_2.5mm"]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1], []])
def test_a_file_whose_rows_are_in_any_order_is_read_sorted_with_plain_text(tmp_path, order):
    rows = table(session=["z", "a", "b", "c"], reason=[None, "x", None, ""]).iloc[order]
    write_stamped(tmp_path / "t", rows, b"umdlib", {"schema": scores.SCHEMA_VERSION})
    pd.testing.assert_frame_equal(scores.read_scores(tmp_path / "t"), scores.check_scores(rows))


def test_two_rows_of_a_file_with_one_key_are_refused(tmp_path):
    rows = pd.concat([table(), table().iloc[:1]])
    write_stamped(tmp_path / "t", rows, b"umdlib", {"schema": scores.SCHEMA_VERSION})
    with pytest.raises(InputError, match="sub-001 petct CT liver threshold centre 0 0 occurs twice"):
        scores.read_scores(tmp_path / "t")


def test_the_rows_of_a_number_of_clicks_are_what_the_statistics_choose_from(tmp_path):
    given = score_table(n_subjects=2, structures=["liver"], gap={"a": 0.0, "b": 0.0, "c": 0.0}, steps=(0, 1))
    given.loc[given["segmenter"].eq("b"), "prompt"] = "box"
    given = given[given["segmenter"].ne("b") | given["step"].eq(1)]  # no row without a click
    gone = given["segmenter"].eq("c")
    given.loc[gone, given.columns[given.dtypes.eq(float)]] = np.nan
    given.loc[gone, "status"] = "unavailable"
    scores.write_scores(tmp_path / "t", given)
    first, every = scores.read_scores(tmp_path / "t", step=0), scores.read_scores(tmp_path / "t")
    assert len(every) == 20 and len(first) == 4 + 4 + 8
    pd.testing.assert_frame_equal(
        condition(first).reset_index(drop=True), condition(every).reset_index(drop=True)
    )


@pytest.mark.parametrize("asked", [{}, {"step": 0}, {"subjects": ["sub-001"]}])
def test_a_table_without_a_key_column_is_refused_whatever_rows_are_read(tmp_path, asked):
    for name in ("segmenter", "subject"):
        write_stamped(tmp_path / "t", table().drop(columns=name), b"umdlib", {"schema": "1"})
        with pytest.raises(InputError, match=f"Column '{name}' is missing in"):
            scores.read_scores(tmp_path / "t", **asked)


def test_subjects_and_clicks_together_are_rows_of_the_whole_table(tmp_path):
    given = score_table(n_subjects=3, structures=["liver"], gap={"a": 0.0, "b": 0.0}, steps=(0, 1))
    keys = given.assign(score_key=[f"{n:x}" for n in range(len(given))])
    scores.write_scores(tmp_path / "t", keys)
    some = scores.read_scores(tmp_path / "t", subjects=["sub-002"], step=1)
    every = scores.read_scores(tmp_path / "t")
    wanted = every[every["subject"].eq("sub-002") & every["step"].eq(1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, wanted)
    some.loc[0, "dice"] = 0.5  # what is read can be written to
