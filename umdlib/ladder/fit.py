"""Fit of a pair: PET as the structural image with other means, blurred, each structure displaced and moving along z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from umdlib.images import geometry, masks
from umdlib.images.volume import LabelMap, Volume
from umdlib.kernels import linear
from umdlib.labels import Structure
from umdlib.ladder.cells import exchanged, piecewise
from umdlib.ladder.point_spread import widened
from umdlib.ladder.regions import ZERO, Regions, above_air, thinned
from umdlib.synthetic.scanner.sampling import FWHM_PER_SD

_ROUNDS, _LOCAL_ROUNDS = 5, 3  # with whole edges; then with their parts
_OWN_ROUNDS = 4  # for the means of the structural image
_START_MM = 5.0
_TEMPLATE_MM = 3.0  # finer structural voxels are thinned to about this
_BAND_MM = 14.0  # how far from an edge voxels of PET are fitted
_MOST_POINTS = 3000  # of a structure
_MOST_STEP_MM, _MOST_SHIFT_MM = 4.0, 30.0
_MOST_MOTION_MM = 12.0
_FWHM_MM = (1.0, 20.0)
_LEAST_POINTS = 80  # of a part of an edge
_SHARP = (0.2, 0.4)  # from the sharpest of the parts of edges: uneven uptake and motion only widen one
_THICK_MM = 10.0  # depth below which a structure's width and contrast are not told apart
_LABELS = 1 / 24  # variance (voxels) by which voxelised labels put an edge off its place, half averaged out
_FLAT = 1e-5  # a change of the model along an axis (share of it, per mm) below which a fit sees none
_EDGE_ERROR = 0.25  # a width whose standard error is a larger share of it is not read
_BLOCK_MM = 20.0  # misfits nearer to each other than this are alike: errors count blocks of it, not voxels
_STATES = np.array([-(1.5**0.5), 0.0, 1.5**0.5])
_STILL, _NO_OFFSET = np.zeros(1), np.zeros((1, 3))
_SIDES = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)


@dataclass(frozen=True)
class Shift:
    """Displacement (x, y, z) of a structure in mm, and its largest standard error along an axis."""

    mm: tuple[float, float, float]
    error: float


@dataclass(frozen=True)
class Fit:
    """Result of a fit.

    Attributes
    ----------
    fwhm_mm, fwhm_error, edges
        Point spread in the plane, NaN where no edge shows it; the structures whose edges do.
    means, mean_errors, voxels
        Mean of each region above air, its standard error, the voxels it rests on; NaN without voxels.
    shifts
        Of each structure.
    """

    fwhm_mm: float
    fwhm_error: float
    edges: tuple[str, ...]
    means: np.ndarray = field(repr=False)
    mean_errors: np.ndarray = field(repr=False)
    voxels: np.ndarray = field(repr=False)
    shifts: dict[Structure, Shift] = field(repr=False)


class _Template:
    """A structural image on a grid of about 3 mm, and what it is with other means of its regions, blurred."""

    def __init__(self, regions: Regions, image: Volume) -> None:
        step = np.maximum(np.floor(_TEMPLATE_MM / np.array(image.spacing_mm) + 0.01), 1).astype(int)
        index, self.affine = thinned(regions.index, image.affine, step)
        self.regions = replace(regions, index=np.ascontiguousarray(index))
        self.image = replace(image, data=thinned(image.data, image.affine, step)[0], affine=self.affine)
        self.spacing = np.array(geometry.spacing_mm(self.affine))
        self.jitter = FWHM_PER_SD * float(self.spacing.mean()) * _LABELS**0.5
        self._to_voxel = np.linalg.inv(self.affine)
        self._model: np.ndarray | None = None
        self._own: Volume | None = None
        self._between = np.ones(3)

    def meet(self, xyz: np.ndarray) -> None:
        """Note how far from voxels' centres the model will be read: a share f between two adds a variance f (1 - f)."""
        f = np.modf(self._to_voxel[:3, :3] @ xyz.T + self._to_voxel[:3, 3:] + 1000)[0]
        self._between = 6 * (f * (1 - f)).mean(axis=1)  # 1 where all places are as frequent

    def use(self, means: np.ndarray, unit: str, fwhm_mm: float) -> None:
        """Model an image of a unit with these means, as wide as `at` will read it where it was told.

        In the structural image's own unit it is that image: both show the same matter. In another it is regions of one
        mean, for the texture of one is not in the other.
        """
        if unit != self.image.unit:
            self.use_regions(means, float(np.hypot(fwhm_mm, self.jitter)), sampled=self._between)
            return
        if self._own is None:
            self._own = piecewise(self.regions, self.regions.means, self.image, unit)
        new = piecewise(self.regions, np.nan_to_num(means), self.image, unit)
        image = above_air(exchanged(self.image, self._own, new))
        blur = max(fwhm_mm**2 - own_width(self.image) ** 2, 0.0) ** 0.5
        self._model = np.ascontiguousarray(widened(image, self.spacing, blur, sampled=self._between))

    def use_regions(self, means: np.ndarray, fwhm_mm: float, *, sampled: bool | np.ndarray = False) -> None:
        """Model regions of one mean each, blurred."""
        lookup = np.concatenate([[0.0], np.nan_to_num(means)]).astype(np.float32)
        blurred = widened(lookup[self.regions.index], self.spacing, fwhm_mm, sampled=sampled)
        self._model = np.ascontiguousarray(blurred)

    def at(
        self, xyz: np.ndarray, offsets: np.ndarray = _NO_OFFSET, states: np.ndarray = _STILL
    ) -> np.ndarray:
        """The model (m, n) at world points (n, 3) moved by each of (m, 3), mean over states (s,) of moving along z."""
        found = np.empty((len(offsets), len(xyz)))
        linear.at_points(self._model, self._to_voxel, xyz, offsets, states, found)
        return found


@dataclass
class _Edge:
    """Voxels of PET near the edge of one structure, and what is known of it."""

    structure: Structure
    xyz: np.ndarray
    values: np.ndarray
    depth_mm: float
    shift: np.ndarray = field(default_factory=lambda: np.zeros(3))
    motion: float = 0.0  # variance along z
    width: float = 0.0  # what the plane's variance lacks
    errors: np.ndarray = field(default_factory=lambda: np.full(5, np.inf))
    blocks: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.blocks = _blocks(self.xyz)

    def parts(self) -> list[_Edge]:
        """The edge in octants around its middle, each with a displacement of its own from here on."""
        octant = (self.xyz > self.xyz.mean(axis=0)) @ [1, 2, 4]
        chosen = [np.flatnonzero(octant == n) for n in range(8)]
        return [
            replace(self, xyz=self.xyz[c], values=self.values[c], shift=self.shift.copy())
            for c in chosen
            if len(c) >= _LEAST_POINTS
        ]

    def improve(self, template: _Template) -> None:
        """One step of displacement, motion and width, by linear least squares."""
        h = template.spacing
        states = _STATES * self.motion**0.5 if self.motion > 0 else _STILL
        middle, *near = template.at(self.xyz - self.shift, _SIDES * h, states)
        sides = list(zip(near[::2], near[1::2], strict=True))
        slopes = [(p - m) / (2 * h[a]) for a, (p, m) in enumerate(sides)]
        bends = [(p + m - 2 * middle) / h[a] ** 2 for a, (p, m) in enumerate(sides)]
        columns = [
            np.ones_like(middle),
            middle,
            *(-s for s in slopes),
            (bends[0] + bends[1]) / 2,
            bends[2] / 2,
        ]
        x = np.column_stack(columns)
        weight = 1 / np.sqrt(np.maximum(middle, 0.1 * max(float(middle.max()), 1e-9)))
        x, y = x * weight[:, None], self.values * weight
        norms = np.linalg.norm(x, axis=0)
        scale = np.maximum(norms, 1e-12)
        inverse = np.linalg.pinv((x / scale).T @ (x / scale), rcond=1e-8)
        found = inverse @ ((x / scale).T @ y) / scale
        rest = y - x @ found
        gain = found[1]
        if not np.isfinite(found).all() or gain < 0.2:
            self.errors = np.full(5, np.inf)
            return
        spread = _spread(inverse, x / scale, rest, self.blocks)
        errors = np.sqrt(np.maximum(np.diag(spread), 0))[2:] / scale[2:] / gain
        self.errors = np.where(norms[2:] > _FLAT * norms[1], errors, np.inf)
        step = found[2:5] / gain
        step *= min(1.0, _MOST_STEP_MM / max(float(np.linalg.norm(step)), 1e-9))
        self.shift = np.clip(self.shift + step, -_MOST_SHIFT_MM, _MOST_SHIFT_MM)
        self.width = float(found[5] / gain)
        self.motion = float(np.clip(self.motion + found[6] / gain - self.width, 0, _MOST_MOTION_MM**2))


def own_width(image: Volume) -> float:
    """FWHM (mm) of a structural image: a scanner's is about its voxel in the plane."""
    return float(np.sqrt(np.prod(sorted(image.spacing_mm)[:2])))


def _blocks(xyz: np.ndarray) -> np.ndarray:
    """Number of the cube that each point lies in."""
    i, j, k = np.floor(xyz / _BLOCK_MM).astype(np.int64).T
    return np.unique((i * 4096 + j) * 4096 + k, return_inverse=True)[1]


def _spread(inverse: np.ndarray, x: np.ndarray, rest: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Covariance (7, 7) of least squares whose misfit is alike in blocks (a sandwich), or the plain one if larger."""
    n = blocks.max() + 1
    sums = np.stack([np.bincount(blocks, column * rest, minlength=n) for column in x.T])
    robust = inverse @ (sums @ sums.T) @ inverse * n / max(n - 1, 1)
    plain = inverse * (rest @ rest) / max(len(rest) - x.shape[1], 1)
    return robust if np.trace(robust) > np.trace(plain) else plain


def sharp_means(regions: Regions, image: Volume, fwhm_mm: float) -> np.ndarray:
    """Mean of each region of an image, freed of what its own point spread carries over borders.

    Parameters
    ----------
    regions, image
        On one grid.
    fwhm_mm
        Of the image.

    Returns
    -------
    numpy.ndarray
        Above air, as `Regions.means`.
    """
    template = _Template(regions, image)
    sample = _Sample(template, image, regions.names)
    means = sample.first()
    for _ in range(_OWN_ROUNDS):
        template.use_regions(means, float(np.hypot(fwhm_mm, template.jitter)))
        means = sample.corrected(means, template, ())
    return np.where(np.isfinite(means), means, regions.means)


def fit_pair(
    regions: Regions, image: Volume, pet: Volume, reference: LabelMap, structures: Sequence[Structure]
) -> Fit:
    """Fit means, point spread and displacements in turn.

    Parameters
    ----------
    regions, image
        The structural image and its regions, on one grid.
    pet, reference
        PET and its reference, on one grid.
    structures
        Whose edges are fitted: present on both sides.

    Returns
    -------
    Fit

    Notes
    -----
    A displacement d and a change of variance v act on a blurred image B, to first order, as
    B - d . grad B + v/2 laplacian B (a Gaussian solves the diffusion equation). Each round solves for both by
    least squares on PET's voxels within 14 mm of a structure's edge, with a free offset and gain, and a free width
    along z, where breathing widens an edge. Means are corrected by the mean misfit of their region (iterative
    geometric transfer matrix, Rousset 1998).

    B is made of regions with one mean each, for the texture of CT or MR is not in a tracer's image. Where both images
    have one unit, B is the structural image with the other's means, which is exact where they differ by blur alone.
    Regions are not: an uneven bone, or a rim of voxels that are part lung and part muscle, would be read as a narrower
    point spread.

    The width is that of the image as it is sampled, PET's voxels included: a line across an edge, read at many
    places between voxels. The model's own share is known: values at voxels' centres have no width, linear
    interpolation adds a variance of h^2/6, and labels of voxels of edge h put an edge off its place (h^2/12, half
    of which the blur averages out), which the fit would otherwise read as a wider PET.

    A misfit is alike over some 20 mm. Standard errors are those of a sandwich estimate whose clusters are cubes of
    that edge (Liang and Zeger 1986).

    What moves or takes up unevenly only widens an edge. So the width in the plane is read in octants of each
    structure more than 10 mm deep, each with a displacement of its own, and the mean of those between the
    sharpest 20 and 40 %, by precision, is taken.
    """
    template = _Template(regions, image)
    boxes = masks.bounding_boxes(reference.data, [s.value for s in structures])
    edges = [_edge(pet, reference, s, box) for s, box in zip(structures, boxes, strict=True)]
    sample = _Sample(template, pet, regions.names)
    means = sample.first()
    width, parts = _START_MM, []
    least = own_width(template.image) if pet.unit == image.unit else _FWHM_MM[0]
    for n in range(_ROUNDS + _LOCAL_ROUNDS + 1):
        if edges:
            template.meet(np.concatenate([e.xyz - e.shift for e in edges]))
        template.use(means, pet.unit, width)
        last = n == _ROUNDS + _LOCAL_ROUNDS  # displacements and means with the width that is told
        for edge in edges if last else parts or edges:
            edge.improve(template)
        means = sample.corrected(means, template, edges)
        if not last:
            width, error, named = _common_width(width, parts or edges, least)
        if n == _ROUNDS - 1:
            parts = _readable_parts(edges, template, width)
    return Fit(
        width if named else float("nan"),
        error,
        named,
        means,
        sample.errors,
        sample.counts,
        {e.structure: Shift(tuple(map(float, e.shift)), float(e.errors[:3].max())) for e in edges},
    )


def _readable_parts(edges: Sequence[_Edge], template: _Template, width: float) -> list[_Edge]:
    """Parts of thick structures, or of all, if a width can be read in one; none otherwise."""
    thick = [e for e in edges if e.depth_mm > _THICK_MM]
    for chosen in (thick, edges):
        parts = [p for e in chosen for p in e.parts()]
        for part in parts:
            part.improve(template)
        if _precise(parts, width):
            return parts
    return []


def _precise(edges: Sequence[_Edge], width: float) -> list[_Edge]:
    """Edges whose width has a small enough error."""
    return [e for e in edges if 0 < e.errors[3] < 2 * _EDGE_ERROR * (width / FWHM_PER_SD) ** 2]


def _common_width(width: float, edges: Sequence[_Edge], least: float) -> tuple[float, float, tuple[str, ...]]:
    """Width of all edges together, its standard error, and the structures that it rests on."""
    variance = (width / FWHM_PER_SD) ** 2
    good = _precise(edges, width)
    if not good:
        return width, float("nan"), ()
    found = np.array([e.width for e in good])
    weights = 1 / np.array([e.errors[3] for e in good]) ** 2
    weights = np.minimum(weights, 4 * np.median(weights))
    order = np.argsort(found)
    ends = np.cumsum(weights[order]) / weights.sum()
    held = np.minimum(ends, _SHARP[1]) - np.maximum(ends - weights[order] / weights.sum(), _SHARP[0])
    change = np.average(found[order], weights=np.maximum(held, 0))
    change = float(np.clip(change, -0.5 * variance, 1.0 * variance))
    new = float(np.clip(FWHM_PER_SD * (variance + change) ** 0.5, least, _FWHM_MM[1]))
    error = float(FWHM_PER_SD * weights.sum() ** -0.5 / (2 * (variance + change) ** 0.5))
    return new, error, tuple(dict.fromkeys(e.structure.name for e in good))


def _edge(pet: Volume, reference: LabelMap, structure: Structure, where: masks.Box) -> _Edge:
    """Voxels of PET within reach of a structure's edge, on either side."""
    margin = np.ceil(_BAND_MM / np.array(pet.spacing_mm)).astype(int)
    box = tuple(slice(max(b.start - m, 0), b.stop + m) for b, m in zip(where, margin, strict=True))
    mask = np.pad(reference.data[box] == structure.value, 1)
    away = scipy.ndimage.distance_transform_edt(~mask, sampling=pet.spacing_mm)
    deep = scipy.ndimage.distance_transform_edt(mask, sampling=pet.spacing_mm)
    near = (np.where(mask, deep, away) <= _BAND_MM)[1:-1, 1:-1, 1:-1]
    ijk = np.argwhere(near)
    ijk = ijk[:: max(1, len(ijk) // _MOST_POINTS)]
    values = pet.data[box][tuple(ijk.T)].astype(float) + ZERO[pet.unit]
    places = geometry.to_world(pet.affine, ijk + [b.start for b in box])
    return _Edge(structure, places, values, float(deep.max()))


def _nearest(data: np.ndarray, affine: np.ndarray, other: Volume) -> np.ndarray:
    """Whole numbers (I, J, K) at the nearest voxels of the grid of another volume; 0 outside."""
    mapping = np.linalg.inv(affine) @ other.affine
    if not linear.along(mapping):
        return geometry.resample(data, affine, other.affine, other.shape, order=0)
    index = [
        np.floor(mapping[a, 3] + np.arange(n) * mapping[a, a] + 0.5).astype(int)
        for a, n in enumerate(other.shape)
    ]
    known = [(i >= 0) & (i < n) for i, n in zip(index, data.shape, strict=True)]
    out = np.zeros(other.shape, data.dtype)
    out[np.ix_(*known)] = data[np.ix_(*(i[k] for i, k in zip(index, known, strict=True)))]
    return out


class _Sample:
    """Voxels of PET of every region, by which their means are corrected."""

    def __init__(self, template: _Template, pet: Volume, names: Sequence[str]) -> None:
        self.names = names
        numbers = _nearest(template.regions.index, template.affine, pet)
        places = [np.flatnonzero(numbers == n + 1) for n in range(len(names))]
        places = np.concatenate([p[:: max(1, len(p) // _MOST_POINTS)] for p in places])
        ijk = np.unravel_index(places, pet.shape)
        self.number = numbers[ijk]
        self.xyz = geometry.to_world(pet.affine, np.stack(ijk, axis=-1))
        self.pet = pet
        self.counts = np.bincount(self.number, minlength=len(names) + 1)[1:]
        self.errors = np.full(len(names), np.nan)
        self.blocks = _blocks(self.xyz)  # made of one region each
        pairs, self.blocks = np.unique(self.blocks * 256 + self.number, return_inverse=True)
        self.block_number = pairs % 256

    def first(self) -> np.ndarray:
        """Means as they are read, without a correction."""
        return self._mean(self._near(self.xyz)[1])

    def corrected(self, means: np.ndarray, template: _Template, edges: Sequence[_Edge]) -> np.ndarray:
        """Means that bring the model's mean of each region nearer to PET's, where PET shows the region."""
        known = [e for e in edges if e.errors[:3].max() < 2]
        shifts = np.zeros((len(self.names) + 1, 3))
        if known:  # what lies between structures moves as most of them do
            shifts[:] = np.median([e.shift for e in known], axis=0)
        for edge in known:
            shifts[self.names.index(edge.structure.name) + 1] = edge.shift
        places, values = self._near(self.xyz + shifts[self.number])
        rest = values - template.at(places - shifts[self.number])[0]
        self.errors = self._errors(rest)
        return np.maximum(means + self._mean(rest), 0)

    def _errors(self, rest: np.ndarray) -> np.ndarray:
        """Standard error of each region's mean misfit, which is alike within blocks."""
        sums = np.bincount(self.blocks, rest)
        squares = np.bincount(self.block_number, sums**2, minlength=len(self.names) + 1)[1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(np.maximum(squares / self.counts**2, self._mean(rest**2) / self.counts))

    def _near(self, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World places (n, 3) of PET's voxels nearest to points, and their values above air."""
        ijk = np.rint(geometry.to_voxel(self.pet.affine, xyz)).astype(int)
        ijk = np.clip(ijk, 0, np.array(self.pet.shape) - 1)
        return geometry.to_world(self.pet.affine, ijk), self.pet.data[tuple(ijk.T)] + float(
            ZERO[self.pet.unit]
        )

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of each region; NaN without voxels."""
        sums = np.bincount(self.number, values, minlength=len(self.names) + 1)[1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / self.counts
