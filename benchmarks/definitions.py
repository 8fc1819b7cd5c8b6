"""What other programs say of two small masks, and of empty ones.

    python benchmarks/definitions.py [--checkout PATH [PATH ...]]

The masks are those of the chapter on what is scored (`umdlib.metrics.examples.pair`). Writes
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
from checkouts import checkout_option

from umdlib.metrics import examples

METRICS = ("dice", "surface_dice", "hausdorff_95", "assd")
RESULTS = Path(__file__).parent / "results" / "definitions.json"


def at_once(compare: Callable, metrics: tuple[str, ...] = METRICS) -> dict[str, Callable]:
    """A program that answers for any masks, empty ones too: one call may ask for all metrics."""
    return {m: lambda *pair, m=m: compare(*pair)[m] for m in metrics}


def medpy() -> dict[str, Callable]:
    from medpy.metric import binary

    return {
        "dice": lambda a, b, _: binary.dc(b, a),
        "hausdorff_95": lambda a, b, spacing_mm: binary.hd95(b, a, voxelspacing=spacing_mm),
        "assd": lambda a, b, spacing_mm: binary.assd(b, a, voxelspacing=spacing_mm),
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


# program: its package, and how each of its metrics is called
PROGRAMS = {
    "surface-distance": ("surface-distance", lambda: at_once(peers.surface_distance)),
    "MONAI": ("monai", lambda: at_once(peers.monai(False))),
    "MONAI, use_subvoxels": ("monai", lambda: at_once(peers.monai(True))),
    "medpy": ("medpy", medpy),
    "MetricsReloaded": ("MetricsReloaded", lambda: at_once(peers.metrics_reloaded)),
    "panoptica": ("panoptica", panoptica),
    "pymia": ("pymia", lambda: at_once(peers.pymia, METRICS[:3])),
    "mikan-rs": ("mikan-rs", mikan),
    "grand-challenge-metrics": ("grand-challenge-metrics", grand_challenge),
    "SimpleITK": ("SimpleITK", simpleitk),
    "torchmetrics": ("torchmetrics", lambda: at_once(peers.torchmetrics, METRICS[:1])),
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
    full, other, spacing_mm = examples.pair()
    none = np.zeros_like(full)
    pairs = {
        "two masks": (full, other),
        "both empty": (none, none),
        "prediction empty": (full, none),
        "reference empty": (none, full),
    }
    return {
        name: {m: answer(calls.get(m), *pair, spacing_mm) for m in METRICS} for name, pair in pairs.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    checkout_option(parser)
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
    report = {"spacing_mm": examples.pair()[2], "tolerance_mm": peers.TOLERANCE_MM, "programs": programs}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
