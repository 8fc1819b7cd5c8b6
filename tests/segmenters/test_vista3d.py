"""VISTA3D: all classes of an image from one pass of its encoder."""

from __future__ import annotations

import numpy as np
import pytest

from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt

pytest.importorskip("torch")
pytest.importorskip("monai")
from umdlib.segmenters.systems import vista3d


def counted(lean: bool):
    """A tiny twin, and the list of its encoder's passes."""
    segment = vista3d.VISTA3D_CLASS.tiny()
    passes = []
    segment._net.image_encoder.register_forward_hook(lambda *a: passes.append(1))
    if lean:
        assert segment.relieve()
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
    assert not alone.relieve()
