"""What the book's extension does to single nodes: charts, heads, long tables, figures, absent pages, terms."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from PIL import Image
from sphinx.addnodes import pending_xref

import umdbook.reader as reader
from umdbook.reader import absent, charts, figures, heads, live, shading, terms


def app(folder=".", pages=(), form="html", **env):
    builder = SimpleNamespace(format=form, get_relative_uri=lambda a, b: f"{b}.html")
    env = SimpleNamespace(found_docs=set(pages), all_docs=dict.fromkeys(pages), **env)
    return SimpleNamespace(
        srcdir=str(folder), outdir=str(folder), builder=builder, env=env, config=SimpleNamespace()
    )


def document():
    return new_document("page", get_default_settings(Parser))


@pytest.mark.parametrize(("dark", "chart"), [(4, True), (5, False), (6, False)])
def test_a_chart_is_an_image_of_more_than_half_paper(tmp_path, dark, chart):
    image = Image.new("RGB", (10, 10), (253, 253, 253))
    image.paste((252, 252, 252), (0, 0, 10, dark))
    image.save(tmp_path / "a.png")
    assert charts.is_chart(tmp_path / "a.png") is chart


def test_links_to_chapters_of_this_book_stay_and_others_are_marks():
    link = '<a class="x" href="{}.html#open=1"><title>t</title><path/></a>'
    here, gone = link.format("cases"), link.format("absent")
    assert charts._without_dead_links(here + gone, "gap", {"cases"}) == here + "<path/>"
    assert charts._without_dead_links(here, "results/gap", {"results/cases"}) == here
    assert charts._without_dead_links(here, "results/gap", {"cases"}) == "<path/>"


def drawn(tmp_path, text, docname="results/gap", **more):
    """A document with the picture of a chart, after it was put into the page."""
    (tmp_path / "abcdefabcdefabcdefabc.svg").write_text(text, "utf-8")
    page = document()
    page += nodes.image(uri="abcdefabcdefabcdefabc.svg", **more)
    charts.mark(app(tmp_path), page, docname)
    return page


def test_a_chart_outside_of_a_figure_has_files_of_its_own_name(tmp_path):
    page = drawn(
        tmp_path, '<svg viewBox="0"><metadata class="umd-csv">a\n&lt;1\n</metadata></svg>', alt='"x"'
    )
    (raw,) = page.findall(nodes.raw)
    assert 'role="img" aria-label="&quot;x&quot;"' in raw.astext() and "metadata" not in raw.astext()
    assert '<a href="../_images/results-gap-abcdefabcdefabcd.csv">CSV</a>' in raw.astext()
    assert "Link to this figure" not in raw.astext()
    assert (tmp_path / "_images" / "results-gap-abcdefabcdefabcd.csv").read_text() == "a\n<1\n"
    assert "xmlns:xlink" in (tmp_path / "_images" / "results-gap-abcdefabcdefabcd.svg").read_text()


def test_a_drawing_of_somebody_else_stays_an_image(tmp_path):
    page = drawn(tmp_path, "<?xml version='1.0'?><svg/>")
    assert len(list(page.findall(nodes.image))) == 1 and not list(page.findall(nodes.raw))


def test_scripts_of_a_page_are_put_off_unless_something_waits_for_them():
    class Script(SimpleNamespace):
        def __init__(self, filename, priority=1, **attributes):
            super().__init__(filename=filename, priority=priority, attributes=attributes)

    late = heads.deferred(Script("_static/umd.js", 7))
    assert late.attributes == {"defer": "defer"} and late.priority == 7
    for kept in (
        Script("_static/documentation_options.js"),
        Script("a.js", defer="x"),
        Script("", body="var a"),
    ):
        assert heads.deferred(kept) is kept
    inline = [
        Script("", body="a"),
        Script("b.js"),
        Script("", body="a"),
        Script("", body="c"),
        Script("b.js"),
    ]
    assert heads.unique_scripts(inline) == [inline[0], inline[1], inline[3], inline[4]]
    context = {"script_files": [Script("x.js")]}
    heads.complete(None, "search", "", context, None)
    assert context["script_files"][0].attributes == {} and "metatags" not in context


def test_a_description_is_the_first_paragraph_cut_at_a_word():
    byline = nodes.container("", nodes.paragraph(text="By nobody."), classes=["umd-byline"])
    page = nodes.section("", byline, nodes.paragraph(text="words " * 50), nodes.paragraph(text="Not this."))
    words = heads.description(page)
    assert words.startswith("words words") and words.endswith(" words…") and len(words) <= 160
    assert heads.description(nodes.section()) == ""
    context = {"metatags": "<old/>"}
    heads.complete(None, "gap", "", context, nodes.section("", nodes.paragraph(text='a "b" <c>')))
    assert context["metatags"] == '<old/>\n<meta name="description" content="a &quot;b&quot; &lt;c&gt;"/>'


def table(rows, heads_=1, titled=True, text="1"):
    def line():
        return nodes.row("", nodes.entry("", nodes.paragraph(text=text)))

    group = nodes.tgroup("", nodes.thead("", *(line() for _ in range(heads_))))
    group += nodes.tbody("", *(line() for _ in range(rows)))
    return nodes.table("", *([nodes.title(text="T")] if titled else []), group)


@pytest.mark.parametrize(
    ("made", "long"),
    [
        (lambda: table(6), True),
        (lambda: table(5), False),
        (lambda: table(6, titled=False), False),
        (lambda: table(6, heads_=2), False),
    ],
)
def test_a_table_is_live_with_a_title_one_head_and_six_rows(made, long):
    page = document()
    page += made()
    live.enliven(app(), page, "gap")
    (shown,) = page.findall(nodes.table)
    assert ("umd-live" in shown["classes"]) is long
    kinds = [type(child) for child in page.children]
    assert kinds == (
        [nodes.raw, nodes.table, nodes.raw] if long else [nodes.table]
    )  # made before it is painted
    assert not any("umd-long" in entry["classes"] for entry in shown.findall(nodes.entry))


def test_long_cells_wrap_and_intervals_do_not_break():
    page = document()
    page += table(6, text="x" * 49)
    page += table(6, text="0.5 [0.4, 0.6]")
    live.enliven(app(), page, "gap")
    first, second = page.findall(nodes.table)
    long = [["umd-long" in entry["classes"] for entry in t.findall(nodes.entry)] for t in (first, second)]
    assert any(long[0]) and not any(long[1])
    whole = [node.astext() for node in second.findall(nodes.inline)]
    assert whole == ["[0.4, 0.6]"] * 7 and not list(first.findall(nodes.inline))


@pytest.mark.parametrize(("form", "name"), [("latex", "gap"), ("html", "results/published_umd")])
def test_printed_tables_and_other_builders_are_left_alone(form, name):
    page = document()
    page += table(6)
    live.enliven(app(form=form), page, name)
    assert "umd-live" not in next(iter(page.findall(nodes.table)))["classes"]


def test_a_viewer_without_a_caption_is_a_figure_all_the_same():
    page = document()
    holder = nodes.container("", nb_element="mime_bundle")
    page += nodes.section("", holder, nodes.raw("", "<p>no viewer</p>", format="html"))
    holder += nodes.raw("", '<figure class="umd-viewer" id="one"><div/></figure>', format="html")
    figures.NumberViewers(page).apply()
    (figure,) = page.findall(nodes.figure)
    assert figure["names"] == ["fig-one"] and figure.children == [holder]
    assert not list(figure.findall(nodes.caption)) and len(list(page.findall(nodes.raw))) == 2


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        ({"reftarget": "clicks.ipynb#a"}, True),
        ({"reftarget": "gap.ipynb"}, False),
        ({"reftarget": "../intro.md"}, False),
        ({"reftarget": "fig-one"}, False),
        ({"reftarget": "results/none", "refdomain": "doc"}, True),
        ({"reftarget": "results/gap", "refdomain": "doc"}, False),
    ],
)
def test_a_link_is_absent_only_where_it_names_a_page_that_is_not_there(given, gone):
    page = document()
    page.settings.env = app(pages=("results/gap", "intro"), docname="results/gap").env
    step = absent.UnlinkAbsent(page)
    link = pending_xref("", nodes.inline("", "", nodes.Text("words")), reftype="myst", **given)
    step.document += link
    step.run()
    assert (step.document.astext() == "words (not in this book)") is gone


def test_a_table_that_says_why_it_has_no_rows_is_a_sentence():
    page = document()
    page += table(1, text="note")
    page += table(1, text="1")
    for entry, words in zip(page[0].findall(nodes.entry), ("note", "No rows."), strict=True):
        entry[0] = nodes.paragraph(text=words)
    page[0]["ids"] = ["tab-a"]
    absent.say_reasons(None, page, "gap")
    assert page[0].astext() == "No rows." and page[0]["ids"] == ["tab-a"]
    assert [type(child) for child in page.children] == [nodes.container, nodes.table]


def test_a_fold_that_holds_only_such_a_reason_is_gone_and_another_stays():
    page = document()
    for more in ([], [nodes.paragraph(text="Words.")]):
        reason = table(1, text="note")
        body = nodes.container("", reason, *more)
        page += nodes.container("", nodes.rubric(text="Numbers"), body, classes=["sd-dropdown"])
    absent.say_reasons(None, page, "gap")
    assert page[0].astext() == "note" and page[0]["classes"] == []
    assert page[1].astext().split() == ["Numbers", "Words."]  # what was said above is not said again


def test_what_is_flagged_is_read_where_there_is_a_file(tmp_path):
    config = SimpleNamespace(umd_flagged={})
    shading.read_flagged(SimpleNamespace(srcdir=str(tmp_path)), config)
    assert config.umd_flagged == {}
    (tmp_path / shading.FILE).write_text('{"a": "b"}')
    shading.read_flagged(SimpleNamespace(srcdir=str(tmp_path)), config)
    assert config.umd_flagged == {"a": "b"}


def test_any_change_makes_every_other_page_anew():
    env = SimpleNamespace(found_docs={"a", "b", "c"}, umd_terms={})
    assert terms.pages_to_read(None, env, {"a"}, set(), set()) == {"b", "c"} and not hasattr(env, "umd_terms")
    assert terms.pages_to_read(None, env, set(), set(), set()) == set()


def test_the_longest_term_wins_and_a_capital_may_begin_one():
    pattern = terms.term_pattern(["mask", "label map", "map"])
    found = [m.group() for m in pattern.finditer("Label  maps, maps, non-mask, MASK and Mask")]
    assert found == ["Label  maps", "maps", "Mask"]
    known = {"label map": 1, "DSC": 2}
    assert terms.named(known, "Label\nmap") == 1 and terms.named(known, "DSC") == 2


def test_the_version_of_the_extension_changes_with_the_files_that_pages_show(tmp_path):
    before = reader._version(tmp_path)
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.css").write_text("b")
    assert reader._version(tmp_path) != before == reader._version(tmp_path / "none")
    assert Path(reader.__file__).with_name("charts.py").is_file()
