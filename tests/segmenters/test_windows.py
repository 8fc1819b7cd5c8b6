"""Cubes that prompts open: no click vanishes, and what a perfect network reaches."""

import numpy as np
import pytest

from umdlib import prompts
from umdlib.errors import InputError
from umdlib.images import geometry, grids
from umdlib.images.masks import bounding_boxes
from umdlib.images.volume import LabelMap, Volume, read_label_map
from umdlib.labels import Structure
from umdlib.prompts.prompt import Click, Cube, Prompt
from umdlib.segmenters.ceilings import ceiling_table
from umdlib.segmenters.preparation import windows
from umdlib.segmenters.registry import get

ORGAN = Structure(1, "organ", "Organ", "Or", "#000000")
MM = 6.0  # coarse, so that an organ of 280 mm is 47 voxels
AFFINE = np.diag([-MM, MM, MM, 1.0])


def organ(size_mm=(120, 140, 280)) -> LabelMap:
    """An ellipsoid in a body of 300 x 300 x 420 mm."""
    centres = np.indices((50, 50, 70)).reshape(3, -1).T * MM - np.array([150, 150, 210]) + MM / 2
    inside = ((centres / (np.array(size_mm) / 2)) ** 2).sum(axis=1) < 1
    return LabelMap(inside.reshape(50, 50, 70).astype(np.uint8), AFFINE)


def dice(a, b) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def perfect(reference: LabelMap, image: Volume, prompt: Prompt, *, size=32, spacing=MM) -> np.ndarray:
    """The mask of a system that is right wherever it looks."""
    grid = grids.isotropic_ras(image, spacing)

    def answer(start, clicks):
        part = grids.window(grid, np.array(start), size)
        assert clicks
        assert any(sign for _, sign in clicks)
        inside = geometry.resample(reference.data, AFFINE, part.affine, part.shape, order=0)
        return inside.astype(bool)

    found = windows.predicted(image, grid, prompt, size, answer)
    return grids.push(found.mask, found.grid(grid), image)


def curve(protocol: str, clicks=5, seed=0, reference=None) -> list[float]:
    """DSC of the perfect system after one to `clicks` clicks."""
    reference = reference or organ()
    image = Volume(np.zeros(reference.shape, np.float32), AFFINE)
    wanted, rng, found = reference.data == 1, np.random.default_rng(seed), []
    prompt = prompts.pair_prompts({"CT": reference}, [ORGAN], protocol=protocol, seed=seed)["organ"]
    for _ in range(clicks):
        mask = perfect(reference, image, prompt)
        found.append(dice(mask, wanted))
        click = prompts.corrective_click(wanted, mask, AFFINE, protocol=protocol, rng=rng, cube=prompt.cube)
        if click is None:
            break
        prompt = prompt.with_click(click)
    return found


@pytest.mark.parametrize("protocol", ["centre", "official_random", "ritm"])
def test_every_click_improves_an_organ_that_is_larger_than_the_cube(protocol):
    for seed in range(3):
        found = curve(protocol, seed=seed)
        assert found[0] < 0.95
        assert all(np.diff(found) > 0)
        assert found[-1] > 0.97


def test_the_official_crop_has_a_ceiling_that_no_click_lifts_and_the_rest_is_told():
    """All errors that are left lie outside the cube, where the script draws no click."""
    reference = organ()
    (found,) = curve("official_crop_192mm")
    prompt = prompts.pair_prompts({"CT": reference}, [ORGAN], protocol="official_crop_192mm")["organ"]
    image = Volume(np.zeros(reference.shape, np.float32), AFFINE)
    wanted = reference.data == 1
    seen = windows.reach(image, prompt, wanted, spacing_mm=MM, size=32)
    share = (wanted & seen).sum() / wanted.sum()
    assert found == pytest.approx(2 * share / (1 + share), abs=1e-3)
    # an ellipsoid of half height 140 mm cut at 96 mm: 3/2 h - 1/2 h^3 with h = 96 / 140
    assert share == pytest.approx(1.5 * 96 / 140 - 0.5 * (96 / 140) ** 3, abs=0.01)


def test_windows_that_slide_take_the_whole_organ_from_one_click():
    for seed in range(3):
        assert curve("sliding_192mm", clicks=1, seed=seed)[0] > 0.995


def test_reach_follows_the_windows_that_slide_and_stops_where_the_mask_ends():
    reference = organ((120, 140, 280))
    image = Volume(np.zeros(reference.shape, np.float32), AFFINE)
    prompt = prompts.pair_prompts({"CT": reference}, [ORGAN], protocol="sliding_192mm")["organ"]
    wanted = reference.data == 1
    seen = windows.reach(image, prompt, wanted, spacing_mm=MM, size=32)
    assert seen[wanted].all()
    assert not seen.all()


def test_a_negative_click_is_given_to_every_cube_that_holds_it():
    image = Volume(np.zeros((40, 40, 90), np.float32), np.eye(4))
    grid = grids.isotropic_ras(image, 1.0)
    clicks = (Click((20, 20, 20)), Click((20, 20, 45)), Click((20, 20, 32), positive=False))
    given = {}

    def answer(start, inside):
        given[start] = inside
        return np.zeros((32, 32, 32), bool)

    windows.predicted(image, grid, Prompt("x", clicks), 32, answer)
    assert list(given) == [(4, 4, 4), (4, 4, 29)]
    assert given[4, 4, 4] == [((16, 16, 16), True), ((16, 16, 28), False)]
    assert given[4, 4, 29] == [((16, 16, 16), True), ((16, 16, 3), False)]


def test_a_voxel_in_two_cubes_is_that_of_the_nearer_centre():
    image = Volume(np.zeros((40, 40, 90), np.float32), np.eye(4))
    grid = grids.isotropic_ras(image, 1.0)
    clicks = (Click((20, 20, 20)), Click((20, 20, 40)))

    def answer(start, inside):
        return np.full((32, 32, 32), start[2] == 4)

    found = windows.predicted(image, grid, Prompt("x", clicks), 32, answer)
    mask = grids.push(found.mask, found.grid(grid), image)
    assert found.starts == ((4, 4, 4), (4, 4, 24))
    np.testing.assert_array_equal(np.flatnonzero(mask[20, 20]), np.arange(4, 30))


def test_a_click_at_the_face_of_a_disclosed_cube_counts_on_another_grid():
    image = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))
    grid = grids.isotropic_ras(image, 1.0)
    cube = Cube(16.0, (19.9, 20.4, 20.4))  # rounds to other voxels
    given = []

    def answer(start, inside):
        given.append(inside)
        return np.zeros((16, 16, 16), bool)

    face = Click((27.9, 20.0, 20.0))
    windows.predicted(image, grid, Prompt("x", (face,), cube=cube), 16, answer)
    assert len(given) == 1
    assert given[0][0][0][0] == 15


def test_a_click_where_a_cube_reaches_beyond_the_image_is_taken():
    """SAM-Med3D's script draws clicks from the padding of its cube."""
    image = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))
    grid = grids.isotropic_ras(image, 1.0)
    clicks = (Click((20, 20, 36)), Click((20, 20, 42), positive=False))
    given = []

    def answer(start, inside):
        given.append(inside)
        return np.zeros((16, 16, 16), bool)

    windows.predicted(image, grid, Prompt("x", clicks), 16, answer)
    assert given == [[((8, 8, 8), True), ((8, 8, 14), False)]]


def test_a_click_outside_the_image_is_refused():
    image = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))
    clicks = (Click((20, 20, 20)), Click((20, 20, 80)))
    with pytest.raises(InputError, match="lies outside"):
        windows.predicted(image, grids.isotropic_ras(image, 1.0), Prompt("x", clicks), 16, None)
    with pytest.raises(InputError, match="no positive click"):
        windows.predicted(image, grids.isotropic_ras(image, 1.0), Prompt("x"), 16, None)


class Echo:
    """A network of SAM-Med3D's form that finds what is brighter than the mean of its cube."""

    def __init__(self):
        import torch

        self.prompt_encoder, self.torch, self.encoded, self.decoded = self.Prompts(), torch, 0, 0

    class Prompts:
        """Clicks are taken and not used."""

        def __call__(self, points, boxes, masks):
            return points[0], masks

        def get_dense_pe(self):
            return None

    def to(self, device):
        return self

    def eval(self):
        return self

    def image_encoder(self, cubes):
        self.encoded += 1
        return self.torch.nn.functional.avg_pool3d((cubes > 0).float() - 0.5, 4)

    def mask_decoder(self, image_embeddings, **rest):
        self.decoded += 1
        return image_embeddings, None


def test_sam_med3d_gains_with_clicks_on_an_organ_of_280_mm():
    pytest.importorskip("torch")
    from umdlib.segmenters.systems import sam_med3d

    reference = organ()
    # the organ is bright, the body dim, and the network right wherever it looks
    image = Volume(np.where(reference.data, 100, 50).astype(np.float32), AFFINE)
    net = Echo()
    segment = sam_med3d.SamMed3D(net, "cpu", name="echo")
    wanted, found = reference.data == 1, []
    prompt = prompts.pair_prompts({"CT": reference}, [ORGAN])["organ"]
    for _ in range(3):
        found.append(dice(mask := segment(image, prompt), wanted))
        prompt = prompt.with_click(prompts.corrective_click(wanted, mask, AFFINE))
    assert 0.85 < found[0] < 0.93
    assert all(np.diff(found) > 0.01)
    assert net.encoded == 3  # a cube each
    assert net.decoded <= 5  # no click is decoded twice in a cube


def real_organ(shared, value: int) -> LabelMap:
    """An organ of a real whole-body map, every second voxel along each axis."""
    path = sorted((shared / "real" / "organ_maps").glob("fdg_*.nii.gz"))[0]
    whole = read_label_map(path)
    affine = whole.affine @ np.diag([2, 2, 2, 1])
    return LabelMap((whole.data[::2, ::2, ::2] == value).astype(np.uint8), affine)


@pytest.mark.parametrize(("value", "least"), [(3, 0.97), (5, 0.80)])  # liver, lungs
def test_ceilings_of_real_organs_are_those_of_a_box_of_voxels(shared, value, least):
    """The official cube is 96 mm either side of the middle of the bounding box, to half a voxel."""
    reference = real_organ(shared, value)
    (box,) = bounding_boxes(reference.data, [1])
    half = 96 / np.array(reference.spacing_mm)
    middle = np.array([(b.start + b.stop - 1) / 2 for b in box])
    cut = [slice(max(int(np.ceil(m - h)), 0), int(m + h) + 1) for m, h in zip(middle, half, strict=True)]
    share = reference.data[tuple(cut)].sum() / reference.data.sum()
    table = ceiling_table(
        {"x": reference}, [ORGAN], get("sam_med3d_turbo"), ["official_crop_192mm", "centre"]
    )
    official, centre = table["ceiling"]
    assert official == pytest.approx(2 * share / (1 + share), abs=0.02)
    assert official > least
    assert centre < official


def test_clicks_on_real_lungs_improve_a_perfect_network(shared):
    reference = real_organ(shared, 5)
    image = Volume(np.broadcast_to(np.float32(0), reference.shape), reference.affine)
    wanted = reference.data == 1
    prompt = prompts.pair_prompts({"PET": reference}, [ORGAN])["organ"]
    found = []
    for _ in range(3):
        seen = windows.reach(image, prompt, wanted, spacing_mm=1.5, size=128)
        found.append(dice(seen & wanted, wanted))
        prompt = prompt.with_click(prompts.corrective_click(wanted, seen & wanted, reference.affine))
    assert all(np.diff(found) > 0.02)
