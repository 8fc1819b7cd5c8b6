"""Values of a page's parameters: what names nothing in the run is refused with the nearest name."""

import json
import re
from pathlib import Path

import pytest

from umdbook import notebook, page
from umdlib.errors import InputError

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_a_name_that_is_not_in_the_run_is_refused_with_the_nearest():
    assert page.checked("segmenter", "", ["threshold"]) == ""
    assert page.checked("segmenter", "threshold", ["threshold", "threshold"]) == "threshold"
    with pytest.raises(InputError, match="Unknown segmenter 'treshold'. Did you mean 'threshold'"):
        page.checked("segmenter", "treshold", ["threshold", "threshold"])


@pytest.mark.parametrize(
    ("name", "values"), [("modality_gap", ("segmenter", "structure")), ("by_structure", ("segmenter",))]
)
def test_a_close_up_is_of_something_in_the_run(name, values):
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for value in values:
        assert f'{value} = page.checked("{value} of this run", {value}, table["{value}"])' in code


def test_two_parts_stand_behind_tabs_and_one_by_itself():
    assert page.tabs({"PET/CT": "a"}) == "a"
    text = page.tabs({"PET/CT": "a", "PET/MR": "b"})
    assert text.startswith(":::::{tab-set}\n::::{tab-item} PET/CT\n:sync: PET/CT\n\na\n::::")
    assert text.count("{tab-item}") == 2 and text.endswith("::::\n:::::")


def test_what_a_template_keeps_stands_in_its_text():
    """A value that is computed and named nowhere is a paragraph that was lost."""
    for template in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(template.read_text("utf-8"))["cells"]
        code, text = (
            "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == kind)
            for kind in ("code", "markdown")
        )
        kept = set(re.findall(r'page\.keep\(\s*"(\w+)"', code))
        named = {a or b for a, b in notebook._GLUED.findall(text)}
        assert kept <= named, (template.name, kept - named)
