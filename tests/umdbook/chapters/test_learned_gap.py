"""What the chapter on the learned gap says, from tables whose answer is known."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from umdbook.chapters import learned_gap as chapter
from umdlib import figures, tables
from umdlib.scores.simulated import score_table
from umdlib.statistics import domain_shift as shifts
from umdlib.statistics import factorial as design
from umdlib.statistics import unseen_structures as withheld

GAPS = {"clicknet_structural": -0.3, "clicknet_pet": 0.1, "clicknet_both": -0.1, "nnunet": -0.05}


def shifted(drop=0.2) -> pd.DataFrame:
    """Two domains of two subjects; every score of the second is `drop` lower."""
    parts = []
    for domain, change in (("same", 0.0), ("scanner", drop)):
        table = score_table(n_subjects=2, structures=["liver", "aorta"], gap=GAPS, seed=1)
        table["subject"] = table["subject"].str.replace("sub", domain)
        parts.append(table.assign(dice=np.clip(table["dice"] - change, 0, 1)))
    return pd.concat(parts, ignore_index=True)


def test_a_gap_is_the_sum_of_its_reference_and_its_image():
    same = score_table(n_subjects=8, structures=["liver", "aorta"], gap=GAPS, seed=1)
    still = same.assign(dice=np.where(same["modality"].eq("PET"), same["dice"] * 0.9, same["dice"]))
    tables_of = [
        t.assign(subject=t["subject"].str.replace("sub", d)) for d, t in (("same", still), ("still", same))
    ]
    parts = shifts.reference_parts(shifts.domain_scores(pd.concat(tables_of)), n_resamples=200)
    for trained_on, own in parts.groupby("trained_on"):
        at = own.set_index("part")["estimate"]
        assert at["gap"] == pytest.approx(at["reference"] + at["image"], abs=1e-12)
        pet = same[
            same["modality"].eq("PET") & same["segmenter"].eq(f"clicknet_{trained_on}") & same["step"].eq(0)
        ]
        pet = pet[pet["prompt"].eq("centre")]
        assert at["reference"] == pytest.approx(-0.1 * pet.groupby("subject")["dice"].mean().mean())
    assert list(chapter.parts_layout(parts)["n"]) == ["8"] * 3
    assert "references that were drawn on the structural image cost" in chapter.parts_words(parts)
    alone = shifts.reference_parts(shifts.domain_scores(tables_of[0]))
    assert alone.empty and chapter.parts_words(alone) == chapter.NO_DOMAINS


def test_domains_are_compared_on_the_structures_that_all_hold():
    table = shifted(drop=0.1)
    gone = table["subject"].str.startswith("scanner") & table["structure"].eq("aorta")
    table.loc[gone, ["dice", "status"]] = [np.nan, "failed"]
    means = shifts.domain_scores(table)
    assert set(means["trained_on"]) == {"structural", "pet", "both"}
    liver = table[table["structure"].eq("liver") & table["segmenter"].eq("clicknet_pet")]
    row = means[means["number"].eq("001") & means["trained_on"].eq("pet")].iloc[0]
    wanted = liver[liver["subject"].eq("same-001") & liver["modality"].eq(row["modality"])]
    assert row["score"] == pytest.approx(wanted["dice"].iloc[0])


def test_a_structure_that_one_domain_lacks_for_one_subject_does_not_move_the_change():
    table = shifted(drop=0.0)
    liver = table["structure"].eq("liver")
    table.loc[liver, "dice"], table.loc[~liver, "dice"] = 0.9, 0.3
    gone = table["subject"].eq("scanner-001") & table["structure"].eq("aorta")
    table.loc[gone, ["dice", "status"]] = [np.nan, "failed"]
    changes = shifts.domain_changes(shifts.domain_scores(table))
    out = changes[changes["domain"].eq("scanner")]
    assert (out["change"] == 0).all() and (out["n_subjects"] == 2).all()


def test_no_conclusion_where_every_interval_of_a_domain_holds_0():
    said = chapter.domain_sentence(shifts.domain_changes(shifts.domain_scores(shifted(drop=0.0))))
    assert "two questions" not in said
    moved = shifts.domain_changes(shifts.domain_scores(shifted(drop=0.2)))
    assert "two questions" in chapter.domain_sentence(moved)
    moved.attrs["metric"] = "rvd"  # no end of it is the better one
    assert "at its lowest" in chapter.domain_sentence(moved)


def test_the_sentence_on_domains_names_the_largest_loss():
    text = chapter.domain_sentence(shifts.domain_changes(shifts.domain_scores(shifted(drop=0.2))))
    assert "other scanner" in text
    assert "n = 2 subjects" in text
    assert chapter.domain_sentence(
        shifts.domain_changes(shifts.domain_scores(chapter.read("none.parquet")))
    ) == (chapter.NO_DOMAINS)


def test_a_run_without_the_networks_says_so():
    table = score_table(n_subjects=3, gap={"threshold": -0.1})
    rows = design.design_scores(table)
    assert chapter.answer(design.contrast_table(rows), design.learned_share(rows)) == chapter.ABSENT
    assert design.design_table(rows).empty


def test_the_answer_carries_the_numbers_of_the_contrasts():
    table = score_table(n_subjects=6, gap=GAPS)
    rows = design.design_scores(table)
    contrasts, shares = design.contrast_table(rows, n_resamples=500), design.learned_share(rows)
    text = chapter.answer(contrasts, shares)
    gap = contrasts.set_index("contrast").loc["gap", "estimate"]
    assert tables.number(gap, sign=True) in text
    assert f"{100 * shares['estimate'].iloc[0]:.0f} % of the gap goes with the training" in text


def test_specialists_come_first_and_clicks_are_counted_with_the_first():
    table = pd.concat(
        [
            score_table(n_subjects=2, gap={"clicknet_both": -0.1}, steps=(0, 1, 2, 3)),
            score_table(n_subjects=2, gap={"nnunet": -0.1}),
        ],
        ignore_index=True,
    )
    assert chapter.compared(table, {"clicknet_both": "Net"}) == [
        ("nnunet", "nnunet", 0),
        ("Net, 1 click", "clicknet_both", 0),
        ("Net, 3 clicks", "clicknet_both", 2),
        ("Net, 4 clicks", "clicknet_both", 3),
    ]
    classes = design.class_means(table, chapter.compared(table, {}))
    part = classes[classes["label"].eq("clicknet_both, 3 clicks") & classes["modality"].eq("PET")]
    own = table[table["segmenter"].eq("clicknet_both") & table["step"].eq(2)]
    liver = own[own["structure"].eq("liver") & own["modality"].eq("PET")]["dice"].mean()
    assert part.set_index("structure").loc["liver", "score"] == pytest.approx(liver)


def test_figures_hold_what_the_tables_hold():
    table = score_table(n_subjects=4, gap=GAPS, steps=(0, 1))
    rows = design.design_scores(table)
    cells = design.design_table(rows, n_resamples=99)
    ax = chapter.design_plot(cells, seeds=design.by_training_seed(table))
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    pet = cells[cells["trained_on"].eq("pet")]["estimate"].tolist()
    assert lines["PET only"].tolist() == pet
    contrasts = design.contrast_table(rows, n_resamples=99)
    ax = chapter.effect_plot(contrasts)
    assert [t.get_text() for t in ax.get_yticklabels()] == contrasts["contrast"].tolist()
    ax = chapter.class_boxes(design.class_means(table, chapter.compared(table, {})))
    assert ax.get_yticklabels()[0].get_text() == "nnunet, 1 click"
    ax = chapter.domain_plot(shifts.domain_scores(shifted()), chapter.TITLES)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Same simulator", "Other scanner"]
    log = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    ax = figures.training_curves({"pet": log})
    assert ax.get_lines()[0].get_ydata().tolist() == [3.0, 2.0, 1.0]
    plt.close("all")


def test_layouts_hold_means_intervals_and_n():
    table = score_table(n_subjects=4, gap=GAPS)
    cells = design.design_table(design.design_scores(table), n_resamples=99)
    layout = chapter.design_layout(cells)
    assert layout["Trained on"].tolist() == [
        "structural images only",
        "PET only",
        "structural images and PET",
    ]
    assert layout["n"].tolist() == ["4", "4", "4"]
    first = cells.iloc[0]
    assert layout.iloc[0, 2].startswith(f"{first['estimate']:.3f} [{first['ci_low']:.3f}, ")
    out = chapter.domain_layout(
        shifts.domain_changes(shifts.domain_scores(shifted(drop=0.2))), chapter.TITLES, chapter.WORDS
    )
    assert out["Domain"].tolist() == ["Same simulator", "", "", "Other scanner", "", ""]
    pet = out[out["Trained on"].eq("PET only")]
    assert pet["PET: change"].tolist()[0] == "–"
    assert pet["PET: change"].tolist()[1].startswith("−0.200 [")


def withheld_scores(lost: float = 0.2) -> pd.DataFrame:
    """The PET training twice; the second loses `lost` on two structures and nothing elsewhere."""
    full = score_table(n_subjects=6, gap={chapter.FULL: -0.1}, seed=2)
    full["dice"] = full["dice"].clip(lower=0.3)
    fewer = full.assign(segmenter=chapter.FEWER)
    fewer["dice"] = fewer["dice"] - lost * fewer["structure"].isin(["brain", "stomach"])
    return pd.concat([full, fewer], ignore_index=True)


def test_withholding_costs_what_was_taken_from_the_withheld_structures():
    pairs = withheld.paired_scores(withheld_scores(0.2), chapter.FULL, chapter.FEWER, ["brain", "stomach"])
    assert pairs["withheld"].sum() == 2 * pairs["subject"].nunique() * pairs["session"].nunique()
    costs = withheld.cost_of_withholding(pairs, n_resamples=200)
    change = costs.set_index(["session", "group"])["estimate"].unstack()
    np.testing.assert_allclose(change["withheld"], -0.2)
    np.testing.assert_allclose(change["trained"], 0, atol=1e-12)
    np.testing.assert_allclose(change["withheld minus trained"], -0.2)
    counts = costs.set_index(["session", "group"])["n_structures"].unstack()
    assert (counts["withheld"] == 2).all() and (counts["trained"] == 11).all()
    layout = chapter.withheld_layout(costs)
    assert list(layout["Structures"])[:2] == ["2 withheld", "11 trained"]
    assert "what a network was trained to find matters" in chapter.withheld_words(costs)
    same = withheld.cost_of_withholding(
        withheld.paired_scores(withheld_scores(0), chapter.FULL, chapter.FEWER, ["brain", "stomach"]),
        n_resamples=200,
    )
    assert "an interval that holds 0" in chapter.withheld_words(same)


def test_new_targets_are_those_of_the_training_alone():
    scores = withheld_scores(0.2)
    extra = scores[scores["structure"].eq("liver")].assign(structure="lesion")
    extra.loc[extra["segmenter"].eq(chapter.FEWER), "dice"] = 0.0
    pairs = [
        withheld.paired_scores(t, chapter.FULL, chapter.FEWER, ["brain"])
        for t in (scores, pd.concat([scores, extra], ignore_index=True))
    ]
    pd.testing.assert_frame_equal(*pairs)


def test_a_network_that_failed_everywhere_leaves_no_pairs():
    scores = withheld_scores()
    lost = scores["segmenter"].eq(chapter.FEWER)
    scores.loc[lost, ["dice", "status"]] = [np.nan, "failed"]
    assert withheld.paired_scores(scores, chapter.FULL, chapter.FEWER, ["brain"]).empty


@pytest.mark.parametrize(
    ("metric", "ends", "words"),
    [
        ("dice", (-0.3, -0.1), "what a network was trained to find matters"),
        ("dice", (0.1, 0.3), "do not pay for it here"),
        ("hausdorff_95", (1.0, 3.0), "what a network was trained to find matters"),
        ("rvd", (0.1, 0.3), "an interval without 0"),
        ("dice", (-0.1, 0.1), "an interval that holds 0"),
        ("dice", (np.nan, np.nan), "too few subjects for an interval"),
    ],
)
def test_the_words_on_withholding_follow_the_interval(metric, ends, words):
    pairs = withheld.paired_scores(withheld_scores(), chapter.FULL, chapter.FEWER, ["brain", "stomach"])
    costs = withheld.cost_of_withholding(pairs, n_resamples=99)
    costs.loc[costs["group"].eq(withheld.GROUPS[-1]), ["ci_low", "ci_high"]] = ends
    costs.attrs["metric"] = metric
    assert words in chapter.withheld_words(costs)


def test_without_the_second_training_there_is_nothing_to_compare():
    scores = withheld_scores()
    one = scores[scores["segmenter"].eq(chapter.FULL)]
    pairs = withheld.paired_scores(one, chapter.FULL, chapter.FEWER, ["brain"])
    costs = withheld.cost_of_withholding(pairs)
    assert pairs.empty and costs.empty
    assert tables.laid_out(costs, chapter.withheld_layout, chapter.NO_FEWER).count("--without") == 1


def test_the_withheld_structures_stand_on_top_of_their_figure():
    pairs = withheld.paired_scores(withheld_scores(), chapter.FULL, chapter.FEWER, ["brain", "stomach"])
    ax = chapter.withheld_plot(pairs[pairs["session"].eq("petct")])
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert [n.endswith(", withheld") for n in names] == [True, True] + [False] * 11
    full, fewer = (line.get_xdata() for line in ax.lines[:2])
    np.testing.assert_allclose(full - fewer, [0.2, 0.2] + [0] * 11, atol=1e-9)
    plt.close("all")


def test_exposure_is_said_by_the_way_that_steps_were_shared_out():
    columns = ["Training", "Trained on", "CT", "MR", "PET"]
    rows = [["equal steps", "PET", 0, 0, 2000], ["equal steps", "structural images", 1000, 1000, 0]]
    rows += [["equal exposure", "both", 700, 700, 700], ["equal exposure", "PET", 0, 0, 700]]
    said = chapter.exposure_words(pd.DataFrame(rows, columns=columns))
    assert "With equal steps a network saw a kind of image for 1,000 to 2,000 steps" in said
    assert said.endswith("With equal exposure every network saw each of its kinds of image for 700 steps.")
    assert chapter.exposure_words(chapter.exposure()[:0]) == ""


def test_the_released_networks_of_equal_exposure_saw_each_kind_equally_long():
    rows = chapter.exposure()
    fair = rows[rows["Training"].eq("equal exposure")][["CT", "MR", "PET"]].to_numpy()
    assert len(fair) and len({int(n) for n in fair[fair > 0]}) == 1
    both = rows[
        rows["Training"].eq("equal steps") & rows["Steps"].eq(2000) & rows["MR"].gt(0) & rows["PET"].gt(0)
    ].iloc[0]
    assert both["PET"] == 2 * both["CT"] == both["Steps"] / 2
    assert "bodies in float32" in chapter.balanced_words()


def test_shares_of_two_ways_stand_side_by_side_and_one_way_alone_says_nothing():
    columns = ["session", "estimate", "ci_low", "ci_high", "note"]
    steps = pd.DataFrame([["petct", 1.04, 1.02, 1.08, ""], ["petmr", 1.07, 1.04, 1.09, ""]], columns=columns)
    fair = pd.DataFrame(
        [["petct", 0.56, 0.48, 0.64, ""], ["petmr", np.nan, np.nan, np.nan, "one"]], columns=columns
    )
    said = chapter.share_words({"equal steps": steps, "equal exposure": fair})
    assert "- PET/CT: 104 % [102, 108] with equal steps, 56 % [48, 64] with equal exposure" in said
    assert "PET/MR" not in said and "Neither way is neutral" in said
    assert chapter.share_words({"equal steps": steps}) == ""
