"""The phantom of all comparisons, and what one comparison found."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from umdlib.images import geometry, volume
from umdlib.prompts.prompt import Box, Click, box_of

SHAPE = (47, 52, 29)
# Axes permuted and flipped (a left-handed grid), off centre, anisotropic.
FLIPPED = np.array([[0, -2.2137, 0, 80], [1.9071, 0, 0, -120], [0, 0, -4.1033, 333], [0, 0, 0, 1.0]])
OBLIQUE = FLIPPED.copy()
OBLIQUE[:3, :3] = Rotation.from_euler("zxy", (25, -25, 25), degrees=True).as_matrix() @ FLIPPED[:3, :3]
PERMUTED = np.array([[0, 0, 3.1, -40], [-2.6, 0, 0, 60], [0, -1.7, 0, 200.3], [0, 0, 0, 1.0]])
THICK = np.array([[-1.0, 0, 0, 23.4], [0, -1.0, 0, -11.7], [0, 0, 5.0, -401.2], [0, 0, 0, 1.0]])
TIED = np.array([[-2.0, 0, 0, 47], [0, 1.0, 0, -31], [0, 0, 4.0, -200], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class Scene:
    """One phantom: name of the grid, (I, J, K) float32 intensities, affine, unit, and three organs."""

    name: str
    data: np.ndarray
    affine: np.ndarray
    unit: str
    organs: np.ndarray

    def saved(self, folder: Path, kind: type = np.float32) -> volume.Volume:
        """Write ``i.nii.gz``, which the official code reads, and read it as the project does."""
        return saved(folder, self.data.astype(kind), self.affine, self.unit)

    def clicks(self, *, lit: bool = False) -> dict[str, tuple[tuple[tuple[int, int, int], bool], ...]]:
        """Voxels and signs by description: one, three with a negative one, one in a border voxel.

        Where they must be `lit`, the positive ones are the brightest voxels within 3 of their place and the
        border's that of a face: some systems crop to what lies above 0.
        """
        size = np.array(self.data.shape)
        places = [tuple(int(n) for n in size * share) for share in ((0.4, 0.5, 0.5), (0.6, 0.3, 0.3))]
        negative = tuple(int(n) for n in size * (0.2, 0.8, 0.7))
        corner = (int(size[0]) - 1, int(size[1]) // 2, 0)
        if lit:
            places = [self._brightest(p, 3) for p in places]
            corner = (corner[0], *np.unravel_index(self.data[-1].argmax(), self.data.shape[1:]))
            corner = tuple(int(n) for n in corner)
        return {
            "1 click": ((places[0], True),),
            "3 clicks, one negative": ((places[0], True), (places[1], True), (negative, False)),
            "1 click in a border voxel": ((corner, True),),
        }

    def _brightest(self, voxel: tuple[int, ...], reach: int) -> tuple[int, int, int]:
        """The brightest voxel within `reach` of one, axis by axis."""
        near = tuple(slice(max(n - reach, 0), n + reach + 1) for n in voxel)
        part = self.data[near]
        found = np.unravel_index(part.argmax(), part.shape)
        return tuple(int(s.start + n) for s, n in zip(near, found, strict=True))

    def prompted(self, given) -> tuple[Click, ...]:
        """Voxels and signs as clicks in the world."""
        return tuple(Click(world(self.affine, v), s) for v, s in given)


only: tuple[str, ...] = ()  # names of scenes; all where there is none


def scenes(scale: float = 1.0) -> Iterator[Scene]:
    """Grids and intensities that systems have stumbled over, each of another kind.

    `scale` makes them larger or smaller in voxels.
    """
    made = {
        "flipped": (FLIPPED, SHAPE, "HU"),
        "oblique 25 degrees": (OBLIQUE, SHAPE, "a.u."),
        "permuted": (PERMUTED, SHAPE, "SUV"),
        "1 x 1 x 5 mm": (THICK, (56, 60, 30), "HU"),
        "1, 2, 4 mm (ties)": (TIED, SHAPE, "HU"),
        "smaller than a patch": (FLIPPED, (27, 28, 8), "a.u."),
    }
    for name, (affine, full, unit) in made.items():
        if only and name not in only:
            continue
        shape = tuple(max(round(n * scale), 5) for n in full)
        labels, smooth = organs(shape), noise(1, 0, shape)
        data = {
            "HU": 120 * smooth + 30 + 40 * labels,
            "a.u.": 100 * (smooth + 0.43) + 20 * labels,  # MR after a filter: a third lies below 0
            "SUV": np.maximum(3 * smooth, 0) + labels,  # PET: half of it is exactly 0
        }[unit]
        kept = affine.astype(np.float32).astype(float)  # as a NIfTI file holds it
        yield Scene(name, data.astype(np.float32), kept, unit, labels)


@dataclass(frozen=True)
class Found:
    """One comparison: boolean or label arrays (I, J, K) of the official code and of the adapter.

    `tolerance` is the number of voxels that may differ, and `why` the reason.
    """

    grid: str
    network: str
    prompts: str
    official: np.ndarray
    mine: np.ndarray
    tolerance: int = 0
    why: str = ""


def noise(amplitude: float, offset: float, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """(I, J, K) float32: smooth noise of a standard deviation and a mean."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2)
    return (image / image.std() * amplitude + offset).astype(np.float32)


def organs(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """(I, J, K) uint8: three ellipsoids."""
    labels, grid = np.zeros(shape, np.uint8), np.indices(shape)
    scale = np.array(shape) / SHAPE
    balls = [((12, 30, 9), (7, 9, 5)), ((30, 18, 18), (10, 6, 6)), ((40, 44, 24), (6, 7, 4))]
    for value, (centre, radii) in enumerate(balls, 1):
        places = zip(grid, centre * scale, radii * scale, strict=True)
        labels[sum(((g - c) / r) ** 2 for g, c, r in places) <= 1] = value
    return labels


def world(affine: np.ndarray, ijk) -> tuple[float, ...]:
    """World point of a voxel's centre."""
    return tuple(geometry.to_world(affine, ijk).tolist())


def box_around(affine: np.ndarray, mask: np.ndarray) -> Box:
    """Box around a mask's voxels along the axes of their grid."""
    index = np.argwhere(mask)
    return box_of(affine, index.min(0), index.max(0))


def scratch() -> Path:
    """A folder for files of one comparison."""
    return Path(tempfile.mkdtemp(prefix="parity-"))


def saved(folder: Path, data: np.ndarray, affine: np.ndarray, unit: str = "HU") -> volume.Volume:
    """Write ``i.nii.gz``, which the official code reads, and read it as the project does."""
    nib.save(nib.Nifti1Image(data, affine), folder / "i.nii.gz")
    return volume.read_volume(folder / "i.nii.gz", unit=unit)


def functions(path: Path, names: set[str], scope: dict) -> None:
    """Define some functions of a script that cannot be imported without running."""
    tree = ast.parse(path.read_text("utf-8"))
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    exec(compile(tree, str(path), "exec"), scope)
