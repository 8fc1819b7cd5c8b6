"""The table of quantities: the score table's sister, one row per prediction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from umdlib.errors import InputError
from umdlib.files import read_stamped, write_stamped
from umdlib.quantities.masks import QUANTITIES
from umdlib.scores.table import KEYS

# Raised when a quantity's value may change.
QUANTITIES_VERSION = "1"

SIDES = ("reference", "prediction")
COLUMNS: tuple[str, ...] = (*KEYS, *(f"{s}_{q}" for s in SIDES for q in QUANTITIES), "status", "reason")

_STAMP = b"umdlib_quantities"


def _check_quantities(table: pd.DataFrame, *, source: str = "the table of quantities") -> pd.DataFrame:
    """The table with its columns typed and ordered."""
    for column in COLUMNS:
        if column not in table:
            raise InputError(f"Column '{column}' is missing in {source}.")
    table = table.astype({c: "float64" for c in COLUMNS if c.startswith(SIDES)})
    table = table.astype({"step": "int64", "seed": "int64"})
    twice = table[table.duplicated(list(KEYS))]
    if len(twice):
        name = " ".join(str(twice.iloc[0][k]) for k in KEYS)
        raise InputError(f"{name} occurs twice in {source}.")
    for side in SIDES:
        if (table[f"{side}_ml"] < 0).any():
            raise InputError(f"{side}_ml in {source} is negative. A volume is 0 ml or more.")
    return table[list(COLUMNS)].sort_values(list(KEYS), ignore_index=True)


def write_quantities(path: str | Path, table: pd.DataFrame, *, stamp: dict | None = None) -> None:
    """Write a checked table with its provenance, atomically.

    Raises
    ------
    InputError
        As `_check_quantities`, and where the file cannot be written.
    """
    table = _check_quantities(table, source=str(path))
    write_stamped(path, table, _STAMP, {"version": QUANTITIES_VERSION, **(stamp or {})})


def read_quantities(path: str | Path) -> pd.DataFrame:
    """Read a table of quantities; `table.attrs["stamp"]` is its provenance.

    Raises
    ------
    InputError
        A missing, damaged or foreign file, another version, and as `_check_quantities`.
    """
    found, stamp = read_stamped(path, _STAMP, name="Table of quantities", made_by="umdlib quantities")
    if stamp.get("version") != QUANTITIES_VERSION:
        raise InputError(
            f"Table of quantities {path} has version {stamp.get('version')}. "
            f"This umdlib reads version {QUANTITIES_VERSION}."
        )
    table = _check_quantities(found, source=str(path))
    table.attrs["stamp"] = stamp
    return table


def stacked(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables one under the other, checked as one."""
    parts = [t[list(COLUMNS)] for t in tables]
    for part in parts:
        part.attrs = {}
    full = [p.dropna(axis=1, how="all") for p in parts if len(p)]
    return _check_quantities(pd.concat(full, ignore_index=True).reindex(columns=list(COLUMNS)))
