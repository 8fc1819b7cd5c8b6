"""Scanner grids, point spread, and sampling of an anatomy on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from umdlib.labels import ORGANS, SESSIONS
from umdlib.synthetic.anatomy.tissue import label_of_code

FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
_TRUNCATE = 3.5


@dataclass(frozen=True)
class Grid:
    """Shape and affine (voxel to world, RAS+, mm) of an image."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel edges (3,) of a grid along the world axes."""
        return np.diag(self.affine)[:3].copy()

    def axes_mm(self) -> list[np.ndarray]:
        """World coordinates of the voxel centres along each axis."""
        return [self.affine[i, 3] + self.affine[i, i] * np.arange(self.shape[i]) for i in range(3)]


@dataclass(frozen=True)
class _Scanner:
    """One image of a session: voxel edges at a 4 mm cohort, point spread, place of its grid."""

    voxel_mm: tuple[float, float, float]
    fwhm_mm: float
    margin_mm: float
    offset: tuple[float, float, float]
    source: str


# Voxels scale with the cohort's spacing / 4 mm. CT and MR are coarser than a scanner's own
# (0.98 mm), to keep a cohort small; PET/MR slices are 3 mm instead of the scanner's 2.03 mm.
SCANNERS: dict[tuple[str, str], _Scanner] = {
    ("petct", "CT"): _Scanner((3.0, 3.0, 3.0), 3.0, 6.0, (0.31, 0.17, 0.23), "furst2011"),
    ("petct", "PET"): _Scanner((4.07, 4.07, 4.0), 6.8, 16.0, (0.66, 0.41, 0.57), "furst2011"),
    ("petmr", "MR"): _Scanner((3.1, 3.1, 2.6), 3.0, 6.0, (0.12, 0.73, 0.38), "furst2011"),
    ("petmr", "PET"): _Scanner((4.17, 4.17, 3.0), 6.0, 16.0, (0.48, 0.29, 0.81), "furst2011"),
}


def structural_fwhm(session: str, spacing_mm: float) -> float:
    """Full width at half maximum (mm) of the CT's or MR's point spread: it scales with the cohort's spacing."""
    return SCANNERS[session, SESSIONS[session].structural].fwhm_mm * spacing_mm / 4


def grid_over(low_mm, high_mm, voxel_mm, offset=(0, 0, 0)) -> Grid:
    """Smallest grid of these voxels that covers a world box; `offset` shifts it by voxel shares."""
    low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
    voxel = np.asarray(voxel_mm, float)
    start = np.round((np.floor(low / voxel) - np.asarray(offset)) * voxel, 4)
    shape = tuple(int(n) for n in np.ceil((high - start) / voxel) + 1)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = start
    return Grid(shape, affine)


def blur(values: np.ndarray, spacing_mm, fwhm_mm, *, mode: str = "nearest") -> np.ndarray:
    """Gaussian point spread of a full width at half maximum in mm (a number, or one per axis).

    0 leaves the values exactly as they are.
    """
    from umdlib.kernels import gaussian

    sd = np.broadcast_to(np.asarray(fwhm_mm, float) / FWHM_PER_SD, 3) / np.asarray(spacing_mm)
    one = (
        gaussian.filtered if values.dtype == np.float32 else scipy.ndimage.gaussian_filter1d
    )  # equal to the bit
    for axis in range(3):
        if sd[axis] > 0:
            values = one(values, float(sd[axis]), axis=axis, mode=mode, truncate=_TRUNCATE)
    return values


def blur_to(values: np.ndarray, spacing_mm: float, fwhm_mm: float) -> np.ndarray:
    """Point spread for values on cubic voxels that will be sampled linearly.

    Voxels and linear interpolation blur by themselves (variance spacing² / 12 + spacing² / 6): the
    Gaussian adds what is missing to the width asked for.
    """
    rest = (fwhm_mm / FWHM_PER_SD) ** 2 - spacing_mm**2 / 4
    return blur(values, [spacing_mm] * 3, FWHM_PER_SD * max(rest, 0.0) ** 0.5)


def _kernel_norm(sd_voxels: float) -> float:
    """Root of the summed squares of the 1D kernel: what `blur` does to the sd of white noise."""
    if sd_voxels <= 0:
        return 1.0
    impulse = np.zeros(2 * int(_TRUNCATE * sd_voxels + 1.5) + 1)
    impulse[len(impulse) // 2] = 1
    k = scipy.ndimage.gaussian_filter1d(impulse, sd_voxels, truncate=_TRUNCATE, mode="constant")
    return float(np.sqrt((k**2).sum()))


def correlated_noise(rng, shape, spacing_mm, fwhm_mm) -> np.ndarray:
    """Gaussian noise (mean 0, sd 1) float32 with the correlation of a Gaussian filter."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    sd = np.broadcast_to(np.asarray(fwhm_mm, float) / FWHM_PER_SD, 3) / np.asarray(spacing_mm)
    noise = blur(noise, spacing_mm, fwhm_mm, mode="wrap")
    return noise / np.float32(np.prod([_kernel_norm(s) for s in sd]))


def sample(values: np.ndarray, affine: np.ndarray, grid: Grid, *, shift_mm=None, fill=0.0) -> np.ndarray:
    """Values at the voxel centres of a grid, linearly; (I, J, K) float32.

    `shift_mm`: None, or three arrays or numbers that broadcast to the grid: the world displacement
    of the content, i.e. the result at x is the source at x - shift.
    """
    low, step = affine[:3, 3], np.diag(affine)[:3]
    if shift_mm is None:
        scale = grid.spacing_mm / step
        offset = (grid.affine[:3, 3] - low) / step
        return scipy.ndimage.affine_transform(
            values, scale, offset, grid.shape, order=1, cval=fill, output=np.float32
        )
    axes = grid.axes_mm()
    index = np.empty((3, *grid.shape), np.float32)
    for i in range(3):
        shape = [1, 1, 1]
        shape[i] = -1
        index[i] = (axes[i].reshape(shape) - shift_mm[i] - low[i]) / step[i]
    return scipy.ndimage.map_coordinates(values, index, order=1, cval=fill, output=np.float32)


def sample_labels(tissue: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Label map (uint8) on a grid: the structure with the largest share of each voxel.

    A voxel belongs to a structure if more than half of what linear interpolation sees is its.
    """
    labels = label_of_code()[tissue]
    out = np.zeros(grid.shape, np.uint8)
    best = np.full(grid.shape, 0.5, np.float32)
    ratio = grid.spacing_mm / np.diag(affine)[:3]
    boxes = scipy.ndimage.find_objects(labels, max_label=max(s.value for s in ORGANS))
    for structure in ORGANS:
        box = boxes[structure.value - 1]
        if box is None:
            continue
        box = tuple(slice(max(b.start - 4, 0), b.stop + 4) for b in box)
        part = (labels[box] == structure.value).astype(np.float32)
        for axis in range(3):
            # as wide as a box of the voxel's size; a box filter of even width would shift
            part = scipy.ndimage.gaussian_filter1d(part, 0.29 * ratio[axis], axis=axis, mode="nearest")
        start = affine[:3, 3] + np.array([b.start for b in box]) * np.diag(affine)[:3]
        local = affine.copy()
        local[:3, 3] = start
        inner, sub = crop(grid, start, start + (np.array(part.shape) - 1) * np.diag(affine)[:3])
        share = sample(part, local, sub)
        better = share > best[inner]
        out[inner][better] = structure.value
        best[inner][better] = share[better]
    return out


def crop(grid: Grid, low_mm, high_mm) -> tuple[tuple[slice, ...], Grid]:
    """Index box of a world box in a grid, and the grid of that box."""
    box = []
    for i, (axis, a, b) in enumerate(zip(grid.axes_mm(), low_mm, high_mm, strict=True)):
        i0, i1 = np.searchsorted(axis, [a, b])
        box.append(slice(max(int(i0) - 1, 0), min(int(i1) + 1, grid.shape[i])))
    affine = grid.affine.copy()
    affine[:3, 3] += np.array([b.start for b in box]) * grid.spacing_mm
    return tuple(box), Grid(tuple(b.stop - b.start for b in box), affine)


def scanner_grid(anatomy, session: str, modality: str, spacing_mm: float) -> Grid:
    """The grid of one image of a session over an anatomy."""
    scanner = SCANNERS[session, modality]
    low = anatomy.affine[:3, 3].copy()
    high = low + (np.array(anatomy.tissue.shape) - 1) * np.diag(anatomy.affine)[:3]
    scale = spacing_mm / 4
    margin = np.array([scanner.margin_mm, scanner.margin_mm, 0.0])
    inset = np.array([0, 0, 2.0 if modality != "PET" else 8.0])
    low[1] -= 26.0 if modality == "CT" else 0.0  # the couch
    return grid_over(
        low - margin + inset, high + margin - inset, np.array(scanner.voxel_mm) * scale, scanner.offset
    )
