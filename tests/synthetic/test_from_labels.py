"""A user's label map: names, axes, and each rule that fills what the map lacks, on blocks."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images.volume import LabelMap
from umdlib.synthetic import from_labels as filling
from umdlib.synthetic import read_strengths
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.own_cohort import _subject_named

STEP = 2.0


def ball(radius, shape=(40, 40, 40), centre=None):
    """Voxels within `radius` mm of the middle."""
    centre = np.array(shape) / 2 if centre is None else np.array(centre)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm((grid - centre) * STEP, axis=-1) <= radius


def layered(rule, name, radius=30.0):
    """Tissues of a ball of one tissue after a rule, and the ball."""
    organs = np.zeros((40, 40, 40), np.uint8)
    organs[ball(radius)] = CODES[name]
    tissue = organs.copy()
    rule(tissue, organs, STEP, np.random.default_rng(0))
    return tissue, organs > 0


def is_(tissue, *names):
    return np.isin(tissue, [CODES[n] for n in names])


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("liver", "liver"),
        ("kidney_left", "kidney_left_cortex"),
        ("lung_upper_lobe_left", "lung"),
        ("heart_atrium_right", "heart_blood"),
        ("vertebrae_L1", "marrow"),
        ("rib_left_3", "marrow"),
        ("iliac_artery_left", "vessel"),
        ("iliopsoas_right", "muscle"),
        ("gluteus_maximus_left", "muscle"),
        ("adrenal_gland_left", "adrenal"),
        ("duodenum", "bowel_content"),
        ("esophagus", "oesophagus"),
    ],
)
def test_names_of_totalsegmentator_stand_for_their_tissue(name, tissue):
    assert filling.tissue_named(name) == tissue


def test_no_name_stands_for_two_tissues_and_every_tissue_exists():
    names = [n for several in filling.NAMES.values() for n in several.split()]
    assert len(names) == len(set(names)) and set(filling.NAMES) <= set(CODES)
    for name in names:
        whole = [n for n in names if n.endswith("*") and name.startswith(n[:-1])]
        assert len(whole) <= 1, name


@pytest.mark.parametrize("wrong", ["livre", "liver_left", "*", "rib", "LIVER"])
def test_a_name_without_a_rule_is_refused(wrong):
    with pytest.raises(InputError, match=f"Unknown structure '{wrong}'".replace("*", r"\*")):
        filling.tissue_named(wrong)


def test_two_kidneys_under_one_value_become_left_and_right():
    """x runs to the subject's right."""
    tissue = np.zeros((20, 6, 6), np.uint8)
    tissue[3:7] = tissue[13:17] = CODES["kidney_left_cortex"]
    filling._split_kidneys(tissue, tissue > 0)
    assert is_(tissue[3:7], "kidney_left_cortex").all() and is_(tissue[13:17], "kidney_right_cortex").all()


def test_a_map_is_brought_to_cubes_with_room_for_the_arms_and_its_labels_stay_in_place():
    data = np.zeros((20, 10, 8), np.uint8)
    data[5:9, 3:6, 2:5] = 1
    affine = np.diag([3.0, 5.0, 6.0, 1.0])
    affine[:3, 3] = -40, 10, 100
    cubes, grid = filling._to_cubes(data, affine, 2.5)
    assert np.allclose(np.diag(grid)[:3], 2.5) and cubes.shape[0] == int((19 * 3 + 300) / 2.5) + 1
    np.testing.assert_allclose(grid[:3, 3], affine[:3, 3] - [150, 70, 0])  # as much on either side
    where = np.argwhere(cubes).mean(axis=0) * 2.5 + grid[:3, 3]
    np.testing.assert_allclose(where, [-40 + 6.5 * 3, 10 + 4 * 5, 100 + 3 * 6], atol=1.3)
    assert cubes.sum() * 2.5**3 == pytest.approx(36 * 3 * 5 * 6, rel=0.2)


def test_the_sides_of_a_map_are_cut_to_its_labels_and_its_height_is_kept():
    data = np.zeros((9, 9, 9), np.uint8)
    data[2:4, 5:8, 4] = 3
    cut, affine = filling._crop_to_labels(data, np.diag([2.0, 3.0, 4.0, 1.0]))
    assert cut.shape == (2, 3, 9) and affine[:3, 3].tolist() == [4, 15, 0]
    assert cut[..., 4].all()


def test_axes_of_a_map_are_turned_to_right_front_up():
    data = np.zeros((4, 5, 6), np.uint8)
    data[0, 1, 2] = 7
    affine = np.array([[0, -2.0, 0, 50], [3.0, 0, 0, -10], [0, 0, 4.0, 5], [0, 0, 0, 1]])
    turned, straight = filling.canonical(LabelMap(data, affine, "map"))
    assert (np.diag(straight)[:3] > 0).all()
    place = straight @ [*np.argwhere(turned == 7)[0], 1]
    np.testing.assert_allclose(place, affine @ [0, 1, 2, 1])


def test_a_brain_gets_a_cortex_on_its_surface_and_a_skull_around_it():
    tissue, mask = layered(filling._layer_brain, "white_matter")
    assert is_(tissue[ball(30) & ~ball(27.5)], "grey_matter").all()
    assert is_(tissue[ball(7)], "white_matter").all()  # folds are at most 22 mm deep
    assert 0.2 < is_(tissue[ball(24) & ~ball(12)], "grey_matter").mean() < 0.6
    assert is_(tissue[ball(35) & ~mask], "cortical_bone").mean() > 0.95
    assert not tissue[~ball(39)].any()


def test_a_kidney_gets_seven_millimetres_of_cortex_and_a_pelvis_in_its_middle():
    tissue, mask = layered(filling._layer_kidneys, "kidney_left_cortex")
    assert is_(tissue[mask & ~ball(24)], "kidney_left_cortex").all()
    assert is_(tissue[ball(21) & ~ball(18)], "kidney_left_medulla").all()
    assert is_(tissue[ball(13)], "kidney_left_pelvis").all()


def test_a_heart_gets_a_thin_wall_and_a_thick_one_left_in_front_below():
    tissue, mask = layered(filling._layer_heart, "heart_blood")
    muscle, wall = is_(tissue, "myocardium"), is_(tissue, "heart_wall")
    assert is_(tissue[ball(18)], "heart_blood").all()
    assert is_(tissue[mask & ~ball(27.5)], "heart_wall", "myocardium").all() and wall.any()
    x, y, z = (np.argwhere(muscle).mean(axis=0) - 20) * STEP
    assert x < -3 and y > 3 and z < -3


@pytest.mark.parametrize(
    ("organ", "inside", "share"), [("stomach", "stomach_content", 0.25), ("colon", "colon_stool", 0.40)]
)
def test_a_hollow_organ_gets_a_wall_and_gas_in_front(organ, inside, share):
    tissue, mask = layered(filling._layer_hollow, inside)
    gas, content = is_(tissue, f"{organ}_gas"), is_(tissue, inside)
    assert is_(tissue[mask & ~ball(29)], f"{organ}_wall").all()
    assert not is_(tissue[ball(25)], f"{organ}_wall").any()
    assert gas.sum() / (gas | content).sum() == pytest.approx(share, abs=0.06)
    assert np.argwhere(gas)[:, 1].min() > np.argwhere(content)[:, 1].max() - 1


def test_a_bone_gets_a_shell():
    tissue, mask = layered(filling._layer_bones, "marrow")
    assert is_(tissue[mask & ~ball(29)], "cortical_bone").all() and is_(tissue[ball(26)], "marrow").all()


@pytest.mark.parametrize(
    "rule",
    [
        filling._layer_brain,
        filling._layer_kidneys,
        filling._layer_heart,
        filling._layer_hollow,
        filling._layer_bones,
    ],
)
def test_a_rule_leaves_what_it_is_not_about(rule):
    tissue, mask = layered(rule, "spleen")
    assert np.array_equal(tissue, np.where(mask, CODES["spleen"], 0))


def landmarks(heights, width=64):
    """Organs of a tall thin map whose voxels are 4 mm, and its affine."""
    organs = np.zeros((width + 20, 20, 240), np.uint8)
    for name, (low, high) in heights.items():
        organs[10:-10, 5:15, low:high] = CODES[name]
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -160, -30, 500
    return organs, affine


def test_two_landmarks_fit_the_reference_body_and_one_does_not():
    """Bladder's middle and liver's top lie as far apart as in a body of 0.89 times the reference's height."""
    organs, affine = landmarks({"bladder": (10, 21), "liver": (60, 96)})
    frame = filling._fitted_frame(organs, affine)
    z = [500 + 4 * 15, 500 + 4 * 95]  # middle of the bladder, top of the liver
    np.testing.assert_allclose(frame.axes(0, 0, np.array(z))[2], [922, 1282], atol=1e-6)
    one, affine = landmarks({"liver": (60, 96)})
    assert filling._fitted_frame(one, affine) is None
    near, affine = landmarks(
        {"bladder": (10, 21), "liver": (18, 24)}
    )  # too near to each other to tell a scale
    assert filling._fitted_frame(near, affine) is None


def test_the_hull_of_the_organs_holds_them_and_is_flat_between_them():
    organs = np.zeros((60, 60, 40), np.uint8)
    organs[10:16, 10:16, 8:32] = organs[44:50, 44:50, 8:32] = 1
    field = filling._hull_field(organs, 3.0)
    assert field.shape == organs.shape
    assert (field[organs > 0] < 4).all() and field[30, 30, 20] < 0  # between them
    assert field[50, 12, 20] > 20 and field[2, 2, 2] > 10


@pytest.mark.parametrize(
    ("data", "names", "sentence"),
    [
        ([0, 0], None, "Every voxel of map is 0. A labelled body is needed."),
        (
            [0, 14],
            None,
            "Label value 14 in map has no name. Named: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13.",
        ),
        ([0, 3], {2: "liver"}, "Label value 3 in map has no name. Named: 2."),
    ],
)
def test_a_map_that_says_nothing_is_refused_in_words(data, names, sentence):
    label_map = LabelMap(np.array(data, np.uint8).reshape(1, 1, 2), np.eye(4), "map")
    with pytest.raises(InputError) as error:
        filling.anatomy_from_labels(
            label_map, draw_person(np.random.default_rng(0)), names=names, rng=np.random.default_rng(0)
        )
    assert str(error.value) == sentence


def test_strengths_and_the_name_of_a_subject_are_read_from_words():
    assert read_strengths([" noise = 0", "contrast=1e-1"]) == {"noise": 0.0, "contrast": 0.1}
    for wrong in ("noise", "noise=", "noise=much", ""):
        with pytest.raises(InputError, match=f"Invalid factor '{wrong}'. Write NAME=STRENGTH, e.g. noise=0."):
            read_strengths([wrong])
    assert _subject_named("a b-c_1.nii") == "sub-abc1"
    assert _subject_named("ü.nii.gz") == "sub-001"
