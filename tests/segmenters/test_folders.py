"""Published folders: TotalSegmentator's, MRSegmentator's, MOOSE's and LION's own steps around nnU-Net."""

from __future__ import annotations

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import scipy

from umdlib import segmenters
from umdlib.cohort.names import read_names
from umdlib.errors import InputError
from umdlib.images import orientation
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters import inventory
from umdlib.segmenters.systems import moose, mrsegmentator
from umdlib.segmenters.systems import totalsegmentator as ts
from umdlib.weights import reading as weights
from umdlib.weights.archives import fetch_members
from umdlib.weights.record import Weights

NEW = (
    "totalsegmentator",
    "totalsegmentator_v3",
    "totalsegmentator_mr",
    "mrsegmentator",
    "moose",
    "lion",
    "lion_psma",
)
RAS = np.diag([3.0, 3.0, 3.0, 1.0])


class Fake:
    """In a network's place: labels by the image it is given, which it keeps."""

    def __init__(self, label, spacing=(3.0, 3.0, 3.0)):
        self.label, self.seen, self.spacing = label, [], spacing

    def label_map(self, image):
        self.seen.append(image)
        return self.label(image)

    def planned_spacing(self, *, transposed_back=True):
        return self.spacing


def ramp(shape=(20, 24, 30)) -> np.ndarray:
    """Values that rise from left to right, and a little from back to front and up."""
    i, j, k = np.indices(shape)
    return (10.0 * i + 2 * j + k).astype(np.float32)


def stored(data, affine, codes) -> Volume:
    """The same image with axes in another order."""
    turn = orientation.turn_to(affine, codes)
    return Volume(
        np.ascontiguousarray(orientation.turned(data, turn)),
        orientation.turned_affine(affine, data.shape, turn),
        "HU",
    )


def in_ras(mask, image) -> np.ndarray:
    return orientation.turned(mask, orientation.turn_to(image.affine, "RAS"))


def test_the_records_say_which_structures_each_system_answers():
    known = {s.name for s in ORGANS}
    answered = {n: set(segmenters.get(n).structures) for n in NEW}
    for name in ("totalsegmentator", "totalsegmentator_v3", "totalsegmentator_mr", "moose"):
        assert answered[name] == known
    assert answered["mrsegmentator"] == known - {"brain"}
    assert answered["lion"] == answered["lion_psma"] == {"lesion"}
    assert sum(ts.CT.values()) == 117
    assert sum(ts.MR.values()) == 50
    assert tuple(ts.CT_V3.values()) == tuple(ts.CT.values())


def test_a_later_part_lies_over_an_earlier_one_and_values_follow_each_other():
    first, second = Fake(lambda i: np.full(i.shape, 2)), Fake(lambda i: (i.data > 100).astype(int))
    image = Volume(ramp(), RAS, "HU")
    labels = ts.Painted([first, second], (4, 3), spacing_mm=3.0).label_map(image)
    np.testing.assert_array_equal(labels, np.where(image.data > 100, 5, 2))
    assert labels.dtype == np.uint8


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLA"])
def test_totalsegmentator_sees_whole_numbers_at_its_spacing_in_ras(codes):
    part = Fake(lambda i: (i.data > 120).astype(np.uint8))
    image = stored(ramp(), RAS, codes)
    labels = ts.Painted([part], (1,), spacing_mm=2.0).label_map(image)
    expected = scipy.ndimage.zoom(ramp().astype(float), 1.5, order=1, mode="nearest").astype(np.int32)
    (seen,) = part.seen
    assert seen.data.dtype == np.int32
    assert seen.spacing_mm == (2.0, 2.0, 2.0)
    np.testing.assert_array_equal(seen.data, expected)
    share = np.array(ramp().shape) / expected.shape
    back = scipy.ndimage.zoom((expected > 120).astype(np.uint8), share, order=0, mode="nearest")
    np.testing.assert_array_equal(in_ras(labels, image), back)


def test_a_large_image_is_predicted_in_thirds_that_fit_together():
    image = Volume(ramp((6, 6, 130)), RAS, "HU")
    part = Fake(lambda i: (i.data > 90).astype(np.uint8))
    labels = ts.Painted([part], (1,), spacing_mm=3.0, split_above=100, split_slices=100).label_map(image)
    assert [p.shape[2] for p in part.seen] == [63, 82, 63]
    np.testing.assert_array_equal(labels, image.data > 90)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SLA"])
def test_moose_answers_alike_whatever_the_axes_of_the_file(codes):
    """Volumes that were not RAS got another mask from MOOSE (#221): here their axes do not matter."""
    pytest.importorskip("SimpleITK")
    seen = []
    for image in (stored(ramp(), RAS, "RAS"), stored(ramp(), RAS, codes)):
        net = Fake(lambda i: (np.indices(i.shape)[0] < 7).astype(np.uint8), spacing=(3.0, 3.0, 3.0))
        seen.append(in_ras(moose.Resliced(net, turned=True).label_map(image), image))
    assert 0 < seen[0].sum() < seen[0].size
    np.testing.assert_array_equal(*seen)
    lps = stored(ramp(), RAS, "LPS")
    untold = Fake(lambda i: (np.indices(i.shape)[0] < 7).astype(np.uint8))
    kept = in_ras(moose.Resliced(untold, turned=False).label_map(lps), lps)
    assert (kept != seen[0]).any()  # LION does not turn: the axes of the file decide


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
def test_mrsegmentator_sees_lps(codes):
    net = Fake(lambda i: (np.indices(i.shape)[0] < 7).astype(np.uint8))
    image = stored(ramp(), RAS, codes)
    labels = in_ras(mrsegmentator.InLPS(net).label_map(image), image)
    np.testing.assert_array_equal(labels, np.indices(labels.shape)[0] >= labels.shape[0] - 7)
    np.testing.assert_array_equal(net.seen[0].data[::-1, ::-1], ramp())
    np.testing.assert_array_equal(net.seen[0].affine, RAS)  # or a folder whose plans turn would turn it again


def test_moose_resamples_to_the_plans_and_back():
    pytest.importorskip("SimpleITK")
    net = Fake(lambda i: (i.data > 120).astype(np.uint8), spacing=(6.0, 4.5, 3.0))
    image = Volume(ramp(), RAS, "HU")
    labels = moose.Resliced(net, turned=True).label_map(image)
    (seen,) = net.seen
    assert seen.shape == (20, 16, 15)
    assert seen.spacing_mm == (3.0, 4.5, 6.0)
    np.testing.assert_allclose(seen.data[:, 2, 1], ramp()[:, 3, 2], atol=1e-3)
    assert (labels == (image.data > 120)).mean() > 0.95


def test_pieces_cover_an_array_once_and_see_beyond_their_borders():
    shape = (25, 7, 1)
    covered = np.zeros(shape, int)
    array = np.random.default_rng(0).normal(size=shape)
    for seen, kept, place in moose._pieces(shape, 10):
        covered[place] += 1
        np.testing.assert_array_equal(array[seen][kept], array[place])
        assert array[seen].shape[0] > array[place].shape[0]
    assert (covered == 1).all()
    assert len(list(moose._pieces(shape, None))) == 1


def test_long_axes_are_resampled_in_equal_pieces_of_their_own():
    sitk = pytest.importorskip("SimpleITK")
    array = np.random.default_rng(0).normal(0, 100, (300, 4, 5)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    halves = []
    for half in (array[:150], array[150:]):
        piece = sitk.GetImageFromArray(np.ascontiguousarray(half))
        done = sitk.Resample(
            piece, (5, 4, 100), sitk.Transform(), sitk.sitkBSpline, (0.0,) * 3, (1.0, 1.0, 1.5)
        )
        halves.append(sitk.GetArrayFromImage(done))
    np.testing.assert_array_equal(moose._interpolated(image, (1.0, 1.0, 1.5)), np.concatenate(halves))


def laid(root, fold, plans, dataset, state):
    """A trained folder of nnU-Net at its place; its root."""
    (root / fold).mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans), "utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    pytest.importorskip("torch").save(state, root / fold / "checkpoint_final.pth")
    return root


@pytest.fixture
def lion(tmp_path, monkeypatch):
    """LION's folder with random weights at its place, and its root."""
    pytest.importorskip("torch")
    pytest.importorskip("nnunetv2")
    from umdlib.segmenters.preparation import published_folders

    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    made = published_folders.random_model(moose.TUMOUR["fdg"], favoured=moose.TUMOUR["fdg"])
    return laid(tmp_path / "lion" / "fdg", "fold_all", *made)


def test_a_published_folder_opens_from_its_place_and_its_files_are_hashed(lion):
    image = Volume(ramp() - 100, RAS, "SUV")
    mask = segmenters.load("lion")(image, Prompt("lesion"))
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(mask, segmenters.get("lion").tiny()(image, Prompt("lesion")))
    assert all(weights.known_hash(w) for w in segmenters.get("lion").weights)
    plans = lion / "plans.json"
    plans.write_text(plans.read_text("utf-8").replace('"tiny"', '"tiny" '), "utf-8")
    with pytest.raises(InputError, match=r"fdg/plans.json have sha256 .*recorded at first use"):
        segmenters.load("lion")


def test_each_tracer_of_lion_has_its_own_folder_and_its_own_label(lion):
    with pytest.raises(InputError, match=r"lion/psma/fold_all/checkpoint_final.pth"):
        segmenters.load("lion_psma")
    segmenters.load("lion")
    (lion.parent / "psma").symlink_to(lion)  # FDG's folder: its label 6 is no tumour
    with pytest.raises(InputError, match=r"are the same file as"):
        segmenters.load("lion_psma")


def test_the_folder_of_another_network_under_this_name_is_refused(lion):
    dataset = json.loads((lion / "dataset.json").read_text("utf-8"))
    dataset["labels"].pop("label_11")
    (lion / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    with pytest.raises(
        InputError, match=r"dataset.json has 10 labels, and this folder of 'lion' must have at least 11"
    ):
        segmenters.load("lion")
    dataset["labels"]["label_11"] = 11
    (lion / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    other = Weights("mrsegmentator/fold_0/checkpoint_final.pth", "elsewhere", "CC0")
    place = weights.path_of(other)
    place.parent.mkdir(parents=True)
    place.write_bytes((lion / "fold_all" / "checkpoint_final.pth").read_bytes())
    weights.verified(other, "mrsegmentator")
    with pytest.raises(InputError, match=r"are the same file as mrsegmentator/fold_0"):
        segmenters.load("lion")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """TotalSegmentator's five folders as published, with random weights: folder by its number."""
    pytest.importorskip("torch")
    pytest.importorskip("nnunetv2")
    from umdlib.segmenters.preparation import published_folders

    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    names = read_names().meanings["totalsegmentator", "*"]
    folders, before = [], 0
    for number, (folder, count) in enumerate(ts.CT.items()):
        plans, dataset, state = published_folders.random_model(count, seed=number)
        plans["dataset_name"] = folder
        dataset["labels"] = {"background": 0} | {names[before + n][0]: n for n in range(1, count + 1)}
        state["init_args"]["dataset_json"] = dataset
        item = next(w for w in ts.TOTALSEGMENTATOR.weights if folder in w.file)
        folders.append(laid(weights.path_of(item).parents[1], "fold_0", plans, dataset, state))
        before += count
    return folders


def test_two_parts_of_as_many_labels_in_exchanged_places_are_refused(parts):
    second, fifth = parts[1], parts[4]

    def exchange(name):
        one, two = (f / name for f in (second, fifth))
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)

    exchange("dataset.json")
    with pytest.raises(
        InputError, match=r"Dataset292.*dataset.json gives 'rib_left_1' the value 1, .* does not hold it"
    ):
        segmenters.load("totalsegmentator")
    exchange("dataset.json")
    exchange("fold_0/checkpoint_final.pth")
    with pytest.raises(InputError, match=r"Dataset292.*final.pth gives 'rib_left_1' .*another part's"):
        segmenters.load("totalsegmentator")
    exchange("fold_0/checkpoint_final.pth")
    (second.parents[2] / "sha256.json").unlink()  # what the refused ones left
    dataset = json.loads((fifth / "dataset.json").read_text("utf-8"))
    dataset["labels"]["rib_left_1"], dataset["labels"]["rib_left_2"] = 2, 1
    (fifth / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    with pytest.raises(InputError, match=r"'rib_left_1' the value 2, and this folder .* gives it 1"):
        segmenters.load("totalsegmentator")


def test_five_parts_open_as_published_also_where_their_labels_are_called_otherwise(parts, tmp_path):
    segmenters.load("totalsegmentator")
    recorded = json.loads((tmp_path / "sha256.json").read_text("utf-8"))
    assert len(recorded) == 15
    dataset = json.loads((parts[1] / "dataset.json").read_text("utf-8"))
    dataset["labels"] = {f"{name}_v2" * bool(v) or name: v for name, v in dataset["labels"].items()}
    (parts[1] / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    (tmp_path / "sha256.json").unlink()
    segmenters.load("totalsegmentator")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A zip archive at an address, and the folder of weights."""
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path / "weights"))
    path = tmp_path / "published.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("plans.json", "fold_all/checkpoint_final.pth", "dataset.json"):
            made.writestr(f"Dataset001_X/Trainer__Plans__3d/{name}", name)
    return path


def _members(url: str, digest: str | None = None, inside="Dataset001_X/*__*__*") -> list[Weights]:
    return [
        Weights(f"x/{n}", "there", "CC0", url=url, member=f"{inside}/{n}", archive_sha256=digest)
        for n in ("plans.json", "fold_all/checkpoint_final.pth")
    ]


def test_files_are_fetched_from_an_archive_whatever_its_trainer_is_called(archive, tmp_path, monkeypatch):
    items = _members(archive.as_uri(), weights.sha256(archive))
    record = SimpleNamespace(weights=tuple(items))
    monkeypatch.setattr(inventory.registry, "get", lambda name: record)
    said = []
    paths = inventory.fetch("x", say=said.append)
    assert [p.read_text() for p in paths] == ["plans.json", "fold_all/checkpoint_final.pth"]
    assert "and 1 more" in said[0]
    assert not list((tmp_path / "weights" / ".parts").iterdir())
    assert inventory.fetch("x", say=said.append) == paths


def test_an_archive_of_another_hash_or_content_is_refused(archive):
    with pytest.raises(InputError, match=r"has sha256 .*, not the published 000000000000…. It was removed"):
        fetch_members(_members(archive.as_uri(), "0" * 64))
    with pytest.raises(InputError, match=r"holds 0 files 'Other/plans.json', not 1. It holds Dataset001_X"):
        fetch_members(_members(archive.as_uri(), inside="Other"))
    archive.write_bytes(archive.read_bytes()[:100])
    broken = archive.rename(archive.with_name("broken.zip"))
    with pytest.raises(InputError, match=r"broken.zip is not a whole zip archive.*removed"):
        fetch_members(_members(broken.as_uri()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segvol", "no public hash known: hashed at first use"),
        ("sat_pro", "no public hash known: hashed at first use"),
        ("seganypet_v2", "no public hash known: hashed at first use"),
        ("medsam", "no public hash known: hashed at first use"),
        ("medsam2", "published sha256 c92743b99f00…"),
        ("totalsegmentator", "no public hash known: hashed at first use"),
        ("mrsegmentator", "published sha256 of its archive dd26c1b51190…; itself hashed at first use"),
        ("sam_vit_b", "published sha256 ec2df6273261…"),
        ("vista3d", "published md5 6ce45a8edde4…"),
    ],
)
def test_a_record_says_whether_a_public_hash_is_known(name, words):
    assert {w.hash_words for w in segmenters.get(name).weights} == {words}
    assert f"hash: {words}" in inventory.where_text(name)
