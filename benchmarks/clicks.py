"""Centre and corrective clicks, against SciPy's way in boxes."""

from __future__ import annotations

import numpy as np
import phantom
import timing
from scipy import ndimage

from umdlib import labels, prompts
from umdlib.images import volume

STRUCTURES = (1, 2, 8, 9, 13)  # of corrective clicks: each mask is a whole volume


def scipy_centres(label_map: np.ndarray, spacing_mm) -> list:
    """Deepest voxels in the usual way: a box and a distance map per structure."""
    found = []
    for box in ndimage.find_objects(label_map):
        value = len(found) + 1
        mask = np.pad(label_map[box] == value, 1)
        inner = ndimage.distance_transform_edt(mask, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
        ijk = np.unravel_index(inner.argmax(), inner.shape)
        found.append(tuple(int(v) + b.start for v, b in zip(ijk, box, strict=True)))
    return found


def scipy_click(reference: np.ndarray, prediction: np.ndarray, spacing_mm):
    """Deepest voxel of the largest error in the usual way: labelled whole, in its box."""
    error = reference != prediction
    if not error.any():
        return None
    box = ndimage.find_objects(error.astype(np.uint8))[0]
    best = (0, None, None)
    for mask in (reference[box] & error[box], prediction[box] & error[box]):
        labelled, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(labelled.ravel())
        sizes[0] = 0
        if sizes.max(initial=0) > best[0]:
            best = (sizes.max(), labelled, int(sizes.argmax()))
    mask = np.pad(best[1] == best[2], 1)
    inner = ndimage.distance_transform_edt(mask, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    ijk = np.unravel_index(inner.argmax(), inner.shape)
    return tuple(int(v) + b.start for v, b in zip(ijk, box, strict=True))


def compare_clicks(grid: str, repeats: int, rng) -> list[dict]:
    """One row per task and system: time, ratio, and how many points are the same."""
    reference, prediction = phantom.reference(grid), phantom.prediction(grid, "good")
    spacing_mm = phantom.GRIDS[grid][1]
    label_map = volume.LabelMap(reference, np.diag([*spacing_mm, 1.0]))
    pairs = [(reference == v, prediction == v) for v in STRUCTURES]
    calls = {
        "centre: umdlib": lambda: prompts.pair_prompts({"CT": label_map}, labels.ORGANS),
        "centre: SciPy in boxes": lambda: scipy_centres(reference, spacing_mm),
        "corrective click: umdlib": lambda: [
            prompts.corrective_click(*pair, label_map.affine) for pair in pairs
        ],
        "corrective click: SciPy in boxes": lambda: [scipy_click(*pair, spacing_mm) for pair in pairs],
    }
    found, seconds = timing.measure(calls, repeats, rng)
    clicks = {
        "centre": [p.clicks[0] for p in found["centre: umdlib"].values()],
        "corrective click": found["corrective click: umdlib"],
    }
    rows = []
    for name, s in seconds.items():
        task, system = name.split(": ")
        ours = [c and prompts.click_voxel(c, label_map) for c in clicks[task]]
        theirs = found[f"{task}: SciPy in boxes"]
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        rows.append(
            {
                "grid": grid,
                "task": task,
                "system": system,
                "seconds": s,
                "ratio": s / seconds[f"{task}: umdlib"],
                "same_points": same,
                "points": len(ours),
            }
        )
    return rows
