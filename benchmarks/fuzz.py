"""Search for masks on which a value differs from surface-distance: small volumes drawn at random.

    python benchmarks/fuzz.py --checkout ../surface-distance [--volumes 3000]

Boxes of random size and spacing with up to three structures as noise, blobs or single voxels, moved
and thinned in the prediction, often at a border, often absent. A second search is of ties alone:
cubic voxels and tolerances that are distances on the grid, where two floating-point sums of one
distance may fall on either side. Writes results/fuzz.json; the exit status is 1 where a value differs
by more than `scoring.ALLOWED` away from ties, or at one a DSC at all or a distance beyond rounding.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import timing
from checkouts import checkout_option
from scoring import ALLOWED

from umdlib.images import geometry
from umdlib.metrics import scoring as metrics

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
VALUES = (1, 2, 3)
EDGES_MM = (0.1, 0.3, 0.7, 1.1)  # of cubes whose multiples are no round binary numbers
ROUNDING_MM = 1e-12
TIES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 0, 0), (2, 1, 0), (2, 2, 1), (3, 0, 0))


def draw(rng: np.random.Generator, *, cubic: bool = False):
    """Reference, prediction (I, J, K) uint8 and spacing."""
    shape = tuple(rng.integers(1 if not cubic else 3, 13, 3))
    edge = float(rng.choice(EDGES_MM))
    # of any digits, of five decimals, and as of a field of view divided by 512 voxels
    free = rng.uniform(0.2, 6, 3)
    free = (free, np.round(free, 5), np.round(free * 512) / 512)[rng.integers(3)]
    spacing = (edge,) * 3 if cubic else tuple(geometry.as_written(s) for s in free.tolist())
    return _labels(shape, rng), _labels(shape, rng), spacing


def pair(rng: np.random.Generator, *, cubic: bool = False):
    """A drawn pair whose prediction is the reference moved and thinned, or another draw."""
    reference, prediction, spacing = draw(rng, cubic=cubic)
    if rng.random() < 0.7:
        moved = np.roll(reference, rng.integers(-2, 3, 3), (0, 1, 2))
        prediction = np.where(rng.random(moved.shape) < rng.uniform(0, 0.4), prediction, moved)
    return np.asfortranarray(reference), np.asfortranarray(prediction), spacing


def _labels(shape, rng: np.random.Generator) -> np.ndarray:
    """Noise, boxes or single voxels of up to three values; often up to the border."""
    labels = np.zeros(shape, np.uint8)
    for value in VALUES:
        kind = rng.integers(4)
        if kind == 0:
            labels[rng.random(shape) < rng.uniform(0, 0.3)] = value
        elif kind == 1:
            ends = [np.sort(rng.integers(0, n + 1, 2)) for n in shape]
            labels[tuple(slice(a, b) for a, b in ends)] = value
        elif kind == 2:
            labels[tuple(rng.integers(0, n) for n in shape)] = value
    return labels


def theirs(a, b, spacing, tolerances) -> dict[str, float]:
    """Values of surface-distance for two masks, neither of them empty."""
    from surface_distance import metrics as sd

    d = sd.compute_surface_distances(a, b, spacing)
    areas = d["surfel_areas_gt"], d["surfel_areas_pred"]
    sums = [
        (d[k] * s).sum() for k, s in zip(("distances_gt_to_pred", "distances_pred_to_gt"), areas, strict=True)
    ]
    found = {f"surface_dice {t!r}": sd.compute_surface_dice_at_tolerance(d, t) for t in tolerances}
    return found | {
        "dice": sd.compute_dice_coefficient(a, b),
        "hausdorff": sd.compute_robust_hausdorff(d, 100),
        "hausdorff_95": sd.compute_robust_hausdorff(d, 95),
        "assd": sum(sums) / sum(s.sum() for s in areas),
    }


def compare(reference, prediction, spacing, tolerances) -> tuple[dict[str, float], int]:
    """Largest difference of each metric over the structures that both hold, and their number."""
    table = metrics.score(
        reference, prediction, spacing_mm=spacing, values=VALUES, tolerances_mm=tolerances
    ).set_index("value")
    worst: dict[str, float] = {}
    held = 0
    for value in VALUES:
        a, b = reference == value, prediction == value
        status = table.loc[value, "status"]
        if (status == "ok") != bool(a.any() and b.any()):
            raise SystemExit(f"Status '{status}' of masks with {a.sum()} and {b.sum()} voxels.")
        if status != "ok":
            overlap = table.loc[value].filter(regex="dice")
            if status != "both_empty" and overlap.ne(0).any():
                raise SystemExit(f"Status '{status}' with {overlap.to_dict()}.")
            continue
        held += 1
        for name, value_theirs in theirs(a, b, spacing, tolerances).items():
            metric, _, tolerance = name.partition(" ")
            column = f"surface_dice_{float(tolerance):g}mm" if tolerance else metric
            scale = max(abs(value_theirs), 1e-300) if metric == "assd" else 1.0
            found = abs(table.loc[value, column] - value_theirs) / scale
            # a number that is none is infinitely far away
            found = np.inf if np.isnan(found) else float(found)
            worst[metric] = max(worst.get(metric, 0.0), found)
    return worst, held


def search(volumes: int, rng: np.random.Generator, *, ties: bool) -> dict:
    """Draw and compare; how many pairs of structures, and how often and how far each metric differs."""
    report = {"volumes": volumes, "pairs": 0, "differences": {}, "differing": {}}
    for _ in range(volumes):
        reference, prediction, spacing = pair(rng, cubic=ties)
        tolerances = tuple(dict.fromkeys(rng.uniform(0.1, 8, 2).round(3).tolist()))
        if ties:
            tolerances = tuple(
                dict.fromkeys(float(f"{spacing[0] * np.sqrt(np.dot(t, t)):.12g}") for t in TIES)
            )
            tolerances = tuple(t for t in tolerances if float(f"{t:g}") == t) or (spacing[0],)
        worst, held = compare(reference, prediction, spacing, tolerances)
        report["pairs"] += held
        for metric, found in worst.items():
            known = report["differences"].get(metric, 0.0)
            report["differences"][metric] = max(known, found)
            if found > ALLOWED.get(metric, 0.0):
                report["differing"][metric] = report["differing"].get(metric, 0) + 1
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    checkout_option(parser)
    parser.add_argument("--volumes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sys.path[:0] = [str(c) for c in arguments.checkout]
    try:
        import surface_distance  # noqa: F401
    except ImportError:
        parser.error("surface-distance is not here: --checkout FOLDER")
    rng = np.random.default_rng(arguments.seed)
    report = {
        "machine": timing.machine(),
        "search": search(arguments.volumes, rng, ties=False),
        "ties": search(arguments.volumes, rng, ties=True),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
    away = set(report["search"]["differing"])
    far = report["ties"]["differences"]
    at = {m for m in ("dice", "hausdorff", "hausdorff_95") if far[m] > (m != "dice") * ROUNDING_MM}
    for metric in sorted(away | at):
        print(f"NOT EQUAL: {metric}")
    return 1 if away | at else 0


if __name__ == "__main__":
    timing.one_thread()
    sys.exit(main())
