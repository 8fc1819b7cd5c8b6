"""Slices: the one way in which a picture shows a plane of an image, in matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images.orientation import canonical
from umdlib.images.volume import LabelMap, Volume
from umdlib.prompts.prompt import Click
from umdlib.viewer import windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# World axes of a plane: to the right of the picture, up, through; which way the first one runs; letters of its sides.
# Radiological convention: the subject's right is on the left.
PLANES: dict[str, tuple[tuple[int, int, int], int, str]] = {
    "axial": ((0, 1, 2), -1, "RL"),
    "coronal": ((0, 2, 1), -1, "RL"),
    "sagittal": ((1, 2, 0), 1, "PA"),
}
# Hot metal, as in the viewer: share of the window, then red, green, blue and opacity.
_HOT = np.array(
    [
        [0.0, 0, 0, 0, 0],
        [0.25, 120, 0, 0, 110],
        [0.5, 235, 60, 0, 190],
        [0.75, 255, 190, 0, 235],
        [1.0, 255, 255, 220, 255],
    ]
)
_NEAR_MM = 4.0  # a click is marked this near to a plane, or half a voxel where that is more
_BARS_CM = (20, 10, 5, 2, 1)
_PIXELS = 1200  # of a picture's side at most


@dataclass(frozen=True)
class Scene:
    """Everything drawn of one image.

    Attributes
    ----------
    image
        CT in a soft-tissue window, PET as inverted grey from SUV 0 to 5, MR to its 99.5th percentile.
    outlines
        Colour to mask: boolean (I, J, K) on the image's grid, or a label map on its own, whose values are one mask.
    fill
        (I, J, K, 4) uint8 on the image's grid: RGB and opacity of an overlay.
    hot
        PET that is laid over the image in hot metal, instead of `fill`.
    clicks
        Marked near the plane: a cross in a ring, a bar in a ring for a negative one.
    window
        Intensities that are black and white; those of the unit by default.
    """

    image: Volume
    outlines: Mapping[str, np.ndarray | LabelMap] = field(default_factory=dict)
    fill: np.ndarray | None = None
    hot: Volume | None = None
    clicks: Sequence[Click] = ()
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class View:
    """A plane of the world and the box of it that is seen; `step_mm` is the side of a pixel."""

    plane: str
    at_mm: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step_mm: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; two at least, so that an outline can be drawn."""
        right, up, _ = PLANES[self.plane][0]
        return tuple(max(2, round((self.high[k] - self.low[k]) / self.step_mm)) for k in (right, up))

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """World coordinates (mm) of the left, right, lower and upper edge."""
        (right, up, _), sign, _ = PLANES[self.plane]
        sides = (self.low[right], self.high[right])[::sign]
        return (*sides, self.low[up], self.high[up])

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """World coordinates (mm) of the pixels' centres: of the columns, and of the rows from the top."""
        left, right, bottom, top = self.extent
        columns, rows = ((np.arange(n) + 0.5) / n for n in self.size)
        return left + (right - left) * columns, top + (bottom - top) * rows

    def points(self) -> np.ndarray:
        """World coordinates (height, width, 3) of the pixels' centres."""
        right, up, _ = PLANES[self.plane][0]
        points = np.empty((*self.size[::-1], 3))
        points[:] = self.at_mm
        x, y = self.pixels()
        points[..., right], points[..., up] = x, y[:, None]
        return points


def view(
    image: Volume,
    at_mm: Sequence[float],
    plane: str = "axial",
    *,
    width_mm: float = 0.0,
    step_mm: float = 0.0,
) -> View:
    """The plane of an image through a point of the world.

    Parameters
    ----------
    image
        Whose field is seen.
    at_mm
        The point (RAS+, mm).
    plane
        axial, coronal or sagittal.
    width_mm
        Side of the square around the point; 0 for the whole field.
    step_mm
        Side of a pixel; half a voxel by default.

    Raises
    ------
    InputError
        An unknown plane, or a point outside the image's field.
    """
    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    at = np.asarray(tuple(at_mm), float)
    low, high = field_mm(image)
    if not ((low <= at) & (at <= high)).all():
        raise InputError(f"Point {at.round(1).tolist()} mm lies outside {image.name}.")
    if width_mm:
        low, high = at - width_mm / 2, at + width_mm / 2
    finest = max((high - low).max() / _PIXELS, min(image.spacing_mm) / 2)
    return View(plane, at, low, high, step_mm or finest)


def field_mm(image: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest world coordinates (mm) of a grid, from face to face."""
    ends = np.array([(-0.5, n - 0.5) for n in image.shape])
    corners = geometry.to_world(image.affine, np.array(np.meshgrid(*ends)).reshape(3, -1).T)
    return corners.min(axis=0), corners.max(axis=0)


def projected(volume: Volume, plane: str) -> Volume:
    """Maximum intensity projection through a plane, as a volume one voxel thick: drawn as a slice is.

    Examples
    --------
    >>> projected(Volume(np.arange(8.0).reshape(2, 2, 2), np.diag([1.0, 3, 1, 1])), "coronal").spacing_mm
    (1.0, 6.0, 1.0)
    """
    upright = canonical(volume)
    through = PLANES[plane][0][2]
    n, affine = upright.shape[through], upright.affine.copy()
    affine[:3, 3] += (n - 1) / 2 * affine[:3, through]
    affine[:3, through] *= n
    return Volume(upright.data.max(axis=through, keepdims=True), affine, volume.unit, volume.name)


def slice_picture(
    scene: Scene, seen: View, *, ax: Axes | None = None, letters: float = 7.0, words: str = ""
) -> Axes:
    """Draw a plane of an image as a radiologist sees it, in mm, with a scale bar and the sides' letters.

    Parameters
    ----------
    scene
        Image, masks and clicks.
    seen
        Of `view`.
    ax
        Axes to draw on; None makes a figure.
    letters
        Size of the letters in points; lines are as thick as fits them.
    words
        Written in the upper left corner.
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(4, 4), layout="constrained")[1]
    points, image = seen.points(), scene.image
    window = scene.window or windows.window(image.unit, image.data)
    values = _linear(image.data, image.affine, points, outside=window[0])
    rgb = _painted(windows.grey(image.unit, values, window), _overlay(scene, points))
    ax.imshow(rgb, extent=seen.extent, aspect="equal", interpolation="nearest")
    ax.autoscale(False)  # a click or a bar beyond the edge widens no picture
    for colour, mask in scene.outlines.items():
        data, affine = (mask.data, mask.affine) if isinstance(mask, LabelMap) else (mask, image.affine)
        inside = _linear(data, affine, points, dtype=bool)
        if inside.max() > 0.5:
            ax.contour(*seen.pixels(), inside, levels=[0.5], colors=[colour], linewidths=letters / 6)
    _draw_clicks(ax, scene, seen)
    dark = image.unit == "SUV"
    inks = ("black", "white") if dark else ("white", "black")
    _draw_letters(ax, seen, words, size=letters, inks=inks)
    ax.set(xticks=[], yticks=[], facecolor="white" if dark else "black")
    ax.spines[:].set_visible(False)
    return ax


def _overlay(scene: Scene, points: np.ndarray) -> np.ndarray:
    """RGBA (..., 4) of what lies over the grey of an image."""
    if scene.hot is not None:
        low, high = windows.window(scene.hot.unit, scene.hot.data)
        share = (_linear(scene.hot.data, scene.hot.affine, points, outside=low) - low) / (high - low)
        colours = [np.interp(share, _HOT[:, 0], _HOT[:, k]) for k in range(1, 5)]
        return np.stack([*colours[:3], 0.75 * colours[3]], axis=-1)
    if scene.fill is None:
        return np.zeros(4)
    ijk = np.floor(_voxels(scene.image.affine, points) + 0.5).astype(int)
    inside = np.all((ijk >= 0) & (ijk < scene.image.shape), axis=-1)
    kept = np.where(inside[..., None], ijk, 0)
    return scene.fill[tuple(np.moveaxis(kept, -1, 0))] * inside[..., None]


def _painted(grey: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """RGB (..., 3) uint8 of grey values (...) 0-1 under an overlay (..., 4), 0-255."""
    opacity = colours[..., 3:] / 255
    return np.rint(grey[..., None] * 255 * (1 - opacity) + colours[..., :3] * opacity).astype(np.uint8)


def _voxels(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Fractional voxel indices (..., 3) of points of the world."""
    inverse = np.linalg.inv(affine)
    return points @ inverse[:3, :3].T + inverse[:3, 3]


def _linear(
    data: np.ndarray, affine: np.ndarray, points: np.ndarray, *, outside: float = 0.0, dtype=np.float32
):
    """Values of a volume between its voxels at points of the world; `outside` where it does not reach."""
    ijk = _voxels(affine, points)
    inside = np.all((ijk >= -0.5) & (ijk <= np.array(data.shape) - 0.5), axis=-1)
    if not inside.any():
        return np.full(inside.shape, outside, np.float32)
    # only the voxels around the plane are read
    first = np.clip(np.floor(ijk[inside].min(axis=0)).astype(int), 0, np.array(data.shape) - 1)
    last = np.clip(np.ceil(ijk[inside].max(axis=0)).astype(int), 0, np.array(data.shape) - 1)
    block = data[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))].astype(dtype)
    places = np.moveaxis(ijk - first, -1, 0)
    found = scipy.ndimage.map_coordinates(block.astype(np.float32), places, order=1, mode="nearest")
    return np.where(inside, found, np.float32(outside))


def _draw_clicks(ax: Axes, scene: Scene, seen: View) -> None:
    """A ring with a cross for a positive click, with a bar for a negative one, dark below light."""
    right, up, through = PLANES[seen.plane][0]
    near = max(_NEAR_MM, np.abs(scene.image.affine[through, :3]).max() / 2)
    for click in scene.clicks:
        if abs(click.xyz_mm[through] - seen.at_mm[through]) > near + 1e-6:
            continue
        for colour, width in (("black", 3.0), ("white", 1.4)):
            for marker, size in (("o", 9), ("+" if click.positive else "_", 5)):
                ax.plot(
                    click.xyz_mm[right], click.xyz_mm[up], marker, ms=size, mfc="none", mec=colour, mew=width
                )


def _draw_letters(ax: Axes, seen: View, words: str, *, size: float, inks: tuple[str, str]) -> None:
    """The sides of the body, a bar of some centimetres in the lower left corner, and words in the upper one."""
    from matplotlib.patheffects import Stroke

    left, right, bottom, top = seen.extent
    width = abs(right - left)
    bar = next((b for b in _BARS_CM if 10 * b <= width / 3), _BARS_CM[-1])
    start, y = left + 0.04 * (right - left), bottom + 0.03 * (top - bottom)
    end = start + 10 * bar * np.sign(right - left)
    first, second = PLANES[seen.plane][2]
    share, middle = "axes fraction", ((start + end) / 2, y)
    # the edge below, the letters above: drawn as paths the stem of a small L falls between two pixels
    for ink, line, effects in (
        (inks[1], 3.5, [Stroke(linewidth=1.5, foreground=inks[1])]),
        (inks[0], 1.8, []),
    ):
        style = {"textcoords": "offset points", "color": ink, "fontsize": size, "path_effects": effects}
        ax.plot([start, end], [y, y], color=ink, lw=line, solid_capstyle="butt")
        ax.annotate(words, (0, 1), (4, -4), share, va="top", **style)
        ax.annotate(first, (0, 0.5), (4, 0), share, va="center", **style)
        ax.annotate(second, (1, 0.5), (-4, 0), share, ha="right", va="center", **style)
        ax.annotate(f"{bar} cm", middle, (0, 2.5), ha="center", **style)
