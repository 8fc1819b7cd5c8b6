"""The shipped record of whole cases, and the tables that are made from it."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from umdbook.chapters import performance as chapter
from umdlib.errors import InputError

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


def scoring(system, quality, seconds, ratio, **more):
    row = {"system": system, "habit": "once", "metrics": "all", "grid": "PET", "structures": 13}
    return row | {"quality": quality, "seconds": seconds, "ratio": ratio, "differences": {}} | more


REPORT = {
    "tolerance_mm": 1.0,
    "scoring": [
        scoring("umdlib", "good", 0.02, 1.0),
        scoring("umdlib", "poor", 0.04, 1.0),
        scoring("umdlib, surface Dice", "good", 0.01, 0.5),
        scoring("umdlib, surface Dice", "poor", 0.02, 0.5),
        scoring("other in boxes", "good", 1.0, 50.0, differences={"dice": 0.0, "assd": 2.5e-13}),
        scoring("other in boxes", "poor", float("nan"), float("nan"), differences={"dice": 1e-4}),
        scoring("slow", "good", 9.0, 450.0, structures=1),
        scoring("slow", "poor", 8.0, 200.0, structures=1),
        scoring("reading both volumes once", "good", 0.005, 0.25),
        scoring("reading both volumes once", "poor", 0.005, 0.125),
    ],
    "goals": [
        {"goal": "faster", "limit": "≥ 35", "measured": 50.123, "met": True},
        {"goal": "less memory", "limit": "≤ 2", "measured": 3.0, "met": False},
    ],
    "not_run": {"seg-metrics": "minutes"},
    "scaling": [
        {"structures": 1, "quality": "good", "seconds": 0.02},
        {"structures": 13, "quality": "good", "seconds": 0.0504},
        {"grid": "CT", "quality": "poor", "voxels": 2_000_000, "cells": 40_000, "seconds": 0.01},
    ],
    "memory": [
        {"grid": "PET", "quality": "good", "system": "umdlib", "peak_mb": 12.6, "bytes_per_voxel": 0.256}
    ],
}


def test_ratios_are_listed_the_fastest_first_and_what_did_not_run_says_so():
    table = chapter.ratio_table(REPORT, "PET").set_index("system")
    fastest = ["reading both volumes once", "umdlib, surface Dice", "umdlib", "other", "slow"]
    assert table.index.tolist() == fastest
    assert table.loc["other", ["good: CPU s", "poor: CPU s", "poor: × ours"]].tolist() == [
        "1",
        "not run",
        "not run",
    ]
    assert table.loc["slow", "habit"] == "once, scaled from one structure"
    assert table.loc["umdlib", ["habit", "good: × ours"]].tolist() == ["once", "1"]


def test_goals_that_are_missed_are_bold_and_programs_left_out_have_a_reason():
    goals = chapter.goal_table(REPORT)
    assert goals["measured"].tolist() == ["50.1", "3"] and goals["met"].tolist() == ["yes", "**no**"]
    assert chapter.not_run_table(REPORT).to_numpy().tolist() == [["seg-metrics", "minutes"]]


def test_the_largest_difference_over_predictions_is_shown_or_that_none_was_computed():
    row = chapter.difference_table(REPORT).set_index("system").loc["other in boxes"]
    assert row.to_dict() == {
        "DSC": "1.0e-04",
        "NSD (1 mm)": "not computed",
        "HD95 (mm)": "not computed",
        "ASSD (relative)": "2.5e-13",
    }


def test_our_times_are_multiples_of_reading():
    table = chapter.limit_table(REPORT).set_index("quality")
    assert table["reading both volumes once, ms"].tolist() == [5.0, 5.0]
    assert table.loc["good", ["surface Dice, ms", "surface Dice, ×", "all metrics, ×"]].tolist() == [
        10.0,
        "2",
        "4",
    ]
    assert not table.columns.str.startswith("Dice and volumes").any()  # a run made before it was measured


def test_sizes_memory_and_numbers_of_structures_have_their_units():
    assert chapter.scaling_table(REPORT).to_numpy().tolist() == [[1, 20], [13, 50]]
    assert chapter.size_table(REPORT).to_numpy().tolist() == [["CT", "poor", "2", 40, 10, 250]]
    memory = chapter.memory_table({"memory": [r | {"ratio": 1.0} for r in REPORT["memory"]]})
    assert memory.iloc[0, 3:].tolist() == ["13", "0.26", "1"]
    assert chapter.memory_table({"memory": []}).empty


def test_other_tasks_show_only_what_was_measured():
    rows = [
        {"task": "write", "grid": "CT", "system": "a", "seconds": 0.25, "ratio": 1.0, "bytes": 2400},
        {"task": "read", "grid": "CT", "system": "a", "seconds": 0.5, "ratio": 2.0, "bytes": float("nan")},
    ]
    files = chapter.task_table(rows)
    assert files["task"].tolist() == ["read", "write"] and files["kB"].tolist() == ["", "2"]
    assert files["CPU ms"].tolist() == ["500", "250"]
    prompts = chapter.task_table([rows[0] | {"same_points": 9, "points": 10, "bytes": 0}])
    assert prompts[["kB", "same points"]].to_numpy().tolist() == [["", "9 of 10"]]


def test_slower_systems_are_marks_on_a_logarithmic_scale():
    ax = chapter.ratio_plot(REPORT, "PET")
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_yticklabels()] == [
        "other in boxes",
        "slow",
    ]
    good, poor, one = ax.lines
    assert good.get_xdata().tolist() == [50.0, 450.0] and poor.get_xdata()[1] == 200.0
    assert good.get_color() != poor.get_color() and one.get_xdata() == [1, 1]
    plt.close("all")


def written(folder, content):
    path = folder / "record.json"
    path.write_text(json.dumps(content))
    return path


def test_records_that_are_missing_empty_or_old_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"No benchmark run at .*none\.json\. Make one with benchmarks/scoring\.py"
    ):
        chapter.read_timings(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"record\.json holds no scoring times"):
        chapter.read_timings(written(tmp_path, {"scoring": [], "goals": []}))
    with pytest.raises(InputError, match="is of an older form. Make a new one"):
        chapter.read_timings(written(tmp_path, {"scoring": [1]}))
    assert chapter.read_timings(written(tmp_path, REPORT))["tolerance_mm"] == 1.0


def test_a_search_gives_one_number_per_name(tmp_path):
    ties = {
        "pairs": 7,
        "differing": {"dice": 2},
        "differences": {"dice": 0, "hausdorff": 1.5, "hausdorff_95": 2.5},
    }
    report = {"search": {"volumes": 3, "pairs": 9, "differences": {"dice": 1e-9}}, "ties": ties}
    found = chapter.read_fuzz(written(tmp_path, report))
    assert found["fuzz_dice"] == 1e-9 and (found["fuzz_volumes"], found["fuzz_pairs"]) == (3, 9)
    assert (found["ties_dice"], found["ties_hausdorff"]) == (2, 0)
    assert (found["ties_pairs"], found["ties_hausdorff_mm"]) == (7, 2.5)


def test_faults_that_were_lost_are_added_up(tmp_path):
    rows = [{"fault": "cut", "tried": 1200, "lost": 0}, {"fault": "swap", "tried": 34, "lost": 2}]
    trials = chapter.read_faults(written(tmp_path, {"faults": rows}))
    assert chapter.fault_words(trials) == "1,234 trials; **2** results were lost or changed without a word."
