"""Networks in the page give the masks that Python gives, load only when asked, and say what they lack."""

import base64
import functools
import gzip
import hashlib
import json

import numpy as np
import pytest
import viewer_phantom as phantom

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.networks import inputs
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters import registry
from umdlib.segmenters.systems.clicknet import padded_grid
from umdlib.sources import import_closure
from umdlib.viewer import answers, browser_networks, vendored
from umdlib.viewer.pair import Pair

NAMES = {"clicknet_structural": "Structural"}
MASK = """([name, pane]) => { const v = document.querySelector('figure').umd;
  return Array.from(v.answers.last.found.get(name + ' ' + pane).mask); }"""
HELD = "document.querySelector('figure').umd.panes[0].prediction.reduce((n, b) => n + (b > 0), 0)"


@pytest.mark.parametrize("unit", ["HU", "SUV", "a.u."])
def test_an_image_on_the_networks_grid_gives_the_networks_input(unit):
    data = np.random.default_rng(0).uniform(-900, 900, (31, 40, 50)).astype(np.float32)
    data = data if unit == "HU" else np.abs(data) / 60
    image = Volume(data, np.diag([3.0, 3.0, 4.0, 1.0]), unit, "random")
    grid = padded_grid(image)
    record, content = browser_networks.grid_record(image)
    assert record["shape"] == list(grid.shape) and np.allclose(record["affine"], grid.affine[:3])
    values = np.frombuffer(content, "<f2").astype(np.float32).reshape(grid.shape)
    outside = np.isnan(values)
    assert np.array_equal(outside, ~inputs.covered(image, grid)) and outside.any()
    if unit == "a.u.":
        values = values * inputs.bright(inputs.interpolated(image, grid))
    wanted = inputs.on_grid(image, grid)
    found = inputs.channels(np.where(outside, 0, values), unit)
    if unit == "a.u.":  # the share that counts as bright was found in the whole image
        share = np.clip(np.where(outside, 0, values) / inputs.bright(inputs.interpolated(image, grid)), 0, 1)
        found = np.stack([2 * share - 1, 2 * np.sqrt(share) - 1])
    assert np.abs(found - wanted)[:, ~outside].max() < 1e-3


def test_a_changed_library_is_not_put_on_a_page(monkeypatch):
    known = vendored.record(answers.RUNTIME)
    known["files"]["onnxruntime-web-1.30.0.mjs"]["sha256"] = "0" * 64
    monkeypatch.setattr(vendored, "record", lambda name: known)
    with pytest.raises(InputError, match=r"SHA-256 of onnxruntime-web-1\.30\.0\.mjs"):
        answers.runtime_script.__wrapped__()


def test_the_script_holds_the_library_whose_hashes_are_recorded():
    script = answers.runtime_script()
    for file, known in vendored.record(answers.RUNTIME)["files"].items():
        coded = script.split(f'["{file}"]="')[1].split('"')[0]
        content = gzip.decompress(base64.b64decode(coded))
        assert (len(content), hashlib.sha256(content).hexdigest()) == (known["size"], known["sha256"])


def test_a_viewer_without_networks_does_not_depend_on_their_adapter():
    files = import_closure("umdlib.viewer.pair")
    assert not [f for f in files if {"segmenters", "networks", "weights"} & set(f.parts)]


@functools.cache
def networks():
    return tuple(browser_networks.browser_network(n, t) for n, t in NAMES.items())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One page whose viewer has networks and no prediction."""
    folder = tmp_path_factory.mktemp("site")
    panes = tuple(phantom.pane(m, segmenters=(), steps=0) for m in ("CT", "PET"))
    pair = Pair(panes, phantom.STRUCTURES, title="Phantom", name="asked", spacing_mm=4.0, networks=networks())
    phantom.write_page(folder, pair.write(folder / "umd"))
    assert "&quot;networks&quot;" not in pair.inline()
    return folder, pair


def opened(browser, folder, *, script=""):
    """The page with its viewer open, what it asked for, and what went wrong on it."""
    page = browser.new_page(viewport={"width": 420, "height": 700})
    page.requested, page.faults = [], []
    page.on("request", lambda r: page.requested.append(r.url))
    page.on("pageerror", lambda e: page.faults.append(str(e)))
    page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
    if script:
        page.add_init_script(script)
    page.goto((folder / "results" / "page.html").as_uri())
    page.click("#asked .umd-open")
    page.wait_for_selector("#asked[data-umd-ready]", timeout=120_000)
    return page


def on_page(pair, pane, mask):
    """A mask of the image on the grid of the page, whose voxels here are the image's own."""
    built = pair._built.config["panes"][pane]
    shape, affine = phantom.page_grid(pair._built.volumes[built["image"]])
    first = np.linalg.inv(pair.panes[pane].image.affine) @ np.array([*affine[:, 3], 1.0])
    start = np.rint(first[:3]).astype(int)
    assert np.allclose(first[:3], start, atol=1e-3)
    return mask[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.browser
def test_a_click_and_a_correction_give_the_masks_of_python(site, browser):
    folder, pair = site
    page = opened(browser, folder)
    assert not [r for r in page.requested if "onnxruntime" in r]
    label = page.locator(".umd-answers button").first.inner_text()
    loads = [n["file"] for n in pair._built.config["networks"]["items"]]
    loads += [p["grid"]["values"] for p in pair._built.config["panes"]]
    files = [folder / "umd" / "volumes" / f"{name}.js" for name in loads]
    files.append(folder / "umd" / "vendor" / "onnxruntime-web-1.30.0.js")
    assert label == f"Load the networks ({sum(f.stat().st_size for f in files) / 1e6:.1f} MB)"
    page.locator(".umd-answers button").first.click()
    page.wait_for_selector("#asked[data-umd-networks]", timeout=120_000)
    assert all(r.startswith(("file:", "blob:", "data:")) for r in page.requested)

    page.evaluate("document.querySelector('figure').umd.go([47.0, 6.0, 24.0])")
    page.get_by_role("button", name="Ask at the crosshair").click()
    page.wait_for_selector("#asked[data-umd-answered='1']", timeout=60_000)
    clicks = [Click((47.0, 6.0, 24.0))]
    shown = compared(page, pair, clicks, dict.fromkeys([(n, p) for n in NAMES for p in (0, 1)]))
    cells = page.locator(".umd-answers tbody tr").first.locator("td").all_inner_texts()
    liver = next(s for s in phantom.STRUCTURES if s.name == "liver").value
    reference = on_page(pair, 0, pair.panes[0].reference.data == liver)
    own = on_page(pair, 0, shown["clicknet_structural", 0])
    held = page.evaluate(HELD)
    assert float(cells[0]) == pytest.approx(dice(own, reference), abs=0.002)

    page.evaluate("document.querySelector('figure').umd.go([47.0, 6.0, 60.0])")
    page.get_by_role("button", name="Correct: remove here (−)").click()
    page.wait_for_selector("#asked[data-umd-answered='2']", timeout=60_000)
    compared(page, pair, [*clicks, Click((47.0, 6.0, 60.0), positive=False)], shown)
    back = page.get_by_role("button", name="Take back the last click")
    back.click()
    page.get_by_text("The last click was taken back. 1 click for the liver.").wait_for()
    assert page.locator(".umd-answers tbody tr").first.locator("td").all_inner_texts() == cells
    assert page.locator(".umd-click").all_inner_texts() == ["+ click 1"]
    assert page.evaluate(HELD) == held
    back.click()
    page.get_by_text("The only click was taken back.").wait_for()
    assert page.evaluate(HELD) == 0 and page.locator(".umd-answers tbody").count() == 0
    back.click()
    page.get_by_text("There is no click to take back.").wait_for()
    assert page.faults == []
    page.close()


def compared(page, pair, clicks, before):
    """Python's masks of every network in every image; each is the page's to `AGREES`."""
    masks = {}
    for name in NAMES:
        segment = registry.get(name).load("cpu")
        for i, pane in enumerate(pair.panes):
            mask = segment(pane.image, Prompt("liver", clicks=tuple(clicks)), before[name, i])
            wanted = on_page(pair, i, mask)
            found = np.array(page.evaluate(MASK, [name, i]), bool).reshape(wanted.shape, order="F")
            assert wanted.sum() > 100
            assert dice(found, wanted) >= browser_networks.AGREES, (name, i)
            masks[name, i] = mask
    return masks


@pytest.mark.browser
def test_without_webassembly_the_page_says_so_and_the_viewer_works(site, browser):
    page = opened(browser, site[0], script="delete self.WebAssembly")
    page.locator(".umd-answers button").first.click()
    assert "need WebAssembly" in page.locator(".umd-answers [role=status]").inner_text()
    page.get_by_label("Overlay", exact=True).select_option("none")
    assert page.faults == []
    page.close()


def test_the_file_of_a_network_holds_what_its_header_says():
    network = networks()[0]
    length = int.from_bytes(network.content[:4], "little")
    head = json.loads(network.content[4 : 4 + length])
    assert len(network.content) == 4 + length + head["encoder"] + head["decoder"]
    assert len(network.content) < 2_200_000  # float16, as the released weights
