import json
from pathlib import Path

import pytest

from umdbook.chapters import reporting as chapter
from umdlib.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = ROOT / "notebooks"


def headings(page: str) -> set[str]:
    cells = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = [line.strip() for c in cells if c["cell_type"] == "markdown" for line in c["source"]]
    return {line.lstrip("#").strip() for line in lines if line.startswith("#")}


def test_every_item_of_the_numbered_guidelines_is_there():
    items = chapter.read_items().groupby("guideline", sort=False)["item"].agg(list)
    assert items["CLAIM 2024"] == [str(i) for i in range(1, 45)]
    numbers = {int(i.rstrip("abcdefg")) for i in items["TRIPOD+AI"]}
    assert (numbers, len(items["TRIPOD+AI"])) == (set(range(1, 28)), 52)
    assert list(items.index) == list(chapter.GUIDELINES)


def test_every_answer_is_a_page_of_the_book_with_that_section():
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    for row in chapter.read_items().query("page != ''").itertuples():
        assert f"results/{row.page}\n" in toc or row.page == "intro", row
        assert not row.section or row.section in headings(row.page), row


def test_what_no_page_answers_is_not_reported():
    pages = chapter.titles(NOTEBOOKS)
    items = chapter.read_items()
    found = chapter.answers(items, pages)
    assert found.str.startswith("not reported").equals(items["page"] == "")
    assert chapter.answers(items, {}).str.startswith("not reported").all()
    claim = chapter.checklist("CLAIM 2024", pages).markdown
    assert "| 34 | Registration of a clinical trial | not reported. There is none. |" in claim
    assert "[How sure are we?](certainty.ipynb), *Do the tests hold their level?*" in claim


def test_a_section_without_a_page_is_refused():
    items = chapter.read_items().head(1).assign(page="", section="Somewhere")
    with pytest.raises(InputError, match="names a section without a page"):
        chapter.answers(items, {})
