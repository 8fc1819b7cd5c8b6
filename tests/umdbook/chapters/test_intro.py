"""The landing page: all systems, and one picture that no score has chosen."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import intro
from umdlib import figures
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table

mpl.use("Agg")


def table(**gap):
    return score_table(n_subjects=5, structures=["liver", "lung"], gap=gap, seed=3)


def test_the_picture_does_not_depend_on_who_scores_best():
    scores = table(a=-0.1, clicknet_structural=-0.3)
    first = intro.example(scores, ["petct"], ["liver", "lung"])
    better = scores.assign(dice=np.where(scores["segmenter"].eq("a"), 0.99, scores["dice"]))
    assert (first.segmenter, first.structure) == ("clicknet_structural", "lung")
    assert intro.example(better, ["petct"], ["liver", "lung"]) == first


def test_the_subject_is_the_lower_median_of_the_changes():
    scores = table(a=0.0)
    for k, name in enumerate(sorted(scores["subject"].unique())):
        here = scores["subject"].eq(name)
        scores.loc[here & scores["modality"].eq("CT"), "dice"] = 0.9
        scores.loc[here & scores["modality"].eq("PET"), "dice"] = [0.5, 0.1, 0.4, 0.2, 0.3][k]
    assert intro.example(scores, ["petct"], ["lung"]).subject == sorted(scores["subject"].unique())[4]


def test_a_name_that_is_not_in_the_run_is_refused_with_the_nearest():
    scores = table(threshold=0.0)
    with pytest.raises(InputError, match="treshold.*threshold"):
        intro.example(scores, ["petct"], ["lung"], segmenter="treshold")
    with pytest.raises(InputError, match="lnug.*lung"):
        intro.example(scores, ["petct"], ["lung"], structure="lnug")


def test_the_first_session_with_a_pair_is_shown_and_none_without():
    scores = table(a=0.0)
    other = scores.assign(session="petmr", modality=scores["modality"].replace("CT", "MR"))
    both = pd.concat([scores, other], ignore_index=True)
    lost = both["session"].eq("petct") & both["modality"].eq("PET")
    both.loc[lost, ["dice", "status"]] = [np.nan, "failed"]
    assert intro.example(both, ["petct", "petmr"], ["liver"]).session == "petmr"
    assert intro.example(both, ["petct"], ["liver"]) is None


def test_the_printed_changes_are_the_papers_average_rows():
    printed = intro.printed_changes("petct").set_index("segmenter")
    assert printed.loc["nninteractive", ["structural", "pet"]].round(3).tolist() == [0.481, 0.342]
    assert len(printed) == 5


def test_all_systems_are_counted_and_a_real_cohort_is_not_called_simulated():
    measured = intro.measured_changes(table(a=-0.4, b=0.4, c=0.0), "petct")
    words = intro.measured_words(measured, "petct", simulated=False)
    assert "1 of 3 systems score lower and 1 higher" in words
    assert "simulated" not in words
    assert "The cohort is simulated" not in intro.limits_words(simulated=False)
    assert "The cohort is simulated" in intro.limits_words(simulated=True)
    assert "(simulated cohort, 5 subjects)" in intro.measured_words(measured, "petct", simulated=True)
    ax = intro.changes_figure(intro.printed_changes("petct"), measured, "petct", simulated=True)
    assert [t.get_text() for t in ax.get_yticklabels()][-3:] == ["b", "c", "a"]
    small = figures.narrow_form(ax.figure).axes[0]
    ax.figure.canvas.draw()
    above = {t.get_text(): t for t in small.texts}
    assert {"b", "c", "a", *intro.printed_changes("petct")["model"]} <= set(above)
    small.figure.canvas.draw()
    ends = [t.get_window_extent().x1 for t in small.texts]
    assert small.figure.get_figwidth() < 4 and max(ends) < small.figure.bbox.x1


def test_the_loss_is_called_learned_only_where_the_network_trained_on_pet_has_none():
    learned = intro.measured_changes(table(clicknet_structural=-0.4, clicknet_pet=0.1), "petct")
    lost = intro.measured_changes(table(clicknet_structural=-0.4, clicknet_pet=-0.3), "petct")
    assert "not a property of PET alone" in intro.measured_words(learned, "petct", simulated=True)
    assert "not a property of PET alone" not in intro.measured_words(lost, "petct", simulated=True)


def test_without_a_pair_the_page_says_so():
    assert intro.measured_words(pd.DataFrame(), "petct", simulated=True) == intro.NOTHING


def test_every_verdict_has_a_bar_and_they_add_up_to_all_sentences():
    from umdlib import published

    ax = intro.verdict_figure()
    assert len(ax.containers) == len(set(published.evaluate(published.ALL_CLAIMS)["verdict"]))
    assert sum(b.get_width() for b in ax.patches) == len(published.ALL_CLAIMS)


def test_a_training_is_a_line_between_the_means_of_its_subjects():
    scores = table(clicknet_structural=-0.4, clicknet_pet=0.1, a=0.0)
    (first, second) = intro.training_figure(scores, "petct").lines
    own = scores[scores["segmenter"].eq("clicknet_structural")]
    means = own.groupby("modality")["dice"].mean()
    assert first.get_ydata() == pytest.approx([means["CT"], means["PET"]])
    assert second.get_label() == "trained on PET"
    assert not intro.training_figure(table(a=0.0), "petct").lines


def changes(**more):
    row = {
        "segmenter": "threshold",
        "estimate": -0.2,
        "ci_low": -0.3,
        "ci_high": -0.1,
        "at_floor": False,
        "n_subjects": 9,
    }
    return row | more


def test_a_bar_reaches_from_zero_or_over_its_interval_and_a_floor_is_a_word():
    printed = pd.DataFrame(
        {
            "model": ["A", "B"],
            "estimate": [-0.1, 0.3],
            "at_floor": [False, True],
            "structural": 0.5,
            "pet": 0.4,
        }
    )
    measured = pd.DataFrame([changes(), changes(segmenter="b", estimate=0.1, ci_low=0.0, ci_high=0.2)])
    ax = intro.changes_figure(printed, measured, "petmr", simulated=False)
    spans = [tuple(c.get_segments()[0][:, 0]) for c in ax.collections]
    assert spans == [(-0.1, 0.0), (0.0, 0.2), (-0.3, -0.1)] or spans == [
        (0.0, -0.1),
        (0.0, 0.2),
        (-0.3, -0.1),
    ]
    points = [line for line in ax.lines if line.get_marker() in ("s", "o")]
    assert [(p.get_marker(), p.get_xdata()[0]) for p in points] == [("s", -0.1), ("o", 0.1), ("o", -0.2)]
    assert len({p.get_color() for p in points}) == 2
    texts = [t.get_text() for t in ax.texts]
    assert texts[0].strip() == "not identifiable: at the floor on both"
    assert "Measured here, cohort at hand, n = 9 (bar: 95 % interval)" in texts
    assert [t.get_text() for t in ax.get_yticklabels()] == ["B", "A", "", "b", "Threshold"]
    assert ax.get_xlabel().startswith("Change of the mean DSC from MR to PET")


def test_words_count_only_intervals_that_exclude_zero_and_say_when_no_test_is_made():
    rows = [changes(), changes(segmenter="b", ci_high=0.1), changes(segmenter="c", ci_low=0.05, ci_high=0.2)]
    words = intro.measured_words(pd.DataFrame(rows), "petct", simulated=True)
    assert (
        "From CT to PET, 1 of 3 systems score lower and 1 higher" in words and "no test is made" not in words
    )
    few = intro.measured_words(pd.DataFrame([changes(n_subjects=5)]), "petct", simulated=True)
    assert "With fewer than 6 subjects no test is made and no verdict given." in few
    floor = intro.measured_words(
        pd.DataFrame([*rows, changes(segmenter="d", at_floor=True)]), "petct", simulated=True
    )
    assert "1 of 4 systems score lower" in floor and floor.endswith("both scores are at the floor.")


def test_one_network_is_told_by_what_it_was_trained_on_and_two_are_needed():
    both = pd.DataFrame(
        [
            changes(segmenter="clicknet_structural"),
            changes(segmenter="clicknet_pet", estimate=0.05, ci_low=-0.1, ci_high=0.2),
        ]
    )
    words = intro.measured_words(both, "petct", simulated=True)
    assert (
        "when trained on CT and MR, by −0.200 [−0.300, −0.100]; when trained on PET, by +0.050 [−0.100, +0.200]"
        in words
    )
    assert "so the loss is not a property of PET alone" in words
    floors = intro.measured_words(both.assign(at_floor=[True, False]), "petct", simulated=True)
    assert "not a property of PET alone" not in floors
    assert "one small network" not in intro.measured_words(both.iloc[:1], "petct", simulated=True)


def test_the_printed_words_are_the_largest_fall_and_the_largest_rise():
    printed = intro.printed_changes("petmr")
    words = intro.finding_words(printed, pd.DataFrame(), "petmr", simulated=True)
    shown = printed[~printed["at_floor"].astype(bool)].sort_values("estimate")
    low, high = shown.iloc[0], shown.iloc[-1]
    assert f"{low['model']} falls from {low['structural']:.3f} on MR to {low['pet']:.3f} on PET" in words
    assert f"that of {high['model']} goes from {high['structural']:.3f} to {high['pet']:.3f}." in words
    assert words.split("\n\n")[-1] == intro.NOTHING


def test_a_cohort_is_simulated_only_where_every_image_is():
    real = SimpleNamespace(table=pd.DataFrame({"subject": ["a"]}))
    assert not intro.is_simulated(real)
    for provenance, simulated in ((["synthetic", "real"], False), (["synthetic", "synthetic"], True)):
        cohort = SimpleNamespace(table=pd.DataFrame({"provenance": provenance}))
        assert intro.is_simulated(cohort) is simulated


def test_one_modality_alone_has_no_picture_and_the_figure_says_so():
    scores = table(a=0.0)
    alone = scores[scores["modality"].eq("CT")]
    assert intro.example(alone, ["petct"], ["liver"]) is None
    assert not intro.structure_figure(alone, "petct", None).axison
    shown = intro.example(scores, ["petct"], ["liver"])
    ax = intro.structure_figure(scores, "petct", shown)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Liver", "Lung"]
