"""The page of clicks: three networks of this project on any cohort, refused names, and a door that leads to it."""

import json
from pathlib import Path

import pytest

from umdbook.chapters import intro
from umdbook.chapters import your_click as chapter
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.viewer import browser_networks
from umdlib.viewer.pair import Pair


@pytest.fixture(scope="module")
def cohort(write_cohort, tmp_path_factory):
    return read_cohort(write_cohort(tmp_path_factory.mktemp("cohort"), 2))


def test_the_three_networks_wait_beside_both_images(cohort, tmp_path):
    pair = chapter.examination(cohort, "sub-002")
    shown = chapter.viewer(cohort, pair)
    assert isinstance(shown, Pair)
    html = shown.write(tmp_path)
    config = shown._built.config
    assert [n["name"] for n in config["networks"]["items"]] == list(chapter.NETWORKS)
    assert config["start"]["structure"] == "ball"
    assert all(set(p["grid"]) == {"shape", "affine", "values"} for p in config["panes"])
    loads = [n["file"] for n in config["networks"]["items"]] + [p["grid"]["values"] for p in config["panes"]]
    assert all((tmp_path / "volumes" / f"{name}.js").is_file() for name in loads)
    assert not set(loads) & set(config["first"])  # opening the viewer loads none of them
    assert "sub-002" in html


def test_what_the_cohort_does_not_have_is_refused(cohort):
    with pytest.raises(InputError, match="ball"):
        chapter.viewer(cohort, chapter.examination(cohort), "bal")
    with pytest.raises(InputError, match="sub-002"):
        chapter.examination(cohort, "sub-02")


def test_a_door_of_the_landing_page_leads_here():
    assert "](your_click.ipynb)" in intro.doors().splitlines()[4]
    assert (Path(__file__).parents[3] / "notebooks" / "your_click.ipynb").is_file()


def test_the_page_says_the_tolerance_that_is_tested():
    notebook = Path(__file__).parents[3] / "notebooks" / "your_click.ipynb"
    text = " ".join("".join(c["source"]) for c in json.loads(notebook.read_text("utf-8"))["cells"])
    tests = (Path(__file__).parents[2] / "viewer" / "test_browser_networks.py").read_text("utf-8")
    assert "must be at least {glue:text}`agrees:g`" in text and 'page.keep("agrees", chapter.AGREES)' in text
    assert "dice(found, wanted) >= browser_networks.AGREES" in tests
    assert browser_networks.AGREES == chapter.AGREES
