"""Time and compare scoring, prompts and files with other programs on the same volumes.

    python benchmarks/scoring.py --quick                      # about a minute
    python benchmarks/scoring.py --surface-distance PATH      # PATH: a checkout of its head

Single-threaded CPU seconds, rounds in random order, medians. Writes results/scoring.json beside
this file. The exit status is 1 where a value differs from surface-distance.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import peers
import phantom
from scipy import ndimage

from umdlib import labels, metrics, prompts, volume

VALUES = tuple(range(1, len(phantom.ORGANS) + 1))
TOLERANCE_MM = 3.0

# Programs slower than this run once.
SLOW_SECONDS = 2

RESULTS = Path(__file__).parent / "results" / "scoring.json"

# Largest difference from surface-distance, by metric: absolute, but relative for the ASSD.
ALLOWED = {"dice": 0.0, "surface_dice": 1e-12, "hausdorff_95": 0.0, "assd": 1e-12}


def cpu_seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(calls: dict, repeats: dict, rng) -> dict:
    """Median CPU seconds of each call; rounds in random order, so that load hits all alike."""
    seconds = {name: [] for name in calls}
    for n in range(max(repeats.values())):
        for name in rng.permutation(list(calls)):
            if n < repeats[name]:
                seconds[name].append(cpu_seconds(calls[name]))
    return {name: float(np.median(s)) for name, s in seconds.items() if s}


def own_scores(reference, prediction, spacing_mm) -> dict:
    """Our metrics in the peers' form."""
    table = metrics.score(
        reference, prediction, spacing_mm=spacing_mm, values=VALUES, tolerances_mm=(TOLERANCE_MM,)
    ).set_index("value")
    table = table.rename(columns={f"surface_dice_{TOLERANCE_MM:g}mm": "surface_dice"})
    defined = table[table.status == "ok"]
    return {m: defined[m].to_dict() for m in ALLOWED}


def difference(metric: str, ours: dict, theirs: dict) -> float | None:
    """Largest difference over structures that both define."""
    pairs = [(ours[v], t) for v, t in theirs.items() if v in ours and np.isfinite(t)]
    if not pairs:
        return None
    scale = (lambda t: max(abs(t), 1e-300)) if metric == "assd" else (lambda t: 1.0)
    return float(max(abs(o - t) / scale(t) for o, t in pairs))


def compare_scoring(grid: str, quality: str, systems: dict, repeats: int, rng) -> list[dict]:
    """One row per system: time, ratio to ours, largest difference of each metric from ours."""
    reference, prediction = phantom.reference(grid), phantom.prediction(grid, quality)
    spacing_mm = phantom.GRIDS[grid][1]
    ours = own_scores(reference, prediction, spacing_mm)
    calls, rounds, once, differences = {}, {}, {}, {}
    for name, peer in systems.items():
        calls[name] = lambda peer=peer: peer.score(reference, prediction, spacing_mm, VALUES)
        start = time.process_time()
        found = calls[name]()
        once[name] = time.process_time() - start
        rounds[name] = repeats if once[name] < SLOW_SECONDS else 0
        differences[name] = {m: difference(m, ours[m], f) for m, f in found.items()}
    calls["umdlib"] = lambda: own_scores(reference, prediction, spacing_mm)
    calls["umdlib, Dice and volumes"] = lambda: metrics.joint_counts(reference, prediction, VALUES)
    flat = [v.ravel("K") for v in (reference, prediction)]
    words = [f[: len(f) // 8 * 8].view(np.uint64) for f in flat]
    calls["reading both volumes once"] = lambda: [w.max() for w in words]
    for name in ("umdlib", "umdlib, Dice and volumes", "reading both volumes once"):
        rounds[name] = max(repeats, 7)
    # what takes long was timed once, when its values were taken
    seconds = once | interleaved(calls, rounds, rng)
    return [
        {
            "grid": grid,
            "quality": quality,
            "system": name,
            "habit": systems[name].habit if name in systems else "",
            "metrics": systems[name].metrics if name in systems else "",
            "seconds": s,
            "ratio": s / seconds["umdlib"],
            "differences": differences.get(name, {}),
        }
        for name, s in seconds.items()
    ]


def compare_files(grid: str, repeats: int, rng) -> list[dict]:
    """Reading and writing a label map; both files and all metrics, end to end."""
    reference, prediction = phantom.reference(grid), phantom.prediction(grid, "good")
    affine = np.diag([*phantom.GRIDS[grid][1], 1.0])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.nii.gz" for name in ("reference", "prediction")]
        for path, data in zip(paths, (reference, prediction), strict=True):
            volume.write_label_map(path, volume.LabelMap(data, affine))
        out = Path(folder) / "out.nii.gz"
        image = nib.Nifti1Image(reference, affine)
        label_map = volume.LabelMap(reference, affine)
        calls = {
            "read: umdlib": lambda: volume.read_label_map(paths[0]),
            "read: nibabel dataobj": lambda: np.asanyarray(nib.load(paths[0]).dataobj),
            "read: nibabel get_fdata": lambda: nib.load(paths[0]).get_fdata(),
            "write: umdlib": lambda: volume.write_label_map(out, label_map),
            "write: nibabel": lambda: nib.save(image, out),
            "read both, all metrics: umdlib": lambda: own_scores(
                *(volume.read_label_map(p).data for p in paths), phantom.GRIDS[grid][1]
            ),
        }
        calls |= peers.file_calls(paths, image, out)
        once = {name: cpu_seconds(call) for name, call in calls.items()}
        rounds = {name: repeats if s < SLOW_SECONDS else 0 for name, s in once.items()}
        rounds["read both, all metrics: umdlib"] = repeats
        seconds = once | interleaved(calls, rounds, rng)
        calls["write: umdlib"]()
        size = out.stat().st_size
        calls["write: nibabel"]()
        sizes = {"write: umdlib": size, "write: nibabel": out.stat().st_size}
    return [
        {"grid": grid, "task": name.split(": ")[0], "system": name.split(": ")[1],
         "seconds": s, "ratio": s / seconds[f"{name.split(': ')[0]}: umdlib"],
         "bytes": sizes.get(name)}
        for name, s in seconds.items()
    ]  # fmt: skip


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


def compare_prompts(grid: str, repeats: int, rng) -> list[dict]:
    """Centre clicks and corrective clicks of all structures, against SciPy in boxes."""
    reference, prediction = phantom.reference(grid), phantom.prediction(grid, "good")
    spacing_mm = phantom.GRIDS[grid][1]
    label_map = volume.LabelMap(reference, np.diag([*spacing_mm, 1.0]))
    # a few structures: each mask is a whole volume
    pairs = [(reference == v, prediction == v) for v in (1, 2, 8, 9, 13)]
    points = {"CT": label_map}
    calls = {
        "centre: umdlib": lambda: prompts.pair_prompts(points, labels.ORGANS),
        "centre: SciPy in boxes": lambda: scipy_centres(reference, spacing_mm),
        "corrective click: umdlib": lambda: [
            prompts.corrective_click(*pair, label_map.affine) for pair in pairs
        ],
        "corrective click: SciPy in boxes": lambda: [
            scipy_click(*pair, spacing_mm) for pair in pairs
        ],
    }
    found = {name: call() for name, call in calls.items()}
    ours = [prompts.click_voxel(p.clicks[0], label_map) for p in found["centre: umdlib"].values()]
    same = {
        "centre": sum(a == b for a, b in zip(ours, found["centre: SciPy in boxes"], strict=True))
    }
    clicks = [c and prompts.click_voxel(c, label_map) for c in found["corrective click: umdlib"]]
    same["corrective click"] = sum(
        a == b for a, b in zip(clicks, found["corrective click: SciPy in boxes"], strict=True)
    )
    seconds = interleaved(calls, dict.fromkeys(calls, repeats), rng)
    return [
        {"grid": grid, "task": name.split(": ")[0], "system": name.split(": ")[1], "seconds": s,
         "ratio": s / seconds[f"{name.split(': ')[0]}: umdlib"],
         "same_points": same[name.split(": ")[0]],
         "points": len(VALUES) if name.startswith("centre") else len(pairs)}
        for name, s in seconds.items()
    ]  # fmt: skip


def structure_scaling(grid: str, quality: str, repeats: int, rng) -> list[dict]:
    """Seconds by number of structures."""
    reference, prediction = phantom.reference(grid), phantom.prediction(grid, quality)
    calls = {
        n: lambda n=n: metrics.score(
            reference, prediction, spacing_mm=phantom.GRIDS[grid][1], values=VALUES[:n]
        )
        for n in (1, 4, 13)
    }
    for call in calls.values():
        call()
    seconds = interleaved(calls, dict.fromkeys(calls, repeats), rng)
    return [
        {"grid": grid, "quality": quality, "structures": int(n), "seconds": s}
        for n, s in seconds.items()
    ]


def peak_mb(system: str, grid: str, quality: str, arguments) -> float:
    """Peak memory above the two volumes, in a process of its own."""
    command = [sys.executable, __file__, "--peak", system, grid, quality]
    if arguments.surface_distance:
        command += ["--surface-distance", str(arguments.surface_distance)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak(system: str, grid: str, quality: str, systems: dict) -> None:
    """Peak above what a run on small volumes and the loaded volumes need, in MB."""
    score = systems[system].score if system in systems else None
    run = (lambda r, p, s: score(r, p, s, VALUES)) if score else own_scores
    run(phantom.reference("mini"), phantom.prediction("mini", quality), phantom.GRIDS["mini"][1])
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (
            ("r", phantom.reference(grid)),
            ("p", phantom.prediction(grid, quality)),
        ):
            np.save(Path(folder) / name, data)
            del data
        pair = [np.load(Path(folder) / f"{n}.npy") for n in "rp"]
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run(*pair, phantom.GRIDS[grid][1])
    print(max(0.0, (_status("VmHWM") - before) / 1024))


def _status(key: str) -> int:
    """A figure of this process in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def machine() -> dict:
    """What the run was made on."""
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def one_thread() -> None:
    """Start again with one thread in every numerical library, where not said otherwise."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    names += ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",)
    if any(name not in os.environ for name in names):
        os.environ.update(dict.fromkeys(names, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="PET grid, fast peers, few rounds")
    parser.add_argument("--surface-distance", type=Path, help="a checkout of its repository head")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers: deprecations, and empties
    systems, missing = peers.installed(arguments.surface_distance)
    if arguments.peak:
        print_peak(*arguments.peak, systems)
        return 0

    rng = np.random.default_rng(0)
    fast = {n: s for n, s in systems.items() if s.speed == "fast"}
    medium = {n: s for n, s in systems.items() if s.speed in ("fast", "medium")}
    # as shipped on the CT grid, and the slowest on the PET grid, would take many minutes
    large = {n: s for n, s in fast.items() if s.habit == "hand-cropped"}
    slow = {n: s for n, s in systems.items() if s.speed == "slow"}
    plan = [("PET", q, fast, 3) for q in phantom.ERRORS]
    if not arguments.quick:
        plan = [("PET", q, medium, 5) for q in phantom.ERRORS]
        plan += [("CT", q, large, 5) for q in phantom.ERRORS]
        plan += [("mini", "good", slow, 5)]
    report = {"machine": machine(), "quick": arguments.quick, "not_installed": missing}
    report["versions"] = {"numpy": np.__version__, **peers.versions(systems)}
    report["tolerance_mm"] = TOLERANCE_MM
    report |= {key: [] for key in ("scoring", "files", "prompts", "scaling", "memory")}
    for grid, quality, chosen, repeats in plan:
        rows = compare_scoring(grid, quality, chosen, repeats, rng)
        report["scoring"] += rows
        for row in rows:
            print(grid, quality, f"{row['seconds']:.4f} s {row['ratio']:.2f} x", end=" ")
            print(row["system"], row["habit"], row["differences"], flush=True)
        write(report, arguments.out)
    repeats = 3 if arguments.quick else 5
    report["files"] = compare_files("PET", repeats, rng)
    report["prompts"] = compare_prompts("PET", repeats, rng)
    report["scaling"] = [
        row for q in phantom.ERRORS for row in structure_scaling("PET", q, repeats, rng)
    ]
    write(report, arguments.out)
    if Path("/proc/self/clear_refs").exists():
        names = ["umdlib", *(n for n in large if not arguments.quick)]
        report["memory"] = [
            {"grid": "PET", "quality": q, "system": n, "peak_mb": peak_mb(n, "PET", q, arguments)}
            for n in names
            for q in phantom.ERRORS
        ]
    write(report, arguments.out)
    for key in ("files", "prompts", "scaling", "memory"):
        for row in report[key]:
            print(key, row, flush=True)
    judged = any(r["system"].startswith("surface-distance") for r in report["scoring"])
    print("not installed:", ", ".join(missing) or "none")
    print("equal to surface-distance:", report["equal"] if judged else "not installed")
    return 0 if report["equal"] or not judged else 1


def write(report: dict, path: Path) -> None:
    """Write what has been measured so far, with the verdict on it."""
    judged = [r for r in report["scoring"] if r["system"].startswith("surface-distance")]
    report["equal"] = bool(judged) and all(
        r["differences"][m] is None or r["differences"][m] <= limit
        for r in judged
        for m, limit in ALLOWED.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    one_thread()
    sys.exit(main())
