"""The papers' own protocols through the scoring of a cohort."""

import numpy as np
import pytest

from umdlib.canaries.checks import check_ceilings
from umdlib.canaries.replay import check_run
from umdlib.cohort.manifest import read_cohort
from umdlib.evaluation import run, store
from umdlib.segmenters import registry
from umdlib.segmenters.contract import Segmenter
from umdlib.segmenters.preparation import slices


def painted(image, prompt, previous=None):
    """Every box of every slice, filled."""
    stack = slices.axial(image)
    parts = []
    for box in prompt.boxes:
        z, _, (x0, y0, x1, y1) = slices.pixels_of(box, stack)
        part = np.zeros(stack.data.shape[1:], bool)
        part[y0 : y1 + 1, x0 : x1 + 1] = True
        parts.append((z, part))
    return slices.paint(stack, parts)


def ball(image, prompt, previous=None):
    """What lies within 12 mm of a click."""
    ijk = np.indices(image.shape).reshape(3, -1).T @ image.affine[:3, :3].T + image.affine[:3, 3]
    near = [np.linalg.norm(ijk - c.xyz_mm, axis=1) < 12 for c in prompt.clicks if c.positive]
    return np.any(near, axis=0).reshape(image.shape)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    def register(name, segment, kinds, **facts):
        return registry.register(
            Segmenter(name, name, "A test.", lambda device: segment, frozenset(kinds), **facts)
        ).name

    return register


def test_prompts_per_slice_are_each_images_own_and_their_numbers_are_counted(
    make_cohort, registered, tmp_path
):
    name = registered("painter", painted, {"slice_box"})
    cohort = read_cohort(make_cohort(1))
    settings = run.Settings((run.Plan("boxes_per_slice"),))
    table = run.score_cohort(cohort, name, tmp_path, settings=settings)
    assert set(table["prompt"]) == {"boxes_per_slice"}
    assert (table["dice"] > 0.8).all()  # discs in squares: pi / 4 fills 0.88
    for case in cohort.cases:
        _, reference = case.read()
        for s in case.structures:
            held = int((reference.data == s.value).any(axis=(0, 1)).sum())
            row = table.query("modality == @case.modality and structure == @s.name").iloc[0]
            assert row["coordinates"] == 5 * held
        given = store.read_prompts(tmp_path, name, case)
        assert all(p.boxes and not p.clicks for p in given)


def test_a_system_that_takes_none_of_the_plans_gets_its_own_protocol(registered):
    record = registry.get("sam_vit_b")
    (plan,) = run.taken_plans(record, run.Settings())
    assert plan.protocol == "points_per_slice_3"
    assert run.taken_plans(registry.get("medsam"), run.Settings())[0].protocol == "boxes_per_slice"
    assert run.taken_plans(registry.get("sam_vit_b_grown"), run.Settings())[0].protocol == "centre"


def test_the_ceiling_of_a_system_that_looks_at_a_part_stands_in_its_rows(make_cohort, registered, tmp_path):
    """The rod is 50 mm long; what looks at the half of the image below its middle can find half of it."""

    def reach(image, prompt, wanted):
        z = np.indices(image.shape)[2] * image.affine[2, 2] + image.affine[2, 3]
        return z < 0

    name = registered("half", ball, {"click", "negative_click"}, reach=reach)
    cohort = read_cohort(make_cohort(1))
    table = run.score_cohort(cohort, name, tmp_path, settings=run.Settings((run.Plan("centre", steps=1),)))
    rod = table.query("structure == 'rod' and modality == 'CT' and step == 0").iloc[0]
    assert rod["ceiling"] == pytest.approx(2 / 3, abs=0.05)
    assert (table["ceiling"] <= 1).all()
    assert set(table.query("step == 1")["coordinates"]) == {6.0}
    assert (table["dice"] <= table["ceiling"] + 1e-6).all()
    assert not check_ceilings(table, name)
    again = run.rescore(cohort, tmp_path)
    np.testing.assert_array_equal(again["ceiling"], table["ceiling"])


def test_an_adapter_that_knows_the_reference_beyond_its_part_is_named(make_cohort, registered, tmp_path):
    """It says that it looks at the lower half and marks the whole reference."""
    cohort = read_cohort(make_cohort(1))
    known = {c.read_reference().data.shape: c.read_reference().data for c in cohort.cases}
    values = {s.name: s.value for s in cohort.structures}

    def cheat(image, prompt, previous=None):
        return known[image.shape] == values[prompt.structure]

    def reach(image, prompt, wanted):
        return np.indices(image.shape)[2] * image.affine[2, 2] + image.affine[2, 3] < 0

    name = registered("seer", cheat, {"click", "negative_click"}, reach=reach)
    table = run.score_cohort(cohort, name, tmp_path, settings=run.Settings((run.Plan("centre"),)))
    (found,) = check_ceilings(table, name, "CT")
    assert (found.fault, found.observed) == ("above_ceiling", 1.0)
    assert found.alternative == pytest.approx(2 / 3, abs=0.05)
    assert set(found.structure.split(", ")) == {"ball", "rod"}
    told = check_run(cohort, tmp_path, [name])
    assert told["faults"].str.contains("above_ceiling").all()
    assert told["detail"].str.contains("2 of 2 scores exceed").all()


def test_the_official_crop_draws_all_clicks_in_the_cube(make_cohort, registered, tmp_path):
    name = registered("ball", ball, {"click", "negative_click"})
    cohort = read_cohort(make_cohort(1))
    settings = run.Settings((run.Plan("official_crop_30mm", steps=3),))
    run.score_cohort(cohort, name, tmp_path, settings=settings)
    for case in cohort.cases:
        image, _ = case.read()
        prompts = store.read_prompts(tmp_path, name, case)
        assert max(p.step for p in prompts) == 3
        for prompt in prompts:
            inside = prompt.cube.voxels(image.affine, image.shape)
            for click in prompt.clicks[1:]:
                ijk = np.linalg.solve(image.affine[:3, :3], np.array(click.xyz_mm) - image.affine[:3, 3])
                held = [s.start - 0.5 <= v < s.stop - 0.5 for v, s in zip(ijk, inside, strict=True)]
                assert all(held)
