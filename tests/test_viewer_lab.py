"""The viewer in a real JupyterLab in headless Chromium, from the notebook to explore a subject."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import viewer_phantom as phantom

from umdlib import viewers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no chromium here"),
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="no jupyterlab"),
]
SOURCE = """
import sys
sys.path[:0] = {paths!r}
import viewer_phantom
viewer_phantom.pair(spacing_mm=10.0)
"""


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab on loopback whose folder holds one notebook."""
    here = os.path.dirname(__file__)
    paths = [here, os.path.dirname(here)]
    cell = {
        "cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [],
        "source": SOURCE.format(paths=paths),
    }  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    work = tmp_path / "work"
    work.mkdir()
    (work / "look.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {k: str(tmp_path / k) for k in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={port}", "--port-retries=0", "--IdentityProvider.token=look",
        f"--ServerApp.root_dir={work}", "--LabApp.news_url=None",
    ]  # fmt: skip
    log = open(tmp_path / "lab.log", "wb")  # noqa: SIM115 - closed below, with the process
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **own})
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token=look", process)
        yield f"{address}/lab/tree/look.ipynb?token=look"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


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


def test_the_viewer_opens_in_jupyterlab(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(lab)
        # a key pressed before the kernel is there is lost
        page.get_by_text("| Idle").first.wait_for(timeout=120_000)
        page.locator(".jp-Notebook .jp-Cell").first.click(timeout=120_000)
        page.keyboard.press("Shift+Enter")
        frame = page.frame_locator("iframe.umd-frame")
        frame.locator(".umd-open").click(timeout=120_000)
        frame.locator("#phantom[data-umd-ready]").wait_for(timeout=120_000)
        assert "DSC of the liver" in frame.locator(".umd-readout").first.inner_text()
        shades = frame.locator("canvas").first.evaluate(
            """c => { const d = document.createElement('canvas'); d.width = d.height = 64;
                 const g = d.getContext('2d'); g.drawImage(c, 0, 0, 64, 64);
                 return new Set(g.getImageData(0, 0, 64, 64).data).size; }"""
        )
        if os.environ.get("UMD_SHOT"):
            page.screenshot(path=os.environ["UMD_SHOT"])
        browser.close()
    assert shades > 20


def test_the_frame_is_smaller_than_a_notebook_may_grow():
    assert len(phantom.pair().inline()) < 2_000_000
    assert (viewers.ASSETS / "vendor" / f"{viewers.NIIVUE}.gz").stat().st_size < 1_500_000
