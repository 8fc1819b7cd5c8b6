"""Metrics of a prediction against its reference: overlap, surface distances, volumes, states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry

if TYPE_CHECKING:
    import pandas as pd

TOLERANCES_MM = (1.0, 5.0)

# What the kernels number at once.
MOST_STRUCTURES = 8191

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
        Voxel size along I, J, K; a number of a float32 header is the decimal that it was written
        as (0.98000002 is 0.98).
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
    return _score_labels(reference, prediction, spacing_mm, values, tolerances_mm)


def surface_dice(
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    values: Sequence[int],
    tolerances_mm: Sequence[float] = TOLERANCES_MM,
) -> pd.DataFrame:
    """The surface Dice alone: as in `score`, but nothing is searched for beyond the tolerances.

    Parameters
    ----------
    reference, prediction, spacing_mm, values, tolerances_mm
        As in `score`.

    Returns
    -------
    pandas.DataFrame
        ``value, status`` and a column ``surface_dice_…mm`` for each tolerance.

    Raises
    ------
    InputError
        As `score`.
    """
    table = _score_labels(reference, prediction, spacing_mm, values, tolerances_mm, only_within=True)
    return table[["value", "status", *(c for c in table if c.startswith("surface_dice"))]]


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
        (I, J, K) unsigned integers; bit b of a voxel is set where it belongs to structure b.
    spacing_mm, tolerances_mm
        As in `score`.
    bits
        Number of structures, or the bits to score, one row each.

    Returns
    -------
    pandas.DataFrame
        ``bit, status`` and `metric_columns`.
    """
    reference, prediction = checked_pair(reference, prediction)
    spacing_mm = geometry.checked_spacing(spacing_mm)
    tolerances_mm = checked_tolerances(tolerances_mm)
    reference, prediction = _as_bits(reference), _as_bits(prediction)
    bits = _checked_values(range(bits) if isinstance(bits, int) else bits, 0, 63, "bit")
    index = np.zeros(64, np.int64)
    index[bits] = 1
    counts, distances = _compare(
        reference, prediction, spacing_mm, index, bits, tolerances_mm, overlapping=True
    )
    return _table("bit", bits, counts, distances, spacing_mm, tolerances_mm)


def joint_counts(reference: np.ndarray, prediction: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Voxels by structure of the reference (rows) and of the prediction (columns).

    Parameters
    ----------
    reference, prediction
        (I, J, K) integer label maps on one grid.
    values
        Label values in order; row and column 0 are all other voxels.

    Returns
    -------
    numpy.ndarray
        (n + 1, n + 1) int64. Its diagonal, rows and columns give every Dice coefficient between
        a structure of the reference and one of the prediction.

    Examples
    --------
    >>> reference = np.array([[[0, 1, 1, 2]]], np.uint8)
    >>> joint_counts(reference, np.array([[[1, 1, 2, 2]]], np.uint8), [1, 2]).tolist()
    [[0, 1, 0], [0, 1, 1], [0, 0, 1]]
    """
    reference, prediction = checked_pair(reference, prediction)
    values = _checked_values(values, 1, 65535, "label value")
    index = np.zeros(65536, np.int64)
    index[values] = np.arange(1, len(values) + 1)
    pair = _pair(_as_labels(reference), _as_labels(prediction), (1.0, 1.0, 1.0))
    return _kernels().count_labels(pair, index, len(values))


def _score_labels(
    reference, prediction, spacing_mm, values, tolerances_mm, *, only_within=False
) -> pd.DataFrame:
    """Table of two label maps; `only_within` leaves out what needs distances beyond a tolerance."""
    reference, prediction = checked_pair(reference, prediction)
    spacing_mm = geometry.checked_spacing(spacing_mm)
    tolerances_mm = checked_tolerances(tolerances_mm)
    values = _checked_values(values, 1, 65535, "label value")
    reference, prediction = _as_labels(reference), _as_labels(prediction)
    index = np.zeros(65536, np.int64)
    index[values] = np.arange(1, len(values) + 1)
    counts, distances = _compare(
        reference,
        prediction,
        spacing_mm,
        index,
        values,
        tolerances_mm,
        overlapping=False,
        only_within=only_within,
    )
    return _table("value", values, counts, distances, spacing_mm, tolerances_mm)


def _kernels():
    """The compiled part; it takes a second to import and is not needed to read scores."""
    from umdlib.kernels import surfaces as pair

    return pair


def _pair(reference, prediction, spacing_mm):
    """Both volumes as the kernels take them, of one type."""
    widest = np.promote_types(reference.dtype, prediction.dtype)
    volumes = (v.astype(widest, order="K", copy=False) for v in (reference, prediction))
    return _kernels().in_memory_order(*volumes, spacing_mm)


def _compare(
    reference, prediction, spacing_mm, index, names, tolerances_mm, *, overlapping, only_within=False
):
    """(reference, prediction, common) voxels of each structure, and distances where defined."""
    pair = _pair(reference, prediction, spacing_mm)
    if overlapping:
        rows = _kernels().count_bits(pair, index)[:, names].T
        numbers = [int(n) + 1 for n in names]
    else:
        joint = _kernels().count_labels(pair, index, len(names))
        rows = np.stack([joint.sum(axis=1), joint.sum(axis=0), joint.diagonal()], axis=1)[1:]
        numbers = list(range(1, len(names) + 1))
    both = [n for n, (r, p, _) in zip(numbers, rows, strict=True) if r and p]
    found = {}
    if both:
        found = _kernels().surface_distances(
            pair, index, both, tolerances_mm, overlapping=overlapping, only_within=only_within
        )
    return rows.tolist(), [found.get(n) for n in numbers]


def pack_bits(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Boolean masks (I, J, K) as one bit-mask volume: bit b is mask b.

    Examples
    --------
    >>> pack_bits([np.array([True, False, True]), np.array([False, True, True])]).tolist()
    [1, 2, 3]
    """
    if not 1 <= len(masks) <= 64:
        raise InputError(f"{len(masks)} masks to pack. A bit-mask volume holds 1 to 64.")
    from umdlib.kernels import packing

    volume, order = _zeros(masks[0], bits_dtype(len(masks)))
    for bit, mask in enumerate(masks):
        if mask.shape != volume.shape:
            raise InputError(f"Mask {bit} has shape {mask.shape}. Must be {volume.shape}.")
        flat = mask.astype(bool, copy=False).ravel(order).view(np.uint8)
        packing.add_mask(volume.ravel(order), flat, volume.dtype.type(1 << bit))
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
    from umdlib.kernels import packing

    values = _checked_values(values, 1, 65535, "label value")
    label_map = _as_labels(label_map)
    lookup = np.zeros(65536, bits_dtype(len(values)))
    lookup[values] = 1 << np.arange(len(values), dtype=np.uint64)
    volume, order = _zeros(label_map, lookup.dtype)
    packing.translate(label_map.ravel(order), lookup, volume.ravel(order))
    return volume


def _zeros(like: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, str]:
    """A volume of zeros, contiguous in the order of another where that is contiguous; the order."""
    order = "F" if like.flags.f_contiguous else "C"
    return np.zeros(like.shape, dtype, order), order


def bits_dtype(count: int) -> np.dtype:
    """Smallest unsigned type with `count` bits.

    Raises
    ------
    InputError
        More than 64.
    """
    if count > 64:
        raise InputError(
            f"{count} structures do not fit in one volume of 64 bits. Take a part of them, e.g. by "
            "'umdlib subset MANIFEST OUT --structures A,B'."
        )
    return next(np.dtype(f"u{size}") for size in (1, 2, 4, 8) if count <= 8 * size)


def checked_pair(reference, prediction) -> tuple[np.ndarray, np.ndarray]:
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


def checked_tolerances(tolerances_mm) -> tuple[float, ...]:
    """Positive finite numbers that give different column names.

    Raises
    ------
    InputError
        No numbers, one that is not positive and finite, or two that are equal in six digits.
    """
    try:
        tolerances = tuple(float(tau) for tau in tolerances_mm)
    except (TypeError, ValueError):
        raise InputError(
            f"Invalid tolerances {tolerances_mm!r}. Must be numbers in mm, e.g. (1.0, 5.0)."
        ) from None
    for tau in tolerances:
        if not (np.isfinite(tau) and tau > 0):
            raise InputError(f"Invalid tolerance {tau:g} mm. Must be positive.")
    named = {f"{tau:g}" for tau in tolerances}
    if len(named) < len(tolerances):
        raise InputError(
            f"Tolerances {tolerances} mm. Each must differ from the others in six digits: it names a column."
        )
    return tolerances


def _checked_values(values, least: int, most: int, kind: str) -> np.ndarray:
    """Whole numbers in range, none twice."""
    values = list(values)
    if len(values) > MOST_STRUCTURES:
        raise InputError(f"{len(values)} structures. At most {MOST_STRUCTURES} are scored at once.")
    for v in values:
        if int(v) != v or not least <= v <= most:
            raise InputError(f"Invalid {kind} {v}. Must be a whole number, {least} to {most}.")
    if len(set(values)) < len(values):
        raise InputError(f"A {kind} is given twice in {values}.")
    return np.array(values, np.intp)


def _as_labels(array: np.ndarray) -> np.ndarray:
    """uint8 or uint16, as it is or checked and converted."""
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype == bool:
        return array.view(np.uint8)
    low, high = array.min(initial=0), array.max(initial=0)
    if low < 0 or high > 65535:
        raise InputError(f"Label values from {low} to {high}. Must be 0 to 65535.")
    return array.astype(np.uint8 if high < 256 else np.uint16, order="K")


def _as_bits(array: np.ndarray) -> np.ndarray:
    """Unsigned, as it is."""
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind != "u":
        raise InputError(f"A bit-mask volume holds {array.dtype}. Must be unsigned integers.")
    return array


def _table(key, names, counts, distances, spacing_mm, tolerances_mm) -> pd.DataFrame:
    """One row per structure."""
    import pandas as pd

    columns = metric_columns(tolerances_mm)
    rows = [
        {key: int(name), **_row(*count, distance, spacing_mm, tolerances_mm)}
        for name, count, distance in zip(names, counts, distances, strict=True)
    ]
    return pd.DataFrame(rows, columns=[key, "status", *columns])


def _row(n_ref, n_pred, n_both, distances, spacing_mm, tolerances_mm) -> dict:
    """Status and metrics of one structure."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    row = dict.fromkeys(metric_columns(tolerances_mm), np.nan)
    row["reference_ml"], row["prediction_ml"] = n_ref * voxel_ml, n_pred * voxel_ml
    row["status"] = STATES[(n_ref == 0) + 2 * (n_pred == 0)]
    if n_ref:
        row["rvd"] = (n_pred - n_ref) / n_ref
    if n_ref or n_pred:
        row["dice"] = 2 * n_both / (n_ref + n_pred)
        row |= {f"surface_dice_{tau:g}mm": 0.0 for tau in tolerances_mm}
    if distances:
        row |= {
            f"surface_dice_{tau:g}mm": inside / distances.area
            for tau, inside in zip(tolerances_mm, distances.inside, strict=True)
        }
        row["hausdorff"], row["hausdorff_95"] = distances.hausdorff, distances.hausdorff_95
        row["assd"] = distances.moment / distances.area
    return row
