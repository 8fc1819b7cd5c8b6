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
