"""Prompts as they are written: frames, the image's field, names."""

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume, write_label_map
from umdlib.prompts.prompt import Box
from umdlib.requests.given import Given, prompts_of

AFFINE = np.array([[-2.0, 0, 0, 60], [0, 2.0, 0, -50], [0, 0, 3.0, -40], [0, 0, 0, 1]])
IMAGE = Volume(np.zeros((60, 50, 28), np.float32), AFFINE, "HU", "ct.nii.gz")
GROWN = segmenters.get("region_growing")


def point(given):
    return prompts_of(given, IMAGE, GROWN)[0].clicks[0].xyz_mm


def test_one_point_in_three_frames_is_one_click():
    # voxel (40, 25, 13) lies at 60 - 80, -50 + 50, -40 + 39
    assert point(Given(("40,25,13",), frame="voxel")) == (-20, 0, -1)
    assert point(Given(("-20,0,-1",))) == (-20, 0, -1)
    assert point(Given(("20, 0 -1",), frame="lps")) == (-20, 0, -1)


def test_a_click_outside_says_where_the_image_is_and_in_which_frame_it_would_lie_inside():
    with pytest.raises(
        InputError, match=r"click 57,49.4,27 .*outside ct.nii.gz.*60 x 50 x 28 .*-59 to 61"
    ) as error:
        point(Given(("57,49.4,27",)))
    assert str(error.value).endswith("Did you mean --coordinates lps or voxel?")
    with pytest.raises(InputError, match="outside") as error:
        point(Given(("999,0,0",)))
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "1,2,nan", "1,2,3,4", ""])
def test_three_finite_numbers_make_a_click(text):
    with pytest.raises(InputError, match="Write x,y,z: 3 numbers"):
        point(Given((text,)))


def test_a_box_in_voxels_holds_both_corners_and_one_in_mm_its_faces():
    box = segmenters.get("litemedsam")
    (prompt,) = prompts_of(Given(box="10,10,5,12,11,6", frame="voxel"), IMAGE, box)
    assert prompt.box == Box((35.0, -31.0, -26.5), (41.0, -27.0, -20.5))  # half a voxel around both
    (prompt,) = prompts_of(Given(box="41,-27,-20.5,35,-31,-26.5"), IMAGE, box)
    assert prompt.box == Box((35.0, -31.0, -26.5), (41.0, -27.0, -20.5))
    with pytest.raises(InputError, match="holds no voxel"):
        prompts_of(Given(box="400,0,0,410,9,9"), IMAGE, box)
    with pytest.raises(InputError, match="corners must differ"):
        prompts_of(Given(box="0,0,0,10,0,10"), IMAGE, box)


def test_a_system_that_knows_names_gives_a_prompt_for_each_and_names_the_nearest():
    small = segmenters.get("nnunet_small")
    both = prompts_of(Given(texts=("liver", "spleen", "liver")), IMAGE, small)
    assert [p.structure for p in both] == ["liver", "spleen"]
    assert len(prompts_of(Given(texts=("all",)), IMAGE, small)) == len(small.structures)
    with pytest.raises(InputError, match="'livre'.*Did you mean 'liver'"):
        prompts_of(Given(texts=("livre",)), IMAGE, small)
    with pytest.raises(InputError, match=r"takes names. Give --text: one of aorta, .*or all"):
        prompts_of(Given(), IMAGE, small)


def test_what_a_system_does_not_take_is_said():
    with pytest.raises(InputError, match="takes click"):
        prompts_of(Given(box="0,0,0,9,9,9"), IMAGE, GROWN)
    with pytest.raises(InputError, match="no positive click"):
        prompts_of(Given(negative=("0,0,0",)), IMAGE, segmenters.get("clicknet_both"))
    with pytest.raises(InputError, match="need a prompt each"):
        prompts_of(Given(("0,0,0",), texts=("liver", "spleen")), IMAGE, GROWN)
    with pytest.raises(InputError, match="Unknown coordinates 'ras'"):
        prompts_of(Given(("0,0,0",), frame="ras"), IMAGE, GROWN)


NNINTERACTIVE = segmenters.get("nninteractive")


def test_a_lasso_is_a_file_of_points_in_a_frame_in_one_slice(tmp_path):
    path = tmp_path / "line.txt"
    path.write_text("# around it\n20,20,13\n30 20 13\n\n25,32,13\n")
    (prompt,) = prompts_of(Given(frame="voxel", lasso=str(path)), IMAGE, NNINTERACTIVE)
    assert prompt.lasso == ((20.0, -10.0, -1.0), (0.0, -10.0, -1.0), (10.0, 14.0, -1.0))
    path.write_text("20,20,13\n30,20,13\n25,32,16\n20,30,9\n")
    with pytest.raises(InputError, match=r"line.txt leaves its plane by 7\.0 voxels"):
        prompts_of(Given(frame="voxel", lasso=str(path)), IMAGE, NNINTERACTIVE)
    path.write_text("20,20,13\n30,20,13\n")
    with pytest.raises(InputError, match="holds 2 points"):
        prompts_of(Given(frame="voxel", lasso=str(path)), IMAGE, NNINTERACTIVE)
    path.write_text("20,20,13\n30,20\n25,32,13\n")
    with pytest.raises(InputError, match=r"Invalid line 2 of lasso .*Write x,y,z"):
        prompts_of(Given(frame="voxel", lasso=str(path)), IMAGE, NNINTERACTIVE)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        prompts_of(Given(lasso=str(tmp_path / "none.txt")), IMAGE, NNINTERACTIVE)
    path.write_text("20,20,13\n30,20,13\n25,92,13\n")
    with pytest.raises(InputError, match="line 3 of lasso .*lies outside ct.nii.gz"):
        prompts_of(Given(frame="voxel", lasso=str(path)), IMAGE, NNINTERACTIVE)


def test_an_initial_mask_is_a_file_that_meets_the_image(tmp_path):
    data = np.zeros((20, 20, 20), np.uint8)
    data[5:9, 5:9, 5:9] = 3
    path = tmp_path / "mask.nii.gz"
    write_label_map(path, LabelMap(data, np.diag([4.0, 4.0, 4.0, 1.0])))
    (prompt,) = prompts_of(Given(initial_mask=str(path)), IMAGE, NNINTERACTIVE)
    np.testing.assert_array_equal(prompt.initial.voxels(), data > 0)
    write_label_map(path, LabelMap(data, np.diag([4.0, 4.0, 4.0, 1.0]) + 900 * np.eye(4, k=3)))
    with pytest.raises(InputError, match="mask.nii.gz lies outside ct.nii.gz"):
        prompts_of(Given(initial_mask=str(path)), IMAGE, NNINTERACTIVE)
    write_label_map(path, LabelMap(data * 0, np.eye(4)))
    with pytest.raises(InputError, match="mask.nii.gz is empty"):
        prompts_of(Given(initial_mask=str(path)), IMAGE, NNINTERACTIVE)


def test_a_lasso_is_not_dropped_by_a_system_that_takes_none(tmp_path):
    path = tmp_path / "line.txt"
    path.write_text("20,20,13\n30,20,13\n25,32,13\n")
    with pytest.raises(InputError, match=r"'region_growing' takes no lasso; it takes click, negative click"):
        prompts_of(Given(("25,25,13",), frame="voxel", lasso=str(path)), IMAGE, GROWN)
