"""The telescoping sum of networks of this project: numbers that add up, or why one is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import reported as chapter
from umdlib import published, statistics
from umdlib.scores.simulated import score_table
from umdlib.statistics.reported import own_harness, reported_table

GAPS = ["harness_gap", "data_gap", "prompt_gap"]


def run():
    """One network that takes clicks, with both prompts; one that takes a class."""
    given = {"structures": ["liver"], "n_subjects": 4}
    click = score_table(gap={"clicknet_pet": -0.1}, **given, seed=1)
    named = score_table(gap={"nnunet_small": -0.05}, **given, seed=2).assign(prompt="class")
    own = click.assign(prompt="random", dice=click["dice"] - 0.02)
    return pd.concat([click, own, named], ignore_index=True)


def harness():
    rows = [("clicknet_pet", "petct", "PET", 0.6, 2), ("nnunet_small", "petct", "CT", 0.85, 2)]
    return pd.DataFrame(rows, columns=["segmenter", "session", "modality", "dice", "n_subjects"])


def test_three_gaps_are_the_whole_gap():
    table = statistics.own_sum(chapter.card_figures(), run(), harness=harness())
    assert set(table["segmenter"]) == {"clicknet_pet", "nnunet_small"}
    whole = table[table[GAPS].notna().all(axis=1)].set_index(["segmenter", "modality"])
    assert set(whole.index) == {("clicknet_pet", "PET"), ("nnunet_small", "CT")}
    np.testing.assert_allclose(whole[GAPS].sum(axis=1), whole["total"], atol=1e-12)
    np.testing.assert_allclose(whole["total"], whole["reported"] - whole["common"], atol=1e-12)
    assert whole.loc[("clicknet_pet", "PET"), "prompt_gap"] == pytest.approx(-0.02)
    assert whole.loc[("nnunet_small", "CT"), "prompt_gap"] == 0
    assert "no click" in whole.loc[("nnunet_small", "CT"), "why_prompt_gap"]
    words = chapter.own_words(table)
    assert words.startswith(f"All terms are known in 2 of {len(table)} rows; the largest is the ")


def test_a_term_that_cannot_be_had_says_why():
    scores = run()
    scores = scores[scores["prompt"].ne("random")]
    table = statistics.own_sum(chapter.card_figures(), scores, harness=harness())
    row = table.set_index(["segmenter", "session"]).loc[("clicknet_pet", "petct")]
    assert np.isnan(row["data_gap"])
    assert np.isnan(row["prompt_gap"])
    assert row["why_data_gap"] == "its own prompt was not run"
    assert np.isfinite(row["total"])
    named = table[table["session"].eq("petct")].set_index(["segmenter", "modality"])
    assert (
        named.loc[("nnunet_small", "PET"), "why_harness_gap"]
        == "not measured on the subjects of its training"
    )
    layout = chapter.own_layout(table)
    assert layout.loc[layout["data gap"].eq("–"), "note"].ne("").all()


def test_a_prompt_that_a_page_asks_of_few_subjects_makes_the_sum_whole_on_those():
    whole = run()
    random = whole["prompt"].eq("random")
    few = whole["subject"].isin(whole["subject"].unique()[:1])
    given = {"harness": harness(), "asked": whole[random & few]}
    table = statistics.own_sum(chapter.card_figures(), whole[~random], **given)
    row = table.set_index(["segmenter", "session", "modality"]).loc[("clicknet_pet", "petct", "PET")]
    assert row["few"] and row["n_subjects"] == 1
    clicked = whole[~random & few & whole["segmenter"].eq("clicknet_pet") & whole["modality"].eq("PET")]
    assert row["common"] == pytest.approx(clicked["dice"].mean()) != whole["dice"].mean()
    assert row["prompt_gap"] == pytest.approx(-0.02) and row[GAPS].sum() == pytest.approx(row["total"])
    assert "both prompts on one subject" in chapter.own_layout(table)["note"].str.cat()
    assert not table.loc[table["segmenter"].eq("nnunet_small"), "few"].any()


def test_the_card_figures_are_what_the_trainings_wrote_last():
    figures = chapter.card_figures().set_index(["segmenter", "session", "modality"])
    assert figures.loc[("nnunet_small", "petct", "CT"), "reported"] == pytest.approx(0.802613)
    assert figures.loc[("clicknet_pet", "petmr", "PET"), "average"]
    assert ("clicknet_pet", "petct", "CT") not in figures.index


def test_the_recorded_harness_is_of_networks_that_have_a_card():
    known = chapter.card_figures()
    keys = ["segmenter", "session", "modality"]
    both = own_harness().merge(known, on=keys, how="left")
    assert len(both) == 12
    assert both["reported"].notna().all()
    assert both["dice"].between(0, 1).all()


def test_the_official_systems_take_a_line_each_that_names_what_is_missing():
    rows = reported_table(published.read("umd_table3"), run())
    layout = chapter.official_layout(rows)
    assert layout["system"].is_unique
    assert len(layout) < len(rows) / 2
    assert layout["missing"].str.contains("the reported test data are not part of this run").all()
