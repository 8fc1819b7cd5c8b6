"""ClickNet: shapes, what a network that was not trained answers, gradients, features cut to a window."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from umdlib.errors import InputError  # noqa: E402
from umdlib.networks import clicknet  # noqa: E402
from umdlib.networks.build import build, parameters  # noqa: E402
from umdlib.networks.layers import ChannelNorm  # noqa: E402
from umdlib.networks.onnx_graphs import onnx_graphs  # noqa: E402

TINY = {"network": "ClickNet", "widths": [4, 6, 8, 8], "heads": 3, "depth": 4}
SHAPE = (16, 24, 8)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build(TINY).eval()


@pytest.fixture
def image():
    return torch.rand(1, 2, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def clicks(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_features_and_logits_have_the_shapes_that_are_stated(net, image):
    known = net.encode(image)
    half = tuple(n // 2 for n in SHAPE)
    assert known.fine.shape == (1, 4, *SHAPE) and known.coarse.shape == (1, 6, *half)
    assert known.fine_key.shape == (2, 4, *SHAPE) and known.coarse_key.shape == (3, 4, *half)
    for key in (known.fine_key, known.coarse_key):
        torch.testing.assert_close(key.norm(dim=1), torch.ones(key.shape[:1] + key.shape[2:]))
    given = [clicks((3, 4, 5, 1)), clicks((3, 4, 5, 1), (9, 9, 2, 0))]
    logits = net.decode(known, given, torch.zeros(2, 1, *SHAPE))
    assert logits.shape == (2, 1, *SHAPE) and logits.dtype == torch.float32


def test_prompts_of_one_image_do_not_see_each_other(net, image):
    known = net.encode(image)
    given = [clicks((3, 4, 5, 1)), clicks((12, 20, 2, 1), (1, 1, 1, 0))]
    previous = (torch.rand(2, 1, *SHAPE) > 0.5).float()
    with torch.no_grad():
        together = net.decode(known, given, previous)
        alone = [net.decode(known, [g], p[None]) for g, p in zip(given, previous, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_before_any_training_a_click_is_inside_and_a_negative_one_lowers_it(net, image):
    known, none = net.encode(image), torch.zeros(1, 1, *SHAPE)
    with torch.no_grad():
        one = net.decode(known, [clicks((8, 12, 4, 1))], none)[0, 0]
        two = net.decode(known, [clicks((8, 12, 4, 1), (8, 12, 5, 0))], none)[0, 0]
        kept = net.decode(known, [clicks((8, 12, 4, 1))], torch.ones_like(none))[0, 0]
    assert one[8, 12, 4] > 0 > one[0, 0, 0]
    assert two[8, 12, 4] < one[8, 12, 4]
    assert (kept - one).mean() > 0.5  # the previous mask speaks for itself


def test_every_weight_takes_part_in_the_answer(net, image):
    """All have a gradient that is not zero once the zeros that residuals begin with have moved."""
    for name, value in net.named_parameters():
        if name.endswith("second.weight"):
            torch.nn.init.normal_(value, std=0.1)
    given = [clicks((3, 4, 5, 1), (12, 20, 2, 0)), clicks((9, 2, 2, 1))]
    net.decode(net.encode(image), given, torch.zeros(2, 1, *SHAPE)).square().mean().backward()
    unused = [n for n, v in net.named_parameters() if v.grad is None or not v.grad.abs().max() > 0]
    assert not unused
    assert parameters(net) == sum(v.numel() for v in net.parameters())
    net.logit.weight.requires_grad_(False)
    assert parameters(net) == sum(v.numel() for v in net.parameters()) - net.logit.weight.numel()


@pytest.mark.parametrize("power", [1, 2])
def test_the_map_of_a_click_falls_with_the_distance_to_the_nearest(power):
    points = torch.tensor([[2.0, 3.0, 1.0], [6.0, 0.5, 2.0]])
    found = clicknet._falloff(points, (8, 5, 4), 2.5, power)
    grid = np.indices((8, 5, 4)).reshape(3, -1).T
    far = np.linalg.norm(grid[:, None] - points.numpy(), axis=2).min(axis=1)
    np.testing.assert_allclose(found.numpy().ravel(), np.exp(-((far / 2.5) ** power)), rtol=1e-5)


def test_likeness_is_the_best_cosine_with_the_places_given():
    key = clicknet.keys(torch.randn(1, 6, 3, 4, 5, generator=torch.Generator().manual_seed(2)), 2)
    found = clicknet.likeness(key, (torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([4, 0])))
    wanted = [(key * key[:, :, i, j, k, None, None, None]).sum(1) for i, j, k in ((0, 1, 4), (2, 3, 0))]
    torch.testing.assert_close(found, torch.maximum(*wanted))
    assert found[:, 0, 1, 4] == pytest.approx([1, 1], abs=1e-6)


def test_features_of_a_box_are_the_box_of_the_features(net, image):
    known = net.encode(image)
    part = known.part((slice(4, 12), slice(8, 24), slice(0, 8)))
    assert torch.equal(part.fine, known.fine[..., 4:12, 8:24, :])
    assert torch.equal(part.coarse, known.coarse[..., 2:6, 4:12, :])
    assert torch.equal(part.coarse_key, known.coarse_key[..., 2:6, 4:12, :])


def test_a_card_of_two_images_builds_a_network_of_four_channels(net):
    pair = build(TINY | {"channels": 4})
    assert pair.encoder.stem.in_channels == 4 and net.encoder.stem.in_channels == 2
    assert parameters(pair) - parameters(net) == 2 * 4 * 27


def test_the_norm_of_channels_is_the_same_in_a_patch_and_in_a_whole_body():
    norm = ChannelNorm(16)
    x = torch.randn(2, 16, 4, 5, 6) * 7 + 3
    done = norm(x)
    torch.testing.assert_close(done.mean(1), torch.zeros(2, 4, 5, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(done.var(1, unbiased=False), torch.ones(2, 4, 5, 6), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm(x[..., 1:3]), done[..., 1:3])


def test_graphs_hold_the_weights_once_as_float16_and_compute_what_torch_does(net, image):
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    state = {n: v.detach().numpy() for n, v in net.state_dict().items()}
    encoder, decoder = map(onnx.load_from_string, onnx_graphs(state, TINY))
    held = [t.name for model in (encoder, decoder) for t in model.graph.initializer if t.name in state]
    assert sorted(held) == sorted(state)
    assert {numpy_helper.to_array(t).dtype.name for t in decoder.graph.initializer if t.name in state} == {
        "float16"
    }
    small = image[..., :8, :8, :8]
    found = ReferenceEvaluator(encoder).run(None, {"image": small.numpy()})
    with torch.no_grad():
        known = net.encode(small)
    for ours, theirs in zip(found, (known.fine, known.coarse, known.fine_key, known.coarse_key), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=0.02)


def test_without_onnx_the_way_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"package onnx is needed here: pip install 'umdlib\[book\]'"):
        onnx_graphs({}, TINY)
