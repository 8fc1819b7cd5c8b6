"""Viewers: a subject's images side by side with masks and clicks, on a page without a server."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from umdlib import labels
from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.labels import ORGANS, Structure
from umdlib.viewer import answers, overlays, panes, posters, vendored, windows
from umdlib.viewer import web_volumes as webvolumes
from umdlib.viewer.answers import BrowserNetwork
from umdlib.viewer.panes import BuiltPane, Pane, Prediction
from umdlib.viewer.slices import Scene

__all__ = ["Pair", "Pane", "Prediction", "install"]

ASSETS = vendored.ASSETS
NIIVUE = "niivue-0.69.0.umd.js"
DETAIL_MM = 2.0  # spacing of a crop around a structure
_FINE_MM, _MARGIN_MM = 3.6, 20.0  # images coarser than this have no crop; what it shows beyond the structure
ON_DEMAND = ("umd-answers.js", "umd-surfaces.js")  # loaded with networks or surfaces
# Joined in this order into the one script that a page loads: the second calls the first.
_SCRIPTS = ("umd-masks.js", "umd-viewer.js")


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
        ``"none"``, ``"reference"``, ``"prediction"`` or ``"difference"``: filled.
    outline
        ``"none"``, ``"reference"``, ``"prediction"`` or ``"both"``: lines in the viewer.
    spacing_mm
        Spacing aimed at on the page: whole voxels are averaged until they come nearest to it.
    titles
        Segmenter name to the name shown.
    step_title
        What the slider counts.
    networks
        Networks that answer clicks in the page, without a server; on a site only.
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
    outline: str = "none"
    spacing_mm: float = 4.0
    titles: Mapping[str, str] = field(default_factory=dict)
    step_title: str = "Corrective clicks"
    networks: tuple[BrowserNetwork, ...] = ()

    def __post_init__(self):
        """Check panes, overlay, structure and segmenter."""
        if not 1 <= len(self.panes) <= 2:
            raise InputError(f"{len(self.panes)} panes in a viewer. It shows one or two.")
        if self.overlay not in overlays.OVERLAYS:
            raise unknown_name("overlay", self.overlay, overlays.OVERLAYS)
        if self.outline not in overlays.OUTLINES:
            raise unknown_name("outline", self.outline, overlays.OUTLINES)
        if self.structure:
            labels.structure(self.structure, self.structures)
        if self.segmenter and self.segmenter not in self.segmenters:
            raise unknown_name("segmenter", self.segmenter, self.segmenters)
        for pane in self.panes:
            panes.check_pane(pane, self.structures)

    @property
    def segmenters(self) -> tuple[str, ...]:
        """Names in the order of the predictions, then those of networks that answer in the page."""
        shown = [p.segmenter for pane in self.panes for p in pane.predictions]
        return tuple(dict.fromkeys([*shown, *(n.name for n in self.networks)]))

    def write(self, assets: str | Path, *, root: str = "../umd/", poster: bool = True) -> str:
        """Write the files that the page loads on demand, and return the figure.

        Parameters
        ----------
        assets
            Folder that the site publishes as `root`; gets ``volumes/<hash>.js`` and
            ``posters/<hash>.webp``, named by content, so that a second run writes nothing.
        root
            Address of `assets` as seen from the page.
        poster
            Whether the figure has a picture before it is opened.

        Returns
        -------
        str
            HTML of one ``<figure>``.
        """
        assets = Path(assets)
        for name, coded in self._built.volumes.items():
            webvolumes.write_script(assets / "volumes", name, coded)
        if not poster:
            return self._figure("", root)
        picture = posters.webp(self._built.poster)
        name = f"{hashlib.sha256(picture).hexdigest()[:16]}.webp"
        webvolumes.write_once(assets / "posters" / name, picture)
        return self._figure(f"{root}posters/{name}", root)

    def inline(self, *, height: int = 820) -> str:
        """The same viewer as one frame that holds all it needs, for JupyterLab.

        Parameters
        ----------
        height
            Of the frame in pixels.
        """
        if self.networks:  # a frame would hold megabytes that nobody may ask for
            return replace(self, networks=()).inline(height=height)
        source = "data:image/png;base64," + base64.b64encode(posters.png(self._built.poster)).decode("ascii")
        volumes = json.dumps(self._built.volumes)
        engine = base64.b64encode(vendored.packed(NIIVUE)).decode("ascii")
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(self._title)}</title>"
            f"<style>{(ASSETS / 'umd-viewer.css').read_text('utf-8')}body{{margin:0}}</style>"
            f"<body>{self._figure(source, '')}"
            f'<script>self.UMD_VOLUMES={volumes};self.UMD_ENGINE="{engine}";</script>'
            f"<script>{(ASSETS / ON_DEMAND[1]).read_text('utf-8')}\n{script()}</script></body></html>"
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
            bundle["image/png"] = base64.b64encode(posters.png(self._built.poster)).decode("ascii")
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
        """The figure: poster (none for an empty address), button, caption, and what the script needs to know."""
        built, picture = self._built, ""
        if poster:
            width, height = built.poster.size
            picture = (
                f'<img src="{poster}" alt="{html.escape(self.alt)}" width="{width}" height="{height}" '
                'loading="lazy" decoding="async">'
            )
        size = f"{self.download_mb + 2.3:.1f} MB"
        config = json.dumps(built.config, separators=(",", ":")).replace("<", "\\u003c")
        caption = html.escape(" ".join(t for t in (self.caption, built.note) if t))
        return (
            f'<figure class="umd-viewer" id="{built.config["name"]}" data-umd-root="{root}">'
            f'<div class="umd-poster">{picture}'
            f'<button type="button" class="umd-open">Open the 3D viewer ({size})</button></div>'
            f"<figcaption>{caption}</figcaption>"
            f'<script type="application/json">{config}</script></figure>'
        )


@dataclass(frozen=True)
class _Built:
    """What a pair comes to: the script's configuration, packed volumes, what the poster shows, and note."""

    config: dict
    volumes: dict[str, str]
    stills: list[posters.Still]
    centre: np.ndarray
    side_mm: float
    note: str

    @functools.cached_property
    def poster(self) -> Image.Image:
        """What stands on the page before the viewer is opened."""
        return posters.poster(self.stills, self.centre, side_mm=self.side_mm)


def script() -> str:
    """The viewer's script, as a page loads it."""
    return "\n".join((ASSETS / name).read_text("utf-8") for name in _SCRIPTS)


def install(static: str | Path, extra: str | Path) -> list[Path]:
    """Copy the viewer's files to where a book serves them; what is already there stays.

    Parameters
    ----------
    static
        Folder whose scripts and styles every page loads: gets ``umd-viewer.js`` and ``.css``.
    extra
        Folder loaded on demand: gets the scripts of `ON_DEMAND`, and ``vendor/`` with NiiVue,
        onnxruntime-web, their licences and their provenance.

    Returns
    -------
    list of Path
        The files, written or found.

    Raises
    ------
    InputError
        If a packed library is not the one whose hash is recorded.
    """
    vendor = Path(extra) / "vendor"
    files = {vendor / NIIVUE: vendored.content(NIIVUE, vendored.record("niivue-0.69.0")["sha256"])}
    files |= {Path(extra) / name: (ASSETS / name).read_bytes() for name in ON_DEMAND}
    files[vendor / f"{answers.RUNTIME}.js"] = answers.runtime_script().encode("ascii")
    for path in sorted((ASSETS / "vendor").iterdir()):
        if path.name.endswith((".LICENSE.txt", ".notices.txt.gz", ".json")):
            files[vendor / path.name] = path.read_bytes()
    files[Path(static) / "umd-viewer.js"] = script().encode()
    files[Path(static) / "umd-viewer.css"] = (ASSETS / "umd-viewer.css").read_bytes()
    for path, content in files.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return list(files)


def _build(pair: Pair) -> _Built:
    """Reduce, code and describe all volumes of a pair."""
    low, high = webvolumes.common_field([p.image for p in pair.panes])
    segmenter = pair.segmenter or (pair.segmenters or ("",))[0]
    built = [
        panes.build_pane(
            pane,
            pair.structures,
            (low, high),
            spacing_mm=pair.spacing_mm,
            first=(segmenter, pair.step),
            structure=pair.structure,
        )
        for pane in pair.panes
    ]
    details = _details(pair, built, (segmenter, pair.step))
    volumes = {name: coded for b in [*built, *details] for name, coded in b.volumes.items()}
    centre = _centre(pair, built, (low + high) / 2)
    stills = [_still(pair, pane, b) for pane, b in zip(pair.panes, built, strict=True)]
    titles = {n.name: n.title for n in pair.networks} | dict(pair.titles)
    config = {
        "title": pair._title,
        "structures": [{"name": s.name, "title": s.title, "colour": s.colour} for s in pair.structures],
        "segmenters": [{"name": n, "title": titles.get(n, n)} for n in pair.segmenters],
        "bytes": np.dtype(webvolumes.bit_type(len(pair.structures))).itemsize,
        "difference": overlays.DIFFERENCE,
        "step_title": pair.step_title,
        "start": {
            "structure": pair.structure,
            "segmenter": segmenter,
            "step": pair.step,
            "overlay": pair.overlay,
            "outline": pair.outline,
            "xyz": [round(float(c), 1) for c in centre],
        },
        "panes": [b.config for b in built],
    }
    config["first"] = sorted({n for b in built for n in b.first})
    if details:
        config["details"] = [d.config for d in details]
        config["details_of"] = pair._structure_title(pair.structure).lower()
        config["details_mb"] = round(sum(len(c) for d in details for c in d.volumes.values()) / 1e6, 1)
    if pair.networks:
        config["networks"], files = answers.described(
            pair.networks, [p.image for p in pair.panes], config["panes"]
        )
        volumes |= files
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:10]
    config["name"] = pair.name or f"umd-{digest}"
    return _Built(config, volumes, stills, centre, _side(pair, built, centre), _note(pair, built))


def _details(pair: Pair, built: list[BuiltPane], first: tuple[str, int]) -> list[BuiltPane]:
    """The surroundings of the structure shown first at `DETAIL_MM`, of images that the page's grid coarsens."""
    details = []
    bits = [b for b, s in enumerate(pair.structures) if pair.structure == s.name]
    for pane, body in zip(pair.panes, built, strict=True):
        spacing = max(DETAIL_MM, min(pane.image.spacing_mm))
        coarser = min(geometry.spacing_mm(body.affine)) > 1.1 * spacing
        if spacing > _FINE_MM or not coarser or not bits or body.reference is None:
            continue
        inside = geometry.to_world(body.affine, np.argwhere(body.reference >> bits[0] & 1))
        if not len(inside):
            continue
        around = inside.min(axis=0) - _MARGIN_MM, inside.max(axis=0) + _MARGIN_MM
        name = pair._structure_title(pair.structure).lower()
        near = replace(pane, title=f"{pane.title or pane.modality}, {spacing:.2g} mm around the {name}")
        options = {"spacing_mm": DETAIL_MM, "first": first, "structure": pair.structure}
        details.append(panes.build_pane(near, pair.structures, around, **options))
    return details


def _centre(pair: Pair, built: list[BuiltPane], otherwise: np.ndarray) -> np.ndarray:
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


def _still(pair: Pair, pane: Pane, built: BuiltPane) -> posters.Still:
    """The poster's half: the same overlay as the viewer starts with."""
    colours = overlays.overlay_colours(
        built.reference,
        built.prediction,
        pair.structures,
        overlay=pair.overlay,
        structure=pair.structure,
        shape=built.data.shape,
    )
    image = replace(pane.image, data=built.data, affine=built.affine)
    window = windows.window(image.unit, image.data, pair.structure)
    scene = Scene(image, fill=colours, clicks=built.clicks, window=window)
    return posters.Still(pane.modality, scene, pane.title)


def _side(pair: Pair, built: list[BuiltPane], centre: np.ndarray) -> float:
    """Side (mm) of the square around a point that holds the structure shown; 0 for all structures."""
    bits = [b for b, s in enumerate(pair.structures) if pair.structure == s.name]
    for pane in built:
        for bit in bits if pane.reference is not None else ():
            inside = geometry.to_world(pane.affine, np.argwhere(pane.reference >> bit & 1))
            if len(inside):
                reach = np.abs(inside[:, :2] - np.asarray(centre)[:2]).max()
                return float(np.clip(2.6 * reach, 200, 420))
    return 0.0


def _note(pair: Pair, built: list[BuiltPane]) -> str:
    """How the published volumes differ from the images, for the caption."""
    sizes = [" × ".join(f"{s:.3g}" for s in geometry.spacing_mm(b.affine)) for b in built]
    names = [p.title or p.modality for p in pair.panes]
    grids = "; ".join(f"{n} {s} mm" for n, s in zip(names, sizes, strict=True))
    scores = ", on which answers are scored" if pair.networks else ""
    return f"Radiological convention. Shown on a reduced grid ({grids}; 8 bits){scores}."
