"""Chapters that show single cases of a run: which prompt, which click, which table stands beside the picture."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import cases, gallery, prompts, subject
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError, NothingToShow
from umdlib.scores.simulated import score_table
from umdlib.viewer.cases import scored_segmenters


@pytest.fixture
def cohort(make_cohort):
    return read_cohort(make_cohort(2))


def test_the_first_prompt_is_the_centre_or_a_segmenters_own():
    table = pd.DataFrame({"segmenter": ["a", "a", "b"], "prompt": ["random", "centre", "class"]})
    assert [gallery.first_prompt(table, n) for n in ("a", "b", "c")] == ["centre", "class", "centre"]


@pytest.mark.parametrize(
    ("prompt", "how"),
    [
        ("centre", "prompted with one click in the centre of each structure"),
        ("class", "asked for each structure by its name"),
        ("box", "prompted by the protocol `box`"),
    ],
)
def test_the_gallery_says_how_its_segmenter_was_asked(cohort, prompt, how):
    words = gallery.gallery_words(cohort, segmenter="threshold", session="petct", prompt=prompt)
    assert words == f"Shown: Threshold, on 2 subjects of PET/CT, {how}."


def test_only_segmenters_that_predicted_can_be_shown():
    rows = [
        ("petct", "a", "ok"),
        ("petct", "b", "failed"),
        ("petct", "c", "unavailable"),
        ("petmr", "d", "ok"),
    ]
    table = pd.DataFrame(rows, columns=["session", "segmenter", "status"])
    assert scored_segmenters(table, "petct") == ["a"]
    assert scored_segmenters(table) == ["a", "d"]
    with pytest.raises(InputError, match="segmenter with predictions in petct 'b'"):
        gallery.chosen(table.assign(dice=0.5), "b", session="petct")


def test_without_a_score_there_is_no_best_segmenter():
    table = score_table(n_subjects=1, structures=["liver"], gap={"a": 0.0})
    with pytest.raises(NothingToShow, match="No dice of session petmr in the score table"):
        gallery.best_segmenter(table, session="petmr")
    with pytest.raises(NothingToShow):
        gallery.best_segmenter(table.assign(dice=np.nan), session="petct")


def test_picked_cases_are_tables_under_the_names_of_the_page(cohort):
    of = {"segmenter": "threshold", "session": "petct", "metric": "dice"}
    picked = pd.DataFrame({"subject": ["s1"], "modality": "CT", "structure": "ball", "dice": [0.5], "x": 1})
    text = gallery.picked_table(picked, cohort, **of)
    assert (
        "The best and the worst prediction of one structure, picked by DSC; Threshold, first prompt." in text
    )
    assert "| subject | modality | structure | DSC |" in text and "| s1 | CT | Ball | 0.500 |" in text
    losses = pd.DataFrame(
        {"subject": ["s1"], "structure": "rod", "structural": [0.9], "pet": [0.4], "difference": [-0.5]}
    )
    text = gallery.loss_table(losses, cohort, **of)
    assert "The three largest losses from CT to PET by DSC; Threshold, first prompt." in text
    assert (
        "| subject | structure | CT | PET | difference |" in text
        and "| s1 | Rod | 0.900 | 0.400 | −0.500 |" in text
    )


def test_one_click_lies_in_a_voxel_of_either_image(cohort):
    shown = prompts.centre_click(cohort, session="petct", structure="ball")
    assert (shown.session, shown.structure.name) == ("petct", "ball")
    assert (
        np.linalg.norm(np.subtract(shown.click.xyz_mm, (-19, 0, 0))) < 6
    )  # the ball's middle, moved by 1 mm
    rows = [
        line.split(" | ")
        for line in prompts.voxel_table(shown).splitlines()
        if line.startswith(("| CT", "| PET"))
    ]
    for (modality, place, ijk, spacing), affine in zip(
        rows, (c.read()[0].affine for c in shown.pair), strict=True
    ):
        xyz = affine @ [*map(int, ijk.split(", ")), 1]
        at = [float(v.replace("−", "-")) for v in place.split(", ")]
        assert (
            np.abs(xyz[:3] - at) <= np.array([float(s) for s in spacing.strip(" |").split(" × ")]) / 2 + 0.01
        ).all()
        assert modality in ("| CT", "| PET")
    axes = prompts.click_figure(shown)
    assert [ax.get_title() for ax in axes] == ["CT, ball", "PET, ball"] and all(ax.images for ax in axes)
    assert prompts.centre_click(cohort, session="petmr").session == "petct"
    with pytest.raises(InputError, match="sub-009"):
        prompts.centre_click(cohort, session="petct", subject="sub-009")
    plt.close("all")


def test_stored_clicks_are_summed_up_by_segmenter_or_there_are_none():
    compared = pd.DataFrame(
        {
            "segmenter": ["b", "b", "a"],
            "prompt": "centre",
            "distance_mm": [0.0, 0.25, 0.5],
            "outside": [1, 1, 0],
        }
    )
    text = prompts.stored_table(compared)
    assert "| b | centre | 2 | 0.25 | 2 |" in text and "| a | centre | 1 | 0.5 | 0 |" in text
    same = prompts.stored_table(compared.assign(distance_mm=0.0))
    assert same.startswith("In all 3 pairs the first clicks") and same.index("{dropdown}") < same.index(
        "| 2 | 0 | 2 |"
    )
    assert prompts.stored_table(compared.iloc[:0]) == "No segmenter of this run took a click in both images."


def test_rules_are_listed_with_a_number_where_one_belongs():
    text = prompts.protocol_list()
    assert (
        "`official_crop_192mm`" in text
        and "`points_per_slice_3`" in text
        and "{" not in text.replace(":::{table}", "")
    )
    systems = prompts.native_list().splitlines()
    assert any(
        "nnInteractive" in line and line.endswith("no rule for a click is published") for line in systems
    )


def test_a_subject_has_a_table_of_grids_and_one_of_values(cohort):
    pair = cohort.pairs("petct")[0]
    grids = subject.grid_table(pair)
    assert (
        "Grid and content of the two images of sub-001, PET/CT." in grids
        and ":name: tab-grids-petct" in grids
    )
    values = subject.value_table(pair)
    assert "| structure | CT (ml) | CT (HU) | PET (ml) | PET (SUV) |" in values
    ball = next(line for line in values.splitlines() if line.startswith("| Ball"))
    ct_ml, hu, pet_ml, suv = (float(v) for v in ball.strip("| ").split(" | ")[1:])
    volume = 4 / 3 * np.pi * 1.8**3
    assert abs(ct_ml - volume) < 0.1 * volume and abs(pet_ml - volume) < 0.1 * volume
    assert re.search(r"\| \d+ \| \d+ \| \d+ \| \d\.\d\d \|$", ball)  # whole ml and HU, hundredths of SUV
    assert hu == pytest.approx(60, abs=2) and suv == pytest.approx(5.0, abs=0.1)


def test_the_explorer_has_the_titles_of_the_registry_and_names_of_others(cohort):
    table = score_table(n_subjects=1, structures=["ball"], gap={"threshold": 0.0, "mine": 0.0})
    assert cases.explorer(cohort, table, root="run").titles == {"threshold": "Threshold", "mine": "mine"}
