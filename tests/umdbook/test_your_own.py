"""The model that the page on a reader's own data teaches is one that works."""

import json
from pathlib import Path

import pytest

import umdlib
from umdbook.chapters import your_own as chapter
from umdlib import segmenters
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError

PAGE = Path(__file__).parents[2] / "notebooks" / "your_own.ipynb"


def test_the_model_of_the_page_can_be_loaded_and_asked(make_cohort, tmp_path):
    cells = ["".join(c["source"]) for c in json.loads(PAGE.read_text("utf-8"))["cells"]]
    (taught,) = [c for c in cells if c.startswith("%%writefile {folder}/my_model.py")]
    model = tmp_path / "my_model.py"
    model.write_text(taught.partition("\n")[2], "utf-8")
    opened = segmenters.open(f"{model}:MINE", "cpu")
    assert not isinstance(opened, segmenters.Unavailable), opened.reason
    case = read_cohort(make_cohort(1)).cases[0]
    image, reference = case.read()
    voxel = [int(v[0]) for v in (reference.data > 0).nonzero()]
    xyz = tuple(float(x) for x in (image.affine @ [*voxel, 1])[:3])
    mask = opened.call(None)(image, umdlib.Prompt("ball", (umdlib.Click(xyz),)), None)
    assert mask.shape == image.shape
    assert mask[tuple(voxel)]


def test_the_page_clears_its_own_folder_and_no_other(tmp_path):
    chapter.empty_folder(str(tmp_path / "page"))
    (tmp_path / "page" / "old.txt").write_text("of an earlier run")
    chapter.empty_folder(str(tmp_path / "page"))
    assert [p.name for p in (tmp_path / "page").iterdir()] == ["made_by_this_page"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write. Name an empty one"):
        chapter.empty_folder(str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "kept.txt").read_text() == "mine"
