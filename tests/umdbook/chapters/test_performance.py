"""The shipped record of whole cases, and the tables that are made from it."""

from pathlib import Path

import pytest

from umdbook.chapters import performance as chapter

RECORD = Path(__file__).parents[3] / "benchmarks" / "results" / "case.json"


def test_the_stages_of_a_whole_case_are_all_of_it_and_it_keeps_to_its_bounds():
    record = chapter.read_case(RECORD)
    assert [c["grid"] for c in record["cases"]] == ["PET", "CT"]
    for case in record["cases"]:
        parts = ("reading", "segmenter", "scoring", "overhead")
        assert sum(case[p] for p in parts) == pytest.approx(case["whole"])
        assert case["overhead"] <= case["scoring"]
        assert case["above_image_mb"] <= 1000
        assert case["click"] <= 0.1 and case["nothing_to_do"] <= 0.3
    table = chapter.case_table(record)
    assert list(table.columns) == ["stage", "PET, 200 × 200 × 350", "CT, 512 × 512 × 400"]
    assert table["stage"].str.contains("peak").sum() == 1


def test_a_way_beside_ours_is_a_ratio_to_the_same_task():
    case = {"grid": "PET", "click": 0.5, "scoring_once": 2.0, "usual": {"SciPy, a click": 5.0, "SciPy": 3.0}}
    table = chapter.beside_table({"cases": [case]})
    assert table[["task", "program", "× ours"]].to_numpy().tolist() == [
        ["a corrective click", "SciPy", "10"],
        ["all structures scored once", "SciPy", "1.5"],
    ]
