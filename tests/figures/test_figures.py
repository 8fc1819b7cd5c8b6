"""Every figure draws on the axes it is given, shows its numbers, and survives little data."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdlib import figures
from umdlib.errors import InputError
from umdlib.figures import style
from umdlib.scores.simulated import score_table
from umdlib.statistics.click_curves import curve_table
from umdlib.statistics.comparison import compare
from umdlib.statistics.flow import flow_table
from umdlib.statistics.operating_characteristics import coverage, type_one_error
from umdlib.statistics.pairs import paired_differences
from umdlib.statistics.ranking import rank_segmenters
from umdlib.statistics.variance_components import component_table

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def built(n_subjects=7, structures=("liver", "aorta")):
    """Every table that a figure takes, of one small cohort."""
    scores = score_table(n_subjects=n_subjects, structures=structures, steps=(0, 1), seed=2)
    scores["seconds"] = 0.1
    first = scores[scores["step"].eq(0)]
    seeds = pd.concat([first, first.assign(seed=1)], ignore_index=True)
    quick = {"n_resamples": 100}
    overall = compare(first, by=("session", "segmenter"), **quick)
    differences = paired_differences(first)
    return {
        "paired_plot": differences[differences["segmenter"].eq("b")],
        "bland_altman": differences[differences["segmenter"].eq("b")],
        "distributions": differences[differences["segmenter"].eq("b")],
        "forest": compare(first, **quick),
        "slope_chart": overall,
        "failure_quadrants": overall,
        "participant_flow": flow_table(first[["subject", "session", "modality"]].drop_duplicates(), first),
        "click_plot": curve_table(scores, **quick),
        "ranking_stability": rank_segmenters(first, **quick).query("modality == 'PET'"),
        "rule_plot": overall.assign(empty="drop"),
        "variance_bars": component_table(seeds),
        "error_rates": type_one_error(n_cohorts=50, n_resamples=99),
        "coverage_plot": coverage(sizes=(6, 10), shapes=("rare failures",), n_cohorts=20, n_resamples=50),
    }


# the figures of trained networks have tests of their own (test_trained, test_supervised)
ALL = sorted(
    name
    for name in figures.__all__
    if getattr(figures, name).__module__.rpartition(".")[2] in ("overview", "pairs", "stability")
)


@pytest.fixture(scope="module")
def little():
    """One structure, two subjects."""
    return built(n_subjects=2, structures=("lesion",))


@pytest.fixture(scope="module")
def inputs():
    return built()


@pytest.mark.parametrize("name", ALL)
def test_figure_draws_on_the_axes_it_is_given(inputs, name):
    with mpl.rc_context(), mpl.style.context("default"):
        _, ax = plt.subplots(layout="constrained")
        assert getattr(figures, name)(inputs[name], ax=ax) is ax
        ax.figure.canvas.draw()
    assert ax.get_xlabel() or ax.get_xticklabels()


@pytest.mark.parametrize("name", ALL)
def test_figure_of_two_subjects_and_a_lesion(little, name):
    ax = getattr(figures, name)(little[name])
    ax.figure.canvas.draw()
    assert ax.has_data() or len(ax.texts) > 2  # the flow is boxes of text
    assert not any("nothing was scored" in t.get_text() for t in ax.texts)


@pytest.mark.parametrize(
    "name",
    [
        "paired_plot",
        "bland_altman",
        "distributions",
        "forest",
        "slope_chart",
        "failure_quadrants",
        "ranking_stability",
    ],
)
def test_figure_without_a_pair_says_so(inputs, name):
    table = inputs[name].iloc[:0]
    ax = getattr(figures, name)(table)
    assert "nothing was scored" in ax.texts[0].get_text()


def test_surplus_panels_are_removed():
    shown = figures.panels(2, 2, width=2, height=2, used=3)
    assert len(shown) == 3
    assert len(shown[0].figure.axes) == 3
    assert figures.panels(0, 2, width=2, height=2, used=0) == []


def test_paired_plot_has_no_score_outside_its_scale(inputs):
    ax = figures.paired_plot(inputs["paired_plot"])
    assert min(ax.get_yticks()) >= 0
    assert max(ax.get_yticks()) <= 1


def test_figures_leave_the_process_style_alone(inputs):
    before = dict(mpl.rcParams)
    figures.forest(inputs["forest"])
    assert dict(mpl.rcParams) == before


def test_forest_shows_each_interval_and_fills_the_sure_ones(inputs):
    table = inputs["forest"]
    ax = figures.forest(table)
    placed = [line for line in ax.lines if line.get_transform() == ax.transData]
    bars = [line.get_xdata() for line in placed if line.get_marker() in ("", "None", None)]
    spans = sorted(tuple(sorted(x)) for x in bars if len(x) == 2 and x[0] != x[1])
    np.testing.assert_allclose(spans, sorted(map(tuple, table[["ci_low", "ci_high"]].to_numpy())))


def test_paired_plot_joins_every_subject(inputs):
    ax = figures.paired_plot(inputs["paired_plot"])
    joined = [line for line in ax.lines if line.get_linewidth() == 0.7]
    assert len(joined) == 7
    assert [t.get_text() for t in ax.get_xticklabels()] == ["CT", "PET", "PET − CT"]


def test_quadrant_bars_fill_the_width(inputs):
    ax = figures.failure_quadrants(inputs["failure_quadrants"])
    widths = [p.get_width() for p in ax.patches]
    assert sum(widths) == pytest.approx(len(inputs["failure_quadrants"]))


def test_segmenters_keep_colour_and_marker_in_every_figure():
    one, two = figures.segmenter_style(["b", "a"]), figures.segmenter_style(["a", "b"])
    assert one == two
    looks = figures.segmenter_style([f"s{i}" for i in range(9)])
    assert len({look["marker"] for look in looks.values()}) == 9
    assert len({look["color"] for look in looks.values()}) == 9
    many = figures.segmenter_style([f"s{i:02d}" for i in range(30)]).values()
    assert len({(look["marker"], look["color"]) for look in many}) == 30


def test_a_segmenter_looks_the_same_beside_fewer_others(inputs):
    everyone = figures.segmenter_style(["a", "b", "c", "b"])
    more = figures.segmenter_style(["a", "b", "c"], ["0", "a"])
    assert {name: more[name] for name in "abc"} == everyone
    assert more["0"] not in everyone.values()
    rows = inputs["forest"].query("segmenter == 'b'")
    for looks, colour in ((everyone, everyone["b"]["color"]), (None, "#000000")):
        legend = figures.forest(rows, looks=looks).figure.legends[0]
        assert legend.legend_handles[0].get_color() == colour


def test_a_figure_of_pairs_shows_one_session():
    both = score_table(n_subjects=3, structures=["liver"], sessions=("petct", "petmr"))
    with pytest.raises(InputError, match="one session, found petct, petmr"):
        figures.paired_plot(paired_differences(both))


def test_the_first_figure_leaves_a_kernel_interactive(monkeypatch):
    """As in Jupyter, where creating the first figure turns interactive mode on."""
    subplots = plt.subplots

    def first(*args, **options):
        mpl.interactive(True)
        return subplots(*args, **options)

    monkeypatch.setattr(plt, "subplots", first)
    try:
        figures.panels(1, 2, width=2, height=2)
        assert mpl.is_interactive()
    finally:
        mpl.interactive(False)


def test_given_intervals_stand_where_they_are_given_even_where_they_leave_out_the_estimate():
    rows = pd.DataFrame(
        {
            "structure": ["liver", "liver", "aorta"],
            "segmenter": ["a", "b", "a"],
            "estimate": [0.5, 0.1, -0.2],
            "ci_low": [0.0, 0.2, np.nan],
            "ci_high": [0.4, 0.3, np.nan],
            "sure": [True, False, False],
        }
    )
    ax = style.axes(None)
    style.given_intervals(ax, rows, style.segmenter_style("ab"), down="structure", sure="sure")
    drawn = [tuple(sorted(line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == 2]
    assert (0.0, 0.4) in drawn and (0.2, 0.3) in drawn
    marks = [line for line in ax.lines if line.get_marker() not in ("", "None", None)]
    points = {x for line in marks for x in line.get_xdata() if np.isfinite(x)}
    assert points == {0.5, 0.1, -0.2}
    filled = {x for line in marks if line.get_markerfacecolor() != "white" for x in line.get_xdata()}
    assert {x for x in filled if np.isfinite(x)} == {0.5}
