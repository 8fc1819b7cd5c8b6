"""Lesions found, missed and invented: counts and volumes of connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib import depth, geometry
from umdlib.errors import InputError


@dataclass(frozen=True)
class Detection:
    """Lesions of one pair of masks; a lesion is a component of voxels that touch (26 neighbours).

    Attributes
    ----------
    reference, prediction
        Number of components.
    found
        Components of the reference that share a voxel with the prediction.
    invented
        Components of the prediction that share no voxel with the reference.
    missed_ml
        False-negative volume: of the components of the reference that are not found.
    invented_ml
        False-positive volume: of the invented components.
    """

    reference: int
    prediction: int
    found: int
    invented: int
    missed_ml: float
    invented_ml: float


def detect(
    reference: np.ndarray, prediction: np.ndarray, *, spacing_mm: tuple[float, float, float]
) -> Detection:
    """Lesion-wise counts and volumes of two masks, as in autoPET (doi:10.1038/s41597-022-01718-3).

    Parameters
    ----------
    reference, prediction
        Boolean masks (I, J, K) on one grid. Empty ones have no lesions and no volume.
    spacing_mm
        Voxel size along I, J, K.

    Raises
    ------
    InputError
        If the shapes differ, or a spacing is not positive.

    Examples
    --------
    >>> reference = np.array([[[1, 1, 0, 1, 0, 0]]], bool)
    >>> prediction = np.array([[[0, 1, 0, 0, 0, 1]]], bool)
    >>> detect(reference, prediction, spacing_mm=(10, 10, 10))
    Detection(reference=2, prediction=2, found=1, invented=1, missed_ml=1.0, invented_ml=1.0)
    """
    if reference.shape != prediction.shape:
        raise InputError(
            f"The prediction has shape {prediction.shape}, its reference {reference.shape}. "
            "Both must be on one grid."
        )
    sides = []
    for mask, other in ((reference, prediction), (prediction, reference)):
        labelled, sizes = depth.components(mask)
        hit = np.zeros(len(sizes), bool)
        hit[labelled[other.astype(bool)]] = True
        sides.append((sizes[1:], hit[1:]))
    (sizes, found), (others, real) = sides
    voxel_ml = float(np.prod(geometry.checked_spacing(spacing_mm))) / 1000
    return Detection(
        reference=len(sizes),
        prediction=len(others),
        found=int(found.sum()),
        invented=int((~real).sum()),
        missed_ml=float(sizes[~found].sum() * voxel_ml),
        invented_ml=float(others[~real].sum() * voxel_ml),
    )
