"""The book's Sphinx extension: terms with their definition, viewers as numbered figures."""

import re
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from umdbook.reader import heads, live, units

GLOSSARY = """# Glossary
```{glossary}
mask
  The voxels of one structure.

label map
  A volume of whole numbers.

case
  One image.

DSC
  Dice similarity coefficient.
```
"""
PAGE = """# A mask in the title

Masks first, masks again, unmasked and `mask` in code; a [mask link](glossary) and a dsc. In this case,
the DSC of a label
map. {term}`case`

```{raw} html
<figure class="umd-viewer" id="one"><div>picture</div><figcaption>A &lt;b&gt; caption.</figcaption></figure>
```

See {numref}`fig-one`.

![a chart](chart.png)
![a picture](picture.png)

:::{table} Six rows.
| Segmenter | DSC |
|:--|--:|
| a | 0.1 [−0.1, 0.3] |
| b | 0.2 |
| c | 0.3 |
| d | 0.4 |
| e | 0.5 |
| f | 0.6 |
:::

:::{table} One row.
| Segmenter | DSC |
|:--|--:|
| a | 0.1 |
:::

:::{figure} marks.svg
:name: fig-marks
:alt: Two "marks"

Under the marks.
:::
"""
MARKS = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><metadata class="umd-csv">a,b
1,&lt;2
</metadata><a href="glossary.html#open=1" aria-label="kept"><title>kept</title><path d="M 0 0"/></a><a
href="absent.html#open=1" aria-label="cut"><title>cut</title><path d="M 1 1"/></a></svg>"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """HTML of a page and of the glossary of a book of three pages."""
    source = tmp_path_factory.mktemp("book")
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'umdbook.reader']\nmyst_enable_extensions = ['colon_fence']\n"
        "numfig = True\nroot_doc = 'page'\nproject = 't'\n"
    )
    (source / "page.md").write_text(PAGE + "\n```{toctree}\nglossary\n```\n")
    (source / "glossary.md").write_text(GLOSSARY)
    (source / "marks.svg").write_text(MARKS)
    for name, dark in (("chart", 40), ("picture", 60)):
        image = Image.new("RGB", (10, 10), "white")
        image.paste((90, 90, 90), (0, 0, 10, dark // 10))
        image.save(source / f"{name}.png")
    out = source / "out"
    with docutils_namespace():
        app = Sphinx(source, source, out, source / "trees", "html", warningiserror=True, status=None)
        app.build()
    files = [*out.glob("*.html"), *out.glob("_images/page-*")]
    return {p.stem if p.suffix == ".html" else p.name: p.read_text() for p in files}


def linked(page):
    return re.findall(
        r'<a class="umd-term[^"]*" href="([^"]*)" title="([^"]*)">([^<]*(?:<span[^>]*>)?[^<]*)', page
    )


def test_the_first_mention_of_a_term_shows_its_definition(built):
    found = {text.split(">")[-1]: (target, tip) for target, tip, text in linked(built["page"])}
    assert found["Masks"] == ("glossary.html#term-mask", "The voxels of one structure.")
    assert found["label\nmap"] == ("glossary.html#term-label-map", "A volume of whole numbers.")
    assert found["DSC"][1] == "Dice similarity coefficient."
    assert len(linked(built["page"])) == 3 + built["page"].count("xref std std-term")


def test_titles_code_links_and_everyday_words_are_left_alone(built):
    page = built["page"]
    assert "<h1>A mask in the title" in page
    assert '<span class="pre">mask</span>' in page
    assert "In this case,\nthe" in page
    assert not linked(built["glossary"])


def test_an_asked_for_term_has_its_definition_too(built):
    assert re.search(r'title="One image."[^>]*><span class="xref std std-term">case', built["page"])


def test_a_viewer_is_a_numbered_figure_with_its_caption_once(built):
    page = built["page"]
    figure = page[page.index('id="fig-one"') :]
    assert page.count("&gt; caption.") == 1
    assert "A &lt;b&gt; caption." in figure
    assert 'href="#fig-one"' in page
    assert re.search(r'<span class="caption-number">Fig. 1', figure)


def test_a_page_describes_itself_and_declares_nothing_twice(built):
    (words,) = re.findall(r'<meta name="description" content="([^"]*)"', built["page"])
    assert words.startswith("Masks first, masks again")
    assert words.endswith("of a label map. case")
    long = nodes.section("", nodes.paragraph(text="word " * 60))
    assert heads.description(long).endswith("word…") and len(heads.description(long)) <= 160


def test_no_page_loads_what_runs_cells_on_a_server():
    def file(name):
        return SimpleNamespace(filename=f"_static/{name}", attributes={})

    inline = SimpleNamespace(filename=None, attributes={"body": "const THEBE_JS_URL = 1"})
    switch = SimpleNamespace(filename=None, attributes={"body": "let shown = 1"})
    context = {
        "css_files": [file("sphinx-thebe.css"), file("copybutton.css")],
        "script_files": [inline, switch, file("sphinx-thebe.js")],
    }
    heads.complete(None, "search", "page.html", context, None)
    assert [s.filename for s in context["css_files"]] == ["_static/copybutton.css"]
    assert context["script_files"] == [switch]


def page_of(*children):
    """A page as Sphinx resolves it, and the application that renders it."""
    app = SimpleNamespace(builder=SimpleNamespace(format="html"))
    document = new_document("page")
    document += children
    return app, document


def test_a_number_and_its_unit_stay_on_one_line_and_code_stays_as_it_is():
    text = nodes.paragraph("", "95 % of 4.5 mm, 3 mms, 1 %", nodes.literal("", "5 mm"))
    text.children[0].parent = None  # as handlers leave it that replace a node by several
    units.keep(*page_of(text), "page")
    assert text.astext() == "95\xa0% of 4.5\xa0mm, 3 mms, 1\xa0%5 mm"


def test_a_negative_number_has_a_minus_sign_and_a_name_or_a_range_its_hyphen():
    words = "-0.5 (-2) to [-1, sub-001, 0.1-0.2, 2026-11-30, PET-1"
    text = nodes.paragraph("", words, nodes.literal("", "-p 1 -2"), nodes.math("", "x -1"))
    units.keep(*page_of(text), "page")
    assert text.astext() == "−0.5 (−2) to [−1, sub-001, 0.1-0.2, 2026-11-30, PET-1-p 1 -2x -1"


def test_a_column_of_sentences_is_wide_and_a_short_name_does_not_break():
    def row(*words):
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", w)) for w in words))

    body = nodes.tbody("", *(row("sub-001", "word " * (12 if n else 1), "2") for n in range(6)))
    group = nodes.tgroup("", nodes.thead("", row("subject", "means", "n")), body, cols=3)
    table = nodes.table("", nodes.title("", "Caption"), group)
    live.enliven(*page_of(table), "page")
    assert "umd-live" in table["classes"]
    for entries in (list(r.findall(nodes.entry)) for r in body.children):
        assert ["umd-long" in e["classes"] for e in entries] == [False, True, False]
        assert [i.astext() for i in entries[0].findall(nodes.inline)] == ["sub-001"]


def test_an_inline_script_is_kept_once():
    class Script:
        def __init__(self, body=None):
            self.attributes = {"body": body}

    first, file, other = Script("const A = 1"), Script(), Script("const B = 2")
    assert heads.unique_scripts([first, file, Script("const A = 1"), other, "plain"]) == [
        first,
        file,
        other,
        "plain",
    ]


def test_script_files_wait_for_the_page_and_inline_scripts_and_what_they_need_do_not(built):
    tags = re.findall(r"<script([^>]*)>", built["page"].partition("</head>")[0])
    files = {tag.split('src="')[1].split('"')[0].split("?")[0]: tag for tag in tags if "src=" in tag}
    late = {name for name, tag in files.items() if "defer" in tag}
    assert "_static/doctools.js" in late
    assert set(files) - late == {"_static/documentation_options.js"}

    class Inline:
        filename, attributes = None, {"body": "let a"}

    assert heads.deferred(inline := Inline()) is inline and heads.deferred("plain") == "plain"


def test_the_search_page_runs_its_scripts_as_they_are_read(built):
    files = [tag for tag in re.findall(r"<script([^>]*)>", built["search"]) if "src=" in tag]
    assert any("searchtools.js" in tag for tag in files)  # calls what doctools.js defines
    assert not [tag for tag in files if "doctools.js" in tag and "defer" in tag]


def test_charts_have_a_class_and_pictures_none(built):
    images = dict(re.findall(r'<img alt="a (chart|picture)"([^>]*)>', built["page"]))
    assert "umd-chart" in images["chart"]
    assert "umd-chart" not in images["picture"]


def test_a_drawing_stands_in_the_page_with_its_links_and_its_files(built):
    page = built["page"]
    assert '<svg class="umd-chart" role="group" aria-label="Two &quot;marks&quot;"' in page
    assert 'href="glossary.html#open=1" aria-label="kept"' in page
    assert "absent.html" not in page and 'd="M 1 1"' in page  # a chapter that the book leaves out
    assert "umd-csv" not in page
    assert built["page-fig-marks.csv"] == "a,b\n1,<2\n"
    assert built["page-fig-marks.svg"].startswith("<svg ")
    for target in ("_images/page-fig-marks.svg", "_images/page-fig-marks.csv", "#fig-marks"):
        assert f'<a href="{target}">' in page


def test_no_line_of_a_table_ends_within_an_interval(built):
    assert '0.1 <span class="umd-whole">[−0.1, 0.3]</span>' in built["page"].replace(
        "<span>0.1 </span>", "0.1 "
    )


def test_a_long_table_is_live_and_a_short_one_is_not(built):
    page = built["page"]
    assert len(re.findall(r'<table class="[^"]*umd-live umd-measured[^"]*"', page)) == 1
    assert page.index("Six rows") < page.index("One row")
    assert page.index("umd-measured") < page.index("Six rows")
    # all that changes a table's form has run before what follows it is read
    assert page.index("window.umdTables = ") < page.index(" umd-measured")
    assert re.search(r"umd-measured.*?</table>\s*(</div>\s*)?<script>window.umdTables", page, re.S)
    assert page.count("window.umdTables = ") == 1
    assert "umdTables" not in built["glossary"]


def test_a_changed_style_sheet_reaches_a_book_whose_pages_are_the_same(tmp_path):
    (tmp_path / "conf.py").write_text("extensions = ['umdbook.reader']\nhtml_static_path = ['_static']\n")
    (tmp_path / "index.rst").write_text("Title\n=====\n")
    (tmp_path / "_static").mkdir()
    for colour in ("red", "blue"):
        (tmp_path / "_static" / "a.css").write_text(colour)
        with docutils_namespace():
            app = Sphinx(tmp_path, tmp_path, tmp_path / "out", tmp_path / "trees", "html", status=None)
            app.build()
        assert (tmp_path / "out" / "_static" / "a.css").read_text() == colour
