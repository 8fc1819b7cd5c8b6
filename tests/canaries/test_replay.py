"""The canaries on a run's own predictions: firewall, repeatability, control, and what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from umdbook.chapters import canaries as chapter
from umdlib import segmenters
from umdlib.__main__ import main
from umdlib.canaries import controls
from umdlib.canaries import findings as flags
from umdlib.canaries import replay as canary_run
from umdlib.cohort.manifest import Case, read_cohort
from umdlib.evaluation import run as benchmark
from umdlib.images.geometry import to_world
from umdlib.images.partner import onto
from umdlib.images.volume import read_label_map
from umdlib.scores import table as scores
from umdlib.segmenters.contract import Segmenter

SETTINGS = benchmark.Settings((benchmark.Plan("centre", (0,), 0),))


def ball(image, prompt, previous=None):
    """What lies within 12 mm of the click: knows nothing but image and prompt."""
    world = to_world(image.affine, np.moveaxis(np.indices(image.shape), 0, -1))
    return ((world - np.array(prompt.clicks[0].xyz_mm)) ** 2).sum(-1) < 12**2


@pytest.fixture
def run(make_cohort, tmp_path):
    """Scores a segmenter on a small cohort; returns the cohort and the run's folder."""

    def make(call, name="canary_of_test"):
        segmenters.register(Segmenter(name, "C", "C.", lambda device: call, frozenset({"click"})))
        cohort = read_cohort(make_cohort(2))
        table = benchmark.score_cohort(cohort, name, tmp_path / "run", settings=SETTINGS)
        scores.write_scores(tmp_path / "run" / "scores.parquet", table, stamp=table.attrs["stamp"])
        return cohort, tmp_path / "run"

    return make


def test_a_segmenter_wired_right_raises_no_alarm_and_is_called_unverified(run):
    cohort, root = run(ball)
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert list(found["modality"]) == ["CT", "PET"]
    assert found["faults"].eq("").all(), found["detail"].tolist()
    assert found["control"].eq("unverified adapter").all()


def test_a_mask_made_with_the_reference_does_not_come_again_without_it(run, monkeypatch):
    known = {}

    def cheat(image, prompt, previous=None):
        return known.get((image.name, prompt.structure), ball(image, prompt))

    # the cheat knows a reference by its image's name, which the copy does not have
    real = Case.read

    def read(case, *given):
        image, reference = real(case)
        known.update({(image.name, s.name): reference.data == s.value for s in case.structures})
        return image, reference

    monkeypatch.setattr(Case, "read", read)
    cohort, root = run(cheat)
    known.clear()
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert found["faults"].str.contains("reads_reference").all()
    assert "differ when the image is alone" in found["detail"][0]


def test_a_mask_that_is_drawn_by_chance_is_not_repeatable(run):
    rng = np.random.default_rng(0)
    cohort, root = run(
        lambda image, prompt, previous=None: ball(image, prompt) ^ (rng.random(image.shape) < 0.01)
    )
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert found["faults"].str.contains("not_repeatable").all()


def test_a_prompt_that_fails_does_not_stop_the_others(run):
    def segment(image, prompt, previous=None):
        if prompt.structure == "ball":
            raise ValueError("never on this one")
        return ball(image, prompt)

    cohort, root = run(segment)
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert len(found) == 2 and not found["faults"].str.contains("reads_reference").any()


def test_a_structure_that_failed_in_the_run_is_not_compared(run):
    failing = {"ball"}

    def segment(image, prompt, previous=None):
        if prompt.structure in failing:
            raise ValueError("not today")
        return ball(image, prompt)

    cohort, root = run(segment)
    failing.clear()
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert not found["faults"].str.contains("reads_reference").any()


def test_a_segmenter_that_fails_everywhere_is_said_to_fail(run):
    def segment(image, prompt, previous=None):
        raise TypeError("missing 1 required argument")

    cohort, root = run(segment)
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert found["faults"].eq("").all() and found["n_cases"].eq(0).all()
    why = "It failed on every structure: TypeError: missing 1 required argument"
    assert found["detail"].eq(why).all()


def test_a_segmenter_that_does_not_load_any_more_is_checked_by_its_masks(run, monkeypatch):
    cohort, root = run(ball)

    def load(device):
        raise RuntimeError("the driver is gone")

    segmenters.register(Segmenter("canary_of_test", "C", "C.", load, frozenset({"click"})))
    monkeypatch.setattr(controls, "known", lambda: {"canary_of_test": 0.9})
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert found["faults"].eq("").all()
    assert found["control"].eq("failed: RuntimeError: the driver is gone").all()


MODEL = """
from umdlib.segmenters import Segmenter

def load(device):
    return lambda image, prompt, previous=None: image.data > 40

MINE = Segmenter("canary_of_test", "Mine", "Above 40.", load, frozenset({"click"}))
"""


@pytest.mark.parametrize("told", [True, False])
def test_the_command_takes_segmenters_as_the_run_was_given_them(make_cohort, tmp_path, told):
    manifest, root, file = make_cohort(1), tmp_path / "run", tmp_path / "model.py"
    file.write_text(MODEL)
    named = ["--segmenters", f"{file}:MINE"]
    assert main(["score", str(manifest), *named, "--out", str(root), "--prompts", "centre"]) == 0
    segmenters.registry._registered.pop("canary_of_test")  # as in another process
    assert main(["canaries", str(manifest), str(root), *(named if told else [])]) == 0
    control = flags.read(root)["control"]
    assert control.eq("unverified adapter" if told else "not run here").all()


def test_the_command_stores_the_findings_beside_the_scores(run, capsys):
    cohort, root = run(lambda image, prompt, previous=None: np.zeros(image.shape, bool))
    manifest = cohort.cases[0].image.parent / "manifest.tsv"
    assert main(["canaries", str(manifest), str(root)]) == 0
    stored = flags.read(root)
    assert set(stored["segmenter"]) == {"canary_of_test"}
    assert "1 segmenters flagged" in capsys.readouterr().out
    assert "every subject is empty" in flags.flagged(stored)["canary_of_test"]
    shown = chapter.words(canary_run.found(cohort, root))
    assert "always empty" in shown and "Positive control" in shown


@pytest.mark.parametrize("name", ["threshold", "region_growing", "clicknet_pet", "stunet_small"])
def test_a_recorded_control_is_reproduced(name):
    words, found = controls.check(name)
    assert words.endswith("reproduced") and found == []


def test_every_network_trained_here_has_a_recorded_control():
    own = {n for n in segmenters.BUILT_IN if controls.trained_here(segmenters.get(n))}
    assert own and own <= set(controls.known())


def test_a_control_that_is_missed_is_a_finding(monkeypatch):
    monkeypatch.setattr(controls, "known", lambda: {"threshold": 0.5})
    words, (finding,) = controls.check("threshold")
    assert finding.fault == "control_missed" and "instead of 0.500" in words


def test_an_adapter_compared_with_official_code_is_told_from_one_that_was_not():
    assert controls.check("sam_med3d_turbo") == ("compared with the official code", [])
    assert controls.check("seganypet_v2")[0] == "compared with the official code"


@pytest.mark.parametrize(("home", "faults"), [(0.9, ""), (0.0, "dead_structure")])
def test_a_structure_that_a_network_finds_at_home_is_not_wired_wrongly_elsewhere(
    run, monkeypatch, home, faults
):
    def half_blind(image, prompt, previous=None):
        return ball(image, prompt) if prompt.structure == "ball" else np.zeros(image.shape, bool)

    cohort, root = run(half_blind)
    monkeypatch.setattr(canary_run.canaries, "_CHANCE", 1.0)  # two subjects are few
    monkeypatch.setattr(controls, "trained_here", lambda record: True)
    monkeypatch.setattr(controls, "check", lambda name, device: ("0.900 reproduced", []))
    monkeypatch.setattr(controls, "home_scores", lambda record, names, *_: dict.fromkeys(names, home))
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    assert found["faults"].eq(faults).all(), found["detail"].tolist()
    assert found["detail"].str.contains("outside the domain").eq(not faults).all()


@pytest.fixture
def run_of_two(run, monkeypatch):
    """As `run`, of a segmenter that sees both images."""

    def make(call):
        plain = segmenters.register
        monkeypatch.setattr(
            segmenters,
            "register",
            lambda r: plain(replace(r, modalities=("CT", "PET"), partner=("CT", "PET"))),
        )
        return run(call)

    return make


def bright_beside(image, prompt, previous=None, partner=None):
    """What lies near the click and is bright on the partner."""
    there = onto(image, partner)
    return ball(image, prompt) & (there > np.median(there))


def findings_of(cohort, root):
    found = canary_run.check_run(cohort, root, ["canary_of_test"], device="cpu")
    return dict(zip(found["modality"], found["faults"], strict=True)), " ".join(found["detail"])


def test_a_mask_that_follows_the_partner_raises_no_alarm(run_of_two):
    faults, detail = findings_of(*run_of_two(bright_beside))
    assert faults == {"CT": "", "PET": ""}, detail


@pytest.mark.parametrize("whose", ["partner", "image"])
def test_a_mask_made_with_either_reference_does_not_come_again_without_them(run_of_two, whose):
    def leak(image, prompt, previous=None, partner=None):
        mask = bright_beside(image, prompt, previous, partner)
        given = {"partner": partner, "image": image}[whose]
        file = Path(given.name.replace(".nii.gz", "_dseg.nii.gz"))
        if file.is_file():
            mask[tuple(slice(0, 1 + int(read_label_map(file).data.max() > 0)) for _ in range(3))] = True
        return mask

    faults, detail = findings_of(*run_of_two(leak))
    assert faults == {"CT": "reads_reference", "PET": "reads_reference"}
    assert "differ when the two images are alone" in detail


def test_a_system_of_two_images_that_looks_at_one_is_named(run_of_two):
    faults, detail = findings_of(
        *run_of_two(lambda image, prompt, previous=None, partner=None: ball(image, prompt))
    )
    assert faults == {"CT": "ignores_partner", "PET": "ignores_partner"}
    assert "are the same with a blank PET beside the image" in detail
