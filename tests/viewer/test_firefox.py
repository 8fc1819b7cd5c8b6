"""The viewer in a headless Firefox, from a file: pixels, linked panes, keys, touch, and a link."""

import io
import os
import shutil

import numpy as np
import pytest
import viewer_phantom as phantom
from firefox import Firefox
from PIL import Image

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox (Debian: apt install firefox-esr)"),
]
READOUTS = "[...document.querySelectorAll('#phantom .umd-readout')].map(e => e.textContent)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    return phantom.write_page(folder, phantom.pair(spacing_mm=8.0).write(folder / "umd")).as_uri()


def start(tmp_path, **options):
    profile = tmp_path / "profile"
    profile.mkdir()
    return Firefox(FIREFOX, profile, **options)


def opened(browser, url):
    browser.open(url)
    if not browser.evaluate("!!document.createElement('canvas').getContext('webgl2')"):
        pytest.skip("this Firefox has no WebGL 2 here (a display with GL is needed)")
    browser.evaluate("document.querySelector('#phantom .umd-open').click()")
    browser.wait_for("'umdReady' in document.querySelector('#phantom').dataset")


def test_a_pair_opens_is_linked_and_its_link_restores_the_view(site, tmp_path):
    with start(tmp_path) as browser:
        opened(browser, site)
        picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L"))
        boxes = browser.evaluate(
            "[...document.querySelectorAll('#phantom .umd-canvas')].map(c => { const b = "
            "c.getBoundingClientRect(); return [b.x, b.y, b.right, b.bottom].map(Math.round); })"
        )
        assert len(boxes) == 2
        for left, top, right, bottom in boxes:
            assert picture[max(top, 0) : bottom, left:right].std() > 20
        before = browser.evaluate(READOUTS)
        assert "DSC of the liver: 0.7" in before[0] and "SUV 2." in before[1]

        left, top, right, bottom = boxes[0]
        place = left + 0.2 * (right - left), top + 0.3 * (bottom - top)
        browser.tap(*place)
        browser.wait_for(f"JSON.stringify({READOUTS}) !== {before!r}.toString()")
        moved = browser.evaluate(READOUTS)
        assert moved[0].split(" mm")[0] == moved[1].split(" mm")[0] != before[0].split(" mm")[0]
        browser.press("\ue013")  # arrow up
        risen = browser.evaluate(READOUTS)
        assert height(risen[1]) > height(moved[1])
        browser.evaluate(
            "document.querySelector('#phantom [aria-label=\"Copy a link to this view\"]').click()"
        )
        link = browser.wait_for("location.href.includes('viewer=phantom') && location.href")

        browser.open("about:blank")
        browser.open(link)
        browser.wait_for("'umdReady' in document.querySelector('#phantom').dataset")
        assert browser.evaluate(READOUTS) == risen
        if os.environ.get("UMD_SHOT"):
            with open(os.environ["UMD_SHOT"], "wb") as file:
                file.write(browser.picture())
        assert browser.errors() == []


def test_a_finger_moves_the_crosshair_on_a_narrow_screen(site, tmp_path):
    with start(tmp_path, width=390, height=780, preferences={"dom.w3c_touch_events.enabled": 1}) as browser:
        opened(browser, site)
        browser.evaluate("document.querySelector('#phantom .umd-canvas').scrollIntoView()")
        before = browser.evaluate(READOUTS)
        box = "document.querySelector('#phantom .umd-canvas').getBoundingClientRect()"
        x, y, right, bottom = browser.evaluate(f"(b => [b.x, b.y, b.right, b.bottom])({box})")
        browser.tap(x + 0.2 * (right - x), y + 0.3 * (bottom - y), "touch")
        browser.wait_for(f"{READOUTS}[0] !== {before[0]!r}")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_webgl_a_sentence_stands_below_the_picture(site, tmp_path):
    with start(tmp_path, preferences={"webgl.disabled": True, "webgl.force-enabled": False}) as browser:
        browser.open(site)
        browser.evaluate("document.querySelector('#phantom .umd-open').click()")
        note = browser.wait_for("document.querySelector('#phantom .umd-note')?.textContent")
        assert "needs WebGL 2" in note
        assert browser.evaluate("document.querySelector('#phantom img').naturalWidth") > 300


def height(readout):
    return float(readout.split("z ")[1].split(" ")[0])
