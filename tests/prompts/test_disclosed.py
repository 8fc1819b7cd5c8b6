"""The papers' own protocols: the official cube, points and boxes of every slice, their effort."""

import argparse
import json
import sys

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from umdlib import __main__ as cli
from umdlib import prompts, protocols
from umdlib.errors import InputError
from umdlib.images import geometry, grids, masks
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts import disclosed
from umdlib.segmenters import registry
from umdlib.segmenters.preparation import slices

ORGAN = Structure(2, "organ", "Organ", "Or", "#000000")


def label_map(affine, shape=(40, 44, 30)) -> LabelMap:
    """Two parts in slices 10 to 19 along the third axis, one of them in slice 14 only."""
    data = np.zeros(shape, np.uint8)
    data[5:20, 8:30, 10:20] = 2
    data[30:33, 35:40, 14] = 2
    return LabelMap(data, affine)


def turned(degrees, spacing) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zxy", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-37.3, 51.9, 211.2)
    return affine


GRIDS = {
    "straight": turned((0, 0, 0), (2.1, 1.7, 3.3)),
    "flipped": turned((0, 0, 0), (-2.1, 1.7, -3.3)),
    "permuted": turned((0, 0, 0), (2.1, 1.7, 3.3))[:, [2, 0, 1, 3]],
    "oblique": turned((25, -14, 9), (2.1, -1.7, 3.3)),
}


def draw(protocol, reference, **options):
    return prompts.pair_prompts({"CT": reference}, [ORGAN], protocol=protocol, **options)["organ"]


@pytest.mark.parametrize("grid", GRIDS)
def test_the_official_cube_is_around_the_references_box_on_the_grid_of_the_script(grid):
    """To half a voxel of 1.5 mm along each axis of the image: CropOrPad cuts whole voxels."""
    reference = label_map(GRIDS[grid])
    prompt = draw("official_crop_96mm", reference)
    centre = geometry.to_voxel(reference.affine, prompt.cube.centre_mm)
    middle = np.array([5 + 32, 8 + 39, 10 + 19]) / 2
    apart = np.abs(centre - middle) * reference.spacing_mm
    # the label's edge moves by up to half a voxel of the grid when it is taken there
    assert (apart <= 1.5 + 1e-6).all()
    assert prompt.cube.side_mm == 96
    assert not prompt.cube.slides


def _grids(count: int, seed: int):
    """Straight and oblique grids of 1, 2, 4 mm and the like, where every second place is a tie, and odd ones."""
    rng = np.random.default_rng(seed)
    for n in range(count):
        even = rng.choice([0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0], 3)
        affine = turned(rng.uniform(-30, 30, 3) * (n % 2), even if n % 5 else rng.uniform(0.6, 6, 3))
        affine[:3, :3] = affine[:3, rng.permutation(3)] * rng.choice([-1, 1], 3)
        affine[:3, 3] = rng.integers(-300, 300, 3) + rng.choice([0, 0.25, 0.5]) * rng.integers(-3, 4, 3)
        yield affine, tuple(int(v) for v in rng.integers(6, 26, 3))


def test_the_official_cube_is_torchios_own():
    """Resample, ToCanonical and CropOrPad with the label as its mask, on ties too."""
    tio = pytest.importorskip("torchio")
    import torch

    rng = np.random.default_rng(1)
    for affine, shape in _grids(60, 0):
        data = np.zeros(shape, np.uint8)
        low = rng.integers(0, np.array(shape) - 3)
        high = rng.integers(low + 2, np.array(shape))
        data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 2
        reference = LabelMap(data, affine)
        label = tio.LabelMap(tensor=torch.from_numpy((data == 2)[None].astype(np.uint8)), affine=affine)
        subject = tio.ToCanonical()(tio.Resample(1.5)(tio.Subject(label=label)))
        np.testing.assert_array_equal(grids.nearest_labels(reference, 1.5) == 2, subject.label.numpy()[0] > 0)
        if not subject.label.numpy().any():
            continue
        cropped = tio.CropOrPad(64, mask_name="label")(subject).label
        (box,) = masks.bounding_boxes(data, [2])
        cube = disclosed.official_cube(reference, box, 2, 96)
        theirs = geometry.to_world(cropped.affine, np.full(3, 31.5))
        np.testing.assert_allclose(cube.centre_mm, theirs, atol=1e-6)


def test_the_boxes_of_a_reference_are_found_once_and_those_of_another_anew(monkeypatch):
    made, nearest = [], disclosed.nearest_labels
    monkeypatch.setattr(disclosed, "nearest_labels", lambda *given: made.append(1) or nearest(*given))
    reference, turned_one = label_map(GRIDS["straight"]), label_map(GRIDS["oblique"])
    first = draw("official_crop_96mm", reference)
    assert draw("official_crop_96mm", reference).cube == first.cube
    assert len(made) == 1
    other = LabelMap(reference.data, turned_one.affine)
    assert draw("official_crop_96mm", other).cube != first.cube
    assert draw("official_crop_96mm", turned_one).cube == draw("official_crop_96mm", other).cube
    assert len(made) == 4


def test_the_official_cube_without_simpleitk_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"umdlib\[formats\]"):
        draw("official_crop_96mm", label_map(GRIDS["straight"]))


def test_clicks_of_the_official_crop_lie_in_the_cube_and_all_errors_there_count():
    reference = label_map(GRIDS["oblique"])
    mask = reference.data == 2
    rng = np.random.default_rng(0)
    for seed in range(5):
        prompt = draw("official_crop_24mm", reference, seed=seed)
        inside = prompt.cube.voxels(reference.affine, reference.shape)
        cube = np.zeros(reference.shape, bool)
        cube[inside] = True
        assert 0 < (mask & cube).sum() < mask.sum()
        assert (mask & cube)[prompts.click_voxel(prompt.clicks[0], reference)]
        for _ in range(5):
            options = {"protocol": prompt.protocol, "rng": rng, "cube": prompt.cube}
            click = prompts.corrective_click(mask, np.zeros_like(mask), reference.affine, **options)
            assert (mask & cube)[prompts.click_voxel(click, reference)]
        assert prompts.corrective_click(mask, mask & cube, reference.affine, **options) is None


@pytest.mark.parametrize("grid", GRIDS)
def test_points_lie_in_each_part_of_each_slice_and_are_counted(grid):
    reference = label_map(GRIDS[grid])
    axis = {"permuted": 0}.get(grid, 2)
    if axis == 0:
        reference = LabelMap(np.moveaxis(reference.data, 2, 0).copy(), GRIDS[grid])
    prompt = draw("points_per_slice_3", reference)
    voxels = np.array([prompts.click_voxel(c, reference) for c in prompt.clicks])
    assert len(set(map(tuple, voxels.tolist()))) == len(voxels) == 33  # ten slices, one with two parts
    assert (reference.data[tuple(voxels.T)] == 2).all()
    counts = np.bincount(voxels[:, axis], minlength=30)
    assert counts[14] == 6
    assert (counts[[10, 13, 15, 19]] == 3).all()
    assert prompt.coordinates == 99
    assert prompt.step == 0
    assert prompt.with_click(prompts.Click((0, 0, 0))).step == 1
    assert draw("points_per_slice_3", reference) == prompt
    assert draw("points_per_slice_3", reference, seed=1) != prompt


def test_a_part_with_fewer_pixels_than_points_gives_all_of_them():
    data = np.zeros((8, 8, 8), np.uint8)
    data[3, 3:5, 4] = 2
    assert len(draw("points_per_slice_5", LabelMap(data, np.eye(4))).clicks) == 2


@pytest.mark.parametrize("grid", GRIDS)
def test_boxes_are_tight_one_per_slice_and_part(grid):
    reference = label_map(GRIDS[grid])
    if grid == "permuted":
        reference = LabelMap(np.moveaxis(reference.data, 2, 0).copy(), GRIDS[grid])
    prompt = draw("boxes_per_slice", reference)
    assert len(prompt.boxes) == 11
    assert prompt.coordinates == 55
    mask = reference.data == 2
    stack = slices.axial(Volume(mask, reference.affine))
    painted = np.zeros(stack.data.shape, bool)
    for box in prompt.boxes:
        z0, z1, (x0, y0, x1, y1) = slices.pixels_of(box, stack)
        assert z0 == z1
        painted[z0, y0 : y1 + 1, x0 : x1 + 1] = True
    np.testing.assert_array_equal(stack.back(painted), mask)


def test_prompts_per_slice_are_those_of_each_image_and_know_no_partner():
    fine, coarse = label_map(GRIDS["straight"]), label_map(turned((0, 0, 0), (2.1, 1.7, 6.6)))
    coarse.data[:] = 0
    coarse.data[5:20, 8:30, 5:10] = 2
    references = {"CT": fine, "PET": coarse}
    options = {"protocol": "boxes_per_slice"}
    first = prompts.pair_prompts(references, [ORGAN], structural="CT", **options)["organ"]
    second = prompts.pair_prompts(references, [ORGAN], structural="PET", **options)["organ"]
    assert (len(first.boxes), len(second.boxes)) == (11, 5)
    assert first.note == second.note == ""


@pytest.mark.parametrize(
    "protocol", ["official_crop_96mm", "sliding_96mm", "points_per_slice_3", "boxes_per_slice"]
)
def test_the_papers_prompts_are_replayed_to_the_bit_and_absent_structures_have_none(protocol):
    reference = label_map(GRIDS["oblique"])
    prompt = draw(protocol, reference)
    assert prompts.from_record(json.loads(json.dumps(prompts.to_record(prompt)))) == prompt
    reference.data[:] = 0
    assert draw(protocol, reference).note == prompts.REFERENCE_EMPTY


def test_a_prompt_that_was_stored_before_there_were_cubes_is_read():
    record = prompts.to_record(prompts.Prompt("organ", (prompts.Click((1, 2, 3)),)))
    del record["cube"], record["first_clicks"]
    assert prompts.from_record(record) == prompts.Prompt("organ", (prompts.Click((1, 2, 3)),))


def test_names_of_the_papers_protocols():
    assert protocols.protocol("official_crop_192mm") == ("official_crop", 192)
    assert protocols.protocol("points_per_slice_5") == ("points_per_slice", 5)
    assert protocols.coordinates_given("official_crop_192mm", 2) == 12
    assert np.isnan(protocols.coordinates_given("points_per_slice_5", 0))
    for name in ("points_per_slice", "points_per_slice_0", "official_crop", "official_crop_0mm", "box_3"):
        with pytest.raises(InputError):
            protocols.protocol(name)


@pytest.mark.parametrize("system", protocols.NATIVE)
def test_a_native_protocol_gives_what_its_system_takes(system):
    given = {protocols.kind_given(name) for name in protocols.NATIVE[system]}
    assert given <= registry.get(system).prompts


def test_parts_are_those_of_scipy_with_corners():
    mask = np.zeros((1, 6, 6), bool)
    mask[0, 1, 1] = mask[0, 2, 2] = True
    mask[0, 4, 4] = True
    expected = ndimage.label(mask[0], np.ones((3, 3)))[1]
    data = np.moveaxis(mask, 0, 2).astype(np.uint8) * 2
    assert len(draw("boxes_per_slice", LabelMap(data, np.eye(4))).boxes) == expected == 2


def test_the_command_line_names_a_protocol_of_every_kind():
    listed = next(a.help for a in _options("score") if "--prompts" in a.option_strings)
    names = listed.partition("protocols: ")[2].split(", ")
    patterns = {protocols._parsed(name)[2] for name in names}
    assert patterns == set(protocols.PROTOCOLS)


def _options(command: str):
    """Options of a command."""
    commands = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices[command]._actions
