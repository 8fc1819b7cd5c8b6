"""The chapter on structures: two-part models, ceilings and shares, of hand-made tables."""

import numpy as np
import pandas as pd

from umdbook.chapters import by_structure as chapter
from umdlib.scores.ceilings import COLUMNS
from umdlib.tables.ceilings import NO_CEILINGS


def test_the_two_part_model_is_shown_for_all_structures_together():
    model = pd.DataFrame(
        {
            "session": "petmr",
            "segmenter": "a",
            "structure": ["liver", "all", "all"],
            "part": ["works", "works", "score"],
            "estimate": [9.0, -0.5, np.nan],
            "ci_low": [9.0, -1.0, np.nan],
            "ci_high": [9.0, 0.25, np.nan],
            "scale": ["log odds", "log odds", "dice"],
            "p_value": [0.5, 0.00123, np.nan],
            "p_interaction": [0.5, 1e-9, np.nan],
            "n_subjects": [3, 8, 8],
            "n_rows": [6, 16, 16],
            "method": ["x", "GEE", ""],
            "note": ["", "", "no pair works"],
        }
    )
    shown = chapter.hurdle_layout(model)
    assert shown["PET against structural [95 %]"].tolist() == ["−0.500 [−1.000, +0.250]", "–"]
    assert shown["p"].tolist() == ["0.0012", "–"] and shown["scale"].tolist() == ["log odds", "DSC"]
    assert shown["p (same in every structure)"].tolist() == ["< 0.0001", "–"]
    assert shown["session"].unique().tolist() == ["PET/MR"]
    assert shown[["fitted by", "note"]].to_numpy().tolist() == [["GEE", "–"], ["–", "no pair works"]]


def test_shares_that_involve_the_modality_are_added_up():
    components = pd.DataFrame(
        {
            "session": "petct",
            "segmenter": ["a", "a", "a", "b"],
            "source": ["modality", "subject", "modality × subject", "modality"],
            "share": [0.25, 0.6, 0.125, np.nan],
        }
    ).assign(n_subjects=5, n_structures=2, n_prompts=3, n_left_out=1)
    assert chapter.modality_shares(components) == (
        "- PET/CT, a: 38 % of the spread involves the modality (n = 5 subjects, 2 structures, 3 prompts each; "
        "1 subjects left out as incomplete)"
    )
    none = chapter.modality_shares(components.assign(share=np.nan))
    assert none == "No segmenter has two subjects with a complete set of scores."


def test_ceilings_stand_in_a_table_per_session_and_are_explained_once(tmp_path):
    rows = [
        ("s1", "petct", "PET", "liver", "grid, best", np.nan, 0.95, ""),
        ("s2", "petct", "PET", "liver", "grid, best", np.nan, 0.85, ""),
        ("s3", "petmr", "PET", "liver", "second reader", 2.0, 0.8, ""),
    ]
    path = tmp_path / "ceilings.tsv"
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(path, sep="\t", index=False, na_rep="n/a")
    text = chapter.ceilings_text(str(path))
    assert "Mean DSC over 2 subjects that the references of PET/CT allow" in text
    assert "Mean DSC over 1 subject that the references of PET/MR allow" in text
    assert "| Liver | 0.900 |" in text and "| Structure | second reader (2 mm) |" in text
    assert text.count("a bound: no mask of that kind exceeds it") == 1
    assert chapter.ceilings_text("") == NO_CEILINGS
    pd.DataFrame(rows[:0], columns=list(COLUMNS)).to_csv(path, sep="\t", index=False, na_rep="n/a")
    assert chapter.ceilings_text(str(path)).endswith("there is no ceiling.")
