"""Out-of-process systems: the job, the checks of what comes back, and each way it can fail."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.prompts import Click, Prompt
from umdlib.segmenters import external
from umdlib.volume import Volume

AFFINE = np.array([[0, -2.5, 0, 90], [3.0, 0, 0, -150], [0, 0, 4.0, 400], [0, 0, 0, 1]])
WORKER = """
import json, sys
import nibabel as nib, numpy as np
job = json.load(open(sys.argv[1])); out = sys.argv[2]
image = nib.load(job["image"])
data = np.asarray(image.dataobj)
mask = (data >= data[tuple(job["clicks"][0]["ijk"])]).astype(np.uint8)
affine = {affine}
nib.save(nib.Nifti1Image(mask * {value}, affine), out + "/mask.nii.gz")
log = {{"commit": "abc", "matched_fraction": {matched}, "seconds": 0.1}}
if {log}: json.dump(log, open(out + "/log.json", "w"))
{more}
"""


@pytest.fixture
def image():
    data = np.zeros((6, 7, 8), np.float32)
    data[2:4, 3:5, 4:6] = 5
    return Volume(data, AFFINE, "SUV", "phantom")


def inside() -> Prompt:
    world = AFFINE @ (2, 3, 4, 1)
    return Prompt("kidney_left", (Click(tuple(world[:3].tolist())),))


def segment(tmp_path, **change):
    given = {"affine": "image.affine", "value": 1, "matched": 1.0, "log": True, "more": ""} | change
    worker, weight = tmp_path / "worker.py", tmp_path / "weight.pth"
    worker.write_text(WORKER.format(**given))
    weight.write_bytes(b"weights")
    from pathlib import Path

    return external.External("demo", Path(sys.executable), worker, weight, phrase=external.sat_text)


def test_a_workers_mask_comes_back_on_the_image_grid(tmp_path, image):
    mask = segment(tmp_path)(image, inside())
    np.testing.assert_array_equal(mask, image.data > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"affine": "np.eye(4)"}, "Mask of 'demo' is not on the grid of phantom: a corner lies"),
        ({"matched": 0.25}, "loaded 25.0% of its checkpoint. Must be all"),
        ({"log": False}, "wrote no log.json"),
        ({"value": 3}, "Label value 3 in .* is no structure"),
        ({"more": "raise SystemError('CUDA is needed')"}, r"status 1 after .*\n.*CUDA is needed"),
    ],
)
def test_each_fault_is_named(tmp_path, image, change, message):
    with pytest.raises(InputError, match=r"(?s)" + message):
        segment(tmp_path, **change)(image, inside())


def test_a_worker_that_hangs_is_stopped(tmp_path, image):
    slow = segment(tmp_path, more="import time; time.sleep(60)")
    slow._limit = 0.2
    with pytest.raises(InputError, match=r"took over 0.2 s"):
        slow(image, inside())


def test_the_job_holds_the_click_twice_and_no_reference(image, tmp_path):
    weight = tmp_path / "w"
    weight.write_bytes(b"weights")
    job = external.job_of(image, inside(), file="i.nii.gz", text="left kidney", weight=weight)
    assert job["clicks"] == [{"ijk": (2, 3, 4), "ras_mm": [82.5, -144.0, 416.0], "positive": True}]
    assert job["modality"] == "pet"
    assert set(job) == {
        "contract",
        "image",
        "modality",
        "structures",
        "clicks",
        "seed",
        "checkpoint",
    }


def test_names_in_the_systems_own_words():
    assert external.segvol_text("kidney_right") == "A computerized tomography of a right kidney."


@pytest.mark.parametrize("name", ["segvol", "sat_pro"])
def test_the_environment_is_made_from_a_pinned_list(name, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path))
    clone, checkout, *_ = external.commands(name)
    assert clone[-2].startswith("https://github.com/")
    assert len(checkout[-1]) >= 7
    state = segmenters.availability(name)
    assert not state.ok


def test_a_step_that_fails_shows_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path))
    failing = [[sys.executable, "-c", "import sys; sys.exit('no such commit')"]]
    monkeypatch.setattr(external, "commands", lambda name: failing)
    with pytest.raises(InputError, match=r"(?s)failed:\nno such commit"):
        external.make("segvol", say=lambda line: None)
    assert not (tmp_path / "segvol" / "ready").exists()
