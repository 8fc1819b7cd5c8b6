"""A painted body: tissues lie where an anatomist expects them, in both sexes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from umdlib.synthetic.anatomy.drawing import FLOOR_MM, TOP_MM, draw_anatomy
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES


@pytest.fixture(scope="module", params=["F", "M"])
def body(request):
    """A body of each sex on voxels of 5 mm; arms up and down."""
    arms = {"F": "down", "M": "up"}[request.param]
    person = draw_person(np.random.default_rng(11), sex=request.param, bmi=25, height_cm=172, arms=arms)
    return draw_anatomy(person, spacing_mm=5.0)


def where(body, *names):
    table = np.zeros(256, bool)
    table[[CODES[n] for n in names]] = True
    return table[body.tissue]


def centre(body, *names):
    """Centre of mass of tissues in the world (mm)."""
    return body.affine[:3, :3] @ np.argwhere(where(body, *names)).mean(axis=0) + body.affine[:3, 3]


def share_beside(mask, other):
    """Share of a mask's surface that touches another."""
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    box = tuple(slice(max(b.start - 1, 0), b.stop + 1) for b in box)
    rim = ndimage.binary_dilation(mask[box]) & ~mask[box]
    return (rim & other[box]).sum() / rim.sum()


def depths(body, whole, *groups):
    """Mean depths (mm) of groups of tissues below the surface of what they are a part of."""
    (box,) = ndimage.find_objects(whole.view(np.uint8))
    depth = ndimage.distance_transform_edt(np.pad(whole[box], 1), sampling=5.0)[1:-1, 1:-1, 1:-1]
    return [depth[where(body, *names)[box]].mean() for names in groups]


def test_skin_is_the_outermost_tissue_and_a_body_is_one_piece(body):
    air, skin = where(body, "air"), where(body, "skin")
    assert (skin & ndimage.binary_dilation(air)).sum() / skin.sum() > 0.95
    order = depths(body, ~air, ["skin"], ["fat"], ["muscle"], ["visceral_fat"], ["aorta"])
    assert order == sorted(order)
    parts, _ = ndimage.label(~air)
    assert np.bincount(parts.ravel())[1:].max() / (~air).sum() > 0.99


def test_a_body_reaches_from_mid_thigh_to_above_the_head_and_is_as_wide_as_its_person(body):
    z = body.affine[2, 3] + 5.0 * np.array([0, body.tissue.shape[2] - 1])
    tall = 172 / 175
    np.testing.assert_allclose(z, tall * (np.array([FLOOR_MM, TOP_MM]) - 1100), atol=6)
    assert body.heights == (pytest.approx(1 / tall), 1100.0)
    trunk = where(body, "air")[:, :, body.tissue.shape[2] // 3 : body.tissue.shape[2] // 2]
    across = np.flatnonzero(~trunk.all(axis=(1, 2)))
    width = np.ptp(across) * 5
    assert (300 < width < 420) if body.person.arms == "up" else (400 < width < 660)


def test_organs_of_a_sex_are_those_of_the_person(body):
    own, other = ("uterus", "breast"), ("prostate", "testis")
    own, other = (own, other) if body.person.sex == "F" else (other, own)
    assert all(where(body, n).any() for n in own) and not where(body, *other).any()


def test_the_cord_runs_in_the_canal_behind_the_bodies_of_the_vertebrae(body):
    cord = where(body, "cord")
    assert share_beside(cord, where(body, "csf", "cortical_bone", "marrow", "disc", "cartilage")) > 0.8
    x, y, z = centre(body, "cord")
    assert abs(x) < 4 and y < centre(body, "aorta")[1] < centre(body, "stomach_content")[1]
    assert z > centre(body, "disc")[2]  # it ends above the lower discs


def test_the_aorta_lies_left_before_the_spine_and_the_lower_vena_cava_right_of_it(body):
    z = body.affine[2, 3] + 5.0 * np.arange(body.tissue.shape[2])
    level = slice(*np.searchsorted(z, [0, 60]))  # below the diaphragm
    x = body.affine[0, 3] + 5.0 * np.arange(body.tissue.shape[0])
    near = np.abs(x)[:, None, None] < 40
    aorta, vein = (where(body, n)[:, :, level] & near for n in ("aorta", "vessel"))
    left, right = ((x[:, None, None] * m).sum() / m.sum() for m in (aorta, vein))
    assert left < 0 < right and right - left > 15


def test_bones_are_shells_around_marrow(body):
    bone = where(body, "cortical_bone", "marrow", "yellow_marrow")
    shell, inside = depths(body, bone, ["cortical_bone"], ["marrow", "yellow_marrow"])
    assert inside > 1.15 * shell
    assert 0.02 < where(body, "cortical_bone").sum() / (~where(body, "air")).sum() < 0.12


def test_lungs_hold_their_vessels_and_lie_on_both_sides_of_the_heart_above_the_liver(body):
    assert share_beside(where(body, "lung_vessel"), where(body, "lung", "lung_vessel", "visceral_fat")) > 0.9
    x = body.affine[0, 3] + 5.0 * np.argwhere(where(body, "lung"))[:, 0]
    assert 0.35 < (x > centre(body, "heart_blood")[0]).mean() < 0.75
    assert centre(body, "lung")[2] > centre(body, "liver")[2] + 40


def test_the_left_ventricle_is_a_thick_wall_inside_the_heart_on_the_left(body):
    muscle = where(body, "myocardium")
    heart = where(body, "myocardium", "heart_wall", "heart_blood")
    assert 0.1 < muscle.sum() / heart.sum() < 0.45
    assert centre(body, "myocardium")[0] < centre(body, "heart_blood")[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_kidney_has_its_medulla_within_its_cortex_and_its_pelvis_towards_the_spine(body, side):
    parts = [f"kidney_{side}_{n}" for n in ("cortex", "medulla", "pelvis")]
    assert share_beside(where(body, parts[1]), where(body, *parts, "visceral_fat")) > 0.95
    assert abs(centre(body, parts[2])[0]) < abs(centre(body, parts[0])[0])
    assert where(body, parts[0]).sum() > where(body, parts[1]).sum() > where(body, parts[2]).sum()
    assert (centre(body, parts[0])[0] > 0) == (side == "right")


def test_the_brain_has_a_grey_rim_white_inside_and_fluid_in_its_middle(body):
    brain = where(body, "grey_matter", "white_matter", "ventricle", "cerebellum")
    grey, white, fluid = depths(body, brain, ["grey_matter"], ["white_matter"], ["ventricle"])
    assert grey < white < fluid
    assert centre(body, "cerebellum")[1] < centre(body, "white_matter")[1] - 15  # at the back, below
    assert centre(body, "cerebellum")[2] < centre(body, "white_matter")[2] - 15
    assert share_beside(brain, where(body, "csf", "cortical_bone", "marrow", "muscle", "fat")) > 0.9


def test_walls_of_hollow_organs_enclose_what_they_hold(body):
    for organ, inside in (("stomach", ("content", "gas")), ("colon", ("stool", "gas"))):
        held = [f"{organ}_{n}" for n in inside]
        inner, wall = depths(body, where(body, *held, f"{organ}_wall"), held, [f"{organ}_wall"])
        assert inner > 1.3 * wall, organ
    for organ, content, gas in (("stomach", "content", "gas"), ("colon", "stool", "gas")):
        assert centre(body, f"{organ}_{gas}")[1] > centre(body, f"{organ}_{content}")[1], organ


def test_the_bladder_that_can_fill_is_the_one_that_is_painted(body):
    box, field, level = body.bladder
    assert np.array_equal(where(body, "bladder")[box], where(body, "bladder")[box] & (field < level))
    assert where(body, "bladder")[box].sum() == where(body, "bladder").sum()


def test_the_trachea_ends_in_two_bronchi_before_the_oesophagus(body):
    z = body.affine[2, 3] + 5.0 * np.arange(body.tissue.shape[2])
    neck = slice(*np.searchsorted(z, [320, 370]))
    y = body.affine[1, 3] + 5.0 * np.arange(body.tissue.shape[1])
    front, back = (
        (y[None, :, None] * m[:, :, neck]).sum() / m[:, :, neck].sum()
        for m in (where(body, "airway", "cartilage"), where(body, "oesophagus"))
    )
    assert front > back
    chest = slice(*np.searchsorted(z, [240, 275]))
    x = body.affine[0, 3] + 5.0 * np.argwhere(where(body, "airway")[:, :, chest])[:, 0]
    assert (x > 10).any() and (x < -10).any()
