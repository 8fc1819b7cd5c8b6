"""Cases picked by their score alone."""

import pandas as pd
import pytest

from umdbook import page
from umdbook.chapters import gallery
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table


@pytest.fixture(scope="module")
def scores():
    """Two clicked segmenters, and a better one that is asked by name."""
    table = score_table(n_subjects=6, seed=1)
    named = table[table["segmenter"] == table["segmenter"].iloc[0]].copy()
    named = named.assign(segmenter="named", prompt="class", dice=named["dice"].clip(0.9))
    return pd.concat([table, named], ignore_index=True)


def test_the_segmenter_shown_is_the_best_of_those_with_the_same_click_in_both(scores):
    shown = gallery.best_segmenter(scores, session="petct")
    clicked = scores[(scores["segmenter"] != "named") & (scores["session"] == "petct")]
    means = clicked[clicked["modality"] != "PET"].groupby("segmenter")["dice"].mean()
    assert shown == means.idxmax()


def test_where_none_is_clicked_one_that_is_named_is_shown(scores):
    named = scores[scores["segmenter"] == "named"]
    assert gallery.best_segmenter(named, session="petct") == "named"


def test_a_segmenter_without_clicks_still_has_its_extremes(scores):
    given = {"segmenter": "named", "session": "petct"}
    assert len(gallery.success_and_failure(scores, modality="CT", **given)) == 2
    assert len(gallery.largest_losses(scores, n=3, **given)) == 3


def test_of_a_distance_the_best_is_the_smallest():
    table = score_table(n_subjects=4, structures=["liver"], gap={"a": -0.1, "b": -0.2})
    table["hausdorff_95"] = 100 * (1 - table["dice"])
    found = []
    for metric in ("dice", "hausdorff_95"):
        given = {"segmenter": "a", "session": "petct", "metric": metric}
        losses = gallery.largest_losses(table, n=1, **given)
        ends = gallery.success_and_failure(table, modality="CT", **given)
        best = gallery.best_segmenter(table, session="petct", metric=metric)
        found.append((losses["subject"].item(), *ends["subject"], best))
    assert found[0] == found[1]


def test_a_name_that_is_not_in_the_run_is_refused(scores):
    with pytest.raises(InputError, match="nmaed.*named"):
        gallery.chosen(scores, "nmaed", session="petct")
    with pytest.raises(InputError, match="dcie.*dice"):
        gallery.chosen(scores, "", session="petct", metric="dcie")
    with pytest.raises(InputError, match="nmaed"):
        page.checked("segmenter of this run", "nmaed", scores["segmenter"])
    assert gallery.chosen(scores, "named", session="petct") == "named"


def test_without_a_prediction_no_conclusion_is_drawn():
    empty = pd.DataFrame(columns=["subject", "structure", "parts", "found", "DSC"])
    assert "nothing was counted" in gallery.foci_words(empty, counted=0)
    assert "one connected part in every subject" in gallery.foci_words(empty, counted=4)


def test_the_typical_subject_has_the_median_mean_change():
    table = score_table(n_subjects=3, structures=["liver", "lung"], gap={"a": 0.0})
    names = sorted(table["subject"].unique())
    for name, change in zip(names, (-0.3, -0.1, -0.2), strict=True):
        for modality, value in (("CT", 0.8), ("PET", 0.8 + change)):
            table.loc[table["subject"].eq(name) & table["modality"].eq(modality), "dice"] = value
    assert gallery.typical_subject(table, segmenter="a", session="petct") == names[2]
    assert gallery.typical_subject(table, segmenter="b", session="petct") == ""


def test_parts_that_a_click_finds_are_counted_by_structure():
    rows = [("s1", "lesion", 4, 1, 0.2), ("s2", "lesion", 2, 2, 0.9), ("s1", "lung", 2, 1, 0.5)]
    foci = pd.DataFrame(rows, columns=["subject", "structure", "parts", "found", "dice"])
    words = gallery.foci_words(foci, counted=12)
    assert "touch 4 of 8 parts (3 references of 2 subjects)" in words
    assert "| lesion | 2 | 6 | 3 | 50% |" in words
    assert "one connected part in every subject" in gallery.foci_words(foci.iloc[:0], counted=12)
    assert "nothing was counted" in gallery.foci_words(foci.iloc[:0], counted=0)
