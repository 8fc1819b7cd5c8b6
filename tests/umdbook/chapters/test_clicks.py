"""What the chapter on corrective clicks says of hand-made curves."""

import pandas as pd

from umdbook.chapters import clicks as chapter
from umdlib.tables import use_titles


def curve(modality, step, gain, low, high, **more):
    row = {"session": "petct", "segmenter": "a", "prompt": "centre", "step": step, "modality": modality}
    row |= {"gain": gain, "gain_low": low, "gain_high": high, "at_floor": False, "n_subjects": 8}
    return row | more


def test_a_gain_stands_beside_that_of_the_other_image_and_their_difference():
    curves = pd.DataFrame(
        [
            curve("CT", 0, None, None, None),
            curve("CT", 1, 0.1, 0.05, 0.15),
            curve("PET", 1, 0.3, 0.2, 0.4, n_subjects=7),
            curve("difference", 1, 0.2, 0.1, 0.3),
            curve("PET", 2, 0.0, -0.1, 0.1),
        ]
    )
    table = chapter.gain_rows(curves)
    assert table["click"].tolist() == [1, 2]  # the first prompt gains nothing
    assert table["n"].tolist() == [7, 8]
    assert table["structural"].tolist() == ["+0.100 [+0.050, +0.150]", "–"]
    assert table["PET − structural"].tolist() == ["+0.200 [+0.100, +0.300]", "–"]


def test_clicks_that_lower_a_score_are_named():
    use_titles({"a": "System A"}.get)
    bad = pd.DataFrame([curve("PET", 2, -0.1, -0.2, -0.05)])
    assert chapter.gain_words(bad.iloc[:0]) == "No additional click lowered a mean score significantly."
    assert chapter.gain_words(bad).endswith("worse side of 0 for: System A on PET (PET/CT), click 2.")


def test_a_budget_that_does_not_suffice_is_a_lower_bound():
    effort = pd.DataFrame(
        {
            "session": "petct",
            "segmenter": ["a", "b"],
            "prompts": [2.0, float("nan")],
            "budget": 3,
            "at_once": [0.5, 0.0],
            "reached": [1.0, 0.25],
            "seconds": [0.123, 1.0],
            "n_subjects": 8,
        }
    )
    table = chapter.until_layout(effort)
    assert table["prompts"].tolist() == ["2", "more than 3"]
    assert table["after the first"].tolist() == ["50%", "0%"]
    assert table["after the last"].tolist() == ["100%", "25%"]
    assert "budget" not in table


def test_scores_and_seconds_stand_side_by_side():
    rows = {
        "session": "petct",
        "segmenter": "a",
        "prompt": "centre",
        "step": [0, 0, 1],
        "coordinates": [3, 3, 6],
    }
    numbers = {"modality": ["CT", "PET", "CT"], "median": 0.5, "q1": 0.4, "q3": 0.6, "seconds": 0.25}
    table = chapter.effort_layout(pd.DataFrame(rows | numbers))
    assert list(table)[-4:] == ["CT", "PET", "CT (s)", "PET (s)"]
    assert table["CT"].tolist() == ["0.500 (0.400–0.600)"] * 2
    assert table["PET"].tolist() == ["0.500 (0.400–0.600)", "–"]
    assert table["clicks"].tolist() == [0, 1]
    assert chapter.effort_layout(pd.DataFrame(columns=list(rows | numbers))).empty
