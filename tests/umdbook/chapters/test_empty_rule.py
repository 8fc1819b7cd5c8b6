"""What the chapter on empty rules says of hand-made tables."""

import pandas as pd
import pytest

from umdbook.chapters import empty_rule as chapter


@pytest.mark.parametrize(
    ("statuses", "counts", "verdict"),
    [
        (["ok", "ok"], "Of 2 predictions, 0 lack one", "have nothing to decide here"),
        (
            ["ok", "prediction_empty", "unavailable"],
            "Of 2 predictions, 1 lack one",
            "no rule can change a DSC",
        ),
        (
            ["ok", "both_empty"],
            "0 lack one of the two masks (DSC 0, distances undefined), 1 lack both",
            "decide",
        ),
        (["failed", "reference_empty"], "1 lack one", "The rules decide what these count for"),
    ],
)
def test_a_rule_matters_only_where_a_score_is_undefined(statuses, counts, verdict):
    words = chapter.state_words(pd.DataFrame({"status": statuses}))
    assert counts in words and verdict in words


def test_statuses_are_counted_with_the_structural_image_before_pet():
    rows = [("petct", "b", "PET", "ok"), ("petct", "b", "CT", "both_empty"), ("petct", "a", "PET", "ok")] * 2
    table = chapter.state_counts(pd.DataFrame(rows, columns=["session", "segmenter", "modality", "status"]))
    assert table[["segmenter", "modality"]].to_numpy().tolist() == [["a", "PET"], ["b", "CT"], ["b", "PET"]]
    assert table["both empty"].tolist() == [0, 2, 0]
    assert table["ok"].tolist() == [2, 0, 2]


def test_a_verdict_that_changes_its_sign_depends_on_the_rule():
    rows = [
        ("petct", "a", "dice", -0.1, "differs"),
        ("petct", "a", "dice", 0.1, "differs"),
        ("petct", "b", "dice", -0.1, "the same"),
        ("petct", "b", "dice", -0.2, "the same"),
        ("petct", "c", "dice", float("nan"), ""),
    ]
    table = chapter.rule_verdicts(
        pd.DataFrame(rows, columns=["session", "segmenter", "metric", "estimate", "verdict"])
    )
    assert table["segmenter"].tolist() == ["a", "b"]
    assert table["verdict"].tolist() == ["**depends on the rule**", "the same"]
    assert table[["lowest", "highest"]].to_numpy().tolist() == [["−0.100", "+0.100"], ["−0.200", "−0.100"]]
