"""Noise of an image in a uniform region: its standard deviation and how far it is correlated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from umdlib.images import masks
from umdlib.images.volume import LabelMap
from umdlib.labels import Structure
from umdlib.synthetic.scanner.sampling import FWHM_PER_SD

_LEAST = 60  # voxels of a region
_MOST_SHARE = 0.5  # a region that varies by more is not uniform
_FIRST = "liver"  # where there is one, noise is measured there, as in clinics


class Noise(NamedTuple):
    """Noise of one region.

    Attributes
    ----------
    structure
        Whose inside.
    share, error
        Standard deviation over mean, and its standard error.
    fwhm_mm
        Of the Gaussian filter that white noise has this correlation after; 0 where it is white.
    voxels
        How many were read.
    """

    structure: str
    share: float
    error: float
    fwhm_mm: float
    voxels: int


def uniform_noise(
    values: np.ndarray, labels: LabelMap, structures: Sequence[Structure], margins_mm: Mapping[str, float]
) -> Noise | None:
    """Noise in the inside of a structure: the liver's, or the most uniform one's.

    A plane is taken out first: a slow change is not noise.

    Parameters
    ----------
    values
        (I, J, K) above air, on the grid of `labels`.
    labels
        Reference.
    structures
        To choose from.
    margins_mm
        Of each structure: voxels nearer to its edge are left out, for its edge may lie elsewhere and is blurred.

    Returns
    -------
    Noise or None
        None where no structure has 60 voxels inside, a positive mean, and a share of at most 0.5.
    """
    ordered = sorted(structures, key=lambda s: s.name != _FIRST)
    best = None
    for s, box in zip(ordered, masks.bounding_boxes(labels.data, [s.value for s in ordered]), strict=True):
        if box is None:
            continue
        depth = masks.depth_mm(labels.data[box] == s.value, labels.spacing_mm)
        inside = depth > max(margins_mm.get(s.name, 0.0), 1.01 * max(labels.spacing_mm))
        if inside.sum() < _LEAST:
            continue
        found = _measured(s.name, values[box], inside, labels.spacing_mm)
        if found is None or found.share > _MOST_SHARE:
            continue
        if s.name == _FIRST:
            return found
        if best is None or found.share < best.share:
            best = found
    return best


def _measured(name: str, values: np.ndarray, inside: np.ndarray, spacing_mm) -> Noise | None:
    """Noise of some voxels around a plane."""
    places = np.argwhere(inside)
    x = np.column_stack([np.ones(len(places)), places])
    y = values[inside].astype(float)
    mean = float(y.mean())
    if mean <= 0:
        return None
    rest = np.zeros(values.shape)
    rest[inside] = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    sd = float(np.sqrt((rest[inside] ** 2).sum() / (len(places) - 4)))
    if sd <= 0:
        return Noise(name, 0.0, 0.0, 0.0, len(places))
    widths, spread = [], 1.0
    for axis in range(3):
        near, far = (
            np.take(inside, np.arange(*ends), axis)
            for ends in ((0, inside.shape[axis] - 1), (1, inside.shape[axis]))
        )
        both = near & far
        if both.sum() < _LEAST // 2:
            continue
        a, b = (
            np.take(rest, np.arange(*ends), axis)[both]
            for ends in ((0, inside.shape[axis] - 1), (1, inside.shape[axis]))
        )
        correlation = float(np.clip((a * b).mean() / sd**2, 0.0, 0.97))
        width = 0.0
        if correlation > 0.05:
            width = FWHM_PER_SD * spacing_mm[axis] / (2 * np.sqrt(-np.log(correlation)))
        widths.append(width)
        spread *= 1 + 2 * correlation  # voxels that say the same once
    error = sd / mean * np.sqrt(min(spread, len(places) / 2) / (2 * len(places)))
    return Noise(name, sd / mean, float(error), float(np.median(widths)) if widths else 0.0, len(places))
