"""What a run must reach, and whether it did."""

from __future__ import annotations

# name, at least (True) or at most, good, poor: ratios to this project's time on the PET grid.
RATIOS = (("surface-distance", 35, 20), ("surface-distance in boxes", 18, 15), ("mikan-rs in boxes", 6, 3))
WAYS = (("nibabel get_fdata + surface-distance", 40, 20), ("SimpleITK + mikan-rs in boxes", 6, 3))


def check(report: dict) -> list[dict]:
    """One row per goal that this run measured: what, limit, measured, met."""
    return [*_scoring(report), *_files(report), *_others(report)]


def _goal(what: str, measured: float, *, least=None, most=None) -> dict:
    limit = f"≥ {least:g}" if most is None else f"≤ {most:g}"
    met = measured >= least if most is None else measured <= most
    return {"goal": what, "limit": limit, "measured": float(measured), "met": bool(met)}


def _scoring(report: dict):
    """All metrics, against other programs and against reading the volumes once."""
    for grid in dict.fromkeys(r["grid"] for r in report["scoring"]):
        for at, quality in enumerate(("good", "poor")):
            rows = {r["system"]: r for r in report["scoring"] if (r["grid"], r["quality"]) == (grid, quality)}
            if not rows:
                continue
            for name, *limits in RATIOS:
                if name in rows:
                    yield _goal(
                        f"{grid}, {quality}: times faster than {name}", rows[name]["ratio"], least=limits[at]
                    )
            once = rows["reading both volumes once"]["seconds"]
            dice = rows["umdlib, Dice and volumes"]["seconds"]
            yield _goal(
                f"{grid}, {quality}: Dice and volumes, × reading both volumes once", dice / once, most=2
            )
            if "SimpleITK overlap" in rows:
                yield _goal(
                    f"{grid}, {quality}: Dice, times faster than SimpleITK overlap",
                    rows["SimpleITK overlap"]["seconds"] / dice,
                    least=40,
                )
            if "MONAI Dice" in rows:
                yield _goal(
                    f"{grid}, {quality}: Dice, times faster than MONAI Dice",
                    rows["MONAI Dice"]["seconds"] / dice,
                    least=1000,
                )
            if grid == "PET":
                yield _goal(
                    f"{grid}, {quality}: surface Dice alone, × reading both volumes once",
                    rows["umdlib, surface Dice"]["seconds"] / once,
                    most=10,
                )
                yield _goal(
                    f"{grid}, {quality}: all metrics, × reading both volumes once",
                    rows["umdlib"]["seconds"] / once,
                    most=(14, 50)[at],
                )


def _files(report: dict):
    """Reading, writing, and the whole way."""
    for grid in dict.fromkeys(r["grid"] for r in report["files"]):
        rows = {(r["task"], r["system"], r["quality"]): r for r in report["files"] if r["grid"] == grid}
        own = rows["read", "umdlib", "good"]["seconds"]
        floor = rows.get(("read", "inflating alone, in the cache", "good"))
        if floor:
            yield _goal(f"{grid}: reading, × inflating alone", own / floor["seconds"], most=2.5)
        for name, least in (("nibabel dataobj", 4), ("SimpleITK", 7), ("nibabel get_fdata", 9)):
            if ("read", name, "good") in rows:
                yield _goal(
                    f"{grid}: reading, times faster than {name}",
                    rows["read", name, "good"]["ratio"],
                    least=least,
                )
        nibabel = rows["write", "nibabel", "good"]
        yield _goal(f"{grid}: writing, times faster than nibabel", nibabel["ratio"], least=10)
        yield _goal(
            f"{grid}: file written, × the size of nibabel's",
            rows["write", "umdlib", "good"]["bytes"] / nibabel["bytes"],
            most=1,
        )
        for name, *limits in WAYS:
            for quality, least in zip(("good", "poor"), limits, strict=True):
                row = rows.get(("read both, all metrics", name, quality))
                if row:
                    yield _goal(
                        f"{grid}, {quality}: both files and all metrics, times faster than {name}",
                        row["ratio"],
                        least=least,
                    )


def _others(report: dict):
    """Prompts, memory, growth."""
    for row in report["prompts"]:
        if row["system"] == "SciPy in boxes":
            least = 5 if row["task"] == "centre" else 1.5
            yield _goal(f"{row['task']}, times faster than SciPy in boxes", row["ratio"], least=least)
    for row in report["memory"]:
        if row["system"] == "umdlib":
            yield _goal(
                f"{row['grid']}, {row['quality']}: peak memory, bytes a voxel", row["bytes_per_voxel"], most=4
            )
    counted = [r for r in report["scaling"] if "structures" in r]
    for quality, most in (("good", 4), ("poor", 6)):
        times = {r["structures"]: r["seconds"] for r in counted if r["quality"] == quality}
        if times:
            yield _goal(f"{quality}: 13 structures, × one", times[13] / times[1], most=most)
    sizes = [r for r in report["scaling"] if "cells" in r]
    for quality in dict.fromkeys(r["quality"] for r in sizes):
        paces = [r["seconds"] / r["cells"] for r in sizes if r["quality"] == quality]
        if len(paces) > 1:
            yield _goal(
                f"{quality}: time a surface cell, the slowest grid × the fastest",
                max(paces) / min(paces),
                most=1.5,
            )
    blobs = {r["blob"]: r["seconds"] for r in report["scaling"] if "blob" in r}
    if blobs:
        yield _goal("a far blob, × a near one", blobs["far"] / blobs["near"], most=1.1)
    processes = {r["processes"]: r["seconds"] for r in report["scaling"] if "processes" in r}
    if processes:
        yield _goal("two processes, × the pace of one", 2 * processes[1] / processes[2], least=1.7)
