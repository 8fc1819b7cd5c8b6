"""Segmenters that the canaries flag are shaded in every table, and nothing else is."""

import pandas as pd
import pytest

from umdbook import shading
from umdlib.canaries import findings as flags
from umdlib.errors import InputError

DOWN = (
    "<table><thead><tr><th>Segmenter</th><th>DSC</th></tr></thead><tbody>"
    '<tr><td class="a"><p>good</p></td><td>0.9</td></tr>'
    '<tr class="row"><td class="a"><p>bad</p></td><td>0.1</td></tr></tbody></table>'
)
ACROSS = (
    "<table><tr><th>Structure</th><th>good</th><th><code>bad</code></th></tr>"
    "<tr><td>Liver</td><td>0.9</td><td>0.1</td></tr></table>"
)
NAMES = {"bad": "a flip of the prediction fits clearly better"}


def test_a_row_that_names_a_flagged_segmenter_is_shaded():
    page = shading.shade(DOWN, NAMES)
    assert '<td class="flagged a"><p>bad</p></td><td class="flagged">0.1</td>' in page
    assert '<td class="a"><p>good</p></td><td>0.9</td>' in page
    assert page.count("flagged-note") == 1 and "bad: a flip of the prediction" in page


def test_a_column_that_names_a_flagged_segmenter_is_shaded():
    page = shading.shade(ACROSS, NAMES)
    assert '<th class="flagged"><code>bad</code></th>' in page
    assert '<td>0.9</td><td class="flagged">0.1</td>' in page


def test_nothing_changes_without_a_flagged_name():
    assert shading.shade(DOWN + "<p>bad</p>", {"other": "x"}) == DOWN + "<p>bad</p>"


def test_pages_are_shaded_in_place_and_published_tables_are_left_alone(tmp_path):
    root, pages = tmp_path / "run", tmp_path / "html"
    root.mkdir(), pages.mkdir()
    for name in ("gap.html", "published_umd.html"):
        (pages / name).write_text(DOWN, "utf-8")
    assert shading.shade_pages(pages, root) == 0
    findings = pd.DataFrame([["bad", "CT", 4, "flipped", "d", ""]], columns=flags.COLUMNS)
    flags.write(root, findings)
    assert shading.shade_pages(pages, root) == 1
    assert "flagged" in (pages / "gap.html").read_text("utf-8")
    assert (pages / "published_umd.html").read_text("utf-8") == DOWN


def test_a_file_that_is_no_table_of_findings_is_refused(tmp_path):
    (tmp_path / flags.FILE).write_text("a\tb\n1\t2\n", "utf-8")
    with pytest.raises(InputError, match="lacks the columns segmenter"):
        flags.read(tmp_path)
