"""Posters: still pictures in place of a viewer: on paper, before it opens, without WebGL."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from PIL import Image, ImageDraw, ImageFont

from umdlib.images import geometry
from umdlib.prompts.prompt import Click

_HEIGHT = 360
GAP = 6
_BACKGROUND = (0, 0, 0)
INK = (255, 255, 255)
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
# World axes of a plane: to the right of the picture (mirrored: the subject's right is on the left), up, through.
_AXES = {"axial": (0, 1, 2), "coronal": (0, 2, 1)}


@dataclass(frozen=True)
class Still:
    """What one image contributes to a poster: its published grid.

    Attributes
    ----------
    modality
        ``"CT"``, ``"MR"`` or ``"PET"``.
    data
        (I, J, K) intensities.
    affine
        (4, 4), voxel to world (RAS+, mm).
    colours
        (I, J, K, 4) uint8, the overlay: RGB and opacity.
    window
        Intensities that are black and white.
    clicks
        Drawn where they lie within 4 mm of the plane.
    caption
        Written over the picture.
    """

    modality: str
    data: np.ndarray
    affine: np.ndarray
    colours: np.ndarray
    window: tuple[float, float]
    clicks: Sequence[Click] = ()
    caption: str = ""


@dataclass(frozen=True)
class _Plane:
    """Pixels of a picture as points of the world: `corner` is the upper left, `step` mm a pixel."""

    name: str
    corner: np.ndarray
    step: float
    size: tuple[int, int]  # width, height

    def points(self) -> np.ndarray:
        """World coordinates (height, width, 3) of the pixels."""
        right, up, _ = _AXES[self.name]
        points = np.broadcast_to(self.corner, (self.size[1], self.size[0], 3)).copy()
        points[..., right] -= self.step * np.arange(self.size[0])
        points[..., up] -= self.step * np.arange(self.size[1])[:, None]
        return points

    def pixel(self, xyz_mm: Sequence[float]) -> tuple[float, float]:
        """Column and row of a point of the world."""
        right, up, _ = _AXES[self.name]
        return (self.corner[right] - xyz_mm[right]) / self.step, (self.corner[up] - xyz_mm[up]) / self.step


def poster(stills: Sequence[Still], centre_mm: Sequence[float], *, side_mm: float = 0.0) -> bytes:
    """Coronal and axial slices of each image through one point, as PNG.

    A structural image and PET are shown as coronal | axial | PET on the structural image in hot metal |
    axial PET | coronal PET. Radiological convention: the subject's right is on the left of the picture.

    Parameters
    ----------
    stills
        One per image.
    centre_mm
        The point (RAS+, mm).
    side_mm
        Side of the square around the point that the axial slices show; 0 for the whole slice.

    Returns
    -------
    bytes
        A PNG with 200 colours.
    """
    centre = np.asarray(centre_mm, float)
    low, high = _field(stills[0])
    coronal = _plane("coronal", centre, (low, high))
    square = (centre - side_mm / 2, centre + side_mm / 2) if side_mm else (low, high)
    axial = _plane("axial", centre, square)
    parts = [_picture(stills[0], coronal, centre), _picture(stills[0], axial, centre)]
    if len(stills) > 1:
        if stills[0].modality != "PET" and stills[1].modality == "PET":
            parts.append(_picture(stills[0], axial, centre, hot=stills[1]))
        parts += [_picture(stills[1], axial, centre), _picture(stills[1], coronal, centre)]
    width = sum(p.width for p in parts) + GAP * (len(parts) - 1)
    page = Image.new("RGB", (width, _HEIGHT), _BACKGROUND)
    left = 0
    for part in parts:
        page.paste(part, (left, (_HEIGHT - part.height) // 2))
        left += part.width + GAP
    stream = io.BytesIO()
    # a palette halves the file; median cut keeps greys and overlay colours apart
    page.quantize(200, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def painted(grey: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """RGB (..., 3) uint8 of grey values (...,) 0-1 under an RGBA overlay (..., 4) uint8."""
    opacity = colours[..., 3:].astype(float) / 255
    rgb = grey[..., None] * 255 * (1 - opacity) + colours[..., :3] * opacity
    return np.rint(rgb).astype(np.uint8)


def _field(still: Still) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest world coordinates of a grid, from face to face."""
    ends = np.array([(-0.5, n - 0.5) for n in still.data.shape])
    corners = geometry.to_world(still.affine, np.array(np.meshgrid(*ends)).reshape(3, -1).T)
    return corners.min(axis=0), corners.max(axis=0)


def _plane(name: str, centre: np.ndarray, field: tuple[np.ndarray, np.ndarray]) -> _Plane:
    """Pixels of a world box: as high as the poster, and not much wider than high."""
    right, up, through = _AXES[name]
    low, high = field
    extent = high[right] - low[right], high[up] - low[up]
    step = max(extent[1] / _HEIGHT, extent[0] / (1.05 * _HEIGHT))
    corner = np.empty(3)
    corner[right], corner[up], corner[through] = high[right] - step / 2, high[up] - step / 2, centre[through]
    return _Plane(name, corner, step, (max(1, round(extent[0] / step)), max(1, round(extent[1] / step))))


def _sampled(data: np.ndarray, affine: np.ndarray, points: np.ndarray, *, order: int, outside: float):
    """Values of a volume at world points; `outside` where it does not reach."""
    ijk = geometry.to_voxel(affine, points.reshape(-1, 3)).T
    inside = np.all((ijk >= -0.5) & (ijk <= np.array(data.shape)[:, None] - 0.5), axis=0)
    found = scipy.ndimage.map_coordinates(data, ijk, order=order, mode="nearest", prefilter=False)
    return np.where(inside, found, outside).reshape(points.shape[:-1])


def _picture(still: Still, plane: _Plane, centre: np.ndarray, *, hot: Still | None = None) -> Image.Image:
    """One plane of one image, in grey with its overlay, or with PET in colour instead of the overlay."""
    points = plane.points()
    low, high = still.window
    data = still.data.astype(np.float32, copy=False)
    grey = np.clip((_sampled(data, still.affine, points, order=1, outside=low) - low) / (high - low), 0, 1)
    if still.modality == "PET":
        grey = 1 - grey  # hot is dark, as in the reading room
    if hot is None:
        colours = [
            _sampled(still.colours[..., k], still.affine, points, order=0, outside=0) for k in range(4)
        ]
    else:
        share = _sampled(hot.data.astype(np.float32, copy=False), hot.affine, points, order=1, outside=0.0)
        share = (share - hot.window[0]) / (hot.window[1] - hot.window[0])
        colours = [np.interp(share, _HOT[:, 0], _HOT[:, k]) for k in range(1, 5)]
        colours[3] = 0.75 * colours[3]
    picture = Image.fromarray(painted(grey, np.stack(colours, axis=-1).astype(np.uint8)))
    _draw_clicks(picture, still.clicks, plane)
    caption = still.caption or still.modality
    words = f"{caption}, {plane.name}" if hot is None else f"{hot.caption or hot.modality} on {caption}"
    _draw_letters(picture, words, dark=still.modality == "PET")
    return picture


def _draw_clicks(picture: Image.Image, clicks: Sequence[Click], plane: _Plane) -> None:
    """A cross in a ring for a positive click, a bar in a ring for a negative one."""
    draw = ImageDraw.Draw(picture)
    through = _AXES[plane.name][2]
    for click in clicks:
        if abs(click.xyz_mm[through] - plane.corner[through]) > 4:
            continue
        x, y = plane.pixel(click.xyz_mm)
        for colour, width in (((0, 0, 0), 4), (INK, 2)):
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=colour, width=width)
            draw.line((x - 4, y, x + 4, y), fill=colour, width=width)
            if click.positive:
                draw.line((x, y - 4, x, y + 4), fill=colour, width=width)


def _draw_letters(picture: Image.Image, words: str, *, dark: bool) -> None:
    """What it is above, R and L at the sides."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    ink, edge = (_BACKGROUND, INK) if dark else (INK, _BACKGROUND)
    style = {"fill": ink, "font": font, "stroke_width": 1, "stroke_fill": edge}
    draw.text((5, 3), words, **style)
    draw.text((5, picture.height / 2), "R", anchor="lm", **style)
    draw.text((picture.width - 5, picture.height / 2), "L", anchor="rm", **style)
