"""How deep each voxel lies in a mask: distance maps, deepest voxels, components."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

IJK = tuple[int, int, int]

# Voxels that touch at a face, an edge or a corner belong to one component.
CONNECTIVITY = np.ones((3, 3, 3), bool)


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Smallest half-open box of a mask (I, J, K); None where it is empty."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not hit.size:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
        # the next axes are searched in what is left
        mask = mask[(slice(None),) * axis + (box[-1],)]
    return tuple(box)


def depth_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance of each voxel to the nearest voxel outside the mask, in mm, float64.

    Voxels beyond the array count as outside, so a structure cut by the edge of the volume is
    not deep at the cut.

    Examples
    --------
    >>> depth_mm(np.ones((1, 1, 5), bool), (9, 9, 2)).ravel().tolist()
    [2.0, 4.0, 6.0, 4.0, 2.0]
    """
    inner = (slice(1, -1),) * 3
    return ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[inner]


def deepest_voxel(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> IJK | None:
    """Voxel farthest from the outside, the first in C order on ties; None for an empty mask.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[1:8, 2:5, 3:6] = True
    >>> deepest_voxel(mask, (1, 1, 1))
    (2, 3, 4)
    """
    box = bounding_box(mask)
    if box is None:
        return None
    depth = depth_mm(mask[box], spacing_mm)
    ijk = np.unravel_index(np.argmax(depth), depth.shape)
    return tuple(int(v) + b.start for v, b in zip(ijk, box, strict=True))


def largest_component(mask: np.ndarray) -> tuple[int, np.ndarray | None]:
    """Number of voxels and mask of the largest component, the first in C order on ties.

    Voxels are connected through faces, edges and corners (26 neighbours).
    """
    labelled, count = ndimage.label(mask, CONNECTIVITY)
    if not count:
        return 0, None
    sizes = np.bincount(labelled.ravel())[1:]
    return int(sizes.max()), labelled == int(sizes.argmax()) + 1
