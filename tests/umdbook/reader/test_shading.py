"""Segmenters that the canaries flag are shaded in every table, and nothing else is."""

import re

import pandas as pd
import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from umdbook import build
from umdbook.reader import shading
from umdlib.canaries import findings
from umdlib.errors import InputError

PAGE = """# Tables

:::{table} Down.
:name: tab-down
| Segmenter | DSC |
|---|---|
| good | 0.9 |
| bad | 0.1 |
:::

| Structure | good | `bad` |
|---|---|---|
| Liver | 0.8 | 0.2 |

| Segmenter | DSC |
|---|---|
| good | 0.7 |
| not bad | 0.6 |

The bad one is named in the text too.
"""
REASON = "a flip of the prediction fits clearly better"


@pytest.fixture
def pages(tmp_path):
    """Build a book of two pages, once as it is and once more after a change of what is flagged."""
    source = tmp_path / "book"
    (source / "results").mkdir(parents=True)
    extensions = "extensions = ['myst_parser', 'umdbook.reader']\nmyst_enable_extensions = ['colon_fence']\n"
    (source / "conf.py").write_text(extensions + "root_doc = 'results/gap'\nproject = 't'\n")
    (source / "results" / "gap.md").write_text(PAGE + "\n```{toctree}\npublished_umd\n```\n")
    (source / "results" / "published_umd.md").write_text(PAGE.replace("tab-down", "tab-printed"))

    def built(flagged):
        (source / shading.FILE).write_text(flagged)
        with docutils_namespace():
            out, trees = tmp_path / "out", tmp_path / "trees"
            Sphinx(source, source, out, trees, "html", warningiserror=True, status=None).build()
        return {p.stem: p.read_text("utf-8") for p in out.glob("results/*.html")}

    return built


def shaded(page):
    """Text of the cells that are marked."""
    cells = re.findall(r'<t[hd] class="[^"]*flagged[^"]*"[^>]*>(.*?)</t[hd]>', page, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells]


def test_rows_and_columns_that_name_a_flagged_segmenter_are_shaded_and_nothing_else(pages):
    plain = pages("{}")
    page = pages(f'{{"bad": "{REASON}"}}')  # the same pages, read again because what is flagged changed
    assert shaded(page["gap"]) == ["bad", "0.1", "bad", "0.2"]
    notes = re.findall(r'</table>.{0,40}?<p class="flagged-note">([^<]*)', page["gap"], re.DOTALL)
    assert len(notes) == 2 and all(f"bad: {REASON}." in note for note in notes)
    assert "flagged" not in plain["gap"]
    assert page["published_umd"] == plain["published_umd"]


def test_what_is_flagged_is_known_by_name_and_by_title(tmp_path):
    assert build.flagged_segmenters(tmp_path) == {}
    rows = [["threshold", "CT", 4, "flipped", "d", ""], ["gone", "CT", 4, "flipped", "d", ""]]
    findings.write(tmp_path, pd.DataFrame([*rows, ["own", "CT", 4, "", "d", ""]], columns=findings.COLUMNS))
    assert build.flagged_segmenters(tmp_path) == dict.fromkeys(["threshold", "gone", "Threshold"], REASON)


def test_a_file_that_is_no_table_of_findings_is_refused(tmp_path):
    (tmp_path / findings.FILE).write_text("a\tb\n1\t2\n", "utf-8")
    with pytest.raises(InputError, match="lacks the columns segmenter"):
        findings.read(tmp_path)
