"""The model that the page on a reader's own data teaches is one that works."""

import json
from pathlib import Path

import umdlib
from umdlib import segmenters
from umdlib.cohort.manifest import read_cohort

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
