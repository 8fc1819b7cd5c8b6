"""Scenes with a known answer, and what a program is handed: files, prompts in every frame, faults of its mask."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from umdlib.canaries import certify, scenes
from umdlib.canaries.certificate import summary
from umdlib.canaries.command import run as run_command
from umdlib.canaries.wrapper import Command, WrapperFailed, ask
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.prompts.prompt import Click, Prompt

CLICKED = scenes.phantom("click")
IMAGE = Volume(np.arange(60, dtype=np.float32).reshape(3, 4, 5), scenes.AFFINE, "HU", "little")


def test_bodies_of_the_phantom_are_apart_and_have_their_values():
    masks = CLICKED.references
    assert sum(m.astype(int) for m in masks.values()).max() == 1
    for name, (_, half, hu) in scenes.OBJECTS.items():
        inner = ndimage.binary_erosion(masks[name], iterations=2)
        assert CLICKED.image.data[inner].mean() == pytest.approx(hu, abs=3)
        ml = masks[name].sum() * 0.025
        assert ml == pytest.approx(4 / 3 * np.pi * np.prod(half) / 1000, rel=0.08)
    assert np.array_equal(scenes.phantom("box").image.data, CLICKED.image.data)


def test_the_phantoms_pet_shows_the_same_bodies_at_the_same_places():
    both = scenes.phantom("click", paired=True)
    assert np.array_equal(both.image.data, CLICKED.image.data) and both.partner.unit == "SUV"
    for name, mask in both.references.items():
        centre = geometry.to_world(both.image.affine, np.argwhere(mask).mean(axis=0))
        at = np.rint(geometry.to_voxel(both.partner.affine, centre)).astype(int)
        assert both.partner.data[tuple(at)] == pytest.approx(scenes.UPTAKE[name], rel=0.25), name


@pytest.mark.parametrize("name", list(scenes.OBJECTS))
def test_a_prompt_is_a_click_inside_a_box_around_or_the_name(name):
    mask, affine = CLICKED.references[name], CLICKED.image.affine
    (click,) = CLICKED.prompt(name).clicks
    assert click.positive and mask[tuple(np.rint(geometry.to_voxel(affine, click.xyz_mm)).astype(int))]
    box = replace(CLICKED, kind="box").prompt(name).box
    first, last = box.voxels(affine, mask.shape)
    inside = np.argwhere(mask)
    assert (first == inside.min(axis=0)).all() and (last == inside.max(axis=0)).all()
    named = replace(CLICKED, kind="text").prompt(name)
    assert (named.text, named.clicks, named.box) == (name, (), None)


@pytest.mark.parametrize("name", list(scenes.OBJECTS))
def test_an_image_without_a_structure_keeps_the_places_of_what_is_left(name):
    cut = CLICKED.without(name)
    assert not cut.references[name].any()
    shape = np.array(CLICKED.image.shape)
    assert (np.array(cut.image.shape) <= shape).all() and cut.image.data.size >= shape.prod() / 4
    start = np.rint(geometry.to_voxel(CLICKED.image.affine, geometry.to_world(cut.image.affine, (0, 0, 0))))
    box = tuple(slice(int(a), int(a) + n) for a, n in zip(start, cut.image.shape, strict=True))
    np.testing.assert_array_equal(cut.image.data, CLICKED.image.data[box])
    for other, mask in cut.references.items():
        np.testing.assert_array_equal(mask, CLICKED.references[other][box])


def test_a_structure_that_fills_the_image_cannot_be_cut_away():
    full = replace(CLICKED, references={"liver": np.ones(CLICKED.image.shape, bool)})
    assert full.without("liver") is None
    assert replace(full, references={"liver": np.zeros(CLICKED.image.shape, bool)}).without("liver") is None


@pytest.mark.parametrize(
    ("modality", "session", "other"),
    [("CT", "petct", "PET"), ("MR", "petmr", "PET"), ("PET", "petct", "CT"), ("PET", "petmr", "MR")],
)
def test_the_other_image_is_that_of_the_session(modality, session, other):
    assert scenes.other_modality(modality, session) == other


def test_own_files_become_a_scene_and_a_value_that_is_not_there_is_refused(tmp_path):
    labels = np.zeros(IMAGE.shape, np.uint8)
    labels[1, 1:3, 2] = 5
    write_volume(tmp_path / "ct.nii.gz", IMAGE)
    write_label_map(tmp_path / "seg.nii.gz", LabelMap(labels, IMAGE.affine))
    files = tmp_path / "ct.nii.gz", tmp_path / "seg.nii.gz"
    scene = scenes.own_scene("click", *files, "CT", {"liver": 5})
    assert np.array_equal(scene.references["liver"], labels == 5)
    assert scene.source == "ct.nii.gz with its reference" and scene.partner is None
    with pytest.raises(InputError, match=r"seg.nii.gz holds no voxel of value 6 \('spleen'\)"):
        scenes.own_scene("click", *files, "CT", {"liver": 5, "spleen": 6})
    with pytest.raises(InputError, match="Unknown kind of prompt 'dot'. Known: click, box, text."):
        scenes.own_scene("dot", *files, "CT", {"liver": 5})


# what a program is handed


def asked(run, prompt=None, **more):
    return ask(run, IMAGE, prompt or Prompt("liver", text="liver"), "CT", **more)


def answering(mask=None, affine=IMAGE.affine):
    """A program that writes a mask."""

    def run(job):
        data = np.zeros(IMAGE.shape, np.uint8) if mask is None else mask
        write_label_map(job.mask, LabelMap(data, affine))

    return run


def test_a_click_is_given_in_millimetres_both_ways_and_in_voxels_also_outside():
    seen = {}
    inside, outside = (geometry.to_world(IMAGE.affine, v) for v in ((2, 1, 3), (-4, 9, 0)))
    for name, at in (("inside", inside), ("outside", outside)):
        prompt = Prompt("liver", (Click(tuple(at.tolist())),))
        asked(
            lambda job, n=name: seen.update({n: job.values | {"files": json.loads(job.prompt.read_text())}}),
            prompt,
        )
    x, y, z = inside
    values = seen["inside"]
    assert values["click_voxel"] == "2,1,3" and seen["outside"]["click_voxel"] == "-4,9,0"
    assert [float(v) for v in values["click"].split(",")] == pytest.approx([x, y, z], abs=1e-4)
    assert [float(v) for v in values["click_lps"].split(",")] == pytest.approx([-x, -y, z], abs=1e-4)
    (click,) = values["files"]["clicks"]
    assert click["voxel"] == [2, 1, 3] and click["positive"] is True
    assert (values["files"]["structure"], values["files"]["modality"], values["box_voxel"]) == (
        "liver",
        "CT",
        "",
    )


def test_a_folder_of_a_question_holds_image_and_prompt_and_what_was_put_beside():
    held = {}

    def run(job):
        held["files"] = sorted(p.name for p in job.folder.iterdir())
        answering()(job)

    assert asked(run).fault == ""
    assert held["files"] == ["image.nii.gz", "prompt.json"]
    asked(run, partner=IMAGE, beside=lambda folder: (folder / "image_seg.nii.gz").touch())
    assert held["files"] == ["image.nii.gz", "image_seg.nii.gz", "partner.nii.gz", "prompt.json"]


def failing(job):
    raise WrapperFailed(f"cannot read {job.folder}/image.nii.gz")


def scribbling(job):
    answering()(job)
    job.image.write_bytes(b"mine now")


def writing_text(job):
    job.mask.write_text("a mask")


HALVES = np.full(IMAGE.shape, 1, np.uint8)


@pytest.mark.parametrize(
    ("run", "fault", "detail"),
    [
        (failing, "failed", "cannot read image.nii.gz"),
        (lambda job: None, "failed", "wrote no mask"),
        (writing_text, "not_a_mask", "mask.nii.gz"),
        (scribbling, "touches_image", "the file image.nii.gz is another one after the call"),
        (answering(affine=np.eye(4)), "grid_lost", "the mask is not on the image's grid"),
        (answering(HALVES[:2]), "grid_lost", "the mask is not on the image's grid"),
        (answering(HALVES), "", ""),  # the clean twin
    ],
)
def test_what_is_wrong_with_a_mask_is_named_and_a_right_one_is_taken(run, fault, detail):
    found = asked(run)
    assert found.fault == fault and detail in found.detail and "/tmp" not in found.detail
    assert (found.mask is not None and found.mask.all()) == (fault == "")


def test_a_mask_of_an_earlier_question_is_not_taken_for_an_answer(tmp_path):
    assert asked(answering(HALVES), folder=tmp_path).mask.all()
    assert asked(lambda job: None, folder=tmp_path).detail == "wrote no mask"


@pytest.mark.parametrize(
    ("code", "limit", "detail"),
    [
        ("import sys; sys.exit('no weights')", 60, "ended with status 1: no weights"),
        ("import time; time.sleep(60)", 0.3, "took over 0.3 s"),
    ],
)
def test_a_command_that_ends_badly_says_how(code, limit, detail):
    command = Command(f'{sys.executable} -S -c "{code}" {{image}} {{mask}}', limit)
    assert asked(command).detail == detail


def test_a_command_that_is_not_there_and_a_limit_of_nothing_are_refused():
    assert asked(Command("/no/such/program {image} {mask}")).detail.startswith("cannot start: ")
    with pytest.raises(InputError, match="Invalid time limit 0 s. Must be above 0 s."):
        Command("a {image} {mask}", 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"out": "page.doc"}, "Invalid name of a certificate page.doc. Must end in .md or .html."),
        ({"image": "ct.nii.gz"}, "Options --image and --reference go together."),
        ({"scene": "ball"}, "Unknown scene 'ball'. Known: phantom, body."),
        (
            {"takes": "text"},
            "Command 'a {image} {click} {mask}' is not given the text. It needs one of {prompt}, {text}, or another "
            "--takes.",
        ),
        (
            {"image": "i", "reference": "r"},
            "Option --reference needs --structures, e.g. --structures liver=5,spleen=1.",
        ),
        (
            {"image": "i", "reference": "r", "structures": "liver"},
            "Invalid --structures 'liver'. Write NAME=VALUE, e.g. liver=5.",
        ),
        (
            {"image": "i", "reference": "r", "structures": "liver=70000"},
            "Invalid --structures 'liver=70000'. Write NAME=VALUE, e.g. liver=5.",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(changes, sentence):
    given = dict.fromkeys(("image", "reference", "partner", "scene", "weights", "sha256", "structures"), "")
    given |= {"program": "a {image} {click} {mask}", "out": "p.md", "takes": "click", "modality": "CT"}
    given |= {"session": "petct", "time_limit": 9.0} | changes
    if changes.get("takes") == "text":
        given["scene"] = "phantom"
    with pytest.raises(InputError) as error:
        run_command(Namespace(**given), lambda line: None)
    assert str(error.value) == sentence


# the certificate


def verdict(state, *faults):
    return certify.Verdict("a check", state, faults, "seen", "how")


def test_a_summary_counts_faults_once_and_says_what_could_not_judge():
    def found(*verdicts):
        return summary(certify.Certificate("p", "s", verdicts, 9))

    clean, unsure = verdict("pass"), verdict("not judged")
    assert found(clean, clean) == "No alarm in 2 canaries and 9 calls."
    assert found(clean, unsure) == "No alarm in 2 canaries and 9 calls; 1 of 2 canaries could not judge."
    twice = found(verdict("fail", "stale"), verdict("fail", "stale", "failed"), unsure)
    assert twice.startswith("2 faults are suspected: stale (another image under the same name gives")
    assert "failed (it gives no mask)" in twice and twice.endswith("; 1 of 3 canaries could not judge.")


def test_a_program_that_marks_nothing_is_not_judged_where_a_mask_is_needed():
    found = certify.certify(
        lambda job: write_label_map(job.mask, LabelMap(np.zeros(scenes.SHAPE, np.uint8), scenes.AFFINE)),
        CLICKED,
        "empty",
    )
    states = {v.check: v.state for v in found.verdicts}
    assert found.faults == ("always_empty",) and found.calls == 3
    assert states.pop("orientation and wiring of names") == "fail"
    assert states.pop("a mask on the grid of the image") == "pass"
    assert set(states.values()) == {"not judged"} and len(states) == 6
    assert {v.detail for v in found.verdicts if v.state == "not judged"} == {"it marks nothing in this image"}


def test_a_program_that_gives_no_mask_is_asked_no_further():
    found = certify.certify(failing, CLICKED, "broken")
    assert [v.state for v in found.verdicts] == ["fail"] and found.calls == 3
    assert found.faults == ("failed",)
