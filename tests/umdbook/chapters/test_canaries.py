"""The chapter on canaries: findings in words, and the matrix of the segmenter that is wired best."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import canaries as chapter
from umdlib.cohort.manifest import read_cohort


def findings(*rows):
    columns = ["segmenter", "modality", "n_cases", "faults", "detail", "control"]
    return pd.DataFrame(rows, columns=columns)


def test_alarms_are_counted_and_said_in_words():
    found = findings(
        ("threshold", "CT", 4, "", "as it should be", "passed"),
        ("b", "PET", 3, "dead_structure", "kidney_left is never found", "unverified adapter"),
    )
    text = chapter.words(found)
    assert text.startswith("2 combinations of segmenter and modality were checked, 1 raised an alarm.\n\n")
    assert "| b | PET | 3 | dead structure | left kidney is never found | unverified adapter |" in text
    assert "| threshold | CT | 4 | none | as it should be | passed |" in text
    assert chapter.words(found.iloc[:0]) == "No stored prediction was found: nothing could be checked."


def test_planted_faults_and_margins_are_numbered_tables_in_words():
    verdicts = pd.DataFrame(
        {"planted": ["x"], "named": ["dead_structure"], "detail": ["kidney_right → esophagus"]}
    )
    text = chapter.verdict_table(verdicts)
    assert ":name: tab-verdicts" in text and "| Planted | Named | Detail |" in text
    assert "| x | dead structure | right kidney → oesophagus |" in text
    assert "| dead structure |" in chapter.margin_table(verdicts[["named"]])


def test_the_matrix_shown_is_that_of_the_brightest_diagonal(make_cohort, monkeypatch):
    cohort = read_cohort(make_cohort(1))
    names = ["ball", "rod"]
    matrices = {
        "dim": pd.DataFrame([[0.2, 0.9], [0.9, 0.1]], names, names),
        "bright": pd.DataFrame([[0.8, 0.1], [np.nan, 0.7]], names, names),
        "none": None,
    }
    monkeypatch.setattr(chapter, "checked_segmenters", lambda found: list(matrices))
    monkeypatch.setattr(chapter, "example_wiring", lambda cohort, root, n, modality, limit: matrices[n[0]])
    ax = chapter.wiring_plot(cohort, "root", findings(), 4)
    assert ax.get_title() == "bright, CT"
    assert ax.collections[0].get_array().ravel().tolist() == pytest.approx([0.8, 0.1, 0.0, 0.7])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Ba", "Ro"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Reference", "Asked for")
    monkeypatch.setattr(chapter, "example_wiring", lambda *given, limit: None)
    assert chapter.wiring_plot(cohort, "root", findings(), 4) is None
    plt.close("all")


def test_simulated_columns_stand_beside_the_printed_ones():
    text = chapter.columns_markdown(pd.DataFrame({"right": [0.5]}, index=["liver"]))
    head, sides, row = text.splitlines()
    assert head == "| Structure | right | UMD: VISTA3D | UMD: SAT |" and sides == "|:--|--:|--:|--:|"
    assert row.startswith("| Liver | 0.50 | 0.")
