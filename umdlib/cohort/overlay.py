"""The two images of a pair on one grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.cohort.image_checks import Facts


@dataclass(frozen=True)
class Overlay:
    """The structural image and both references on the sample of PET.

    Attributes
    ----------
    grid
        (4, 4) affine of the sample.
    inside
        (I, J, K) bool, where the structural image has a voxel.
    structural, pet
        Intensities.
    reference, prediction
        Labels of the structural image and of PET.
    """

    grid: np.ndarray
    inside: np.ndarray
    structural: np.ndarray
    pet: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray


def overlay_of(structural: Facts, pet: Facts) -> Overlay:
    """Nearest voxels of the structural sample at the points of PET's sample."""
    shape = pet.values.shape
    mapping = np.linalg.inv(structural.grid) @ pet.grid
    axes = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij", sparse=True)
    index, inside = [], np.ones(shape, bool)
    for row, size in zip(mapping[:3], structural.values.shape, strict=True):
        place = row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2] + row[3]
        inside &= (place >= -0.5) & (place < size - 0.5)
        index.append(np.clip(np.rint(place), 0, size - 1).astype(np.int32))
    at = tuple(index)
    labels = [np.zeros(shape, np.uint8) if f.labels is None else f.labels for f in (structural, pet)]
    reference = labels[0] if structural.labels is None else np.where(inside, labels[0][at], 0)
    prediction = np.where(inside, labels[1], 0)
    return Overlay(pet.grid, inside, structural.values[at], pet.values, reference, prediction)
