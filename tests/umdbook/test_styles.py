"""Style sheets of a rendered book keep what its pages can use, and nothing else."""

import pytest

from umdbook import styles

SHEET = """@charset "utf-8";/*! licence */ /* words */
:root { --a: 1px }
.used > p, .unused { color: red }
.unused { color: blue }
.fa-star::before { content: "}" }
.made-by-script.used:not(.unused, .other) { color: green }
.bs-tooltip-end { top: 0 }
.sm\\:odd { top: 1px }
@media print { .unused { top: 0 } }
@media (min-width: 900px) { .unused, h1 { top: 0 } }
@font-face { font-family: a; src: url(a.woff) }
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "_static" / "styles").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    (tmp_path / "_static" / "styles" / "theme.css").write_text(SHEET, "utf-8")
    (tmp_path / "_static" / "umd.css").write_text(".unused { top: 0 }", "utf-8")
    (tmp_path / "_static" / "a.js").write_text('node.classList.add("made-by-script")', "utf-8")
    (tmp_path / "results" / "a.html").write_text('<p class="x used"></p>', "utf-8")
    return tmp_path


def test_rules_of_classes_that_nothing_has_are_gone_and_all_others_stay(folder):
    styles.make_lean(folder)
    left = (folder / "_static" / "styles" / "theme.css").read_text("utf-8")
    assert left.startswith('@charset "utf-8";/*! licence */:root{ --a: 1px }.used > p{ color: red }')
    assert "blue" not in left and "fa-star" not in left and "print" not in left and "words" not in left
    for kept in (
        ".made-by-script.used:not(.unused, .other){",
        ".bs-tooltip-end{",
        r".sm\:odd{",
        "@font-face",
    ):
        assert kept in left
    assert "@media (min-width: 900px) {h1{ top: 0 }}" in left
    assert (folder / "_static" / "umd.css").read_text("utf-8") == ".unused { top: 0 }"  # the book's own


def test_a_second_time_changes_nothing(folder):
    styles.make_lean(folder)
    once = (folder / "_static" / "styles" / "theme.css").read_text("utf-8")
    styles.make_lean(folder)
    assert (folder / "_static" / "styles" / "theme.css").read_text("utf-8") == once


def test_the_sheets_of_a_page_are_one_file_with_its_imports_in_place_and_its_addresses_right(folder):
    static = folder / "_static"
    (static / "basic.css").write_text("p { background: url(dot.png) } b { background: url(data:x) }", "utf-8")
    (static / "styles" / "theme.css").write_text(
        '@charset "utf-8";@import "../basic.css"; i { top: 0 }', "utf-8"
    )
    link = '<link href="{}" rel="stylesheet" />\n'
    for name, up in (("index.html", ""), ("results/a.html", "../")):
        sheets = "".join(link.format(f"{up}_static/{s}?v=1") for s in ("styles/theme.css", "umd.css"))
        icon = f'<link rel="icon" href="{up}_static/a.svg"/>'
        (folder / name).write_text(f"<head>{sheets}{icon}<style>q {{}}</style></head><p>x</p>", "utf-8")
    (static / "macros.html").write_text(link.format("_static/umd.css") * 2, "utf-8")
    styles.join(folder)
    (joined,) = static.glob("styles/pages-*.css")
    assert joined.read_text("utf-8").split("\n") == [
        "p { background: url(../dot.png) } b { background: url(data:x) } i { top: 0 }",
        ".unused { top: 0 }",
    ]
    for name, up in (("index.html", ""), ("results/a.html", "../")):
        one = f'<link rel="stylesheet" href="{up}_static/styles/{joined.name}" />\n'
        icon = f'<link rel="icon" href="{up}_static/a.svg"/>'
        assert (folder / name).read_text("utf-8") == f"<head>{one}{icon}<style>q {{}}</style></head><p>x</p>"
    assert (static / "macros.html").read_text("utf-8").count("umd.css") == 2  # a part of the theme, no page
