"""The excess gap and the tables of supervised references: hand-made scores, known answers."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import supervised as chapter
from umdlib import figures, published
from umdlib.__main__ import main
from umdlib.errors import InputError
from umdlib.scores.table import write_scores
from umdlib.statistics import reference_gap as supervised


def rows(segmenter, session, structural, pet, prompt="class", step=0, structure="liver"):
    """Score rows of subjects with given DSC in both images."""
    other = {"petct": "CT", "petmr": "MR"}[session]
    found = []
    for modality, values in ((other, structural), ("PET", pet)):
        found += [
            {
                "subject": f"sub-{n:03d}",
                "session": session,
                "modality": modality,
                "structure": structure,
                "segmenter": segmenter,
                "prompt": prompt,
                "step": step,
                "seed": 0,
                "dice": v,
                "surface_dice_1mm": v / 2,
                "status": "ok",
                "reason": "",
            }
            for n, v in enumerate(values)
        ]
    return found


@pytest.fixture
def scores():
    return pd.DataFrame(
        [
            *rows("nnunet_small", "petct", [0.9, 0.8, 0.7, 0.9], [0.8, 0.7, 0.6, 0.7]),
            *rows("threshold", "petct", [0.5, 0.5, 0.5, 0.5], [0.3, 0.2, 0.3, 0.2], "centre"),
        ]
    )


def test_excess_is_the_gap_less_the_references_on_the_same_subjects(scores):
    row = supervised.excess_gap(scores, n_resamples=99).iloc[0]
    assert row["segmenter"] == "threshold"
    # gaps -0.2, -0.3, -0.2, -0.3; the reference's -0.1, -0.1, -0.1, -0.2
    assert row["gap"] == pytest.approx(-0.25)
    assert row["reference_gap"] == pytest.approx(-0.125)
    assert row["estimate"] == pytest.approx(-0.125)
    # Student's interval of -0.1, -0.2, -0.1, -0.1 with 3 degrees of freedom, t = 3.182446
    half = 3.182446 * 0.05 / 2
    assert row["ci_low"] == pytest.approx(-0.125 - half, abs=1e-6)
    assert row["ci_high"] == pytest.approx(-0.125 + half, abs=1e-6)
    assert (row["n_subjects"], row["n_pairs"]) == (4, 4)


def test_a_subject_without_the_reference_is_left_out_of_both_gaps(scores):
    gone = scores["segmenter"].eq("nnunet_small") & scores["subject"].eq("sub-003")
    row = supervised.excess_gap(scores[~gone], n_resamples=99).iloc[0]
    assert row["n_subjects"] == 3
    assert row["gap"] == pytest.approx(-0.7 / 3)


def test_the_reference_has_no_excess_over_itself(scores):
    assert "nnunet_small" not in set(supervised.excess_gap(scores, n_resamples=9)["segmenter"])


def test_a_table_without_specialists_gives_empty_tables_that_say_so(scores):
    alone = scores[scores["segmenter"].eq("threshold")]
    excess = supervised.excess_gap(alone)
    assert excess.empty
    assert supervised.supervised_gap(alone, published.read("umd_table3")).empty
    assert supervised.reference_means(alone, published.read("umd_table3")).empty
    with pytest.raises(InputError, match="Reference 'nnunet' is not in the score table"):
        supervised.excess_gap(alone, reference="nnunet")


def test_the_verdict_on_an_excess_follows_the_metric(scores):
    excess = supervised.excess_gap(scores, n_resamples=99)
    assert "loses more" in set(chapter.excess_layout(excess)["beside the baseline"])
    excess.attrs["metric"] = "hausdorff_95"
    assert "loses less" in set(chapter.excess_layout(excess)["beside the baseline"])
    excess.attrs["metric"] = "rvd"
    assert "gap lies below" in set(chapter.excess_layout(excess)["beside the baseline"])


def test_an_unavailable_specialist_is_no_reference(scores):
    scores.loc[scores["segmenter"].eq("nnunet_small"), "status"] = "unavailable"
    assert supervised.specialists(scores) == []
    assert supervised.excess_gap(scores).empty


def test_printed_row_of_nnunet_stands_beside_the_measured_one(scores):
    means = supervised.reference_means(scores, published.read("umd_table3"), n_resamples=99)
    assert means[["modality", "printed"]].to_numpy().tolist() == [["CT", 0.686], ["PET", 0.605]]
    assert means["estimate"].tolist() == pytest.approx([0.825, 0.7])
    assert means["n_subjects"].tolist() == [4, 4]
    layout = chapter.reference_layout(means)
    assert layout["UMD printed"].tolist() == ["0.686", "0.605"]
    assert layout["reference"].tolist() == ["nnU-Net v2, trained here"] * 2


def test_the_specialists_own_gap(scores):
    printed = published.read("umd_table3")
    gap = supervised.supervised_gap(scores, printed, n_resamples=99)
    assert gap["segmenter"].tolist() == ["nnunet_small"]
    assert gap["estimate"].iloc[0] == pytest.approx(-0.125)
    assert gap["printed"].iloc[0] == pytest.approx(0.605 - 0.686)
    other = supervised.supervised_gap(scores, printed, metric="surface_dice_1mm", n_resamples=99)
    assert other["printed"].isna().all()


def test_quartiles_have_specialists_first_and_count_points(scores):
    clicks = pd.DataFrame(
        [
            *rows("threshold", "petct", [0.5] * 4, [0.35] * 4, "centre", step=1),
            *rows("threshold", "petct", [0.5] * 4, [0.4, 0.5, 0.6, 0.7], "centre", step=2),
            *rows("threshold", "petct", [0.5] * 4, [0.99] * 4, "random"),
        ]
    )
    table = supervised.quartiles(pd.concat([scores, clicks], ignore_index=True))
    assert table[["segmenter", "points"]].to_numpy().tolist() == [
        ["nnunet_small", 0],
        ["threshold", 1],
        ["threshold", 3],
    ]
    last = table.iloc[-1]
    assert (last["median"], last["q1"], last["q3"]) == pytest.approx((0.55, 0.475, 0.625))
    layout = chapter.quartile_layout(table, "petct")
    assert layout["segmenter"].tolist() == ["nnU-Net v2, trained here", "Threshold (1p)", "Threshold (3p)"]
    assert layout["Liver"].iloc[-1] == "0.550 (0.475–0.625)"
    halves = supervised.quartiles(scores, metric="surface_dice_1mm")
    assert halves["median"].iloc[0] == pytest.approx(0.35)


def test_figures_draw_what_they_are_given(scores):
    by = ("session", "segmenter", "structure")
    excess = supervised.excess_gap(scores, by=by, n_resamples=99)
    ax = chapter.excess_plot(excess)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Liver"]
    assert "nnU-Net v2, trained here" in ax.get_xlabel()
    log = pd.DataFrame({"loss": [2.0, 1.0], "cpu_s": [60.0, 60.0]})
    ax = figures.loss_curves({"a": log, "b": log}, {"a": "CT", "b": "CT"})
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [1, 2])
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def condition(structural, home=0.84, **options):
    scores = pd.DataFrame(rows("nnunet_small", "petct", structural, structural))
    there = pd.DataFrame(
        {"segmenter": ["nnunet_small"], "session": "petct", "modality": "CT", "dice": home, "n_subjects": 8}
    )
    return supervised.reference_condition(scores, "nnunet_small", home=there, n_resamples=99, **options)


def test_a_network_outside_its_domain_is_no_reference():
    here = condition([0.5, 0.52, 0.51]).iloc[0]
    assert not here["holds"]
    assert here["why"] == "its mean DSC on CT is more than 0.1 below that on its own data"
    assert "No reference for this cohort" in chapter.condition_words(condition([0.5, 0.52, 0.51]))
    assert condition([0.8, 0.78, 0.82]).iloc[0]["holds"]
    assert chapter.condition_words(condition([0.8, 0.78, 0.82])) == ""


def test_without_a_score_at_home_nothing_is_tested():
    here = condition([0.8, 0.8], home=0.84).iloc[0]
    assert here["holds"]
    scores = pd.DataFrame(rows("segresnet", "petct", [0.8, 0.8], [0.8, 0.8]))
    other = supervised.reference_condition(scores, "segresnet", n_resamples=99).iloc[0]
    assert not other["holds"]
    assert "not known" in other["why"]


def test_sessions_without_a_reference_have_no_excess(scores):
    every = supervised.excess_gap(scores, n_resamples=99)
    assert len(every)
    assert supervised.excess_gap(scores, sessions=[], n_resamples=99).empty


def test_a_finished_run_fills_the_scores_of_specialists_on_their_own_data(scores, tmp_path, capsys):
    both = pd.concat(
        [scores, pd.DataFrame(rows("nnunet_small", "petct", [0.5] * 4, [0.4] * 4, structure="lung"))]
    )
    write_scores(tmp_path / "scores.parquet", both, stamp={})
    assert (
        main(["reference-scores", str(tmp_path / "scores.parquet"), "--out", str(tmp_path / "out.tsv")]) == 0
    )
    table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert list(table) == list(supervised._home_scores())
    # CT: means of (0.9, 0.8, 0.7, 0.9) and 0.5; PET: of (0.8, 0.7, 0.6, 0.7) and 0.4
    assert table["dice"].tolist() == [0.662, 0.55] and table["n_subjects"].tolist() == [4, 4]
    write_scores(tmp_path / "none.parquet", scores[scores["segmenter"].eq("threshold")], stamp={})
    assert main(["reference-scores", str(tmp_path / "none.parquet"), "--out", str(tmp_path / "o.tsv")]) == 2
    assert "No specialist has a score" in capsys.readouterr().err
