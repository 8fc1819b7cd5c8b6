"""Every segmenter keeps the contract: one parametrised test for all, and the registry's own."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.files import read_tsv
from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Box, Click, Prompt, box_of
from umdlib.segmenters.contract import Segmenter
from umdlib.segmenters.preparation import growing, network
from umdlib.tables import titles

# anisotropic, one axis flipped, axes permuted, far from the origin
AFFINE = np.array([[0, -3.0, 0, 90], [4.0, 0, 0, -150], [0, 0, 5.0, 400], [0, 0, 0, 1]])
SHAPE = (36, 40, 22)
CENTRE = (17, 21, 11)
LEVELS = {"HU": (60.0, -90.0, 10.0), "SUV": (8.0, 0.6, 0.1), "a.u.": (300.0, 80.0, 15.0)}


def phantom(unit="HU", seed=0, half_mm=(20, 24, 20)) -> tuple[Volume, np.ndarray]:
    """A bright ellipsoid in a dim body, and its mask."""
    ijk = np.indices(SHAPE).reshape(3, -1).T
    mm = (ijk - CENTRE) * geometry.spacing_mm(AFFINE)
    inside = (((mm / half_mm) ** 2).sum(axis=1) <= 1).reshape(SHAPE)
    bright, dim, noise = LEVELS[unit]
    rng = np.random.default_rng(seed)
    data = np.where(inside, bright, dim) + rng.normal(0, noise, SHAPE)
    if unit != "HU":
        data = np.maximum(data, 0)
    return Volume(data.astype(np.float32), AFFINE, unit, "phantom"), inside


def world(ijk) -> tuple[float, float, float]:
    return tuple(geometry.to_world(AFFINE, ijk).tolist())


def prompt_for(record: Segmenter, centre=CENTRE, half=(6, 6, 0)) -> Prompt:
    """A centre click, a point of its slice where the system takes those; words that any system knows."""
    first = 1 if "slice_click" in record.prompts else None
    boxes = (box_of(AFFINE, np.array(centre) - half, np.array(centre) + half),)
    boxes = boxes if record.prompts & {"box", "slice_box"} and not first else ()
    name = "liver" if not record.structures or "liver" in record.structures else record.structures[0]
    return Prompt(name, (Click(world(centre)),), text=name, first_clicks=first, boxes=boxes)


def twin(name: str):
    """The tiny twin of a segmenter, or the segmenter itself; skipped where packages are missing."""
    record = segmenters.get(name)
    for package in record.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if record.external or (record.tiny is None and record.weights):
        pytest.skip(f"{name} has no tiny twin")
    segment = record.tiny() if record.tiny else record.load("cpu")
    return record, asked(record, segment)


def asked(record: Segmenter, segment):
    """The checked call; one that sees two images is given a PET image beside whatever it is asked about."""
    call = segmenters.checked(record, segment)
    if not record.partner:
        return call

    def beside_pet(image, prompt, previous=None):
        partner = Volume(np.abs(image.data[::-1]) / 50, image.affine, "SUV", "partner")
        return call(image, prompt, previous, partner)

    return beside_pet


@pytest.mark.parametrize("name", segmenters.names())
def test_contract(name):
    record, segment = twin(name)
    image, _ = phantom("HU", half_mm=(12, 14, 6))  # three slices: 2D systems stay quick
    before = image.data.copy()
    prompt = prompt_for(record)
    first = segment(image, prompt)
    assert first.dtype == bool
    assert first.shape == image.shape
    np.testing.assert_array_equal(image.data, before, err_msg="the image was changed in place")
    again = segment(Volume(image.data.copy(), AFFINE, "HU"), prompt)
    if record.deterministic:
        np.testing.assert_array_equal(first, again)
    if "negative_click" in record.prompts:
        corrected = prompt.with_click(Click(world((17, 34, 11)), positive=False))
        assert segment(image, corrected, first).dtype == bool
    if "scribble" in record.prompts:
        line = tuple(world((i, 21, 11)) for i in range(12, 23))
        drawn = segment(image, replace(prompt, clicks=(), scribble=line))
        assert not np.array_equal(drawn, first)
        np.testing.assert_array_equal(segment(image, prompt), first, err_msg="the line was kept")
        np.testing.assert_array_equal(segment(image, replace(prompt, clicks=(), scribble=line)), drawn)


def _set_global_seeds(seed: int) -> None:
    """Every generator that a package may draw from without being asked."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what packages draw from
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@pytest.mark.parametrize("name", segmenters.names())
def test_a_mask_does_not_depend_on_global_seeds_and_leaves_them_alone(name):
    image, _ = phantom("HU", half_mm=(12, 14, 6))
    masks = []
    for seed in (1, 2):
        record, segment = twin(name)
        _set_global_seeds(seed)
        masks.append(segment(image, prompt_for(record)))
        drawn = random.random(), np.random.random()  # noqa: NPY002
        _set_global_seeds(seed)
        again = random.random(), np.random.random()  # noqa: NPY002
        assert drawn == again, "the call used a global generator"
    assert record.deterministic
    np.testing.assert_array_equal(*masks)


def test_autozoom_refines_the_same_patches_whatever_the_seed_and_what_was_asked_before():
    """A network whose answer depends on its patch, so that other patches give another mask."""
    pytest.importorskip("nnInteractive")
    import torch
    from scipy import ndimage

    from umdlib.segmenters.preparation.nnunet import tiny_plans
    from umdlib.segmenters.systems import nninteractive

    class AboveThePatch(torch.nn.Module):
        def forward(self, x):
            level = x[:, :1] - x[:, :1].mean((2, 3, 4), keepdim=True)
            return torch.cat([-level, level], 1)

    data = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 100, (66, 62, 58)), 2)
    image = Volume(data.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]), "HU", "noise")
    plans = tiny_plans()
    plans["configurations"]["tiny"]["patch_size"] = [64] * 3
    masks = []
    for seed, before in ((1, ()), (2, (Click((40.0, 40.0, 40.0)),))):
        session = nninteractive.random_session(plans, autozoom=True)
        session.network = AboveThePatch()
        segment = nninteractive.NnInteractive(session)
        np.random.seed(seed)  # noqa: NPY002 - what packages draw from
        if before:
            segment(image, Prompt("spleen", before))
        masks.append(segment(image, Prompt("liver", (Click((60.0, 64.0, 64.0)),))))
    assert 0 < masks[0].sum() < masks[0].size
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("name", segmenters.names())
def test_record_is_complete(name):
    record = segmenters.get(name)
    assert record.name == name
    assert record.summary.endswith(".")
    for fact in ("title", "paper", "code_licence", "trained_on", "native", "grid"):
        assert getattr(record, fact), fact
    assert record.prompts <= set(segmenters.KINDS)
    for item in record.weights:
        assert item.where
        assert item.licence


@pytest.mark.parametrize("unit", ["HU", "SUV", "a.u."])
@pytest.mark.parametrize("name", ["threshold", "region_growing"])
def test_a_clear_ellipsoid_is_found(name, unit):
    image, truth = phantom(unit)
    mask = segmenters.load(name)(image, Prompt("liver", (Click(world(CENTRE)),)))
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.88


def test_threshold_takes_exactly_what_exceeds_41_percent_of_the_peak():
    data = np.zeros((9, 9, 9), np.float32)
    data[4, 4, 2:7] = (4.0, 4.2, 10.0, 4.2, 4.0)  # 4.1 is 41 %
    image = Volume(data, np.diag([4.0, 4.0, 4.0, 1.0]), "SUV")
    mask = segmenters.load("threshold")(image, Prompt("lesion", (Click((16.0, 16.0, 16.0)),)))
    assert np.argwhere(mask).tolist() == [[4, 4, 3], [4, 4, 4], [4, 4, 5]]


def test_a_negative_click_cuts_what_is_nearer_to_it():
    image, _ = phantom("SUV")
    clicks = (Click(world(CENTRE)), Click(world((17, 27, 11)), positive=False))
    for name in ("threshold", "region_growing"):
        segment = segmenters.load(name)
        mask = segment(image, Prompt("liver", clicks))
        assert mask[CENTRE]
        assert not mask[17, 27, 11]
        assert mask.sum() < 0.8 * segment(image, Prompt("liver", clicks[:1])).sum()


def test_regions_of_earlier_clicks_are_kept_and_change_nothing(monkeypatch):
    grown = []
    grow = growing.grow
    monkeypatch.setattr(growing, "grow", lambda *a: grown.append(a[1]) or grow(*a))
    image, _ = phantom("SUV")
    places = [CENTRE, (12, 21, 11), (22, 24, 10), (17, 27, 11)]
    clicks = tuple(Click(world(p), positive=p != places[3]) for p in places)
    kept, counts = segmenters.load("region_growing"), []
    for n in (1, 2, 3, 4):
        mask = kept(image, Prompt("liver", clicks[:n]))
        counts.append(len(grown))
        anew = segmenters.load("region_growing")(image, Prompt("liver", clicks[:n]))
        assert (mask == anew).all()
        grown.clear()
    assert counts == [1, 1, 1, 3]  # a negative click changes where all of them may grow
    other = replace(image, data=image.data + 1)
    kept(other, Prompt("liver", clicks[:1]))
    assert len(grown) == 1


def test_a_click_outside_the_image_is_refused_with_both_named():
    image, _ = phantom()
    with pytest.raises(InputError, match=r"click at \(9999.0, 0.0, 0.0\) mm lies outside phantom"):
        segmenters.load("threshold")(image, Prompt("liver", (Click((9999.0, 0.0, 0.0)),)))


def test_blocks_of_fine_voxels_come_back_on_the_image_grid():
    fine = Volume(np.zeros((61, 60, 31), np.float32), np.diag([1.0, 1.0, 2.0, 1.0]), "SUV")
    fine.data[20:40, 20:40, 10:20] = 5
    mask = segmenters.load("threshold")(fine, Prompt("x", (Click((30.0, 30.0, 30.0)),)))
    np.testing.assert_array_equal(mask, fine.data > 0)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'threshold'"):
        segmenters.get("treshold")


def test_a_prompt_of_no_usable_kind_is_refused():
    image, _ = phantom()
    with pytest.raises(InputError, match=r"takes click or negative click; the prompt .* holds box"):
        segmenters.load("threshold")(image, Prompt("liver", box=Box(world((1, 1, 1)), world((3, 3, 3)))))


def test_a_segmenter_that_returns_another_grid_is_refused():
    record = Segmenter(
        "wrong", "W", "W.", lambda d: lambda i, p, q=None: np.zeros((2, 2, 2), bool), frozenset({"click"})
    )
    image, _ = phantom()
    with pytest.raises(InputError, match=r"'wrong' returned bool .2, 2, 2. for phantom"):
        segmenters.load(record)(image, prompt_for(record))


def test_ones_own_in_ten_lines(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from umdlib.segmenters import Segmenter\n"
        "def load(device):\n"
        "    def segment(image, prompt, previous=None):\n"
        "        return image.data > 0\n"
        "    return segment\n"
        "MINE = Segmenter('mine_of_test', 'Mine', 'Above 0.', load, frozenset({'click'}))\n"
    )
    image, _ = phantom()
    mask = segmenters.load(f"{file}:MINE")(image, prompt_for(segmenters.get("threshold")))
    np.testing.assert_array_equal(mask, image.data > 0)
    assert "mine_of_test" in segmenters.names()
    with pytest.raises(InputError, match="Did you mean 'MINE'"):
        segmenters.get(f"{file}:MIME")


def test_a_missing_gpu_is_a_sentence():
    ok, reason = segmenters.availability("threshold", "cuda:99")
    assert not ok
    assert "cuda:99" in reason


def test_listing_imports_no_torch():
    code = (
        "import sys; from umdlib import segmenters;"
        "[segmenters.availability(n) for n in segmenters.names()];"
        "[segmenters.load(n) for n in ('threshold', 'region_growing')];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_quick_convolutions_give_the_same_sums():
    """Below 20,480 channels × I × J torch takes another way than oneDNN's."""
    torch = pytest.importorskip("torch")
    with network.seeded(1):
        net = torch.nn.Sequential(
            torch.nn.Conv3d(2, 8, 3, padding=1),
            torch.nn.Conv3d(8, 6, 2, stride=2),
            torch.nn.Conv3d(6, 4, 3, padding="same"),
            torch.nn.ConvTranspose3d(4, 2, 2, stride=2),
        )
        x = torch.randn(1, 2, 12, 10, 14)
    with torch.inference_mode():
        plain = net(x)
    wanted = torch.autograd.grad(net(x).sum(), net[0].weight)[0]
    names = list(net.state_dict())
    assert network.quick(net) is net
    assert type(net[0]) is not torch.nn.Conv3d
    assert list(net.state_dict()) == names
    with torch.inference_mode():
        torch.testing.assert_close(net(x), plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(net(x[0]), plain[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(net(x).sum(), net[0].weight)[0], wanted)


MODEL = """
from umdlib.segmenters import Segmenter

def load(device):
    return lambda image, prompt, previous=None: image.data > 40

MINE = Segmenter("users_own", "Mine", "Above 40.", load=load, prompts=frozenset({"click"}))
"""
USERS = {
    "sibling.py": "VALUE = 40",
    "beside.py": "import sibling\n" + MODEL.replace("40", "sibling.VALUE"),
    "partial.py": MODEL.replace("load=load", "load=functools.partial(load)").replace(
        "import Segmenter", "import Segmenter\nimport functools"
    ),
    "absent.py": "import no_such_package\n" + MODEL,
    "typo.py": MODEL + "\nthis is no Python",
    "kind.py": MODEL.replace('"click"', '"point"'),
    "slash.py": MODEL.replace('"users_own"', '"users/own"'),
}


@pytest.fixture
def users(tmp_path):
    for name, text in USERS.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    sys.modules.pop("sibling", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize("name", ["beside", "partial"])
def test_a_users_file_is_loaded_with_what_lies_beside_it(users, name):
    record = segmenters.get(f"{users / name}.py:MINE")
    assert len(segmenters.identity_of(record)["source"]) == 64
    assert segmenters.load(record) is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "ModuleNotFoundError: No module named 'no_such_package' .*line 1"),
        ("typo", "SyntaxError"),
        ("kind", "Unknown kind of prompt of segmenter 'users_own' 'point'"),
        ("slash", "Invalid segmenter name 'users/own'"),
    ],
)
def test_a_users_file_that_cannot_be_used_is_a_sentence(users, name, message):
    with pytest.raises(InputError, match=message):
        segmenters.get(f"{users / name}.py:MINE")


def test_pages_know_every_system_by_the_title_of_its_record():
    table = read_tsv(titles.SEGMENTERS)
    assert dict(table.itertuples(index=False)) == {n: segmenters.get(n).title for n in segmenters.BUILT_IN}
