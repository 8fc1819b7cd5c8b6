"""Segmenters that see both images: the partner is read, keyed, refused in words; all others are as before."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.cohort.manifest import Case, read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import plans
from umdlib.evaluation import run as benchmark
from umdlib.evaluation import store as runs
from umdlib.evaluation.plans import Examination, Plan, Settings
from umdlib.images.partner import onto
from umdlib.images.volume import Volume, read_volume, write_volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segmenter

ONE = Settings((Plan("centre", (0,), 0),))
# A segmenter that a process of its own can find.
MODULE = """
import numpy as np
from umdlib.images.partner import onto
from umdlib.segmenters import Segmenter

seen = []

def bright(image, prompt, previous=None, partner=None):
    seen.append((image.unit, partner.unit, partner.shape))
    ct, pet = (image.data, onto(image, partner)) if image.unit == "HU" else (onto(image, partner), image.data)
    return (pet > 4) & (ct > 0)

BOTH = Segmenter(
    "both_of_test", "Both", "Bright on PET, dense on CT.", lambda device: bright, frozenset({"click"}),
    modalities=("CT", "PET"), partner=("CT", "PET"),
)
"""


@pytest.fixture
def both(tmp_path):
    """Name of a segmenter that sees both images, and its record."""
    (tmp_path / "both_of_test.py").write_text(MODULE)
    name = f"{tmp_path / 'both_of_test.py'}:BOTH"
    return name, segmenters.get(name)


def seen_by(record):
    return record.load("cpu").__globals__["seen"]


def test_each_image_is_asked_with_the_other_one_on_its_own_grid(make_cohort, both, tmp_path):
    name, record = both
    cohort = read_cohort(make_cohort(2))
    table = benchmark.score_cohort(cohort, name, tmp_path / "run", settings=ONE)
    assert (table["status"] == "ok").all()
    shapes = {c.modality: read_volume(c.image).shape for c in cohort.cases}
    assert set(seen_by(record)) == {("HU", "SUV", shapes["PET"]), ("SUV", "HU", shapes["CT"])}
    ball = table[table["structure"].eq("ball")]
    assert ball["dice"].gt(0.8).all()
    again = benchmark.score_cohort(cohort, name, tmp_path / "run", settings=ONE)
    assert len(seen_by(record)) == len(table)  # all of it was kept
    isolated = benchmark.score_cohort(
        cohort,
        name,
        tmp_path / "isolated",
        cases=cohort.cases[:2],
        settings=ONE,
        limits=benchmark.Limits(isolate=True),
    )
    np.testing.assert_array_equal(isolated["dice"], again["dice"][: len(isolated)])


def test_a_changed_partner_is_asked_anew_only_for_those_that_see_it(make_cohort, both, tmp_path):
    name, record = both
    cohort = read_cohort(make_cohort(1))
    settings = [name, "threshold"]
    benchmark.score_cohort(cohort, settings, tmp_path / "run", settings=ONE)
    ct, pet = sorted(cohort.cases, key=lambda c: c.modality)
    before = {
        n: runs.Kept(runs.case_folder(tmp_path / "run", n, ct)).stamp for n in ("both_of_test", "threshold")
    }
    seen_by(record).clear()
    image = read_volume(pet.image, unit="SUV")
    write_volume(pet.image, Volume(image.data * np.float32(0.5), image.affine, "SUV"))
    lines = []
    benchmark.score_cohort(cohort, settings, tmp_path / "run", settings=ONE, report=lines.append)
    said = {tuple(line.split()[:2]): line.split()[2] for line in lines}
    assert said == {
        ("both_of_test", ct.name): "scored",
        ("both_of_test", pet.name): "scored",
        ("threshold", ct.name): "kept",
        ("threshold", pet.name): "scored",
    }
    after = {n: runs.Kept(runs.case_folder(tmp_path / "run", n, ct)).stamp for n in before}
    assert after["threshold"] == before["threshold"]
    for key in ("inputs_key", "prediction_key"):
        assert after["both_of_test"][key] != before["both_of_test"][key]


def test_keys_of_segmenters_that_see_one_image_are_as_they_were_before_partners(tmp_path, monkeypatch):
    """The two digests are of the code before `partner` came, with the same made-up hashes."""
    monkeypatch.setattr(plans, "drawing_code", lambda: "drawing")
    cases = tuple(
        Case("sub-001", "petct", m, u, tmp_path / f"{m}.nii.gz", tmp_path / f"{m}_dseg.nii.gz")
        for m, u in (("CT", "HU"), ("PET", "SUV"))
    )
    examination = Examination("sub-001", "petct", cases, cases)
    record = Segmenter("one", "One", "One.", lambda device: None, frozenset({"click", "negative_click"}))
    identity = {"version": "1", "settings": {}, "source": "code", "weights": {}}
    assert set(segmenters.identity_of(record)) == set(identity)

    def name(path):
        return path.name

    drawn = {("centre", 0): {"liver": Prompt("liver", (Click((1.0, 2.0, 3.0)),), protocol="centre")}}
    inputs = plans.inputs_key(examination, cases[0], record, identity, Settings(), name)
    prediction = plans.prediction_key(cases[0], record, identity, drawn, Settings(), name)
    assert (inputs[:16], prediction[:16]) == ("c29cf044be03110f", "72597d1ffcf61d22")
    two = Segmenter("one", "One", "One.", lambda device: None, record.prompts, partner=("PET",))
    assert plans.inputs_key(examination, cases[0], two, identity, Settings(), name) != inputs


def test_an_examination_without_the_second_image_is_a_row_with_its_reason(make_cohort, both, tmp_path):
    name, record = both
    manifest = make_cohort(2)
    rows = [r for r in manifest.read_text().splitlines() if not r.startswith("sub-002\tpetct\tPET")]
    manifest.write_text("\n".join(rows) + "\n")
    table = benchmark.score_cohort(read_cohort(manifest), name, tmp_path / "run", settings=ONE)
    lone = table[table["subject"].eq("sub-002")]
    assert set(lone["status"]) == {"unavailable"}
    assert set(lone["reason"]) == {"It sees PET beside CT, and sub-002 petct has CT alone."}
    assert (table.loc[table["subject"].eq("sub-001"), "status"] == "ok").all()


def test_a_partner_that_lies_elsewhere_is_named_without_its_folder(make_cohort, both, tmp_path):
    name, _ = both
    cohort = read_cohort(make_cohort(1))
    pet = next(c for c in cohort.cases if c.modality == "PET")
    image, reference = pet.read()
    moved = image.affine.copy()
    moved[2, 3] += 5000
    write_volume(pet.image, Volume(image.data, moved, "SUV"))
    table = benchmark.score_cohort(cohort, name, tmp_path / "run", settings=ONE)
    ct = table[table["modality"].eq("CT")]
    assert set(ct["status"]) == {"failed"}
    (reason,) = set(ct["reason"])
    assert reason.startswith("Partner sub-001_PET.nii.gz does not meet sub-001_CT.nii.gz: their fields lie")
    assert "mm apart towards head or feet" in reason and str(tmp_path) not in reason


def volume(unit, affine=None):
    return Volume(
        np.zeros((4, 4, 4), np.float32), np.eye(4) if affine is None else affine, unit, f"{unit}.nii"
    )


@pytest.mark.parametrize(
    ("image", "partner", "words"),
    [
        ("HU", None, r"sees two images. HU.nii \(CT\) needs PET as partner"),
        ("HU", "HU", r"Partner HU.nii is CT; segmenter 'both_of_test' wants PET beside HU.nii \(CT\)"),
        ("SUV", "a.u.", r"Partner a.u..nii is MR; segmenter 'both_of_test' wants CT beside SUV.nii \(PET\)"),
        ("a.u.", "SUV", "takes CT or PET; a.u..nii is MR"),
    ],
)
def test_a_wrong_second_image_is_refused_in_words(both, image, partner, words):
    segment = segmenters.load(both[1])
    prompt = Prompt("ball", (Click((1.0, 1.0, 1.0)),))
    with pytest.raises(InputError, match=words):
        segment(volume(image), prompt, partner=partner and volume(partner))


def test_a_system_of_one_image_refuses_a_partner_and_a_record_names_its_own_right():
    prompt = Prompt("ball", (Click((1.0, 1.0, 1.0)),))
    with pytest.raises(
        InputError, match=r"'threshold' sees one image, so HU.nii goes without partner SUV.nii"
    ):
        segmenters.load("threshold")(volume("HU"), prompt, partner=volume("SUV"))
    made = {"load": lambda device: None, "prompts": frozenset({"click"})}
    with pytest.raises(InputError, match="Write it as a tuple"):
        segmenters.register(Segmenter("bad_of_test", "B", "B.", partner="PET", **made))
    with pytest.raises(InputError, match="Did you mean 'PET'"):
        segmenters.register(Segmenter("bad_of_test", "B", "B.", partner=("PETT",), **made))


def test_a_partner_on_an_oblique_grid_is_found_at_its_place_in_the_world():
    """A linear ramp in the world is the same ramp on any grid, inside the partner's field."""
    turn = np.eye(4)
    turn[:3, :3] = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1]]) * [2.0, 2.0, 3.0]
    turn[:3, 3] = (-10, -20, 20)
    ijk = np.moveaxis(np.indices((20, 22, 16)), 0, -1)
    ramp = (ijk @ turn[:3, :3].T + turn[:3, 3]) @ [1.0, 0.5, -0.25]
    partner = Volume(ramp.astype(np.float32), turn, "HU", "ct")
    image = volume("SUV", np.diag([1.5, 1.5, 2.0, 1.0]))
    world = np.moveaxis(np.indices(image.shape), 0, -1) @ image.affine[:3, :3].T
    np.testing.assert_allclose(onto(image, partner), world @ [1.0, 0.5, -0.25], atol=1e-3)
