"""A list of viewers: the first is on the page, the others are files beside it until they are chosen."""

import re

import pytest
import viewer_phantom as phantom

from umdlib.viewer.choice import Choice


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    made = {
        title: phantom.pair(spacing_mm=16.0, name=f"cell-{n}", title=title)
        for n, title in enumerate(("untouched", "R & N", "all four"))
    }
    text = Choice(made, "Image").write(folder / "umd")
    phantom.write_page(folder, text)
    return folder, text


def test_the_page_has_the_first_viewer_and_a_record_of_each(page):
    folder, text = page
    assert text.count("<figure") == text.count("<img") == 1 and 'id="cell-0"' in text and "R &amp; N" in text
    named = re.findall(r'<option value="(\w+)">', text)
    assert len(set(named)) == 3 and {p.stem for p in (folder / "umd" / "records").iterdir()} == set(named)


@pytest.mark.browser
def test_what_is_chosen_takes_the_place_of_the_first_at_the_same_point(page, browser):
    tab, faults = browser.new_page(), []
    tab.on("pageerror", lambda e: faults.append(str(e)))
    tab.goto(f"file://{page[0]}/results/page.html")
    # an open viewer, without the seconds that WebGL takes here
    opened = """() => { const kind = Object.getPrototypeOf(document.querySelector("figure").umd);
        kind.open = function () { this.panes = []; this.figure.dataset.at = this.state.xyz.join(); }; }"""
    tab.evaluate(opened)
    tab.get_by_label("Image").select_option("R & N")
    tab.wait_for_selector("#cell-1[data-at]")
    tab.evaluate("() => { document.querySelector('figure').umd.state.xyz = [1, 2, 3]; }")
    tab.get_by_label("Image").select_option("all four")
    tab.wait_for_selector('#cell-2[data-at="1,2,3"]')
    assert tab.locator("figure").count() == 1 and tab.locator("img").count() == 0 and not faults
    tab.close()
