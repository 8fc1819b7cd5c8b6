"""Specialists: what a training refuses, that it resumes, and that left stays left."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from umdlib import segmenters
from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort, write_structures
from umdlib.errors import InputError
from umdlib.evaluation import run as benchmark
from umdlib.evaluation.run import Plan, Settings
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS, Structure
from umdlib.metrics.masks import dice
from umdlib.networks.specialists import TRAINERS, every_name, unique_tensors
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segmenter
from umdlib.synthetic.cohort import make_pair
from umdlib.training.nnunet import plan as nnunet_plan
from umdlib.training.nnunet import raw as nnunet_raw
from umdlib.training.nnunet import recipes
from umdlib.training.nnunet import train as nnunet_train
from umdlib.weights import card

ONE = Settings((Plan("centre", (0,), 0),))


def test_nine_subjects_are_too_few(make_cohort):
    cohort = read_cohort(make_cohort(9))
    with pytest.raises(InputError, match=r"holds 9 subjects with PET of session petct.* 10 or more"):
        nnunet_raw.training_cases(cohort, "petct", "PET", subjects=recipes.recipe("small").subjects)


def test_a_modality_that_is_not_there_is_named(make_cohort):
    with pytest.raises(InputError, match="No case of .* is MR of session petmr"):
        nnunet_raw.training_cases(read_cohort(make_cohort(1)), "petmr", "MR", subjects=1)


def test_a_structure_that_no_reference_holds_stops_the_training(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(2))
    absent = (*cohort.structures, Structure(9, "cube", "Cube", "Cu", "#000000"))
    with pytest.raises(InputError, match=r"Structure 'cube' is in none of the 2 training references"):
        nnunet_raw.write_raw(cohort.cases[::2], absent, tmp_path)


def test_raw_labels_are_consecutive_and_turned_to_ras(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(2))  # CT files are LAS, values 1 and 4
    cases = [c for c in cohort.cases if c.modality == "CT"]
    present = nnunet_raw.write_raw(cases, cohort.structures, tmp_path)
    assert present == {"ball": ["sub-001", "sub-002"], "rod": ["sub-001", "sub-002"]}
    root = tmp_path / nnunet_raw.dataset_name("petct", "CT")
    about = json.loads((root / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "ball": 1, "rod": 2}
    assert about["channel_names"] == {"0": "CT"}
    labels = nib.load(root / "labelsTr" / "sub-001.nii.gz")
    assert nib.aff2axcodes(labels.affine) == ("R", "A", "S")
    data = np.asarray(labels.dataobj)
    ball = nib.affines.apply_affine(labels.affine, np.argwhere(data == 1)).mean(axis=0)
    assert ball[0] == pytest.approx(-19, abs=0.5)  # drawn at x = -20 mm, moved by 1 mm
    assert set(np.unique(data)) == {0, 1, 2}


def test_both_images_are_channels_on_one_grid_structure_first(make_cohort, tmp_path):
    manifest = make_cohort(2)
    cohort = read_cohort(manifest)
    cases = [c for c in cohort.cases if c.modality == "PET"]
    nnunet_raw.write_raw(cases, cohort.structures, tmp_path, nnunet_raw.partners_of(cohort, cases))
    root = tmp_path / nnunet_raw.dataset_name("petct", "PET")
    about = json.loads((root / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "CT", "1": "PET"}
    images = [nib.load(root / "imagesTr" / f"sub-002_000{n}.nii.gz") for n in (0, 1)]
    labels = np.asarray(nib.load(root / "labelsTr" / "sub-002.nii.gz").dataobj)
    for image, ball, around in zip(images, (60, 5.0), (-100, 0.3), strict=True):
        assert image.shape == labels.shape
        data = np.asarray(image.dataobj)
        # the two modalities' balls are one ball in the world, but for the smoothing of the interpolation
        assert np.median(data[labels == 1]) == pytest.approx(ball, rel=0.1)
        assert np.median(data[labels == 0]) == pytest.approx(around, rel=0.1)
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    lone = read_cohort(manifest)
    with pytest.raises(InputError, match=r"sub-002 petct of .* has CT alone.*complete pairs"):
        nnunet_raw.partners_of(lone, [c for c in lone.cases if c.modality == "CT"])


@pytest.mark.slow
def test_a_users_network_of_two_images_is_trained_asked_and_scored(make_cohort, tmp_path):
    """nnU-Net's own planning, training and folder on CT and PET, then `nnunet:FOLDER` on both images."""
    cohort, recipe = read_cohort(make_cohort(2)), recipes.recipe("smoke", epochs=20)
    folder = nnunet_train.train(
        cohort, nnunet_train.Task("petct", "CT", both=True), tmp_path / "work", recipe=recipe
    )
    record = segmenters.get(f"nnunet:{folder}")
    assert record.partner == record.modalities == ("CT", "PET")
    table = benchmark.score_cohort(cohort, f"nnunet:{folder}", tmp_path / "run")
    assert (
        set(table["modality"]) == {"CT", "PET"} and not table["status"].isin(["failed", "unavailable"]).any()
    )
    # forty steps on 16 mm find no ball yet, but they have learned from two channels
    log = nnunet_train.read_log(folder)["train_loss"]
    assert log.tail(5).mean() < log.head(5).mean()
    first = next(p for p in record.load("cpu")._predictor.network.parameters() if p.ndim == 5)
    assert first.shape[1] == 2


def test_a_plan_that_does_not_fit_says_how_much_it_needs():
    small = recipes.recipe("small")
    with pytest.raises(InputError, match=r"'small' needs about 5.0 GB on cpu; 4.0 GB are free"):
        nnunet_plan.check_memory(5_000_000_000, 4_000_000_000, small, "cpu")
    nnunet_plan.check_memory(4_000_000_000, 4_000_000_000, small, "cpu")


def test_a_patch_must_be_divisible_by_the_strides():
    odd = recipes.recipe("small", patch=(100, 32, 64))
    with pytest.raises(InputError, match=r"Patch \(100, 32, 64\).* divisible by 8"):
        nnunet_plan.smaller({"architecture": {"arch_kwargs": {}}}, odd)


def test_unknown_recipe_network_and_device_are_named(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(1))
    with pytest.raises(InputError, match="Did you mean 'small'"):
        recipes.recipe("smal")
    with pytest.raises(InputError, match="epochs 0"):
        recipes.recipe("small", epochs=0)
    smoke = recipes.recipe("smoke")
    with pytest.raises(InputError, match="Did you mean 'segresnet'"):
        nnunet_train.train(cohort, nnunet_train.Task("petct", "CT", "segresnt"), tmp_path, recipe=smoke)
    with pytest.raises(InputError, match="Unknown device 'tpu'"):
        nnunet_train.train(cohort, nnunet_train.Task("petct", "CT", device="tpu"), tmp_path, recipe=smoke)


def test_a_folder_keeps_to_its_training(make_cohort, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / nnunet_train.REQUEST).write_text('{"session": "petct", "seed": 0}')
    with pytest.raises(InputError, match=r"holds another training run: seed is 0 there and 1 here"):
        nnunet_train._claim(work, {"session": "petct", "seed": 1})
    nnunet_train._claim(work, {"session": "petct", "seed": 0})
    with pytest.raises(InputError, match="holds no training"):
        nnunet_train.read_request(tmp_path)


def test_small_recipe_needs_no_more_than_stated():
    small = recipes.RECIPES["small"]
    assert not small.mirrored  # a mirrored body swaps its kidneys
    assert small.subjects == 10
    full = recipes.RECIPES["full"]
    assert (full.epochs, full.iterations, full.learning_rate) == (1000, 250, 0.01)  # nnU-Net's


@pytest.mark.parametrize("network", ["nnunet", "segresnet", "swinunetr", "stunet"])
def test_each_tensor_is_kept_once_and_found_under_all_names(network):
    torch = pytest.importorskip("torch")
    from umdlib.segmenters.preparation.network import seeded
    from umdlib.segmenters.preparation.nnunet import tiny_model
    from umdlib.segmenters.systems.specialists import _network

    plans, dataset = tiny_model()
    architecture = {"network": network, "plans": plans, "dataset": dataset}
    with seeded(1):
        net = _network(architecture, "tiny")
    kept = unique_tensors(net.state_dict())
    assert sum(v.numel() for v in kept.values()) == sum(p.numel() for p in net.parameters())
    with seeded(2):
        other = _network(architecture, "tiny")
    other.load_state_dict(every_name(other, kept))
    for key, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    gone = dict(list(kept.items())[1:])
    with pytest.raises(InputError, match="Weights lack"):
        every_name(other, gone)


class Halves:
    """In nnU-Net's place: label 1 in the last third of the last axis (right), else 2."""

    network = SimpleNamespace(register_forward_hook=lambda hook: None)

    def predict_single_npy_array(self, data, properties):
        labels = np.full(data.shape[1:], 2, np.uint8)
        labels[..., -(data.shape[-1] // 3) :] = 1
        return labels


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "IPL"])
def test_left_stays_left_whatever_the_axes_of_an_image(codes):
    from umdlib.segmenters.preparation.nnunet import NnUNet

    base = nib.Nifti1Image(np.zeros((9, 6, 5), np.float32), np.diag([2.0, 3, 4, 1]))
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(base.affine), nib.orientations.axcodes2ornt(codes)
    )
    turned = base.as_reoriented(turn)
    image = Volume(np.asarray(turned.dataobj), turned.affine, "HU")
    mask = NnUNet(Halves(), {"right": (1,)}, turned=True)(image, Prompt("right"))
    assert mask.shape == image.shape
    x = nib.affines.apply_affine(image.affine, np.argwhere(mask))[:, 0]
    assert sorted(set(x)) == [12.0, 14.0, 16.0]
    assert mask.sum() == 3 * 6 * 5


@pytest.fixture
def register():
    def make(**more):
        record = Segmenter("only_ct", "Only CT", "For tests.", more.pop("load"), frozenset({"class"}), **more)
        return segmenters.register(record)

    return make


def test_a_condition_without_weights_is_unavailable_not_wrong(make_cohort, register, tmp_path):
    asked = []

    def load(device, condition):
        asked.append(condition)
        return lambda image, prompt, previous=None: image.data > 0

    register(load=load, conditions=(("petct", "CT"),))
    cohort = read_cohort(make_cohort(2))
    table = benchmark.score_cohort(cohort, "only_ct", tmp_path, settings=ONE)
    status = table.groupby("modality")["status"].unique()
    assert list(status["CT"]) == ["ok"]
    assert list(status["PET"]) == ["unavailable"]
    assert table.loc[table["modality"] == "PET", "dice"].isna().all()
    assert "Not trained for PET of petct" in table["reason"].iloc[-1]
    assert asked == [("petct", "CT")]
    assert set(table.loc[table["modality"] == "CT", "prompt"]) == {"class"}
    with pytest.raises(InputError, match="say which"):
        segmenters.load("only_ct")


def test_a_structure_it_was_not_trained_on_gets_no_number(make_cohort, register, tmp_path):
    register(load=lambda device: lambda image, prompt, previous=None: image.data > 0, structures=("ball",))
    cohort = read_cohort(make_cohort(1))
    table = benchmark.score_cohort(cohort, "only_ct", tmp_path, settings=ONE)
    rod = table[table["structure"] == "rod"]
    assert set(rod["status"]) == {"unavailable"}
    assert rod["dice"].isna().all()
    assert rod["reason"].eq(benchmark.UNTAUGHT).all()
    lines = []
    again = benchmark.score_cohort(cohort, "only_ct", tmp_path, settings=ONE, report=lines.append)
    assert all("kept" in line for line in lines)
    anew = benchmark.rescore(cohort, tmp_path)
    for table_of in (again, anew):
        assert set(table_of.loc[table_of["structure"] == "rod", "status"]) == {"unavailable"}
    assert set(table.loc[table["structure"] == "ball", "status"]) == {"ok"}


def released():
    """Names of released specialists."""
    return [n for n in card.names() if n.split("_")[0] in recipes.TRAINERS]


@pytest.mark.parametrize("name", released())
def test_released_specialist_is_what_its_card_says(name):
    about = card.read(name)
    assert card.check(name).stat().st_size <= card.MAX_BYTES
    state = card.read_state(name)
    assert sum(v.numel() for v in state.values()) == about.parameters
    assert about.data["subjects"] >= 10
    assert about.data["seed"] != 20260207  # the book's cohort: no subject is shared
    assert about.architecture["plans"]["configurations"]
    network = about.architecture["network"]
    made = recipes.for_network(recipes.recipe(about.settings["name"]), network).record()
    assert {k: about.settings[k] for k in made} == made
    assert about.settings["recipe_of_the_code"]
    log = card.read_log(name, folder=card.FOLDER)
    assert len(log) == about.settings["epochs"]
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    assert about.cost["cpu_seconds"] == pytest.approx(log["cpu_s"].sum(), abs=0.1)


@pytest.mark.slow
def test_the_small_nnunet_finds_the_organs_of_an_unseen_body():
    pair = make_pair("unseen", "petct", 8, 6.0)
    segment = segmenters.load("nnunet_small", "cpu", ("petct", "CT"))
    reference = pair.structural_reference.data
    scores = [dice(segment(pair.structural, Prompt(s.name)), reference == s.value) for s in ORGANS]
    assert np.mean(scores) > 0.8 and min(scores) > 0.5


def words(manifest, out, *more):
    """Of the command."""
    given = ["train", "specialist", str(manifest), "--session", "petct", "--modality", "CT"]
    return [*given, "--recipe", "smoke", "--epochs", "24", "--out", str(out), *more]


@pytest.mark.slow
def test_a_killed_training_goes_on_and_its_release_predicts(make_cohort, tmp_path, capsys):
    """nnU-Net's own planning, preprocessing, trainer and predictor, on two drawn subjects."""
    manifest, out, folder = make_cohort(2), tmp_path / "work", tmp_path / "released"
    command = [sys.executable, "-m", "umdlib", *words(manifest, out)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(out.rglob("checkpoint_latest.pth")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    killed = len(next(out.rglob("log.tsv")).read_text().splitlines()) - 1
    assert 2 <= killed < 24  # a checkpoint every tenth of the epochs
    with pytest.raises(InputError, match="is not finished"):
        nnunet_train.model_folder(out)
    assert main(words(manifest, out, "--release", str(folder))) == 0
    assert "epoch 0 of" not in capsys.readouterr().out
    (name,) = card.names(folder=folder)
    about, log = card.read(name, folder=folder), card.read_log(name, folder=folder)
    assert log["epoch"].tolist() == list(range(24))
    assert not about.settings["recipe_of_the_code"]  # the recipe's own number of epochs is another
    assert log["loss"].tail(5).mean() < log["loss"].head(5).mean()
    from umdlib.segmenters.systems.specialists import specialist

    call = specialist(about.architecture, card.read_state(name, folder=folder))
    image = read_cohort(manifest).cases[0].read_image()
    ball = call(image, Prompt("ball"))
    assert ball.shape == image.shape
    np.testing.assert_array_equal(ball, call(image, Prompt("ball")))
    again = segmenters.load(f"specialist:{folder}/nnunet_smoke", "cpu", ("petct", "CT"))
    np.testing.assert_array_equal(ball, again(image, Prompt("ball")))
    own = segmenters.load(f"nnunet:{nnunet_train.model_folder(out)}")  # weights in float32 there
    assert np.mean(ball != own(image, Prompt("ball"))) < 0.01
    with pytest.raises(InputError, match=r"In .*released: nnunet_smoke"):
        segmenters.get(f"specialist:{folder}/stunet_smoke")


def test_weights_of_any_size_are_written_but_to_the_package(tmp_path, monkeypatch):
    about = card.read("stunet_small_petct_ct")
    state, log = card.read_state(about.name), card.read_log(about.name)
    monkeypatch.setattr(card, "MAX_BYTES", 1000)
    assert card.write(about, state, log, folder=tmp_path).size > 1000
    monkeypatch.setattr(card, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="The package takes 1000"):
        card.write(about, state, log, folder=tmp_path)


def test_a_card_of_full_size_builds_the_full_network_with_its_mirroring():
    from umdlib.segmenters.preparation.nnunet import tiny_model
    from umdlib.segmenters.systems import specialists

    plans, dataset = tiny_model()
    architecture = {
        "network": "stunet",
        "trainer": "STUNetTrainer",
        "plans": plans,
        "dataset": dataset,
        "full_size": True,
        "mirroring_axes": [0, 1, 2],
    }
    net = specialists._network(architecture, "tiny")
    assert 14e6 < sum(p.numel() for p in net.parameters()) < 15e6
    call = specialists.specialist(architecture, net.state_dict())
    assert call._predictor.use_mirroring
    assert call._predictor.allowed_mirroring_axes == (0, 1, 2)


def test_command_line_refuses_too_few_subjects_in_one_sentence(make_cohort, tmp_path, capsys):
    manifest = str(make_cohort(2))
    status = main(
        [
            "train",
            "specialist",
            manifest,
            "--session",
            "petct",
            "--modality",
            "PET",
            "--out",
            str(tmp_path / "work"),
        ]
    )
    assert status == 2
    error = capsys.readouterr().err
    assert "holds 2 subjects with PET" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "work").exists()


def test_structures_of_the_cohort_are_what_is_learned(make_cohort, tmp_path):
    manifest = make_cohort(1)
    write_structures(
        manifest.parent / "dseg.tsv",
        (Structure(4, "rod", "Rod", "Ro", "#000000"), Structure(1, "ball", "Ball", "Ba", "#111111")),
    )
    cohort = read_cohort(manifest)
    renamed, found = nnunet_raw.consecutive(np.array([[[0, 1, 4]]]), cohort.structures)
    assert renamed.tolist() == [[[0, 1, 2]]]
    assert found == ["ball", "rod"]


@pytest.fixture(scope="module")
def trainers():
    pytest.importorskip("nnunetv2")
    from umdlib.networks.trainers import specialists as made

    return made


def test_lines_of_a_killed_epoch_and_of_later_ones_give_way_to_the_new_one(trainers, tmp_path):
    log = tmp_path / "log.tsv"
    for epoch in (0, 1, 2, 3):
        trainers._write_line(log, [epoch, 0.5, 0.25, 0.125, 1e-3, 2.0, 1.0])
    trainers._write_line(log, [2, 1 / 3, 0, 0, 0, 9, 9])
    lines = log.read_text().splitlines()
    assert lines[0].split("\t") == list(trainers.COLUMNS)
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "1", "2"]
    assert lines[-1] == "2\t0.333333\t0\t0\t0\t9\t9" and not list(tmp_path.glob(".*"))


def test_every_network_has_a_trainer_that_builds_it(trainers):
    for network, name in TRAINERS.items():
        made = getattr(trainers, name)
        assert issubclass(made, trainers.NnUNetTrainer)
        assert getattr(made, "network_name", network) == network


@pytest.mark.parametrize(
    ("share", "weights"), [(1.0, [1, 2, 30]), (0.5, [1, 2**0.5, 30**0.5]), (0.0, [1, 1, 1])]
)
def test_weights_of_rare_structures_are_cut_and_fall_to_one(trainers, share, weights):
    assert trainers._class_weights([400, 100, 1e-4], share).tolist() == pytest.approx(weights)
    assert trainers._class_weights([100, 400], 1.0).tolist() == [1, 1]  # never below the background's
