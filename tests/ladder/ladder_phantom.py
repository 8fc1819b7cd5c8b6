"""A pair of five balls whose blurred PET has a closed form, and differs from its CT by chosen factors."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import ORGANS

FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
BY_NAME = {s.name: s for s in ORGANS}
# centre (mm), radius (mm), HU, SUV
BALLS = {
    "liver": ((40.0, -12.0, -20.0), 36.0, 110.0, 2.5),
    "urinary_bladder": ((-10.0, 8.0, -88.0), 24.0, -60.0, 12.0),
    "brain": ((3.0, -4.0, 92.0), 33.0, -40.0, 7.0),
    "spleen": ((-48.0, 12.0, -10.0), 22.0, 180.0, 4.0),
    "kidney_left": ((-46.0, -16.0, 47.0), 20.0, 140.0, 5.0),
}
STRUCTURES = tuple(BY_NAME[n] for n in BALLS)
AROUND_HU, AROUND_SUV = 40.0, 0.8
OWN_FWHM = 3.0
STILL = dict.fromkeys(BALLS, (0.0, 0.0, 0.0))


def grid(spacing, offset=0.0):
    low = np.array([-88.0, -64.0, -128.0]) + offset
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return affine, tuple(int(n) for n in np.ceil(-2 * np.array([-88.0, -64.0, -128.0]) / spacing))


def world(affine, shape):
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]


def blurred_ball(r, radius, fwhm):
    """A ball of height 1 after a Gaussian, at distances r from its centre."""
    s = fwhm / FWHM_PER_SD
    r = np.maximum(r, 1e-6)
    edges = (erf((radius - r) / (s * 2**0.5)) + erf((radius + r) / (s * 2**0.5))) / 2
    tails = np.exp(-((radius - r) ** 2) / (2 * s**2)) - np.exp(-((radius + r) ** 2) / (2 * s**2))
    return edges - s / (r * np.sqrt(2 * np.pi)) * tails


def drawn(affine, shape, fwhm, heights, around, shifts=STILL):
    xyz, image = world(affine, shape), np.full(shape, float(around))
    for name, (centre, radius, *_) in BALLS.items():
        r = np.linalg.norm(xyz - centre - np.array(shifts[name]), axis=-1)
        image += (heights[name] - around) * blurred_ball(r, radius, fwhm)
    return image


def labels(affine, shape):
    xyz, data = world(affine, shape), np.zeros(shape, np.uint8)
    for name, (centre, radius, *_) in BALLS.items():
        data[np.linalg.norm(xyz - centre, axis=-1) < radius] = BY_NAME[name].value
    return LabelMap(data, affine)


def noise(shape, spacing, rng, fwhm=5.0):
    field = gaussian_filter(rng.standard_normal(shape), fwhm / FWHM_PER_SD / spacing, mode="wrap")
    return field / field.std()


def pair(*, fwhm=None, share=0.0, contrast=True, shifts=STILL, spacing=4.0, seed=0):
    """(CT, its labels), (PET, its labels); `fwhm` None is the CT's point spread on the CT's grid, as `spacing` None."""
    affine, shape = grid(3.0)
    hu = {n: b[2] for n, b in BALLS.items()}
    rng = np.random.default_rng(seed)
    ct = drawn(affine, shape, OWN_FWHM, hu, AROUND_HU) + 4 * noise(shape, 3.0, rng, 3.5)
    ct_labels = labels(affine, shape)
    base = (affine, shape) if fwhm is None or spacing is None else grid(spacing, 1.3)
    suv = {n: b[3] for n, b in BALLS.items()}
    heights, around, unit = (suv, AROUND_SUV, "SUV") if contrast else (hu, AROUND_HU, "HU")
    zero = 0.0 if contrast else 1000.0
    moved = any(map(any, shifts.values()))
    if fwhm is None and not contrast and not moved:
        pet = ct.copy()
    else:
        pet = drawn(*base, fwhm or OWN_FWHM, heights, around, shifts)
    if share:
        level = heights["liver"] + zero
        pet = pet + share * np.sqrt(np.maximum(pet + zero, 0) * level) * noise(base[1], base[0][0, 0], rng)
    images = [Volume(v.astype(np.float32), *a) for v, a in ((ct, (affine, "HU")), (pet, (base[0], unit)))]
    return (images[0], ct_labels), (images[1], labels(*base))
