"""The chapter on why segmenters lose on PET: its tables and sentences on a small cohort, and on one without a pair."""

import json
from pathlib import Path

import pandas as pd
import pytest
from in_process import executed

from umdbook.chapters import ladder
from umdlib.files import read_tsv
from umdlib.scores.simulated import score_table
from umdlib.scores.table import write_scores

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "ladder.ipynb"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Function that runs the page on a manifest and returns all that it shows."""
    scores = tmp_path / "scores.parquet"
    write_scores(scores, score_table(n_subjects=2, structures=["liver"], gap={"threshold": -0.1}))

    def run(manifest):
        given = {"manifest": str(manifest), "scores": str(scores), "folder": str(tmp_path / "ladder")}
        given |= {"segmenters": "threshold", "n_resamples": 50}
        return json.dumps(
            [c.outputs for c in executed(json.loads(NOTEBOOK.read_text("utf-8")), given, monkeypatch).cells],
            default=str,
        )

    return run


def test_the_page_says_what_each_factor_costs_and_what_it_could_not_say(make_cohort, page):
    shown = page(make_cohort(1))
    assert "the largest of the parts" in shown and "PET/CT" in shown and "not explained" in shown
    assert "The truth of this cohort is not known." in shown
    assert "nothing to compare" in shown


def test_a_cohort_without_a_pair_has_a_page_without_a_number(make_cohort, page):
    manifest = make_cohort(1)
    table = read_tsv(manifest)
    table[table["modality"].eq("CT")].to_csv(manifest, sep="\t", index=False)
    shown = page(manifest)
    assert "Nothing was asked." in shown and "No factor lacks an estimate." in shown


def test_the_sentence_names_the_largest_part_and_its_system():
    given = {"session": "petct", "segmenter": "threshold"}
    table = pd.DataFrame(
        [
            {**given, "factor": f, "estimate": v}
            for f, v in (("R", -0.1), ("N", 0.02), ("residual", -0.3), ("gap", -0.38))
        ]
    )
    assert ladder.words(table) == (
        "- PET/CT, Threshold: DSC changes by −0.380 on PET; the largest of the parts that sum to it, "
        "−0.300, is not explained."
    )
    lost = table.assign(estimate=float("nan"))
    assert "no number" in ladder.words(lost)
