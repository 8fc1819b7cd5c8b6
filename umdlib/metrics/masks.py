"""Metrics of two masks: one reference, one prediction, one number."""

from __future__ import annotations

import numpy as np

from umdlib.errors import InputError
from umdlib.metrics import scoring

__all__ = ["assd", "dice", "hausdorff_95", "surface_dice"]


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Compute the Dice similarity coefficient, 2 |R ∩ P| / (|R| + |P|).

    Parameters
    ----------
    reference, prediction
        (I, J, K) boolean masks on one grid.

    Returns
    -------
    float
        0 to 1; 0 where one mask is empty, NaN where both are.

    Raises
    ------
    InputError
        Masks that are not boolean, not of three axes, or of different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> reference = np.zeros((4, 4, 4), bool)
    >>> reference[1:3] = True
    >>> dice(reference, np.roll(reference, 1, axis=0))
    0.5
    """
    reference, prediction = _checked(reference, prediction)
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(reference & prediction)) / total if total else float("nan")


def surface_dice(
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = 1.0,
) -> float:
    """Compute the surface Dice (NSD): the share of both surfaces within a tolerance of the other.

    Surfaces are those of DeepMind's surface-distance: areas of marching-cubes elements.

    Parameters
    ----------
    reference, prediction
        (I, J, K) boolean masks on one grid.
    spacing_mm
        Voxel size along I, J, K.
    tolerance_mm
        Largest distance that counts as agreement.

    Returns
    -------
    float
        0 to 1; 0 where one mask is empty, NaN where both are.

    Raises
    ------
    InputError
        As `dice`; a spacing or tolerance that is not positive.

    References
    ----------
    Nikolov et al., doi:10.2196/26151.
    """
    reference, prediction = _checked(reference, prediction)
    row = scoring.surface_dice(
        reference, prediction, spacing_mm=spacing_mm, values=[1], tolerances_mm=(tolerance_mm,)
    ).iloc[0]
    return float(row[f"surface_dice_{float(tolerance_mm):g}mm"])


def hausdorff_95(
    reference: np.ndarray, prediction: np.ndarray, *, spacing_mm: tuple[float, float, float]
) -> float:
    """Compute the 95th percentile of the surface distances in mm, the larger of both directions.

    Parameters
    ----------
    reference, prediction
        (I, J, K) boolean masks on one grid.
    spacing_mm
        Voxel size along I, J, K.

    Returns
    -------
    float
        Millimetres; NaN where a mask is empty.

    Raises
    ------
    InputError
        As `dice`; a spacing that is not positive.
    """
    return _distance("hausdorff_95", reference, prediction, spacing_mm)


def assd(reference: np.ndarray, prediction: np.ndarray, *, spacing_mm: tuple[float, float, float]) -> float:
    """Compute the average symmetric surface distance in mm, weighted by area.

    Parameters
    ----------
    reference, prediction
        (I, J, K) boolean masks on one grid.
    spacing_mm
        Voxel size along I, J, K.

    Returns
    -------
    float
        Millimetres; NaN where a mask is empty.

    Raises
    ------
    InputError
        As `dice`; a spacing that is not positive.
    """
    return _distance("assd", reference, prediction, spacing_mm)


def _distance(metric: str, reference, prediction, spacing_mm) -> float:
    """One surface distance of two masks."""
    reference, prediction = _checked(reference, prediction)
    return float(scoring.score(reference, prediction, spacing_mm=spacing_mm, values=[1]).iloc[0][metric])


def _checked(reference, prediction) -> tuple[np.ndarray, np.ndarray]:
    """Both as boolean arrays of one 3D shape."""
    pair = np.asarray(reference), np.asarray(prediction)
    for name, mask in zip(("reference", "prediction"), pair, strict=True):
        if mask.dtype != bool:
            raise InputError(f"The {name} holds {mask.dtype}. A mask is boolean, e.g. labels == 3.")
    scoring.checked_pair(*pair)
    return pair
