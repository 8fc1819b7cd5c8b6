"""What other programs say of the same masks: laid out from the run of `benchmarks/definitions.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from umdbook.chapters import performance as timings

METRICS = {"dice": "DSC", "surface_dice": "NSD", "hausdorff_95": "HD95", "assd": "ASSD"}
EMPTY = ("both empty", "prediction empty", "reference empty")


def read_programs(path: str | Path) -> dict:
    """The file that `benchmarks/definitions.py` writes.

    Returns
    -------
    dict
        ``spacing_mm``, ``tolerance_mm`` and ``programs``: by name a ``version`` and, for each pair of
        masks, the answer by metric: a number, "nan", "inf", "error", or None for no such metric.

    Raises
    ------
    InputError
        If it does not exist.
    """
    return timings.read_record(path, "record of answers", "definitions.py")


def answer_table(report: dict) -> pd.DataFrame:
    """``program, version, DSC, NSD, HD95, ASSD`` of the two masks; NaN where there is no number."""
    rows = [
        {"program": name, "version": said["version"]}
        | {title: _number(said["two masks"][m]) for m, title in METRICS.items()}
        for name, said in report["programs"].items()
    ]
    return pd.DataFrame(rows)


def empty_table(report: dict) -> pd.DataFrame:
    """DSC, NSD and HD95 of each program where a mask is empty, as text."""
    rows = [
        {"program": f"{name} {said['version']}"}
        | {case: ", ".join(_text(said[case][m]) for m in list(METRICS)[:3]) for case in EMPTY}
        for name, said in report["programs"].items()
    ]
    return pd.DataFrame(rows)


def _number(answer: float | str | None) -> float:
    """An answer as a number; NaN for an error and for no answer."""
    return np.nan if answer in (None, "error") else float(answer)


def _text(answer: float | str | None) -> str:
    """An answer as it is printed."""
    if isinstance(answer, float | int):
        return f"{answer:.3g}"
    return {None: "–", "nan": "NaN", "inf": "∞", "-inf": "−∞"}.get(answer, answer)
