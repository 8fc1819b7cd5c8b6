"""The control: a ball whose answer is known, and what counts as a control of a network's own kind."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from umdlib.canaries import controls
from umdlib.images import geometry
from umdlib.segmenters import BUILT_IN
from umdlib.segmenters.contract import Weights


def test_the_phantom_is_a_ball_of_60_hu_in_fat_on_a_turned_grid():
    image, mask = controls.phantom()
    edges = np.abs(np.linalg.det(controls.AFFINE[:3, :3]))
    assert mask.sum() * edges == pytest.approx(4 / 3 * np.pi * controls.RADIUS_MM**3, rel=0.02)
    inner, outer = ndimage.binary_erosion(mask, iterations=2), ~ndimage.binary_dilation(mask, iterations=2)
    assert image.data[inner].mean() == pytest.approx(60, abs=1)
    assert image.data[outer].mean() == pytest.approx(-90, abs=1) and image.data[outer].std() == pytest.approx(
        12, abs=0.5
    )
    assert controls.phantom()[0] is image


def test_its_prompt_is_one_click_at_the_middle_of_the_ball():
    _, mask = controls.phantom()
    (click,) = controls.prompt().clicks
    at = geometry.to_voxel(controls.AFFINE, click.xyz_mm)
    np.testing.assert_allclose(at, ndimage.center_of_mass(mask), atol=0.1)
    assert click.positive and mask[tuple(np.rint(at).astype(int))]


def test_a_perfect_system_has_one_on_the_control_and_an_empty_one_none(monkeypatch):
    image, mask = controls.phantom()
    for answer, score in ((mask, 1.0), (np.zeros_like(mask), 0.0)):
        monkeypatch.setattr(controls.segmenters, "get", lambda name: SimpleNamespace(weights=()))
        monkeypatch.setattr(
            controls.segmenters, "load", lambda record, device, a=answer: lambda image, prompt: a
        )
        assert controls.score("x") == score
        monkeypatch.setattr(controls, "known", lambda: {"x": 1.0})
        words, found = controls.check("x")
        assert (words == "1.000 reproduced") == (score == 1) == (found == [])


def test_a_network_trained_here_is_told_by_its_weights():
    own, theirs = (SimpleNamespace(weights=(SimpleNamespace(package=p),)) for p in ("umdlib.weights", ""))
    assert controls.trained_here(own) and not controls.trained_here(theirs)
    assert Weights.__dataclass_fields__["package"].default == ""


def test_every_recorded_control_is_of_a_segmenter_and_a_dice():
    known = controls.known()
    assert set(known) <= set(BUILT_IN) and known
    assert all(0 < v <= 1 for v in known.values())
    assert controls.check("no_such_segmenter") == ("unverified adapter", [])
