"""PET images of an anatomy, factor by factor."""

from __future__ import annotations

import numpy as np

from umdlib.images.volume import Volume
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.lesions import lay
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.literature import TISSUE
from umdlib.synthetic.scanner.acquisition import Acquisition
from umdlib.synthetic.scanner.attenuation import mismatch
from umdlib.synthetic.scanner.contrast import FAT_SIGNAL, pet_values, uptake_table
from umdlib.synthetic.scanner.factors import Factors
from umdlib.synthetic.scanner.motion import fill_bladder, pet_shifts
from umdlib.synthetic.scanner.sampling import (
    SCANNERS,
    Grid,
    blur,
    blur_to,
    correlated_noise,
    sample,
    scanner_grid,
    structural_fwhm,
)

_PET_STEP = 1 / 1024  # SUV; a scanner stores 16-bit integers too
_POST_FILTER_MM = 5.0
_NOISE_FLOOR = 0.03  # of the liver: outside the body noise does not vanish
# Relative error where a four-class map takes bone for soft tissue, and its reach (mm): 8 % in the
# marrow of the pelvis, as Martinez-Möller et al. 2009 found for bone lesions.
BONE_BIAS, ATTENUATION_REACH_MM = -0.15, 22.0
_ZERO = {"HU": 1000.0, "a.u.": 0.0, "SUV": 0.0}  # what is added to make air 0


def pet_image(
    anatomy: Anatomy,
    structural: Volume,
    *,
    session: str,
    acquisition: Acquisition,
    factors: Factors,
    rng: np.random.Generator,
    spacing_mm: float,
    lesions=(),
) -> Volume:
    """PET of an anatomy.

    With every factor of PET at 0 it is `structural` itself, to the bit. Below full contrast the
    values stay in the structural image's unit, with uptake scaled so that the liver's is its value.

    Parameters
    ----------
    anatomy, structural
        What is imaged, and its CT or MR.
    session, acquisition, factors
        Which physics, how much, how strong. With ``factors.resolution`` 0 the grid is the structural
        image's.
    rng
        Texture and noise: two streams that do not depend on the factors.
    spacing_mm
        Edge of a PET voxel, about.
    lesions
        Of `umdlib.synthetic.anatomy.lesions`.

    Returns
    -------
    Volume
        float32 SUV at full contrast.
    """
    texture_rng, noise_rng = rng.spawn(2)
    grid = Grid(structural.shape, structural.affine)
    if factors.resolution > 0:
        grid = scanner_grid(anatomy, session, "PET", spacing_mm)
    fwhm_mm, structural_fwhm_mm = SCANNERS[session, "PET"].fwhm_mm, structural_fwhm(session, spacing_mm)
    tissue = fill_bladder(anatomy, acquisition.bladder_ml * factors.bladder_filling)
    source, affine, unit = structural.data.astype(np.float32), structural.affine, structural.unit
    if factors.contrast > 0:
        uptake = _uptake_values(anatomy, tissue, session, acquisition, factors, texture_rng, lesions)
        own = factors.resolution * fwhm_mm if factors.resolution > 0 else structural_fwhm_mm
        if factors.contrast == 1:
            source, affine, unit = blur_to(uptake, anatomy.affine[0, 0], own), anatomy.affine, "SUV"
        else:
            source = mix(source, structural, uptake, anatomy, factors.contrast, structural_fwhm_mm)
    elif tissue is not anatomy.tissue:
        source = _flood(source, structural, anatomy, tissue)
    if factors.resolution > 0 and unit != "SUV":
        rest = max((factors.resolution * fwhm_mm) ** 2 - structural_fwhm_mm**2, 0.0) ** 0.5
        source = blur(source, np.diag(affine)[:3], rest)
    image = move(source, affine, grid, pet_shifts(anatomy, grid, acquisition, factors), unit)
    if unit == "SUV" and factors.attenuation_mismatch > 0:
        image *= mismatch(anatomy, grid, acquisition, factors)
    if factors.noise > 0:
        image += _pet_noise(image, grid, anatomy, unit, acquisition.liver_cov * factors.noise, noise_rng)
    if unit == "SUV":
        image = np.rint(np.maximum(image, 0) / _PET_STEP) * np.float32(_PET_STEP)
    return Volume(image.astype(np.float32, copy=False), grid.affine, unit)


def _uptake_values(anatomy, tissue, session, acquisition, factors, rng, lesions) -> np.ndarray:
    """SUV (I, J, K) on the anatomy's grid, with the bias of a four-class attenuation map."""
    values = pet_values(tissue, anatomy.affine, anatomy.person, rng)
    lay(values, lesions, lambda lesion: lesion.suv)
    if session == "petmr" and factors.attenuation > 0:
        error = np.zeros(256, np.float32)
        for name in ("cortical_bone", "marrow", "yellow_marrow", "tooth"):
            error[CODES[name]] = BONE_BIAS
        error[CODES["lung"]] = acquisition.lung_bias
        bias = blur(error[anatomy.tissue], np.diag(anatomy.affine)[:3], ATTENUATION_REACH_MM)
        values *= 1 + np.float32(factors.attenuation) * bias
    return values


def _liver_value(anatomy: Anatomy, unit: str) -> float:
    """Value of the liver above air in a unit: the scale of noise."""
    if unit == "SUV":
        return float(uptake_table(anatomy.person)[CODES["liver"]])
    return TISSUE["liver"].hu + _ZERO["HU"] if unit == "HU" else TISSUE["liver"].t1 * FAT_SIGNAL


def mix(source, structural, uptake, anatomy, share: float, fwhm_mm: float) -> np.ndarray:
    """Linear mixture of the structural image and uptake, in the structural unit, on its grid."""
    zero = _ZERO[structural.unit]
    gain = _liver_value(anatomy, structural.unit) / _liver_value(anatomy, "SUV")
    grid = Grid(structural.shape, structural.affine)
    scaled = sample(blur_to(uptake, anatomy.affine[0, 0], fwhm_mm), anatomy.affine, grid) * gain - zero
    return (1 - share) * source + np.float32(share) * scaled.astype(np.float32)


def _flood(source, structural, anatomy: Anatomy, tissue: np.ndarray) -> np.ndarray:
    """The structural image with the grown bladder filled by the value of urine."""
    grown = ((tissue == CODES["bladder"]) & (anatomy.tissue != CODES["bladder"])).astype(np.float32)
    share = sample(grown, anatomy.affine, Grid(structural.shape, structural.affine))
    record = TISSUE["bladder"]
    value = record.hu if structural.unit == "HU" else record.t1 * FAT_SIGNAL
    return source * (1 - share) + share * np.float32(value)


def move(source: np.ndarray, affine: np.ndarray, grid: Grid, shifts, unit: str) -> np.ndarray:
    """Mean over the states of breathing of the source on a grid; the source itself if none moves."""
    same = grid.shape == source.shape and np.array_equal(grid.affine, affine)
    if shifts == [None] and same:
        return source.copy()
    image = np.zeros(grid.shape, np.float32)
    for shift in shifts:
        image += sample(source, affine, grid, shift_mm=shift, fill=-_ZERO[unit])
    return image / np.float32(len(shifts))


def _pet_noise(image, grid: Grid, anatomy: Anatomy, unit: str, cov: float, rng) -> np.ndarray:
    """Noise whose variance grows with activity, correlated by the post-filter.

    `cov` is the coefficient of variation in the liver; sd = cov * sqrt(value * liver).
    """
    liver = np.float32(_liver_value(anatomy, unit))
    signal = np.maximum(image + np.float32(_ZERO[unit]), np.float32(_NOISE_FLOOR) * liver)
    noise = correlated_noise(rng, grid.shape, grid.spacing_mm, _POST_FILTER_MM)
    return np.sqrt(signal * liver) * np.float32(cov) * noise
