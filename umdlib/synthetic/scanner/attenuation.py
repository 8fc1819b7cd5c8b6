"""Attenuation of 511 keV photons, and what a map of another breathing state does to PET."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.literature import TISSUE
from umdlib.synthetic.scanner.acquisition import Acquisition
from umdlib.synthetic.scanner.factors import Factors
from umdlib.synthetic.scanner.motion import pet_shifts
from umdlib.synthetic.scanner.sampling import FWHM_PER_SD, Grid, blur, sample

_WATER_PER_MM = 0.0096  # linear attenuation coefficient of water at 511 keV, NIST XCOM
_COARSE_MM = 8.0
# Standard deviations (mm) whose weighted Gaussians add up to 1 / (pi r) in a transverse plane.
_WIDTHS_MM = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_AXIAL_MM = 4.0


def coefficients() -> np.ndarray:
    """Table (256,) float32 of tissues' attenuation coefficients in 1/mm, from their CT numbers.

    Bilinear: water-like up to 0 HU, half the slope above it, where bone's calcium attenuates 120 kV
    more than 511 keV (Kinahan et al. 1998, Attenuation correction for a combined 3D PET/CT scanner).
    """
    out = np.zeros(256, np.float32)
    for name, record in TISSUE.items():
        slope = 1.0 if record.hu < 0 else 0.5
        out[CODES[name]] = _WATER_PER_MM * max(1 + slope * record.hu / 1000, 0)
    return out


def mismatch(anatomy: Anatomy, grid: Grid, acquisition: Acquisition, factors: Factors) -> np.ndarray:
    """Factor (I, J, K) float32 on PET values corrected by the undisplaced body's attenuation.

    Each line of response is multiplied by exp(map - truth), both integrated along it and the truth
    averaged over breathing; here by the mean of that exponent over the transverse lines through a
    voxel, which is the difference of both maps convolved with 1 / (pi r). 1 where nothing moves.
    """
    mu, coarse = _block_means(coefficients()[anatomy.tissue], anatomy.affine)
    shifts = [s for s in pet_shifts(anatomy, coarse, acquisition, factors) if s is not None]
    if not any(np.any(axis) for shift in shifts for axis in shift):
        return np.ones(grid.shape, np.float32)
    difference = mu.copy()
    for shift in shifts:
        difference -= sample(mu, coarse.affine, coarse, shift_mm=shift) / np.float32(len(shifts))
    exponent = line_mean(difference, float(coarse.spacing_mm[0]))
    factor = np.exp(np.float32(factors.attenuation_mismatch) * exponent)
    return sample(factor, coarse.affine, grid, fill=1.0)


def _block_means(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    """Means over cubes of about `_COARSE_MM`, and their grid; what does not fill a cube is left out."""
    step = float(affine[0, 0])
    n = max(round(_COARSE_MM / step), 1)
    shape = tuple(s // n for s in values.shape)
    cut = values[tuple(slice(0, s * n) for s in shape)]
    cubes = cut.reshape(shape[0], n, shape[1], n, shape[2], n)
    coarse = affine.copy()
    coarse[:3, :3] *= n
    coarse[:3, 3] += (n - 1) / 2 * step
    return cubes.mean(axis=(1, 3, 5), dtype=np.float32), Grid(shape, coarse)


def line_mean(difference: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Mean line integral through each voxel over the transverse directions, on cubic voxels.

    1 / (pi r) is the integral over s of sqrt(8 / pi) times Gaussians of standard deviation s.
    """
    out = np.zeros_like(difference)
    edges = np.sqrt(np.array([*_WIDTHS_MM, 2 * _WIDTHS_MM[-1]]) * [0, *_WIDTHS_MM])
    for sd, width in zip(_WIDTHS_MM, np.diff(edges), strict=True):
        fwhm = FWHM_PER_SD * np.array([sd, sd, _AXIAL_MM])
        out += np.float32(np.sqrt(8 / np.pi) * width) * blur(difference, [spacing_mm] * 3, fwhm)
    return out
