"""The form of a chart for a phone."""

import matplotlib as mpl
import pytest

from umdlib import figures
from umdlib.figures import narrow, style

LONG = "A network that was trained on both kinds of image"


@pytest.fixture(autouse=True)
def closed():
    """A backend that opens no window, and no figure left behind."""
    mpl.use("Agg")
    yield
    mpl.pyplot.close("all")


def side_by_side():
    axes = figures.panels(1, 2, width=4.4, height=3.6)
    for ax in axes:
        ax.plot([0, 1], [0.5, 0.2], label=LONG)
        ax.plot([0, 1], [0.1, 0.2], label="short")
        ax.set_xlabel("difference in DSC with its 95 % interval over subjects")
    figures.legend_below(axes[0], columns=2)
    return axes[0].figure


def test_panels_stand_one_below_the_other_and_nothing_leaves_the_width_of_a_phone():
    wide = side_by_side()
    small = figures.narrow_form(wide)
    first, second = (ax.get_position() for ax in small.axes)
    assert first.y0 > second.y1 and first.x0 == pytest.approx(second.x0)
    assert small.get_figwidth() == narrow.WIDTH
    assert small.get_tightbbox().width <= narrow._TOO_WIDE * narrow.WIDTH
    assert small.axes[0].get_xlabel().count("\n") == 1
    (legend,) = small.legends
    assert [t.get_text().replace("\n", " ") for t in legend.get_texts()] == [LONG, "short"]


def test_the_chart_itself_stays_as_it_is_and_pyplot_knows_no_other():
    wide = side_by_side()
    known, size = mpl.pyplot.get_fignums(), tuple(wide.get_size_inches())
    assert figures.narrow_form(wide) is not None
    assert mpl.pyplot.get_fignums() == known and tuple(wide.get_size_inches()) == size
    assert wide.axes[0].get_position().y0 == pytest.approx(wide.axes[1].get_position().y0)
    assert "\n" not in wide.axes[0].get_xlabel() and wide.canvas.manager is not None


def test_long_names_of_rows_break_and_their_rows_have_room():
    ax = style.axes(None, figsize=(7.2, 2.0))
    style.rows_down(ax, [LONG, "Liver", "Colon"])
    (small,) = figures.narrow_form(ax.figure).axes
    names = [label.get_text() for label in small.get_yticklabels()]
    assert (
        names[0].count("\n") == 3 and names[0].replace("\n", " ") == LONG and names[1:] == ["Liver", "Colon"]
    )
    boxes = [label.get_window_extent() for label in small.get_yticklabels()]
    assert boxes[0].y0 > boxes[1].y1


def test_a_chart_that_fits_or_cannot_be_copied_or_stays_too_wide_has_one_form():
    assert figures.narrow_form(style.axes(None, figsize=(3.5, 3)).figure) is None
    held = style.axes(None)
    held.held = lambda: None
    assert figures.narrow_form(held.figure) is None
    wide = style.axes(None)
    wide.text(0, 0, "words " * 20)
    assert figures.narrow_form(wide.figure) is None
    assert "umd-narrow" not in figures.to_svg(wide.figure)


def test_a_chart_may_bring_its_own_form():
    wide, own = style.axes(None), style.axes(None, figsize=(3, 3))
    assert figures.set_narrow(wide, own) is wide
    assert figures.narrow_form(wide.figure) is own.figure
    assert mpl.pyplot.get_fignums() == [wide.figure.number]
