"""Faults on purpose: what a wrongly wired column looks like, and how far clean runs stay from thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import scipy

from umdlib.canaries import checks as canaries
from umdlib.images.masks import bounding_boxes
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
    axes_mm = [(np.arange(int(f / spacing_mm)) + 0.5) * spacing_mm for f in FIELD_MM]
    masks = {}
    for name, (centre, axes) in BODY.items():
        where = np.array(centre) * FIELD_MM + rng.normal(0, 4, 3)
        size = np.array(axes) * rng.lognormal(0, 0.08, 3)
        x, y, z = (((a - w) / s) ** 2 for a, w, s in zip(axes_mm, where, size, strict=True))
        masks[name] = x[:, None, None] + y[:, None] + z <= 1
    return masks


def _answers(references: Masks, ids_of: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A perfect class-prompted system's masks where each structure is prompted by some ids.

    The ids are VISTA3D's; an id of no structure in the body gives an empty mask.
    """
    by_id = {i: references[name] for name, ids in CLASSES.items() for i in ids}
    empty = np.zeros_like(next(iter(references.values())))
    return {name: np.logical_or.reduce([by_id.get(i, empty) for i in ids]) for name, ids in ids_of.items()}


def right(references: Masks) -> dict[str, np.ndarray]:
    """Everything as it should be."""
    return _answers(references, CLASSES)


def _own_numbers(references: Masks) -> dict[str, np.ndarray]:
    """The cohort's label values (1 to 13) are given as class ids."""
    return _answers(references, {s.name: (s.value,) for s in ORGANS})


def _super_classes(references: Masks) -> dict[str, np.ndarray]:
    """The untrained super-classes are prompted: 2 for the kidneys, 20 for the lung."""
    return _answers(references, {**CLASSES, "kidney_left": (2,), "kidney_right": (2,), "lung": (20,)})


def _identity_affine(references: Masks) -> dict[str, np.ndarray]:
    """Masks on a cropped grid, read back without the crop's offset."""
    body_mask = np.logical_or.reduce(list(references.values()))
    start = np.argwhere(body_mask).min(axis=0)
    return {n: _moved_to_origin(m, start) for n, m in references.items()}


def flipped(references: Masks) -> dict[str, np.ndarray]:
    """Masks whose first axis was not turned back."""
    return {n: m[::-1] for n, m in references.items()}


def _nothing_loaded(references: Masks) -> dict[str, np.ndarray]:
    """The checkpoint's names did not match and the network's masks are empty."""
    return {n: np.zeros_like(m) for n, m in references.items()}


FAULTS: dict[str, Callable[[Masks], dict[str, np.ndarray]]] = {
    "as it should be": right,
    "own label values as class ids": _own_numbers,
    "untrained super-classes": _super_classes,
    "crop offset lost": _identity_affine,
    "left and right flipped": flipped,
    "no weights loaded": _nothing_loaded,
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
    """Findings of the canaries for each planted fault: columns planted, named, detail."""
    subjects = _subjects(n_subjects, seed)
    rows = []
    for fault, plant in FAULTS.items():
        found = canaries.check_masks([plant(r) for r in subjects], subjects, fault)
        named = ", ".join(f.fault for f in found) or "no alarm"
        rows.append({"planted": fault, "named": named, "detail": " ".join(f.detail for f in found)})
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


Segmenter = Callable[[Masks, np.random.Generator], dict[str, np.ndarray]]


def exact(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The references themselves."""
    return dict(references)


def uneven(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask moved by about a voxel, and grown or shrunk."""
    return {n: _moved(m, rng.normal(0, 0.7, 3), rng.uniform(0.3, 0.7)) for n, m in references.items()}


def _unreliable(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """As `uneven`, and one mask in five is empty."""
    return {n: m if rng.random() < 0.8 else np.zeros_like(m) for n, m in uneven(references, rng).items()}


def leaky(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask grown by 10 to 20 mm, over its neighbours."""
    return {
        n: scipy.ndimage.binary_dilation(m, iterations=int(rng.integers(1, 3))) for n, m in references.items()
    }


def shrunk(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask shrunk by a voxel where something stays."""
    smaller = {n: scipy.ndimage.binary_erosion(m) for n, m in references.items()}
    return {n: m if m.any() else references[n] for n, m in smaller.items()}


def cropped(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask cut to a cube of 130 mm around a random voxel of its own, as a click's crop."""
    return {n: _near(m, rng, 65.0) for n, m in references.items()}


def _round_guess(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A ball of 30 mm around a random voxel of the structure, whatever its shape."""
    return {n: _ball(m, rng, 30.0) for n, m in references.items()}


_CLEAN: dict[str, Segmenter] = {
    "exact": exact,
    "uneven": uneven,
    "unreliable": _unreliable,
    "leaky": leaky,
    "shrunk": shrunk,
    "cropped": cropped,
    "round guess": _round_guess,
}


def simulate(
    *, n_runs: int = 10, n_subjects: int = 3, spacing_mm: float = 10.0, seed: int = 0
) -> pd.DataFrame:
    """Clean runs of seven kinds of segmenter, and runs of an uneven one under each planted fault.

    Parameters
    ----------
    n_runs
        Cohorts per kind; each has its own bodies.
    n_subjects
        Per cohort: few, since chance does most there.
    spacing_mm
        Of the simulated grids.
    seed
        Of the generator.

    Returns
    -------
    pandas.DataFrame
        One row per run: `kind`, `wired` (``right``, or the fault), `alarms` (joined by commas),
        and what the thresholds are compared with: `turned` and `swapped`, by how much another
        reading fits better (DSC); `alike`, the smallest Dice over subjects of the two most alike
        masks that leave one of their references untouched.
    """
    rows = []
    rng = np.random.default_rng(seed)
    kinds = [(k, "right", s, right) for k, s in _CLEAN.items()]
    kinds += [("uneven", f, uneven, plant) for f, plant in FAULTS.items() if plant is not right]
    for kind, wired, segmenter, plant in kinds:
        for _ in range(n_runs):
            references = [body(rng, spacing_mm=spacing_mm) for _ in range(n_subjects)]
            masks = [plant(segmenter(r, rng)) for r in references]
            found = canaries.check_masks(masks, references, kind)
            about = {"kind": kind, "wired": wired, "alarms": ", ".join(f.fault for f in found)}
            rows.append(about | distances(masks, references))
    return pd.DataFrame(rows)


def distances(predictions: list[Masks], references: list[Masks]) -> dict[str, float]:
    """Values of one run that the thresholds of `umdlib.canaries` are compared with."""
    pairs = [(p[n], r[n]) for p, r in zip(predictions, references, strict=True) for n in r]
    observed, best = canaries.readings(pairs)
    matrices = [canaries.wiring_matrix(p, r) for p, r in zip(predictions, references, strict=True)]
    return {
        "turned": max(best - observed, 0.0) if best >= canaries.LEAST else 0.0,
        "swapped": canaries.swap_gain(matrices),
        "alike": canaries.likeness(predictions, references),
    }


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per kind and wiring: runs, runs with an alarm, extremes on the thresholds' side.

    Right runs show their largest distances, miswired ones the smallest of what names them.
    """
    rows = []
    for (kind, wired), part in runs.groupby(["kind", "wired"], sort=False):
        right = wired == "right"
        alarms = sorted({a for text in part["alarms"] for a in text.split(", ") if a})
        rows.append(
            {
                "segmenter": kind,
                "wired": wired,
                "runs": len(part),
                "with an alarm": int(part["alarms"].ne("").sum()),
                **part[["turned", "swapped", "alike"]].agg("max" if right else "min"),
                "named": ", ".join(alarms) or "none",
            }
        )
    return pd.DataFrame(rows)


def _moved(mask: np.ndarray, shift: np.ndarray, level: float) -> np.ndarray:
    """A mask moved by parts of voxels; never empty."""
    (found,) = bounding_boxes(mask.view(np.uint8), [1])
    if found is None:
        return mask
    reach = int(np.abs(shift).max()) + 2
    box = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in found)
    moved = np.zeros_like(mask)
    moved[box] = scipy.ndimage.shift(mask[box].astype(np.float32), shift, order=1) > level
    return moved if moved.any() else mask


def _middle(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random voxel of a mask."""
    inside = np.argwhere(mask)
    return inside[rng.integers(len(inside))]


def _near(mask: np.ndarray, rng: np.random.Generator, reach_mm: float) -> np.ndarray:
    """The part of a mask within a cube around one of its voxels."""
    reach = round(reach_mm / (FIELD_MM[0] / mask.shape[0]))
    low = np.maximum(_middle(mask, rng) - reach, 0)
    cut = np.zeros_like(mask)
    box = tuple(slice(a, a + 2 * reach + 1) for a in low)
    cut[box] = mask[box]
    return cut


def _ball(mask: np.ndarray, rng: np.random.Generator, radius_mm: float) -> np.ndarray:
    """A ball around one of a mask's voxels."""
    spacing = FIELD_MM[0] / mask.shape[0]
    grid = np.indices(mask.shape)
    centre = _middle(mask, rng)
    distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
    return distance <= (radius_mm / spacing) ** 2
