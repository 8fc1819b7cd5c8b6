"""One row per test of printed numbers: how it ended, where, by which arithmetic, what else it could be.

How sure a finding is, is its grade:

* ``impossible``: no data whatever can print these numbers (in the range of the metric, n as stated);
* ``inconsistent``: it contradicts another printed number under the paper's own description;
* ``suspect``: possible, but a pattern that data rarely make by themselves;
* ``note``: worth knowing, nothing is wrong;
* ``not testable``: something the test needs was not printed;
* ``passed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

GRADES = ("impossible", "inconsistent", "suspect", "note", "not testable", "passed")
COLUMNS = ("check", "grade", "table", "where", "printed", "arithmetic")
Cell = Mapping[str, object]  # one row of `umdlib.published.cells`
_TWO_EXPERIMENTS = (
    "The two papers may have used different clicks, versions, grids or empty rules on the same "
    "images: then the numbers belong to two experiments, and both can be right."
)
_OTHER_TIME = "Text and table were not updated together."
# What else could be behind a finding of each check.
INNOCENT: dict[str, str] = {
    "range": "A per cent sign lost on the way, or a metric other than the one named.",
    "sd bound": "A digit set wrongly, in the paper or in its text version; or n is not the one given.",
    "interval order": "The numbers of two rows exchanged.",
    "average sd": (
        "The average may be taken over other subjects or structures than the rows, or a digit was set wrongly."
    ),
    "average mean": "A digit set wrongly, or the average belongs to another block of the table.",
    "average over others": (
        "Averaging per subject with some structures left out (empty, failed), or pooling unequal "
        "groups, gives another number than averaging the rows; so does rounding done twice."
    ),
    "counts at one": (
        "Many metric libraries score an empty prediction against an empty reference as 1: a "
        "convention, not a fault, but no evidence of segmentation either."
    ),
    "fullest subject": "An image that was cut short, so that most organs are outside it.",
    "one large score": "A single subject that really was segmented well would do the same.",
    "copied cell": "A slip when the table was set; or chance, at the rate that is given.",
    "quartile order": "Columns of a spreadsheet exchanged.",
    "unit mix": "Numbers taken over from another paper in that paper's unit.",
    "uneven step": "A digit set wrongly; or scores that really gain in one step only.",
    "total": "Subjects left out or counted twice after the text was written.",
    "overview": "Rounding of a number that had already been rounded.",
    "line order": "The caption names the colours, not the lines.",
    "mean in quartiles": _TWO_EXPERIMENTS,
    "sd in quartiles": _TWO_EXPERIMENTS,
    "which is the copy": "Both cells could be wrong.",
    "reversed order": "Skewed scores: a mean and a median can rank two systems differently, and both are right.",
    "same cell twice": "One table was set from an older version of the other.",
    "caption": "A caption copied from another table.",
    "pointer": "Tables renumbered after the text was written.",
    "shared centre": "Other years or other patients of the same hospital; subjects need not be shared.",
    "reference": "The reference was trained on few cases; more would raise it.",
    "shared variation": (
        "Subjects really can be hard in all structures at once, or one prompt or crop per subject "
        "can fail for all of them."
    ),
    "statement": _OTHER_TIME,
}


@dataclass(frozen=True)
class Place:
    """Place of a finding that is not about one cell."""

    table: str
    where: str
    printed: str


def outcomes(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows of tests as a frame with `COLUMNS`."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).fillna("")


def place(cell: Cell) -> str:
    """Say where a cell is."""
    parts = [cell["row"], cell["modality"], cell["column"]]
    if cell["section"]:
        parts.insert(0, cell["cohort"])
    return ", ".join(p for p in dict.fromkeys(parts) if p)


def outcome(check: str, cell: Cell | Place, bad: bool, grade: str, arithmetic: str) -> dict:
    """Return one test of one cell, or of a place in the text."""
    if not isinstance(cell, Place):
        cell = Place(f"{cell['paper']}, {cell['table']}".strip(", "), place(cell), cell["raw"])
    found = {"check": check, "grade": grade if bad else "passed", "arithmetic": arithmetic}
    return found | {"table": cell.table, "where": cell.where, "printed": cell.printed}


def severe_first(found: pd.DataFrame) -> pd.DataFrame:
    """Return tests sorted by grade, otherwise in the order in which they were made."""
    rank = found["grade"].map({g: i for i, g in enumerate(GRADES)})
    order = np.argsort(rank.to_numpy(), kind="stable")
    return found.iloc[order].reset_index(drop=True)


def shown(value: float, half_unit: float) -> str:
    """Return a number with the places that its cell was printed with.

    Examples
    --------
    >>> shown(0.4101, 5e-5), shown(85.25, 0.05)
    ('0.4101', '85.2')
    """
    return f"{value:.{max(0, round(-np.log10(2 * half_unit)))}f}"
