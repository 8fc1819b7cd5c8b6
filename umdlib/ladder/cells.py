"""The sixteen cells: a structural image after every combination of PET's resolution, noise, contrast, alignment."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from umdlib.images import geometry
from umdlib.images.grids import Grid
from umdlib.images.volume import Volume
from umdlib.kernels import linear
from umdlib.ladder.point_spread import widened
from umdlib.ladder.regions import ZERO, Regions, above_air, thinned
from umdlib.synthetic.scanner.sampling import correlated_noise

FACTORS: dict[str, str] = {"R": "resolution", "N": "noise", "C": "contrast", "A": "alignment"}
NONE, PET = "none", "PET"
CELLS: tuple[str, ...] = tuple(
    "+".join(f for i, f in enumerate(FACTORS) if n >> i & 1) or NONE for n in range(1 << len(FACTORS))
)
UNDONE: tuple[str, ...] = ("PET-C", "PET-A", "PET-C+A")  # of real PET; R and N cannot be undone

_MOST_TEXTURE = (
    3.0  # new means of its region, or its value on the common scale: a vessel in the lung would be hottest
)
_FLOOR = 0.03  # of the noise region's mean: where there is no signal, noise does not vanish
_REACH_MM = 10.0  # a displacement is a structure's own up to about here
_COARSE_MM = 12.0  # spacing of the grid on which displacements are spread


@dataclass(frozen=True)
class Displacement:
    """Where PET shows what the structural image shows elsewhere.

    Attributes
    ----------
    grid
        Coarse grid.
    field
        (3, A, B, C) float32: world displacement (x, y, z) of the content in mm.
    """

    grid: Grid
    field: np.ndarray

    def at(self, grid: Grid) -> np.ndarray:
        """(3, I, J, K) at the voxels of another grid."""
        mapping = np.linalg.inv(self.grid.affine) @ grid.affine
        turn, start = mapping[:3, :3], mapping[:3, 3]
        return np.stack(
            [
                scipy.ndimage.affine_transform(part, turn, start, grid.shape, order=1, mode="nearest")
                for part in self.field
            ]
        )


@dataclass(frozen=True)
class Degradations:
    """Degradations that turn a structural image into its PET. The default of each part is the identity.

    Attributes
    ----------
    grid
        PET's grid; None keeps the structural image's.
    fwhm_mm
        Width of the Gaussian that the structural point spread lacks to PET's.
    noise_share, noise_fwhm_mm, noise_region
        Standard deviation of noise over the mean of a region, beyond the structural image's own;
        the width of its correlation; the region. Its variance grows with the signal.
    regions, pet_means, unit
        Regions of the structural image and PET's mean in each, above air; PET's unit. None changes no
        contrast.
    displacement
        None moves nothing.
    """

    grid: Grid | None = None
    fwhm_mm: float = 0.0
    noise_share: float = 0.0
    noise_fwhm_mm: float = 0.0
    noise_region: str = ""
    regions: Regions | None = field(default=None, repr=False)
    pet_means: np.ndarray | None = None
    unit: str = "SUV"
    displacement: Displacement | None = field(default=None, repr=False)


def degraded_cells(
    image: Volume, made_of: Degradations, wanted: Iterable[str] = CELLS, *, name: str = ""
) -> Iterator[tuple[str, Volume]]:
    """A structural image after the degradations of each cell.

    Contrast is changed first, then the point spread, then content is moved and sampled on PET's grid in one
    interpolation, then noise is added. What is the identity leaves the image as it is, to the bit.

    Parameters
    ----------
    image
        CT or MR.
    made_of
        What each factor does.
    wanted
        Names of `CELLS`; only these are computed.
    name
        Of the pair: it draws the noise, which is the same in all cells of one grid.

    Yields
    ------
    tuple
        Cell and image.
    """
    wanted, drawn, places = set(wanted), {}, {}
    for contrast in ("", "C"):
        if not any(("C" in c) == bool(contrast) for c in wanted):
            continue
        source = _with_contrast(image, made_of) if contrast else image
        for resolution in ("", "R"):
            here = [c for c in wanted if ("C" in c) == bool(contrast) and ("R" in c) == bool(resolution)]
            if not here:
                continue
            spread = source
            if resolution:
                spread = _blurred(source, made_of.fwhm_mm, sampled=made_of.grid is not None)
            grid = made_of.grid if resolution else None
            for alignment in ("", "A"):
                cells = [c for c in here if ("A" in c) == bool(alignment)]
                moved = None
                if cells and alignment and made_of.displacement is not None:
                    if resolution not in places:  # the same with and without contrast
                        there = grid or Grid(image.shape, image.affine)
                        places[resolution] = there, _places(image.affine, there, made_of.displacement)
                    moved = _moved(spread, *places[resolution])
                elif cells:
                    moved = _sampled(spread, grid)
                for cell in sorted(cells, key=lambda c: "N" in c):
                    yield cell, _noisy(moved, made_of, cell, drawn, name) if "N" in cell else moved


def undone_cells(
    pet: Volume, made_of: Degradations, structural: Volume, wanted: Iterable[str] = UNDONE
) -> Iterator[tuple[str, Volume]]:
    """Real PET with its contrast, its displacement, or both undone.

    PET is multiplied by the ratio of structural to PET means, both as blurred as PET; content is moved back.
    PET's point spread and noise are not undone: a deconvolution amplifies noise, and a filter against noise blurs.

    Parameters
    ----------
    pet, structural
        The pair.
    made_of
        Of this pair.
    wanted
        Of `UNDONE`.

    Yields
    ------
    tuple
        Cell and image.
    """
    grid, structural_maps = Grid(pet.shape, pet.affine), []
    if made_of.regions is not None and made_of.pet_means is not None:
        for means, unit in ((made_of.pet_means, pet.unit), (made_of.regions.means, structural.unit)):
            spread = piecewise(made_of.regions, means, structural, unit)
            structural_maps.append(_blurred(spread, made_of.fwhm_mm, sampled=True))
    known, back, there = made_of.displacement, None, None
    if known is not None:
        back = _places(pet.affine, grid, Displacement(known.grid, -known.field))
        there = _places(structural.affine, grid, known)
    for cell in wanted:
        undone = cell.removeprefix(f"{PET}-")
        source = pet if "A" not in undone or back is None else _moved(pet, grid, back)
        if "C" in undone and structural_maps:
            still = "A" in undone or there is None
            maps = [_sampled(m, grid) if still else _moved(m, grid, there) for m in structural_maps]
            source = exchanged(source, *maps)
        yield cell, source


def _with_contrast(image: Volume, made_of: Degradations) -> Volume:
    """Each region's mean replaced by PET's; its texture is scaled with its mean."""
    if made_of.regions is None or made_of.pet_means is None:
        return image
    if made_of.unit == image.unit and np.array_equal(made_of.regions.means, made_of.pet_means):
        return image
    own = piecewise(made_of.regions, made_of.regions.means, image, image.unit)
    return exchanged(image, own, piecewise(made_of.regions, made_of.pet_means, image, made_of.unit))


def piecewise(regions: Regions, means: np.ndarray, image: Volume, unit: str) -> Volume:
    """The means of regions on the grid of their image, with borders as sharp as a scanner's: about a voxel."""
    table = np.concatenate([[0.0], means]).astype(np.float32)
    data = widened(table[regions.index], image.spacing_mm, np.array(image.spacing_mm))
    return Volume(data - np.float32(ZERO[unit]), image.affine, unit, image.name)


def exchanged(image: Volume, old: Volume, new: Volume) -> Volume:
    """An image times new means over old ones, voxel by voxel.

    Texture, what an image has beyond the means of its regions at its own sharpness, is scaled with them. Where the
    old mean is as dark as air it takes the scale that is common.
    """
    values, was, becomes = (np.ascontiguousarray(above_air(v)) for v in (image, old, new))
    if was.max() <= 0:  # nothing but air has no texture to scale
        return new
    middle = float(np.median(was.ravel()[_some_of(was > 0.05 * was.max())]))
    dark = 0.05 * middle
    sample = _some_of(was > dark)
    common = np.float32(np.median(becomes.ravel()[sample] / was.ravel()[sample]))
    texture = np.empty_like(was)
    for out, v, w, b in zip(
        texture, values, was, becomes, strict=True
    ):  # plane by plane: they stay in the cache
        bright = w > dark
        gain = np.divide(b, w, out=np.zeros_like(w), where=bright)
        most = np.maximum(_MOST_TEXTURE * b, v * common)
        out[:] = np.where(bright, np.minimum(v * gain, most), b + (v - w) * common)
        if new.unit != "HU":  # in air, a CT's noise goes below
            np.maximum(out, 0, out=out)
        out -= np.float32(ZERO[new.unit])
    return Volume(texture, image.affine, new.unit, image.name)


def _some_of(mask: np.ndarray) -> np.ndarray:
    """Flat places of about 100,000 voxels of a mask."""
    found = np.flatnonzero(mask)
    return found[:: max(1, len(found) // 100_000)]


def _blurred(image: Volume, fwhm_mm: float, *, sampled: bool) -> Volume:
    """An image with a wider point spread, less what sampling will add; the same where the width is 0."""
    if fwhm_mm <= 0:
        return image
    data = widened(image.data.astype(np.float32), image.spacing_mm, fwhm_mm, sampled=sampled)
    return replace(image, data=data)


def _sampled(image: Volume, grid: Grid | None) -> Volume:
    """An image at the voxels of a grid (None: its own), linearly."""
    if grid is None:
        return image
    data, fill = image.data.astype(np.float32, copy=False), -ZERO[image.unit]
    mapping = np.linalg.inv(image.affine) @ grid.affine
    if linear.along(mapping):
        sampled = linear.resampled(data, mapping, grid.shape, fill)
    else:
        sampled = geometry.resample(data, image.affine, grid.affine, grid.shape, order=1, fill=fill)
    return Volume(sampled, grid.affine, image.unit, image.name)


def _moved(image: Volume, grid: Grid, places: np.ndarray) -> Volume:
    """An image read linearly at the places (3, I, J, K) of the voxels of a grid."""
    data, fill = image.data.astype(np.float32, copy=False), -ZERO[image.unit]
    return Volume(linear.read_at(data, places, fill), grid.affine, image.unit, image.name)


def _places(affine: np.ndarray, grid: Grid, displacement: Displacement) -> np.ndarray:
    """(3, I, J, K) float32: where in a source the content of each voxel of a grid comes from."""
    inverse, coarse = np.linalg.inv(affine), np.linalg.inv(displacement.grid.affine) @ grid.affine
    mapping = inverse @ grid.affine
    if linear.along(mapping) and linear.along(coarse) and linear.along(inverse):
        return linear.displaced(displacement.field, coarse, mapping, np.diag(inverse)[:3], grid.shape)
    shift = displacement.at(grid)
    axes = [np.arange(n, dtype=np.float32).reshape(np.roll([-1, 1, 1], a)) for a, n in enumerate(grid.shape)]
    index = np.empty((3, *grid.shape), np.float32)
    for a in range(3):
        line = sum(np.float32(mapping[a, b]) * axes[b] for b in range(3)) + np.float32(mapping[a, 3])
        index[a] = line - sum(np.float32(inverse[a, b]) * shift[b] for b in range(3))
    return index


def _noisy(
    image: Volume, made_of: Degradations, cell: str, drawn: dict[bool, np.ndarray], name: str
) -> Volume:
    """An image with PET's noise: its variance grows with the signal above air."""
    if made_of.noise_share <= 0 or made_of.regions is None:
        return image
    place = made_of.regions.number(made_of.noise_region)
    means = made_of.pet_means if "C" in cell and made_of.pet_means is not None else made_of.regions.means
    level = np.float32(means[place])
    on_pet = "R" in cell and made_of.grid is not None
    if on_pet not in drawn:
        rng = np.random.default_rng([zlib.crc32(name.encode()), int(on_pet)])
        drawn[on_pet] = correlated_noise(rng, image.shape, image.spacing_mm, made_of.noise_fwhm_mm)
    data = np.empty(image.shape, np.float32)
    for out, plane, noise in zip(data, np.ascontiguousarray(image.data), drawn[on_pet], strict=True):
        signal = np.maximum(
            plane.astype(np.float32) + np.float32(ZERO[image.unit]), np.float32(_FLOOR) * level
        )
        out[:] = plane + np.sqrt(signal * level) * np.float32(made_of.noise_share) * noise
        if image.unit == "SUV":
            np.maximum(out, 0, out=out)
    return replace(image, data=data)


def spread_displacement(
    labels: np.ndarray, affine: np.ndarray, moves: dict[int, tuple[float, float, float]]
) -> Displacement | None:
    """Displacements of structures spread over the image: each its own inside, a mixture between.

    Parameters
    ----------
    labels
        (I, J, K) values on the grid of `affine`.
    affine
        Voxel to world.
    moves
        Value to displacement (x, y, z) in mm.

    Returns
    -------
    Displacement or None
        None where nothing moves.
    """
    if not moves or not any(any(m) for m in moves.values()):
        return None
    step = np.maximum(np.round(_COARSE_MM / np.array(geometry.spacing_mm(affine))), 1).astype(int)
    total, weights = None, None
    small, scale = thinned(labels, affine, step)
    spacing = geometry.spacing_mm(scale)
    for value, move in moves.items():
        mask = small == value
        if not mask.any():  # thinner than the coarse grid: where its middle is
            there = np.argwhere(labels == value)
            if not len(there):
                continue
            middle = np.clip(np.round(there.mean(axis=0) / step).astype(int), 0, np.array(small.shape) - 1)
            mask[tuple(middle)] = True
        away = scipy.ndimage.distance_transform_edt(~mask, sampling=spacing)
        weight = 1 / (1 + (away / _REACH_MM) ** 2) ** 2
        part = weight * np.array(move, float)[:, None, None, None]
        total, weights = (part, weight) if total is None else (total + part, weights + weight)
    if total is None:
        return None
    return Displacement(Grid(small.shape, scale), (total / weights).astype(np.float32))
