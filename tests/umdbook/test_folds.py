"""Folded code, folds and tabs of a page: one switch, and whatever an address names is seen, in print too."""

from pathlib import Path

import pytest

from umdlib.tables import interactive

STATIC = Path(__file__).parents[2] / "book" / "_static"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>
<link rel="stylesheet" href="umd.css"><script src="umd-reader.js" defer></script>
<article class="bd-article"><p><button class="umd-code-switch" aria-pressed="false">Show the code</button></p>
<div class="cell tag_hide-input"><details class="hide above-input"><summary>code</summary>
<pre id="code">x</pre></details></div>
<div class="cell tag_remove-input tag_hide-output"><details class="hide above-output"><summary>curves</summary>
<div class="cell_output"><p id="curves">figure</p></div></details></div>
<details class="sd-dropdown" id="fold"><summary>fold</summary><p id="folded">inside</p></details>
<div class="sd-tab-set"><input type="radio" name="t" id="t1" checked><label for="t1">CT</label>
<div class="sd-tab-content"><p id="first">first</p></div><input type="radio" name="t" id="t2"><label for="t2">MR</label>
<div class="sd-tab-content"><p id="second">second</p></div></div>
<style>.umd-whole { white-space: nowrap; } .umd-box { width: 500px; }</style>
TABLES<table class="umd-live"><thead><tr><th>A</th></tr></thead><tbody>ROWS</tbody></table></article>"""
CELL = '<td>0.934 <span class="umd-whole">(0.933 to 0.935)</span></td>'


@pytest.fixture
def address(tmp_path):
    """A page with the book's own style and script."""
    for name in ("umd.css", "umd-reader.js"):
        (tmp_path / name).write_text((STATIC / name).read_text("utf-8"), "utf-8")
    text = PAGE.replace("ROWS", f"<tr>{CELL * 6}</tr>").replace("TABLES", interactive.live_tables())
    (tmp_path / "page.html").write_text(text, "utf-8")
    return (tmp_path / "page.html").as_uri()


@pytest.mark.browser
def test_one_switch_shows_all_code_and_an_address_opens_what_hides_it(browser, address):
    page = browser.new_page()
    page.goto(address)
    assert not page.is_visible("#code") and not page.is_visible("summary >> text=code")
    page.click(".umd-code-switch")
    assert page.is_visible("#code") and page.text_content(".umd-code-switch") == "Hide the code"
    page.click(".umd-code-switch")
    assert not page.is_visible("#code")
    page.goto(f"{address}#%")  # no name: the page works all the same
    page.reload()
    assert page.locator("#umd-tip").count() == 1
    page.goto(f"{address}#folded")
    assert page.is_visible("#folded")
    page.goto(f"{address}#second")
    assert page.is_checked("#t2") and not page.is_checked("#t1")
    page.close()


@pytest.mark.browser
def test_a_folded_figure_is_a_fold_of_its_own_and_no_code(browser, address):
    page = browser.new_page()
    page.goto(address)
    assert page.is_visible("summary >> text=curves") and not page.is_visible("#curves")
    page.click(".umd-code-switch")
    assert page.is_visible("#code") and not page.is_visible("#curves")
    page.click("summary >> text=curves")
    assert page.is_visible("#curves")
    page.close()


@pytest.mark.browser
def test_a_printed_page_has_its_folds_open_and_no_switch(browser, address):
    page = browser.new_page()
    page.goto(address)
    assert not page.is_visible("#folded")
    page.emulate_media(media="print")
    page.wait_for_selector("#folded", state="visible")
    assert not page.is_visible(".umd-code-switch")
    page.emulate_media(media="screen")
    page.wait_for_selector("#folded", state="hidden")
    page.close()


@pytest.mark.browser
def test_a_table_wider_than_its_box_wraps_on_a_wide_screen_and_scrolls_on_a_narrow_one(browser, address):
    for width, scrolls in ((1440, False), (390, True)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(address)
        page.wait_for_load_state("load")
        assert (
            page.evaluate("(e => e.scrollWidth > e.clientWidth + 1)(document.querySelector('.umd-scroll'))")
            is scrolls
        )
        page.close()
