"""The chapter on reported numbers: ceilings beside scores."""

import matplotlib.pyplot as plt
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
            "segmenter": ["segvol", "sam_med3d_turbo", "clicknet_pet", "given"],
            "title": ["SegVol", "SAM-Med3D-tb", "clicknet_pet", "given"],
            "reported": [0.793, 0.79, np.nan, np.nan],
            "printed": [np.nan] * 4,
            "harness": [np.nan, np.nan, np.nan, 0.5],
        }
    )
    assert list(reported.of_the_papers(rows)["title"]) == ["SegVol", "SAM-Med3D", "given"]


def official(**changes):
    row = {"title": "SegVol", "session": "petct", "modality": "CT", "reported": 0.8, "reported_text": "0.8"}
    row |= {"printed": 0.5, "native": np.nan, "common": 0.6, "why_native": "its own protocol was not run"}
    return row | {"why_reported": "", "why_printed": "", "why_common": "", "why_harness": ""} | changes


def test_a_system_takes_one_line_with_spans_and_what_is_missing():
    rows = pd.DataFrame(
        [official(), official(modality="PET", reported=np.nan, why_reported="not reported", common=0.4)]
    )
    row = reported.official_layout(rows).iloc[0]
    assert row.tolist() == [
        "SegVol",
        "0.800",
        "0.500",
        "–",
        "0.400 to 0.600",
        "not reported; its own protocol was not run",
    ]
    average = reported.official_layout(pd.DataFrame([official(reported_text="~0.8", why_native="")])).iloc[0]
    assert (average["reported"], average["missing"]) == ("~0.800", "nothing")


def test_reasons_are_listed_once_with_the_systems_that_lack_the_number():
    rows = pd.DataFrame([official(), official(title="SAT"), official(title="SAT", modality="PET")])
    assert reported.missing_reasons(rows).to_numpy().tolist() == [
        ["here, own prompt", "its own protocol was not run", "SegVol, SAT"]
    ]


def test_the_reach_of_the_reported_numbers_is_counted():
    rows = pd.DataFrame([official(), official(printed=0.9), official(reported=np.nan)])
    assert reported.reported_words(rows) == (
        "A reported number and one printed by UMD exist in 2 of 3 rows; the first minus the second is −0.100 to "
        "+0.300 DSC. 2 rows have a reported number and a measurement of this run."
    )


def own(**changes):
    row = {
        "segmenter": "clicknet_pet",
        "session": "petct",
        "modality": "PET",
        "reported": 0.9,
        "average": True,
    }
    row |= {
        "harness": 0.8,
        "native": 0.7,
        "common": 0.65,
        "harness_gap": 0.1,
        "data_gap": 0.1,
        "prompt_gap": 0.05,
    }
    row |= {"total": 0.25, "few": False, "n_subjects": 4}
    return row | dict.fromkeys(("why_harness_gap", "why_data_gap", "why_prompt_gap"), "") | changes


def test_the_sum_of_three_gaps_is_laid_out_with_its_notes():
    few = {"few": True, "n_subjects": 2, "why_data_gap": "x", "why_prompt_gap": "x"}
    shown = reported.own_layout(pd.DataFrame([own(), own(**few), own(few=True, n_subjects=1)]))
    assert shown.iloc[0, 2:].tolist() == [
        *("PET", "~0.900", "0.800", "0.700", "0.650"),
        *("+0.100", "+0.100", "+0.050", "+0.250", ""),
    ]
    assert shown["note"].tolist()[1:] == [
        "x; both prompts on the same 2 subjects, asked by this page",
        "both prompts on one subject, asked by this page",
    ]


def test_words_name_the_largest_term_and_how_far_the_sums_are_whole():
    table = pd.DataFrame([own(), own(data_gap=-0.4, total=-0.25), own(prompt_gap=np.nan)])
    words = reported.own_words(table)
    assert (
        words == "All terms are known in 2 of 3 rows; the largest is the harness gap in 1, the data gap in 1."
    )
    assert reported.own_words(table.iloc[2:]) == "No network of this run has all four numbers."


def test_numbers_of_a_row_are_joined_and_those_that_nobody_has_are_not_in_the_legend():
    rows = pd.DataFrame([official(), official(title="none", reported=np.nan, printed=np.nan, common=np.nan)])
    ax = reported.reported_beside_measured(rows)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["SegVol, PET/CT: CT"]
    assert ax.collections[0].get_segments()[0].tolist() == [[0.5, 0.0], [0.8, 0.0]]
    legend = [t.get_text() for t in ax.figure.legends[0].texts]
    assert legend == ["reported elsewhere", "printed by UMD", "measured here, common prompt"]
    assert ax.get_xlim() == (-0.02, 1.0)
    plt.close("all")


def test_no_subject_is_asked_where_no_image_or_no_network_is_there(tmp_path):
    table = score_table(n_subjects=2, structures=["liver"], gap={"threshold": 0.0})
    given = {"folder": str(tmp_path), "subjects": 1}
    assert reported.asked_own_prompt(str(tmp_path / "none.tsv"), table, **given) is None
    assert reported.asked_own_prompt(__file__, table, **given) is None  # no network of this project
