"""Posters: still pictures in place of a viewer: on paper, before it opens, without WebGL."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from umdlib.images import geometry
from umdlib.prompts.prompt import Click

# Display windows: (low, high) of the grey scale, by modality.
WINDOWS = {"CT": (-160.0, 240.0), "PET": (0.0, 5.0)}
HEIGHT = 360
GAP = 6
BACKGROUND = (0, 0, 0)
INK = (255, 255, 255)


@dataclass(frozen=True)
class Still:
    """What one half of a poster shows: the published grid of one image.

    Attributes
    ----------
    modality
        ``"CT"``, ``"MR"`` or ``"PET"``: chooses the window.
    data
        (I, J, K) intensities.
    affine
        (4, 4), voxel to world (RAS+, mm).
    colours
        (I, J, K, 4) uint8, the overlay: RGB and opacity.
    clicks
        Drawn where they lie within half a slice of the plane.
    caption
        Written over the picture.
    """

    modality: str
    data: np.ndarray
    affine: np.ndarray
    colours: np.ndarray
    clicks: Sequence[Click] = ()
    caption: str = ""


def window(modality: str, data: np.ndarray) -> tuple[float, float]:
    """Grey-scale window: fixed for CT and PET, 0 to the 99th percentile for MR."""
    return WINDOWS.get(modality) or (0.0, max(float(np.percentile(data, 99)), 1e-6))


def poster(stills: Sequence[Still], centre_mm: Sequence[float]) -> bytes:
    """Coronal and axial slices of each image through one point, as PNG.

    Radiological convention, as in the viewer: the subject's right is on the left of the picture.

    Parameters
    ----------
    stills
        One per image.
    centre_mm
        The point (RAS+, mm).

    Returns
    -------
    bytes
        A PNG with 128 colours.
    """
    parts = [_slice(s, centre_mm, axis) for s in stills for axis in (1, 2)]
    width = sum(p.width for p in parts) + GAP * (len(parts) - 1)
    page = Image.new("RGB", (width, HEIGHT), BACKGROUND)
    left = 0
    for part in parts:
        page.paste(part, (left, (HEIGHT - part.height) // 2))
        left += part.width + GAP
    stream = io.BytesIO()
    # a palette halves the file; median cut keeps greys and overlay colours apart
    page.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def painted(grey: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """RGB (..., 3) uint8 of grey values (...,) 0-1 under an RGBA overlay (..., 4) uint8."""
    opacity = colours[..., 3:].astype(float) / 255
    rgb = grey[..., None] * 255 * (1 - opacity) + colours[..., :3] * opacity
    return np.rint(rgb).astype(np.uint8)


def _slice(still: Still, centre_mm: Sequence[float], axis: int) -> Image.Image:
    """One plane as the viewer draws it: up is superior or anterior, left is the subject's right."""
    to_ras = nib.orientations.io_orientation(still.affine)
    data = nib.orientations.apply_orientation(still.data, to_ras)
    colours = nib.orientations.apply_orientation(still.colours, to_ras)
    affine = still.affine @ nib.orientations.inv_ornt_aff(to_ras, still.data.shape)
    ijk = geometry.to_voxel(affine, centre_mm)
    index = int(np.clip(round(ijk[axis]), 0, data.shape[axis] - 1))
    low, high = window(still.modality, data)
    grey = np.clip((np.take(data, index, axis) - low) / (high - low), 0, 1)
    if still.modality == "PET":
        grey = 1 - grey  # hot is dark, as in the reading room
    rgb = painted(grey, np.take(colours, index, axis)).transpose(1, 0, 2)[::-1, ::-1]
    spacing = geometry.spacing_mm(affine)
    across, up = (spacing[0], spacing[2]) if axis == 1 else (spacing[0], spacing[1])
    extent = rgb.shape[1] * across, rgb.shape[0] * up
    # a coronal plane fills the height; an axial one is as wide as the coronal beside it
    scale = HEIGHT / extent[1] if axis == 1 else min(HEIGHT / extent[1], HEIGHT * 0.8 / extent[0])
    size = max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale))
    picture = Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BILINEAR)
    plane = (0, 2) if axis == 1 else (0, 1)
    _draw_clicks(picture, still, affine, data.shape, plane, index, axis)
    _draw_letters(picture, still, "coronal" if axis == 1 else "axial")
    return picture


def _draw_clicks(picture, still, affine, shape, plane, index, axis) -> None:
    """A cross in a ring for a positive click, a bar in a ring for a negative one."""
    draw = ImageDraw.Draw(picture)
    for click in still.clicks:
        ijk = geometry.to_voxel(affine, click.xyz_mm)
        if abs(ijk[axis] - index) > 1:
            continue
        x = (1 - (ijk[plane[0]] + 0.5) / shape[plane[0]]) * picture.width
        y = (1 - (ijk[plane[1]] + 0.5) / shape[plane[1]]) * picture.height
        for colour, width in (((0, 0, 0), 4), (INK, 2)):
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=colour, width=width)
            draw.line((x - 4, y, x + 4, y), fill=colour, width=width)
            if click.positive:
                draw.line((x, y - 4, x, y + 4), fill=colour, width=width)


def _draw_letters(picture: Image.Image, still: Still, plane: str) -> None:
    """Modality and plane above, R and L at the sides."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    ink, edge = (BACKGROUND, INK) if still.modality == "PET" else (INK, BACKGROUND)
    style = {"fill": ink, "font": font, "stroke_width": 1, "stroke_fill": edge}
    draw.text((5, 3), f"{still.caption or still.modality}, {plane}", **style)
    draw.text((5, picture.height / 2), "R", anchor="lm", **style)
    draw.text((picture.width - 5, picture.height / 2), "L", anchor="rm", **style)
