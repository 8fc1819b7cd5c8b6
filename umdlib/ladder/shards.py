"""Tables that the shards of a ladder wrote, as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.files import read_tsv
from umdlib.ladder.run import CELL_COLUMNS, ESTIMATE_COLUMNS

_NUMBERS = ("score", "seconds", "value", "error")
_PAIR = ["subject", "session"]


def gathered(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the cells and estimates of all shards of a ladder, in the order of the pairs.

    Parameters
    ----------
    folder
        With ``cells_<K>of<N>.tsv`` and ``estimates_<K>of<N>.tsv`` of every K.

    Returns
    -------
    cells, estimates : pandas.DataFrame
        As `ladder_run` has them.

    Raises
    ------
    InputError
        No shard, one that is missing, or shards of two divisions; a table of another kind.
    """
    folder = Path(folder)
    found = [re.fullmatch(r"cells_(\d+)of(\d+)\.tsv", p.name) for p in folder.glob("cells_*of*.tsv")]
    parts = {(int(m[1]), int(m[2])) for m in found if m}
    of = {n for _, n in parts}
    if len(of) != 1:
        said = f"of divisions by {', '.join(map(str, sorted(of)))}" if of else "no tables"
        raise InputError(f"Folder {folder} holds {said}. Must be cells_<K>of<N>.tsv of one N.")
    (n,) = of
    missing = sorted(set(range(1, n + 1)) - {k for k, _ in parts})
    if missing:
        raise InputError(
            f"Shard {missing[0]}/{n} is missing in {folder}: run `umdlib ladder --shard` for it."
        )
    return tuple(
        _interleaved([_table(folder / f"{name}_{k}of{n}.tsv", columns) for k in range(1, n + 1)])
        for name, columns in (("cells", CELL_COLUMNS), ("estimates", ESTIMATE_COLUMNS))
    )


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table with its numbers as such."""
    table = read_tsv(path, columns).reset_index(drop=True).replace("n/a", "")
    for column in (c for c in _NUMBERS if c in columns):
        try:
            table[column] = pd.to_numeric(table[column].replace("", np.nan))
        except ValueError:
            raise InputError(f"Column '{column}' of {path} holds what is not a number.") from None
    return table


def _interleaved(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows in the order of the pairs: shard K of N holds every N-th from the K-th."""
    parts = [
        p.assign(place=p.groupby(_PAIR, sort=False).ngroup() * len(parts) + k) for k, p in enumerate(parts)
    ]
    whole = pd.concat(parts, ignore_index=True).sort_values("place", kind="stable", ignore_index=True)
    return whole.drop(columns="place")
