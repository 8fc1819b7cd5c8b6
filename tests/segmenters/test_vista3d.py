"""VISTA3D: all classes of an image from one pass of its encoder."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt

pytest.importorskip("torch")
pytest.importorskip("monai")
from umdlib.segmenters.systems import vista3d


def counted(lean: bool):
    """A tiny twin, and the list of its encoder's passes."""
    segment = vista3d.VISTA3D_CLASS.tiny()
    passes = []
    segment._net.image_encoder.register_forward_hook(lambda *a: passes.append(1))
    if lean:
        assert segment.free_memory()
    return segment, passes


def test_all_structures_cost_the_encoder_one_pass_and_are_those_of_one_at_a_time():
    data = np.random.default_rng(0).normal(60, 250, (20, 18, 10)).astype(np.float32)
    image = Volume(data, np.diag([-2.0, -2.0, 3.0, 1.0]), "HU", "noise")
    together, passes = counted(lean=False)
    alone, many = counted(lean=True)
    for name in vista3d.CLASSES:
        mask = together(image, Prompt(name))
        np.testing.assert_array_equal(mask, alone(image, Prompt(name)))
    assert len(many) == len(vista3d.CLASSES) * len(passes) > 0
    other = Volume(data[::-1].copy(), image.affine, "HU", "another")
    assert (together(other, Prompt("liver")) != together(image, Prompt("liver"))).any()
    assert not alone.free_memory()


def test_the_network_of_ct_and_mr_asks_two_lungs_outside_ct_and_scales_by_percentiles():
    data = np.random.default_rng(0).normal(300, 90, (20, 18, 10)).astype(np.float32)
    for unit, lungs in (("HU", (28, 29, 30, 31, 32)), ("a.u.", (135, 136))):
        segment, asked = vista3d.NV_SEGMENT_CTMR.tiny(), []
        answer = segment._by_class
        segment._by_class = lambda ready, ids, answer=answer, asked=asked: (
            asked.append(ids) or answer(ready, ids)
        )
        image = Volume(data, np.diag([-1.5, -1.5, 1.5, 1.0]), unit, "noise")
        segment(image, Prompt("lung"))
        (ids,) = asked
        assert {i for i in ids if i in range(28, 33) or i > 130} == set(lungs)
        low, high = np.percentile(data, (1, 99))
        expected = np.clip((data - low) / (high - low), 0, 1)[::-1, ::-1]
        np.testing.assert_allclose(segment._prepared(image)[0], expected, atol=1e-5)


def test_a_click_in_the_border_voxel_of_an_image_is_answered():
    """Its centre lies up to half a voxel outside the grid of 1.5 mm, where the bundle finds the nearest voxel."""
    data = np.full((20, 18, 10), 60, np.float32)
    image = Volume(data, np.diag([2.2137, 1.9071, 4.1033, 1.0]), "HU", "even")
    segment = vista3d.VISTA3D_POINT.tiny()
    spaced = np.array(segment._prepared(image).shape[1:])
    last = image.affine @ (19, 17, 9, 1)
    place = np.linalg.inv(np.asarray(segment._ready.affine)) @ last
    assert (place[:3] > spaced - 1).any()  # beyond the last centre
    assert segment(image, Prompt("x", (Click(tuple(last[:3].tolist())),))).shape == image.shape
    with pytest.raises(InputError, match="No positive click"):
        segment(image, Prompt("x", (Click((-9.0, 0.0, 0.0)),)))


def test_a_window_is_encoded_once_over_all_clicks_of_a_structure():
    import torch

    def points():
        segment, passes = vista3d.VISTA3D_POINT.tiny(), []
        segment._net.image_encoder.encoder.register_forward_hook(lambda *a: passes.append(1))
        return segment, passes

    data = np.random.default_rng(0).normal(60, 250, (60, 58, 40)).astype(np.float32)
    image = Volume(data, np.diag([-1.5, -1.5, 1.5, 1.0]), "HU", "noise")
    places = [(30.0, 28.0, 20.0), (16.0, 40.0, 17.0)]
    clicks = tuple(Click((-1.5 * x, -1.5 * y, 1.5 * z)) for x, y, z in places)
    kept, passes = points()
    for n in (1, 2):
        prompt = Prompt("liver", clicks[:n])
        anew, once = points()
        with torch.inference_mode():
            logits, wanted = (s._by_points(s._prepared(image), image, prompt) for s in (kept, anew))
        np.testing.assert_array_equal(logits.numpy(), wanted.numpy())
        assert len(passes) == len(once) <= vista3d.WINDOWS
    kept._prepared(Volume(data + 1, image.affine, "HU", "another"))
    assert not kept._windows._seen
