import json
from pathlib import Path

import pytest

from umdbook.chapters import every_item as chapter
from umdlib.errors import InputError
from umdlib.published import SOURCES

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = ROOT / "notebooks"


def headings(page: str) -> set[str]:
    path = NOTEBOOKS / f"{page}.ipynb"
    if not path.is_file():
        path = NOTEBOOKS / f"{page.rpartition('_')[0]}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line.strip() for c in cells if c["cell_type"] == "markdown" for line in c["source"]]
    return {line.lstrip("#").strip() for line in lines if line.startswith("#")}


@pytest.mark.parametrize("form", ["published", "measured"])
def test_every_place_is_a_page_of_the_book_with_that_section(form):
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    for row in chapter.read_items().query(f"{form} != ''").to_dict("records"):
        assert f"results/{row[form]}\n" in toc, row
        section = row[f"{form}_section"]
        assert not section or section in headings(row[form]), row


def test_every_transcribed_table_is_listed_and_shown_as_printed():
    items = chapter.read_items().set_index(["paper", "item"])["published"]
    named = {(s.paper, s.table.replace("Supplementary Table ", "Table S")) for s in SOURCES.values()}
    tables = items[items.index.get_level_values("item").str.startswith("Table")]
    assert named == set(tables.index)
    assert (tables != "").all()


def test_an_item_without_a_page_has_a_reason():
    items = chapter.read_items()
    alone = items[(items["published"] == "") | (items["measured"] == "")]
    assert alone.query("published == ''")["note"].ne("").all()
    n = chapter.counts()
    assert n["n"] == len(items) == n["both"] + n["one"] + n["none"]


def test_pages_that_are_not_in_the_book_are_no_links():
    items = chapter.read_items().head(1)
    assert chapter.places(items, "measured", {}).tolist() == ["–"]
    known = {"modality_gap": "Do models lose accuracy on PET? $session_title"}
    assert chapter.places(items, "measured", known).tolist() == [
        "[Do models lose accuracy on PET?](modality_gap_petct.ipynb), *Structure by structure*"
    ]
    with pytest.raises(InputError, match="Did you mean 'UMD'"):
        chapter.item_table("UDM", NOTEBOOKS)
    assert "| Table 3 |" in chapter.item_table("UMD", NOTEBOOKS).data
