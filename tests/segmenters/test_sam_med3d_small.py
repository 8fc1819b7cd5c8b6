"""SAM-Med3D made small: the network, its training click by click, its segmenter, its chapter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from umdbook.chapters import learned_gap as chapter  # noqa: E402
from umdlib import segmenters  # noqa: E402
from umdlib.errors import InputError  # noqa: E402
from umdlib.images import geometry  # noqa: E402
from umdlib.images.volume import Volume  # noqa: E402
from umdlib.networks import build as network  # noqa: E402
from umdlib.networks.sam_med3d import SamMed3DSmall  # noqa: E402
from umdlib.prompts.prompt import Click, Prompt  # noqa: E402
from umdlib.scores.simulated import score_table  # noqa: E402
from umdlib.segmenters.systems import clicknet, sam_med3d_small  # noqa: E402
from umdlib.statistics import factorial as design  # noqa: E402
from umdlib.training import bodies, loop, promptable  # noqa: E402
from umdlib.training.patches import draw_patch  # noqa: E402
from umdlib.weights import card  # noqa: E402

SMALL = promptable.smaller(promptable.settings_of("sam_med3d_small", seed=3))
FULL = promptable.settings_of("sam_med3d_small").architecture()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def two() -> list[bodies.Body]:
    """Two bodies of two blocks that are bright on the structural image and dark on PET."""
    made = []
    for n, session, structural in ((0, "petct", "CT"), (2, "petmr", "MR")):
        labels = np.zeros((30, 28, 40), np.uint8)
        labels[6 + n : 14 + n, 8:16, 8:16] = 1
        labels[18:25, 10:18, 20:34] = 2
        noise = np.random.default_rng(n).normal(0, 0.05, labels.shape)
        image = np.stack([labels * 0.4 - 0.5 + noise] * 2).astype(np.float16)
        made.append(bodies.Body(f"sub-{n}", session, {structural: image, "PET": -image}, labels))
    return made


def train(folder, settings=SMALL, **options):
    return promptable.train(two(), settings, folder, least_subjects=1, **options)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SamMed3DSmall((16, 32), heads=2, depth=2, size=16).eval()


def image(size=16, n=1):
    return torch.randn(n, 2, size, size, size, generator=torch.Generator().manual_seed(1))


def test_the_numbers_that_the_module_states_are_those_of_the_network():
    made = network.build(FULL)
    known = made.encode(image(24))
    assert known.image.shape == (1, 64, 6, 6, 6)
    assert made.decode(known, [torch.tensor([[12.0, 12, 12, 1]])], torch.zeros(1, 1, 24, 24, 24)).shape == (
        1,
        1,
        24,
        24,
        24,
    )
    assert (len(made.layers), made.layers[0].attention.num_heads) == (3, 6)
    assert (len(made.transformer.layers), made.transformer.num_heads) == (2, 4)
    assert 0.6e6 < network.parameters(made) < 0.7e6


def test_place_sign_and_previous_mask_each_change_the_answer(net):
    known, none = net.encode(image()), torch.zeros(1, 1, 16, 16, 16)
    half = none.clone()
    half[..., :8] = 1
    here = torch.tensor([[4.0, 4, 4, 1]])
    with torch.inference_mode():
        answers = [
            net.decode(known, [here], none),
            net.decode(known, [here + torch.tensor([6.0, 0, 0, 0])], none),
            net.decode(known, [torch.cat([here, here * torch.tensor([2.0, 2, 2, 0])])], none),
            net.decode(known, [here], half),
        ]
    for n, one in enumerate(answers):
        for other in answers[:n]:
            assert (one - other).abs().max() > 1e-4


def test_prompts_of_different_lengths_are_answered_together_as_alone(net):
    """What pads the shorter list is the token that is no click, not a click."""
    known = net.encode(image())
    one = torch.tensor([[4.0, 4, 4, 1]])
    three = torch.tensor([[9.0, 9, 9, 1], [2.0, 2, 2, 0], [5.0, 9, 1, 0]])
    none = torch.zeros(1, 1, 16, 16, 16)
    with torch.inference_mode():
        together = net.decode(known, [three, three[:1]], none.expand(2, -1, -1, -1, -1))
        torch.testing.assert_close(together[:1], net.decode(known, [three], none), atol=1e-5, rtol=1e-5)
        asked = net._tokens([one, three])
        torch.testing.assert_close(asked[0, 2], net.no_click.weight[0])
        torch.testing.assert_close(asked[0, 4], net.no_click.weight[0])


def test_a_batch_of_cubes_is_answered_as_each_alone(net):
    cubes = image(n=2)
    clicks = [torch.tensor([[4.0, 4, 4, 1]]), torch.tensor([[9.0, 2, 7, 1]])]
    none = torch.zeros(2, 1, 16, 16, 16)
    with torch.inference_mode():
        both = net.decode(net.encode(cubes), clicks, none)
        for n in range(2):
            alone = net.decode(net.encode(cubes[n : n + 1]), clicks[n : n + 1], none[:1])
            torch.testing.assert_close(both[n : n + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_middle_of_a_cube_lies_in_its_structure(seed):
    patch = draw_patch(two(), "both", np.random.default_rng(seed), size=24, prompts=1, centred=True)
    assert patch.targets.shape == (1, 24, 24, 24)
    assert patch.targets[0][patch.middle]
    assert set(patch.middle) <= {11, 12}  # 11 where left and right were swapped


def test_clicks_come_one_by_one_and_each_mask_is_fed_back():
    class Sees(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.seen = []

        def encode(self, image):
            return image

        def decode(self, known, clicks, previous):
            self.seen.append(([len(c) for c in clicks], float(previous.sum()), torch.is_grad_enabled()))
            out = torch.full_like(previous, -1.0)
            out[:, :, :2] = 1.0
            return out + self.weight

    settings = promptable.replace(SMALL, rounds=9, clicks=9, graded=3, batch=2)
    patches = [
        draw_patch(two(), "both", np.random.default_rng(s), size=24, prompts=1, centred=True)
        for s in range(2)
    ]
    net = Sees()
    for seed in range(20):
        net.seen = []
        value, seen = loop.Rounds(net, settings)(patches, np.random.default_rng(seed), "cpu")
        assert [n for n, _, _ in net.seen] == [[k + 1] * 2 for k in range(seen["clicks"])]
        fed = [s for _, s, _ in net.seen]
        assert fed[0] == 0 and set(fed[1:]) <= {2 * 2 * 24 * 24}
        graded = [g for *_, g in net.seen]
        assert graded[0] and graded[-1] and sum(graded) == min(3, seen["clicks"])
        assert value.requires_grad


def test_a_training_that_was_stopped_ends_where_one_that_ran_through_does(tmp_path):
    whole, log, _ = train(tmp_path / "whole")
    train(tmp_path / "parts", stop_after=2)
    parts, log_parts, _ = train(tmp_path / "parts")
    np.testing.assert_array_equal(log_parts["loss"], log["loss"])
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "whole" / "sam_med3d_small_both_3.log.tsv").is_file()


def test_one_process_of_torchrun_trains_to_the_same_weights(tmp_path, monkeypatch, torchrun):
    """To the bit, in the layout of memory that DistributedDataParallel needs.

    In the layout of one process the convolutions add in another order. That stays at rounding but for the
    biases of attention's keys: softmax takes them out, so their gradient is rounding alone, which AdamW makes
    into steps of up to the learning rate. They change nothing that the network answers.
    """
    usual, _, _ = train(tmp_path / "usual")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LAST", torch.contiguous_format)
        plain, _, _ = train(tmp_path / "plain")
    with torchrun():
        parallel, _, _ = train(tmp_path / "parallel")
    width, rounding = SMALL.widths[0], 1e-6
    for name, a in plain.state_dict().items():
        assert torch.equal(a, parallel.state_dict()[name]), name
        apart = (a - usual.state_dict()[name]).abs()
        if name.endswith("qkv.bias"):
            apart[width : 2 * width] = 0
        if not name.endswith("k_proj.bias"):
            assert apart.max() < rounding, name
        assert apart.max() <= SMALL.steps * SMALL.learning_rate, name


@pytest.mark.slow
def test_clicks_and_image_are_learned(tmp_path):
    """Blocks of one intensity: two hundred steps find them from one click."""
    settings = promptable.replace(
        promptable.settings_of("sam_med3d_small"),
        steps=200,
        clicks=3,
        rounds=3,
        patch=24,
        widths=(24, 32),
        heads=2,
        depth=1,
        learning_rate=3e-3,
        trained_on="structural",
    )
    _, log, _ = train(tmp_path, settings)
    assert log["dice_first"].iloc[-10:].mean() > 0.6
    assert log["loss"].iloc[-10:].mean() < 0.6 * log["loss"].iloc[:3].mean()


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="Invalid prompts 4. Must be 1 where a batch has several"):
        promptable.replace(SMALL, prompts=4).check()
    with pytest.raises(InputError, match="Unknown network 'sam_med3d'"):
        promptable.settings_of("sam_med3d")
    with pytest.raises(InputError, match="Invalid graded -1"):
        promptable.replace(SMALL, graded=-1).check()


# ---------------------------------------------------------------- the segmenter


class Everything:
    """A network that marks its whole cube; keeps what it was given."""

    size = 24

    def to(self, device):
        return self

    def eval(self):
        return self

    def encode(self, image):
        self.encoded = getattr(self, "encoded", 0) + 1
        return image

    def decode(self, known, clicks, previous):
        self.clicks, self.previous = clicks[0].numpy(), previous.numpy()[0, 0]
        return torch.ones_like(previous)


def phantom() -> Volume:
    affine = np.array([[0, -4.0, 0, 200], [4.0, 0, 0, -200], [0, 0, 8.0, 50], [0, 0, 0, 1]])
    return Volume(np.zeros((100, 100, 60), np.float32), affine, "SUV", "phantom")


def at(image, *voxel, positive=True):
    return Click(tuple(geometry.to_world(image.affine, voxel).tolist()), positive)


def test_the_cube_lies_around_the_first_click_and_is_encoded_once():
    net, shown = Everything(), phantom()
    segment = sam_med3d_small.SamMed3DSmall(net, "cpu", name="all")
    mask = segment(shown, Prompt("liver", (at(shown, 50, 50, 30),)))
    # 24 voxels of 8 mm are 48, 48 and 24 voxels of the image
    places = np.argwhere(mask)
    assert (places.min(0).tolist(), places.max(0).tolist()) == ([26, 28, 18], [73, 75, 41])
    assert len(places) == 48 * 48 * 24
    np.testing.assert_allclose(net.clicks, [[12, 12, 12, 1]])
    clicks = (at(shown, 50, 50, 30), at(shown, 55, 50, 30, positive=False))
    segment(shown, Prompt("liver", clicks), mask)
    assert net.encoded == 1
    assert net.previous.all()
    assert len(net.clicks) == 2 and net.clicks[1][3] == 0


def test_a_click_beyond_the_cube_moves_it_and_the_mask_outside_stays():
    net, shown = Everything(), phantom()
    segment = sam_med3d_small.SamMed3DSmall(net, "cpu", name="all")
    first = segment(shown, Prompt("liver", (at(shown, 30, 50, 30),)))
    clicks = (at(shown, 30, 50, 30), at(shown, 80, 50, 30))
    both = segment(shown, Prompt("liver", clicks), first)
    assert net.encoded == 2 and len(net.clicks) == 1
    assert (both >= first).all() and both[80, 50, 30] and not first[80, 50, 30]


@pytest.mark.parametrize("n", [100, 101])
def test_no_slit_opens_between_a_kept_mask_and_a_new_cube(n):
    """On an axis with an odd number of voxels the cube's faces lie in the middle of voxels."""
    shown = Volume(np.zeros((n, n, n), np.float32), np.diag([4.0, 4, 4, 1]), "SUV", "phantom")
    segment = sam_med3d_small.SamMed3DSmall(Everything(), "cpu", name="all")
    first = segment(shown, Prompt("liver", (at(shown, 30, 50, 50),)))
    clicks = (at(shown, 30, 50, 50), at(shown, 60, 52, 50))
    both = segment(shown, Prompt("liver", clicks), first)
    assert (both >= first).all() and both[60, 52, 50]
    along = np.flatnonzero(both[:, 50, 50])
    assert (np.diff(along) == 1).all() and len(along) > 70


def test_a_click_at_the_border_of_the_image_is_answered():
    shown = phantom()
    segment = sam_med3d_small.SamMed3DSmall(Everything(), "cpu", name="all")
    mask = segment(shown, Prompt("liver", (at(shown, 0, 99, 0),)))
    assert mask[0, 99, 0] and mask.shape == shown.shape


def test_a_prompt_without_a_positive_click_and_a_click_outside_are_refused():
    segment, shown = sam_med3d_small.tiny(), phantom()
    with pytest.raises(InputError, match="holds no positive click"):
        segment(shown, Prompt("liver", (at(shown, 5, 5, 5, positive=False),)))
    with pytest.raises(InputError, match="lies outside phantom"):
        segment(shown, Prompt("liver", (Click((9999.0, 0.0, 0.0)),)))


def test_a_network_of_ones_own_is_named_by_its_card(tmp_path):
    net, log, cost = train(tmp_path)
    data = {"cohort": "c", "seed": 1, "subjects": 2, "spacing_mm": 4.0, "modalities": ["CT"]}
    promptable.release(net, log, cost, SMALL, data, name="mine", title="Mine", folder=tmp_path)
    record = segmenters.get(f"sam_med3d_small:{tmp_path / 'mine.json'}")
    assert (record.name, record.title, record.modalities) == ("mine", "Mine (seed 3)", ("CT",))
    shown = Volume(
        np.random.default_rng(0).normal(size=(20, 22, 24)).astype(np.float32), np.diag([8.0, 8, 8, 1]), "HU"
    )
    prompt = Prompt("liver", clicks=(Click((80.0, 80.0, 80.0)),))
    mask = segmenters.load(record)(shown, prompt)
    again = sam_med3d_small.SamMed3DSmall(net, "cpu", name="mine")(shown, prompt)
    assert np.mean(mask != again) < 0.02  # kept as float16
    with pytest.raises(InputError, match="is a SamMed3DSmall, not a ClickNet"):
        clicknet.trained(tmp_path / "mine.json")


def test_the_command_trains_it(make_cohort, tmp_path, capsys):
    from umdlib.__main__ import main

    call = [
        "train",
        "promptable",
        str(make_cohort(2)),
        "--out",
        str(tmp_path),
        "--smoke",
        "--least",
        "2",
        "--threads",
        "1",
        "--network",
    ]
    assert main([*call, "sam_med3d_smal"]) == 2
    assert "Did you mean 'sam_med3d_small'" in capsys.readouterr().err
    assert main([*call, "sam_med3d_small"]) == 0
    done = card.read("sam_med3d_small_both_0", folder=tmp_path)
    assert done.architecture["network"] == "SamMed3DSmall"
    assert done.title == "SAM-Med3D, small, trained on both"


@pytest.mark.parametrize("trained_on", design.TRAINED_ON)
def test_the_released_trainings_share_all_but_their_images(trained_on):
    done = card.read(f"sam_med3d_small_{trained_on}")
    first = card.read("sam_med3d_small_structural")
    card.check(done.name)
    assert done.settings | {"trained_on": ""} == first.settings | {"trained_on": ""}
    assert (done.data["cohort_sha256"], done.code_version) == (
        first.data["cohort_sha256"],
        first.code_version,
    )
    assert (done.settings["clicks"], done.settings["rounds"]) == (20, 20)


# ---------------------------------------------------------------- the chapter


def contrasts(estimates: dict[str, tuple[float, float, float]]) -> pd.DataFrame:
    rows = [
        {
            "session": "petct",
            "contrast": "interaction",
            "network": n,
            "estimate": e,
            "ci_low": a,
            "ci_high": b,
            "at_floor": False,
        }
        for n, (e, a, b) in estimates.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ((-0.1, -0.2, -0.05), "in both the gap depends on the training, in the same direction"),
        ((0.1, 0.05, 0.2), "in both the gap depends on the training, in opposite directions"),
        ((-0.1, -0.3, 0.1), "an interval that holds 0 decides nothing"),
        ((-0.1, np.nan, np.nan), "too few subjects for an interval"),
    ],
)
def test_the_sentence_on_two_architectures_follows_the_numbers(second, verdict):
    words = chapter.architecture_words(contrasts({"A": (-0.3, -0.4, -0.2), "B": second}))
    assert words.endswith(f"{verdict}.")
    assert "with A and" in words


def test_architectures_stand_side_by_side_and_one_alone_has_no_table():
    two_of_them = contrasts({"A": (-0.3, -0.4, -0.2), "B": (0.1, 0.05, 0.2)})
    layout = chapter.architecture_layout(two_of_them)
    assert list(layout.columns) == ["Session", "Contrast", "A", "B"]
    assert layout["B"].tolist() == ["+0.100 [+0.050, +0.200]"]
    assert chapter.architecture_layout(two_of_them[:1]).empty


def test_every_architecture_has_its_costs_and_curves():
    costs = chapter.costs()
    for family in chapter.ARCHITECTURES:
        assert {d for d, _ in (design.parts_of(n, family=family) for n in chapter.released(family))} == set(
            design.TRAINED_ON
        )
        assert set(chapter.released(family)) <= set(costs["name"])
        assert set(chapter.logs(family=family)) == set(design.TRAINED_ON)


def test_contrasts_of_two_architectures_come_from_their_own_rows():
    gaps = {"structural": -0.3, "pet": 0.1, "both": -0.1}
    both = {"clicknet": 1.0, "sam_med3d_small": 0.5}
    table = score_table(
        n_subjects=5, gap={f"{f}_{d}": g * k for f, k in both.items() for d, g in gaps.items()}
    )
    rows = {f: design.design_scores(table, family=f) for f in both}
    found = chapter.by_family(rows, chapter.ARCHITECTURES, n_resamples=99)
    gap = found[found["contrast"].eq("gap")].set_index("network")["estimate"]
    assert gap["ClickNet"] == pytest.approx(-0.3, abs=0.05)
    assert gap["SAM-Med3D, small"] == pytest.approx(-0.15, abs=0.05)
    alone = chapter.by_family({"clicknet": rows["clicknet"][:0]}, chapter.ARCHITECTURES, n_resamples=99)
    assert chapter.architecture_layout(alone).empty
    assert chapter.architecture_words(alone) == ""
