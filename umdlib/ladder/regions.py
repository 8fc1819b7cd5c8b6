"""Regions of a structural image: its structures, and classes of what no structure holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure

ZERO = {"HU": 1000.0, "a.u.": 0.0, "SUV": 0.0}  # what is added to make air 0

_HU_EDGES = (-500.0, -20.0, 150.0)  # air or lung, fat, soft tissue, bone
_SHARES = (0.25, 0.75, 1.5)  # of the structures' median, where a unit has no scale of its own
CLASSES = {"HU": ("air", "fat", "soft tissue", "bone"), "a.u.": ("dark", "dim", "middle", "bright")}
NO_SCALE = "the structural image has no scale: its structures are not above air"


@dataclass(frozen=True)
class Regions:
    """A partition of a structural image.

    Attributes
    ----------
    index
        (I, J, K) uint8 on the image's grid: ``n`` of `names` + 1; every voxel is in one region.
    names
        Structures that are there, then classes of the rest.
    means
        Mean of each region above air, in the structural unit.
    """

    index: np.ndarray
    names: tuple[str, ...]
    means: np.ndarray

    def number(self, name: str) -> int | None:
        """Place of a region in `names`; None where it is absent."""
        return self.names.index(name) if name in self.names else None


def above_air(image: Volume) -> np.ndarray:
    """Intensities (I, J, K) float32 with air at 0."""
    return image.data.astype(np.float32) + np.float32(ZERO[image.unit])


def thinned(data: np.ndarray, affine: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every `step`-th voxel along each axis, one at least, and the affine of those that are left."""
    step = np.minimum(step, data.shape)
    scale = np.array(affine, float)
    scale[:3, :3] = affine[:3, :3] * step
    scale[:3, 3] = geometry.to_world(affine, step // 2)
    return data[tuple(slice(s // 2, None, s) for s in step)], scale


def regions_of(image: Volume, labels: LabelMap, structures: Sequence[Structure]) -> Regions | None:
    """Structures of a label map, and four classes of everything else by intensity.

    Parameters
    ----------
    image, labels
        Structural image and its reference, on one grid.
    structures
        Of the cohort; those that are absent are left out.

    Returns
    -------
    Regions or None
        None where the image has no scale: its structures' median is not above air, as after a
        standardisation to mean 0.

    Notes
    -----
    Edges in HU are -500, -20 and 150; in other units 0.25, 0.75 and 1.5 of the median over all structures.
    """
    values = above_air(image)
    inside = labels.data != 0
    middle = float(np.median(values[inside])) if inside.any() else 0.0
    if middle <= 0 or (image.unit != "HU" and float(values[inside].mean()) <= 0):
        return None
    edges = np.add(_HU_EDGES, ZERO["HU"]) if image.unit == "HU" else np.multiply(_SHARES, middle)
    lookup = np.zeros(int(labels.data.max()) + 1, np.uint8)
    names: list[str] = []
    for s in structures:
        if s.value < len(lookup) and (labels.data == s.value).any():
            names.append(s.name)
            lookup[s.value] = len(names)
    index = lookup[labels.data]
    rest = index == 0
    index[rest] = len(names) + 1 + np.digitize(values[rest], edges).astype(np.uint8)
    names += CLASSES.get(image.unit, CLASSES["a.u."])
    sums = np.bincount(index.ravel("K"), values.ravel("K"), minlength=len(names) + 1)[1:]
    counts = np.bincount(index.ravel("K"), minlength=len(names) + 1)[1:]
    return Regions(np.ascontiguousarray(index), tuple(names), sums / np.maximum(counts, 1))
