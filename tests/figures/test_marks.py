"""What each figure draws of a hand-made table: number and place of its marks, limits, labels, units, colours."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdlib import figures
from umdlib.figures import links, style
from umdlib.labels import MODALITIES
from umdlib.statistics.flow import STEPS
from umdlib.statistics.variance_components import SOURCES
from umdlib.tables import use_titles

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

PET, CT = MODALITIES["PET"].colour, MODALITIES["CT"].colour


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def labels(ticks):
    return [t.get_text() for t in ticks]


def legend(ax):
    return labels(ax.figure.legends[0].texts)


def segments(ax):
    """Ends of the lines that are drawn as collections: intervals."""
    return [s.tolist() for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]


def test_bars_begin_where_the_last_one_ended_and_have_their_looks():
    ax = style.axes(None)
    parts = pd.DataFrame({"x": [0.25, 0.5], "y": [0.5, 0.25]})
    bars = style.stacked_bars(
        ax, parts, {"x": {"color": "#ff0000"}, "y": {"color": "#0000ff", "label": "why"}}, height=0.5
    )
    assert [(b.get_x(), b.get_width(), b.get_height()) for b in bars["y"]] == [
        (0.25, 0.5, 0.5),
        (0.5, 0.25, 0.5),
    ]
    assert [b.get_y() + 0.25 for b in bars["x"]] == [0, 1] and to_hex(
        bars["y"][0].get_facecolor()
    ) == "#0000ff"
    assert ax.get_legend_handles_labels()[1] == ["x", "why"]


def test_rows_are_labelled_from_the_top():
    ax = style.axes(None)
    style.rows_down(ax, ["first", "second", "third"])
    assert labels(ax.get_yticklabels()) == ["first", "second", "third"] and ax.get_ylim() == (2.5, -0.5)


def test_a_legend_has_as_many_columns_as_fit_and_none_without_an_entry():
    narrow, wide = (style.axes(None, figsize=(width, 3)) for width in (3, 12))
    for ax in (narrow, wide):
        for n in range(4):
            ax.plot([0], [n], label=f"a label of some length {n}")
        style.legend_below(ax)
    assert [ax.figure.legends[0]._ncols for ax in (narrow, wide)] == [1, 4]
    empty = style.axes(None)
    style.legend_below(empty)
    assert not empty.figure.legends


def test_a_long_title_is_broken_at_its_words():
    use_titles({"a": "A system of a very long name, trained here"}.get)
    assert style.wrapped_title("a").split("\n") == ["A system of a very long", "name, trained here"]
    assert style.wrapped_title("a", 60).count("\n") == 0


def quadrants():
    counts = {"both": [6, 0], "structural_only": [3, 0], "pet_only": [1, 0], "neither": [0, 0]}
    return pd.DataFrame({"segmenter": "a", "structure": ["liver", "aorta"], **counts})


def test_shares_of_pairs_carry_their_numbers_and_a_row_without_pairs_is_empty():
    ax = figures.failure_quadrants(quadrants())
    widths = [[b.get_width() for b in bars] for bars in ax.containers]
    np.testing.assert_allclose(widths, [[0.6, 0.0], [0.3, 0.0], [0.1, 0.0], [0.0, 0.0]])
    assert [t for t in labels(ax.texts) if t] == ["6", "3", "1"]
    assert labels(ax.get_yticklabels()) == ["Liver", "Aorta"] and ax.get_xlim() == (0, 1)
    assert len(legend(ax)) == 4 and [c[0].get_hatch() for c in ax.containers][1:3] == ["///", "\\\\\\"]
    little = quadrants().assign(both=97, structural_only=2)
    assert "2" not in labels(figures.failure_quadrants(little).texts)  # too narrow for a number


def overall(**changes):
    rows = pd.DataFrame({"session": "petct", "segmenter": ["a", "b"], "estimate": [-0.25, 0.0]})
    rows = rows.assign(
        mean_structural=[0.75, 0.5], mean_pet=[0.5, 0.5], n_subjects=4, ci_low=-0.3, ci_high=0.1
    )
    return rows.assign(at_floor=[False, True], empty="drop", **changes)


def test_slopes_join_two_means_and_name_the_change_or_the_floor():
    ax = figures.slope_chart(overall())
    ends = sorted(tuple(line.get_ydata()) for line in ax.lines)
    assert ends == [(0.5, 0.5), (0.75, 0.5)]
    assert sorted(labels(ax.texts)) == ["a  −0.250", "b  not identifiable"]
    heights = sorted(t.xyann[1] for t in ax.texts)
    assert heights[1] - heights[0] > 0.01 and np.mean(heights) == pytest.approx(
        0.5
    )  # kept apart about their end
    assert labels(ax.get_xticklabels()) == ["CT", "PET"] and ax.get_ylabel() == "mean DSC"
    assert figures.chart_numbers(ax.figure)["mean_pet"].tolist() == [0.5, 0.5]


def test_rules_stand_side_by_side_with_an_interval_each():
    rows = pd.concat([overall(), overall().assign(empty="worst", estimate=[-0.5, np.nan])])
    ax = figures.rule_plot(rows, looks=style.segmenter_style("ab"))
    assert labels(ax.get_xticklabels()) == ["drop", "worst"] and legend(ax) == ["a", "b"]
    first, second = (line for line in ax.lines if line.get_marker() in ("o", "s"))
    assert first.get_ydata().tolist() == [-0.25, -0.5] and second.get_ydata().tolist() == [0.0]
    np.testing.assert_allclose(second.get_xdata() - first.get_xdata()[:1], 0.16)
    assert [(a[1], b[1]) for a, b in segments(ax)] == [(-0.3, 0.1)] * 3
    assert ax.get_ylabel() == "DSC\nPET − structural" and ax.get_xlabel() == "empty rule"


def test_clicks_are_solid_and_filled_on_the_structural_image_dashed_and_open_on_pet():
    rows = [("a", m, s, 3 + 3 * s, 0.5 + 0.1 * s) for m in ("CT", "PET", "difference") for s in (1, 0)]
    curves = pd.DataFrame(rows, columns=["segmenter", "modality", "step", "coordinates", "estimate"])
    curves = curves.assign(ci_low=curves["estimate"] - 0.1, ci_high=curves["estimate"] + 0.1)
    ax = figures.click_plot(curves)
    solid, dashed = ax.lines
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert (solid.get_markerfacecolor(), dashed.get_markerfacecolor()) == ("#000000", "white")
    assert solid.get_ydata().tolist() == [0.5, 0.6] and ax.get_xticks().tolist() == [0, 1]
    assert len(segments(ax)) == 4 and legend(ax) == ["a", "structural", "PET"]
    given = figures.click_plot(curves, against="coordinates", metric="assd", legend=False)
    assert given.get_xticks().tolist() == [3, 6] and given.get_xlabel() == "coordinates given"
    assert given.get_ylabel() == "mean ASSD (mm)" and not given.figure.legends


def test_ranks_are_discs_of_the_colour_of_their_image_with_their_share():
    ranks = pd.DataFrame(
        {"segmenter": ["b", "a", "c"], "rank": [2.0, 1.0, np.nan], "modality": "PET"}
        | {"rank_shares": [[0.0, 1.0], [0.75, 0.25], None]}
    )
    ax = figures.ranking_stability(ranks)
    assert labels(ax.get_yticklabels()) == ["a", "b"] and ax.get_xlim() == (0.5, 2.5)
    discs = [(*c.get_offsets()[0].tolist(), c.get_sizes()[0]) for c in ax.collections]
    assert discs == [(1.0, 0.0, 465.0), (2.0, 0.0, 155.0), (2.0, 1.0, 620.0)]
    assert labels(ax.texts) == ["75 %", "25 %", "100 %"]
    assert to_hex(ax.collections[0].get_facecolor()[0]) == PET


def test_sources_of_spread_are_stacked_and_those_of_the_modality_hatched():
    rows = [("a", "subject", 0.5), ("a", "modality", 0.25), ("b", "prompt", 1.0)]
    ax = figures.variance_bars(pd.DataFrame(rows, columns=["segmenter", "source", "share"]))
    assert len(ax.containers) == len(SOURCES) == len({to_hex(c[0].get_facecolor()) for c in ax.containers})
    at = dict(zip(SOURCES, ax.containers, strict=True))
    assert (at["modality"][0].get_x(), at["modality"][0].get_width()) == (0.5, 0.25)
    assert at["prompt"][1].get_width() == 1.0 and at["subject"][0].get_hatch() in (None, "")
    assert at["subject:modality"][0].get_hatch() == "///" and legend(ax) == list(SOURCES.values())


def test_error_rates_have_their_interval_and_the_nominal_level():
    rates = pd.DataFrame({"test": ["sign-flip", "t"], "rate": [0.05, 0.2], "error": [0.01, 0.02]})
    ax = figures.error_rates(rates)
    assert ax.lines[0].get_xdata() == [0.05, 0.05] and ax.lines[1].get_xdata().tolist() == [0.05, 0.2]
    np.testing.assert_allclose([(a[0], b[0]) for a, b in segments(ax)], [(0.0304, 0.0696), (0.1608, 0.2392)])
    assert labels(ax.texts) == ["5.0 %", "20.0 %"] and labels(ax.get_yticklabels()) == ["sign-flip", "t"]
    assert ax.get_xlim() == (0, pytest.approx(0.224))
    assert figures.error_rates(rates.assign(rate=0.01)).get_xlim() == (0, 0.1)


def test_coverage_is_drawn_to_its_lowest_point_with_what_can_be_covered_at_all():
    rows = [("studentised", n, r, c) for n, r, c in ((20, 0.94, 1.0), (8, 0.6, 0.65))] + [
        ("own", 8, 0.5, 0.65)
    ]
    covered = pd.DataFrame(rows, columns=["interval", "n_subjects", "rate", "ceiling"]).assign(error=0.01)
    ax = figures.coverage_plot(covered)
    assert ax.get_ylim() == (pytest.approx(0.45), 1.005) and ax.get_xscale() == "log"
    assert labels(ax.get_xticklabels()) == ["8", "20"]
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata().tolist() for line in dotted] == [[0.65, 1.0]]
    own = next(line for line in ax.lines if line.get_marker() == "x")
    assert own.get_color() == "#666666" and legend(ax)[-2:] == ["own", "promised"]
    sure = figures.coverage_plot(covered.assign(rate=0.95, ceiling=1.0), legend=False)
    assert sure.get_ylim()[0] == 0.74 and not any(line.get_linestyle() == ":" for line in sure.lines)


def test_the_flow_says_what_was_lost_between_its_boxes_or_the_range_over_segmenters():
    counts = dict(zip(STEPS, ([8, 8], [7, 7], [6, 4], [6, 3]), strict=True))
    texts = [t for t in labels(figures.participant_flow(pd.DataFrame(counts)).texts) if t]
    assert texts[0] == "8 subjects enrolled" and texts[-2] == f"3 to 6 {STEPS['analysed']}"
    assert [t for t in texts if t.endswith(" lost")] == ["1 lost", "1 to 3 lost", "0 to 1 lost"]
    assert not figures.participant_flow(pd.DataFrame(columns=list(counts))).axison


def differences(structural, pet, **more):
    rows = pd.DataFrame({"subject": [f"s{i}" for i in range(len(pet))], "structural": structural, "pet": pet})
    rows["difference"] = rows["pet"] - rows["structural"]
    keys = {"session": "petct", "segmenter": "a", "structure": "liver", "prompt": "centre", "step": 0}
    return rows.assign(state="paired", **keys | more)


def test_limits_of_agreement_are_those_of_the_differences():
    ax = figures.bland_altman(differences([0.5, 0.5, 0.5], [0.4, 0.5, 0.6]))
    # differences −0.1, 0, 0.1: mean 0, SD 0.1
    levels = [line.get_ydata()[0] for line in ax.lines[1:]]
    np.testing.assert_allclose(levels, [0, -0.196, 0.196], atol=1e-12)
    assert labels(ax.texts) == ["mean +0.00", "−1.96 SD −0.20", "+1.96 SD +0.20"]
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.45, -0.1], [0.5, 0.0], [0.55, 0.1]])
    assert ax.get_xlabel() == "mean DSC of CT and PET" and ax.get_ylabel() == "PET − CT"
    one = figures.bland_altman(differences([0.5], [0.4]))
    assert labels(one.texts) == ["mean −0.10"] and not one.patches  # no spread, no band


def test_a_distribution_has_a_box_per_image_every_subject_and_ceilings_of_dice():
    table = differences([0.8, 0.9, 0.7], [0.5, 0.6, 0.4])
    best = pd.DataFrame(
        {"title": "grid", "structure": ["liver", "brain"], "modality": "PET", "ceiling": [0.95, 0.9]}
    )
    ax = figures.distributions(table, ceilings=best)
    colours = [to_hex(p.get_facecolor()) for p in ax.patches]
    assert colours == [to_hex(CT), to_hex(PET)]
    points = [c.get_offsets() for c in ax.collections if len(c.get_offsets()) == 3]
    assert (
        sorted(points[0][:, 0]) == [0.7, 0.8, 0.9]
        and (points[0][:, 1] < 0).all()
        and (points[1][:, 1] > 0).all()
    )
    (line,) = segments(ax)
    assert [p[0] for p in line] == [0.95, 0.95] and line[0][1] > 0
    assert legend(ax) == ["structural (upper)", "PET (lower)", "grid"]
    table.attrs["metric"] = "assd"
    other = figures.distributions(table, ceilings=best)
    assert not segments(other) and other.get_xlabel() == "ASSD (mm)"


def test_pairs_open_their_subject_and_keep_their_numbers():
    ax = figures.paired_plot(differences([0.8, 0.9], [0.5, 0.7]), n_resamples=99)
    targets = [c for c in ax.collections if c.get_gid() == "umd-targets"]
    assert [len(t.get_urls()) for t in targets] == [2, 2]
    assert "open=s0%7Cpetct%7Cliver%7Ca" in targets[0].get_urls()[0]
    assert "prompt=centre%2C+0" in targets[0].get_urls()[0]
    kept = figures.chart_numbers(ax.figure)
    assert kept[["subject", "structural", "pet"]].to_numpy().tolist() == [["s0", 0.8, 0.5], ["s1", 0.9, 0.7]]


def test_an_address_lists_a_choice_or_opens_a_subject():
    row = {"session": "petct", "segmenter": "a", "structure": "liver", "subject": ""}
    assert "open=" not in figures.case_address("w", row)
    assert "open=s1" not in figures.case_address("w", {"session": "petct", "subject": "s1"})
    assert links.explored({"metric": "assd", "step": 2}, {}) == {
        "metric": "assd",
        "empty": "drop",
        "prompt": "centre, 2",
    }
    assert links.explored({}, {"prompt": "box"}) == {"metric": "dice", "empty": "drop"}
    assert figures.mark_words({"subject": "s1", "structure": "liver"}, "0.5") == "s1, Liver: 0.5"


def test_a_training_is_a_thin_line_and_its_running_mean_over_five():
    log = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 0.0, 3.0], "dice_first": 0.5})
    ax = figures.training_curves({"pet": log})
    thin, thick = ax.lines
    assert thin.get_ydata().tolist() == [3.0, 0.0, 3.0] and thick.get_ydata().tolist() == [2.0, 2.0, 2.0]
    assert thin.get_color() == thick.get_color() == "#d55e00" and ax.get_ylabel() == "loss"
    names = {
        y: figures.training_curves({"both": log.assign(dice_last=1)}, y=y).get_ylabel()
        for y in ("dice_first", "dice_last")
    }
    assert names == {"dice_first": "DSC after the first click", "dice_last": "DSC after the last click"}
