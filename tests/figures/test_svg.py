"""Charts as SVG: links with words, ids of their own, the numbers behind them."""

import re
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdlib import figures
from umdlib.figures import links, style
from umdlib.tables import segmenter_title, use_titles

A = "{http://www.w3.org/2000/svg}a"


@pytest.fixture(autouse=True)
def closed():
    """A backend that opens no window, and no figure left behind."""
    mpl.use("Agg")
    yield
    mpl.pyplot.close("all")


def chart():
    ax = style.axes(None)
    ax.plot([0, 1], [0.5, 0.25], label="a line", clip_on=True)
    row = {"session": "petct", "segmenter": "a", "structure": "liver", "subject": "sub-001"}
    ax.set_title("under <τ>")
    figures.add_targets(ax, [0.0], [0.5], [figures.case_address("sub-001 & liver: 0.500", row)])
    return ax


def test_a_mark_is_a_link_that_says_its_words_and_opens_its_case():
    root = ET.fromstring(figures.to_svg(chart().figure))
    (link,) = root.iter(A)
    assert link.get("aria-label") == link[0].text == "sub-001 & liver: 0.500"
    assert "title=" not in link.get("href")
    assert link.get("href").endswith("rule=drop&open=sub-001%7Cpetct%7Cliver%7Ca")


def test_nothing_of_a_chart_leaves_its_svg():
    drawn = figures.to_svg(chart().figure)
    assert "<style" not in drawn and "<image" not in drawn and "DOCTYPE" not in drawn
    ids = set(re.findall(r'\bid="([^"]+)"', drawn))
    asked = set(re.findall(r"url\(#([^)]+)\)", drawn)) | set(re.findall(r'xlink:href="#([^"]+)"', drawn))
    assert asked <= ids and ids
    assert len({i.partition("-")[0] for i in ids}) == 2  # of the chart, and of its form for phones
    assert "under &lt;τ&gt;" in drawn  # letters, not outlines
    assert drawn == figures.to_svg(chart().figure)


def test_the_numbers_kept_with_a_chart_are_those_in_it():
    ax = chart()
    ax.fill([0, 1, 1], [0, 0, 1])  # a shape that is no bar has no number
    assert figures.chart_numbers(ax.figure)["series"].tolist()[:2] == ["a line", "a line"]
    table = pd.DataFrame({"subject": ["sub-001"], "dice": [0.5]})
    links.keep_numbers(ax, table)
    pd.testing.assert_frame_equal(figures.chart_numbers(ax.figure), table)
    assert "subject,dice\nsub-001,0.5" in figures.to_svg(ax.figure)


def test_a_figure_with_an_image_or_many_marks_is_a_picture():
    assert figures.is_drawing(chart().figure)
    ax = style.axes(None)
    ax.imshow(np.zeros((3, 3)))
    assert not figures.is_drawing(ax.figure)
    ax = style.axes(None)
    ax.scatter(*np.zeros((2, 5000)))
    assert not figures.is_drawing(ax.figure)


def test_titles_are_shown_until_they_are_taken_back():
    use_titles({"a": "System A"}.get)
    try:
        assert segmenter_title("a") == "System A"
        assert links.mark_words({"segmenter": "a"}, "0.1") == "System A: 0.1"
    finally:
        use_titles(None)
    assert segmenter_title("a") == "a"
