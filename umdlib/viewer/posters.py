"""Posters: still pictures in place of a viewer: on paper, before it opens, without WebGL."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from umdlib.viewer.slices import PLANES, Scene, View, field_mm, slice_picture

_HEIGHT = 360
GAP = 6
_DPI = 100


@dataclass(frozen=True)
class Still:
    """One image of a poster: its modality, its picture, and its text."""

    modality: str
    scene: Scene
    caption: str = ""

    @property
    def title(self) -> str:
        """The caption, or the modality."""
        return self.caption or self.modality


def poster(stills: Sequence[Still], centre_mm: Sequence[float], *, side_mm: float = 0.0) -> Image.Image:
    """Coronal slices of each image, and axial ones of a square of `side_mm` (0: whole), through one point (RAS+, mm).

    A structural image and PET are shown as coronal | axial | PET on the structural image in hot metal |
    axial PET | coronal PET. Radiological convention: the subject's right is on the left of the picture.

    Returns
    -------
    Image
        In RGB; `png` and `webp` are its files.
    """
    centre = np.asarray(centre_mm, float)
    whole = field_mm(stills[0].scene.image)
    coronal = _view("coronal", centre, whole)
    axial = _view("axial", centre, (centre - side_mm / 2, centre + side_mm / 2) if side_mm else whole)
    first = stills[0]
    parts = [(first.scene, view, f"{first.title}, {view.plane}") for view in (coronal, axial)]
    for still in stills[1:]:
        if first.modality != "PET" and still.modality == "PET":
            fused = replace(first.scene, hot=still.scene.image)
            parts.append((fused, axial, f"{still.title} on {first.title}"))
        parts += [(still.scene, view, f"{still.title}, {view.plane}") for view in (axial, coronal)]
    return _drawn(parts)


def _drawn(parts: Sequence[tuple[Scene, View, str]]) -> Image.Image:
    """Draw slices side by side, one pixel a pixel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = sum(view.size[0] for _, view, _ in parts) + GAP * (len(parts) - 1)
    size = ((width + 0.01) / _DPI, (_HEIGHT + 0.01) / _DPI)  # whole pixels are cut off, not rounded
    page = FigureCanvasAgg(Figure(figsize=size, dpi=_DPI, facecolor="black", layout="none"))
    left = 0
    for scene, view, words in parts:
        w, h = view.size
        place = (left / width, ((_HEIGHT - h) // 2) / _HEIGHT, w / width, h / _HEIGHT)
        slice_picture(scene, view, ax=page.figure.add_axes(place), letters=9.0, words=words)
        left += w + GAP
    page.draw()
    return Image.fromarray(np.asarray(page.buffer_rgba())[..., :3].copy())


def png(picture: Image.Image) -> bytes:
    """The picture for a notebook: a palette halves the file; median cut keeps greys and overlay colours apart."""
    stream = io.BytesIO()
    few = picture.quantize(200, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def webp(picture: Image.Image) -> bytes:
    """The picture for a site, in a fifth of the PNG's bytes."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=85)
    return stream.getvalue()


def _view(plane: str, centre: np.ndarray, seen: tuple[np.ndarray, np.ndarray]) -> View:
    """A box of the world, as high as the poster, and not much wider than high."""
    right, up, _ = PLANES[plane][0]
    extent = seen[1] - seen[0]
    return View(plane, centre, *seen, max(extent[up] / _HEIGHT, extent[right] / (1.05 * _HEIGHT)))
