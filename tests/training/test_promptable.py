"""The training of the promptable network: what it draws, how it stops and goes on, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.training import bodies, clicks, patches
from umdlib.weights import card

torch = pytest.importorskip("torch")

from umdlib.images.grids import Grid  # noqa: E402
from umdlib.networks import build as network  # noqa: E402
from umdlib.networks.clicknet import Features  # noqa: E402
from umdlib.networks.inputs import OUTSIDE, both_on_grid  # noqa: E402
from umdlib.segmenters.systems import clicknet  # noqa: E402
from umdlib.training import loop, promptable  # noqa: E402

SMALL = promptable.smaller(promptable.Settings(trained_on="both", seed=3))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def body(name="sub-001", session="petct", shift=0) -> bodies.Body:
    """Two blocks that are bright on the structural image and dark on PET."""
    labels = np.zeros((30, 28, 40), np.uint8)
    labels[6 + shift : 14 + shift, 8:16, 8:16] = 1
    labels[18:25, 10:18, 20:34] = 2
    noise = np.random.default_rng(shift).normal(0, 0.05, labels.shape)
    image = np.stack([labels * 0.4 - 0.5 + noise] * 2).astype(np.float16)
    structural = {"petct": "CT", "petmr": "MR"}[session]
    return bodies.Body(name, session, {structural: image, "PET": -image}, labels)


def two() -> list[bodies.Body]:
    return [body(), body("sub-002", "petmr", 2)]


def train(folder, settings=SMALL, given=None, **options):
    return promptable.train(given or two(), settings, folder, least_subjects=1, **options)


@pytest.fixture(scope="module")
def trained(one_thread, tmp_path_factory):
    """Network, log and cost of one small training, which tests leave as they are."""
    return train(tmp_path_factory.mktemp("trained"))


def test_a_training_that_was_stopped_ends_where_one_that_ran_through_does(trained, tmp_path):
    whole, log, cost = trained
    train(tmp_path, stop_after=2)
    lines = []
    parts, log_parts, cost_parts = train(tmp_path, say=lines.append)
    assert [line.split(":")[0] for line in lines] == ["clicknet_both_3 step 4/4"]
    assert log_parts["step"].tolist() == log["step"].tolist() == [2, 4]
    np.testing.assert_array_equal(log_parts["loss"], log["loss"])
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert cost["cpu_seconds"] > 0
    assert cost_parts["cpu_seconds"] > 0


def test_a_torn_checkpoint_is_named_and_a_torn_write_leaves_the_old_one(tmp_path, monkeypatch):
    train(tmp_path, stop_after=2)
    path = tmp_path / "clicknet_both_3.checkpoint.pt"
    whole = path.read_bytes()

    def killed(content, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    assert path.read_bytes() == whole
    assert not list(tmp_path.glob(".*.part"))
    monkeypatch.undo()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"both_3.checkpoint.pt cannot be read .*Remove it"):
        train(tmp_path)


def test_a_checkpoint_of_another_training_is_refused_by_its_first_difference(tmp_path):
    train(tmp_path, stop_after=2)
    other = promptable.replace(SMALL, learning_rate=0.5)
    with pytest.raises(InputError, match=r"another training run: learning_rate was 0.0015, now 0.5"):
        train(tmp_path, other)
    with pytest.raises(InputError, match="another training run: bodies was"):
        train(tmp_path, given=[body(), body("sub-003")])


def test_the_loss_curve_is_there_while_the_training_runs(tmp_path):
    seen = []
    log = tmp_path / "clicknet_both_3.log.tsv"
    train(tmp_path, say=lambda line: seen.append(len(log.read_text().splitlines())))
    assert seen == [2, 3]
    assert log.read_text().startswith("step\tloss\tdice_first\tdice_last")


def test_bad_input_is_refused_in_words(tmp_path):
    with pytest.raises(
        InputError, match=r"2 subjects with complete pairs to train on. At least 10 are needed"
    ):
        promptable.train(two(), SMALL, tmp_path)
    with pytest.raises(InputError, match="Did you mean 'structural'"):
        train(tmp_path, promptable.replace(SMALL, trained_on="structurl"))
    with pytest.raises(InputError, match="Invalid patch 20. Must be a multiple of 8"):
        train(tmp_path, promptable.replace(SMALL, patch=20))
    with pytest.raises(InputError, match=r"needs about \d+ MB, \d+ MB are free on cpu. Make the patch"):
        train(tmp_path, promptable.replace(SMALL, patch=8000))
    empty = bodies.Body("sub-009", "petct", body().images, np.zeros((30, 28, 40), np.uint8))
    with pytest.raises(InputError, match="sub-009 petct holds no structure"):
        train(tmp_path, given=[empty])
    lone = bodies.Body("sub-008", "petct", {"CT": body().images["CT"]}, body().labels)
    with pytest.raises(InputError, match="sub-008 petct has no PET, which 'both' needs"):
        train(tmp_path, given=[lone])
    assert promptable.absent(two(), {1: "liver", 2: "brain", 3: "aorta"}) == ["aorta"]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    bad = body()
    bad.images["CT"][:] = np.nan
    with pytest.raises(InputError, match="The loss is nan on a CT patch"):
        train(tmp_path, promptable.replace(SMALL, trained_on="structural"), given=[bad])


@pytest.mark.slow
def test_clicks_and_image_are_learned(tmp_path):
    """Blocks of one intensity: two hundred steps find them from one click."""
    settings = promptable.replace(SMALL, steps=200, learning_rate=1e-2, trained_on="structural")
    _, log, _ = train(tmp_path, settings)
    assert log["dice_first"].iloc[-10:].mean() > 0.6
    assert log["loss"].iloc[-10:].mean() < 0.6 * log["loss"].iloc[:3].mean()


def test_released_weights_give_the_trained_masks(trained, tmp_path):
    net, log, cost = trained
    data = {"cohort": "c", "seed": 1, "subjects": 2, "spacing_mm": 4.0, "modalities": ["CT"]}
    done = promptable.release(net, log, cost, SMALL, data, name="toy", title="T", folder=tmp_path)
    assert done.parameters == network.parameters(net)
    again = network.build(card.read("toy", folder=tmp_path).architecture)
    again.load_state_dict(card.read_state("toy", folder=tmp_path))
    for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)  # float16


def test_the_trainings_see_the_same_places():
    """Same seed: same bodies, same structures, same places; only the images differ."""
    drawn = {
        trained_on: [
            patches.draw_patch(two(), trained_on, np.random.default_rng([5, n]), size=24) for n in range(12)
        ]
        for trained_on in patches.TRAINED_ON
    }
    for structural, pet, both, pair in zip(*drawn.values(), strict=True):
        for other in (pet, both, pair):
            np.testing.assert_array_equal(structural.targets, other.targets)
        assert structural.values == pet.values == both.values == pair.values
        # the pair is the two images side by side: the structural one changed as alone, PET by a draw of its own
        blank = [(pair.image[c : c + 2] == OUTSIDE).all() for c in (0, 2)]
        assert not all(blank)
        assert blank[0] or (pair.image[:2] == structural.image).all()
        assert blank[1] or np.abs(pair.image[2:] - pet.image).max() < 0.5
        assert pair.modality == f"{structural.modality} and PET"
        assert pet.modality == "PET"
        assert structural.modality in ("CT", "MR")
    assert {p.modality for p in drawn["both"]} == {"CT", "MR", "PET"}


def test_every_fourth_patch_of_a_pair_shows_the_one_image_and_every_fourth_the_other():
    drawn = [patches.draw_patch(two(), "pair", np.random.default_rng([5, n]), size=16) for n in range(400)]
    for first in (0, 2):
        blank = sum(bool((p.image[first : first + 2] == OUTSIDE).all()) for p in drawn)
        assert blank == pytest.approx(100, abs=27)  # three standard deviations


def test_a_network_of_two_images_begins_as_the_one_of_one_image_that_it_is_made_of(trained, tmp_path):
    single, log, cost = trained
    data = {"cohort": "c", "seed": 1, "subjects": 2, "spacing_mm": 4.0, "modalities": ["CT"]}
    promptable.release(single, log, cost, SMALL, data, name="toy", title="T", folder=tmp_path)
    pair = promptable.replace(SMALL, trained_on="pair", start=str(tmp_path / "toy.json"), learning_rate=0.0)
    net, _, _ = train(tmp_path / "pair", pair)
    image = torch.rand(1, 2, 16, 16, 16) * 2 - 1
    blank = torch.full_like(image, OUTSIDE)
    inside = (..., slice(1, -1), slice(1, -1), slice(1, -1))
    with torch.no_grad():
        alone = single.encoder.stem(image)[inside]
        for both in ((image, blank), (blank, image)):
            torch.testing.assert_close(net.encoder.stem(torch.cat(both, 1))[inside], alone, atol=5e-3, rtol=0)
    with pytest.raises(InputError, match="'sam_med3d_small' sees one image"):
        promptable.settings_of("sam_med3d_small", trained_on="pair").check()
    with pytest.raises(InputError, match="released network"):
        train(tmp_path / "none", promptable.replace(pair, start="clicknt_both"))


def test_balanced_trainings_see_every_kind_of_image_equally_often_at_the_same_places():
    def drawn(trained_on, balanced):
        return [
            patches.draw_patch(two(), trained_on, np.random.default_rng([5, n]), size=16, balanced=balanced)
            for n in range(600)
        ]

    equal, plain = drawn("both", True), drawn("both", False)
    for wanted, found in (((200, 200, 200), equal), ((150, 150, 300), plain)):
        counts = [sum(p.modality == m for p in found) for m in ("CT", "MR", "PET")]
        assert counts == pytest.approx(wanted, abs=40)  # three standard deviations
    np.testing.assert_array_equal(equal[0].targets, plain[0].targets)
    sessions = ("petct", "petmr")
    steps = {
        t: promptable.with_equal_exposure(promptable.Settings(trained_on=t, steps=50), sessions).steps
        for t in patches.TRAINED_ON
    }
    assert steps == {"structural": 100, "pet": 50, "both": 150, "pair": 100}


def test_a_patch_holds_what_it_asks_for():
    for n in range(20):
        patch = patches.draw_patch(two(), "pet", np.random.default_rng(n), size=24)
        assert patch.image.shape == (2, 24, 24, 24)
        assert patch.targets.any(axis=(1, 2, 3)).all()
        assert len(set(patch.values)) == len(patch.values)


def test_clicks_are_one_to_twenty_and_lie_in_the_error():
    plans = [clicks.totals(np.random.default_rng(n)) for n in range(400)]
    assert {p[-1] for p in plans} == set(range(1, 21))
    assert all(p[0] == 1 and len(p) <= 3 and sorted(p) == p for p in plans)
    rng = np.random.default_rng(0)
    target, found = rng.random((2, 6, 6, 6)) > 0.5
    for i, j, k, sign in clicks.error_clicks(target, found, 15, rng):
        assert target[i, j, k] != found[i, j, k]
        assert sign == target[i, j, k]
    assert len(clicks.error_clicks(target, target, 5, rng)) == 0


def test_dice_of_a_perfect_prediction_costs_nothing():
    targets = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    targets[..., 1:3] = True
    perfect = torch.where(targets, 30.0, -30.0)
    assert float(loop.loss(perfect, targets)) < 1e-6
    assert float(loop.loss(-perfect, targets)) > 20
    # half of 8 voxels found with certainty: Dice 2·4/(4+8), with the 1 of both sides 9/13
    half = torch.full((1, 1, 1, 1, 8), -30.0)
    half[..., :4] = 30.0
    whole = torch.ones(1, 1, 1, 1, 8, dtype=torch.bool)
    assert float(loop.loss(half, whole)) == pytest.approx(1 - 9 / 13 + 15.0, abs=1e-4)


def test_one_process_of_torchrun_trains_to_the_same_weights(trained, tmp_path, torchrun):
    """DistributedDataParallel around the same loop, in a group of one."""
    plain, _, _ = trained
    with torchrun():
        parallel, _, _ = train(tmp_path)
    for a, b in zip(plain.state_dict().values(), parallel.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_mixed_precision_is_close_to_full(trained, tmp_path):
    _, full, _ = trained
    _, mixed, _ = train(tmp_path, promptable.replace(SMALL, precision="bfloat16"))
    np.testing.assert_allclose(mixed["loss"], full["loss"], rtol=0.05)


def test_the_same_features_whether_a_window_is_cut_or_not():
    """A decoder on part of the features answers as on all of them, away from the cut."""
    net = clicknet.tiny()._net
    image = torch.randn(1, 2, 48, 32, 32, generator=torch.Generator().manual_seed(0))
    given = torch.tensor([[20.0, 12.0, 12.0, 1.0], [14.0, 20.0, 16.0, 0.0]])
    box = (slice(8, 48), slice(0, 32), slice(0, 32))
    with torch.inference_mode():
        known = net.encode(image)
        previous = torch.zeros(1, 1, 48, 32, 32)
        whole = net.decode(known, [given], previous)[0, 0]
        part = net.decode(known.part(box), [given - torch.tensor([8.0, 0, 0, 0])], previous[..., 8:, :, :])[
            0, 0
        ]
    torch.testing.assert_close(part[24:], whole[32:], atol=1e-4, rtol=1e-4)


def test_the_intensities_come_to_the_working_grid_where_they_lie():
    """A field that is linear in the world is that field on the working grid, by unit's window."""
    affine = np.array([[0, -3.0, 0, 60], [3.0, 0, 0, -40], [0, 0, 4.0, 100], [0, 0, 0, 1]])
    shape = (44, 40, 30)
    world = geometry.to_world(affine, np.indices(shape).reshape(3, -1).T)
    image = Volume((world @ (1.0, 2.0, -1.5)).reshape(shape), affine, "HU")
    grid = clicknet.isotropic_ras(image, bodies.SPACING_MM)
    pair = bodies.on_grid(image, grid)
    inner = tuple(slice(2, n - 2) for n in grid.shape)
    centres = geometry.to_world(grid.affine, np.indices(grid.shape).reshape(3, -1).T)
    wanted = (centres @ (1.0, 2.0, -1.5)).reshape(grid.shape) / 1000
    np.testing.assert_allclose(pair[0][inner], wanted[inner], atol=1e-6)


def test_logits_come_back_to_the_image_where_they_lie():
    """A ball of 40 mm drawn as a distance on the working grid, on a finer permuted grid."""
    affine = np.array([[0, -3.0, 0, 60], [3.0, 0, 0, -60], [0, 0, 4.0, 100], [0, 0, 0, 1]])
    image = Volume(np.zeros((40, 40, 30), np.float32), affine)
    grid = clicknet.isotropic_ras(image, bodies.SPACING_MM)
    centre = geometry.to_world(affine, (20, 20, 15))
    centres = geometry.to_world(grid.affine, np.indices(grid.shape).reshape(3, -1).T)
    logits = (40 - np.linalg.norm(centres - centre, axis=1)).reshape(grid.shape)
    low = np.array([1, 2, 1])
    mask = clicknet.restored(logits[1:, 2:, 1:].astype(np.float32), low, grid, image)
    far = np.linalg.norm(
        geometry.to_world(affine, np.indices((40, 40, 30)).reshape(3, -1).T) - centre, axis=1
    ).reshape(40, 40, 30)
    assert mask[far < 37].all()
    assert not mask[far > 41].any()


def test_a_window_grows_until_the_mask_ends_inside_it():
    class Grows:
        """Says yes to everything above plane 48 of the image; counts its calls."""

        calls = 0

        def decode(self, known, given, previous):
            self.calls += 1
            out = torch.full((1, 1, *previous.shape[2:]), -5.0)
            out[0, 0, 24:, 4:6, 4:6] = 5.0
            return out

    segment = clicknet.tiny()
    segment._net = Grows()
    segment._grid = Grid((120, 48, 48), np.eye(4))
    segment._known = Features(*(torch.zeros(1, 1, 120, 48, 48) for _ in range(4)))
    found, low = segment._decoded(
        np.array([[40, 20, 20, 1.0]], np.float32), np.zeros((120, 48, 48), np.float32), "phantom"
    )
    assert low[0] == 24
    assert low[0] + found.shape[0] == 120
    assert segment._net.calls == 4  # 32, 48, 80, 96 voxels
    before = np.zeros((120, 48, 48), np.float32)
    before[70:119, 20:22, 20:22] = 1  # the previous mask lies in the window from the start
    segment._net.calls = 0
    found, low = segment._decoded(np.array([[40, 20, 20, 1.0]], np.float32), before, "phantom")
    assert (int(low[0]), int(low[0]) + found.shape[0], segment._net.calls) == (24, 120, 1)


def test_a_prompt_without_a_positive_click_and_a_click_outside_are_refused():
    segment = clicknet.tiny()
    image = Volume(np.zeros((20, 20, 20), np.float32), np.diag([6.0, 6, 6, 1]), "SUV", "phantom")
    with pytest.raises(InputError, match="holds no positive click"):
        segment(image, Prompt("liver", (Click((10.0, 10.0, 10.0), False),)))
    with pytest.raises(InputError, match=r"click at \(999.0, 0.0, 0.0\) mm lies outside phantom"):
        segment(image, Prompt("liver", (Click((999.0, 0.0, 0.0)),)))


def test_importing_the_cards_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, umdlib.weights.card, umdlib.training.promptable, umdlib.training.bodies,"
        "umdlib.segmenters.systems.clicknet; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


def test_the_command_trains_and_writes_three_files(make_cohort, tmp_path, capsys):
    from umdlib.__main__ import main

    manifest = str(make_cohort(2))
    out = tmp_path / "net"
    call = ["train", "promptable", manifest, "--out", str(out), "--trained-on", "pet", "--smoke"]
    assert main([*call, "--threads", "1"]) == 2
    assert "subjects with complete pairs to train on. At least 10" in capsys.readouterr().err
    assert main([*call, "--threads", "1", "--least", "2"]) == 0
    said = capsys.readouterr().out
    assert "step 4/4" in said
    done = card.read("clicknet_pet_0", folder=out)
    assert done.data["modalities"] == ["PET"]
    assert (done.data["subjects"], done.data["synthetic"]) == (2, False)
    assert len(card.read_log("clicknet_pet_0", folder=out)) == 2
    card.check("clicknet_pet_0", folder=out)


def test_structures_can_be_withheld_from_a_training(make_cohort, tmp_path, capsys):
    from umdlib.__main__ import main

    manifest, out = str(make_cohort(2)), tmp_path / "net"
    call = [
        "train",
        "promptable",
        manifest,
        "--out",
        str(out),
        "--smoke",
        "--least",
        "2",
        "--threads",
        "1",
        "--name",
        "fewer",
    ]
    assert main([*call, "--without", "bal"]) == 2
    assert "Did you mean 'ball'" in capsys.readouterr().err
    assert main([*call, "--without", "ball"]) == 0
    done = card.read("fewer", folder=out)
    assert done.data["withheld"] == done.data["absent"] == ["ball"]
    assert done.title.endswith("1 structure withheld")
    assert main(call) == 2  # the checkpoint is of another training
    assert "bodies was" in capsys.readouterr().err


def test_a_network_of_ones_own_is_named_by_its_card(trained, tmp_path):
    net, log, cost = trained
    data = {"cohort": "c", "seed": 1, "subjects": 2, "spacing_mm": 4.0, "modalities": ["CT"]}
    promptable.release(net, log, cost, SMALL, data, name="toy", title="Toy", folder=tmp_path)
    record = segmenters.get(f"clicknet:{tmp_path / 'toy.json'}")
    assert (record.name, record.title, record.modalities) == ("toy", "Toy (seed 3)", ("CT",))
    assert list(segmenters.identity_of(record)["weights"]) == [f"{tmp_path.name}/toy.safetensors"]
    image = Volume(
        np.random.default_rng(0).normal(size=(20, 22, 24)).astype(np.float32), np.diag([8.0, 8, 8, 1]), "HU"
    )
    prompt = Prompt("liver", clicks=(Click((80.0, 80.0, 80.0)),))
    mask = segmenters.load(record)(image, prompt)
    again = clicknet.ClickNet(net, "cpu", name="toy")(image, prompt)
    assert np.mean(mask != again) < 0.01  # kept as float16
    card.files("toy", tmp_path)["weights"].unlink()
    assert not segmenters.availability(record).ok


def test_a_card_that_is_none_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="none.json' does not exist. Give the card that"):
        segmenters.get(f"clicknet:{tmp_path / 'none.json'}")
    other = next(card.FOLDER.glob("nnunet_*.json"))
    with pytest.raises(InputError, match="is a .* not a ClickNet"):
        segmenters.get(f"clicknet:{other}")


def test_a_full_disk_is_a_sentence_and_the_checkpoint_before_stays(tmp_path):
    """torch's writer meets it as a RuntimeError; a limit on the size of files stands for the disk."""
    path = tmp_path / "latest.pth"
    path.write_text("before")
    code = (
        "import resource, signal, sys, torch\n"
        "from umdlib.files import replaced\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "with replaced(sys.argv[1]) as part:\n"
        "    torch.save({'w': torch.zeros(100_000)}, part)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert "InputError: Cannot write" in done.stderr.splitlines()[-1]
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_network_of_two_images_is_asked_with_its_partner_on_the_images_grid(tmp_path):
    net, log, cost = train(tmp_path, promptable.replace(SMALL, trained_on="pair"))
    data = {"cohort": "c", "seed": 1, "subjects": 2, "spacing_mm": 4.0, "modalities": ["CT", "MR", "PET"]}
    settings = promptable.replace(SMALL, trained_on="pair")
    promptable.release(net, log, cost, settings, data, name="toy", title="T", folder=tmp_path)
    name = f"clicknet:{tmp_path / 'toy.json'}"
    record = segmenters.get(name)
    assert record.partner == ("CT", "MR", "PET")
    rng = np.random.default_rng(0)
    ct = Volume(rng.normal(0, 100, (40, 40, 40)).astype(np.float32), np.diag([-4.0, 4, 4, 1]), "HU", "ct")
    pet = Volume(rng.uniform(0, 5, (30, 30, 30)).astype(np.float32), np.diag([-6.0, 6, 6, 1]), "SUV", "pet")
    prompt = Prompt("liver", (Click((-80.0, 80.0, 80.0)),))
    with pytest.raises(InputError, match=r"ct \(CT\) needs PET as partner"):
        segmenters.load(name)(ct, prompt)
    mask = segmenters.load(name)(ct, prompt, partner=pet)
    assert mask.shape == ct.shape
    segment = record.load("cpu")
    encoded = []
    for partner in (pet, Volume(pet.data[::-1].copy(), pet.affine, "SUV"), None, pet):
        grid = segment._encoded(ct, partner)
        encoded.append(segment._known.fine.clone())
        # structure first, whichever of the two is asked about
        seen = both_on_grid(ct, partner, grid)
        assert seen.shape[0] == 4 and (partner is None) == bool((seen[2:] == OUTSIDE).all())
        if partner is not None:
            np.testing.assert_array_equal(seen, both_on_grid(partner, ct, grid))
    assert torch.equal(encoded[0], encoded[3])
    assert not torch.equal(encoded[0], encoded[1]) and not torch.equal(encoded[0], encoded[2])


def test_the_released_network_of_both_images_is_asked_with_and_without_the_second():
    both, alone = segmenters.get("clicknet_pair"), segmenters.get("clicknet_pair_alone")
    assert both.partner == ("CT", "MR", "PET") and alone.partner == ()
    assert both.weights == alone.weights and both.load is alone.load
    rng = np.random.default_rng(0)
    ct = Volume(rng.normal(0, 100, (40, 40, 40)).astype(np.float32), np.diag([-8.0, 8, 8, 1]), "HU", "ct")
    pet = Volume(rng.uniform(0, 5, (40, 40, 40)).astype(np.float32), np.diag([-8.0, 8, 8, 1]), "SUV", "pet")
    prompt = Prompt("liver", (Click((-160.0, 160.0, 160.0)),))
    with_pet = segmenters.load(both)(ct, prompt, partner=pet)
    without = segmenters.load(alone)(ct, prompt)
    assert with_pet.shape == without.shape == ct.shape and (with_pet != without).any()
