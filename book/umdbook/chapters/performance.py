"""The last benchmark run, laid out as tables and a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook import page
from umdlib.errors import InputError
from umdlib.figures import panels

OWN = "umdlib"
LIMIT = "reading both volumes once"


def read_timings(path: str | Path) -> dict:
    """The file that `benchmarks/scoring.py` writes.

    InputError: if it does not exist or holds no scoring times.
    """
    report = page.read_record(path, "benchmark run", "scoring.py")
    if not report.get("scoring"):
        raise InputError(f"The benchmark run {path} holds no scoring times.")
    if "goals" not in report:
        raise InputError(f"The benchmark run {path} is of an older form. Make a new one.")
    return report


def read_fuzz(path: str | Path) -> dict[str, float]:
    """The file that `benchmarks/fuzz.py` writes, as one number per name.

    Returns: ``fuzz_volumes``, ``fuzz_pairs`` and the largest difference ``fuzz_<metric>`` of the search;
    ``ties_pairs``, the numbers of pairs that differ ``ties_<metric>`` and the largest difference
    ``ties_hausdorff_mm`` of HD and HD95 in the search at ties.
    InputError: if it does not exist.
    """
    report = page.read_record(path, "search for differences", "fuzz.py")
    search, ties = report["search"], report["ties"]
    found = {f"fuzz_{metric}": value for metric, value in search["differences"].items()}
    found |= {f"ties_{metric}": ties["differing"].get(metric, 0) for metric in ties["differences"]}
    found |= {"fuzz_volumes": search["volumes"], "fuzz_pairs": search["pairs"]}
    return found | {
        "ties_pairs": ties["pairs"],
        "ties_hausdorff_mm": max(ties["differences"][m] for m in ("hausdorff", "hausdorff_95")),
    }


def read_faults(path: str | Path) -> pd.DataFrame:
    """What `benchmarks/faults.py` wrote: a row per fault, with its numbers of trials."""
    return pd.DataFrame(page.read_record(path, "record of planted faults", "faults.py")["faults"])


def fault_words(trials: pd.DataFrame) -> str:
    """Say how many trials there were and what was lost."""
    lost = trials["lost"].sum()
    return f"{trials['tried'].sum():,} trials; **{lost}** results were lost or changed without a word."


def read_case(path: str | Path) -> dict:
    """What `benchmarks/case.py` wrote: whole cases at full size."""
    return page.read_record(path, "record of whole cases", "case.py")


STAGES = {
    "reading": "reading image and reference",
    "segmenter": "the segmenter's own calls",
    "scoring": "scoring",
    "overhead": "all else: prompts, clicks, writing, quantities",
    "whole": "whole case",
    "nothing_to_do": "the same command again, nothing left to do",
}


def case_table(record: dict) -> pd.DataFrame:
    """CPU seconds of a whole case by stage, and memory, one column a grid."""
    rows = {f"{title}, CPU s": [three_digits(c[k]) for c in record["cases"]] for k, title in STAGES.items()}
    rows["peak above image and reference, MB"] = [f"{c['above_image_mb']:.0f}" for c in record["cases"]]
    columns = [f"{c['grid']}, {' × '.join(map(str, c['shape']))}" for c in record["cases"]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("stage").reset_index()


def beside_table(record: dict) -> pd.DataFrame:
    """The usual ways with the same masks: CPU seconds and ratios to ours, by grid."""
    rows = []
    for case in record["cases"]:
        for name, seconds in case["usual"].items():
            task, key = "all structures scored once", "scoring_once"
            if name.endswith("a click"):
                task, key = "a corrective click", "click"
            numbers = map(three_digits, (seconds, case[key], seconds / case[key]))
            rows.append([case["grid"], task, name.removesuffix(", a click"), *numbers])
    return pd.DataFrame(rows, columns=["grid", "task", "program", "CPU s", "ours, CPU s", "× ours"])


def ratio_table(report: dict, grid: str) -> pd.DataFrame:
    """Seconds and ratios to our time by system, of the good and the poor prediction of a grid."""
    rows = pd.DataFrame(report["scoring"]).query("grid == @grid")
    rows["system"] = rows["system"].str.replace(r",? in boxes", "", regex=True)
    scaled = rows["structures"] < rows["structures"].max()
    rows["habit"] = rows["habit"] + np.where(scaled, ", scaled from one structure", "")
    keys = ["system", "habit", "metrics"]
    wide = rows.pivot_table(index=keys, columns="quality", values=["seconds", "ratio"], sort=False)
    shown = pd.DataFrame(index=wide.index)
    for quality in rows["quality"].unique():
        for column, title in (("seconds", "CPU s"), ("ratio", "× ours")):
            texts = wide[column, quality].map(three_digits, na_action="ignore")
            shown[f"{quality}: {title}"] = texts.fillna("not run")
    order = wide["seconds"].iloc[:, 0].sort_values().index
    return shown.loc[order].reset_index()


def goal_table(report: dict) -> pd.DataFrame:
    """What a run must reach, what it reached, and whether that is enough."""
    table = pd.DataFrame(report["goals"], columns=["goal", "limit", "measured", "met"])
    table["measured"] = table["measured"].map(three_digits)
    table["met"] = table["met"].map({True: "yes", False: "**no**"})
    return table


def not_run_table(report: dict) -> pd.DataFrame:
    """Programs that the run leaves out, and why."""
    return pd.DataFrame(report["not_run"].items(), columns=["program", "why"])


def difference_table(report: dict) -> pd.DataFrame:
    """Largest difference of each system's values from ours, over structures and predictions."""
    rows = pd.DataFrame([r for r in report["scoring"] if r["differences"]])
    wide = pd.json_normalize(rows["differences"].tolist()).set_index(rows["system"])
    wide = wide.groupby(level=0, sort=False).max()
    titles = {
        "dice": "DSC",
        "surface_dice": f"NSD ({report['tolerance_mm']:g} mm)",
        "hausdorff_95": "HD95 (mm)",
        "assd": "ASSD (relative)",
    }
    wide = wide.reindex(columns=list(titles)).rename(columns=titles)
    text = wide.map(lambda v: "not computed" if np.isnan(v) else f"{v:.1e}" if v else "0")
    return text.rename_axis("system").reset_index()


def limit_table(report: dict) -> pd.DataFrame:
    """Our times as multiples of reading both volumes from memory once."""
    rows = pd.DataFrame(report["scoring"])
    own = rows[rows["system"].str.startswith((OWN, LIMIT))]
    wide = own.pivot_table(index=["grid", "quality"], columns="system", values="seconds", sort=False)
    shown = pd.DataFrame({f"{LIMIT}, ms": (1000 * wide[LIMIT]).round(1)})
    for name in (f"{OWN}, Dice and volumes", f"{OWN}, surface Dice", OWN):
        if name not in wide:  # a run made before it was measured
            continue
        title = "all metrics" if name == OWN else name.split(", ")[1]
        shown[f"{title}, ms"] = (1000 * wide[name]).round(1)
        shown[f"{title}, ×"] = (wide[name] / wide[LIMIT]).map(three_digits)
    return shown.reset_index()


def task_table(rows: list[dict]) -> pd.DataFrame:
    """Milliseconds and ratios of other tasks: files or prompts."""
    table = pd.DataFrame(rows)
    shown = table[[c for c in ("task", "grid", "quality", "system") if c in table]].copy()
    shown["CPU ms"] = (1000 * table["seconds"]).map(three_digits)
    shown["× ours"] = table["ratio"].map(three_digits)
    if "bytes" in table:
        shown["kB"] = [f"{b / 1000:.0f}" if b and not np.isnan(b) else "" for b in table["bytes"]]
    if "same_points" in table:
        pairs = zip(table["same_points"], table["points"], strict=True)
        shown["same points"] = [f"{a} of {b}" for a, b in pairs]
    return shown.sort_values(["task", "grid"], kind="stable")


def memory_table(report: dict) -> pd.DataFrame:
    """Peak memory above the two volumes by system; empty where it was not measured."""
    keys = ["grid", "quality", "system"]
    table = pd.DataFrame(report["memory"], columns=[*keys, "peak_mb", "bytes_per_voxel", "ratio"])
    shown = table[keys].copy()
    shown["peak, MB"] = table["peak_mb"].map("{:.0f}".format)
    shown["bytes a voxel"] = table["bytes_per_voxel"].map("{:.2f}".format)
    shown["× ours"] = table["ratio"].map(three_digits)
    return shown


def scaling_table(report: dict) -> pd.DataFrame:
    """Milliseconds by number of structures."""
    table = pd.DataFrame([r for r in report["scaling"] if "structures" in r])
    wide = table.pivot_table(index="structures", columns="quality", values="seconds", sort=False)
    return (1000 * wide).round(0).astype(int).add_suffix(": CPU ms").reset_index()


def size_table(report: dict) -> pd.DataFrame:
    """Milliseconds by size of the volume, and nanoseconds a surface cell."""
    keys = ["grid", "quality", "voxels", "cells", "seconds"]
    table = pd.DataFrame([r for r in report["scaling"] if "voxels" in r], columns=keys)
    shown = table[["grid"]].assign(prediction=table["quality"])
    shown["million voxels"] = (table["voxels"] / 1e6).map(three_digits)
    shown["thousand surface cells"] = (table["cells"] / 1e3).round(0).astype(int)
    shown["CPU ms"] = (1000 * table["seconds"]).round(0).astype(int)
    shown["ns a cell"] = (1e9 * table["seconds"] / table["cells"]).round(0).astype(int)
    return shown


def three_digits(value: float) -> str:
    """A number with three significant digits, without exponent.

    Examples
    --------
    >>> [three_digits(v) for v in (0.012345, 1.5, 234.5, 6543)]
    ['0.0123', '1.5', '234', '6540']
    """
    return np.format_float_positional(value, 3, fractional=False, trim="-")


def ratio_plot(report: dict, grid: str) -> Axes:
    """How many times our time each system takes, on a logarithmic axis."""
    (ax,) = panels(1, 1, width=7.0, height=3.8)
    rows = pd.DataFrame(report["scoring"]).query("grid == @grid and ratio > 1")
    names = rows.groupby("system")["ratio"].max().sort_values().index
    for quality, marker, colour in (("good", "o", "#0072b2"), ("poor", "s", "#d55e00")):
        part = rows[rows["quality"] == quality].set_index("system").reindex(names)
        ax.plot(part["ratio"], np.arange(len(names)), marker, color=colour, label=f"{quality} prediction")
    ax.axvline(1, color="#444444", lw=1)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set(xscale="log", xlabel="CPU time, multiple of this project's")
    ax.legend(loc="lower right")
    return ax
