"""Tables show what was computed, mark what the named test marks, and say why a cell is empty."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import certainty, empty_rule, modality_gap
from umdlib import published, tables
from umdlib.errors import InputError
from umdlib.protocols import coordinates_given
from umdlib.scores.simulated import Model, score_table
from umdlib.statistics.click_curves import curve_table, effort_table
from umdlib.statistics.comparison import compare
from umdlib.statistics.ranking import ranking_sensitivity
from umdlib.statistics.reported import reported_table


@pytest.fixture(scope="module")
def scores():
    table = score_table(n_subjects=20, structures=["liver", "aorta"], gap={"even": 0.0, "poor": -0.4}, seed=5)
    gone = table[table["segmenter"].eq("even")].assign(
        segmenter="absent",
        status="unavailable",
        reason="weights absent.pt not found",
        dice=np.nan,
        hausdorff_95=np.nan,
    )
    return pd.concat([table, gone], ignore_index=True)


@pytest.fixture(scope="module")
def comparisons(scores):
    return compare(scores, n_resamples=500)


@pytest.fixture(scope="module")
def cells(scores, comparisons):
    overall = compare(scores, by=("session", "segmenter"), n_resamples=500)
    return tables.modality_table(comparisons, "petct", overall=overall)


def cell(cells, structure, modality, segmenter):
    keys = {"structure": structure, "modality": modality, "segmenter": segmenter}
    return cells[(cells[list(keys)] == pd.Series(keys)).all(axis=1)].iloc[0]


def test_cells_are_means_over_subjects(scores, cells):
    rows = scores.query("structure == 'liver' and modality == 'PET' and segmenter == 'poor'")
    found = cell(cells, "liver", "PET", "poor")
    assert found["value"] == pytest.approx(rows["dice"].mean())
    assert found["high"] - found["value"] == pytest.approx(rows["dice"].std())


def test_the_mark_stands_at_the_better_modality(cells):
    assert cell(cells, "liver", "CT", "poor")["mark"] == "sig-4"
    assert cell(cells, "liver", "PET", "poor")["mark"] == ""
    assert cell(cells, "liver", "CT", "even")["mark"] == ""


def test_marks_follow_the_correction(comparisons):
    borderline = comparisons.copy()
    borderline.attrs = comparisons.attrs
    borderline[["p_value", "p_holm", "p_bh"]] = [0.008, 0.016, 0.00005]
    marks = {
        c: set(tables.modality_table(borderline, "petct", correction=c)["mark"]) for c in tables.CORRECTIONS
    }
    assert marks == {"none": {"", "sig-2"}, "holm": {""}, "bh": {"", "sig-4"}}


def test_a_mark_that_the_correction_takes_away_stands_in_brackets(comparisons):
    weak = comparisons.copy()
    weak.attrs = comparisons.attrs
    weak[["p_value", "p_holm", "p_bh"]] = [0.00005, 0.008, 0.02]
    assert "† (‡)]{.sig-2}" in tables.to_markdown(tables.modality_table(weak, "petct"))
    text = tables.to_markdown(tables.modality_table(weak, "petct", correction="bh"))
    assert " (‡)" in text
    assert "sig-" not in text
    none = tables.modality_table(weak, "petct", correction="none")
    assert "(‡)" not in tables.to_markdown(none)


def test_who_always_fails_is_never_best(scores):
    lost = scores.copy()
    lost.loc[lost["modality"].eq("PET") & lost["structure"].eq("liver"), "dice"] = 0.05
    cells = tables.modality_table(compare(lost, n_resamples=99), "petct")
    rows = cells["structure"].eq("liver")
    assert not cells.loc[rows & cells["modality"].eq("PET"), "best"].any()
    assert cells.loc[rows & cells["modality"].eq("CT"), "best"].any()


def test_failure_rates_have_exact_intervals():
    table = score_table(n_subjects=8, structures=["liver"], gap={"a": 0.0}, seed=1)
    lost = table["modality"].eq("PET") & table["subject"].lt("sub-004")
    table.loc[lost, ["dice", "status"]] = [0.0, "prediction_empty"]
    row = modality_gap.failure_rows(compare(table, n_resamples=99)).iloc[0]
    # R: binom.test(0, 8)$conf.int: 0 to 0.3694; binom.test(3, 8)$conf.int: 0.0852 to 0.7551
    assert row["fails on structural [95 %]"] == "0 % [0, 37]"
    assert row["fails on PET [95 %]"] == "38 % [9, 76]"


def test_winners_under_every_rule_stand_side_by_side(scores):
    ranks = ranking_sensitivity(scores, metrics=["dice", "hausdorff_95"])
    table = empty_rule.winners(ranks)
    assert len(table) == 2 * 2 * 2
    assert [c for c in table if c in ("drop", "zero", "one", "worst")] == ["drop", "zero", "one", "worst"]
    assert table.loc[table["modality"].eq("PET"), "drop"].str.startswith("even (").all()


def test_what_no_test_could_have_shown_is_said():
    few = score_table(n_subjects=8, gap={"a": -0.3}, seed=2)
    words = certainty.verdict_counts(compare(few, test="permutation", n_resamples=99))
    # 2 / 2**8 = 0.0078, times 13 structures 0.102
    assert "0.0078; times a family of 13 that is 0.102" in words
    assert "in 13 of the 13 comparisons" in words
    many = score_table(n_subjects=12, gap={"a": -0.3}, seed=2)
    assert "smallest p-value" not in certainty.verdict_counts(
        compare(many, test="permutation", n_resamples=99)
    )


def test_the_better_end_of_a_distance_is_the_smaller(scores):
    far = compare(scores, metric="hausdorff_95", n_resamples=200)
    cells = tables.modality_table(far, "petct")
    assert cell(cells, "liver", "CT", "poor")["mark"] == "sig-4"
    assert cell(cells, "liver", "PET", "even")["best"]


def test_the_best_segmenter_of_a_row_is_bold_only_among_several(cells, comparisons):
    assert cell(cells, "liver", "PET", "even")["best"]
    assert not cell(cells, "liver", "PET", "poor")["best"]
    alone = comparisons[comparisons["segmenter"].eq("poor")]
    assert not tables.modality_table(alone, "petct")["best"].any()


def test_an_unavailable_segmenter_is_a_word_not_a_number(cells):
    text = tables.to_markdown(cells)
    assert text.count("[unavailable]{.cell-state}") == 6
    assert "absent: unavailable: weights absent.pt not found" in tables.reasons(cells)
    assert "nan" not in text.lower()


def test_a_segmenter_that_always_fails_is_a_word_too(scores):
    broken = scores[scores["segmenter"].eq("even")].assign(segmenter="broken", status="failed", dice=np.nan)
    both = pd.concat([scores, broken], ignore_index=True)
    text = tables.to_markdown(tables.modality_table(compare(both, n_resamples=99), "petct"))
    assert text.count("[failed]{.cell-state}") == 4


def test_sentences_know_three_verdicts():
    table = score_table(
        n_subjects=200,
        structures=["liver"],
        gap={"same": 0.0, "worse": -0.3},
        model=Model(noise_sd=0.01, subject_sd=0.05),
        seed=3,
    )
    few = compare(table, by=("session", "segmenter"), n_resamples=200)
    same, worse = tables.sentences(few).splitlines()
    assert "the same on PET and CT within ±0.02" in same
    assert "DSC is lower on PET than on CT" in worse
    assert "n = 200 subjects, 200 pairs" in worse
    little = table[table["subject"].lt("sub-004")]
    text = tables.sentences(compare(little, by=("session", "segmenter"), n_resamples=200))
    assert "undecided" in text
    assert "fewer than 6 subjects" in text


def test_markdown_is_one_table_with_equal_columns(cells):
    lines = tables.to_markdown(cells).splitlines()
    assert len(lines) == 2 + 2 * 3
    assert {line.count("|") for line in lines} == {7}
    assert "{.sig-4}" in lines[2]
    assert lines[2].startswith("| Liver | CT | 20 |")


def test_the_legend_names_test_correction_and_rule(cells):
    legend = cells.attrs["legend"]
    for words in ("inverts its interval", "Holm", "mean (SD)", "Empty rule 'drop'", "CT and PET"):
        assert words in legend


def test_failures_are_counted_in_the_cell():
    table = score_table(n_subjects=9, structures=["liver"], gap={"a": 0.0}, seed=1)
    lost = table["modality"].eq("PET") & table["subject"].lt("sub-004")
    table.loc[lost, ["dice", "status"]] = [0.0, "prediction_empty"]
    text = tables.to_markdown(tables.modality_table(compare(table, n_resamples=99), "petct"))
    assert "[3 failed]{.cell-note}" in text


def test_median_form_has_quartiles(scores, comparisons):
    found = cell(tables.modality_table(comparisons, "petct", form="median"), "liver", "CT", "poor")
    rows = scores.query("structure == 'liver' and modality == 'CT' and segmenter == 'poor'")["dice"]
    assert (found["low"], found["value"], found["high"]) == pytest.approx(
        tuple(rows.quantile([0.25, 0.5, 0.75]))
    )


def test_exports_hold_the_same_numbers(cells, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    for ending in ("csv", "tex", "xlsx"):
        tables.export(cells, tmp_path / f"t.{ending}")
    value = cell(cells, "liver", "CT", "poor")["value"]
    back = pd.read_csv(tmp_path / "t.csv").query("structure == 'liver' and segmenter == 'poor'")
    assert back["value"].iloc[0] == pytest.approx(value)
    latex = (tmp_path / "t.tex").read_text()
    assert rf"\cellcolor[gray]{{0.70}}\textbf{{{value:.3f}" in latex
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    assert book.sheetnames == ["table", "cells"]
    shaded = [c for row in book["table"] for c in row if c.fill.fill_type == "solid"]
    assert any(str(c.value).startswith(f"{value:.3f}") for c in shaded)
    with pytest.raises(InputError, match=r"Unknown table format '\.docx'"):
        tables.export(cells, tmp_path / "t.docx")


def test_unknown_names_are_refused(comparisons):
    with pytest.raises(InputError, match="Unknown correction 'sidak'"):
        tables.modality_table(comparisons, "petct", correction="sidak")
    with pytest.raises(InputError, match="No comparison of session 'petmr'"):
        tables.modality_table(comparisons, "petmr")


def test_comparison_table_says_why(comparisons):
    table = tables.comparison_table(comparisons)
    assert table["note"].iloc[-1] == "unavailable: weights absent.pt not found"
    assert table["mean difference [95 %]"].iloc[-1] == "–"
    assert set(tables.comparison_table(comparisons, detail="effects")) > {"rank-biserial", "median"}


def test_an_undefined_number_is_a_dash_in_a_table():
    table = pd.DataFrame({"a": [-1.234, float("nan")], "b": ["x", "y|z"]})
    rows = tables.markdown_table(table, {"a": ".1f"}).splitlines()[2:]
    assert rows == ["| −1.2 | x |", "| – | y\\|z |"]


def test_a_note_that_many_rows_share_is_written_once(comparisons):
    shown, notes = tables.with_footnotes(tables.comparison_table(comparisons))
    assert "note" not in shown
    assert notes.count("absent.pt not found") == 1
    assert shown["Segmenter"].iloc[-1][-1] in "¹²³⁴⁵⁶⁷⁸⁹"
    assert tables.with_footnotes(shown)[1] == ""


def test_a_metric_without_a_better_end_has_no_best_and_no_mark(scores):
    signed = compare(scores, metric="rvd", n_resamples=200)
    cells = tables.modality_table(signed, "petct")
    assert cells["value"].notna().any()
    assert not cells["best"].any()
    assert cells["mark"].eq("").all()
    with pytest.raises(InputError, match="'rvd' has no better end"):
        ranking_sensitivity(scores, metrics=("rvd",))


def test_telescoping_gaps_add_up():
    """reported − common = harness gap + data gap + prompt gap, where every term exists."""
    table = score_table(n_subjects=6, structures=["liver"], gap={"sam_med3d_turbo": -0.1}, seed=2)
    native = table.assign(prompt="official_crop_192mm", dice=table["dice"] + 0.02)
    both = pd.concat([table, native], ignore_index=True)
    harness = {("sam_med3d_turbo", "CT"): 0.77}
    result = reported_table(published.read("umd_table3"), both, harness=harness)
    row = result.query("segmenter == 'sam_med3d_turbo' and modality == 'CT'").iloc[0]
    gaps = row[["harness_gap", "data_gap", "prompt_gap"]]
    assert gaps.sum() == pytest.approx(row["reported"] - row["common"], abs=1e-12)
    assert (row["reported"], row["printed"]) == (0.790, 0.404)
    assert row["harness_gap"] == pytest.approx(0.02)
    assert row["prompt_gap"] == pytest.approx(0.02)


def test_a_protocol_is_native_to_the_system_whose_authors_use_it():
    """SAM-Med3D's sampler without its crop is nobody's; nnInteractive publishes no rule for a click."""
    names = {"sam_med3d_turbo": 0.0, "nninteractive": 0.0, "segvol": 0.0}
    table = score_table(n_subjects=4, structures=["liver"], gap=names)
    drawn = [table.assign(prompt=p) for p in ("official_random", "random")]
    result = reported_table(published.read("umd_table3"), pd.concat([table, *drawn], ignore_index=True))
    result = result[result["session"].eq("petct")].set_index(["segmenter", "modality"])
    assert result["native"].notna().groupby("segmenter").all()[["segvol"]].all()
    assert result.loc["sam_med3d_turbo", "native"].isna().all()
    assert set(result.loc["sam_med3d_turbo", "why_native"]) == {"its own protocol was not run"}
    assert set(result.loc["nninteractive", "why_native"]) == {"its authors publish no rule for a click"}


def test_cells_that_cannot_be_computed_say_why(scores):
    result = reported_table(published.read("umd_table3"), scores).set_index(["segmenter", "modality"])
    assert result.loc[("segvol", "MR"), "why_reported"] == "its test data hold no MR"
    assert set(result.loc["nnunet", "why_reported"]) == {"not reported"}
    assert set(result.loc["segvol", "why_common"]) == {"not part of this run"}
    assert set(result.loc["poor", "why_native"]) == {"its own protocol was not run"}
    assert result["why_harness_gap"].ne("").all()
    assert result.loc[("sat_pro", "CT"), "reported"] == pytest.approx(0.756)


def test_effort_counts_coordinates_and_gains_pair_within_the_subject():
    assert [coordinates_given(p, 1) for p in ("centre", "box_padded_5mm", "class")] == [6, 9, 3]
    table = score_table(n_subjects=8, structures=["liver"], gap={"a": -0.1}, steps=(0, 1), seed=3)
    table["seconds"] = 0.5
    curves = curve_table(table, n_resamples=300)
    pet = curves[curves["modality"].eq("PET")].set_index("step")
    wide = table[table["modality"].eq("PET")].pivot_table(index="subject", columns="step", values="dice")
    assert pet.loc[1, "gain"] == pytest.approx((wide[1] - wide[0]).mean())
    assert np.isnan(pet.loc[0, "gain"])
    assert effort_table(table)["seconds"].eq(0.5).all()


def test_effort_of_prompts_per_slice_is_what_the_rows_counted():
    """Three points in each of 15 or 25 slices: 135 or 225 numbers, a median of 180."""
    table = score_table(n_subjects=8, structures=["liver"], gap={"a": 0.0})
    table["coordinates"] = np.where(table["subject"].isin(table["subject"].unique()[:4]), 135.0, 225.0)
    sliced = table.assign(prompt="points_per_slice_3")
    both = effort_table(pd.concat([table, sliced], ignore_index=True)).set_index("prompt")
    assert set(both.loc["points_per_slice_3", "coordinates"]) == {180.0}
    assert set(both.loc["centre", "coordinates"]) == {3.0}
    assert effort_table(table.assign(prompt="boxes_per_slice"))["coordinates"].notna().all()
    assert both["coordinates"].dtype == int
    without = sliced.drop(columns="coordinates")
    assert effort_table(without)["coordinates"].isna().all()


def test_steps_compare_the_same_structures():
    table = score_table(n_subjects=4, structures=["liver", "aorta"], gap={"a": 0.0}, steps=(0, 1))
    missing = table["structure"].eq("aorta") & table["step"].eq(1)
    curves = curve_table(table[~missing], n_resamples=50)
    alone = curve_table(table[table["structure"].eq("liver")], n_resamples=50)
    pd.testing.assert_frame_equal(curves, alone)


def test_one_side_that_failed_is_told_from_the_other(scores):
    lost = scores["segmenter"].eq("even") & scores["modality"].eq("PET")
    scores = scores.copy()
    scores.loc[lost, ["dice", "status"]] = [np.nan, "failed"]
    cells = tables.modality_table(compare(scores, n_resamples=99), "petct")
    state = cells[cells["segmenter"].eq("even")].groupby("modality")["state"].unique()
    assert list(state["PET"]) == ["failed"] and list(state["CT"]) == ["no pairs"]


def test_the_row_of_all_structures_is_corrected_over_segmenters(scores):
    quick = {"n_resamples": 99}
    overall = compare(scores, by=("session", "segmenter"), **quick)
    cells = tables.modality_table(compare(scores, **quick), "petct", overall=overall)
    given = cells[cells["structure"].eq("all")].set_index("segmenter")["p"]
    for row in overall[overall["session"].eq("petct") & overall["estimate"].notna()].itertuples():
        assert (given[row.segmenter] == row.p_bh).all()
    assert "over 2 segmenters" in cells.attrs["legend"]


def test_a_comparison_that_only_one_rule_has_depends_on_the_rule():
    rows = pd.DataFrame(
        {
            "session": "petct",
            "segmenter": "a",
            "metric": "dice",
            "empty": ["drop", "worst"],
            "estimate": [np.nan, -0.2],
            "verdict": ["", "differs"],
        }
    )
    assert empty_rule.rule_verdicts(rows)["verdict"].tolist() == ["**depends on the rule**"]


def test_a_ranking_says_where_a_segmenter_is_missing():
    ranks = pd.DataFrame(
        {
            "session": ["petct", "petmr", "petmr"],
            "modality": ["PET", "MR", "PET"],
            "segmenter": "a",
            "note": ["", "no score", "no score"],
            "kendall_tau": 1.0,
            "n_subjects": 3,
            "n_cases": 3,
            "n_dropped": 0,
        }
    )
    assert "a is not ranked on PET/MR (MR, PET): no score" in certainty.ranking_notes(ranks)


def test_click_curves_pair_structures_as_the_comparison_does():
    table = score_table(n_subjects=6, structures=["liver", "spleen", "aorta"], gap={"a": -0.2})
    lost = table["structure"].eq("liver") & table["modality"].eq("CT")
    table.loc[lost, ["dice", "status"]] = [np.nan, "ok"]
    curve = curve_table(table, n_resamples=99)
    step = curve[curve["modality"].eq("difference") & curve["session"].eq("petct")].iloc[0]
    one = compare(table, by=("session", "segmenter"), n_resamples=99).iloc[0]
    assert step["estimate"] == pytest.approx(one["estimate"])


def test_a_segmenter_with_scores_on_one_image_has_a_curve_there():
    table = score_table(n_subjects=4, structures=["liver"], gap={"a": -0.2}, steps=(0, 1))
    curve = curve_table(table[table["modality"].eq("PET")], n_resamples=99)
    assert set(curve["modality"]) == {"PET"}
    assert curve["estimate"].notna().all()


def test_what_no_p_value_can_reach_depends_on_the_level(scores):
    comparisons = compare(scores, test="permutation", n_resamples=99)
    n, family = comparisons["n_subjects"].max(), comparisons["n_holm"].max()
    least = family * 2.0 ** (1 - n)
    assert tables.reachable_words(comparisons, level=least * 2) == ""
    said = tables.reachable_words(comparisons, level=least)
    assert f"could have had p < {least:g} after Holm" in said
