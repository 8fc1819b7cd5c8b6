"""The viewer in headless Chromium: pixels, linked panes, keys, and a page without WebGL."""

import functools
import http.server
import io
import shutil
import threading

import numpy as np
import pytest
import viewer_phantom as phantom
from PIL import Image

from umdlib.viewer import pair as viewers
from umdlib.viewer.pair import Pair

pytestmark = pytest.mark.browser
OPEN_MS = 120_000  # software rendering on a loaded machine


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with one page of four viewers."""
    folder = tmp_path_factory.mktemp("site")
    first = phantom.pair(spacing_mm=8.0)
    figures = [first.write(folder / "umd")]
    for k in range(3):
        figures.append(phantom.pair(spacing_mm=12.0, name=f"more{k}").write(folder / "umd"))
    phantom.write_page(folder, "".join(figures))
    (folder / "inline.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
        f'<link rel="icon" href="data:,">{first.inline()}',
        "utf-8",
    )
    return folder


@pytest.fixture
def visit(browser):
    """Open pages; at the end, none may have logged an error or asked for another host."""
    contexts, faults = [], []

    def go(url, *, script=None, allow=(), **options):
        context = browser.new_context(**({"viewport": {"width": 900, "height": 620}} | options))
        contexts.append(context)
        page = context.new_page()
        if script:
            page.add_init_script(script)
        page.requested = []
        page.on("request", lambda r: page.requested.append(r.url))

        def note(text):
            if not any(word in text for word in allow):
                faults.append(text)

        page.on("console", lambda m: note(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: note(str(e)))
        page.goto(url)
        return page

    yield go
    for context in contexts:
        context.close()
    assert not faults


def opened(page, name="phantom"):
    page.click(f"#{name} .umd-open")
    page.wait_for_selector(f"#{name}[data-umd-ready]", timeout=OPEN_MS)
    return page.locator(f"#{name}")


def choose(figure, label, value):
    """Set a control and wait until it is drawn."""
    shown = int(figure.get_attribute("data-umd-shown"))
    figure.get_by_label(label, exact=True).select_option(value)
    figure.page.wait_for_function(
        "([id, n]) => Number(document.getElementById(id).dataset.umdShown) > n",
        arg=[figure.get_attribute("id"), shown],
    )


def pixels(figure, index=0):
    """What one pane shows, as (height, width, 3)."""
    content = figure.locator(".umd-canvas").nth(index).screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def near(image, colour, tolerance=45):
    """How many pixels are close to a colour mixed half and half with something grey."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    chroma, goal = image - image.mean(axis=-1, keepdims=True), (wanted - wanted.mean()) / 2
    return int((np.abs(chroma - goal).max(axis=-1) < tolerance / 2).sum())


def test_a_pair_opens_from_a_file_shows_pixels_and_is_linked(site, visit):
    page = visit(f"file://{site}/results/page.html")
    # until the button is pressed: no engine, no volume
    assert not [u for u in page.requested if "/volumes/" in u or "/vendor/" in u]
    figure = opened(page)
    assert all(pixels(figure, k).std() > 20 for k in (0, 1))
    readouts = figure.locator(".umd-readout")
    assert "reference: liver" in readouts.nth(0).inner_text()
    assert "DSC of the liver: 0.7" in readouts.nth(0).inner_text()
    assert "SUV 2." in readouts.nth(1).inner_text()

    blue, orange = viewers.overlays.DIFFERENCE["missed"], viewers.overlays.DIFFERENCE["added"]
    choose(figure, "Overlay", "none")
    before = pixels(figure)
    choose(figure, "Overlay", "difference")
    after = pixels(figure)
    assert near(after, blue) > near(before, blue) + 50
    assert near(after, orange) > near(before, orange) + 50

    where = [readouts.nth(k).inner_text().split(" mm")[0] for k in (0, 1)]
    assert where[0] == where[1]
    before = [pixels(figure, k) for k in (0, 1)]
    box = figure.locator("canvas[role=application]").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.3)
    page.wait_for_timeout(500)
    moved = [readouts.nth(k).inner_text().split(" mm")[0] for k in (0, 1)]
    assert moved[0] == moved[1] != where[0]
    assert all(np.abs(pixels(figure, k) - before[k]).max() > 50 for k in (0, 1))

    z = float(moved[0].split("z ")[1])
    page.keyboard.press("ArrowUp")
    assert float(readouts.nth(1).inner_text().split("z ")[1].split(" ")[0]) > z

    page.get_by_label("Corrective clicks:").fill("1")
    page.get_by_role("button", name="− click 2").click()
    assert "x 83" in readouts.nth(1).inner_text()
    assert "DSC of the liver: 0.9" in readouts.nth(0).inner_text()
    with page.expect_download() as download:
        page.get_by_label("Save a screenshot").click()
    with Image.open(download.value.path()) as picture:
        assert picture.size[0] > 500
    page.get_by_label("Copy a link to this view").click()
    link = page.url
    assert "viewer=phantom" in link

    # a link opens the same view by itself, also on a narrow screen
    told = [readouts.nth(k).inner_text() for k in (0, 1)]
    again = visit(link, viewport={"width": 390, "height": 780}, has_touch=True)
    again.wait_for_selector("#phantom[data-umd-ready]", timeout=OPEN_MS)
    shown = again.locator("#phantom .umd-readout")
    assert [shown.nth(k).inner_text() for k in (0, 1)] == told
    assert again.get_by_label("Overlay", exact=True).input_value() == "difference"
    assert again.evaluate("document.documentElement.scrollWidth") <= 390


def held(page, words):
    """Wait until a condition on the figure `f` of the phantom holds."""
    page.wait_for_function(f"(() => {{ const f = document.getElementById('phantom'); return {words}; }})()")


def test_what_a_pet_reader_expects(site, visit):
    page = visit(f"file://{site}/results/page.html")
    figure = opened(page)
    z = figure.locator(".umd-readout").first.inner_text().split("z ")[1].split(" ")[0]
    number = figure.locator(".umd-marks text").first.text_content()
    assert number.startswith("axial ") and "50 mm" in figure.locator(".umd-marks").first.text_content()
    # the wheel scrolls slices of the plane below the pointer
    box = figure.locator("canvas[role=application]").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.3)
    page.mouse.wheel(0, -100)
    held(page, f"!f.querySelector('.umd-readout').textContent.includes('z {z} ')")
    assert figure.locator(".umd-marks text").first.text_content() != number
    # outlines: reference solid, first segmenter dashed, second dotted
    choose(figure, "Outlines", "both")
    choose(figure, "Second segmenter", "threshold")
    dashes = figure.locator(".umd-marks path").evaluate_all(
        "l => l.map(p => p.getAttribute('stroke-dasharray'))"
    )
    assert len({d for d in dashes if d}) == 2
    assert "threshold" in figure.locator(".umd-legend").inner_text()
    # numbers of the window, and the bar that says what they mean
    figure.get_by_label("PET window to (SUV)").fill("8")
    figure.get_by_label("PET window to (SUV)").press("Tab")
    held(page, "f.querySelectorAll('.umd-scale')[1].textContent.includes('8.0 SUV')")
    assert figure.get_by_label("Window, PET").input_value() == "own"
    # PET in colour on CT: grey becomes red
    chroma = lambda: np.ptp(pixels(figure), axis=-1).mean()  # noqa: E731
    before = chroma()
    figure.get_by_label("PET on CT").fill("0.7")
    held(page, "f.querySelectorAll('.umd-scale')[0].textContent.includes('SUV')")
    page.wait_for_timeout(1500)
    assert chroma() > before + 5
    choose(figure, "Sphere", "20")
    assert "sphere of 20 mm: 4." in figure.locator(".umd-readout").nth(1).inner_text()
    # a projection that turns; a click goes to the hottest point behind it
    figure.get_by_role("button", name="MIP").click()
    figure.locator(".umd-projection").wait_for()
    place = figure.locator(".umd-projection").bounding_box()
    where = {"x": place["width"] / 2, "y": place["height"] * 0.15}
    figure.locator(".umd-projection").click(position=where)
    held(page, "/z 2\\d\\d mm/.test(f.querySelector('.umd-readout').textContent)")
    # the largest error lies where reference and prediction differ
    figure.get_by_role("button", name="Largest error").click()
    assert "Error 1 of" in figure.locator(".umd-legend").inner_text()
    told = figure.locator(".umd-readout").first.inner_text()
    assert ("reference: liver" in told) != ("prediction: liver" in told)
    # several structures at once
    choose(figure, "Structure", "-2")
    figure.get_by_label("Spleen", exact=True).check()
    choose(figure, "Overlay", "reference")
    assert {"Liver", "Spleen"} <= set(figure.locator(".umd-legend").inner_text().split("\n"))
    # a structure that is chosen comes into sight
    slices = figure.get_by_label("Axial slice")
    slices.fill(slices.get_attribute("min"))
    choose(figure, "Structure", "0")
    held(page, "f.querySelector('.umd-readout').textContent.includes('reference: liver')")


def test_two_segmenters_stand_side_by_side_and_each_change_is_undone(site, visit):
    page = visit(f"file://{site}/results/page.html")
    figure = opened(page, "more0")
    choose(figure, "View", "axial")
    choose(figure, "Outlines", "prediction")
    button = figure.get_by_role("button", name="Two segmenters side by side")
    button.click()
    page.wait_for_function("document.querySelectorAll('#more0 .umd-pane').length === 4", timeout=OPEN_MS)
    titles = figure.locator(".umd-title")
    wanted = ["CT: region", "CT: threshold", "PET: region", "PET: threshold"]
    page.wait_for_function(
        "w => [...document.querySelectorAll('#more0 .umd-title')].map(t => t.textContent).join() === w",
        arg=",".join(wanted),
    )
    readouts = figure.locator(".umd-readout").all_inner_texts()
    assert len({r.split(" mm")[0] for r in readouts}) == 1  # one crosshair
    scores = [r.split("DSC of the liver: ")[1][:5] for r in readouts]
    assert scores[0] != scores[1] and scores[2] != scores[3]
    lines = figure.locator(".umd-marks").evaluate_all(
        "l => l.map(m => m.querySelector('path[stroke-dasharray]').getAttribute('d'))"
    )
    assert lines[0] != lines[1] and lines[2] != lines[3]
    assert all(pixels(figure, k).std() > 10 for k in range(4))
    left, right = (figure.locator(".umd-canvas").nth(k).bounding_box() for k in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    # a window set for one image holds for both that show it
    figure.get_by_label("CT window to (HU)").fill("300")
    figure.get_by_label("CT window to (HU)").press("Tab")
    windows = "[...document.getElementById('more0').umd.panes].map(p => p.nv.volumes[0].cal_max)"
    page.wait_for_function(f"{windows}.slice(0, 2).every(v => v === 300)")
    figure.get_by_label("Copy a link to this view").click()
    link = page.url

    undo = figure.get_by_role("button", name="Undo the last change of the view")
    undo.click()
    page.wait_for_function(f"{windows}.slice(0, 2).every(v => v !== 300)")
    assert titles.count() == 4
    undo.click()
    page.wait_for_function("document.querySelectorAll('#more0 .umd-pane').length === 2")
    assert figure.get_by_label("Second segmenter", exact=True).input_value() == ""
    assert button.get_attribute("aria-pressed") == "false"
    undo.press("Control+z")
    page.wait_for_function("document.getElementById('more0').umd.state.outline === 'none'")
    assert figure.get_by_label("View", exact=True).input_value() == "axial"

    again = visit(link)
    again.wait_for_selector("#more0[data-umd-ready]", timeout=OPEN_MS)
    assert again.locator("#more0 .umd-title").all_inner_texts() == wanted
    again.get_by_label("Second segmenter", exact=True).select_option("")
    again.wait_for_function("document.querySelectorAll('#more0 .umd-pane').length === 2")


@pytest.mark.slow
def test_at_most_three_stay_open_and_a_closed_one_opens_again(site, visit):
    page = visit(f"file://{site}/results/page.html")
    for name in ("phantom", "more0", "more1", "more2"):
        figure = opened(page, name)
        assert pixels(figure).std() > 20
    ready = page.locator("figure[data-umd-ready]")
    assert [ready.nth(k).get_attribute("id") for k in range(ready.count())] == ["more0", "more1", "more2"]
    assert page.locator("#phantom .umd-poster").is_visible()
    assert pixels(opened(page, "phantom")).std() > 20
    page.locator("#phantom").get_by_label("Close the viewer").click()
    assert page.locator("#phantom .umd-open").evaluate("e => e === document.activeElement")


@pytest.mark.slow
def test_every_layout_and_overlay_draws(site, visit):
    page = visit(f"file://{site}/results/page.html")
    figure = opened(page, "more0")
    seen = {}
    for view in ("axial", "coronal", "sagittal", "render", "planes"):
        choose(figure, "View", view)
        seen[view] = pixels(figure)
    choose(figure, "Structure", "-1")
    for overlay in ("none", "reference", "prediction", "difference"):
        choose(figure, "Overlay", overlay)
        seen[overlay] = pixels(figure)
    choose(figure, "Window, CT", "2")
    seen["bone"] = pixels(figure)
    assert [name for name, image in seen.items() if image.std() < 10] == []
    names = list(seen)
    same = [(a, b) for k, a in enumerate(names) for b in names[:k] if (seen[a] == seen[b]).all()]
    assert same == []


@pytest.mark.slow
def test_it_works_from_a_plain_server_in_the_dark(site, visit):
    handler = functools.partial(QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        page = visit(f"{origin}/results/page.html", color_scheme="dark")
        assert pixels(opened(page, "more0")).std() > 20
        assert all(u.startswith((origin, "blob:", "data:")) for u in page.requested)
        server.shutdown()


@pytest.mark.slow
def test_the_frame_for_notebooks_needs_no_file(site, visit):
    page = visit(f"file://{site}/inline.html")
    frame = page.frame_locator("iframe")
    frame.locator(".umd-open").click()
    frame.locator("#phantom[data-umd-ready]").wait_for(timeout=OPEN_MS)
    assert pixels(frame.locator("#phantom")).std() > 20
    assert [u for u in page.requested if not u.startswith(("blob:", "data:"))] == [page.url]


def test_without_webgl2_a_sentence_stands_below_the_picture(site, visit):
    blind = (
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "  return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
    )
    page = visit(f"file://{site}/results/page.html", script=blind)
    page.click("#phantom .umd-open")
    assert "needs WebGL 2" in page.locator("#phantom .umd-note").inner_text()
    assert page.locator("#phantom .umd-poster img").evaluate("e => e.naturalWidth") > 300


def test_a_missing_volume_is_named(site, visit, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    for path in (copy / "umd" / "volumes").iterdir():
        path.unlink()
    page = visit(f"file://{copy}/results/page.html", allow=("ERR_FILE_NOT_FOUND",))
    page.click("#more0 .umd-open")
    page.wait_for_function("document.querySelector('#more0 .umd-note')?.innerText.includes('could')")
    assert "volumes/" in page.locator("#more0 .umd-note").inner_text()
    assert page.locator("#more0 .umd-open").is_enabled()


def test_printing_shows_the_picture(site, visit):
    page = visit(f"file://{site}/results/page.html")
    page.emulate_media(media="print")
    assert page.locator("#phantom .umd-poster img").is_visible()
    assert page.locator("#phantom .umd-open").is_hidden()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def drawn(page):
    """What the first pane's canvas holds, as (64, 64, 3), wherever it lies on the screen."""
    content = page.evaluate(
        """() => { const small = document.createElement('canvas'), pen = small.getContext('2d');
        small.width = small.height = 64;
        pen.drawImage(document.querySelector('#phantom .umd-canvas canvas'), 0, 0, 64, 64);
        return Array.from(pen.getImageData(0, 0, 64, 64).data); }"""
    )
    return np.array(content).reshape(64, 64, 4)[..., :3]


def test_surfaces_are_closed_have_the_volume_of_their_mask_and_show_in_3d_alone(site, visit):
    page = visit((site / "results" / "page.html").as_uri(), viewport={"width": 500, "height": 400})
    figure = opened(page)
    choose(figure, "Overlay", "none")
    choose(figure, "View", "axial")
    axial = drawn(page)
    assert not [r for r in page.requested if "umd-surfaces" in r]
    choose(figure, "Surfaces in 3D", "reference")
    assert [r for r in page.requested if "umd-surfaces" in r]
    assert np.abs(drawn(page) - axial).max() < 10  # slices stay as they are
    choose(figure, "View", "render")
    solid = drawn(page)
    shown = int(figure.get_attribute("data-umd-shown"))
    figure.locator("fieldset:visible input[type=range]").fill("0")
    page.wait_for_function(f"Number(document.getElementById('phantom').dataset.umdShown) > {shown}")
    assert (np.abs(drawn(page) - solid).max(axis=2) > 40).mean() > 0.002
    found = page.evaluate(
        """() => { const { panes, config } = document.getElementById('phantom').umd, pane = panes[0];
        const k = config.structures.findIndex((s) => s.name === 'liver'), inside = (v) => (pane.reference[v] >>> k) & 1;
        const { points: p, triangles: t } = self.UMD_SURFACES.surface(inside, pane.shape);
        let volume = 0, count = 0;
        const corner = (n) => [0, 1, 2].map((a) => p[3 * t[n] + a]), edges = new Set();
        for (let n = 0; n < t.length; n += 3) {
          const [a, b, c] = [corner(n), corner(n + 1), corner(n + 2)];
          const cross = [0, 1, 2].map((x) => b[(x + 1) % 3] * c[(x + 2) % 3] - b[(x + 2) % 3] * c[(x + 1) % 3]);
          volume += (a[0] * cross[0] + a[1] * cross[1] + a[2] * cross[2]) / 6;
          for (let e = 0; e < 3; e++) edges.add(t[n + e] + ' ' + t[n + (e + 1) % 3]);
        }
        for (let v = 0; v < pane.size; v++) count += inside(v);
        const open = [...edges].filter((e) => !edges.has(e.split(' ').reverse().join(' ')));
        return { volume, count, open: open.length, meshes: pane.nv.meshes.length }; }"""
    )
    assert found["open"] == 0
    assert found["meshes"] == 1
    assert found["volume"] == pytest.approx(found["count"], rel=0.05)  # corners are cut


def test_a_crop_at_2_mm_stands_beside_the_body_when_it_is_asked_for(site, visit):
    pair = Pair((phantom.fine(1.0),), phantom.STRUCTURES, name="fine", structure=phantom.STRUCTURES[0].name)
    (site / "results" / "fine.html").write_text(phantom.HEAD + pair.write(site / "umd"), "utf-8")
    page = visit((site / "results" / "fine.html").as_uri())
    figure = opened(page, "fine")
    crop = pair._built.config["details"][0]["image"]
    assert figure.locator(".umd-pane").count() == 1 and not [r for r in page.requested if crop in r]
    button = figure.get_by_role("button", name="Fine crop: liver")
    button.click()
    page.wait_for_selector("#fine[data-umd-ready] .umd-pane:nth-child(2)", timeout=OPEN_MS)
    assert [r for r in page.requested if crop in r]
    assert "2 mm around the liver" in figure.locator(".umd-title").nth(1).inner_text()
    figure.locator("canvas").nth(1).click()
    readouts = figure.locator(".umd-readout").all_inner_texts()
    assert readouts[0].split(" mm")[0] == readouts[1].split(" mm")[0]  # one crosshair
    assert len(np.unique(pixels(figure, 1))) > 10
    button.click()
    page.wait_for_function("document.querySelectorAll('#fine[data-umd-ready] .umd-pane').length === 1")
