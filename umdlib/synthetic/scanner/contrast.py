"""Value of each tissue in CT, MR and PET, with the texture that a tissue has of its own."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.synthetic.anatomy.person import Person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.literature import TISSUE

FAT_SIGNAL = 600.0  # MR signal of fat in a.u.
_HEART_WALL_SHARE = 0.45


def table(values: dict[str, float]) -> np.ndarray:
    """Lookup table (256,) float32 from tissue names to values."""
    out = np.zeros(256, np.float32)
    for name, value in values.items():
        out[CODES[name]] = value
    return out


def uptake_table(person: Person) -> np.ndarray:
    """SUV of each tissue in a person."""
    suv = dict(person.uptake_suv)
    suv["heart_wall"] = max(suv["blood"], _HEART_WALL_SHARE * suv["myocardium"])
    values = {}
    for name, record in TISSUE.items():
        key, _, factor = record.uptake.partition("*")
        base = suv[key] if key in suv else float(key)
        values[name] = base * float(factor or 1)
    return table(values)


def texture(rng: np.random.Generator, shape, size: float) -> np.ndarray:
    """A smooth random field (mean 0, sd 1) float32 with features of about `size` voxels."""
    factor = max(int(size / 2), 1)
    small = rng.standard_normal([n // factor + 4 for n in shape], dtype=np.float32)
    small = scipy.ndimage.gaussian_filter(small, 0.8)
    small /= small.std()
    if factor == 1:
        return small[: shape[0], : shape[1], : shape[2]]
    grown = small
    for axis in range(3):
        at = np.arange(shape[axis]) / factor + 1
        i = at.astype(int)
        t = (at - i).astype(np.float32)
        t = t * t * (3 - 2 * t)
        form = [1, 1, 1]
        form[axis] = -1
        t = t.reshape(form)
        grown = grown.take(i, axis=axis) * (1 - t) + grown.take(i + 1, axis=axis) * t
    return grown / np.float32(grown.std())


def ct_values(tissue: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """HU (I, J, K) float32 of an anatomy: mean of each tissue and its texture."""
    mean = table({n: r.hu for n, r in TISSUE.items()})
    spread = table({n: r.hu_sd for n, r in TISSUE.items()})
    spacing = float(affine[0, 0])
    field = 0.75 * texture(rng, tissue.shape, 5 / spacing) + 0.66 * texture(rng, tissue.shape, 16 / spacing)
    field *= spread[tissue]
    field += mean[tissue]
    lung = tissue == CODES["lung"]
    if lung.any():
        y = affine[1, 3] + affine[1, 1] * np.arange(tissue.shape[1])
        inside = np.flatnonzero(lung.any(axis=(0, 2)))
        middle = y[inside].mean()
        slope = (-0.45 * (y - middle)).astype(np.float32)[None, :, None]
        field += lung * slope
    return field


def mr_values(tissue: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Signal (a.u., fat = 600) float32 of a T1-weighted in-phase image."""
    mean = table({n: r.t1 * FAT_SIGNAL for n, r in TISSUE.items()})
    field = texture(rng, tissue.shape, 8 / float(affine[0, 0]))
    field *= 0.035
    field += 1
    return field * mean[tissue]


def pet_values(
    tissue: np.ndarray, affine: np.ndarray, person: Person, rng: np.random.Generator
) -> np.ndarray:
    """SUV (I, J, K) float32 of an anatomy: uptake of each tissue, patchy where it is in patients."""
    spread = table({n: r.patchy for n, r in TISSUE.items()})
    spacing = float(affine[0, 0])
    field = texture(rng, tissue.shape, 30 / spacing)
    field *= spread[tissue]
    np.exp(field - 0.5 * spread[tissue] ** 2, out=field)
    return field * uptake_table(person)[tissue]
