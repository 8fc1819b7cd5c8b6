"""Inputs of the promptable networks: an image's channels on the working grid."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.images import geometry
from umdlib.images.grids import Grid
from umdlib.images.volume import Volume

SPACING_MM = 8.0
IN_CHANNELS = 2  # of an image
OUTSIDE = -1.0  # both channels where there is no image

_INTENSITY = {
    "HU": "wide: -1000 to 1000 HU; narrow: -160 to 240 HU",
    "SUV": "wide: root of SUV, 0 to 20; narrow: SUV 0 to 5",
    "a.u.": "wide: 0 to the 99.5th percentile; narrow: its root",
}


def channels(values: np.ndarray, unit: str) -> np.ndarray:
    """Intensities (I, J, K) as the network's two channels, (2, I, J, K) float32 in [-1, 1].

    A wide and a narrow window, by unit alone (see `_INTENSITY`), not by what the network was
    trained on.

    Examples
    --------
    >>> channels(np.array([[[-1000.0, 40.0, 240.0, 1000.0]]]), "HU")[:, 0, 0].astype(float).round(2).tolist()
    [[-1.0, 0.04, 0.24, 1.0], [-1.0, 0.0, 1.0, 1.0]]
    """
    values = np.asarray(values, np.float32)
    if unit == "HU":
        pair = values / 1000, (values - 40) / 200
    elif unit == "SUV":
        pair = 2 * np.sqrt(np.clip(values, 0, 20) / 20) - 1, values / 2.5 - 1
    else:
        share = np.clip(values / bright(values), 0, 1)
        pair = 2 * share - 1, 2 * np.sqrt(share) - 1
    return np.clip(np.stack(pair), -1, 1).astype(np.float32)


def bright(values: np.ndarray) -> float:
    """Intensity that is scaled to 1 where a unit has no scale: the 99.5th percentile above 0."""
    return np.percentile(values[values > 0], 99.5) if (values > 0).any() else 1.0


def on_grid(image: Volume, grid: Grid) -> np.ndarray:
    """(2, I, J, K) float32: an image's channels on a working grid, `OUTSIDE` beyond the image.

    Voxels finer than the grid's are averaged in whole blocks first, then interpolated linearly.
    """
    pair = channels(interpolated(image, grid), image.unit)
    pair[:, ~covered(image, grid)] = OUTSIDE
    return pair


def both_on_grid(image: Volume, partner: Volume | None, grid: Grid) -> np.ndarray:
    """(4, I, J, K) float32: channels of the structural image, then of PET, whichever is the partner.

    Without a partner its channels are blank, `OUTSIDE` everywhere.
    """
    seen = {v.unit == "SUV": on_grid(v, grid) for v in (image, partner) if v is not None}
    blank = np.full((2, *grid.shape), OUTSIDE, np.float32)
    return np.concatenate([seen.get(False, blank), seen.get(True, blank)])


def interpolated(image: Volume, grid: Grid) -> np.ndarray:
    """(I, J, K) intensities of `on_grid`; the edge's value beyond the image."""
    data, affine = blocks(image, grid)
    mapping = np.linalg.inv(affine) @ grid.affine
    return scipy.ndimage.affine_transform(
        data, mapping[:3, :3], mapping[:3, 3], grid.shape, order=1, mode="nearest"
    )


def blocks(image: Volume, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of whole voxels no larger than the grid's, and their affine."""
    target = geometry.spacing_mm(grid.affine)[0]
    step = [max(int(target / s + 0.05), 1) for s in image.spacing_mm]
    size = [n // s * s for n, s in zip(image.shape, step, strict=True)]
    if 0 in size:
        step, size = [1, 1, 1], list(image.shape)
    part = np.asarray(image.data[: size[0], : size[1], : size[2]], np.float32)
    a, b, c = (n // s for n, s in zip(size, step, strict=True))
    means = part.reshape(a, step[0], b, step[1], c, step[2]).mean(axis=(1, 3, 5))
    affine = np.array(image.affine, float)
    affine[:3, 3] = geometry.to_world(image.affine, (np.array(step) - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * step
    return means, affine


def covered(image: Volume, grid: Grid) -> np.ndarray:
    """(I, J, K) boolean: voxels of the grid whose centres lie in the image."""
    mapping = np.linalg.inv(image.affine) @ grid.affine
    inside = np.ones(grid.shape, bool)
    lines = [np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(grid.shape)]
    for axis, n in enumerate(image.shape):
        place = sum(mapping[axis, a] * lines[a] for a in range(3)) + mapping[axis, 3]
        inside &= (place >= -0.5) & (place < n - 0.5)
    return inside


def cut(data: np.ndarray, start: np.ndarray, size: int, fill: float) -> np.ndarray:
    """A cube of the last three axes, `fill` outside.

    Examples
    --------
    >>> cut(np.arange(3).reshape(1, 1, 3), np.array([0, 0, 1]), 2, 9)[0].tolist()
    [[1, 2], [9, 9]]
    """
    out = np.full((*data.shape[:-3], size, size, size), fill, data.dtype)
    inside, source = [], []
    for first, n in zip(start, data.shape[-3:], strict=True):
        low, high = max(int(first), 0), min(int(first) + size, n)
        inside.append(slice(low - int(first), max(high, low) - int(first)))
        source.append(slice(low, max(high, low)))
    out[(..., *inside)] = data[(..., *source)]
    return out
