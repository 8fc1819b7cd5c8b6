"""Prompts: the same world point in both images, stated rules, exact replay."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from umdlib import prompts, protocols
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap
from umdlib.labels import Structure
from umdlib.prompts import scribbles

LIVER, KIDNEY, SPLEEN = (
    Structure(n + 1, name, name.title(), name[:2], "#000000")
    for n, name in enumerate(("liver", "kidney", "spleen"))
)
STRUCTURES = (LIVER, KIDNEY, SPLEEN)
PROTOCOLS = ["centre", "random", "boundary", "jittered_5mm", "official_random", "ritm"]

OBLIQUE = np.array([[-2, 0.1, 0.2, 30], [0.1, 2, -0.2, -40], [0, 0.2, 3, 5], [0, 0, 0, 1]])
COARSE = np.array([[0, 4, 0, -80], [4, 0, 0, -40], [0, 0, -4, 150], [0, 0, 0, 1.0]])


def pair():
    """A session: two boxes on an oblique grid, and the same on a coarser grid of other axes."""
    fine = np.zeros((60, 50, 40), np.uint8)
    fine[10:40, 10:30, 5:30] = 1
    fine[45:55, 40:48, 30:39] = 2
    indices = np.moveaxis(np.indices((60, 60, 60)), 0, -1).reshape(-1, 3)
    voxels = geometry.to_voxel(OBLIQUE, geometry.to_world(COARSE, indices))
    coarse = ndimage.map_coordinates(fine, voxels.T, order=0).reshape(60, 60, 60)
    return {"PET": LabelMap(coarse, COARSE), "CT": LabelMap(fine, OBLIQUE)}


def draw(protocol="centre", references=None, structures=STRUCTURES, **options):
    options = {"structural": "CT", "seed": 3, "case": "sub-001"} | options
    return prompts.pair_prompts(references or pair(), structures, protocol=protocol, **options)


# --- the pair -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_click_lies_in_the_structure_of_both_images(protocol):
    references = pair()
    for structure in (LIVER, KIDNEY):
        prompt = draw(protocol, references)[structure.name]
        (click,) = prompt.clicks
        assert click.positive
        values = [r.data[prompts.click_voxel(click, r)] for r in references.values()]
        assert values[1] == structure.value
        assert (values[0] == structure.value) == (prompt.note == "")


def test_the_world_point_is_one_to_a_millionth_of_a_millimetre():
    click = draw()["liver"].clicks[0]
    for reference in pair().values():
        there = geometry.to_voxel(reference.affine, click.xyz_mm)
        back = geometry.to_world(reference.affine, there)
        np.testing.assert_allclose(back, click.xyz_mm, rtol=0, atol=1e-6)


@given(
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(0.3, 8)] * 3),
    st.tuples(*[st.floats(-900, 900)] * 3),
    st.tuples(*[st.floats(-400, 400)] * 3),
)
@settings(max_examples=60)
def test_any_affine_keeps_a_world_point_to_a_millionth_of_a_millimetre(turn, edges, shift, point):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix() * edges
    affine[:3, 3] = shift
    back = geometry.to_world(affine, geometry.to_voxel(affine, point))
    np.testing.assert_allclose(back, point, rtol=0, atol=1e-6)


def test_a_point_outside_the_partner_goes_to_the_next_deepest():
    references = pair()
    alone = draw(references={"CT": references["CT"]})["liver"].clicks[0]
    references["PET"].data[prompts.click_voxel(alone, references["PET"])] = 0
    moved = draw(references=references)["liver"]
    assert moved.clicks[0] != alone
    assert moved.note == ""
    assert references["PET"].data[prompts.click_voxel(moved.clicks[0], references["PET"])] == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_structure_absent_from_the_partner_keeps_its_click_and_a_note(protocol):
    references = pair()
    references["PET"].data[references["PET"].data == 1] = 0
    prompt = draw(protocol, references)["liver"]
    assert len(prompt.clicks) == 1
    assert prompt.note == prompts.OUTSIDE_PARTNER


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "box", "scribble"])
def test_an_empty_reference_has_no_prompt(protocol):
    prompt = draw(protocol)["spleen"]
    assert (prompt.clicks, prompt.box, prompt.scribble) == ((), None, ())
    assert prompt.note == prompts.REFERENCE_EMPTY


def curved():
    """A session of one structure: half a ring, 8 voxels thick, on an oblique grid."""
    i, j, k = np.indices((60, 50, 20))
    radius = np.hypot(i - 30, j - 8)
    data = ((np.abs(radius - 24) < 4) & (j > 8) & (np.abs(k - 9) < 3)).astype(np.uint8)
    return LabelMap(data, OBLIQUE)


def test_a_scribble_follows_the_middle_of_a_curved_structure():
    reference = curved()
    prompt = draw("scribble", {"CT": reference}, [LIVER])["liver"]
    voxels = np.array([prompts.click_voxel(prompts.Click(p), reference) for p in prompt.scribble])
    radius = np.hypot(voxels[:, 0] - 30, voxels[:, 1] - 8)
    assert np.abs(radius - 24).max() < 3
    assert len(set(voxels[:, 2])) == 1
    assert np.ptp(voxels[:, 0]) > 40  # from one end of the ring to the other
    assert (np.abs(np.diff(voxels, axis=0)).max(axis=1) == 1).all()
    assert (prompt.clicks, prompt.step, prompt.seed, prompt.note) == ((), 0, 0, "")


def test_a_scribble_keeps_the_stretch_that_lies_in_both_images():
    alone = draw("scribble", {"CT": curved()}, [LIVER])["liver"].scribble
    partner = curved()
    cut = prompts.click_voxel(prompts.Click(alone[len(alone) // 3]), partner)
    partner.data[cut[0]] = 0
    kept = draw("scribble", {"CT": curved(), "PET": partner}, [LIVER])["liver"]
    assert kept.note == ""
    assert 0 < len(kept.scribble) < len(alone)
    assert kept.scribble == alone[-len(kept.scribble) :]
    assert all(partner.data[prompts.click_voxel(prompts.Click(p), partner)] == 1 for p in kept.scribble)
    partner.data[:] = 0
    outside = draw("scribble", {"CT": curved(), "PET": partner}, [LIVER])["liver"]
    assert (outside.scribble, outside.note) == (alone, prompts.OUTSIDE_PARTNER)


def test_a_scribble_of_one_voxel_is_a_point():
    reference = LabelMap(np.zeros((9, 9, 9), np.uint8), OBLIQUE)
    reference.data[4, 5, 6] = 1
    (point,) = draw("scribble", {"CT": reference}, [LIVER])["liver"].scribble
    assert prompts.click_voxel(prompts.Click(point), reference) == (4, 5, 6)


def test_a_drawn_scribble_joins_its_points_on_another_grid():
    line = draw("scribble", {"CT": curved()}, [LIVER])["liver"].scribble
    image = LabelMap(np.zeros((60, 60, 60), np.uint8), COARSE)
    thin = scribbles.drawn(line, image, (1, 1, 1))
    _, parts = ndimage.label(thin, np.ones((3, 3, 3)))
    assert parts == 1
    assert thin.sum() < scribbles.drawn(line, image, (2, 2, 2)).sum()
    assert all(thin[prompts.click_voxel(prompts.Click(p), image)] for p in line)
    with pytest.raises(InputError, match="outside"):
        scribbles.drawn([*line, (900.0, 0.0, 0.0)], image, (1, 1, 1))


# --- the draw -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["random", "boundary", "jittered_5mm", "box_jittered_3mm"])
def test_a_draw_depends_on_seed_and_case_and_not_on_the_other_structures(protocol):
    first = draw(protocol)
    assert draw(protocol, structures=[KIDNEY])["kidney"] == first["kidney"]
    assert draw(protocol) == first
    assert draw(protocol, seed=4)["liver"] != first["liver"]
    assert draw(protocol, case="sub-002")["liver"] != first["liver"]


def test_official_draws_come_from_one_generator_in_label_order():
    both = draw("official_random")
    assert draw("official_random", structures=[KIDNEY])["kidney"] != both["kidney"]
    reordered = draw("official_random", structures=[KIDNEY, LIVER])
    assert reordered["kidney"] == both["kidney"]


def test_the_centre_of_a_box_is_its_middle():
    reference = LabelMap(np.zeros((20, 20, 20), np.uint8), np.eye(4))
    reference.data[3:8, 4:9, 5:10] = 1
    prompt = draw(references={"CT": reference}, structures=[LIVER])["liver"]
    assert prompt.clicks[0].xyz_mm == (5.0, 6.0, 7.0)


def test_ties_go_to_the_first_voxel_in_c_order_in_any_memory_order():
    data = np.zeros((9, 9, 9), np.uint8)
    data[1:8, 2:5, 3:6] = 1
    for volume in (data, np.asfortranarray(data)):
        reference = LabelMap(volume, np.eye(4))
        prompt = draw(references={"CT": reference}, structures=[LIVER])["liver"]
        assert prompt.clicks[0].xyz_mm == (2.0, 3.0, 4.0)


def test_a_boundary_click_touches_the_outside():
    reference = pair()["CT"]
    for seed in range(10):
        prompt = draw("boundary", {"CT": reference}, seed=seed)["liver"]
        ijk = prompts.click_voxel(prompt.clicks[0], reference)
        steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
        assert any(reference.data[tuple(ijk + s)] != 1 for s in steps)


def test_boxes():
    reference = LabelMap(np.zeros((20, 20, 20), np.uint8), np.diag([2.0, -1.0, 3.0, 1.0]))
    reference.data[3:8, 4:9, 5:10] = 1
    references = {"CT": reference}
    tight = draw("box", references)["liver"].box
    assert (tight.low_mm, tight.high_mm) == ((5.0, -8.5, 13.5), (15.0, -3.5, 28.5))
    padded = draw("box_padded_2.5mm", references)["liver"].box
    np.testing.assert_allclose(np.subtract(tight.low_mm, padded.low_mm), 2.5)
    np.testing.assert_allclose(np.subtract(padded.high_mm, tight.high_mm), 2.5)
    for seed in range(20):
        box = draw("box_jittered_50mm", references, seed=seed)["liver"].box
        assert (np.subtract(box.high_mm, box.low_mm) > 0).all()


@pytest.mark.parametrize("turn", [(10, 0, 0), (25, -14, 9), (0, 0, 200)])
@pytest.mark.parametrize("size", [(2.0, 1.0, 3.0), (-2.0, 1.0, 5.0)])
def test_a_box_of_an_oblique_image_is_the_smallest_there_is(turn, size):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zxy", turn, degrees=True).as_matrix() @ np.diag(size)
    affine[:3, 3] = (-120, 33, 400)
    reference = LabelMap(np.zeros((20, 20, 20), np.uint8), affine)
    reference.data[3:8, 4:9, 5:10] = 1
    box = draw("box", {"CT": reference})["liver"].box
    first, last = box.voxels(affine, reference.shape)
    assert (first.tolist(), last.tolist()) == ([3, 4, 5], [7, 8, 9])
    assert prompts.from_record(prompts.to_record(prompts.Prompt("liver", box=box))).box == box
    lengths = np.subtract(box.high_mm, box.low_mm)
    np.testing.assert_allclose(sorted(lengths), sorted(5 * np.abs(size)))
    padded = draw("box_padded_10mm", {"CT": reference})["liver"].box
    assert padded.axes == box.axes
    np.testing.assert_allclose(np.subtract(box.low_mm, padded.low_mm), 10)


def test_a_box_outside_the_image_is_refused():
    with pytest.raises(InputError, match="lies outside the image of .9, 9, 9. voxels"):
        prompts.Box((900, 900, 900), (910, 910, 910)).voxels(np.eye(4), (9, 9, 9))


def test_words_need_no_reference():
    kidney = Structure(7, "kidney_left", "Kidney, left", "KL", "#000000")
    assert draw("text", structures=[kidney])["kidney_left"].text == "left kidney"
    assert draw("class", structures=[kidney])["kidney_left"].note == ""


# --- corrective clicks ----------------------------------------------------------------------------


def test_a_perfect_prediction_needs_no_click():
    mask = pair()["CT"].data == 1
    assert prompts.corrective_click(mask, mask, np.eye(4)) is None


def test_the_click_goes_to_the_largest_error_and_has_its_sign():
    reference, prediction = np.zeros((2, 30, 30, 30), bool)
    reference[2:12, 2:12, 2:12] = True
    prediction[2:12, 2:12, 7:12] = True  # misses 500 voxels
    prediction[20:24, 20:24, 20:24] = True  # adds 64
    click = prompts.corrective_click(reference, prediction, np.diag([1.0, 1, 2, 1]))
    assert click.positive
    assert click.xyz_mm == (6.0, 6.0, 8.0)
    reference[2:12, 2:12, 2:7] = False
    click = prompts.corrective_click(reference, prediction, np.eye(4))
    assert not click.positive
    assert click.xyz_mm == (21.0, 21.0, 21.0)


def test_an_error_that_is_both_missed_and_added_is_two_errors():
    reference, prediction = np.zeros((2, 9, 9, 9), bool)
    reference[1:4, 1:8, 1:8], prediction[4:8, 1:8, 1:8] = True, True
    click = prompts.corrective_click(reference, prediction, np.eye(4))
    assert not click.positive


@pytest.mark.parametrize("protocol", ["official_random", "ritm"])
def test_official_clicks_lie_in_the_error(protocol):
    rng = np.random.default_rng(0)
    reference = pair()["CT"].data == 1
    prediction = np.roll(reference, 3, axis=0)
    for _ in range(10):
        click = prompts.corrective_click(reference, prediction, np.eye(4), protocol=protocol, rng=rng)
        ijk = tuple(int(v) for v in click.xyz_mm)
        assert reference[ijk] != prediction[ijk]
        assert click.positive == reference[ijk]


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_components_and_depths_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 9, 3)) < rng.uniform(0.2, 0.95)
    spacing = tuple(rng.uniform(0.5, 4, 3))
    expected = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)
    np.testing.assert_allclose(depth.depth_mm(mask, spacing), expected[1:-1, 1:-1, 1:-1])
    labelled, count = ndimage.label(mask, np.ones((3, 3, 3)))
    size, component = depth.largest_component(mask)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    assert size == sizes.max(initial=0)
    if count:
        np.testing.assert_array_equal(component, labelled == sizes.argmax() + 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_boxes_of_labels_and_differences(order):
    label_map = np.zeros((70, 9, 130), np.uint8, order=order)
    label_map[5:66, 3, 60:130] = 4
    label_map[0, 0, 0] = 9
    assert depth.bounding_boxes(label_map, [4, 9, 5]) == [
        (slice(5, 66), slice(3, 4), slice(60, 130)),
        (slice(0, 1),) * 3,
        None,
    ]
    other = label_map == 4
    changed = other.copy(order="K")
    changed[69, 8, 2] = True
    assert depth.difference_box(other, changed) == (slice(69, 70), slice(8, 9), slice(2, 3))
    assert depth.difference_box(other, other) is None


# --- replay and bad input -------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "box", "scribble", "text", "class"])
def test_a_stored_prompt_is_the_same_to_the_bit(protocol):
    for prompt in draw(protocol).values():
        prompt = prompt.with_click(prompts.Click((0.1, 1 / 3, -1e-9), positive=False))
        part = prompts.Box((0.1, 0.2, 0.3), (1 / 3, 2 / 3, 1.0))
        prompt = dataclasses.replace(prompt, boxes=(part, part))
        assert prompts.from_record(json.loads(json.dumps(prompts.to_record(prompt)))) == prompt


def test_steps_count_the_clicks_after_the_first_prompt():
    click, box = prompts.Click((0, 0, 0)), prompts.Box((0, 0, 0), (1, 1, 1))
    assert [prompts.Prompt("liver", (click,) * n).step for n in range(4)] == [0, 0, 1, 2]
    assert [prompts.Prompt("liver", (click,) * n, box=box).step for n in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("center", "Did you mean 'centre'"),
        ("jittered", "Unknown prompt protocol"),
        ("jittered_0mm", "must be positive"),
        ("centre_5mm", "Unknown prompt protocol"),
    ],
)
def test_an_unknown_protocol_is_named(name, match):
    with pytest.raises(InputError, match=match):
        protocols.protocol(name)


def test_a_click_outside_the_volume_is_named():
    with pytest.raises(InputError, match=r"Invalid click \(900.0, 0.0, 0.0\) mm in label map"):
        prompts.click_voxel(prompts.Click((900, 0, 0)), pair()["CT"])


def test_masks_on_two_grids_are_named():
    with pytest.raises(InputError, match="one grid"):
        prompts.corrective_click(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), np.eye(4))


def test_a_corrective_click_of_no_protocol_and_a_draw_without_a_generator_are_refused():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(InputError, match="official_random"):
        prompts.corrective_click(mask, ~mask, np.eye(4), protocol="official-random")
    with pytest.raises(InputError, match="rng is needed"):
        prompts.corrective_click(mask, ~mask, np.eye(4), protocol="ritm")


def test_a_modality_that_is_not_there_is_named():
    with pytest.raises(InputError, match="Unknown modality 'MR'"):
        draw(structural="MR")


def test_a_length_with_two_points_is_no_protocol():
    with pytest.raises(InputError, match="jittered_1.2.3mm"):
        protocols.protocol("jittered_1.2.3mm")
