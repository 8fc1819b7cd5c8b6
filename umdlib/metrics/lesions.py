"""Lesions found, missed and invented: counts and volumes of connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import masks as depth

# connectivity -> axes along which two voxels of a component may differ
NEIGHBOURS: dict[int, int] = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True)
class Detection:
    """Lesions of one pair of masks; a lesion is a connected component.

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
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    connectivity: int = 18,
) -> Detection:
    """Lesion-wise counts and volumes of two masks, as in autoPET (doi:10.1038/s41597-022-01718-3).

    Parameters
    ----------
    reference, prediction
        Masks (I, J, K) on one grid, boolean or 0 and 1. Empty ones have no lesions and no volume.
    spacing_mm
        Voxel size along I, J, K.
    connectivity
        Neighbours that make a component: 6 (faces), 18 (and edges, as autoPET counts) or 26 (and
        corners).

    Raises
    ------
    InputError
        If the shapes differ, are not 3D, or a spacing is not positive; another connectivity; values
        other than 0 and 1.

    Examples
    --------
    >>> reference = np.array([[[1, 1, 0, 1, 0, 0]]], bool)
    >>> prediction = np.array([[[0, 1, 0, 0, 0, 1]]], bool)
    >>> detect(reference, prediction, spacing_mm=(10, 10, 10))
    Detection(reference=2, prediction=2, found=1, invented=1, missed_ml=1.0, invented_ml=1.0)
    """
    voxel_ml = float(np.prod(geometry.checked_spacing(spacing_mm))) / 1000
    if reference.shape != prediction.shape:
        raise InputError(
            f"The prediction has shape {prediction.shape}, its reference {reference.shape}. "
            "Both must be on one grid."
        )
    if reference.ndim != 3:
        raise InputError(f"Masks of shape {reference.shape}. Lesions are counted in volumes (I, J, K).")
    if connectivity not in NEIGHBOURS:
        raise InputError(f"Invalid connectivity {connectivity}. Must be 6, 18 or 26.")
    reference, prediction = _mask(reference, "reference"), _mask(prediction, "prediction")
    reference, prediction = _boxed(reference, prediction)
    touching = scipy.ndimage.generate_binary_structure(3, NEIGHBOURS[connectivity])
    sides = []
    for mask, other in ((reference, prediction), (prediction, reference)):
        labelled, count = scipy.ndimage.label(mask, touching)
        sizes = np.bincount(labelled.ravel(), minlength=count + 1)
        hit = np.zeros(len(sizes), bool)
        hit[labelled[other]] = True
        sides.append((sizes[1:], hit[1:]))
    (sizes, found), (others, real) = sides
    return Detection(
        reference=len(sizes),
        prediction=len(others),
        found=int(found.sum()),
        invented=int((~real).sum()),
        missed_ml=float(sizes[~found].sum() * voxel_ml),
        invented_ml=float(others[~real].sum() * voxel_ml),
    )


def _mask(mask: np.ndarray, name: str) -> np.ndarray:
    """A boolean mask; what holds other values than 0 and 1 is none."""
    if mask.dtype != bool and ((mask != 0) & (mask != 1)).any():
        found = np.unique(mask)[:4].tolist()
        raise InputError(f"The {name} holds {found} and more. A mask of lesions holds 0 and 1.")
    return mask.astype(bool, copy=False)


def _boxed(*masks: np.ndarray) -> list[np.ndarray]:
    """Masks in the smallest box around all of them: most of a body holds no lesion."""
    box = depth.bounding_boxes(np.logical_or(*masks).view(np.uint8), [1])[0]
    return [m[:0] if box is None else m[box] for m in masks]
