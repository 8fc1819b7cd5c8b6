"""Time and compare scoring, prompts and files with other programs on the same volumes.

    python benchmarks/scoring.py --quick                        # about a minute
    python benchmarks/scoring.py --checkout PATH [PATH ...]     # PATH: a checkout to import from

Single-threaded CPU seconds, rounds in random order, medians. A full run beside surface-distance
writes results/scoring.json beside this file, of which the book's page is made; a quick one, or one
without surface-distance, results/partial.json; --out names another. The exit status is 1 where a
value differs from surface-distance or from the plain definitions (`plain.py`), or where a point
differs from SciPy's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import clicks
import files
import goals
import memory
import numpy as np
import peers
import phantom
import scaling
import timing
from checkouts import checkout_option

from umdlib.metrics import scoring as metrics

VALUES = scaling.VALUES
TOLERANCE_MM = peers.TOLERANCE_MM

# Structures of programs that take minutes on whole volumes: one that every prediction has.
FEW = (6, 1, 2)

# On the larger grid these would only repeat, in many minutes, what the PET grid shows.
PET_ONLY = (
    "NumPy and SciPy, in boxes",
    "MONAI in boxes",
    "MONAI in boxes, default surface",
    "MONAI, one-hot",
)

RESULTS = Path(__file__).parent / "results" / "scoring.json"

# Largest difference from surface-distance, by metric: absolute, but relative for the ASSD.
ALLOWED = {"dice": 0.0, "surface_dice": 1e-12, "hausdorff_95": 0.0, "assd": 1e-12}
JUDGES = ("surface-distance", "surface-distance in boxes", "NumPy and SciPy, in boxes")


# A program that takes more than so much memory runs in a process of its own: what it leaves behind
# is memory in pieces, which slows what comes after it.
ROOM_GB = 2


def own_scores(reference, prediction, spacing_mm, values) -> dict:
    """Our metrics in the peers' form."""
    table = metrics.score(
        reference, prediction, spacing_mm=spacing_mm, values=values, tolerances_mm=(TOLERANCE_MM,)
    ).set_index("value")
    table = table.rename(columns={f"surface_dice_{TOLERANCE_MM:g}mm": "surface_dice"})
    defined = table[table.status == "ok"]
    return {m: defined[m].to_dict() for m in ALLOWED}


def difference(metric: str, ours: dict, theirs: dict) -> float | None:
    """Largest difference over structures that both hold; infinite where one has no number."""
    pairs = [(ours[v], t) for v, t in theirs.items() if v in ours]
    if not pairs:
        return None
    scale = (lambda t: max(abs(t), 1e-300)) if metric == "assd" else (lambda t: 1.0)
    found = [abs(o - t) / scale(t) if np.isfinite(t) else np.inf for o, t in pairs]
    return float(max(np.inf if np.isnan(f) else f for f in found))


def scored_apart(name: str, grid: str, quality: str, values, checkouts: list[Path]):
    """What a system finds on a pair of the phantom, and its CPU seconds, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_scored, name, grid, quality, values, checkouts).result()


def _scored(name: str, grid: str, quality: str, values, checkouts: list[Path]):
    warnings.simplefilter("ignore")
    peer = peers.installed(checkouts)[0][name]
    pair = phantom.reference(grid), phantom.prediction(grid, quality)
    start = time.process_time()
    found = peer.score(*pair, phantom.GRIDS[grid][1], values)
    return found, time.process_time() - start


def compare_scoring(
    grid: str, quality: str, systems: dict, repeats: int, rng, failed: dict, checkouts: list[Path]
) -> list[dict]:
    """One row per system: time, ratio to ours, largest difference of each metric from ours."""
    pair, spacing_mm = ((phantom.reference(grid), phantom.prediction(grid, quality)), phantom.GRIDS[grid][1])
    words = [v.ravel("K")[: v.size // 8 * 8].view(np.uint64) for v in pair]
    few = {n: FEW[: s.structures] if s.structures else VALUES for n, s in systems.items()}
    calls = {
        "umdlib": lambda: own_scores(*pair, spacing_mm, VALUES),
        "umdlib, surface Dice": lambda: metrics.surface_dice(
            *pair, spacing_mm=spacing_mm, values=VALUES, tolerances_mm=(TOLERANCE_MM,)
        ),
        "umdlib, Dice and volumes": lambda: metrics.joint_counts(*pair, VALUES),
        "reading both volumes once": lambda: [w.max() for w in words],
    }
    ours = calls["umdlib"]()
    for name, peer in systems.items():
        if peer.least_gb <= ROOM_GB:
            calls[name] = lambda peer=peer, name=name: peer.score(*pair, spacing_mm, few[name])
    found, seconds = timing.measure(calls, repeats, rng, stopped := {})
    for name in (n for n, s in systems.items() if s.least_gb > ROOM_GB):
        try:
            found[name], seconds[name] = scored_apart(name, grid, quality, few[name], checkouts)
        except Exception as error:
            stopped[name] = f"stopped: {type(error).__name__}: {error}"[:200]
    failed |= {f"{name}, {quality} on the {grid} grid": why for name, why in stopped.items()}
    rows = []
    for name, s in seconds.items():
        peer, scored = systems.get(name), len(few.get(name, VALUES))
        differences = {m: difference(m, ours[m], f) for m, f in found[name].items()} if peer else {}
        s = s * len(VALUES) / scored
        rows.append(
            {
                "grid": grid,
                "quality": quality,
                "system": name,
                "habit": peer.habit if peer else "",
                "metrics": peer.metrics if peer else "",
                "structures": scored,
                "seconds": s,
                "ratio": s / seconds["umdlib"],
                "differences": differences,
            }
        )
        print(grid, quality, f"{s:.4f} s {rows[-1]['ratio']:.2f} x", name, differences, flush=True)
    return rows


def compare_memory(grid: str, quality: str, systems: dict, checkouts: list) -> list[dict]:
    """Peak of each system above the two volumes, and its ratio to ours."""
    pair, rows = (phantom.reference(grid), phantom.prediction(grid, quality)), []
    for name in ("umdlib", *systems):
        few = systems[name].structures if name in systems else None
        peak = memory.peak_mb(name, *pair, phantom.GRIDS[grid][1], FEW[:few] if few else VALUES, checkouts)
        rows.append(
            {
                "grid": grid,
                "quality": quality,
                "system": name,
                "peak_mb": peak,
                "bytes_per_voxel": peak * 2**20 / pair[0].size,
            }
        )
        rows[-1]["ratio"] = peak / rows[0]["peak_mb"]
        print("memory", rows[-1], flush=True)
    return rows


def judge(report: dict) -> list[str]:
    """Everything that is not equal to surface-distance or to SciPy's points."""
    if not any(row["system"] in JUDGES for row in report["scoring"]):
        return ["nothing was compared: no judge could be run"]
    faults = [
        f"{name} was to be compared and gave nothing: {why}"
        for name, why in report["not_run"].items()
        if name.startswith(JUDGES) and why.startswith("stopped")
    ]
    faults += [
        f"{row['grid']} {row['quality']}: {metric} differs from {row['system']} by {found}"
        for row in report["scoring"]
        if row["system"] in JUDGES
        for metric, found in row["differences"].items()
        if found is not None and found > ALLOWED[metric]
    ]
    return faults + [
        f"{row['task']}: {row['points'] - row['same_points']} points differ from SciPy's"
        for row in report["prompts"]
        if row["same_points"] < row["points"]
    ]


def write(report: dict, path: Path) -> None:
    """Write what has been measured so far, with the verdict on it."""
    report["faults"] = judge(report)
    report["equal"] = not report["faults"]
    report["goals"] = goals.check(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def chosen(systems: dict, grid: str, quality: str, not_run: dict) -> dict:
    """The systems to run on a pair; why not the others goes into `not_run`."""
    able = {}
    for name, peer in systems.items():
        if peer.structures and (grid, quality) != ("PET", "good"):
            not_run[f"{name}, beyond the good prediction on the PET grid"] = (
                "whole volumes structure by structure: the time grows with the voxels alone"
            )
        elif grid != "PET" and name in PET_ONLY:
            not_run[f"{name}, {grid} grid"] = "run on the PET grid only"
        else:
            able[name] = peer
    return able


def memory_systems(systems: dict, grid: str, quality: str) -> dict:
    """Whose memory is measured: all but the slowest once, two in boxes on the poor one too."""
    if (grid, quality) == ("PET", "good"):
        return {n: s for n, s in systems.items() if s.least_gb <= ROOM_GB}
    boxed = ("mikan-rs in boxes", "surface-distance in boxes") if grid == "PET" else ()
    return {n: s for n, s in systems.items() if n in boxed}


def run(arguments) -> dict:
    """All measurements, written as they come."""
    systems, not_run = peers.installed(arguments.checkout)
    systems, large = peers.that_fit(systems)
    not_run |= large
    fast = {n: s for n, s in systems.items() if not s.structures}
    quick, rng = arguments.quick, np.random.default_rng(0)
    if quick:
        fast = {n: s for n, s in fast.items() if s.package != "monai"}
    grids, wanted = ("PET",) if quick else ("PET", "CT"), fast if quick else systems
    repeats = 3 if quick else 7
    report = {
        "machine": timing.machine(),
        "quick": quick,
        "not_run": not_run,
        "versions": {"numpy": np.__version__, **peers.versions(systems, arguments.checkout)},
        "tolerance_mm": TOLERANCE_MM,
    }
    report |= {key: [] for key in ("scoring", "files", "prompts", "scaling", "memory")}
    pairs = [(grid, quality) for grid in grids for quality in phantom.ERRORS]
    for grid, quality in pairs:
        report["files"] += files.compare_files(
            grid, quality, own_scores, VALUES, systems, repeats, rng, tasks=quality == "good"
        )
    for grid, quality in pairs:
        able = chosen(wanted, grid, quality, not_run)
        report["scoring"] += compare_scoring(grid, quality, able, repeats, rng, not_run, arguments.checkout)
        write(report, arguments.out)
    report["prompts"] = clicks.compare_clicks("PET", repeats, rng)
    report["scaling"] = [
        *(r for q in phantom.ERRORS for r in scaling.by_structures("PET", q, repeats, rng)),
        *scaling.by_voxels(("mini", *grids), repeats, rng),
        *scaling.by_place("PET", repeats, rng),
        *scaling.by_processes("PET"),
    ]
    write(report, arguments.out)
    if memory.STATUS.exists():
        for grid in grids:
            for quality in phantom.ERRORS:
                part = memory_systems(systems, grid, quality) if not quick else {}
                report["memory"] += compare_memory(grid, quality, part, arguments.checkout)
                write(report, arguments.out)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="PET grid, fast peers, few rounds")
    checkout_option(parser)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers: deprecations, and empties
    judged = "surface-distance" in peers.installed(arguments.checkout)[0]
    if arguments.out is None:
        whole = judged and not arguments.quick
        arguments.out = RESULTS if whole else RESULTS.with_name("partial.json")
    if not judged:
        print(
            "surface-distance is not here (--checkout): values are compared with the plain definitions alone",
            flush=True,
        )
    print(f"Report: {arguments.out}", flush=True)
    report = run(arguments)
    for key in ("files", "prompts", "scaling", "goals"):
        for row in report[key]:
            print(key, row, flush=True)
    for name, reason in report["not_run"].items():
        print(f"not run: {name}: {reason}")
    for fault in report["faults"]:
        print(f"NOT EQUAL: {fault}")
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    timing.one_thread()
    sys.exit(main())
