"""The viewer in a real JupyterLab in headless Chromium, from the notebook to explore a subject."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import viewer_phantom as phantom

from umdlib.cohort.manifest import read_cohort
from umdlib.evaluation import run as benchmark
from umdlib.scores import table as scores
from umdlib.viewer import pair as viewers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="no jupyterlab"),
]
SOURCE = """
import sys
sys.path[:0] = {paths!r}
import viewer_phantom
viewer_phantom.pair(spacing_mm=10.0)
"""


def notebook_of(*sources):
    """A notebook of code cells, as JSON."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{k}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for k, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    )


@pytest.fixture
def lab(tmp_path):
    """Function: address of a notebook in a JupyterLab on loopback, whose folder is `work`."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {k: str(tmp_path / k) for k in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--port-retries=0",
        "--IdentityProvider.token=look",
        f"--ServerApp.root_dir={work}",
        "--LabApp.news_url=None",
    ]
    log = open(tmp_path / "lab.log", "wb")  # noqa: SIM115 - closed below, with the process
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **own})
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token=look", process)

        def write(name, text):
            (work / name).write_text(text)
            return f"{address}/lab/tree/{name}?token=look"

        yield write
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.fixture
def page(browser):
    """A page of a headless Chromium."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    yield page
    page.close()


def run_all(page):
    """Run every cell of the open notebook."""
    page.get_by_text("| Idle").first.wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def _wait_for(address, process):
    """Until the server answers; fails if it stops or takes two minutes."""
    for _ in range(240):
        assert process.poll() is None, "JupyterLab stopped"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("JupyterLab did not answer")


def test_the_viewer_opens_in_jupyterlab(lab, page):
    here = Path(__file__).parent
    source = SOURCE.format(paths=[str(here), str(here.parents[1])])
    page.goto(lab("look.ipynb", notebook_of(source)))
    run_all(page)
    frame = page.frame_locator("iframe.umd-frame")
    frame.locator(".umd-open").click(timeout=120_000)
    frame.locator("#phantom[data-umd-ready]").wait_for(timeout=120_000)
    assert "DSC of the liver" in frame.locator(".umd-readout").first.inner_text()
    shades = frame.locator("canvas").first.evaluate(
        """c => { const d = document.createElement('canvas'); d.width = d.height = 64;
             const g = d.getContext('2d'); g.drawImage(c, 0, 0, 64, 64);
             return new Set(g.getImageData(0, 0, 64, 64).data).size; }"""
    )
    assert shades > 20


def test_the_notebook_to_explore_follows_its_widgets(lab, page, make_cohort, tmp_path):
    manifest, root = make_cohort(2), tmp_path / "run"
    settings = benchmark.Settings(benchmark.parse_plans("centre:1:1"), (1.0,))
    table = benchmark.score_cohort(read_cohort(manifest), "threshold", root, settings=settings)
    scores.write_scores(root / "scores.parquet", table, stamp=table.attrs["stamp"])
    template = Path(__file__).parent.parent.parent / "notebooks" / "explore.ipynb"
    values = {"manifest": manifest, "scores": root / "scores.parquet", "root": root}
    document = json.loads(template.read_text())
    cell = next(c for c in document["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = "\n".join(
        [*("".join(cell["source"]).splitlines()), *(f"{k} = {str(v)!r}" for k, v in values.items())]
    )
    page.goto(lab("explore.ipynb", json.dumps(document)))
    run_all(page)
    frame = page.frame_locator("iframe.umd-frame")
    frame.locator(".umd-open").click(timeout=120_000)
    frame.locator("figure[data-umd-ready]").wait_for(timeout=120_000)
    assert "sub-001" in page.locator("iframe.umd-frame").get_attribute("title")
    page.locator(".jupyter-widgets select").nth(0).select_option("sub-002 petct")
    page.locator("iframe.umd-frame[title*='sub-002']").wait_for(timeout=120_000)
    frame.locator(".umd-open").click(timeout=120_000)
    frame.locator("figure[data-umd-ready]").wait_for(timeout=120_000)
    frame.get_by_label("Structure", exact=True).select_option(label="Rod")  # no kernel is asked
    frame.locator(".umd-readout", has_text="DSC of the rod").first.wait_for()
    assert "DSC of the rod" in frame.locator(".umd-readout").first.inner_text()
    if os.environ.get("UMD_SHOT"):
        page.screenshot(path=os.environ["UMD_SHOT"])


def test_the_frame_is_smaller_than_a_notebook_may_grow():
    assert len(phantom.pair().inline()) < 2_000_000
    assert (viewers.ASSETS / "vendor" / f"{viewers.NIIVUE}.gz").stat().st_size < 1_500_000
