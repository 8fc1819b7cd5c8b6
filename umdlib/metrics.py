"""Metrics of a prediction against its reference: overlap, surface distances, volumes, states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from umdlib import geometry
from umdlib.errors import InputError
from umdlib.surface import plain
from umdlib.surface.areas import cell_areas_mm2

TOLERANCES_MM = (1.0, 5.0)

# The four states of a pair of masks; every other status of a score row is about the run.
STATES = ("ok", "reference_empty", "prediction_empty", "both_empty")


def metric_columns(tolerances_mm: Iterable[float] = TOLERANCES_MM) -> list[str]:
    """Names of the metric columns, in order.

    Examples
    --------
    >>> metric_columns([1, 2.5])[:3]
    ['dice', 'surface_dice_1mm', 'surface_dice_2.5mm']
    """
    surface = [f"surface_dice_{tau:g}mm" for tau in tolerances_mm]
    rest = ["hausdorff", "hausdorff_95", "assd", "reference_ml", "prediction_ml", "rvd"]
    return ["dice", *surface, *rest]


def score(
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    values: Sequence[int],
    tolerances_mm: Sequence[float] = TOLERANCES_MM,
) -> pd.DataFrame:
    """All metrics of all structures of two label maps.

    Parameters
    ----------
    reference, prediction
        (I, J, K) integer label maps on one grid.
    spacing_mm
        Voxel size along I, J, K; rounded to 1e-5 mm before use.
    values
        The label values to score, one row each.
    tolerances_mm
        Tolerances of the surface Dice.

    Returns
    -------
    pandas.DataFrame
        ``value, status`` and `metric_columns`. Undefined is NaN; `status` says why.

    Raises
    ------
    InputError
        Different shapes, non-integer labels, a spacing or tolerance that is not positive.
    """
    reference, prediction = _checked_pair(reference, prediction)
    spacing_mm = _checked_spacing(spacing_mm)
    tolerances_mm = _checked_tolerances(tolerances_mm)
    rows = [
        {"value": int(v)} | _row(reference == v, prediction == v, spacing_mm, tolerances_mm)
        for v in values
    ]
    return pd.DataFrame(rows, columns=["value", "status", *metric_columns(tolerances_mm)])


def score_bits(
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    bits: int | Sequence[int],
    tolerances_mm: Sequence[float] = TOLERANCES_MM,
) -> pd.DataFrame:
    """All metrics of all structures of two bit-mask volumes; masks may overlap.

    Parameters
    ----------
    reference, prediction
        (I, J, K) unsigned integers; bit b of a voxel tells whether it belongs to structure b.
    spacing_mm, tolerances_mm
        As in `score`.
    bits
        Number of structures, or the bits to score, one row each.

    Returns
    -------
    pandas.DataFrame
        ``bit, status`` and `metric_columns`.
    """
    reference, prediction = _checked_pair(reference, prediction)
    spacing_mm = _checked_spacing(spacing_mm)
    tolerances_mm = _checked_tolerances(tolerances_mm)
    bits = range(bits) if isinstance(bits, int) else bits
    rows = [
        {"bit": int(b)}
        | _row(unpack_bit(reference, b), unpack_bit(prediction, b), spacing_mm, tolerances_mm)
        for b in bits
    ]
    return pd.DataFrame(rows, columns=["bit", "status", *metric_columns(tolerances_mm)])


def pack_bits(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Boolean masks (I, J, K) as one bit-mask volume: bit b is mask b.

    Examples
    --------
    >>> pack_bits([np.array([True, False, True]), np.array([False, True, True])]).tolist()
    [1, 2, 3]
    """
    if not 1 <= len(masks) <= 64:
        raise InputError(f"{len(masks)} masks to pack. A bit-mask volume holds 1 to 64.")
    volume = np.zeros_like(masks[0], dtype=_bits_dtype(len(masks)))
    for bit, mask in enumerate(masks):
        if mask.shape != volume.shape:
            raise InputError(f"Mask {bit} has shape {mask.shape}. Must be {volume.shape}.")
        volume |= mask.astype(bool).astype(volume.dtype) << volume.dtype.type(bit)
    return volume


def unpack_bit(volume: np.ndarray, bit: int) -> np.ndarray:
    """Boolean mask of one structure of a bit-mask volume.

    Examples
    --------
    >>> unpack_bit(np.array([1, 2, 3], np.uint8), 1).tolist()
    [False, True, True]
    """
    return (volume & volume.dtype.type(1 << bit)) != 0


def label_bits(label_map: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """A label map as a bit-mask volume: bit b is the structure with `values[b]`.

    Examples
    --------
    >>> label_bits(np.array([0, 5, 7, 9], np.uint8), [5, 9]).tolist()
    [0, 1, 0, 2]
    """
    top = max([int(label_map.max(initial=0)), *values])
    lookup = np.zeros(top + 1, _bits_dtype(len(values)))
    for bit, value in enumerate(values):
        lookup[value] = 1 << bit
    return lookup[label_map]


def _bits_dtype(count: int) -> np.dtype:
    """Smallest unsigned type with `count` bits."""
    return next(np.dtype(f"u{size}") for size in (1, 2, 4, 8) if count <= 8 * size)


def _checked_pair(reference, prediction) -> tuple[np.ndarray, np.ndarray]:
    """Both as integer arrays of one 3D shape."""
    pair = np.asarray(reference), np.asarray(prediction)
    for name, array in zip(("reference", "prediction"), pair, strict=True):
        if array.dtype.kind not in "iub":
            raise InputError(f"The {name} holds {array.dtype}. Label maps hold integers.")
        if array.ndim != 3:
            raise InputError(f"The {name} has shape {array.shape}. Three axes are needed.")
    if pair[0].shape != pair[1].shape:
        raise InputError(
            f"The prediction has shape {pair[1].shape}, its reference {pair[0].shape}. "
            "Both must be on one grid."
        )
    return pair


def _checked_spacing(spacing_mm) -> tuple[float, float, float]:
    """Three positive numbers, rounded so that a float32 header does not move a tie."""
    spacing = np.round(np.asarray(spacing_mm, float), geometry.SPACING_DECIMALS)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(f"Invalid spacing {spacing_mm} mm. Must be three positive numbers.")
    return tuple(spacing.tolist())


def _checked_tolerances(tolerances_mm) -> tuple[float, ...]:
    """Positive finite numbers."""
    tolerances = tuple(float(tau) for tau in tolerances_mm)
    for tau in tolerances:
        if not (np.isfinite(tau) and tau > 0):
            raise InputError(f"Invalid tolerance {tau:g} mm. Must be positive.")
    return tolerances


def _row(reference, prediction, spacing_mm, tolerances_mm) -> dict:
    """Status and metrics of one structure."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    n_ref, n_pred = int(reference.sum()), int(prediction.sum())
    row = dict.fromkeys(metric_columns(tolerances_mm), np.nan)
    row["reference_ml"], row["prediction_ml"] = n_ref * voxel_ml, n_pred * voxel_ml
    row["status"] = STATES[(n_ref == 0) + 2 * (n_pred == 0)]
    if n_ref:
        row["rvd"] = (n_pred - n_ref) / n_ref
    if n_ref or n_pred:
        row["dice"] = 2 * int((reference & prediction).sum()) / (n_ref + n_pred)
        row |= {f"surface_dice_{tau:g}mm": 0.0 for tau in tolerances_mm}
    if row["status"] == "ok":
        row |= _surface_row(reference, prediction, spacing_mm, tolerances_mm)
    return row


def _surface_row(reference, prediction, spacing_mm, tolerances_mm) -> dict:
    """Surface metrics of two masks, neither empty."""
    area = cell_areas_mm2(spacing_mm)
    sides = plain.directed_distances(reference, prediction, spacing_mm)
    sides = [(d, area[code]) for d, code in sides]
    total = sum(a.sum() for _, a in sides)
    return {
        **{
            f"surface_dice_{tau:g}mm": float(sum(a[d <= tau].sum() for d, a in sides) / total)
            for tau in tolerances_mm
        },
        "hausdorff": float(max(d.max() for d, _ in sides)),
        "hausdorff_95": float(max(_weighted_percentile(d, a, 0.95) for d, a in sides)),
        "assd": float(sum((d * a).sum() for d, a in sides) / total),
    }


def _weighted_percentile(distances: np.ndarray, areas: np.ndarray, share: float) -> float:
    """First distance at which the cumulative area reaches `share` of the whole."""
    order = np.lexsort((areas, distances))
    cumulative = np.cumsum(areas[order]) / areas[order].sum()
    return distances[order][min(np.searchsorted(cumulative, share), len(order) - 1)]
