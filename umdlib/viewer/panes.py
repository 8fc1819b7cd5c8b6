"""Panes: one image with its reference, predictions and clicks, and what it comes to on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from umdlib import labels
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts.prompt import Click
from umdlib.viewer import web_volumes as webvolumes
from umdlib.viewer import windows


@dataclass(frozen=True)
class Prediction:
    """Masks of one segmenter for one image at one step.

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


def check_pane(pane: Pane, structures: tuple[Structure, ...]) -> None:
    """Raise InputError unless masks lie on the image's grid and name known structures."""
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


@dataclass(frozen=True)
class BuiltPane:
    """One image on its page grid.

    Attributes
    ----------
    config
        Configuration of the script.
    data, affine
        (I, J, K) intensities and (4, 4) of the page grid.
    reference, prediction
        Bit volumes of what is shown first, or None.
    clicks
        Shown first.
    volumes
        Name to packed content of every file.
    first
        Names of the files that opening the viewer loads.
    """

    config: dict
    data: np.ndarray
    affine: np.ndarray
    reference: np.ndarray | None
    prediction: np.ndarray | None
    clicks: tuple[Click, ...]
    volumes: dict[str, str]
    first: tuple[str, ...]


def build_pane(
    pane: Pane,
    structures: tuple[Structure, ...],
    field_mm: tuple[np.ndarray, np.ndarray],
    *,
    spacing_mm: float,
    first: tuple[str, int],
    structure: str = "",
) -> BuiltPane:
    """Cut one image and its masks to `field_mm` (two corners, RAS+), average to about `spacing_mm`, and code them."""
    image = pane.image
    low, high = field_mm
    volumes: dict[str, str] = {}
    cut = webvolumes.field_slices(image.affine, image.shape, low, high)
    reduction = webvolumes.reduction(image.spacing_mm, spacing_mm)
    affine = reduction.affine(webvolumes.shifted(image.affine, cut))
    data = webvolumes.without_air(reduction.mean(image.data[cut]), affine, image.unit)
    span = webvolumes.byte_range(data, image.unit)

    def keep(content: bytes) -> str:
        name, coded = webvolumes.packed(content)
        volumes[name] = coded
        return name

    def bits(masks: list[np.ndarray | None]) -> np.ndarray:
        small = [None if m is None else reduction.mask(m) for m in masks]
        return webvolumes.bit_volume(small, data.shape)

    image_name = keep(webvolumes.nifti_bytes(data, affine, span))
    reference = None
    if pane.reference is not None:
        values = pane.reference.data[cut]
        reference = bits([values == s.value for s in structures])
    reference_name = None if reference is None else keep(_little(reference))
    shown, shown_name, clicks, records = None, None, (), []
    chosen = _shown_first(pane.predictions, *first)
    for prediction in pane.predictions:
        masks = [prediction.masks.get(s.name) for s in structures]
        volume = bits([None if m is None else m[cut] for m in masks])
        name = keep(_little(volume))
        records.append(_prediction_record(prediction, structures, name))
        if prediction is chosen:
            shown, shown_name = volume, name
            clicks = tuple(
                c for s, given in prediction.clicks.items() for c in given if s == (structure or s)
            )
    config = {
        "modality": pane.modality,
        "title": pane.title or pane.modality,
        "unit": image.unit,
        "image": image_name,
        "clipped": bool(data.max() > span[1]),
        "span": [round(float(v), 6) for v in span],
        "window": [round(float(v), 4) for v in windows.window(image.unit, data)],
        "suited": {
            name: suited[image.unit] for name, suited in windows.SUITED.items() if image.unit in suited
        },
        "reference": reference_name,
        "predictions": records,
    }
    initial = tuple(n for n in (image_name, reference_name, shown_name) if n)
    return BuiltPane(config, data, affine, reference, shown, clicks, volumes, initial)


def _shown_first(predictions: tuple[Prediction, ...], segmenter: str, step: int) -> Prediction | None:
    """A segmenter's prediction at a step, or at the last one before it, as the page chooses."""
    own = [p for p in predictions if p.segmenter == segmenter and p.step <= step]
    return max(own, key=lambda p: p.step, default=None)


def _prediction_record(prediction: Prediction, structures: tuple[Structure, ...], name: str) -> dict:
    """Record of one prediction for the script; a DSC that is undefined is null."""
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


def _little(volume: np.ndarray) -> bytes:
    """Voxels in NIfTI order, lowest byte first."""
    return volume.astype(volume.dtype.newbyteorder("<")).tobytes(order="F")
