"""Whole-body pictures of one subject, as a clinical report shows them."""

from __future__ import annotations

import numpy as np

from umdlib.images.orientation import canonical
from umdlib.images.volume import Volume
from umdlib.viewer import windows

PLANES: dict[str, tuple[int, int, int]] = {"sagittal": (0, 1, 2), "coronal": (1, 0, 2), "axial": (2, 0, 1)}


def axes_mm(volume: Volume) -> list[np.ndarray]:
    """World coordinate of the voxels along I, J, K of a volume whose axes are the world's."""
    step = np.diag(volume.affine)[:3]
    return [volume.affine[i, 3] + step[i] * np.arange(n) for i, n in enumerate(volume.shape)]


def plane(volume: Volume, name: str, at_mm: float) -> tuple[np.ndarray, tuple]:
    """One slice, rows up, and its extent in mm (left, right, bottom, top).

    Radiological: the patient's right is on the left of coronal and axial pictures.
    """
    across, horizontal, vertical = PLANES[name]
    axes = axes_mm(volume)
    index = int(np.clip(np.searchsorted(axes[across], at_mm), 0, volume.shape[across] - 1))
    return oriented(np.take(volume.data, index, axis=across), axes, name, horizontal, vertical)


def projection(volume: Volume, name: str) -> tuple[np.ndarray, tuple]:
    """Maximum intensity projection along a plane's normal, and its extent in mm."""
    across, horizontal, vertical = PLANES[name]
    return oriented(volume.data.max(axis=across), axes_mm(volume), name, horizontal, vertical)


def oriented(picture, axes, name: str, horizontal: int, vertical: int) -> tuple[np.ndarray, tuple]:
    """Rows from (horizontal, vertical), mirrored where the plane shows left and right."""
    h, v = axes[horizontal], axes[vertical]
    extent = (h[0], h[-1], v[0], v[-1])
    if name != "sagittal":
        picture, extent = picture[::-1], (h[-1], h[0], v[0], v[-1])
    return picture.T, extent


def show(ax, picture: np.ndarray, extent: tuple, volume: Volume):
    """Draw a picture in mm with the window and colour map of its unit; returns `ax`."""
    low, high = windows.window(volume.unit, volume.data)
    ax.imshow(
        picture,
        origin="lower",
        extent=extent,
        cmap=windows.COLOUR_MAPS.get(volume.unit, "gray"),
        vmin=low,
        vmax=high,
        interpolation="bilinear",
        aspect="equal",
    )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("white" if volume.unit == "SUV" else "black")
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def report(structural: Volume, pet: Volume, *, title: str = ""):
    """One subject's row of `reports`."""
    return reports([(structural, pet, title)])


def reports(subjects):
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

    rows = [(panels(structural, pet), title) for structural, pet, title in subjects]
    heights = [11.8 * tall(row) / sum(wide(row)) for row, _ in rows]
    size = (12.0, sum(heights) + 0.45 * len(rows))
    figure = plt.figure(figsize=size, facecolor="white", layout="none")  # _draw_row places the axes
    parts = figure.subfigures(len(rows), 1, height_ratios=[h + 0.45 for h in heights], squeeze=False)
    for part, (row, title), height in zip(parts[:, 0], rows, heights, strict=True):
        _draw_row(part, row, title, top=1 - 0.42 / (height + 0.45))
    return figure


def panels(structural: Volume, pet: Volume) -> list[tuple]:
    """(name, volume, picture, extent) of each panel of a row."""
    structural, pet = canonical(structural), canonical(pet)
    front, back = coronal_levels(pet)
    middle = float(np.mean(axes_mm(pet)[0][[0, -1]]))
    return [
        ("coronal", structural, *plane(structural, "coronal", front)),
        ("coronal, behind", structural, *plane(structural, "coronal", back)),
        ("sagittal", structural, *plane(structural, "sagittal", middle)),
        ("PET, coronal", pet, *plane(pet, "coronal", front)),
        ("PET, projection", pet, *projection(pet, "coronal")),
        ("PET, side", pet, *projection(pet, "sagittal")),
    ]


def wide(row) -> list[float]:
    """Width (mm) of each panel."""
    return [abs(extent[1] - extent[0]) for *_, extent in row]


def tall(row) -> float:
    """Height (mm) that holds every panel."""
    return max(e[3] for *_, e in row) - min(e[2] for *_, e in row)


def _draw_row(figure, row, title: str, *, top: float) -> None:
    """Draw the panels of one subject side by side, on one scale in mm."""
    axes = figure.subplots(1, len(row), gridspec_kw={"width_ratios": wide(row), "wspace": 0.01})
    low, high = min(e[2] for *_, e in row), max(e[3] for *_, e in row)
    for ax, (name, volume, picture, extent) in zip(axes, row, strict=True):
        show(ax, picture, extent, volume).set_ylim(low, high)
        ax.set_title(name, fontsize=8, color="black", pad=2)
    figure.suptitle(title, fontsize=10, color="black", x=0.005, ha="left", y=0.995)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top)


def coronal_levels(pet: Volume) -> tuple[float, float]:
    """y (mm) of a coronal slice in the middle of the body, and of one 45 mm behind it."""
    inside = pet.data > 0.15 * np.percentile(pet.data, 99)
    share = inside.sum(axis=(0, 2)).astype(float)
    y = axes_mm(pet)[1]
    middle = float((share * y).sum() / max(share.sum(), 1))
    return middle + 12.0, middle - 33.0
