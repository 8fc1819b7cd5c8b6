"""What separates the two images of a pair, estimated from them: point spread, noise, contrast, displacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from umdlib.images import geometry
from umdlib.images.grids import Grid
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.ladder import fit, noise
from umdlib.ladder.cells import FACTORS, Degradations, degraded_cells, spread_displacement
from umdlib.ladder.regions import NO_SCALE, Regions, above_air, regions_of

COLUMNS = ("factor", "structure", "quantity", "value", "error", "unit", "how", "reason")

NO_OVERLAP = "the two images do not overlap"
ABSENT = "the structure is absent on one side"
TOO_SMALL = "too small: fewer than 8 voxels of PET"
NO_EDGE = "no structure has an edge that stands out enough for a point spread"
NO_UNIFORM = "no uniform region for noise"
FLAT = "its edge stands out too little to say where PET shows it"

_LEAST_VOXELS = 8
_SHIFT_ERROR_MM = 2.0  # a displacement with a larger standard error is none
_CERTAIN = 3.0  # standard errors that it must have
_STILL_MM = 0.5  # a smaller displacement is none
_SAME_MEAN = 0.03  # in one unit, means nearer than this share are the same
_SAME_NOISE = 1.15  # a noise that is not this much larger than the structural image's own is none
_SEEN = (1.2, 0.5)  # widths in structural voxels below which a blur is none: on one grid, on another


@dataclass(frozen=True)
class Estimates:
    """Estimates of a pair.

    Attributes
    ----------
    made_of
        The degradations; a factor that could not be estimated is the identity there, and has a reason.
    table
        `COLUMNS`, one row per factor and quantity, and per structure where it has its own. `value` is NaN
        where there is a `reason`.
    reasons
        Structure to factor letter to why it has no estimate; only where there is a reason.
    """

    made_of: Degradations
    table: pd.DataFrame = field(repr=False)
    reasons: dict[str, dict[str, str]] = field(repr=False)

    def why_not(self, structure: str, cell: str) -> str:
        """Why a structure has no score in a cell; ``""`` where it has one."""
        known = self.reasons.get(structure, {})
        return next(
            (f"{FACTORS[f]}: {known[f]}" for f in FACTORS if f in cell.removeprefix("PET") and f in known), ""
        )


@dataclass
class _Rows:
    """Rows of the table, and reasons by structure."""

    structures: tuple[str, ...]
    rows: list[tuple] = field(default_factory=list)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    def value(
        self, factor: str, structure: str, quantity: str, value: float, error: float, unit: str, how: str
    ):
        self.rows.append((factor, structure, quantity, float(value), float(error), unit, how, ""))

    def none(self, factor: str, structure: str, quantity: str, unit: str, reason: str):
        """A structure, or ``""`` for all of them, has no estimate."""
        nan = float("nan")
        self.rows.append((factor, structure, quantity, nan, nan, unit, "", reason))
        for name in [structure] * (structure in self.structures) if structure else self.structures:
            self.reasons.setdefault(name, {}).setdefault(factor, reason)

    def made(self, made_of: Degradations) -> Estimates:
        return Estimates(made_of, pd.DataFrame(self.rows, columns=list(COLUMNS)), self.reasons)


def estimate_pair(
    structural: tuple[Volume, LabelMap],
    pet: tuple[Volume, LabelMap],
    structures: Sequence[Structure],
    *,
    filter_mm: float | None = None,
) -> Estimates:
    """Estimate what turns the structural image of a pair into its PET.

    Parameters
    ----------
    structural, pet
        Image and reference, each on its own grid.
    structures
        Of the cohort.
    filter_mm
        Width (FWHM) of the reconstruction filter by PET's header, used where no edge shows the point spread.

    Returns
    -------
    Estimates
        Point spread (FWHM in the plane of the image as sampled: what a line across an edge shows), noise (standard
        deviation over mean in a uniform region), means of the regions, and displacement of each structure; each
        a number, or a reason.

    Notes
    -----
    PET is modelled as regions of one mean each, blurred by a Gaussian, each structure displaced. Means, width and
    displacements are fitted in turn to voxels near the structures' edges: see `umdlib.ladder.fit`.
    """
    (image, labels), (function, reference) = structural, pet
    out = _Rows(tuple(s.name for s in structures))
    regions = regions_of(image, labels, structures)
    made_of = Degradations(grid=_other_grid(image, function), unit=function.unit)
    overlap = _overlap(image, function)
    if not overlap or regions is None:
        for factor, quantity, unit in _QUANTITIES:
            out.none(factor, "", quantity, unit, NO_SCALE if overlap else NO_OVERLAP)
        return out.made(made_of)
    voxels = {s.name: np.count_nonzero(reference.data == s.value) for s in structures}
    absent = [n for n, count in voxels.items() if not count or n not in regions.names]
    small = [n for n, count in voxels.items() if count < _LEAST_VOXELS and n not in absent]
    present = [s for s in structures if s.name not in {*absent, *small}]
    for name, reason in [*((n, ABSENT) for n in absent), *((n, TOO_SMALL) for n in small)]:
        for factor, quantity, unit in _QUANTITIES[2:]:
            out.none(factor, name, quantity, unit, reason)
    regions = replace(regions, means=fit.sharp_means(regions, image, fit.own_width(image)))
    found = fit.fit_pair(regions, image, function, reference, present)
    made_of = _resolution(out, made_of, found, image, filter_mm)
    made_of = _contrast(out, made_of, found, regions, image, function)
    made_of = _alignment(out, made_of, found, labels)
    made_of = _noise(out, made_of, structural, pet, found)
    return out.made(made_of)


_QUANTITIES = (("R", "fwhm", "mm"), ("N", "sd over mean", ""), ("C", "mean", ""), ("A", "displacement", "mm"))


def _other_grid(image: Volume, pet: Volume) -> Grid | None:
    """PET's grid; None where it is the structural image's."""
    same = (
        image.shape == pet.shape and geometry.corner_distance(image.affine, pet.affine, image.shape)[0] < 0.05
    )
    return None if same else Grid(pet.shape, pet.affine)


def _overlap(image: Volume, pet: Volume) -> bool:
    """Whether the boxes of two images share a volume."""
    ends = []
    for v in (image, pet):
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in v.shape])).reshape(3, -1).T
        world = geometry.to_world(v.affine, corners)
        ends.append((world.min(axis=0), world.max(axis=0)))
    return bool((np.maximum(ends[0][0], ends[1][0]) < np.minimum(ends[0][1], ends[1][1])).all())


def _resolution(out: _Rows, made_of, found: fit.Fit, image: Volume, filter_mm) -> Degradations:
    """The point spread that the structural image lacks."""
    own = fit.own_width(image)
    if np.isfinite(found.fwhm_mm):
        width, error, how = found.fwhm_mm, found.fwhm_error, f"edges of {', '.join(found.edges)}"
    elif filter_mm:
        width, error, how = float(filter_mm), float("nan"), "the header's filter"
    else:
        out.none("R", "", "fwhm", "mm", NO_EDGE)
        return made_of
    out.value("R", "", "fwhm", width, error, "mm", how)
    extra = max(width**2 - own**2, 0.0) ** 0.5
    seen = _SEEN[made_of.grid is not None] * own
    extra = extra if extra > seen else 0.0
    out.value("R", "", "blur", extra, error, "mm", f"beyond the structural image's {own:.2g} mm")
    return replace(made_of, fwhm_mm=extra)


def _contrast(
    out: _Rows, made_of, found: fit.Fit, regions: Regions, image: Volume, pet: Volume
) -> Degradations:
    """PET's mean of each region, freed of what the point spread carries over its border."""
    means = found.means.copy()
    if pet.unit == image.unit:
        known = np.nan_to_num(means)
        least = np.maximum(_SAME_MEAN * np.maximum(regions.means, 0.03 * known.max()), 4 * found.mean_errors)
        near = np.abs(known - regions.means) <= np.nan_to_num(least)
        means = np.where(near, regions.means, means)
    for i, name in enumerate(regions.names):
        if np.isfinite(means[i]):
            how = f"fitted on {found.voxels[i]} voxels"
            out.value("C", name, "mean", means[i], found.mean_errors[i], pet.unit, how)
        elif name not in out.reasons:
            out.none("C", name, "mean", pet.unit, "no voxel of PET")
    lit = np.isfinite(means) & (regions.means > 0)
    scale = float(np.median(means[lit] / regions.means[lit])) if lit.any() else 0.0
    filled = np.where(np.isfinite(means), means, np.maximum(regions.means * scale, 0.0))
    return replace(made_of, regions=regions, pet_means=np.maximum(filled, 0.0))


def _alignment(out: _Rows, made_of, found: fit.Fit, labels: LabelMap) -> Degradations:
    """Displacement of each structure that has an edge, spread over the image."""
    moves = {}
    for s, shift in found.shifts.items():
        if not shift.error <= _SHIFT_ERROR_MM:
            out.none("A", s.name, "displacement", "mm", FLAT)
            continue
        length = float(np.linalg.norm(shift.mm))
        still = length < max(_STILL_MM, _CERTAIN * shift.error)
        moves[s.value] = (0.0, 0.0, 0.0) if still else shift.mm
        for axis, value in zip("xyz", shift.mm, strict=True):
            out.value("A", s.name, f"displacement {axis}", value, shift.error, "mm", "fit of its edge")
    if not moves:
        return made_of
    return replace(made_of, displacement=spread_displacement(labels.data, labels.affine, moves))


def _noise(out: _Rows, made_of, structural, pet, found: fit.Fit) -> Degradations:
    """Noise of PET in a uniform region, beyond what the structural image has there at PET's resolution."""
    function, reference = pet
    width = found.fwhm_mm if np.isfinite(found.fwhm_mm) else made_of.fwhm_mm
    present = list(found.shifts)
    margins = {s.name: width + float(np.linalg.norm(found.shifts[s].mm)) for s in present}
    measured = noise.uniform_noise(above_air(function), reference, present, margins)
    if measured is None:
        out.none("N", "", "sd over mean", "", NO_UNIFORM)
        return made_of
    how = f"{measured.voxels} voxels inside {measured.structure}"
    out.value("N", "", "sd over mean", measured.share, measured.error, "", how)
    out.value("N", "", "correlation", measured.fwhm_mm, float("nan"), "mm", how)
    [(_, own)] = degraded_cells(structural[0], made_of, ["R"])
    named = [s for s in present if s.name == measured.structure]
    there = noise.uniform_noise(above_air(own), reference, named, margins)
    rest = 0.0 if there is None else there.share
    added = (measured.share**2 - rest**2) ** 0.5 if measured.share > _SAME_NOISE * rest else 0.0
    out.value("N", "", "added", added, measured.error, "", f"beyond the structural image's {rest:.3f}")
    return replace(
        made_of, noise_share=added, noise_fwhm_mm=measured.fwhm_mm, noise_region=measured.structure
    )


__all__ = ["COLUMNS", "Estimates", "estimate_pair"]
