"""CT, MR and PET images of an anatomy, factor by factor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from umdlib.synthetic.anatomy import Anatomy
from umdlib.synthetic.contrast import ct_values, mr_values, pet_values, uptake_table
from umdlib.synthetic.factors import Factors
from umdlib.synthetic.sampling import (
    SCANNERS,
    Grid,
    blur,
    correlated_noise,
    grid_over,
    sample,
)
from umdlib.synthetic.tissue import CODES
from umdlib.volume import Volume

PET_STEP = 1 / 1024  # SUV; a scanner stores 16-bit integers too
LIVER_COV = 0.10
POST_FILTER_MM = 5.0
CT_NOISE_HU = 12.0
MR_NOISE = 14.0


@dataclass(frozen=True)
class Acquisition:
    """What happened between and during the two images of one session.

    Attributes
    ----------
    breathing_mm
        Peak-to-peak motion of the dome of the diaphragm during PET.
    misregistration_mm
        Mean downward displacement of the dome in PET against the structural image.
    rigid_mm
        Shift (x, y, z) of the whole body.
    bladder_ml
        Growth of the bladder.
    liver_cov
        Coefficient of variation of PET noise in the liver.
    """

    breathing_mm: float = 12.0
    misregistration_mm: float = 6.0
    rigid_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bladder_ml: float = 60.0
    liver_cov: float = LIVER_COV
    extra: dict = field(default_factory=dict)


def draw_acquisition(rng: np.random.Generator, *, session: str, bmi: float) -> Acquisition:
    """An acquisition drawn from what scanners and patients do."""
    cov = (0.105 if session == "petct" else 0.09) * np.exp(rng.normal(0, 0.12)) * (bmi / 25) ** 0.6
    return Acquisition(
        breathing_mm=round(float(np.clip(rng.normal(13, 3.5), 5, 24)), 2),
        misregistration_mm=round(float(np.clip(rng.normal(5, 5), -6, 16)), 2),
        rigid_mm=tuple(round(float(v), 2) for v in rng.normal(0, 1, 3) * [0.8, 0.8, 1.0]),
        bladder_ml=round(float(np.clip(rng.normal(60, 30), 5, 150)), 1),
        liver_cov=round(float(np.clip(cov, 0.05, 0.2)), 4),
    )


def structural_grid(anatomy: Anatomy, session: str, modality: str, spacing_mm: float) -> Grid:
    """The grid of one image of a session over an anatomy."""
    scanner = SCANNERS[session, modality]
    low = anatomy.affine[:3, 3].copy()
    high = low + (np.array(anatomy.tissue.shape) - 1) * np.diag(anatomy.affine)[:3]
    scale = spacing_mm / 4
    margin = np.array([scanner.margin_mm, scanner.margin_mm, 0.0])
    inset = np.array([0, 0, 2.0 if modality != "PET" else 8.0])
    low[1] -= 26.0 if modality == "CT" else 0.0  # the couch
    return grid_over(
        low - margin + inset,
        high + margin - inset,
        np.array(scanner.voxel_mm) * scale,
        scanner.offset,
    )


def ct_image(
    anatomy: Anatomy, grid: Grid, *, factors: Factors, rng: np.random.Generator, fwhm_mm: float
) -> Volume:
    """CT (int16 HU): point spread, noise that grows with the thickness of the body."""
    texture_rng, noise_rng = rng.spawn(2)
    values = ct_values(anatomy.tissue, anatomy.affine, texture_rng)
    values = blur(values, np.diag(anatomy.affine)[:3], fwhm_mm)
    values = sample(values, anatomy.affine, grid, fill=-1000.0)
    add_couch(values, grid, anatomy)
    if factors.structural_noise > 0:
        values += ct_noise(values, grid, noise_rng) * np.float32(factors.structural_noise)
    values = np.clip(np.rint(values), -1024, 3071).astype(np.int16)
    return Volume(values, grid.affine, "HU")


def add_couch(hu: np.ndarray, grid: Grid, anatomy: Anatomy) -> None:
    """The patient couch under the back: a thin curved shell with a light core, in place."""
    x, y, _ = grid.axes_mm()
    body = np.flatnonzero((anatomy.tissue > 0).any(axis=(0, 2)))
    back = anatomy.affine[1, 3] + anatomy.affine[1, 1] * body[0]
    across = np.abs(x - x.mean())[:, None]
    low = back - 5.0 + 0.00042 * across**2
    depth = low - y[None, :]
    shell = np.clip(1.6 - np.abs(np.abs(depth - 12) - 10), 0, 1) * (across < 205)
    core = ((depth > 2) & (depth < 22) & (across < 205)) * 45.0
    couch = (-1000 + np.maximum(core, 1010 * shell)).astype(np.float32)
    np.maximum(hu, couch[:, :, None], out=hu)


def ct_noise(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Noise (HU): more where rays cross more tissue, streaked along the longer path."""
    spacing = grid.spacing_mm
    density = np.clip(hu / 1000 + 1, 0, 2.5)
    lateral = density.sum(axis=0, keepdims=True) * spacing[0]
    front = density.sum(axis=1, keepdims=True) * spacing[1]
    lateral = ndimage.gaussian_filter1d(lateral, 12 / spacing[1], axis=1)
    front = ndimage.gaussian_filter1d(front, 12 / spacing[0], axis=0)
    fine = correlated_noise(rng, hu.shape, spacing, (4.0, 4.0, 2.0))
    fine -= blur(fine, spacing, (14.0, 14.0, 0.0)) * np.float32(0.8)
    streak = correlated_noise(rng, hu.shape, spacing, (40.0, 3.0, 2.0))
    # tube current is modulated: noise grows with half the path that physics would give
    sd_front = np.exp(0.5 * 0.0095 * (front - 230))
    sd_lateral = np.exp(0.5 * 0.0125 * (lateral - 340))
    noise = fine * (0.8 * np.clip(sd_front, 0.4, 3)) + streak * (0.45 * np.clip(sd_lateral, 0.0, 4))
    return noise * np.float32(CT_NOISE_HU)


def mr_image(
    anatomy: Anatomy, grid: Grid, *, factors: Factors, rng: np.random.Generator, fwhm_mm: float
) -> Volume:
    """MR (int16 a.u.): point spread, coil bias, ghosts, Rician noise."""
    texture_rng, bias_rng, noise_rng = rng.spawn(3)
    values = mr_values(anatomy.tissue, anatomy.affine, texture_rng)
    values = blur(values, np.diag(anatomy.affine)[:3], fwhm_mm)
    values = sample(values, anatomy.affine, grid)
    if factors.bias_field > 0:
        values *= bias_field(grid, bias_rng, factors.bias_field)
    if factors.structural_noise > 0:
        sd = np.float32(MR_NOISE * factors.structural_noise)
        real = correlated_noise(noise_rng, values.shape, grid.spacing_mm, 3.0) * sd
        imaginary = correlated_noise(noise_rng, values.shape, grid.spacing_mm, 3.0) * sd
        values = np.sqrt((values + real) ** 2 + imaginary**2)
    return Volume(np.clip(np.rint(values), 0, 32000).astype(np.int16), grid.affine, "a.u.")


def bias_field(grid: Grid, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Smooth gain (mean about 1) of the coils, with steps between the stations of the table."""
    from umdlib.synthetic.noise import SplineField

    axes = grid.axes_mm()
    low, high = [a[0] for a in axes], [a[-1] for a in axes]
    smooth = SplineField(rng, low, high, 160.0, 0.13 * strength).on_axes(*axes)
    return np.exp(smooth).astype(np.float32)


def motion_profile(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Share (1, 1, K) of the dome's motion at each height: 1 at the dome, 0 at apex and pelvis."""
    z = grid.axes_mm()[2]
    height = z / anatomy.frame.scale[2] + 1100
    knots = np.array(
        [
            [900, 0],
            [960, 0.04],
            [1040, 0.25],
            [1120, 0.6],
            [1200, 0.9],
            [1270, 1.0],
            [1330, 0.7],
            [1400, 0.2],
            [1450, 0.0],
        ]
    )
    return np.interp(height, knots[:, 0], knots[:, 1]).astype(np.float32)[None, None, :]


def pet_shifts(anatomy: Anatomy, grid: Grid, acquisition: Acquisition, factors: Factors) -> list:
    """World displacement (x, y, z) of the content at each phase of breathing; [None] if nothing moves."""
    if factors.breathing == 0 and factors.misregistration == 0:
        return [None]
    share = motion_profile(anatomy, grid)
    phases = np.linspace(0, 1, 5) if factors.breathing > 0 else np.array([0.0])
    state = np.sin(np.pi * phases) ** 2 if len(phases) > 1 else np.zeros(1)
    state = np.array([0.02, 0.10, 0.30, 0.62, 0.95]) if len(phases) > 1 else np.zeros(1)
    state = state - state.mean()
    rigid = np.array(acquisition.rigid_mm) * factors.misregistration
    shifts = []
    for s in state:
        dome = acquisition.misregistration_mm * factors.misregistration
        dome = dome + acquisition.breathing_mm * factors.breathing * s
        shifts.append(
            (
                np.float32(rigid[0]),
                np.float32(rigid[1]) + 0.2 * dome * share,
                np.float32(rigid[2]) - dome * share,
            )
        )
    return shifts


def fill_bladder(anatomy: Anatomy, extra_ml: float) -> np.ndarray:
    """Tissues with the bladder grown by a volume over fat and muscle around it."""
    if anatomy.bladder is None or extra_ml <= 0:
        return anatomy.tissue
    box, distance, level = anatomy.bladder
    tissue = anatomy.tissue.copy()
    part = tissue[box]
    allowed = np.isin(
        part,
        [
            CODES[n]
            for n in (
                "visceral_fat",
                "muscle",
                "bladder",
                "bowel_wall",
                "bowel_content",
                "vessel",
                "ureter",
                "uterus",
            )
        ],
    )
    voxel_ml = np.prod(np.diag(anatomy.affine)[:3]) / 1000
    now = int((part == CODES["bladder"]).sum())
    values = np.sort(distance[allowed & (distance >= level)])
    want = int(round(extra_ml / voxel_ml))
    if want == 0 or values.size == 0 or now == 0:
        return anatomy.tissue
    new = values[min(want, values.size - 1)]
    part[allowed & (distance < new)] = CODES["bladder"]
    return tissue


def pet_image(
    anatomy: Anatomy,
    structural: Volume,
    grid: Grid,
    *,
    acquisition: Acquisition,
    factors: Factors,
    rng: np.random.Generator,
    fwhm_mm: float,
    structural_fwhm_mm: float,
) -> Volume:
    """PET (float32 SUV). With every factor of PET at 0 it is `structural` itself, to the bit."""
    texture_rng, noise_rng = rng.spawn(2)
    if factors.resolution == 0:
        grid = Grid(structural.shape, structural.affine)
    c = factors.contrast
    unit = "SUV" if c > 0 else structural.unit
    source, affine = structural.data.astype(np.float32), structural.affine
    if c > 0:
        tissue = fill_bladder(anatomy, acquisition.bladder_ml * factors.bladder_filling)
        source = pet_values(tissue, anatomy.affine, anatomy.person, texture_rng)
        affine = anatomy.affine
        if c < 1:
            source *= c
            source += (1 - c) * sample(
                structural.data.astype(np.float32),
                structural.affine,
                Grid(source.shape, affine),
                fill=float(structural.data.min()),
            )
        width = factors.resolution * fwhm_mm if factors.resolution > 0 else structural_fwhm_mm
    else:
        width = factors.resolution * fwhm_mm
    fill = -1000.0 if unit == "HU" else 0.0
    source = blur(source, np.diag(affine)[:3], width)
    phases = pet_shifts(anatomy, grid, acquisition, factors)
    image = np.zeros(grid.shape, np.float32)
    for shift in phases:
        same = shift is None and grid.shape == source.shape and np.array_equal(grid.affine, affine)
        image += source if same else sample(source, affine, grid, shift_mm=shift, fill=fill)
    image /= np.float32(len(phases))
    if factors.noise > 0:
        offset = 1000.0 if unit == "HU" else 0.0
        liver = (
            float(uptake_table(anatomy.person)[CODES["liver"]])
            if c > 0
            else (1057.0 if unit == "HU" else 350.0)
        )
        signal = np.maximum(image + offset, 0.03 * liver)
        sd = np.sqrt(signal * liver) * np.float32(acquisition.liver_cov * factors.noise)
        image += sd * correlated_noise(noise_rng, grid.shape, grid.spacing_mm, POST_FILTER_MM)
    if unit == "SUV":
        np.maximum(image, 0, out=image)
        image = np.rint(image / PET_STEP) * np.float32(PET_STEP)
    return Volume(image.astype(np.float32), grid.affine, unit)
