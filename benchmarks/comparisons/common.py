"""The phantom of all comparisons, and what one comparison found."""

from __future__ import annotations

import ast
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from umdlib.images import geometry, volume
from umdlib.prompts.prompt import Box, Click, box_of

SHAPE = (47, 52, 29)
# Axes permuted and flipped, off centre, anisotropic. Spacings share no divisor with 1.5 mm, so
# that no voxel centre falls between two others.
FLIPPED = np.array([[0, -2.2137, 0, 80], [1.9071, 0, 0, -120], [0, 0, -4.1033, 333], [0, 0, 0, 1.0]])
OBLIQUE = FLIPPED.copy()
OBLIQUE[:3, :3] = Rotation.from_euler("zx", (11.3, 6.7), degrees=True).as_matrix() @ FLIPPED[:3, :3]
ROUND = np.array([[-3.0, 0, 0, 70], [0, 1.5, 0, -31], [0, 0, 4.5, -200], [0, 0, 0, 1.0]])
AFFINES = {"flipped": FLIPPED, "oblique": OBLIQUE}
VOXELS = [(20, 25, 14), (30, 12, 9), (10, 40, 20)]
SIGNS = [True, True, False]


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


def noise(amplitude: float, offset: float) -> np.ndarray:
    """(I, J, K) float32: smooth noise of a standard deviation and a mean."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 2)
    return (image / image.std() * amplitude + offset).astype(np.float32)


def organs() -> np.ndarray:
    """(I, J, K) uint8: three ellipsoids."""
    labels, grid = np.zeros(SHAPE, np.uint8), np.indices(SHAPE)
    balls = [((12, 30, 9), (7, 9, 5)), ((30, 18, 18), (10, 6, 6)), ((40, 44, 24), (6, 7, 4))]
    for value, (centre, radii) in enumerate(balls, 1):
        distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
        labels[distance <= 1] = value
    return labels


def world(affine: np.ndarray, ijk) -> tuple[float, ...]:
    """World point of a voxel's centre."""
    return tuple(geometry.to_world(affine, ijk).tolist())


def clicks(affine: np.ndarray, n: int) -> tuple[Click, ...]:
    """The first n of three clicks; the third is negative."""
    return tuple(Click(world(affine, v), s) for v, s in zip(VOXELS[:n], SIGNS, strict=False))


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
