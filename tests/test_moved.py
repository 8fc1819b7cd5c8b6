"""Imports that earlier versions taught: they work, or say where to."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOVED = dict(line.split("\t") for line in (ROOT / "umdlib" / "moved.tsv").read_text().splitlines()[1:])

# the README, the page on a system of one's own, and the notebooks of 0.1 before the rooms
TAUGHT = """\
import umdlib
from umdlib import cohort, metrics, prompts, synthetic, tables
from umdlib import figures, published, segmenters
from umdlib import labels
from umdlib import scores as score_table
from umdlib.cohort import read_cohort
from umdlib.errors import InputError
from umdlib.published import figures, markup
from umdlib.published import bounds, checks, pairing
from umdlib.published.significance import CERTAIN
from umdlib.scores import read_scores
from umdlib.segmenters.contract import Segmenter
from umdlib.synthetic.literature import source_table
from umdlib.training import sessions
"""
ELSEWHERE = {
    "from umdlib.geometry import nearest_voxel": "umdlib.images.geometry",
    "import umdlib.geometry": "umdlib.images.geometry",
    "from umdlib import paired, tables": "umdlib.statistics.comparison",
    "from umdlib import benchmark, scores": "umdlib.evaluation.run",
    "from umdlib.tables.text import markdown_table": "umdlib.tables.markdown",
    "from umdlib.training import card, sessions": "umdlib.weights.card",
    "from umdlib.segmenters.patch import Grid": "umdlib.images.grids",
    "from umdlib import effort, figures, paired, tables": "umdlib.statistics.click_curves",
}


@pytest.mark.parametrize("line", TAUGHT.splitlines())
def test_an_import_that_was_taught_works(line):
    exec(line, {})


@pytest.mark.parametrize("line", ELSEWHERE)
def test_an_import_of_what_has_moved_names_the_new_place(line):
    with pytest.raises(ImportError, match=f"is now '{ELSEWHERE[line]}'"):
        exec(line, {})


@pytest.mark.parametrize("was", MOVED)
def test_a_new_place_exists_and_an_old_one_does_not(was):
    def there(name: str) -> bool:
        base = (ROOT if name.startswith("umdlib") else ROOT / "book").joinpath(*name.split("."))
        return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()

    assert there(MOVED[was]) and not there(was)


def test_a_module_that_never_was_is_missing_as_ever():
    with pytest.raises(ModuleNotFoundError, match="No module named 'umdlib.never'"):
        importlib.import_module("umdlib.never")
