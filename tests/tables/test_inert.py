"""Whatever stands in a name or a column, a page shows it and a spreadsheet computes nothing."""

import json
import re

import pandas as pd
import pytest

from umdlib.tables import exports, interactive
from umdlib.tables.markdown import markdown_table

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>window.PWN=1</script>",
    "</td></table><svg/onload=alert(1)>",
    "<!--",
    "<?php",
    "[a](javascript:alert(1))",
    "[a](  JaVaScRiPt:alert(1))",
    "[a](java&#115;cript:alert(1))",
    "![a](data:text/html;base64,PHNjcmlwdD4=)",
    "a | b",
    "one\n\n<script>alert(1)</script>\n\n```{raw} html\n<b>",
    "a\u2028<b>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_holds_no_html_and_does_not_end_its_row(text):
    shown = markdown_table(pd.DataFrame({text: [text], "n": [1]}))
    assert not re.search(r"<[A-Za-z/!?]", shown)
    assert len(shown.splitlines()) == 3
    for line in shown.splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert not re.search(r"(?i)\]\(\s*(java|data)", shown)


def test_markdown_of_the_projects_own_stays():
    text = "[**0.569** (0.139) ‡]{.sig-4} [a](https://example.org/a) [b](../b.html) [c](#tab-c) p < 0.0001"
    assert text in markdown_table(pd.DataFrame({"a": [text]}))


def test_a_page_with_hostile_cells_runs_nothing():
    from markdown_it import MarkdownIt

    pages = [markdown_table(pd.DataFrame({"a": HOSTILE})), "\n".join(HOSTILE)]
    shown, bare = (MarkdownIt("commonmark", {"html": True}).enable("table").render(page) for page in pages)
    runs = re.compile(r"(?i)<(script|img[^>]*onerror|svg)|href=\"javascript|src=\"data:text")
    assert not runs.search(shown)
    assert runs.search(bare)  # the test can see it


def test_formulas_are_text_in_every_export(tmp_path):
    formulas = ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "=cmd|'_C'!A0"]
    table = exports.inert_cells(pd.DataFrame({"=name": [*formulas, "sub-001", "-0.5", None]}))
    assert table.columns.tolist() == ["'=name"]
    assert table.iloc[:, 0].tolist()[:-1] == [*[f"'{f}" for f in formulas], "sub-001", "-0.5"]
    numbers = pd.DataFrame({"n": [-1.5, 2.0]})
    assert exports.inert_cells(numbers).equals(numbers)


def test_data_in_a_script_element_cannot_leave_it():
    data = {"a": "<!--<script>", "b": "</script><img>"}
    assert "<" not in interactive.embed_json(data)
    assert json.loads(interactive.embed_json(data)) == data
