"""Bounding boxes, depths, deepest voxels and components of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IJK = tuple[int, int, int]
Box = tuple[slice, slice, slice]


def bounding_boxes(label_map: np.ndarray, values: Sequence[int]) -> list[Box | None]:
    """Smallest half-open box of each value in a label map (I, J, K); None where it is absent.

    Examples
    --------
    >>> label_map = np.zeros((4, 5, 6), np.uint8)
    >>> label_map[1:3, 2, 3:6] = 7
    >>> bounding_boxes(label_map, [7, 8])
    [(slice(1, 3, None), slice(2, 3, None), slice(3, 6, None)), None]
    """
    kernels, volume = _flat(label_map)
    index = np.zeros(65536, np.int64)
    index[list(values)] = np.arange(1, len(values) + 1)
    boxes = _no_boxes(len(values) + 1)
    kernels.label_boxes(volume.reference, volume.shape, index, boxes)
    return [_slices(b, volume.flipped) for b in boxes[1:]]


def difference_box(a: np.ndarray, b: np.ndarray) -> Box | None:
    """Smallest half-open box of all voxels where two masks (I, J, K) differ."""
    kernels, volume = _flat(a.astype(bool, copy=False), b.astype(bool, copy=False))
    box = _no_boxes(1)
    kernels.difference_box(volume.reference, volume.prediction, volume.shape, box[0])
    return _slices(box[0], volume.flipped)


def depth_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance of each voxel to the nearest voxel outside the mask, in mm, float64.

    Voxels beyond the array count as outside, so a structure cut by the edge of the volume is
    not deep at the cut.

    Examples
    --------
    >>> depth_mm(np.ones((1, 1, 5), bool), (9, 9, 2)).ravel().tolist()
    [2.0, 4.0, 6.0, 4.0, 2.0]
    """
    return np.sqrt(_kernels().squared_depth(np.ascontiguousarray(mask, bool), np.array(spacing_mm, float)))


def deepest_voxel(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> IJK | None:
    """Voxel farthest from the outside, the first in C order on ties; None for an empty mask.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[1:8, 2:5, 3:6] = True
    >>> deepest_voxel(mask, (1, 1, 1))
    (2, 3, 4)
    """
    if not mask.any():
        return None
    depth = depth_mm(mask, spacing_mm)
    # depths this close are equal but for rounding
    return tuple(int(v) for v in np.argwhere(depth >= depth.max() - 1e-6)[0])


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected components (26 neighbours): numbers from 1 (I, J, K), and sizes in voxels.

    Size 0 belongs to number 0, the outside. Numbers run in C order of the first voxels.

    Examples
    --------
    >>> numbers, sizes = components(np.array([[[1, 0, 1, 1]]], bool))
    >>> numbers.tolist(), sizes.tolist()
    ([[[1, 0, 2, 2]]], [0, 1, 2])
    """
    return _kernels().label_components(np.ascontiguousarray(mask, bool))


def largest_component(mask: np.ndarray) -> tuple[int, np.ndarray | None]:
    """Number of voxels and mask of the largest component, the first in C order on ties.

    Voxels are connected through faces, edges and corners (26 neighbours).

    Examples
    --------
    >>> size, component = largest_component(np.array([[[1, 0, 1, 1]]], bool))
    >>> size, component.astype(int).tolist()
    (2, [[[0, 0, 1, 1]]])
    """
    labelled, sizes = components(mask)
    if len(sizes) < 2:
        return 0, None
    largest = int(sizes[1:].argmax()) + 1
    return int(sizes[largest]), labelled == largest


def _kernels():
    """The compiled part, imported when it is needed."""
    from umdlib.kernels import boxes

    return boxes


def _flat(a: np.ndarray, b: np.ndarray | None = None):
    """Kernels, and one or two volumes as they take them."""
    from umdlib.kernels import boxes
    from umdlib.kernels import surfaces as pair

    unsigned = [v.view(np.uint8) if v.dtype == bool else v for v in (a, a if b is None else b)]
    return boxes, pair.in_memory_order(*unsigned, (1.0, 1.0, 1.0))


def _no_boxes(count: int) -> np.ndarray:
    """Boxes that hold nothing yet."""
    return np.tile(np.array([1 << 30] * 3 + [-1] * 3, np.int64), (count, 1))


def _slices(box: np.ndarray, flipped: bool) -> Box | None:
    """A box in memory order as slices of the array's own axes."""
    if box[3] < 0:
        return None
    slices = [slice(int(a), int(b) + 1) for a, b in zip(box[:3], box[3:], strict=True)]
    return tuple(slices[::-1] if flipped else slices)
