"""The chapter on the modality gap: sentences and rows of hand-made comparisons."""

import numpy as np
import pandas as pd

from umdbook.chapters import modality_gap as chapter


def comparison(**changes):
    row = {
        "segmenter": "threshold",
        "structure": "kidney_left",
        "estimate": -0.1,
        "ci_low": -0.2,
        "ci_high": 0.05,
    }
    row |= {"at_floor": False, "n_pairs": 8, "hl": -0.09, "rank_biserial": -0.75, "note": ""}
    return pd.Series(row | changes)


def test_a_comparison_is_one_sentence_with_its_interval_and_effects():
    words = chapter.pair_words(comparison(), "dice")
    assert words == (
        "threshold, kidney, left: −0.100 [−0.200, +0.050] DSC (mean difference, 95 % interval, n = 8 subjects). "
        "Hodges–Lehmann shift −0.090; rank-biserial correlation −0.75, where −1 would mean that every subject has "
        "the lower value on PET."
    )


def test_without_an_interval_none_is_named_and_one_subject_is_singular():
    alone = comparison(ci_low=np.nan, ci_high=np.nan, n_pairs=1, note="one subject")
    words = chapter.pair_words(alone, "hausdorff_95")
    assert "−0.100 HD95 (mm) (mean difference, n = 1 subject)" in words
    assert words.endswith(" Note: one subject.")
    assert chapter.pair_words(comparison(estimate=np.nan, note="no pair")) == "threshold: no pair."


def test_only_structures_that_fail_on_one_side_are_listed_with_exact_rates():
    rows = pd.DataFrame(
        {
            "segmenter": "a",
            "structure": ["liver", "aorta"],
            "both": [4, 5],
            "structural_only": [3, 0],
            "pet_only": [0, 0],
            "neither": [1, 3],
            "p_mcnemar": [0.25, np.nan],
        }
    )
    table = chapter.failure_rows(rows)
    assert table["structure"].tolist() == ["Liver"]
    # R: binom.test(1, 8)$conf.int: 0.0032 to 0.5265; binom.test(4, 8)$conf.int: 0.1570 to 0.8430
    assert table["fails on structural [95 %]"].item() == "12 % [0, 53]"
    assert table["fails on PET [95 %]"].item() == "50 % [16, 84]"
    assert table["p (McNemar)"].item() == "0.250"
    assert table[["both work", "structural only", "PET only", "neither"]].to_numpy().tolist() == [
        [4, 3, 0, 1]
    ]


def test_marks_are_counted_without_the_row_of_all_structures():
    cells = pd.DataFrame(
        {
            "structure": ["liver", "liver", "aorta", "aorta", "all", "all"],
            "state": "",
            "mark": ["sig-2", "", "sig-4", "", "sig-4", ""],
        }
    )
    corrected = cells.assign(mark=["", "", "sig-2", "", "sig-4", ""])
    words = chapter.mark_words(cells, corrected)
    assert words == (
        "Without a correction, 2 of 2 comparisons of a segmenter on a structure would carry a mark; 1 keep it."
    )
    failed = cells.assign(state=["failed", "failed", "", "", "", ""], mark=["", "", "sig-4", "", "sig-4", ""])
    assert "1 of 1 comparisons" in chapter.mark_words(failed, corrected)
