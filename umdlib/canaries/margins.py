"""How far from the canaries' thresholds clean runs and miswired ones stay, by simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import ndimage

from umdlib.canaries import checks as canaries
from umdlib.canaries import planted

Masks = Mapping[str, np.ndarray]
Segmenter = Callable[[Masks, np.random.Generator], dict[str, np.ndarray]]


def exact(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The references themselves."""
    return dict(references)


def uneven(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask moved by about a voxel, and grown or shrunk."""
    return {n: _moved(m, rng.normal(0, 0.7, 3), rng.uniform(0.3, 0.7)) for n, m in references.items()}


def unreliable(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """As `uneven`, and one mask in five is empty."""
    return {n: m if rng.random() < 0.8 else np.zeros_like(m) for n, m in uneven(references, rng).items()}


def leaky(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask grown by 10 to 20 mm, over its neighbours."""
    return {n: ndimage.binary_dilation(m, iterations=int(rng.integers(1, 3))) for n, m in references.items()}


def timid(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask shrunk by a voxel where something stays."""
    shrunk = {n: ndimage.binary_erosion(m) for n, m in references.items()}
    return {n: m if m.any() else references[n] for n, m in shrunk.items()}


def cropped(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every mask cut to a cube of 130 mm around a random voxel of its own, as a click's crop."""
    return {n: _near(m, rng, 65.0) for n, m in references.items()}


def round_guess(references: Masks, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A ball of 30 mm around a random voxel of the structure, whatever its shape."""
    return {n: _ball(m, rng, 30.0) for n, m in references.items()}


CLEAN: dict[str, Segmenter] = {
    "exact": exact,
    "uneven": uneven,
    "unreliable": unreliable,
    "leaky": leaky,
    "timid": timid,
    "cropped": cropped,
    "round guess": round_guess,
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
    kinds = [(k, "right", s, planted.right) for k, s in CLEAN.items()]
    kinds += [
        ("uneven", f, uneven, plant) for f, plant in planted.FAULTS.items() if plant is not planted.right
    ]
    for kind, wired, segmenter, plant in kinds:
        for _ in range(n_runs):
            references = [planted.body(rng, spacing_mm=spacing_mm) for _ in range(n_subjects)]
            masks = [plant(segmenter(r, rng)) for r in references]
            found = canaries.check_masks(masks, references, kind)
            rows.append(
                {
                    "kind": kind,
                    "wired": wired,
                    "alarms": ", ".join(f.fault for f in found),
                    **distances(masks, references),
                }
            )
    return pd.DataFrame(rows)


def distances(predictions: list[Masks], references: list[Masks]) -> dict[str, float]:
    """What the thresholds of `umdlib.canaries` are compared with, for one run."""
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
                **{
                    c: float(part[c].max() if right else part[c].min())
                    for c in ("turned", "swapped", "alike")
                },
                "named": ", ".join(alarms) or "none",
            }
        )
    return pd.DataFrame(rows)


def _moved(mask: np.ndarray, shift: np.ndarray, level: float) -> np.ndarray:
    """A mask moved by parts of voxels; never empty."""
    moved = ndimage.shift(mask.astype(np.float32), shift, order=1) > level
    return moved if moved.any() else mask


def _middle(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random voxel of a mask."""
    inside = np.argwhere(mask)
    return inside[rng.integers(len(inside))]


def _near(mask: np.ndarray, rng: np.random.Generator, reach_mm: float) -> np.ndarray:
    """The part of a mask within a cube around one of its voxels."""
    reach = round(reach_mm / (planted.FIELD_MM[0] / mask.shape[0]))
    low = np.maximum(_middle(mask, rng) - reach, 0)
    cut = np.zeros_like(mask)
    box = tuple(slice(a, a + 2 * reach + 1) for a in low)
    cut[box] = mask[box]
    return cut


def _ball(mask: np.ndarray, rng: np.random.Generator, radius_mm: float) -> np.ndarray:
    """A ball around one of a mask's voxels."""
    spacing = planted.FIELD_MM[0] / mask.shape[0]
    grid = np.indices(mask.shape)
    centre = _middle(mask, rng)
    distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
    return distance <= (radius_mm / spacing) ** 2
