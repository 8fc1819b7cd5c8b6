"""Planted faults: what a perfect segmenter's column looks like when its adapter is wired wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from umdlib.canaries import checks as canaries
from umdlib.labels import ORGANS
from umdlib.metrics.masks import dice
from umdlib.segmenters.systems.vista3d import CLASSES

Masks = Mapping[str, np.ndarray]

# Centre (share of the field's width, depth and height) and half axes (mm) of an adult's organs:
# crude ellipsoids, enough to tell one from another.
BODY: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "liver": ((0.36, 0.50, 0.56), (75, 65, 65)),
    "kidney_left": ((0.62, 0.64, 0.48), (25, 25, 52)),
    "kidney_right": ((0.38, 0.64, 0.46), (25, 25, 52)),
    "brain": ((0.5, 0.5, 0.92), (65, 80, 60)),
    "heart": ((0.54, 0.42, 0.67), (48, 42, 52)),
    "spleen": ((0.69, 0.60, 0.56), (24, 38, 48)),
    "aorta": ((0.51, 0.58, 0.60), (11, 11, 130)),
    "lung": ((0.5, 0.5, 0.73), (130, 70, 40)),
    "colon": ((0.5, 0.40, 0.36), (95, 28, 45)),
    "urinary_bladder": ((0.5, 0.46, 0.17), (38, 34, 34)),
    "pancreas": ((0.52, 0.50, 0.51), (55, 15, 16)),
    "esophagus": ((0.5, 0.56, 0.70), (8, 8, 110)),
    "stomach": ((0.60, 0.42, 0.57), (38, 36, 48)),
}
FIELD_MM = (420.0, 300.0, 960.0)
SPACING_MM = 10.0


def body(rng: np.random.Generator, *, spacing_mm: float = SPACING_MM) -> dict[str, np.ndarray]:
    """References of one subject: ellipsoids that vary in size (8 %) and place (4 mm)."""
    shape = tuple(int(f / spacing_mm) for f in FIELD_MM)
    grid = (np.indices(shape).reshape(3, -1).T + 0.5) * spacing_mm
    masks = {}
    for name, (centre, axes) in BODY.items():
        where = np.array(centre) * FIELD_MM + rng.normal(0, 4, 3)
        size = np.array(axes) * rng.lognormal(0, 0.08, 3)
        masks[name] = ((((grid - where) / size) ** 2).sum(axis=1) <= 1).reshape(shape)
    return masks


def answered(references: Masks, asked: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A perfect class-prompted system's masks where each structure is asked for by some ids.

    The ids are VISTA3D's; an id that stands for no structure of the body gives an empty mask.
    """
    by_id = {i: references[name] for name, ids in CLASSES.items() for i in ids}
    empty = np.zeros_like(next(iter(references.values())))
    return {name: np.logical_or.reduce([by_id.get(i, empty) for i in ids]) for name, ids in asked.items()}


def right(references: Masks) -> dict[str, np.ndarray]:
    """Everything as it should be."""
    return answered(references, CLASSES)


def own_numbers(references: Masks) -> dict[str, np.ndarray]:
    """The cohort's label values (1 to 13) are given as class ids."""
    return answered(references, {s.name: (s.value,) for s in ORGANS})


def super_classes(references: Masks) -> dict[str, np.ndarray]:
    """The untrained super-classes are asked for: 2 for the kidneys, 20 for the lung."""
    return answered(references, {**CLASSES, "kidney_left": (2,), "kidney_right": (2,), "lung": (20,)})


def identity_affine(references: Masks) -> dict[str, np.ndarray]:
    """Masks on a cropped grid, read back without the crop's offset."""
    body_mask = np.logical_or.reduce(list(references.values()))
    start = np.argwhere(body_mask).min(axis=0)
    return {n: _moved_to_origin(m, start) for n, m in references.items()}


def flipped(references: Masks) -> dict[str, np.ndarray]:
    """Masks whose first axis was not turned back."""
    return {n: m[::-1] for n, m in references.items()}


def nothing_loaded(references: Masks) -> dict[str, np.ndarray]:
    """The checkpoint's names did not match and the network answers with nothing."""
    return {n: np.zeros_like(m) for n, m in references.items()}


FAULTS: dict[str, Callable[[Masks], dict[str, np.ndarray]]] = {
    "as it should be": right,
    "own label values as class ids": own_numbers,
    "untrained super-classes": super_classes,
    "crop offset lost": identity_affine,
    "left and right flipped": flipped,
    "no weights loaded": nothing_loaded,
}


def columns(*, n_subjects: int = 3, seed: int = 0) -> pd.DataFrame:
    """Mean DSC per structure (rows) under each planted fault (columns), of a perfect system.

    Empty predictions score 0; the segmenter itself makes no error, so that what is lost is lost
    by the wiring.
    """
    subjects = _subjects(n_subjects, seed)
    return pd.DataFrame(
        {
            fault: pd.DataFrame([{n: dice(p, r[n]) for n, p in plant(r).items()} for r in subjects]).mean()
            for fault, plant in FAULTS.items()
        }
    )


def verdicts(*, n_subjects: int = 3, seed: int = 0) -> pd.DataFrame:
    """What the canaries say of each planted fault: columns planted, named, detail."""
    subjects = _subjects(n_subjects, seed)
    rows = []
    for fault, plant in FAULTS.items():
        found = canaries.check_masks([plant(r) for r in subjects], subjects, fault)
        rows.append(
            {
                "planted": fault,
                "named": ", ".join(f.fault for f in found) or "no alarm",
                "detail": " ".join(f.detail for f in found),
            }
        )
    return pd.DataFrame(rows)


def _subjects(n_subjects: int, seed: int) -> list[dict[str, np.ndarray]]:
    """References of some subjects."""
    rng = np.random.default_rng(seed)
    return [body(rng) for _ in range(n_subjects)]


def _moved_to_origin(mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The part of a mask from `start` on, put at the origin."""
    out = np.zeros_like(mask)
    part = mask[tuple(slice(s, None) for s in start)]
    out[tuple(slice(0, n) for n in part.shape)] = part
    return out
