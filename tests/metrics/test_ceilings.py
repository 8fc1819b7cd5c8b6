"""Ceilings from masks alone, against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images.volume import LabelMap
from umdlib.metrics import ceilings
from umdlib.metrics.masks import dice


def grid(shape, spacing, origin=0.0):
    affine = np.diag([*np.broadcast_to(spacing, 3), 1.0])
    affine[:3, 3] = origin
    return LabelMap(np.zeros(shape, np.uint8), affine)


def ball(shape, spacing, radius):
    centre = (np.array(shape) - 1) / 2 * spacing
    where = np.moveaxis(np.indices(shape), 0, -1) * np.asarray(spacing, float)
    return ((where - centre) ** 2).sum(-1) < radius**2


def test_the_best_mask_on_a_grid_is_the_best_of_all_its_masks():
    """Every one of the 2 ** 8 masks of a coarse grid is tried."""
    rng = np.random.default_rng(3)
    fine, coarse = grid((6, 4, 4), (1.0, 1.5, 1.5)), grid((2, 2, 2), 3.0, (1.0, 0.75, 0.75))
    index = np.kron(np.arange(8).reshape(2, 2, 2), np.ones((3, 2, 2), int))
    for _ in range(5):
        mask = rng.random(fine.data.shape) < 0.4
        trip, best = ceilings.on_grid(mask, fine.affine, coarse)
        every = [
            dice(mask, np.array(kept)[index])
            for kept in itertools.product([False, True], repeat=8)
            if any(kept)
        ]
        assert best == pytest.approx(max(every), abs=1e-12)
        middle = mask[1::3, ::2, ::2]  # one of the voxels nearest to each coarse centre
        assert trip <= best
        assert middle.shape == (2, 2, 2)


def test_a_finer_grid_costs_nothing_and_a_coarse_one_costs_a_thin_structure_most():
    rod = np.zeros((30, 30, 30), bool)
    rod[14:16, 14:16, 4:24] = True
    wide = ball((30, 30, 30), 1.0, 12)
    same = grid((30, 30, 30), 1.0)
    assert ceilings.on_grid(rod, same.affine, same) == (1.0, 1.0)
    coarse = grid((8, 8, 8), 4.0, 1.5)
    thin, thick = (ceilings.on_grid(m, same.affine, coarse) for m in (rod, wide))
    # 2 x 2 of 4 x 4 voxels in section: shares of a quarter
    assert thin[1] == pytest.approx(2 * 80 / (80 + 320), abs=1e-12)
    assert thick[0] > 0.8 > thin[1]
    assert np.isnan(ceilings.on_grid(np.zeros((30, 30, 30), bool), same.affine, coarse)).all()
    assert ceilings.on_grid(rod, same.affine, grid((8, 8, 8), 4.0, 500.0)) == (0.0, 0.0)


def test_the_grid_is_read_in_slabs_and_turned_axes_alike(monkeypatch):
    mask = ball((24, 20, 22), (1.0, 1.2, 0.9), 8)
    fine, coarse = grid(mask.shape, (1.0, 1.2, 0.9)), grid((9, 9, 9), 3.0, -1.0)
    whole = ceilings.on_grid(mask, fine.affine, coarse)
    turned = fine.affine.copy()
    turned[:3, 0] *= -1
    turned[0, 3] = 23.0
    assert ceilings.on_grid(mask[::-1], turned, coarse) == pytest.approx(whole, abs=1e-12)
    monkeypatch.setattr(ceilings, "_SLAB", 500)
    assert ceilings.on_grid(mask, fine.affine, coarse) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("shift", [5.0, 10.0])
def test_a_ball_that_moves_loses_what_the_closed_form_says(shift):
    radius, spacing = 24.0, (2.0, 2.0, 2.0)
    mask = ball((32, 32, 32), spacing, radius)
    x = shift / (2 * radius)
    found = ceilings.moved(mask, np.diag([*spacing, 1.0]), (0, 0, shift))
    assert found == pytest.approx(1 - 1.5 * x + 0.5 * x**3, abs=0.02)
    assert ceilings.moved(mask, np.eye(4), (0, 0, 0)) == 1.0
    assert np.isnan(ceilings.moved(mask, np.eye(4), (0, 0, np.nan)))


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (2.0, 2.0, 3.0)])
def test_a_second_reader_differs_by_area_times_jitter_whatever_the_voxels(spacing):
    """A cube of 96 mm: area 6 x 96**2, Dice about 1 - area x jitter / (sqrt(2 pi) x volume)."""
    side, jitter = 96.0, 2.0
    mask = np.ones(tuple(int(side / s) for s in spacing), bool)
    mask = np.pad(mask, 3)
    found = ceilings.second_reader(mask, spacing, jitter, rng=np.random.default_rng(0))
    loss = 6 * side**2 * jitter / (np.sqrt(2 * np.pi) * side**3)
    assert 1 - found == pytest.approx(loss, rel=0.2)
    assert ceilings.second_reader(mask, spacing, 0.0, rng=np.random.default_rng(0)) == 1.0


def test_a_large_mask_is_thinned_out_and_says_the_same(monkeypatch):
    mask = ball((48, 48, 48), 2.0, 40)
    before = ceilings.second_reader(mask, (2, 2, 2), 2.0, rng=np.random.default_rng(1))
    monkeypatch.setattr(ceilings, "_SLAB", 10_000)
    after = ceilings.second_reader(mask, (2, 2, 2), 2.0, rng=np.random.default_rng(1))
    assert after == pytest.approx(before, abs=0.02)


def test_no_second_reader_of_nothing_and_no_jitter_below_zero():
    empty = np.zeros((5, 5, 5), bool)
    rng = np.random.default_rng(0)
    assert np.isnan(ceilings.second_reader(empty, (1, 1, 1), 1.0, rng=rng))
    with pytest.raises(InputError, match="Must be 0 or more"):
        ceilings.second_reader(~empty, (1, 1, 1), -1.0, rng=rng)
