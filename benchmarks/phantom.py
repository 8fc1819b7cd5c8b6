"""Whole-body label maps for timing: 13 structures, a good and a poor prediction."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

# name: shape (I, J, K), spacing in mm. Whole-body PET and CT as in hybrid scanners.
GRIDS = {
    "PET": ((400, 400, 354), (2.04, 2.04, 3.0)),
    "CT": ((512, 512, 600), (0.98, 0.98, 1.5)),
    "mini": ((200, 200, 177), (4.08, 4.08, 6.0)),
}

# Centres and half axes in mm from the middle of the body (left, back, head), value by value.
ORGANS = (
    ((55, -10, 90), (110, 75, 75)),  # liver
    ((-65, 45, 30), (28, 25, 55)),
    ((65, 45, 20), (28, 25, 55)),
    ((0, 0, 430), (70, 85, 62)),  # brain
    ((-20, -35, 200), (58, 45, 60)),
    ((-95, 30, 110), (35, 45, 55)),  # spleen
    ((-8, 35, 120), (12, 12, 190)),  # aorta
    ((75, 5, 220), (62, 85, 115)),  # lung
    ((0, -50, -20), (120, 40, 22)),  # colon
    ((0, -20, -190), (42, 38, 40)),
    ((-10, -10, 65), (75, 16, 18)),  # pancreas
    ((6, 25, 270), (9, 9, 115)),  # oesophagus
    ((-70, -30, 110), (45, 45, 55)),
)


@dataclass(frozen=True)
class Error:
    """How wrong a prediction is: shift and roughness in mm, spurious blobs, structures lost."""

    shift_mm: float
    rough_mm: float
    blobs: int
    lost: tuple[int, ...]


ERRORS = {"good": Error(1.8, 1.6, 12, (9,)), "poor": Error(15.0, 9.0, 40, (3, 12))}


@functools.cache
def reference(grid: str, *, seed: int = 0) -> np.ndarray:
    """Label map uint8 (I, J, K), Fortran order as files are read."""
    return _draw(grid, np.random.default_rng(seed), None)


@functools.cache
def prediction(grid: str, quality: str, *, seed: int = 0) -> np.ndarray:
    """A prediction of `reference(grid, seed=seed)`."""
    return _draw(grid, np.random.default_rng(seed), ERRORS[quality])


def _draw(grid: str, rng: np.random.Generator, error: Error | None) -> np.ndarray:
    """All structures, then blobs, drawn into one volume."""
    shape, spacing = GRIDS[grid]
    volume = np.zeros(shape, np.uint8, order="F")
    phases = rng.uniform(0, 2 * np.pi, (len(ORGANS), 2, 6))
    shifts = rng.normal(0, 1, (len(ORGANS), 3))
    for n, (centre, half) in enumerate(ORGANS):
        if error and n in error.lost:
            continue
        move = error.shift_mm * shifts[n] / np.linalg.norm(shifts[n]) if error else 0.0
        rough = [(3.0, phases[n, 0])] + ([(error.rough_mm, phases[n, 1])] if error else [])
        _ellipsoid(volume, spacing, np.add(centre, move), half, rough, n + 1)
    for _ in range(error.blobs if error else 0):
        value = int(rng.integers(1, len(ORGANS) + 1))
        if value - 1 not in error.lost:
            place = rng.uniform(-1, 1, 3) * (150, 90, 420)
            _ellipsoid(volume, spacing, place, rng.uniform(4, 14, 3), [], value)
    return volume


def _ellipsoid(volume, spacing, centre, half, rough, value) -> None:
    """An ellipsoid with a wavy surface, painted over what is there."""
    middle = np.array(volume.shape) / 2
    low = np.floor(middle + (np.subtract(centre, half) - 40) / spacing).astype(int)
    high = np.ceil(middle + (np.add(centre, half) + 40) / spacing).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, volume.shape)
    axes = [
        ((np.arange(a, b) - m) * s - c).astype(np.float32).reshape([-1 if n == k else 1 for n in range(3)])
        for k, (a, b, m, s, c) in enumerate(zip(low, high, middle, spacing, centre, strict=True))
    ]
    radius = sum((a / np.float32(h)) ** 2 for a, h in zip(axes, half, strict=True))
    level = np.float32(1)
    for height, phase in rough:
        wave = sum(
            np.sin(a / np.float32(period) + np.float32(p))
            for a, period, p in zip(axes * 2, (17, 13, 19, 31, 29, 37), phase, strict=True)
        )
        level = level + np.float32(height / min(half) * 0.6) * wave
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    volume[box][radius < level] = value
