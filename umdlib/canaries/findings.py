"""Findings of the canaries over a run: written, read, and put into words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from umdlib.canaries.checks import FAULTS
from umdlib.errors import InputError
from umdlib.files import replaced

FILE = "canaries.tsv"
COLUMNS = ("segmenter", "modality", "n_cases", "faults", "detail", "control")


def write(root: str | Path, findings: pd.DataFrame) -> Path:
    """Store what `canary_run.check_run` found beside the scores of a run."""
    path = Path(root) / FILE
    with replaced(path) as part:
        findings.to_csv(part, sep="\t", index=False, lineterminator="\n")
    return path


def read(root: str | Path) -> pd.DataFrame:
    """Read the findings of a run's canaries; no rows where they did not run.

    Raises
    ------
    InputError
        A file that is not a table of findings.
    """
    path = Path(root) / FILE
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    absent = [c for c in COLUMNS if c not in table]
    if absent:
        raise InputError(f"File {path} lacks the columns {', '.join(absent)}.")
    return table


def flagged(findings: pd.DataFrame) -> dict[str, str]:
    """Segmenter to its faults in words, of those with at least one.

    Examples
    --------
    >>> rows = pd.DataFrame({"segmenter": ["a", "b"], "faults": ["", "flipped"]})
    >>> flagged(rows)
    {'b': 'a flip of the prediction fits clearly better'}
    """
    named: dict[str, dict[str, None]] = {}
    for row in findings.itertuples():
        for fault in filter(None, row.faults.split(", ")):
            named.setdefault(row.segmenter, {})[FAULTS.get(fault, fault)] = None
    return {name: "; ".join(words) for name, words in named.items()}
