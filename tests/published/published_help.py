"""What the tests of the published track share: the papers' text if it is there, made tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from umdlib.published.parsing import half_unit, parse_cell

ROOT = Path(__file__).resolve().parents[2]
TEXT = {"UMD": "umd-paper.txt", "SegAnyPET": "seganypet-paper.txt"}


def paper(name: str) -> Path:
    """Text of a paper, or skip: it is not part of the project."""
    folder = Path(os.environ.get("UMD_SHARED", ROOT.parent / "shared")) / "papers"
    path = folder / TEXT[name]
    if not path.is_file():
        pytest.skip("the text of the papers is not here")
    return path


def records(cells: list[dict]) -> pd.DataFrame:
    """A table as `published.read` gives it, from printed cells."""
    rows = []
    for i, cell in enumerate(cells):
        base = {
            "paper": "P",
            "table": "Table 1",
            "row_line": 1,
            "section": "",
            "cohort": "C",
            "session": "petct",
            "modality": "CT",
            "segmenter": "s",
            "prompt": "1 point",
            "metric": "dice",
            "unit": "fraction",
            "line": i + 1,
            "column": "M",
            "model": "M",
            **cell,
        }
        base.setdefault("row", base["structure"])
        for statistic, printed in parse_cell(base["raw"]).numbers or (("none", ""),):
            value = float(printed) if printed else np.nan
            half = half_unit(printed) if printed else np.nan
            rows.append(
                {**base, "statistic": statistic, "value": value, "printed": printed, "half_unit": half}
            )
    return pd.DataFrame(rows)


def summary(scores: np.ndarray, names: list[str], *, quartiles: bool = False, column: str = "M"):
    """Printed cells of scores (subjects, structures), with the average row."""
    columns = [*scores.T, scores.mean(axis=1)]
    cells = []
    for i, (name, own) in enumerate(zip([*names, "average"], columns, strict=True)):
        raw = f"{own.mean():.4f}({own.std():.4f})"
        if quartiles:
            q1, median, q3 = np.quantile(own, [0.25, 0.5, 0.75])
            raw = f"{median:.4f} ({q1:.4f}-{q3:.4f})"
        cells.append(
            {
                "structure": name,
                "raw": raw,
                "line": i + 1,
                "column": column,
                "model": column,
                "segmenter": column,
            }
        )
    return cells


def make_scores(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Scores (n, k) in [0, 1]: easy, hard and bimodal structures, a small subject effect."""
    level = rng.uniform(0.03, 0.95, k)
    precision = rng.uniform(4, 60, k)
    scores = rng.beta(level * precision, (1 - level) * precision, (n, k))
    failing = rng.random(k) < 0.3
    fails = rng.random((n, k)) < rng.uniform(0.05, 0.5, k)
    scores = np.where(failing & fails, rng.beta(1, 30, (n, k)), scores)
    return np.clip(scores * rng.normal(1, 0.03, (n, 1)), 0, 1)
