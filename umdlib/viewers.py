"""Viewers: one subject's images side by side, with masks and clicks, on a page that needs no server."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from umdlib import geometry, labels, posters, webvolumes
from umdlib.errors import InputError, unknown_name
from umdlib.labels import ORGANS, Structure
from umdlib.prompts import Click
from umdlib.volume import LabelMap, Volume

ASSETS = Path(__file__).parent / "viewer"
NIIVUE = "niivue-0.69.0.umd.js"

# Okabe & Ito (2008): missed, added, both at once; agreement in grey.
DIFFERENCE = {"agree": "#bbbbbb", "missed": "#56b4e9", "added": "#e69f00", "both": "#cc79a7"}
OVERLAYS = ("none", "reference", "prediction", "difference")


@dataclass(frozen=True)
class Prediction:
    """What one segmenter returned for one image at one step.

    Attributes
    ----------
    segmenter
        Its name.
    masks
        Structure name to boolean mask (I, J, K) on the image's grid; masks may overlap.
    step
        Corrective clicks so far.
    dice
        Structure name to DSC at full resolution, from the score table; shown, never computed here.
    clicks
        Structure name to the clicks given so far.
    """

    segmenter: str
    masks: Mapping[str, np.ndarray]
    step: int = 0
    dice: Mapping[str, float] = field(default_factory=dict)
    clicks: Mapping[str, tuple[Click, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pane:
    """One image with what was drawn on it.

    Attributes
    ----------
    modality
        ``"CT"``, ``"MR"`` or ``"PET"``.
    image
        The image.
    reference
        Label map on the image's grid, or None.
    predictions
        Any number of segmenters and steps.
    title
        Heading; the modality where empty.
    """

    modality: str
    image: Volume
    reference: LabelMap | None = None
    predictions: tuple[Prediction, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Pair:
    """A viewer of one or two images in one world, as a figure of a page.

    In a notebook it shows itself: as a light figure that refers to files below ``UMD_STATIC``
    where that variable names a folder, else as one self-contained frame.

    Attributes
    ----------
    panes
        One or two.
    structures
        What may be shown, in the cohort's order.
    title
        Of the figure; part of the picture's description.
    caption
        Below the figure; how the volumes were reduced is added to it.
    name
        Identifier of the figure in links; by default made from the content.
    structure
        Structure shown first; ``""`` for all of them.
    segmenter
        Segmenter shown first; the first of the predictions by default.
    step
        Step shown first.
    overlay
        ``"none"``, ``"reference"``, ``"prediction"`` or ``"difference"``.
    spacing_mm
        Spacing aimed at on the page: whole voxels are averaged until they come nearest to it.
    titles
        Segmenter name to the name shown.
    """

    panes: tuple[Pane, ...]
    structures: tuple[Structure, ...] = ORGANS
    title: str = ""
    caption: str = ""
    name: str = ""
    structure: str = ""
    segmenter: str = ""
    step: int = 0
    overlay: str = "reference"
    spacing_mm: float = 4.0
    titles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not 1 <= len(self.panes) <= 2:
            raise InputError(f"{len(self.panes)} panes in a viewer. It shows one or two.")
        if self.overlay not in OVERLAYS:
            raise unknown_name("overlay", self.overlay, OVERLAYS)
        if self.structure:
            labels.structure(self.structure, self.structures)
        if self.segmenter and self.segmenter not in self.segmenters:
            raise unknown_name("segmenter", self.segmenter, self.segmenters)
        for pane in self.panes:
            _check_pane(pane, self.structures)

    @property
    def segmenters(self) -> tuple[str, ...]:
        """Names in the order of the predictions."""
        return tuple(dict.fromkeys(p.segmenter for pane in self.panes for p in pane.predictions))

    def write(self, assets: str | Path, *, root: str = "../umd/") -> str:
        """Write the files that the page loads on demand, and return the figure.

        Parameters
        ----------
        assets
            Folder that the site publishes as `root`; gets ``volumes/<hash>.js`` and
            ``posters/<hash>.png``, named by content, so that a second run writes nothing.
        root
            Address of `assets` as seen from the page.

        Returns
        -------
        str
            HTML of one ``<figure>``.
        """
        assets = Path(assets)
        for name, coded in self._built.volumes.items():
            webvolumes.write_script(assets / "volumes", name, coded)
        picture = self._built.poster
        poster = f"{hashlib.sha256(picture).hexdigest()[:16]}.png"
        (assets / "posters").mkdir(parents=True, exist_ok=True)
        (assets / "posters" / poster).write_bytes(picture)
        return self._figure(f"{root}posters/{poster}", root)

    def inline(self, *, height: int = 820) -> str:
        """The same viewer as one frame that holds all it needs, for JupyterLab.

        Parameters
        ----------
        height
            Of the frame in pixels.
        """
        source = "data:image/png;base64," + base64.b64encode(self._built.poster).decode("ascii")
        volumes = json.dumps(self._built.volumes)
        engine = base64.b64encode((ASSETS / "vendor" / f"{NIIVUE}.gz").read_bytes()).decode("ascii")
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(self._title)}</title>"
            f"<style>{(ASSETS / 'umd-viewer.css').read_text('utf-8')}body{{margin:0}}</style>"
            f"<body>{self._figure(source, '')}"
            f'<script>self.UMD_VOLUMES={volumes};self.UMD_ENGINE="{engine}";</script>'
            f"<script>{(ASSETS / 'umd-viewer.js').read_text('utf-8')}</script></body></html>"
        )
        return (
            f'<iframe class="umd-frame" title="{html.escape(self._title)}" allowfullscreen '
            f'style="width:100%;height:{height}px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        )

    def _repr_html_(self) -> str:
        assets = os.environ.get("UMD_STATIC")
        return self.write(assets) if assets else self.inline()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        bundle = {"text/html": self._repr_html_(), "text/plain": self.alt}
        if os.environ.get("UMD_STATIC"):  # for output formats without HTML
            bundle["image/png"] = base64.b64encode(self._built.poster).decode("ascii")
        return bundle

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        shown = self._structure_title(self.structure) if self.structure else "all structures"
        images = " and ".join(p.title or p.modality for p in self.panes)
        overlay = "no overlay" if self.overlay == "none" else f"{self.overlay} of {shown}"
        return (
            f"{self._title}: coronal and axial slices of {images} through one point, with "
            f"{overlay}; radiological convention."
        )

    @property
    def download_mb(self) -> float:
        """What opening the viewer loads beside NiiVue, in MB (10^6 bytes)."""
        first = self._built.config["first"]
        return sum(len(self._built.volumes[name]) for name in first) / 1e6

    @functools.cached_property
    def _built(self) -> _Built:
        return _build(self)

    @property
    def _title(self) -> str:
        return self.title or " and ".join(p.title or p.modality for p in self.panes)

    def _structure_title(self, name: str) -> str:
        return labels.structure(name, self.structures).title

    def _figure(self, poster: str, root: str) -> str:
        """The figure: poster, button, caption, and what the script needs to know."""
        built = self._built
        width, height = _png_size(built.poster)
        size = f"{self.download_mb + 2.3:.1f} MB"
        config = json.dumps(built.config, separators=(",", ":")).replace("<", "\\u003c")
        caption = html.escape(" ".join(t for t in (self.caption, built.note) if t))
        return (
            f'<figure class="umd-viewer" id="{built.config["name"]}" data-umd-root="{root}">'
            f'<div class="umd-poster"><img src="{poster}" alt="{html.escape(self.alt)}" '
            f'width="{width}" height="{height}">'
            f'<button type="button" class="umd-open">Open the 3D viewer ({size})</button></div>'
            f"<figcaption>{caption}</figcaption>"
            f'<script type="application/json">{config}</script></figure>'
        )


@dataclass(frozen=True)
class _Built:
    """What a pair comes to: the script's configuration, packed volumes, poster and note."""

    config: dict
    volumes: dict[str, str]
    poster: bytes
    note: str


def install(static: str | Path, extra: str | Path) -> list[Path]:
    """Copy the viewer's files to where a book serves them; what is already there stays.

    Parameters
    ----------
    static
        Folder whose scripts and styles every page loads: gets ``umd-viewer.js`` and ``.css``.
    extra
        Folder loaded on demand: gets ``vendor/`` with NiiVue, its licence and its provenance.

    Returns
    -------
    list of Path
        The files, written or found.

    Raises
    ------
    InputError
        If the packed NiiVue is not the one whose hash is recorded.
    """
    vendor = ASSETS / "vendor"
    record = json.loads((vendor / "niivue-0.69.0.json").read_text("utf-8"))
    engine = gzip.decompress((vendor / f"{NIIVUE}.gz").read_bytes())
    found = hashlib.sha256(engine).hexdigest()
    if found != record["sha256"]:
        raise InputError(f"SHA-256 of {NIIVUE} is {found}. Must be {record['sha256']}.")
    files = {Path(extra) / "vendor" / NIIVUE: engine}
    for name in ("niivue-0.69.0.LICENSE.txt", "niivue-0.69.0.json"):
        files[Path(extra) / "vendor" / name] = (vendor / name).read_bytes()
    for name in ("umd-viewer.js", "umd-viewer.css"):
        files[Path(static) / name] = (ASSETS / name).read_bytes()
    for path, content in files.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return list(files)


def _check_pane(pane: Pane, structures: tuple[Structure, ...]) -> None:
    """Masks and reference lie on the image's grid and name known structures."""
    labels.modality(pane.modality)
    if pane.reference is not None and pane.reference.shape != pane.image.shape:
        raise InputError(
            f"Shape {pane.reference.shape} of {pane.reference.name} differs from "
            f"{pane.image.shape} of {pane.image.name}."
        )
    for prediction in pane.predictions:
        for name, mask in prediction.masks.items():
            labels.structure(name, structures)
            if mask.shape != pane.image.shape:
                raise InputError(
                    f"Shape {mask.shape} of '{name}' by '{prediction.segmenter}' differs from "
                    f"{pane.image.shape} of {pane.image.name}."
                )


def _build(pair: Pair) -> _Built:
    """Reduce, code and describe all volumes of a pair."""
    low, high = webvolumes.common_field([p.image for p in pair.panes])
    volumes: dict[str, str] = {}
    built = [_build_pane(pair, pane, low, high, volumes) for pane in pair.panes]
    centre = _centre(pair, built, (low + high) / 2)
    stills = [_still(pair, pane, b) for pane, b in zip(pair.panes, built, strict=True)]
    segmenter = pair.segmenter or (pair.segmenters or ("",))[0]
    config = {
        "title": pair._title,
        "structures": [
            {"name": s.name, "title": s.title, "colour": s.colour} for s in pair.structures
        ],
        "segmenters": [{"name": n, "title": pair.titles.get(n, n)} for n in pair.segmenters],
        "bytes": np.dtype(webvolumes.bit_type(len(pair.structures))).itemsize,
        "difference": DIFFERENCE,
        "start": {
            "structure": pair.structure, "segmenter": segmenter, "step": pair.step,
            "overlay": pair.overlay, "xyz": [round(float(c), 1) for c in centre],
        },
        "panes": [b.config for b in built],
    }  # fmt: skip
    config["first"] = sorted({n for b in built for n in b.first})
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:10]
    config["name"] = pair.name or f"umd-{digest}"
    return _Built(config, volumes, posters.poster(stills, centre), _note(pair, built))


@dataclass(frozen=True)
class _BuiltPane:
    """One image on its published grid, with its bit volumes."""

    config: dict
    data: np.ndarray
    affine: np.ndarray
    reference: np.ndarray | None
    prediction: np.ndarray | None
    clicks: tuple[Click, ...]
    first: tuple[str, ...]


def _build_pane(pair: Pair, pane: Pane, low, high, volumes: dict[str, str]) -> _BuiltPane:
    """Cut, average and code one image and its masks into `volumes`."""
    image = pane.image
    cut = webvolumes.field_slices(image.affine, image.shape, low, high)
    factors = webvolumes.block_factors(image.spacing_mm, pair.spacing_mm)
    affine = webvolumes.block_affine(webvolumes.shifted(image.affine, cut), factors)
    data = webvolumes.block_mean(image.data[cut], factors)
    span = webvolumes.byte_range(data, image.unit)

    def keep(content: bytes) -> str:
        name, coded = webvolumes.packed(content)
        volumes[name] = coded
        return name

    def bits(masks: list[np.ndarray | None]) -> np.ndarray:
        small = [None if m is None else webvolumes.block_mask(m[cut], factors) for m in masks]
        return webvolumes.bit_volume(small, data.shape)

    image_name = keep(webvolumes.nifti_bytes(data, affine, span))
    reference = None
    if pane.reference is not None:
        reference = bits([pane.reference.data == s.value for s in pair.structures])
    reference_name = None if reference is None else keep(_little(reference))
    segmenter = pair.segmenter or (pair.segmenters or ("",))[0]
    shown, shown_name, clicks, records = None, None, (), []
    for prediction in pane.predictions:
        volume = bits([prediction.masks.get(s.name) for s in pair.structures])
        name = keep(_little(volume))
        records.append(_prediction_record(prediction, pair.structures, name))
        if (prediction.segmenter, prediction.step) == (segmenter, pair.step):
            shown, shown_name = volume, name
            clicks = tuple(
                c for s, given in prediction.clicks.items() for c in given
                if s == (pair.structure or s)
            )  # fmt: skip
    config = {
        "modality": pane.modality, "title": pane.title or pane.modality, "unit": image.unit,
        "image": image_name, "span": [round(float(v), 6) for v in span],
        "window": [round(float(v), 4) for v in posters.window(pane.modality, data)],
        "reference": reference_name, "predictions": records,
    }  # fmt: skip
    first = tuple(n for n in (image_name, reference_name, shown_name) if n)
    return _BuiltPane(config, data, affine, reference, shown, clicks, first)


def _prediction_record(
    prediction: Prediction, structures: tuple[Structure, ...], name: str
) -> dict:
    """What the script knows of one prediction; a DSC that is undefined is null."""
    dice = [float(prediction.dice.get(s.name, np.nan)) for s in structures]
    return {
        "segmenter": prediction.segmenter,
        "step": prediction.step,
        "bits": name,
        "dice": [round(d, 4) if np.isfinite(d) else None for d in dice],
        "clicks": {
            s: [[*(round(float(v), 2) for v in c.xyz_mm), int(c.positive)] for c in given]
            for s, given in prediction.clicks.items()
        },
    }


def _centre(pair: Pair, built: list[_BuiltPane], otherwise: np.ndarray) -> np.ndarray:
    """Where the crosshair starts: the first click shown, else the middle of the first structure."""
    for pane in built:
        if pair.structure and pane.clicks:
            return np.asarray(pane.clicks[0].xyz_mm, float)
    wanted = [b for b, s in enumerate(pair.structures) if pair.structure in ("", s.name)]
    for bit in wanted:
        for pane in built:
            inside = () if pane.reference is None else np.argwhere(pane.reference >> bit & 1)
            if len(inside):
                middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
                return geometry.to_world(pane.affine, middle)
    return otherwise


def _still(pair: Pair, pane: Pane, built: _BuiltPane) -> posters.Still:
    """The poster's half: the same overlay as the viewer starts with."""
    colours = overlay_colours(
        built.reference, built.prediction, pair.structures,
        overlay=pair.overlay, structure=pair.structure, shape=built.data.shape,
    )  # fmt: skip
    return posters.Still(
        pane.modality, built.data, built.affine, colours, built.clicks, pane.title or pane.modality
    )


def overlay_colours(
    reference: np.ndarray | None,
    prediction: np.ndarray | None,
    structures: tuple[Structure, ...],
    *,
    overlay: str,
    structure: str,
    shape: tuple[int, int, int],
    opacity: float = 0.55,
) -> np.ndarray:
    """RGBA of an overlay; the script of the page follows the same rule.

    Where masks of several structures overlap, the one with the fewest voxels is shown. In the
    difference of all structures, a voxel that misses one structure and adds another is "both".

    Parameters
    ----------
    reference, prediction
        Bit volumes (I, J, K), or None.
    structures
        In the order of the bits.
    overlay
        One of `OVERLAYS`.
    structure
        Name, or ``""`` for all.
    shape
        (I, J, K) of the result.
    opacity
        0 to 1.

    Returns
    -------
    numpy.ndarray
        (I, J, K, 4) uint8.
    """
    result = np.zeros((*shape, 4), np.uint8)
    alpha = round(255 * opacity)
    bits = [b for b, s in enumerate(structures) if structure in ("", s.name)]
    mask = sum(1 << b for b in bits)
    if overlay == "difference" and reference is not None and prediction is not None:
        wanted, found = reference & mask, prediction & mask
        missed, added = wanted & ~found, found & ~wanted
        for rule, key in (
            ((wanted & found) > 0, "agree"), (missed > 0, "missed"), (added > 0, "added"),
            ((missed > 0) & (added > 0), "both"),
        ):  # fmt: skip
            result[rule] = (*_rgb(DIFFERENCE[key]), alpha)
    shown = {"reference": reference, "prediction": prediction}.get(overlay)
    if shown is not None:
        sizes = {b: int(np.count_nonzero(shown >> b & 1)) for b in bits}
        for b in sorted(bits, key=lambda b: (-sizes[b], b)):
            result[(shown >> b & 1) > 0] = (*_rgb(structures[b].colour), alpha)
    return result


def _rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of ``#rrggbb``."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _little(volume: np.ndarray) -> bytes:
    """Voxels in NIfTI order, lowest byte first."""
    return volume.astype(volume.dtype.newbyteorder("<")).tobytes(order="F")


def _note(pair: Pair, built: list[_BuiltPane]) -> str:
    """How the published volumes differ from the images, for the caption."""
    grids = "; ".join(
        f"{p.title or p.modality} {' × '.join(f'{s:.3g}' for s in geometry.spacing_mm(b.affine))} mm"
        for p, b in zip(pair.panes, built, strict=True)
    )
    return (
        f"Radiological convention. Shown on a reduced grid ({grids}; 8 bits), cut to the body in "
        "the field that the images share; scores are from the full images."
    )


def _png_size(content: bytes) -> tuple[int, int]:
    """Width and height from a PNG's header."""
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
