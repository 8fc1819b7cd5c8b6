"""The chapter on reported numbers: ceilings beside scores."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import reported
from umdlib.scores.simulated import score_table
from umdlib.statistics.ceilings import beside_ceilings


def test_ceilings_stand_beside_the_scores_of_systems_that_have_one():
    table = score_table(n_subjects=4, structures=["liver", "lung"], gap={"cube": 0.0, "whole": 0.0})
    table.loc[table["segmenter"].eq("cube"), "ceiling"] = 0.9
    limits = beside_ceilings(table)
    assert set(limits["segmenter"]) == {"cube"}
    own = table[table["segmenter"].eq("cube") & table["modality"].eq("CT")]
    row = limits[limits["modality"].eq("CT")].iloc[0]
    assert row["dice"] == pytest.approx(own.groupby("subject")["dice"].mean().mean())
    assert (row["ceiling"], row["n_subjects"]) == (0.9, 4)
    assert "tab-reported-ceilings" in reported.ceilings_words(limits)
    assert reported.ceilings_words(beside_ceilings(table.drop(columns="ceiling"))).endswith("whole image.")


def test_the_table_of_the_papers_holds_systems_that_somebody_reported_a_number_of():
    rows = pd.DataFrame(
        {
            "title": ["SegVol", "SegVol", "clicknet_pet", "given"],
            "reported": [0.793, np.nan, np.nan, np.nan],
            "printed": [np.nan] * 4,
            "harness": [np.nan, np.nan, np.nan, 0.5],
        }
    )
    assert list(reported.of_the_papers(rows)["title"]) == ["SegVol", "SegVol", "given"]
