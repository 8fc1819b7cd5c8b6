"""The chapter on a gap without labels: bounds that hold or break, ranks that there are too few systems for."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from umdbook.chapters import unlabelled as chapter
from umdlib.figures import segmenter_style


def bounds(**changes):
    row = {
        "session": "petct",
        "segmenter": "threshold",
        "agreement": 0.75,
        "largest_gap": 0.4,
        "least_error": 0.2,
    }
    row |= {"measured_gap": -0.1, "at_floor": False, "broken": 0.0, "n_undefined": 1, "n_subjects": 5}
    return pd.DataFrame([row | changes])


def validation(*values):
    rows = [
        {
            "session": session,
            "what": what,
            "value": value,
            "low": low,
            "high": high,
            "n": 4.0,
            "n_subjects": 8,
        }
        for session, what, value, low, high in values
    ]
    return pd.DataFrame(rows)


RANK = "rank of systems by size of the gap"


def test_a_bound_stands_beside_what_was_measured():
    shown = chapter.bounds_layout(bounds()).iloc[0]
    assert shown[
        ["agreement (DSC)", "gap at most", "one mask wrong by at least", "measured gap"]
    ].tolist() == ["0.750", "0.400", "0.200", "−0.100"]
    assert (shown["session"], shown["segmenter"], shown["pairs beyond the bound"]) == (
        "PET/CT",
        "Threshold",
        0,
    )


def test_validation_has_an_interval_where_there_is_one_and_no_signs():
    table = validation(("petct", RANK, 0.5, 0.25, 0.75), ("petmr", RANK, -0.5, np.nan, np.nan))
    assert chapter.validation_layout(table)["value [95 %]"].tolist() == ["0.500 [0.250, 0.750]", "−0.500"]
    assert chapter.validation_layout(table)["of"].tolist() == [4, 4]


def test_words_say_whether_every_bound_held_and_which_rank_each_session_gives():
    ranks = validation(
        ("petct", "other", 0.9, 0.8, 1.0),
        ("petct", RANK, 0.5, 0.2, 0.7),
        ("petmr", RANK, np.nan, np.nan, np.nan),
    )
    words = chapter.words(bounds(), ranks)
    assert words == (
        "Every measured gap lies within its bound. Rank correlation of the systems' agreement with the size of their "
        "gap (−1 where the gap always grows as agreement falls): "
        "PET/CT 0.50 [0.20, 0.70]; PET/MR no rank: fewer than three systems. Agreement says "
        "nothing of the gap's sign."
    )
    assert chapter.words(bounds(broken=2.0), ranks).startswith("**2 pairs lie beyond their bound**.")


def test_agreement_of_two_systems_is_shown_on_both_images():
    rows = [("petct", "threshold", "b", m, a) for m, a in (("CT", 0.9), ("PET", 0.5))]
    rows.append(("petmr", "threshold", "b", "PET", 0.25))
    between = pd.DataFrame(rows, columns=["session", "first", "second", "modality", "agreement"])
    shown = chapter.between_layout(between)
    assert shown[["structural image", "PET"]].to_numpy().tolist() == [["0.900", "0.500"], ["–", "0.250"]]
    assert shown[["one segmenter", "the other"]].iloc[0].tolist() == ["Threshold", "b"]


def test_every_pair_is_a_mark_in_the_looks_of_its_segmenter():
    rows = pd.DataFrame({"segmenter": ["a", "b", "a"], "agreement": [0.5, 0.7, 0.9], "gap": [-0.1, 0.0, 0.1]})
    looks = segmenter_style("ab")
    ax = chapter.pairs_plot(rows, looks=looks)
    first, second = ax.collections
    assert first.get_offsets().tolist() == [[0.5, -0.1], [0.9, 0.1]] and len(second.get_offsets()) == 1
    assert [t.get_text() for t in ax.figure.legends[0].texts] == ["a", "b"]
    assert plt.matplotlib.colors.to_hex(second.get_facecolor()[0]) == looks["b"]["color"]
    assert ax.get_ylabel() == "measured gap, PET − structural (DSC)"
    assert not chapter.pairs_plot(rows, legend=False).figure.legends
    assert "nothing was scored" in chapter.pairs_plot(rows.iloc[:0]).texts[0].get_text()
    plt.close("all")


def test_more_subjects_are_those_of_the_benchmark_with_intervals(tmp_path):
    rows = [
        (f"s{n}", "petct", structure, system, 0.9 - 0.2 * m + 0.01 * n, -0.1 * m - 0.005 * n, 0.5)
        for n in range(4)
        for structure in ("liver", "spleen")
        for m, system in enumerate("abc")
    ]
    names = ["subject", "session", "structure", "segmenter", "agreement", "gap", "pet_dice"]
    columns = {k: list(v) for k, v in zip(names, zip(*rows, strict=True), strict=True)}
    file = tmp_path / "agreement.json"
    file.write_text(
        json.dumps({"columns": columns, "spacing_mm": 6.0, "command": "python x.py", "date": "2026-11-30"})
    )
    words = chapter.more_subjects(str(file), n_resamples=50)
    assert "On 4 simulated subjects" in words and "and 3 systems (`python x.py`, 2026-11-30)" in words
    assert "systems by size of the gap −1.000 [−1.000, −1.000]" in words
    assert chapter.more_subjects(str(tmp_path / "none.json")) == ""
