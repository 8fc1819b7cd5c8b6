"""The viewer's figure, files and pictures, without a browser."""

import base64
import gzip
import json
import re

import nibabel as nib
import numpy as np
import pytest
import viewer_phantom as phantom
from PIL import Image

from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume
from umdlib.prompts.prompt import Click
from umdlib.viewer import overlays, panes, posters
from umdlib.viewer import pair as viewers
from umdlib.viewer import web_volumes as webvolumes
from umdlib.viewer.pair import Pair, Pane, Prediction
from umdlib.viewer.slices import Scene


@pytest.fixture(scope="module")
def pair():
    return phantom.pair()


def config_of(html):
    return json.loads(re.search(r"<script type=.application/json.>(.*?)</script>", html, re.S)[1])


def volume_of(folder, name):
    text = (folder / "volumes" / f"{name}.js").read_text()
    return gzip.decompress(base64.b64decode(re.search(r'="(.*)";', text)[1]))


def test_a_figure_names_every_file_it_needs_and_no_other_is_written(pair, tmp_path):
    config = config_of(pair.write(tmp_path))
    named = {config_pane["image"] for config_pane in config["panes"]}
    for pane in config["panes"]:
        named |= {pane["reference"], *(p["bits"] for p in pane["predictions"])}
    assert {p.stem for p in (tmp_path / "volumes").iterdir()} == named


def test_files_are_the_same_in_every_run_and_written_once(pair, tmp_path):
    first = pair.write(tmp_path)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*.*")}
    assert phantom.pair().write(tmp_path) == first
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*.*")} == before


def test_intensities_come_back_within_half_a_step(pair, tmp_path):
    config = config_of(pair.write(tmp_path))["panes"][1]
    image = nib.Nifti1Image.from_bytes(volume_of(tmp_path, config["image"]))
    pet = pair.panes[1].image
    first = np.round(np.linalg.solve(pet.affine, image.affine[:, 3])[:3]).astype(int)
    cut = tuple(slice(a, a + n) for a, n in zip(first, image.shape, strict=True))
    step = (config["span"][1] - config["span"][0]) / 255
    assert np.abs(image.get_fdata() - np.clip(pet.data[cut], *config["span"])).max() <= step * 0.51


def test_a_difference_keeps_overlapping_masks_apart():
    structures = phantom.STRUCTURES[:2]
    reference = webvolumes.bit_volume([np.array([[[1, 1, 0, 0]]], bool), None], (1, 1, 4))
    found = [np.array([[[1, 0, 1, 0]]], bool), np.array([[[1, 1, 0, 0]]], bool)]
    prediction = webvolumes.bit_volume(found, (1, 1, 4))
    options = {"overlay": "difference", "shape": (1, 1, 4)}
    shown = {}
    for name in (structures[0].name, ""):
        rgba = overlays.overlay_colours(reference, prediction, structures, structure=name, **options)
        names = {overlays.rgb(c): k for k, c in overlays.DIFFERENCE.items()}
        shown[name] = [names.get(tuple(int(v) for v in p[:3]), "") for p in rgba[0, 0]]
    # one structure: the other's mask does not matter; all: voxel 1 misses one and adds the other
    assert shown[structures[0].name] == ["agree", "missed", "added", ""]
    assert shown[""] == ["added", "both", "added", ""]


def test_of_overlapping_structures_the_smaller_lies_on_top():
    masks = [np.array([[[1, 1, 1]]], bool), np.array([[[0, 1, 0]]], bool)]
    bits = webvolumes.bit_volume(masks, (1, 1, 3))
    structures = phantom.STRUCTURES[:2]
    rgba = overlays.overlay_colours(
        bits, None, structures, overlay="reference", structure="", shape=(1, 1, 3)
    )
    wanted = [overlays.rgb(structures[k].colour) for k in (0, 1, 0)]
    assert [tuple(int(v) for v in p[:3]) for p in rgba[0, 0]] == wanted


def test_the_page_grid_keeps_everything_in_its_place():
    affine = np.array([[0, -2.0, 0, 10], [3, 0, 0, -4], [0, 0, 5, 7], [0, 0, 0, 1]])
    small = webvolumes.Reduction((2, 3, 1), (1.0, 1.0, 1.0)).affine(affine)
    # block (1, 1, 1) of voxels 2-3, 3-5, 1: its centre is the mean of theirs
    inside = [affine @ [i, j, 1, 1] for i in (2, 3) for j in (3, 4, 5)]
    np.testing.assert_allclose(small @ [1, 1, 1, 1], np.mean(inside, axis=0))


def test_a_ramp_stays_a_ramp_in_world_coordinates():
    affine = np.diag([1.5, 3.0, 0.9, 1.0])
    i, j, k = np.indices((20, 12, 33))
    ramp = 1.5 * i + 10 * 3.0 * j - 0.9 * k
    reduction = webvolumes.reduction((1.5, 3.0, 0.9), 4.0)
    small, grid = reduction.mean(ramp), reduction.affine(affine)
    x, y, z = (grid[a, a] * n + grid[a, 3] for a, n in enumerate(np.indices(small.shape)))
    inner = (slice(0, -1),) * 3  # a last block may be partial
    np.testing.assert_allclose(small[inner], (x + 10 * y - z)[inner], rtol=1e-4, atol=1e-3)


def test_a_thin_structure_does_not_vanish_on_the_page_grid():
    mask = np.zeros((8, 8, 8), bool)
    mask[3, 3, :] = True
    small = webvolumes.Reduction((4, 4, 1), (1.0, 1.0, 1.0)).mask(mask)
    assert small.sum() == 8
    assert not webvolumes.reduction((1, 1, 1), 4.0).mask(np.zeros((4, 4, 4), bool)).any()


def test_a_mask_is_reduced_as_the_whole_volume_would_be():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 37, 30), bool)
    mask[5:19, 8:30, 3:30] = rng.random((14, 22, 27)) < 0.6
    for spacing in ((0.98, 3.0, 5.2), (1.5, 2.5, 4.0), (4.0, 1.3, 2.0)):
        reduction = webvolumes.reduction(spacing, 4.0)
        np.testing.assert_array_equal(reduction.mask(mask), reduction.mean(mask) >= 0.5)


def test_air_around_the_body_is_smoothed_away_and_lungs_are_kept():
    data = np.full((12, 12, 4), -990.0, np.float32)
    data[3:9, 3:9] = 40.0
    data[5:7, 5:7] = -850.0  # a lung, closed within each axial slice
    clean = webvolumes.without_air(data, np.eye(4), "HU")
    assert set(np.unique(clean)) == {-1024.0, -850.0, 40.0}
    assert webvolumes.without_air(data, np.eye(4), "SUV") is data


def test_panes_are_cut_to_the_field_that_both_images_share(pair):
    wide, narrow = pair.panes[1].image, pair.panes[0].image
    low, high = webvolumes.common_field([wide, narrow])
    corners = np.array([[0, 0, 0], np.asarray(narrow.shape) - 1])
    world = np.array([narrow.affine @ [*c, 1] for c in corners])[:, :3]
    assert (low >= world.min(axis=0) - 1e-6).all()
    assert (high <= world.max(axis=0) + 1e-6).all()


def test_fields_that_do_not_meet_fall_back_to_the_first():
    image = Volume(np.ones((4, 4, 4), np.float32), np.eye(4), "SUV")
    far = np.eye(4)
    far[:3, 3] = 100
    low, high = webvolumes.common_field([image, Volume(image.data, far, "SUV")])
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [3, 3, 3])


def test_a_poster_is_light_on_a_site_and_loads_when_it_is_near(pair, tmp_path):
    figure = pair.write(tmp_path)
    (file,) = (tmp_path / "posters").iterdir()
    shown = np.asarray(Image.open(file).convert("RGB")).astype(int)
    exact = np.asarray(pair._built.poster).astype(int)
    assert file.suffix == ".webp" and np.abs(shown - exact).mean() < 3
    assert file.stat().st_size < len(posters.png(pair._built.poster)) / 2
    assert f'{file.name}" alt=' in figure and 'loading="lazy"' in figure
    assert f'width="{exact.shape[1]}" height="{exact.shape[0]}"' in figure


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_poster_shows_the_right_side_of_the_body_on_the_left(sign):
    data = np.full((10, 10, 10), -1000.0, np.float32)
    data[8] = 1000.0  # index 8 lies at x = +3.5 mm (the subject's right) or -3.5 mm
    affine = np.diag([sign, 1.0, 1.0, 1.0])
    affine[0, 3] = -sign * 4.5
    still = posters.Still("CT", Scene(Volume(data, affine, "HU")))
    page = np.asarray(posters.poster([still], (0, 4, 4)).convert("L"))
    coronal = page[100:120, :360]  # rows without letters
    left, right = coronal[:, :180].mean(), coronal[:, 180:].mean()
    assert (left > right) == (sign > 0)


def test_a_click_is_marked_only_near_the_slice():
    affine, data = np.eye(4), np.zeros((20, 20, 20), np.float32)

    def picture(clicks):
        still = posters.Still("CT", Scene(Volume(data, affine, "HU"), clicks=clicks))
        return posters.poster([still], (10, 10, 10))

    assert picture([Click((10.0, 10.0, 10.0))]) != picture([])
    assert picture([Click((10.0, 10.0, 10.0))]) != picture([Click((10.0, 10.0, 10.0), False)])
    assert picture([Click((4.0, 15.0, 4.0))]) == picture([])


def test_without_a_folder_the_figure_is_one_self_contained_frame(pair, monkeypatch):
    monkeypatch.delenv("UMD_STATIC", raising=False)
    bundle = pair._repr_mimebundle_()
    assert bundle["text/html"].startswith("<iframe")
    assert "UMD_ENGINE" in bundle["text/html"]
    assert "image/png" not in bundle


def test_with_a_folder_the_figure_is_light_and_has_a_picture_for_paper(pair, monkeypatch, tmp_path):
    monkeypatch.setenv("UMD_STATIC", str(tmp_path))
    bundle = pair._repr_mimebundle_()
    assert len(bundle["text/html"]) < 8_000
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_the_description_says_what_is_shown(pair):
    assert pair.alt == (
        "Phantom: coronal and axial slices of CT and PET through one point, with reference of "
        "Liver; radiological convention."
    )


def test_an_undefined_score_is_null_and_not_zero(tmp_path):
    pane = phantom.pane("CT", segmenters=(), steps=0)
    mask = np.zeros(pane.image.shape, bool)
    prediction = Prediction("x", {"liver": mask}, dice={"liver": float("nan")})
    pane = Pane("CT", pane.image, pane.reference, (prediction,))
    html = Pair((pane,), phantom.STRUCTURES, spacing_mm=12.0).write(tmp_path)
    assert set(config_of(html)["panes"][0]["predictions"][0]["dice"]) == {None}


def test_text_from_outside_is_escaped(tmp_path):
    pane = phantom.pane("CT", segmenters=(), steps=0)
    html = Pair((pane,), phantom.STRUCTURES, title="</script><b>", spacing_mm=12.0).write(tmp_path)
    assert "</script><b>" not in html


def test_installing_copies_the_engine_with_licence_and_provenance(tmp_path):
    files = viewers.install(tmp_path / "_static", tmp_path / "umd")
    names = {p.relative_to(tmp_path).as_posix() for p in files}
    assert names == {
        "_static/umd-viewer.js",
        "_static/umd-viewer.css",
        "umd/vendor/niivue-0.69.0.umd.js",
        "umd/vendor/niivue-0.69.0.LICENSE.txt",
        "umd/vendor/niivue-0.69.0.json",
        "umd/umd-answers.js",
        "umd/umd-surfaces.js",
        "umd/vendor/onnxruntime-web-1.30.0.js",
        "umd/vendor/onnxruntime-web-1.30.0.LICENSE.txt",
        "umd/vendor/onnxruntime-web-1.30.0.notices.txt.gz",
        "umd/vendor/onnxruntime-web-1.30.0.json",
    }
    before = {p: p.stat().st_mtime_ns for p in files}
    viewers.install(tmp_path / "_static", tmp_path / "umd")
    assert {p: p.stat().st_mtime_ns for p in files} == before
    assert sum(p.stat().st_size for p in (tmp_path / "_static").iterdir()) < 90_000


def test_a_mask_on_another_grid_is_refused():
    pane = phantom.pane("CT", segmenters=(), steps=0)
    prediction = Prediction("x", {"liver": np.zeros((2, 2, 2), bool)})
    with pytest.raises(InputError, match=r"Shape \(2, 2, 2\) of 'liver' by 'x'"):
        Pair((Pane("CT", pane.image, None, (prediction,)),), phantom.STRUCTURES)


def test_a_reference_on_another_grid_is_refused():
    image = Volume(np.ones((4, 4, 4), np.float32), np.eye(4), "SUV", "pet.nii")
    with pytest.raises(InputError, match=r"differs from \(4, 4, 4\) of pet.nii"):
        panes.check_pane(Pane("PET", image, LabelMap(np.zeros((3, 4, 4), np.uint8), np.eye(4))), ())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"structure": "livr"}, "Did you mean 'liver'"),
        ({"overlay": "diff"}, "Did you mean 'difference'"),
        ({"segmenter": "regio"}, "Did you mean 'region'"),
    ],
)
def test_a_misspelt_option_names_the_nearest(option, message):
    with pytest.raises(InputError, match=message):
        phantom.pair(**option)


def test_more_structures_than_bits_are_refused():
    with pytest.raises(InputError, match="33 structures"):
        webvolumes.bit_type(33)


@pytest.mark.parametrize(("spacing_mm", "n"), [(1.5, 25), (0.88, 97), (3.0, 7), (1.02, 33)])
def test_a_mask_in_the_last_slice_stays_on_the_page(spacing_mm, n):
    grid = webvolumes.reduction((spacing_mm,) * 3, 4.0)
    mask = np.zeros((n, n, n), bool)
    mask[-1, -1, -1] = True
    assert grid.mask(mask)[-1, -1, -1]


def test_pet_lies_on_the_structural_image_at_its_place_in_the_world():
    affine = np.eye(4)
    ct = posters.Still("CT", Scene(Volume(np.zeros((40, 40, 40)), affine, "HU"), window=(-1, 1)))
    hot = np.zeros((20, 20, 20), np.float32)
    hot[15, 10, 10] = 20.0  # at (30, 20, 20) mm: the subject's right, left in the picture
    pet = posters.Still("PET", Scene(Volume(hot, np.diag([2.0, 2, 2, 1]), "SUV")))
    page = np.asarray(posters.poster([ct, pet], (20, 20, 20))).astype(int)
    warm = np.argwhere(page[..., 0] - page[..., 2] > 60)
    start = 2 * (360 + posters.GAP)  # after the coronal and the axial CT
    assert len(warm) and (warm[:, 1] >= start).all() and (warm[:, 1] < start + 360).all()
    assert abs(warm[:, 1].mean() - start - 360 * 10 / 40) < 10
    assert abs(warm[:, 0].mean() - 180) < 10


def test_every_picture_has_one_window_for_pet(tmp_path):
    built = phantom.pair(structure="")._built.config
    assert built["panes"][1]["window"] == [0.0, 5.0]
    assert built["panes"][0]["suited"]["lung"] == (-1000.0, 150.0)


def test_images_finer_than_4_mm_have_a_crop_of_2_mm_around_the_structure_shown():
    pair = Pair((phantom.fine(1.0),), phantom.STRUCTURES, structure=phantom.STRUCTURES[0].name)
    config = pair._built.config
    (crop,) = config["details"]
    assert crop["title"] == f"CT, 2 mm around the {config['details_of']}"
    assert config["details_of"] == phantom.STRUCTURES[0].title.lower()
    shape, affine = phantom.page_grid(pair._built.volumes[crop["image"]])
    assert np.allclose(np.diag(affine), 2.0)
    assert all(30 <= n <= 35 for n in shape)  # 24 mm and 20 mm on each side: 64 mm
    bits = np.frombuffer(gzip.decompress(base64.b64decode(pair._built.volumes[crop["reference"]])), np.uint8)
    assert bits.astype(bool).sum() * 8 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)
    assert not {crop["image"], crop["reference"]} & set(config["first"])  # loaded when it is asked for


def test_other_viewers_have_no_crop():
    assert "details" not in Pair((phantom.fine(4.0),), phantom.STRUCTURES, structure="liver")._built.config
    assert (
        "details" not in Pair((phantom.fine(1.0),), phantom.STRUCTURES)._built.config
    )  # no structure is chosen


def test_a_viewer_of_three_images_is_refused(pair):
    with pytest.raises(InputError, match="3 panes in a viewer"):
        Pair([*pair.panes, pair.panes[0]], pair.structures)
