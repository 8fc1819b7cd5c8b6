"""A line along the middle of a structure, as a user draws one, and the voxels under a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap, Volume

XYZ = tuple[float, float, float]


def middle_line(reference: LabelMap, box: depth.Box, value: int) -> tuple[XYZ, ...]:
    """The longest path along the skeleton of a structure's slice through its deepest voxel.

    The slice is the grid's own that lies closest to axial; of the structure in it, the part that
    holds the deepest voxel. What a user would draw with one stroke.

    Returns
    -------
    tuple of (x, y, z)
        Centres of neighbouring voxels (RAS+, mm), in order; at least one.
    """
    from scipy.sparse import csgraph
    from skimage.graph import pixel_graph
    from skimage.morphology import skeletonize

    part, axis, index = middle_slice(reference, box, value)
    skeleton = skeletonize(part)
    graph, nodes = pixel_graph(skeleton, connectivity=2)
    # twice the farthest point: exact on a tree, which a skeleton without holes is
    start = int(np.argmax(_finite(csgraph.dijkstra(graph, indices=0))))
    distance, before = csgraph.dijkstra(graph, indices=start, return_predecessors=True)
    path = [int(np.argmax(_finite(distance)))]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    flat = np.column_stack(np.unravel_index(nodes[path], skeleton.shape))
    ijk = np.insert(flat, axis, index, axis=1) + [b.start for b in box]
    return tuple(tuple(xyz) for xyz in geometry.to_world(reference.affine, ijk).tolist())


def middle_slice(reference: LabelMap, box: depth.Box, value: int) -> tuple[np.ndarray, int, int]:
    """The part of a structure that holds its deepest voxel, in that voxel's slice closest to axial.

    Returns
    -------
    tuple
        Boolean (two of the axes of `box`), the third axis, and the slice's index along it in `box`.
    """
    from skimage.measure import label

    mask = reference.data[box] == value
    deepest = depth.deepest_voxel(mask, reference.spacing_mm)
    axis = int(np.argmax(np.abs(reference.affine[2, :3]) / np.array(reference.spacing_mm)))
    parts = label(np.take(mask, deepest[axis], axis), connectivity=2)
    return parts == parts[tuple(np.delete(deepest, axis))], axis, int(deepest[axis])


def _finite(distance: np.ndarray) -> np.ndarray:
    """Distances, -1 where there is no path."""
    return np.where(np.isfinite(distance), distance, -1.0)


def longest_stretch(line: Sequence[XYZ], inside: Callable[[XYZ], bool]) -> tuple[XYZ, ...]:
    """The longest run of a line's points that are inside, the first of equals; empty without one.

    Examples
    --------
    >>> longest_stretch([(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)], lambda xyz: xyz[0] != 1)
    ((2, 0, 0), (3, 0, 0))
    """
    runs: list[list[XYZ]] = [[]]
    for xyz in line:
        if inside(xyz):
            runs[-1].append(xyz)
        else:
            runs.append([])
    return tuple(max(runs, key=len))


def drawn(line: Sequence[XYZ], image: Volume, thickness: Sequence[int]) -> np.ndarray:
    """Boolean mask (I, J, K) of a line on an image's grid.

    Parameters
    ----------
    line
        World points (RAS+, mm) in order; neighbours are joined by straight lines.
    image
        Whose grid.
    thickness
        Voxels along I, J, K.

    Raises
    ------
    InputError
        A point outside the image.
    """
    from skimage.draw import line_nd

    voxels = [geometry.nearest_voxel(image.affine, xyz, image.shape) for xyz in line]
    if None in voxels:
        raise InputError(f"A scribble reaches outside {image.name} {image.shape}.")
    mask = np.zeros(image.shape, bool)
    for a, b in zip(voxels, [*voxels[1:], voxels[-1]], strict=True):
        mask[line_nd(a, b, endpoint=True)] = True
    low, high = np.min(voxels, axis=0), np.max(voxels, axis=0)
    pad = np.asarray(thickness)
    box = tuple(slice(max(a - p, 0), b + p + 1) for a, b, p in zip(low, high, pad, strict=True))
    mask[box] = scipy.ndimage.binary_dilation(mask[box], np.ones(thickness, bool))
    return mask
