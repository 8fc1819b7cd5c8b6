"""Checks of a pair by the body that both images show: no reference is needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy

from umdlib.cohort.image_checks import Facts, Finding
from umdlib.cohort.overlay import Overlay
from umdlib.images import geometry

# Median SUV in the body: 0.43 to 0.75 in six patients; the mean is 1 by conservation of activity.
BODY_SUV = (0.1, 1.5)
_BODY_HU, _LEAST_BODY, _LEAST_CORE = -400.0, 500, 200
# PET without attenuation correction is bright under the skin and dark inside: median of the soft tissue within so
# many mm of the skin by that deeper than so many. `benchmarks/clean_pairs.py` has what both kinds measure.
_RIM_MM, _CORE_MM, RIM_BY_CORE = 15.0, 60.0, 0.7
_SOFT_HU = (-200.0, 300.0)
_COARSE_MM = 8.0
# The body's outline in PET: above this share of the median in the body. Its place is that of the structural image to
# this, or two voxels of PET; along the body only where another place fits at least twice as well.
_OUTLINE_SHARE = 0.25
OUTLINE_MM, OUTLINE_VOXELS = 15.0, 2.0
_REACH_MM, _FITS_BETTER, _LEAST_LINES = 60.0, 0.5, 100


def _body(structural: Facts, overlay: Overlay) -> np.ndarray:
    """Where the structural image shows the body: no air."""
    values = overlay.structural
    if structural.case.unit == "HU":
        return (values > _BODY_HU) & overlay.inside
    return (values > 0.15 * np.percentile(values[overlay.inside], 99)) & overlay.inside


def body_findings(structural: Facts, pet: Facts, overlay: Overlay) -> Iterator[Finding]:
    """Median SUV in the body that the structural image shows, and PET near the skin by PET deep inside."""
    body = _body(structural, overlay)[overlay.inside]
    if body.sum() < _LEAST_BODY or pet.case.unit != "SUV":
        return
    suv = float(np.median(overlay.pet[overlay.inside][body]))
    low, high = BODY_SUV
    if not low <= suv <= high:
        message = (
            f"Median SUV in the body of {pet.pair} is {suv:.3g}, {low:g} to {high:g} are plausible: is PET scaled, "
            "or does it lie elsewhere?"
        )
        yield pet.pair_finding("doubt", "suv", message, suv, low if suv < low else high)
        return
    ratio = rim_by_core(structural, overlay)
    if ratio > RIM_BY_CORE:
        message = (
            f"PET of {pet.pair} is {ratio:.2f} times as bright within {_RIM_MM:.0f} mm of the skin as deeper than "
            f"{_CORE_MM:.0f} mm (medians of soft tissue), at most {RIM_BY_CORE:g} is expected: is it not corrected for "
            "attenuation?"
        )
        yield pet.pair_finding("doubt", "attenuation", message, ratio, RIM_BY_CORE)


def rim_by_core(structural: Facts, overlay: Overlay) -> float:
    """Median of PET in the soft tissue near the skin by that deep in the body; NaN where either is too small."""
    spacing = geometry.spacing_mm(overlay.grid)
    part = tuple(slice(None, None, max(1, round(_COARSE_MM / s))) for s in spacing)
    values, inside, pet = overlay.structural[part], overlay.inside[part], overlay.pet[part]
    spacing = [s * p.step for s, p in zip(spacing, part, strict=True)]
    if structural.case.unit == "HU":
        body, soft = values > _BODY_HU, (values > _SOFT_HU[0]) & (values < _SOFT_HU[1])
    else:
        body = soft = values > 0.15 * np.percentile(values, 99)
    up = int(np.argmax(np.abs(overlay.grid[2, :3])))
    whole = scipy.ndimage.binary_opening(body & inside)
    filled = np.stack([scipy.ndimage.binary_fill_holes(s) for s in np.moveaxis(whole, up, 0)])
    # the ends of the field are not skin: distances are those within a transverse plane
    plane = [s for n, s in enumerate(spacing) if n != up]
    depth = np.stack([scipy.ndimage.distance_transform_edt(np.pad(s, 1), plane)[1:-1, 1:-1] for s in filled])
    depth, soft = np.moveaxis(depth, 0, up), soft & inside
    rim, core = pet[soft & (depth > 0) & (depth <= _RIM_MM)], pet[soft & (depth > _CORE_MM)]
    if min(rim.size, core.size) < _LEAST_CORE or np.median(core) <= 0:
        return float("nan")
    return float(np.median(rim) / np.median(core))


def outline_findings(structural: Facts, pet: Facts, overlay: Overlay) -> Iterator[Finding]:
    """PET whose body lies elsewhere than that of the structural image."""
    found = _outline_shift(structural, overlay)
    if found is None:
        return
    shift, uncertainty = found
    distance = float(np.linalg.norm(shift))
    limit = max(OUTLINE_MM, OUTLINE_VOXELS * max(pet.spacing_mm))
    if distance > limit:
        right, front, up = shift
        message = (
            f"The body in PET of {pet.pair} is {distance:.0f} ± {uncertainty:.0f} mm away from that in the structural "
            f"image, by their outlines ({right:+.0f} right, {front:+.0f} front, {up:+.0f} up), at most {limit:.0f} is "
            "expected."
        )
        yield pet.pair_finding("doubt", "outline", message, distance, limit)


def _outline_shift(structural: Facts, overlay: Overlay) -> tuple[np.ndarray, float] | None:
    """Displacement of the body in PET against the structural image (mm, RAS+) and its standard error.

    Returns
    -------
    numpy.ndarray
        Across the body: median, over lines through it, of how far the middle between its two edges is apart. Along
        the body: the shift at which the areas of the sections agree best, where that is clear, else 0.
    float
        Of the lines' spread (lines of a section count as one) and half a voxel of the sample.
    None
        Where too few lines pass through the body.
    """
    body = _body(structural, overlay)
    if body.sum() < _LEAST_BODY:
        return None
    active = (overlay.pet > _OUTLINE_SHARE * np.median(overlay.pet[body])) & overlay.inside
    up = int(np.argmax(np.abs(overlay.grid[2, :3])))
    filled = [_filled(mask, up) for mask in (body, active)]
    spacing, shift, errors = geometry.spacing_mm(overlay.grid), np.zeros(3), []
    for axis in range(3):
        unit = overlay.grid[:3, axis] / spacing[axis]
        if axis == up:
            moved = _along(*(mask.sum(axis=tuple({0, 1, 2} - {up})) for mask in filled), spacing[up])
            errors.append(spacing[up] / 2)
        else:
            apart = _middles_apart(*filled, axis) * spacing[axis]
            if len(apart) < _LEAST_LINES:
                return None
            moved = float(np.median(apart))
            spread = 1.4826 * float(np.median(np.abs(apart - moved)))
            errors.append(np.hypot(spread, spacing[axis] / 2) / np.sqrt(filled[0].shape[up]))
        shift += unit * moved
    return shift, float(np.linalg.norm(errors))


def _filled(mask: np.ndarray, up: int) -> np.ndarray:
    """A body without specks and without holes in its sections."""
    opened = np.moveaxis(scipy.ndimage.binary_opening(mask, iterations=2), up, 0)
    return np.moveaxis(np.stack([scipy.ndimage.binary_fill_holes(section) for section in opened]), 0, up)


def _middles_apart(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """Voxels from the middle between the edges of one body to that of the other, of each line along an axis."""
    n = a.shape[axis]
    place = np.arange(n).reshape([-1 if other == axis else 1 for other in range(3)])
    middles = [np.where(m, place, n).min(axis=axis) + np.where(m, place, -1).max(axis=axis) for m in (a, b)]
    both = a.any(axis=axis) & b.any(axis=axis)
    return (middles[1] - middles[0])[both] / 2


def _along(a: np.ndarray, b: np.ndarray, spacing_mm: float) -> float:
    """Shift (mm) at which the areas of sections agree best; 0 where another one agrees nearly as well."""
    reach = min(int(_REACH_MM / spacing_mm), len(a) // 3)
    misfit = []
    for k in range(-reach, reach + 1):
        x, y = a[max(0, -k) : len(a) - max(0, k)], b[max(0, k) : len(b) - max(0, -k)]
        misfit.append(np.abs(x - y).mean() / max(0.5 * (x + y).mean(), 1e-9))
    best = int(np.argmin(misfit))
    return (best - reach) * spacing_mm if misfit[best] < _FITS_BETTER * misfit[reach] else 0.0
