"""Scores beside ceilings: of a system that looks at parts of an image, and of the references of a cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.files import read_tsv
from umdlib.scores.ceilings import BOUNDS, COLUMNS, KINDS

_KEYS = ["session", "segmenter", "prompt", "step", "modality"]


def beside_ceilings(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC and mean ceiling of every system, protocol, step and modality that has a ceiling.

    Plain means over seeds and structures within subjects, then over subjects, of the same predictions: so
    a mean DSC stays below the mean of its ceilings, which standardised means do not promise. A prediction that
    failed counts in neither.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, prompt, step, modality, dice, ceiling, n_subjects`; empty where the table
        has no ceilings.

    Examples
    --------
    >>> keys = {"session": "petct", "segmenter": "a", "prompt": "centre", "step": 0, "modality": "CT"}
    >>> rows = [{**keys, "subject": s, "dice": d, "ceiling": 0.8} for s, d in (("1", 0.2), ("1", 0.4), ("2", 0.7))]
    >>> beside_ceilings(pd.DataFrame(rows))[["dice", "ceiling", "n_subjects"]].round(3).values.tolist()
    [[0.5, 0.8, 2.0]]
    """
    columns = [*_KEYS, "dice", "ceiling", "n_subjects"]
    if "ceiling" not in scores:
        return pd.DataFrame(columns=columns)
    known = scores[scores["ceiling"].notna() & scores["dice"].notna()]
    subjects = known.groupby([*_KEYS, "subject"], sort=False)[["dice", "ceiling"]].mean()
    grouped = subjects.groupby(_KEYS, sort=False)
    return grouped.mean().assign(n_subjects=grouped.size()).reset_index()[columns]


def read_ceilings(path: str | Path) -> pd.DataFrame:
    """Read a table that ``umdlib ceilings`` wrote.

    Returns
    -------
    pandas.DataFrame
        `umdlib.scores.ceilings.COLUMNS`; numbers as floats, NaN where there is none.

    Raises
    ------
    InputError
        A file that is not a table of ceilings, an unknown kind, a ceiling that is not a number from 0 to 1.
    """
    table = read_tsv(path, COLUMNS)[list(COLUMNS)]
    for kind in table["kind"].unique():
        if kind not in KINDS:
            raise unknown_name(f"kind of ceiling in {path}", kind, KINDS)
    for column in ("size_mm", "ceiling"):
        found = pd.to_numeric(table[column].replace("n/a", np.nan), errors="coerce")
        wrong = table[column][found.isna() & table[column].ne("n/a")]
        if len(wrong):
            raise InputError(f"Line {wrong.index[0]} of {path}: {column} is '{wrong.iloc[0]}', not a number.")
        table[column] = found
    outside = table[(table["ceiling"] < 0) | (table["ceiling"] > 1)]
    if len(outside):
        raise InputError(
            f"Line {outside.index[0]} of {path}: a ceiling of {outside['ceiling'].iloc[0]}. Must lie in [0, 1]."
        )
    return table.assign(reason=table["reason"].replace("n/a", "")).reset_index(drop=True)


def structure_ceilings(table: pd.DataFrame) -> pd.DataFrame:
    """Mean ceilings over subjects, one row per session, modality, structure, kind and size.

    Parameters
    ----------
    table
        From `read_ceilings`.

    Returns
    -------
    pandas.DataFrame
        `session, modality, structure, kind, size_mm, ceiling, n_subjects`, `bound` (whether no mask can
        exceed it, of those that the kind speaks of; the others are lines to read a score by). Kinds without
        a number have no row.

    Examples
    --------
    >>> row = {"session": "petct", "modality": "PET", "structure": "liver", "kind": "grid", "size_mm": np.nan}
    >>> table = pd.DataFrame([{**row, "subject": s, "ceiling": c} for s, c in (("1", 0.9), ("2", 0.8))])
    >>> structure_ceilings(table)[["kind", "ceiling", "n_subjects", "bound"]].round(3).values.tolist()
    [['grid', 0.85, 2, False]]
    """
    known = table[table["ceiling"].notna()]
    keys = ["session", "modality", "structure", "kind", "size_mm"]
    subjects = known.groupby([*keys, "subject"], sort=False, dropna=False)["ceiling"].mean()
    grouped = subjects.groupby(keys, sort=False, dropna=False)
    found = grouped.mean().to_frame().assign(n_subjects=grouped.size()).reset_index()
    return found.assign(bound=found["kind"].isin(BOUNDS))
