"""The chapter on why segmenters lose on PET: its tables and sentences on a small cohort, and on one without a pair."""

import json
from pathlib import Path

import pandas as pd
import pytest
from in_process import executed

from umdbook.chapters import ladder
from umdlib.cohort.manifest import read_cohort
from umdlib.files import read_tsv
from umdlib.metrics.masks import dice
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
    assert ladder.words(table).splitlines()[0] == (
        "- PET/CT, Threshold: DSC changes by −0.380 on PET; the largest of the parts that sum to it, "
        "−0.300, is not explained."
    )
    assert "one subject each" in ladder.words(table)
    told = ladder.words(table.assign(low=table["estimate"] - 0.1, high=table["estimate"] + 0.4))
    assert "−0.300 [−0.400, +0.100], is not explained, and its interval holds 0." in told
    assert "one subject each" not in told
    lost = table.assign(estimate=float("nan"))
    assert "no number" in ladder.words(lost)


def test_the_cells_of_one_subject_are_viewers_to_choose_from(make_cohort, tmp_path):
    given = {"subjects": 1, "structures": "ball", "reverse": True}
    run = ladder.climb(read_cohort(make_cohort(1)), "threshold", str(tmp_path / "ladder"), **given)
    again = ladder.climb(
        read_cohort(tmp_path / "cohort" / "manifest.tsv"), "threshold", str(tmp_path / "ladder"), **given
    )
    assert [s.cell for s in again.shown] == [s.cell for s in run.shown] and len(run.shown) == 20
    shares = ladder.attribution.share_table(run.shares, n_resamples=20)
    assert list(ladder.reverse_layout(shares)["factor"]) == ["contrast", "alignment"]
    choice = ladder.cell_viewers(run)
    page = choice.write(tmp_path / "umd")
    assert page.count("<option") == 20 and page.count("<figure") == 1 and "CT with PET&#x27;s noise" in page
    sizes = [p.stat().st_size for p in (tmp_path / "umd" / "volumes").iterdir()]
    assert len(sizes) > 20 and max(sizes) < 60_000
    untouched, pet = choice.viewers["untouched"].panes
    (found,) = untouched.predictions
    score = run.cells.set_index("cell").loc["none", "score"]
    assert found.dice == {"ball": score} and pet.title == "real PET"
    assert dice(untouched.reference.data > 0, found.masks["ball"]) == pytest.approx(score, abs=0.02)


def test_a_table_of_single_factors_says_when_it_was_made(tmp_path):
    file = tmp_path / "single.json"
    number = [-0.1, -0.2, 0.05]
    row = {
        "cohort": "N",
        "segmenter": "threshold",
        "factor": "N",
        "alone": True,
        "n": 5,
        "others_cover_0": True,
    }
    row |= {"part": [0.981, 0.9, 1.2], "gap_seen": True}
    row |= dict.fromkeys(["R", "N", "C", "A", "residual", "gap"], number)
    kept = {
        "structures": ["liver"],
        "rows": [row, row | {"part": [0.9, 0.8, 1.0]}, row | {"part": [7.0, -50.0, 90.0], "gap_seen": False}],
        "spacing_mm": 6.0,
        "date": "2026-11-30",
        "command": "python x.py",
    }
    file.write_text(json.dumps(kept))
    assert "98 % [90, 120]" in (shown := ladder.single_factors(str(file))) and "700 %" not in shown
    words = ladder.single_factors_words(str(file))
    assert words.startswith("There are 3 cases") and "In 2 of them the interval" in words
    assert (
        "90 to 98 % of the gap, at least 95 % in 1; in 1 of the 1 below, what is not explained has an interval that "
        "holds 0. The intervals of the other three cover 0 in 3 of 3" in words
    )
    assert "`python x.py` on 2026-11-30" in words
    assert "not part of this installation" in ladder.single_factors(str(tmp_path / "none.json"))


def test_the_sentence_on_estimates_says_how_far_they_miss_at_most():
    keys = {"subject": "sub-001", "session": "petct"}
    rows = [
        ("fwhm", "", 7.0, 6.8),
        ("sd over mean", "", 0.10, 0.125),
        ("displacement x", "brain", 0.3, 0.0),
        ("displacement y", "brain", -1.4, -1.0),
    ]
    table = pd.DataFrame(
        [{**keys, "quantity": q, "structure": s, "estimate": e, "true": t, "unit": ""} for q, s, e, t in rows]
    )
    assert ladder.truth_words(table) == (
        "In 1 pair the estimates miss the point spread by at most 2.9 % (asked of it: 10 %), the noise by at most "
        "20.0 % (15 %), the place of the head by at most 0.50 mm (2 mm)."
    )
    two = pd.concat([table, table.assign(subject="sub-002", estimate=table["true"])])
    assert "In 2 pairs" in ladder.truth_words(two) and "at most 20.0 %" in ladder.truth_words(two)


def test_the_cost_of_a_ladder_stands_beside_sixteen_predictions(tmp_path):
    row = {"segmenter": "threshold", "prediction_s": 0.1, "image_of_a_run_s": 0.5, "ladder_s": 4.0}
    row |= {"over_predictions": 2.5, "over_images_of_a_run": 0.5}
    size = {
        "spacing_mm": 6.0,
        "shapes": [[9, 8, 7], [6, 5, 4]],
        "estimates_s": 1.04,
        "images_s": 0.5,
        "rows": [row],
    }
    file = tmp_path / "ladder.json"
    file.write_text(
        json.dumps({"sizes": [size], "goal": 1.2, "date": "2026-11-30", "command": "python x.py"})
    )
    words = ladder.cost_words(str(file))
    assert "1.0 and 0.5 CPU s for a CT of 9 × 8 × 7 voxels" in words
    assert "in 0 of 1 cases where a prediction is the segmenter's own work, and in 1 where" in words
    assert "2.50" in ladder.cost(str(file)) and "4.0 s" in ladder.cost(str(file))
    assert "not part of this installation" in ladder.cost(str(tmp_path / "none.json"))
