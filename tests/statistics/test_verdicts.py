"""A gap between two floors is not identifiable, wherever a gap is shown: one rule, one function, one word."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import clicks, intro, modality_gap, second_image, subgroups, supervised, unlabelled
from umdbook.chapters.learned_gap import tables as learned
from umdlib import compare, figures, statistics, tables
from umdlib.scores.simulated import Model, score_table
from umdlib.statistics import FLOOR, factorial, label_free, reference_gap
from umdlib.statistics.domain_shift import domain_changes, reference_parts
from umdlib.statistics.subgroups import subgroup_table
from umdlib.statistics.unseen_structures import cost_of_withholding

QUICK = {"n_resamples": 99}
PAIR = ["threshold", "nnunet_small"]


def low_and_high(steps=(0,)):
    """Scores at 0.03 of one segmenter, at 0.7 of another, on both images of eight subjects."""
    given = {"structures": ["liver", "aorta"], "n_subjects": 8, "steps": steps}
    low = score_table(gap={"threshold": 0.0}, model=Model(level=0.03, noise_sd=0.1), **given, seed=1)
    high = score_table(gap={"nnunet_small": -0.1}, model=Model(level=0.7), **given, seed=2)
    return pd.concat([low, high], ignore_index=True)


def test_the_rule_is_of_all_means_and_of_overlaps_unless_every_pair_fails():
    table = pd.DataFrame({"mean_structural": [0.02, 0.2, 0.09], "mean_pet": [0.05, 0.0, 0.1]})
    assert statistics.at_floor(table).tolist() == [True, False, False]
    assert not statistics.at_floor(table, metric="hausdorff_95").any()
    failing = table.assign(neither=[3, 3, 0], n_pairs=[3, 4, 0])
    assert statistics.at_floor(failing, metric="hausdorff_95").tolist() == [True, False, False]


def test_pairs_that_all_fail_are_at_the_floor_of_a_distance_too():
    scores = low_and_high()
    for metric in ("dice", "hausdorff_95"):
        pairs = statistics.paired_differences(statistics.condition(scores), metric=metric)
        found = statistics.floors(pairs, statistics.condition(scores), ["session", "segmenter"])
        assert found.to_dict() == {("petct", "threshold"): True, ("petct", "nnunet_small"): False}


def test_comparisons_sentences_tables_and_figures_have_the_word():
    scores = low_and_high()
    overall = compare(scores, by=("session", "segmenter"), **QUICK)
    assert overall.set_index("segmenter")["verdict"]["threshold"] == FLOOR
    assert tables.sentences(overall).count(FLOOR) == 1
    single = compare(scores, **QUICK)
    assert single.groupby("segmenter")["at_floor"].all().to_dict() == {
        "threshold": True,
        "nnunet_small": False,
    }
    shown = tables.comparison_table(single)["mean difference [95 %]"].str.contains(FLOOR)
    assert shown.tolist() == single["at_floor"].tolist()
    cells = tables.modality_table(single, "petct", overall=overall)
    assert cells.loc[cells["at_floor"], "mark"].eq("").all()
    written = tables.to_markdown(cells)
    assert written.count(FLOOR) == 3  # two structures and all, in PET's line
    assert FLOOR.capitalize() in cells.attrs["legend"]
    assert FLOOR in modality_gap.pair_words(single[single["at_floor"]].iloc[0])
    ax = figures.forest(single)
    legends = filter(None, [*ax.figure.legends, ax.get_legend()])
    assert any(FLOOR in t.get_text() for legend in legends for t in legend.get_texts())
    ax = figures.slope_chart(overall)
    assert sum(FLOOR in t.get_text() for t in ax.texts) == 1
    plt.close("all")


def test_the_landing_page_counts_no_difference_between_floors():
    overall = compare(low_and_high(), by=("session", "segmenter"), **QUICK)
    words = intro.measured_words(overall, "petct", simulated=True)
    assert f"For 1 the difference is {FLOOR}" in words
    printed = intro.printed_changes("petct")
    both = printed[["structural", "pet"]].lt(0.1).all(axis=1)
    assert printed["at_floor"].tolist() == both.tolist()
    ax = intro.changes_figure(printed, overall, "petct", simulated=True)
    assert sum(FLOOR in t.get_text() for t in ax.texts) == 1 + both.sum()
    plt.close("all")


def test_an_excess_beside_a_floor_is_not_identifiable():
    scores = low_and_high()
    excess = reference_gap.excess_gap(scores, reference="nnunet_small", **QUICK)
    assert excess["at_floor"].tolist() == [True]
    assert supervised.excess_layout(excess)["excess [95 %]"].str.contains(FLOOR).all()
    assert supervised.excess_layout(excess)["beside the baseline"].eq(FLOOR).all()
    by = ("session", "segmenter", "structure")
    assert reference_gap.excess_gap(scores, reference="nnunet_small", by=by, **QUICK)["at_floor"].all()
    swapped = scores.assign(segmenter=scores["segmenter"].map(dict(zip(PAIR, PAIR[::-1], strict=True))))
    assert reference_gap.excess_gap(swapped, reference="nnunet_small", **QUICK)["at_floor"].tolist() == [True]
    gap = reference_gap.supervised_gap(swapped, reference_gap_printed(), **QUICK)
    assert supervised.gap_layout(gap)["PET − structural [95 %]"].str.contains(FLOOR).all()
    assert FLOOR in learned.specialist_words(gap)


def reference_gap_printed():
    from umdlib import published

    return published.read("umd_table3")


def test_groups_at_the_floor_have_no_interaction():
    scores = low_and_high()
    factors = pd.DataFrame(
        {"sex": [i % 2 == 0 for i in range(8)]}, index=sorted(scores["subject"].unique()), dtype=object
    )
    found = subgroup_table(scores, factors, **QUICK).set_index("segmenter")
    assert found["at_floor"].to_dict() == {"threshold": True, "nnunet_small": False}
    assert np.isnan(found.loc["threshold", "p_value"])
    assert not np.isnan(found.loc["nnunet_small", "p_value"])
    assert FLOOR in found.loc["threshold", "note"]
    assert subgroups.layout(found.reset_index())["difference"].str.contains(FLOOR).tolist() == [True, False]


def design(levels):
    """Scores of the three networks on both images, by (trained_on, side)."""
    rows = [
        {
            "session": "petct",
            "subject": f"s{i}",
            "structure": "liver",
            "trained_on": t,
            "side": side,
            "n_seeds": 1,
        }
        | {"score": level + 0.001 * i}
        for (t, side), level in levels.items()
        for i in range(6)
    ]
    return pd.DataFrame(rows)


def test_contrasts_between_floors_have_the_word_and_no_share():
    low = {(t, side): 0.03 for t in factorial.TRAINED_ON for side in ("structural", "pet")}
    low["structural", "structural"] = 0.07
    contrasts = factorial.contrast_table(design(low), **QUICK)
    assert contrasts["at_floor"].all()
    assert learned.contrast_layout(contrasts)["Difference in DSC"].str.contains(FLOOR).all()
    share = factorial.learned_share(design(low), **QUICK)
    assert FLOOR in share["note"].iloc[0]
    assert f"{FLOOR}, all scores are at the floor" in learned.answer(contrasts, share)
    one = low | {("structural", "structural"): 0.7}
    found = factorial.contrast_table(design(one), **QUICK).set_index("contrast")["at_floor"]
    assert not found["gap"]
    assert found["reverse gap"]


def test_domains_and_withheld_structures_at_the_floor_have_the_word():
    rows = [
        {
            "domain": d,
            "number": str(i),
            "trained_on": "pet",
            "modality": m,
            "structure": "liver",
            "score": s + 0.001 * i,
        }
        for d, m, s in (
            ("same", "PET", 0.03),
            ("same", "CT", 0.02),
            ("scanner", "PET", 0.05),
            ("scanner", "CT", 0.5),
            ("still", "PET", 0.04),
        )
        for i in range(3)
    ]
    found = domain_changes(pd.DataFrame(rows), **QUICK).set_index(["domain", "modality"])["at_floor"]
    assert found["scanner", "PET"]
    assert not found["scanner", "CT"]
    assert reference_parts(pd.DataFrame(rows), **QUICK)["at_floor"].all()
    pairs = pd.DataFrame(
        [
            {"session": "petct", "subject": f"s{i}", "structure": n, "withheld": h, "full": f, "fewer": 0.01}
            | {"difference": 0.01 - f}
            for i in range(3)
            for n, h, f in (("liver", True, 0.05), ("lung", False, 0.6))
        ]
    )
    assert cost_of_withholding(pairs, **QUICK)["at_floor"].tolist() == [True, False, False]


def test_gains_of_clicks_and_gaps_without_labels_have_the_word():
    scores = low_and_high((0, 1)).query("segmenter == 'threshold'")
    curves = statistics.curve_table(scores.assign(dice=scores["dice"].clip(upper=0.05)), **QUICK)
    rows = curves[curves["modality"].eq("difference") & curves["gain"].notna()]
    assert rows["at_floor"].all()
    assert clicks.gain_rows(curves)["PET − structural"].str.contains(FLOOR).all()
    within = pd.DataFrame(
        {"subject": ["a", "b"], "session": "petct", "structure": "liver", "segmenter": ["x", "y"]}
        | {"agreement": 0.5, "jaccard_distance": 0.66, "structural_on_pet": [0.97, 0.4], "pet": [0.98, 0.9]}
    )
    table = label_free.bound_table(within)
    assert table["at_floor"].tolist() == [True, False]
    assert unlabelled.bounds_layout(table)["measured gap"].str.contains(FLOOR).tolist() == [True, False]


def test_a_second_image_that_adds_nothing_to_a_floor_has_the_word():
    row = {
        "session": "petct",
        "modality": "CT",
        "added": "PET",
        "estimate": 0.01,
        "ci_low": 0.0,
        "ci_high": 0.02,
    }
    row |= {"p_value": 0.2, "n_subjects": 4}
    sides = [("all", 0.3, 0.31), ("liver", 0.6, 0.61), ("aorta", 0.02, 0.03)]
    table = pd.DataFrame([row | {"structure": s, "alone": a, "both": b} for s, a, b in sides])
    assert second_image.layout(table)["added [95 %]"].str.contains(FLOOR).tolist() == [False, False, True]
    assert "higher in 1 of 1 structures" in second_image.words(table)
    assert FLOOR in second_image.words(table.assign(alone=0.01, both=0.02))
    assert second_image.words(table.iloc[:0]) == second_image.NOTHING


@pytest.mark.parametrize("value", [None, np.nan, False])
def test_a_table_that_does_not_know_its_floors_says_nothing(value):
    assert tables.gap_text(-0.1, -0.2, 0.05, value) == "−0.100 [−0.200, +0.050]"
