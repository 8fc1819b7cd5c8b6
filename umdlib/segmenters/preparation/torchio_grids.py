"""An image on TorchIO's isotropic RAS grid and a mask back on the image's, both by TorchIO itself."""

from __future__ import annotations

import warnings

import numpy as np

from umdlib.images.grids import Grid
from umdlib.images.volume import Volume


def resampled(image: Volume, grid: Grid) -> np.ndarray:
    """`grid.shape` array: the image by linear interpolation; whole numbers stay whole.

    Parameters
    ----------
    image
        The image.
    grid
        `umdlib.images.grids.torchio_ras` of it.
    """
    tio = _torchio()
    scalar = tio.ScalarImage(tensor=np.ascontiguousarray(image.data)[None], affine=image.affine)
    spacing = float(np.linalg.norm(grid.affine[:3, 0]))
    even = tio.ToCanonical()(tio.Resample(round(spacing, 9))(scalar))
    if tuple(even.spatial_shape) != grid.shape:
        raise RuntimeError(
            f"TorchIO made {tuple(even.spatial_shape)} voxels of {image.name}, not {grid.shape}."
        )
    return even.data[0].numpy()


def cut(data: np.ndarray, start: np.ndarray, size: int) -> np.ndarray:
    """(N, N, N) float32: the cube from a voxel on, 0 outside."""
    whole = np.zeros((size,) * 3, np.float32)
    low, high = np.maximum(start, 0), np.minimum(np.add(start, size), data.shape)
    if (high > low).all():
        target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        whole[target] = data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return whole


def restored(mask: np.ndarray, cube: Grid, image: Volume) -> np.ndarray:
    """Boolean mask on the image's grid: at each of its voxels the nearest one of the cube."""
    tio = _torchio()
    labels = tio.LabelMap(tensor=mask.astype(np.uint8)[None], affine=cube.affine)
    back = tio.Resample((image.shape, np.array(image.affine, float)))(labels)
    return back.data[0].numpy() > 0


def _torchio():
    """TorchIO, imported without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchio
    return torchio
