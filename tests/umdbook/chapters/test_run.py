"""The chapter on the run: what was run, what it cost and what failed, of a table of a few rows."""

import pandas as pd
import pytest

from umdbook.chapters import run as chapter


def score(subject, modality, segmenter, status="ok", **more):
    row = {"subject": subject, "session": "petct", "modality": modality, "structure": "liver"}
    row |= {"segmenter": segmenter, "prompt": "centre", "step": 0, "seed": 0, "status": status}
    return row | {"dice": 0.5, "reason": "", "seconds": 2.0, "peak_mb": 10.0} | more


@pytest.fixture
def table():
    lost = {"dice": None, "seconds": None, "peak_mb": None}
    rows = [
        score("s1", "CT", "a"),
        score("s1", "PET", "a", seconds=4.0, peak_mb=30.0),
        score("s2", "CT", "a", seed=1, step=2, peak_mb=5.0),
        score("s1", "CT", "b", "failed", reason="out of memory", **lost),
        score("s1", "PET", "c", "unavailable", reason="no weights", **lost),
    ]
    found = pd.DataFrame(rows).astype({"seconds": float, "peak_mb": float, "dice": float})
    found.attrs["stamp"] = {
        "cohort": "mine",
        "cohort_hash": "0123456789abcdef",
        "tolerances_mm": [1.0, 2.5],
        "device": "cpu",
        "umdlib": "1.2",
        "commit": "",
        "python": "3.11",
        "platform": "Linux",
        "packages": {"numpy": "2.0"},
        "segmenters": {
            "a": {"version": "7", "weights": {"w.pt": "abcdefabcdefabcdef", "n.txt": ""}},
            "b": {},
        },
    }
    return found


def lines(text):
    """Cells of the rows of a pipe table."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def test_facts_of_the_stamp_are_listed(table):
    facts = dict(lines(chapter.fact_table(table)))
    assert facts["cohort"] == "mine (0123456789ab)" and facts["subjects"] == "2 in PET/CT"
    assert facts["surface Dice at"] == "1 mm and 2.5 mm" and facts["umdlib"] == "1.2"
    assert facts["rows of the score table"] == "5" and facts["packages"] == "numpy 2.0"
    assert facts["Python"] == "3.11 on Linux"


def test_prompts_are_counted_of_those_that_were_asked(table):
    assert lines(chapter.prompt_table(table)) == [
        ["a", "PET/CT", "centre", "2", "2"],
        ["b", "PET/CT", "centre", "1", "0"],
    ]


def test_segmenters_have_weights_counts_and_a_reason(table):
    assert lines(chapter.segmenter_table(table)) == [
        ["a", "7", "w.pt (abcdefabcdef), n.txt", "3", "0", ""],
        ["b", "", "none", "0", "1", "out of memory"],
        ["c", "", "none", "0", "0", "no weights"],
    ]


def test_states_are_counted_in_words_and_missing_partners_named(table):
    table.loc[0, "status"] = "prediction_empty"
    shown = chapter.state_table(table)
    assert "| segmenter | modality | failed | ok | prediction empty | unavailable |" in shown
    assert ["a", "CT", "0", "1", "1", "0"] in lines(shown)
    said = chapter.partnerless(table.iloc[[0, 1, 3]])
    assert said.splitlines() == [
        "1 predictions have no partner in the other image.",
        "s1 petct liver b centre step 0 seed 0: PET is missing",
    ]
    assert chapter.partnerless(table.iloc[:2]).startswith("0 predictions")


def test_costs_are_of_predictions_that_were_timed(table):
    assert lines(chapter.cost_table(table)) == [
        ["a", "CT", "2", "2.00", "4", "10"],
        ["a", "PET", "1", "4.00", "4", "30"],
    ]
    assert "mean (s) | total (s) | memory added (MB) |" in chapter.cost_table(table)


def test_jobs_are_shown_the_slowest_first(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    for name, seconds in (("quick", 1.0), ("slow", 90.0)):
        (tmp_path / "benchmarks" / f"{name}.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:0:1\t12.4\n")
    shown = lines(chapter.jobs(str(tmp_path)))
    assert [row[0] for row in shown] == ["slow", "quick"]
    assert shown[0][1:] == ["90.0", "12"]
