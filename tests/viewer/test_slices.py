"""Every picture of the book shows a plane in one way: the same orientation, window, outlines and marks."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume
from umdlib.prompts.prompt import Click
from umdlib.viewer import montage, slices
from umdlib.viewer.slices import Scene, projected, slice_picture, view


@pytest.fixture
def drawn():
    """What draws a scene; its figure is closed afterwards."""
    yield lambda scene, seen: slice_picture(scene, seen)
    plt.close("all")


def _shown(ax):
    """Red channel of the picture, rows from the top."""
    return np.asarray(ax.images[0].get_array())[..., 0].astype(float)


def test_a_flipped_grid_gives_the_same_picture_with_the_right_side_on_the_left(drawn):
    data = np.zeros((6, 5, 7), np.float32)
    data[5, 2, 3] = 5.0
    flipped = np.diag([-2.0, 2, 2, 1])
    flipped[0, 3] = 10.0
    one, two = Volume(data, np.diag([2.0, 2, 2, 1]), "SUV"), Volume(data[::-1], flipped, "SUV")
    pictures = [_shown(drawn(Scene(v), view(v, (5, 4, 6), "coronal"))) for v in (one, two)]
    assert np.array_equal(*pictures)
    row, column = np.unravel_index(pictures[0].argmin(), pictures[0].shape)
    assert column < 2 and abs(row - pictures[0].shape[0] / 2) <= 1  # x = 10 mm, the subject's right


@pytest.mark.parametrize("plane", slices.PLANES)
def test_a_click_in_an_oblique_image_lies_on_its_voxel_and_in_its_outline(plane, drawn):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (12, 5, 3), degrees=True).as_matrix() * (2, 3, 4)
    affine[:3, 3] = (-100, 40, 70)
    data = np.zeros((30, 25, 20), np.float32)
    data[20, 6, 11] = 7
    click = Click(tuple(geometry.to_world(affine, (20, 6, 11))))
    image = Volume(data, affine, "SUV")
    seen = view(image, click.xyz_mm, plane)
    ax = drawn(Scene(image, {"#ff0000": data > 0}, clicks=[click]), seen)
    x, y = (float(v[0]) for v in ax.lines[0].get_data())
    columns, rows = seen.pixels()
    assert _shown(ax)[np.abs(rows - y).argmin(), np.abs(columns - x).argmin()] == 0
    assert abs(ax.collections[0].get_paths()[0].vertices.mean(axis=0) - (x, y)).max() < 1


def test_an_outline_lies_at_its_place_in_the_world_whatever_its_grid(drawn):
    image = Volume(np.zeros((20, 20, 20), np.float32), np.eye(4), "HU")
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:5, 4:7, 5] = 3
    ax = drawn(
        Scene(image, {"#ff0000": LabelMap(reference, np.diag([2.0, 2, 2, 1]))}), view(image, (9, 9, 10))
    )
    assert np.allclose(ax.collections[0].get_paths()[0].vertices.mean(axis=0), (6, 10), atol=0.4)


def test_a_projection_shows_every_depth_and_marks_every_click(drawn):
    data = np.zeros((8, 9, 10), np.float32)
    data[2, 1, 3] = data[6, 7, 8] = 5.0
    flat = projected(Volume(data, np.diag([2.0, 2, 2, 1]), "SUV"), "coronal")
    clicks = [Click((4.0, 2.0, 6.0)), Click((12.0, 14.0, 16.0))]
    ax = drawn(Scene(flat, clicks=clicks), montage.body_view(flat, "coronal", 100.0))
    assert {tuple(float(v[0]) for v in line.get_data()) for line in ax.lines[:8]} == {(4, 6), (12, 16)}
    dark = np.argwhere(_shown(ax) < 200)  # rows from the top, the subject's right on the left
    assert {(r < 10, c < 8) for r, c in dark} == {(True, True), (False, False)}


def test_a_click_beyond_the_edge_does_not_widen_the_picture(drawn):
    image = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4), "HU")
    ax = drawn(Scene(image, clicks=[Click((38, 38, 20))]), view(image, (10, 10, 20), width_mm=12))
    assert (ax.get_xlim(), ax.get_ylim()) == ((16, 4), (4, 16))


def test_the_edge_of_an_image_one_voxel_thin_is_drawn_with_its_outline(drawn):
    image = Volume(np.zeros((400, 400, 1), np.float32), np.diag([3.0, 3, 1, 1]), "HU")
    ax = drawn(
        Scene(image, {"#ff0000": np.indices(image.shape)[0] > 200}), view(image, (600, 600, 0), "coronal")
    )
    assert len(ax.collections) == 1


def test_the_outermost_planes_of_an_oblique_body_are_drawn(drawn):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 35, degrees=True).as_matrix() * 4
    image = Volume(np.zeros((20, 20, 15), np.float32), turn, "HU")
    low, high = slices.field_mm(image)
    for plane, axis in (("coronal", 1), ("sagittal", 0)):
        for at in (low[axis], high[axis]):
            seen = montage.body_view(image, plane, at)
            assert low[axis] <= seen.at_mm[axis] <= high[axis]
            drawn(Scene(image), seen)


def test_the_scale_bar_is_as_long_as_it_says(drawn):
    image = Volume(np.zeros((40, 30, 50), np.float32), np.diag([4.0, 4, 4, 1]), "HU")
    ax = drawn(Scene(image), view(image, (80, 60, 100), "coronal"))
    start, end = ax.lines[-1].get_xdata()
    assert (abs(end - start), ax.texts[-1].get_text()) == (50, "5 cm")


@pytest.mark.parametrize(
    ("plane", "at", "rule"), [("oblique", (1, 1, 1), "plane"), ("axial", (9, 0, 0), "outside")]
)
def test_a_plane_that_is_not_there_is_refused(plane, at, rule):
    with pytest.raises(InputError, match=rule):
        view(Volume(np.zeros((4, 4, 4)), np.eye(4)), at, plane)


def test_a_report_draws_six_panels_in_the_style_of_the_book():
    from umdlib.figures.style import style_sheet

    volume = Volume(np.random.default_rng(0).random((10, 8, 20)).astype(np.float32), np.eye(4), "SUV")
    with mpl.style.context(style_sheet()):
        figure = montage.reports([(volume, volume, "sub-001")])
    assert len(figure.subfigs[0].axes) == 6
    plt.close(figure)
