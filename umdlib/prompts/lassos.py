"""A closed line around a structure in one slice, as a user draws one, and the voxels inside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap, Volume
from umdlib.prompts.scribbles import XYZ, middle_slice


def outline(reference: LabelMap, box: depth.Box, value: int, corners: int) -> tuple[XYZ, ...]:
    """Corners on the outline of a structure in the slice through its deepest voxel.

    The slice is the grid's own that lies closest to axial; of the structure in it, the part that holds the
    deepest voxel. The corners are equally far from one another along its outer outline, which runs midway
    between voxels inside and outside.

    Parameters
    ----------
    reference
        Label map.
    box
        Box of the structure, as of `umdlib.images.masks.bounding_boxes`.
    value
        Of the structure.
    corners
        How many, 3 or more.

    Returns
    -------
    tuple of (x, y, z)
        World points (RAS+, mm), in order; the last is joined to the first.
    """
    from skimage.measure import find_contours

    part, axis, index = middle_slice(reference, box, value)
    lines = find_contours(np.pad(part, 1).astype(float), 0.5)
    line = max(lines, key=lambda points: float(np.ptp(points, axis=0).prod())) - 1  # holes lie inside it
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    places = np.linspace(0, along[-1], corners, endpoint=False)
    flat = np.column_stack([np.interp(places, along, line[:, a]) for a in range(2)])
    ijk = np.insert(flat, axis, index, axis=1) + [b.start for b in box]
    return tuple(tuple(xyz) for xyz in geometry.to_world(reference.affine, ijk).tolist())


def enclosed(line: Sequence[XYZ], image: Volume | LabelMap) -> np.ndarray:
    """Boolean mask (I, J, K) of the voxels of one slice whose centres lie inside a closed line.

    The slice is the image's own that lies nearest to the line. Where the line holds no centre, the voxel
    in its middle.

    Parameters
    ----------
    line
        World points (RAS+, mm) in order; the last is joined to the first.
    image
        Whose grid.

    Raises
    ------
    InputError
        The line's slice or its middle lies outside the image.
    """
    from skimage.draw import polygon

    voxels = geometry.to_voxel(image.affine, np.asarray(line, float))
    axis = int(np.argmin(np.ptp(voxels, axis=0)))
    middle = np.floor(voxels.mean(axis=0) + 0.5).astype(int)
    if (middle < 0).any() or (middle >= image.shape).any():
        raise InputError(f"The lasso's middle lies outside {image.name} {image.shape}.")
    mask = np.zeros(image.shape, bool)
    plane = np.moveaxis(mask, axis, 0)[middle[axis]]
    plane[polygon(*np.delete(voxels, axis, axis=1).T, shape=plane.shape)] = True
    if not plane.any():
        mask[tuple(middle)] = True
    return mask


def off_plane(line: Sequence[XYZ], affine: np.ndarray) -> float:
    """How many voxels a line leaves the plane of the grid's slices that it lies closest to."""
    return float(np.ptp(geometry.to_voxel(affine, np.asarray(line, float)), axis=0).min())
