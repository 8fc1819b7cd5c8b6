"""Whole-body pictures of one subject, as a clinical report shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from umdlib.images.orientation import canonical
from umdlib.images.volume import LabelMap, Volume
from umdlib.viewer.slices import PLANES, Scene, View, field_mm, projected, slice_picture, view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLE_IN = 0.62


def body_view(image: Volume, plane: str, at_mm: float) -> View:
    """A whole plane of an image at a coordinate along the plane's normal, at the image's edge beyond it."""
    low, high = field_mm(image)
    at = (low + high) / 2
    at[PLANES[plane][0][2]] = at_mm
    voxel = np.abs(image.affine[:3, :3]).max(axis=1) / 2
    return view(image, np.clip(at, low + voxel, high - voxel), plane)


def body_picture(
    image: Volume, plane: str, at_mm: float, *, outlines: Mapping[str, LabelMap] | None = None, ax: Axes
) -> Axes:
    """One whole plane of an image with the outlines of references, whose grids may be others."""
    return slice_picture(Scene(image, outlines or {}), body_view(image, plane, at_mm), ax=ax, letters=5.0)


def reports(subjects: Iterable[tuple[Volume, Volume, str]]) -> Figure:
    """A row per subject: three slices of CT or MR, one of PET, two projections of PET.

    Parameters
    ----------
    subjects
        (structural volume, PET volume, title) of each: any volumes in world coordinates.

    Returns
    -------
    matplotlib.figure.Figure
        12 inches wide, white.
    """
    import matplotlib.pyplot as plt

    rows = [(_panels(structural, pet), title) for structural, pet, title in subjects]
    heights = [11.8 * _tall(row) / sum(_wide(row)) for row, _ in rows]
    size = (12.0, sum(heights) + _TITLE_IN * len(rows))
    figure = plt.figure(figsize=size, facecolor="white", layout="none")  # _draw_row places the axes
    parts = figure.subfigures(len(rows), 1, height_ratios=[h + _TITLE_IN for h in heights], squeeze=False)
    for part, (row, title), height in zip(parts[:, 0], rows, heights, strict=True):
        _draw_row(part, row, title, top=1 - 0.58 / (height + _TITLE_IN))
    return figure


def _panels(structural: Volume, pet: Volume) -> list[tuple[str, Volume, View]]:
    """Title, volume and view of each panel of a row."""
    front, back = coronal_levels(pet)
    middle = float(np.mean([end[0] for end in field_mm(pet)]))
    projections = {plane: projected(pet, plane) for plane in ("coronal", "sagittal")}
    chosen = [
        ("coronal", structural, "coronal", front),
        ("coronal, behind", structural, "coronal", back),
        ("sagittal", structural, "sagittal", middle),
        ("PET, coronal", pet, "coronal", front),
        ("PET, projection", projections["coronal"], "coronal", front),
        ("PET, side", projections["sagittal"], "sagittal", middle),
    ]
    return [(title, image, body_view(image, plane, at)) for title, image, plane, at in chosen]


def _wide(row) -> list[float]:
    """Width (mm) of each panel."""
    return [abs(seen.extent[1] - seen.extent[0]) for *_, seen in row]


def _tall(row) -> float:
    """Height (mm) that holds every panel."""
    return max(seen.extent[3] for *_, seen in row) - min(seen.extent[2] for *_, seen in row)


def _draw_row(figure, row, title: str, *, top: float) -> None:
    """Draw the panels of one subject side by side, on one scale in mm."""
    axes = figure.subplots(1, len(row), gridspec_kw={"width_ratios": _wide(row), "wspace": 0.01})
    low, high = min(seen.extent[2] for *_, seen in row), max(seen.extent[3] for *_, seen in row)
    for ax, (name, volume, seen) in zip(axes, row, strict=True):
        slice_picture(Scene(volume), seen, ax=ax, letters=10.0).set_ylim(low, high)
        ax.set_title(name, fontsize=13, color="black", pad=2)
    figure.suptitle(title, fontsize=15, color="black", x=0.005, ha="left", y=0.995)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top)


def coronal_levels(pet: Volume) -> tuple[float, float]:
    """y (mm) of a coronal slice in the middle of the body, and of one 45 mm behind it."""
    upright = canonical(pet)
    inside = upright.data > 0.15 * np.percentile(upright.data, 99)
    share = inside.sum(axis=(0, 2)).astype(float)
    y = upright.affine[1, 3] + upright.affine[1, 1] * np.arange(len(share))
    middle = float((share * y).sum() / max(share.sum(), 1))
    return middle + 12.0, middle - 33.0
