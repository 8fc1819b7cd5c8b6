"""The one line of the landing page."""

import pandas as pd
import pytest

from umdlib import finding
from umdlib.errors import InputError
from umdlib.simulated import score_table


@pytest.fixture(scope="module")
def scores():
    """Two clicked segmenters, and a better one that is asked by name."""
    table = score_table(n_subjects=6, seed=1)
    named = table[table["segmenter"] == table["segmenter"].iloc[0]].copy()
    named = named.assign(segmenter="named", prompt="class", dice=named["dice"].clip(0.9))
    return pd.concat([table, named], ignore_index=True)


def test_the_headline_is_of_a_segmenter_with_the_same_click_in_both(scores):
    row = finding.headline(scores, "petct")
    clicked = scores[(scores["segmenter"] != "named") & (scores["session"] == "petct")]
    means = clicked[clicked["modality"] != "PET"].groupby("segmenter")["dice"].mean()
    assert row["segmenter"] == means.idxmax()
    assert "under the same click" in finding.finding_html(row, title="T", n_structures=2)


def test_where_none_is_clicked_the_prompt_is_named(scores):
    row = finding.headline(scores[scores["segmenter"] == "named"], "petct")
    words = finding.finding_html(row, title="T <b>", n_structures=1)
    assert "under the prompt 'class'" in words
    assert "1 structure<" in words
    assert "T &lt;b&gt;" in words


def test_a_segmenter_without_a_pair_is_named(scores):
    with pytest.raises(InputError, match="No pair of absent in session petct"):
        finding.headline(scores, "petct", segmenter="absent")
