"""What other programs say of two small masks, and of empty ones.

    python benchmarks/definitions.py [--checkout PATH [PATH ...]]

The masks are those of the chapter on what is scored (`umdlib.toy_masks.pair`). Writes
results/definitions.json beside this file, of which that chapter's tables are made; programs that
are not installed are named and keep what an earlier run wrote of them, with the version it had.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peers

from umdlib import toy_masks

METRICS = ("dice", "surface_dice", "hausdorff_95", "assd")
RESULTS = Path(__file__).parent / "results" / "definitions.json"


def surface_distance() -> dict[str, Callable]:
    from surface_distance import metrics as sd

    def distances(*pair):
        return sd.compute_surface_distances(*pair)

    def assd(*pair):
        d = distances(*pair)
        areas = d["surfel_areas_gt"], d["surfel_areas_pred"]
        sums = [
            (d[k] * area).sum()
            for k, area in zip(("distances_gt_to_pred", "distances_pred_to_gt"), areas, strict=True)
        ]
        return sum(sums) / sum(area.sum() for area in areas)

    return {
        "dice": lambda a, b, _: sd.compute_dice_coefficient(a, b),
        "surface_dice": lambda *pair: sd.compute_surface_dice_at_tolerance(
            distances(*pair), peers.TOLERANCE_MM
        ),
        "hausdorff_95": lambda *pair: sd.compute_robust_hausdorff(distances(*pair), 95),
        "assd": assd,
    }


def monai(**options) -> dict[str, Callable]:
    import torch
    from monai import metrics as mm

    def masks(a, b):
        return [torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (b, a)]

    def distance(compute, *more, **named):
        return lambda a, b, spacing_mm: compute(
            *masks(a, b), *more, include_background=True, spacing=list(spacing_mm), **named
        )

    return {
        "dice": lambda a, b, _: mm.compute_dice(*masks(a, b)),
        "surface_dice": distance(mm.compute_surface_dice, [peers.TOLERANCE_MM], **options),
        "hausdorff_95": distance(mm.compute_hausdorff_distance, percentile=95),
        "assd": distance(mm.compute_average_surface_distance, symmetric=True),
    }


def medpy() -> dict[str, Callable]:
    from medpy.metric import binary

    return {
        "dice": lambda a, b, _: binary.dc(b, a),
        "hausdorff_95": lambda a, b, spacing_mm: binary.hd95(b, a, voxelspacing=spacing_mm),
        "assd": lambda a, b, spacing_mm: binary.assd(b, a, voxelspacing=spacing_mm),
    }


def metrics_reloaded() -> dict[str, Callable]:
    from MetricsReloaded.metrics.pairwise_measures import BinaryPairwiseMeasures

    def measures(a, b, spacing_mm):
        return BinaryPairwiseMeasures(
            b.astype(int), a.astype(int), pixdim=spacing_mm,
            dict_args={"nsd": peers.TOLERANCE_MM, "hd_perc": 95},
        )  # fmt: skip

    return {
        "dice": lambda *pair: measures(*pair).dsc(),
        "surface_dice": lambda *pair: measures(*pair).normalised_surface_distance(),
        "hausdorff_95": lambda *pair: measures(*pair).measured_distance()[2],
        "assd": lambda *pair: measures(*pair).measured_distance()[1],
    }


def panoptica() -> dict[str, Callable]:
    """The average over the matched instances, of which there is one. Its NSD fixes the tolerance."""
    from panoptica import InputType, Metric, Panoptica_Evaluator
    from panoptica.metrics import MetricMode

    def one(metric):
        evaluator = Panoptica_Evaluator(
            expected_input=InputType.MATCHED_INSTANCE, instance_metrics=[metric], global_metrics=[]
        )

        def call(a, b, spacing_mm):
            pair = (m.astype(np.uint8) for m in (b, a))
            results = evaluator.evaluate(*pair, result_all=False, voxelspacing=spacing_mm)
            return next(iter(results.values())).get_list_metric(metric, MetricMode.AVG)

        return call

    return {"dice": one(Metric.DSC), "hausdorff_95": one(Metric.HD95), "assd": one(Metric.ASSD)}


def pymia() -> dict[str, Callable]:
    from pymia.evaluation import metric as pm

    def surface(measure):
        def call(a, b, spacing_mm):
            measure.reference, measure.prediction = a, b
            measure.distances = pm.Distances(a, b, spacing_mm)
            return measure.calculate()

        return call

    def dice(a, b, _):
        measure = pm.DiceCoefficient()
        measure.confusion_matrix = pm.ConfusionMatrix(b, a)
        return measure.calculate()

    return {
        "dice": dice,
        "surface_dice": surface(pm.SurfaceDiceOverlap(tolerance=peers.TOLERANCE_MM)),
        "hausdorff_95": surface(pm.HausdorffDistance(percentile=95)),
    }


def mikan() -> dict[str, Callable]:
    from mikan import ArrayEvaluator

    def one(metric):
        def call(a, b, spacing_mm):
            pair = (np.ascontiguousarray(m.T, np.uint8) for m in (a, b))
            return ArrayEvaluator(*pair, spacing_mm).labels(1).metrics([metric])[0]

        return call

    return {"dice": one("dice"), "hausdorff_95": one("hausdorff_distance_95"), "assd": one("assd")}


def grand_challenge() -> dict[str, Callable]:
    from grand_challenge_metrics import stats

    return {
        "dice": lambda a, b, _: stats.dice_from_confusion_matrix(
            stats.calculate_confusion_matrix(a, b, [0, 1])
        )[1],
        "hausdorff_95": lambda a, b, spacing_mm: (
            stats.hausdorff_distance_measures(a, b, spacing_mm, percentile=0.95).percentile_distance
        ),
        "assd": lambda *pair: stats.mean_contour_distance(*pair),
    }


def simpleitk() -> dict[str, Callable]:
    """Its filters; they have no surface Dice, no percentile, and an average of another kind."""

    def dice(a, b, spacing_mm):
        pair = (m.astype(np.uint8) for m in (a, b))
        return peers.simpleitk_overlap(*pair, spacing_mm, (1,))["dice"][1]

    return {"dice": dice}


def torchmetrics() -> dict[str, Callable]:
    return {"dice": lambda *pair: peers.torchmetrics(*pair)["dice"]}


# program: its package, and how each of its metrics is called
PROGRAMS = {
    "surface-distance": ("surface-distance", surface_distance),
    "MONAI": ("monai", monai),
    "MONAI, use_subvoxels": ("monai", lambda: monai(use_subvoxels=True)),
    "medpy": ("medpy", medpy),
    "MetricsReloaded": ("MetricsReloaded", metrics_reloaded),
    "panoptica": ("panoptica", panoptica),
    "pymia": ("pymia", pymia),
    "mikan-rs": ("mikan-rs", mikan),
    "grand-challenge-metrics": ("grand-challenge-metrics", grand_challenge),
    "SimpleITK": ("SimpleITK", simpleitk),
    "torchmetrics": ("torchmetrics", torchmetrics),
}


def answer(call: Callable | None, *pair) -> float | str | None:
    """A finite number; "nan", "inf" or "error" in words; nothing where there is no such metric."""
    if call is None:
        return None
    try:
        value = float(call(*pair))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of compiled code is no Exception
        return "error"
    return value if np.isfinite(value) else str(value)


def said(calls: dict[str, Callable]) -> dict[str, dict]:
    """What a program says of each pair of masks, by metric."""
    full, other, spacing_mm = toy_masks.pair()
    none = np.zeros_like(full)
    pairs = {
        "two masks": (full, other),
        "both empty": (none, none),
        "prediction empty": (full, none),
        "reference empty": (none, full),
    }
    return {
        name: {m: answer(calls.get(m), *pair, spacing_mm) for m in METRICS}
        for name, pair in pairs.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--checkout", type=Path, nargs="+", default=[],
        help="folders to import programs from, e.g. a checkout of surface-distance",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the programs: empty slices, divisions by zero
    systems, absent = peers.installed(arguments.checkout)
    versions = peers.versions(systems, arguments.checkout)
    before = json.loads(arguments.out.read_text())["programs"] if arguments.out.exists() else {}
    programs = {}
    for name, (package, calls) in PROGRAMS.items():
        if package in versions:
            programs[name] = {"version": versions[package], **said(calls())}
            print(name, programs[name], flush=True)
        else:
            print(f"not run: {name}: {absent[package]}", flush=True)
            programs |= {name: before[name]} if name in before else {}
    report = {"spacing_mm": toy_masks.pair()[2], "tolerance_mm": peers.TOLERANCE_MM,
              "programs": programs}  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
