"""CT and MR images of an anatomy."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.images.volume import Volume
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.lesions import LESION_HU, LESION_T1, lay
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.scanner.contrast import FAT_SIGNAL, ct_values, mr_values
from umdlib.synthetic.scanner.factors import Factors
from umdlib.synthetic.scanner.motion import motion_profile
from umdlib.synthetic.scanner.sampling import Grid, blur, blur_to, correlated_noise, sample

_CT_NOISE_HU = 12.0
_MR_NOISE = 14.0


def ct_image(
    anatomy: Anatomy, grid: Grid, *, factors: Factors, rng: np.random.Generator, fwhm_mm: float, lesions=()
) -> Volume:
    """CT (int16 HU): point spread, noise that grows with the thickness of the body."""
    texture_rng, noise_rng = rng.spawn(2)
    values = ct_values(anatomy.tissue, anatomy.affine, texture_rng)
    lay(values, lesions, LESION_HU)
    values = blur_to(values, anatomy.affine[0, 0], fwhm_mm)
    values = sample(values, anatomy.affine, grid, fill=-1000.0)
    _add_couch(values, grid, anatomy)
    if factors.structural_noise > 0:
        values += _ct_noise(values, grid, noise_rng) * np.float32(factors.structural_noise)
    values = np.clip(np.rint(values), -1024, 3071).astype(np.int16)
    return Volume(values, grid.affine, "HU")


def _add_couch(hu: np.ndarray, grid: Grid, anatomy: Anatomy) -> None:
    """The patient couch under the back: a thin curved shell with a light core, in place."""
    x, y, _ = grid.axes_mm()
    body = np.flatnonzero((anatomy.tissue > 0).any(axis=(0, 2)))
    back = anatomy.affine[1, 3] + anatomy.affine[1, 1] * body[0]
    across = np.abs(x - x.mean())[:, None]
    low = back - 5.0 + 0.00042 * across**2
    depth = low - y[None, :]
    width = max(1.2, 0.8 * float(grid.spacing_mm[1]))  # narrower, and the voxels would alias it
    shell = np.exp(-0.5 * ((np.abs(depth - 12) - 10) / width) ** 2) * (across < 205) * 2.6 / width
    core = ((depth > 2) & (depth < 22) & (across < 205)) * 45.0
    couch = (-1000 + np.maximum(core, 1050 * shell)).astype(np.float32)
    np.maximum(hu, couch[:, :, None], out=hu)


def _ct_noise(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Noise (HU): more where rays cross more tissue, streaked along the longer path."""
    spacing = grid.spacing_mm
    density = np.clip(hu / 1000 + 1, 0, 2.5)
    lateral = density.sum(axis=0, keepdims=True) * spacing[0]
    front = density.sum(axis=1, keepdims=True) * spacing[1]
    lateral = scipy.ndimage.gaussian_filter1d(lateral, 12 / spacing[1], axis=1)
    front = scipy.ndimage.gaussian_filter1d(front, 12 / spacing[0], axis=0)
    fine = correlated_noise(rng, hu.shape, spacing, (4.0, 4.0, 2.0))
    fine -= blur(fine, spacing, (14.0, 14.0, 0.0)) * np.float32(0.8)
    streak = correlated_noise(rng, hu.shape, spacing, (40.0, 3.0, 2.0))
    # tube current is modulated: noise grows with half the path that physics would give
    sd_front = np.exp(0.5 * 0.0095 * (front - 230))
    sd_lateral = np.exp(0.5 * 0.0125 * (lateral - 340))
    noise = fine * (0.8 * np.clip(sd_front, 0.4, 3)) + streak * (0.45 * np.clip(sd_lateral, 0.0, 4))
    return noise * np.float32(_CT_NOISE_HU)


def mr_image(
    anatomy: Anatomy, grid: Grid, *, factors: Factors, rng: np.random.Generator, fwhm_mm: float, lesions=()
) -> Volume:
    """MR (int16 a.u.): point spread, coil bias, ghosts, Rician noise."""
    texture_rng, bias_rng, noise_rng = rng.spawn(3)
    values = mr_values(anatomy.tissue, anatomy.affine, texture_rng)
    lay(values, lesions, LESION_T1 * FAT_SIGNAL)
    values = blur_to(values, anatomy.affine[0, 0], fwhm_mm)
    values = sample(values, anatomy.affine, grid)
    if factors.ghosting > 0:
        values += ghosts(values, grid, anatomy) * np.float32(factors.ghosting)
    if factors.bias_field > 0:
        values *= bias_field(grid, bias_rng, factors.bias_field)
    if factors.structural_noise > 0:
        sd = np.float32(_MR_NOISE * factors.structural_noise)
        real = correlated_noise(noise_rng, values.shape, grid.spacing_mm, 3.0) * sd
        imaginary = correlated_noise(noise_rng, values.shape, grid.spacing_mm, 3.0) * sd
        values = np.sqrt((values + real) ** 2 + imaginary**2)
    return Volume(np.clip(np.rint(values), 0, 32000).astype(np.int16), grid.affine, "a.u.")


def ghosts(values: np.ndarray, grid: Grid, anatomy: Anatomy) -> np.ndarray:
    """Faint copies of what breathes, shifted along the phase-encoding (front-back) direction."""
    if anatomy.heights is None:
        return np.zeros_like(values)
    moving = values * motion_profile(anatomy, grid)
    steps = [round(mm / grid.spacing_mm[1]) for mm in (46.0, -46.0)]
    out = np.zeros_like(values)
    for n in steps:
        ghost = np.roll(moving, n, axis=1)
        edge = slice(0, n) if n > 0 else slice(n, None)
        ghost[:, edge] = 0
        out += 0.02 * (ghost - scipy.ndimage.uniform_filter1d(ghost, 9, axis=1))
    return out


def bias_field(grid: Grid, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Smooth gain (mean about 1) of the coils, with steps between the stations of the table."""
    axes = grid.axes_mm()
    low, high = [a[0] for a in axes], [a[-1] for a in axes]
    smooth = SplineField(rng, low, high, 160.0, 0.13 * strength).on_axes(*axes)
    return np.exp(smooth).astype(np.float32)
