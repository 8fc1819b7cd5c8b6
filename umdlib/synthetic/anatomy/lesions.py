"""Lesions: hot blobs of known place, size and uptake, laid over an anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.tissue import CODES

# Host tissue -> share of lesions of a disseminated disease; nodes lie in the fat of the trunk.
_HOSTS = {"visceral_fat": 0.4, "marrow": 0.25, "liver": 0.15, "lung": 0.15, "muscle": 0.05}
LESION_HU, LESION_T1 = 42.0, 0.36


@dataclass(frozen=True)
class Lesion:
    """One lesion on the anatomy's grid.

    Attributes
    ----------
    box
        Where `mask` lies on the anatomy's grid.
    mask
        (i, j, k) bool.
    suv
        Its uptake.
    host
        The tissue it sits in.
    centre_mm
        World coordinates (RAS+, mm).
    diameter_mm
        Of the sphere with its mean radius.
    volume_ml
        Volume of the mask.
    """

    box: tuple[slice, slice, slice]
    mask: np.ndarray
    suv: float
    host: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    volume_ml: float

    def record(self) -> dict:
        """The truth as plain values."""
        keys = ("suv", "host", "centre_mm", "diameter_mm", "volume_ml")
        return {k: getattr(self, k) for k in keys}


def draw_lesions(anatomy: Anatomy, count: int, rng: np.random.Generator) -> tuple[Lesion, ...]:
    """`count` lesions: one alone keeps to one host; several spread over the hosts of `_HOSTS`.

    Diameters are log-normal (median 16 mm, 6-45 mm), SUV log-normal (median 7, 2.5-25).
    """
    names = [n for n in _HOSTS if (anatomy.tissue == CODES[n]).any()]
    if count == 0 or not names:
        return ()
    share = np.array([_HOSTS[n] for n in names])
    chosen = rng.choice(names, size=count, p=share / share.sum())
    return tuple(_draw_lesion(anatomy, str(host), rng) for host in chosen)


def _draw_lesion(anatomy: Anatomy, host: str, rng: np.random.Generator) -> Lesion:
    """A lumpy ellipsoid around a random voxel of its host."""
    step, start = np.diag(anatomy.affine)[:3], anatomy.affine[:3, 3]
    where = np.flatnonzero(anatomy.tissue == CODES[host])
    voxel = np.array(np.unravel_index(where[rng.integers(where.size)], anatomy.tissue.shape))
    diameter = float(np.clip(np.exp(rng.normal(np.log(16), 0.45)), 6, 45))
    suv = float(np.clip(np.exp(rng.normal(np.log(7), 0.45)), 2.5, 25))
    centre = start + voxel * step
    reach = int(np.ceil(0.8 * diameter / step.min())) + 1
    box = tuple(
        slice(max(int(v) - reach, 0), min(int(v) + reach + 1, n))
        for v, n in zip(voxel, anatomy.tissue.shape, strict=True)
    )
    axes = [
        s + d * np.arange(b.start, b.stop) - c for s, d, b, c in zip(start, step, box, centre, strict=True)
    ]
    radii = diameter / 2 * np.exp(rng.normal(0, 0.12, 3))
    x, y, z = np.meshgrid(*axes, indexing="ij")
    distance = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
    lumps = SplineField(rng, [-45] * 3, [45] * 3, max(diameter / 3, 4.0), 0.10).on_axes(*axes)
    allowed = anatomy.tissue[box] != CODES["air"]
    mask = (distance + lumps < 1) & allowed
    mask[tuple(int(v) - b.start for v, b in zip(voxel, box, strict=True))] = True
    return Lesion(
        box,
        mask,
        round(suv, 2),
        host,
        tuple(round(float(c), 2) for c in centre),
        round(diameter, 2),
        round(float(mask.sum() * np.prod(step) / 1000), 3),
    )


def lay(values: np.ndarray, lesions, level) -> None:
    """Set the value of every lesion in place; `level` is a number or a function of the lesion."""
    for lesion in lesions:
        values[lesion.box][lesion.mask] = level(lesion) if callable(level) else level


def lesion_map(anatomy: Anatomy, lesions) -> np.ndarray:
    """Label map (uint8) on the anatomy's grid: 1, 2, ... in the order of the lesions."""
    out = np.zeros(anatomy.tissue.shape, np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        out[lesion.box][lesion.mask] = number
    return out
