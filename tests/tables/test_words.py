"""Texts of tables from hand-made numbers: verdicts, ceilings, costs, cells, LaTeX."""

import numpy as np
import pandas as pd
import pytest

from umdlib import tables
from umdlib.scores.ceilings import KINDS
from umdlib.tables import ceilings, exports, interactive, markdown
from umdlib.tables.titles import SEGMENTERS, segmenter_title, use_titles
from umdlib.tables.verdicts import sentences

NAN = float("nan")


def comparison(**changes):
    row = {
        "session": "petct",
        "segmenter": "a",
        "estimate": -0.1,
        "ci_low": -0.2,
        "ci_high": -0.05,
        "note": "",
    }
    row |= {"n_subjects": 8, "n_pairs": 16, "p_value": 0.01, "p_bh": 0.02, "n_bh": 3, "verdict": "differs"}
    return pd.DataFrame([row | changes])


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("differs and matters", "DSC is lower on PET than on CT, by more than the margin of 0.02"),
        ("differs", "DSC is lower on PET than on CT; whether by more than the margin of 0.02 is open"),
        (
            "differs by less than the margin",
            "DSC is lower on PET than on CT, by less than the margin of 0.02",
        ),
        ("the same", "DSC is the same on PET and CT within ±0.02"),
        ("undecided", "undecided (±0.02 DSC)"),
        ("not identifiable", "not identifiable: DSC is at the floor on both CT and PET"),
    ],
)
def test_every_verdict_is_a_clause_with_its_numbers(verdict, words):
    assert sentences(comparison(verdict=verdict)) == (
        f"- **a**: {words}; −0.100 [−0.200, −0.050]; n = 8 subjects, 16 pairs; "
        "p = 0.010, corrected 0.020 (family of 3)."
    )


def test_a_sentence_without_interval_test_or_pair_says_only_what_there_is():
    alone = comparison(ci_low=NAN, ci_high=NAN, p_value=NAN, n_subjects=1, n_pairs=1, note="one subject")
    assert sentences(alone).endswith("; difference −0.100 DSC; n = 1 subject, 1 pair. (one subject)")
    assert sentences(comparison(estimate=NAN, note="no pair")) == "- **a**: no pair."
    small = sentences(comparison(p_value=1e-9, p_bh=1e-8, estimate=0.5, session="petmr"))
    assert "higher on PET than on MR" in small and "; p < 0.0001, corrected < 0.0001 (family" in small


def test_only_verdicts_that_occur_are_explained_and_in_one_order():
    rows = pd.concat([comparison(verdict="undecided"), comparison()])
    legend = tables.verdict_legend(rows)
    assert legend.startswith("*Differs*: ") and legend.index("*Undecided*: ") > 0 and "The same" not in legend


def kinds(*rows):
    columns = ["session", "modality", "structure", "kind", "size_mm", "ceiling"]
    return pd.DataFrame([("petct", *row) for row in rows], columns=columns).assign(bound=False)


def test_scores_stand_beside_the_widest_jitter_and_the_measured_movement():
    table = kinds(
        ("PET", "liver", "second reader", 1.0, 0.95),
        ("PET", "liver", "second reader", 2.0, 0.9),
        ("PET", "liver", "shift", 5.0, 0.8),
        ("CT", "liver", "grid", NAN, 0.97),
    )
    shown = ceilings.lines(table, "petct")
    assert shown[["title", "ceiling"]].to_numpy().tolist() == [
        ["second reader (2 mm)", 0.9],
        ["moved (5 mm)", 0.8],
    ]
    moved = pd.concat(
        [table, kinds(("PET", "liver", "motion", 3.0, 0.7), ("PET", "liver", "motion", 9.0, 0.5))]
    )
    assert ceilings.lines(moved, "petct")[["title", "ceiling"]].iloc[1].tolist() == ["moved as measured", 0.6]
    assert ceilings.lines(table, "petmr").empty and list(ceilings.beside_scores("", "petct")) == list(shown)
    assert ceilings.columns(shown) == {
        "*second reader (2 mm)*": {("liver", "PET"): "0.900"},
        "*moved (5 mm)*": {("liver", "PET"): "0.800"},
    }


def test_ceilings_of_the_structural_image_say_so_in_their_title():
    table = kinds(
        ("PET", "liver", "grid", NAN, 0.9),
        ("CT", "liver", "grid", NAN, 0.95),
        ("PET", "aorta", "grid", NAN, 0.5),
    )
    shown = tables.ceilings_layout(table, "petct")
    assert list(shown) == ["Structure", "grid", "grid, CT"]
    assert shown.to_numpy().tolist() == [["Liver", "0.900", "0.950"], ["Aorta", "0.500", "–"]]
    words = tables.kinds_words(table.assign(bound=True))
    assert words == f"- *grid*: {KINDS['grid']} (a bound: no mask of that kind exceeds it)"


def test_a_training_costs_what_its_card_says():
    card = {
        "title": "N",
        "modalities": "CT",
        "session": "petct",
        "subjects": 8,
        "data_seed": 1,
        "training_seed": 2,
    }
    card |= {
        "parameters": 1234567,
        "megabytes": 4.96,
        "iterations": 20000,
        "cpu_minutes": 61.25,
        "wall_minutes": 30.0,
    }
    shown = tables.cost_layout(
        pd.DataFrame([card | {"cores": 2, "device": "cpu"}] * 2).assign(session=["petct", ""])
    )
    assert shown.iloc[0].tolist() == [
        *("N", "CT of PET/CT", "8", "1, 2", "1,234,567 (5.0)", "20,000"),
        "61.2 (30.0), 2 × cpu",
    ]
    assert shown["Trained on"].iloc[1] == "CT"


def cell(**changes):
    row = {
        "state": "",
        "value": 0.5,
        "low": 0.25,
        "high": 0.75,
        "mark": "",
        "mark_uncorrected": "",
        "best": False,
    }
    row |= {"n_failed": 0.0, "at_floor": False, "modality": "PET", "structure": "liver", "segmenter": "a"}
    return pd.Series(row | {"n_subjects": 8, "note": ""} | changes)


@pytest.mark.parametrize(
    ("changes", "form", "text"),
    [
        ({}, "mean", "0.500 (0.250)"),
        ({}, "median", "0.500 (0.250–0.750)"),
        ({"high": NAN}, "mean", "0.500"),
        ({"state": "failed"}, "mean", "[failed]{.cell-state}"),
        (
            {"best": True, "mark": "sig-4", "mark_uncorrected": "sig-4"},
            "mean",
            "[**0.500 (0.250)** ‡]{.sig-4}",
        ),
        ({"mark_uncorrected": "sig-2"}, "mean", "0.500 (0.250) (†)"),
        (
            {"n_failed": 3.0, "at_floor": True},
            "mean",
            "0.500 (0.250) [3 failed]{.cell-note} [not identifiable]{.cell-note}",
        ),
        ({"at_floor": True, "modality": "CT"}, "mean", "0.500 (0.250)"),
    ],
)
def test_a_cell_has_its_mark_its_weight_and_its_notes(changes, form, text):
    assert markdown._markdown_cell(cell(**changes), form) == text


def test_lines_count_their_subjects_and_have_a_place_for_every_segmenter():
    cells = pd.DataFrame(
        [
            cell(modality="CT"),
            cell(modality="CT", segmenter="b", n_subjects=6),
            cell(structure="all", modality="CT", state="no pairs", note="no pairs at all"),
        ]
    )
    shown = markdown.grid(cells, lambda c: c["note"] or "x")
    last = ["All structures", "CT", "0", "no pairs at all", "–"]
    assert shown.to_numpy().tolist() == [["Liver", "CT", "6–8", "x", "x"], last]
    beside = tables.to_markdown(cells, beside={"more": {("liver", "CT"): "0.9"}}).splitlines()
    assert beside[0].endswith("| more |") and beside[2].endswith("| 0.9 |") and beside[3].endswith("|  |")


def test_reasons_name_the_structures_where_not_all_are_lost():
    cells = pd.DataFrame(
        [
            cell(),
            cell(structure="aorta", state="failed", note="memory"),
            cell(segmenter="b", state="x", note="gone"),
        ]
    )
    cells = pd.concat([cells, cells.iloc[2:].assign(structure="aorta")])
    assert tables.reasons(cells) == "- a (Aorta): memory\n- b: gone"


def test_latex_has_shades_daggers_and_no_special_character(tmp_path):
    cells = pd.DataFrame(
        [cell(segmenter="a_b", mark="sig-2", mark_uncorrected="sig-2", best=True, modality="CT")]
    )
    cells.attrs["legend"] = "what it means"
    tables.export(cells, tmp_path / "deep" / "t.tex")
    lines = (tmp_path / "deep" / "t.tex").read_text().splitlines()
    assert lines[0] == r"\begin{tabular}{lllr}" and r"a\_b" in lines[2] and lines[-1] == "% what it means"
    assert lines[4] == r"Liver & CT & 8 & \cellcolor[gray]{0.88}\textbf{0.500 (0.250)}$^\dagger$ \\"
    assert exports.latex("50 % & #1 ~ {x}") == r"50 \% \& \#1 \textasciitilde  \{x\}"


def test_titles_are_shown_in_columns_of_segmenters_and_in_no_other():
    use_titles({"a": "System A"}.get)
    shown = tables.markdown_table(
        pd.DataFrame({"Segmenter": ["a"], "structure": ["kidney_left"], "name": ["a"]})
    )
    assert shown.splitlines()[2] == "| System A | Kidney, left | a |"
    use_titles(None)
    assert segmenter_title("a") == "a" and SEGMENTERS.is_file()


def test_the_explorer_stands_on_the_page_with_its_data_and_a_sentence():
    html = interactive.explorer({"a": "<b>"}, fallback="No script.")
    assert html._repr_html_() == html and "<noscript>No script.</noscript>" in html
    assert '<script type="application/json">{"a":"\\u003cb>"}</script>' in html


def test_comparisons_show_intervals_of_effects_or_p_values_and_no_empty_notes():
    names = ("mean", "holm", "bh", "permutation", "wilcoxon", "median", "equivalence")
    row = comparison(**{f"p_{n}": 0.5 for n in names}, structure="liver", at_floor=True)
    row = row.assign(
        median=0.1, median_low=0.0, median_high=0.2, hl=-0.1, hl_low=NAN, hl_high=NAN, rank_biserial=-1.0
    )
    row = row.assign(d_z=NAN, smallest_detectable=0.0625)
    main = tables.comparison_table(row)
    assert list(main)[3:] == [
        *("mean difference [95 %]", "p", "p (Holm)", "p (BH)", "p (sign-flip)", "p (Wilcoxon)")
    ]
    assert main.iloc[0, 3] == "−0.100 [−0.200, −0.050], *not identifiable*" and main.iloc[0, 4] == "0.500"
    effects = tables.comparison_table(row, detail="effects").iloc[0]
    assert effects[["median", "Hodges–Lehmann", "rank-biserial", "d_z", "detectable"]].tolist() == [
        *("+0.100 [+0.000, +0.200]", "−0.100", "−1.00", "–", "0.062")
    ]
    assert np.array_equal(tables.comparison_table(row.assign(note="x"))["note"], ["x"])
