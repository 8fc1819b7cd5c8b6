"""The chapter on the second image: the page of a run that has the two networks, and its words."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from in_process import executed

from umdbook import notebook
from umdbook.chapters import second_image as chapter
from umdlib.scores.simulated import score_table
from umdlib.scores.table import write_scores

mpl.use("Agg")
NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "second_image.ipynb"


def test_the_page_shows_what_was_added_with_its_interval(tmp_path, monkeypatch):
    options = {"n_subjects": 4, "structures": ["liver", "aorta"], "sessions": ("petct", "petmr")}
    more = score_table(gap={"clicknet_pair": -0.05, "clicknet_pair_alone": -0.4}, **options)
    run = score_table(gap={"clicknet_structural": -0.4, "clicknet_pet": -0.1}, **options)
    lesions = score_table(
        n_subjects=3,
        structures=["lesion_01", "lesion_02"],
        gap={"clicknet_pair": 0.0, "clicknet_pair_alone": -0.2},
    )
    for name, table in (("scores", run), ("more", more), ("lesions", lesions)):
        write_scores(tmp_path / f"{name}.parquet", table.assign(seconds=0.2, peak_mb=1.0))
    given = {
        "scores": str(tmp_path / "scores.parquet"),
        "both_images": str(tmp_path / "more.parquet"),
        "lesion_scores": str(tmp_path / "lesions.parquet"),
        "n_resamples": 99,
    }
    done = executed(json.loads(NOTEBOOK.read_text("utf-8")), given, monkeypatch)
    assert notebook.text_faults(done) == []
    shown = repr(done)
    for words in (
        "PET added to CT",
        "MR added to PET",
        "over 4 subjects",
        "Of 6 lesions",
        "over 3 subjects",
        "of 4 comparisons",
    ):
        assert words in shown, words


def test_one_subject_has_a_difference_and_no_interval():
    gap = {"clicknet_pair": 0.0, "clicknet_pair_alone": -0.3}
    added = chapter.second_image_table(score_table(n_subjects=1, structures=["liver"], gap=gap))
    assert np.isnan(added["ci_low"]).all() and "over 1 subject;" in chapter.words(added)
    assert chapter.words(pd.DataFrame(columns=added.columns)) == chapter.NOTHING


def test_lesions_are_counted_one_by_one_and_one_subject_is_too_few(tmp_path):
    gap = {"clicknet_pair": 0.0, "clicknet_pair_alone": 0.0}
    table = score_table(n_subjects=1, structures=["lesion_01", "lesion_02"], gap=gap)
    first, both = table["structure"].eq("lesion_01"), table["segmenter"].eq("clicknet_pair")
    table["dice"] = np.select([first & both, both], [0.6, 0.4], 0.2)
    write_scores(tmp_path / "lesions.parquet", table.assign(seconds=0.2, peak_mb=1.0))
    options = {"metric": "dice", "empty": "drop"}
    added, each = chapter.lesions_of(str(tmp_path / "lesions.parquet"), **options)
    assert len(added) == 2 and np.allclose(added["estimate"], 0.3)
    row = chapter.lesion_layout(added, each).iloc[0]
    assert (row["lesions"], row["delineated with one"], row["delineated with both"]) == (2, 0, 1)
    words = chapter.lesion_words(added, each)
    assert "n is too small" in words and "1 is delineated with both images and 0 with one" in words
    assert chapter.lesion_words(*chapter.lesions_of("", **options)) == chapter.NO_LESIONS
    assert chapter.FLOOR not in words
    assert words_at_floor(added, each) == 2


def test_a_run_without_the_networks_of_one_kind_says_which_they_are():
    table = score_table(
        n_subjects=2, structures=["liver"], gap={"clicknet_pair": 0.0, "clicknet_pair_alone": -0.2}
    )
    words = chapter.kind_words(chapter.of_its_kind(table, metric="dice", empty="drop"))
    assert words == chapter.NO_KIND and "`clicknet_pet`, `clicknet_structural`" in words


def words_at_floor(added, each):
    """How many of the sentences say that both means lie at the floor, once they do."""
    return chapter.lesion_words(added.assign(alone=0.02, both=0.03), each).count(chapter.FLOOR)
