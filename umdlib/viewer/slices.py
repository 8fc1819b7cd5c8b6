"""Pictures: single slices of a volume with contours of masks and marks of clicks, in matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images.orientation import to_ras
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click
from umdlib.viewer import windows

# plane -> (axis that is cut, axis drawn to the right, axis drawn upwards), all in RAS
PLANES: dict[str, tuple[int, int, int]] = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}


def slice_picture(
    image: Volume,
    xyz_mm: Iterable[float],
    *,
    plane: str = "axial",
    masks: Mapping[str, np.ndarray] | None = None,
    clicks: Iterable[Click] = (),
    width_mm: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One slice through a world point, as a radiologist sees it: the patient's left is on the right.

    Parameters
    ----------
    image
        CT in a soft-tissue window, PET as inverted grey from SUV 0 to 5, MR to its 99.5th percentile.
    xyz_mm
        Point in world coordinates (RAS+, mm) that the slice passes through.
    plane
        axial, coronal or sagittal.
    masks
        Colour -> boolean (I, J, K) on the image's grid, drawn as a contour.
    clicks
        Drawn where they lie within half a slice: a plus for positive, a cross for negative.
    width_mm
        Side of the square shown around the point; None for the whole slice.
    ax
        Axes to draw on; None makes a figure.

    Raises
    ------
    InputError
        An unknown plane, or a point outside the volume.
    """
    import matplotlib.pyplot as plt

    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    xyz_mm = np.asarray(tuple(xyz_mm), float)
    if geometry.nearest_voxel(image.affine, xyz_mm, image.shape) is None:
        raise InputError(f"Point {xyz_mm.round(1).tolist()} mm lies outside {image.name}.")
    ax = ax or plt.subplots(figsize=(4, 4), layout="constrained")[1]
    cut, right, up = PLANES[plane]
    data, affine = to_ras(image.data, image.affine)
    index = int(np.floor(geometry.to_voxel(affine, xyz_mm)[cut] + 0.5))
    low, high = windows.window(image.unit, data)
    extent = _extent(affine, data.shape, right, up)
    xyz_mm = _place(affine, xyz_mm)
    ax.imshow(
        data.take(index, axis=cut).T,
        origin="lower",
        extent=extent,
        vmin=low,
        vmax=high,
        cmap=windows.COLOUR_MAPS.get(image.unit, "gray"),
        interpolation="nearest",
        aspect="equal",
    )
    for colour, mask in (masks or {}).items():
        drawn = to_ras(mask, image.affine)[0].take(index, axis=cut).T
        if drawn.any():
            _contour(ax, drawn, affine, right, up, colour)
    depth = geometry.spacing_mm(affine)[cut] / 2
    for click in clicks:
        at = _place(affine, click.xyz_mm)
        if abs(at[cut] - xyz_mm[cut]) <= depth + 1e-6:
            ax.plot(
                at[right], at[up], "P" if click.positive else "X", ms=9, mfc="#f0e442", mec="black", mew=1
            )
    if width_mm:
        for centre, limits in ((xyz_mm[right], ax.set_xlim), (xyz_mm[up], ax.set_ylim)):
            limits(centre - width_mm / 2, centre + width_mm / 2)
    if plane != "sagittal":
        ax.invert_xaxis()
    ax.set(xticks=[], yticks=[])
    return ax


def _place(affine: np.ndarray, xyz_mm) -> np.ndarray:
    """Where a world point is drawn: mm along the grid's own axes, which an oblique image has turned.

    For a grid along the world's axes these are the world coordinates.
    """
    turn = affine[:3, :3] / geometry.spacing_mm(affine)
    return turn.T @ (np.asarray(xyz_mm, float) - affine[:3, 3]) + affine[:3, 3]


def _extent(affine, shape, right: int, up: int) -> tuple[float, float, float, float]:
    """Where the outer faces of a slice are drawn, mm."""
    spacing, origin = geometry.spacing_mm(affine), affine[:3, 3]
    first = origin - 0.5 * np.asarray(spacing)
    last = origin + (np.asarray(shape) - 0.5) * spacing
    return first[right], last[right], first[up], last[up]


def _contour(ax: Axes, drawn: np.ndarray, affine, right: int, up: int, colour: str) -> None:
    """Outline of a slice's mask; the zero border closes outlines at the edge of the image."""
    padded = np.pad(drawn.astype(float), 1)
    spacing, origin = geometry.spacing_mm(affine), affine[:3, 3]
    x = origin[right] + spacing[right] * (np.arange(padded.shape[1]) - 1)
    y = origin[up] + spacing[up] * (np.arange(padded.shape[0]) - 1)
    ax.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.6)
