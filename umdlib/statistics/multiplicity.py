"""Corrections of p-values for the size of their family, safe against missing ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down p-values; NaN stay NaN and do not count in the family.

    Notes
    -----
    Holm (1979), https://www.jstor.org/stable/4615733.

    Examples
    --------
    >>> holm(np.array([0.01, np.nan, 0.04])).round(4)
    array([0.02,  nan, 0.04])
    """
    p, known = _known(p_values)
    if known.any():
        order = np.argsort(p[known], kind="stable")
        m = order.size
        stepped = np.maximum.accumulate((m - np.arange(m)) * p[known][order])
        p[known] = np.minimum(_unsorted(stepped, order), 1.0)
    return p


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values; NaN stay NaN and do not count in the family.

    Notes
    -----
    Benjamini and Hochberg (1995), https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04])).round(4)
    array([0.02,  nan, 0.04])
    """
    p, known = _known(p_values)
    if known.any():
        order = np.argsort(p[known], kind="stable")
        m = order.size
        scaled = p[known][order] * m / np.arange(1, m + 1)
        stepped = np.minimum.accumulate(scaled[::-1])[::-1]
        p[known] = np.minimum(_unsorted(stepped, order), 1.0)
    return p


def _known(p_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy as float64, and where it is a number."""
    p = np.array(p_values, dtype=float)
    return p, np.isfinite(p)


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Values back in the places they were sorted from."""
    back = np.empty_like(values)
    back[order] = values
    return back


def adjust(
    comparisons: pd.DataFrame,
    *,
    p_value: str = "p_value",
    name: str = "p",
    within: Sequence[str] = ("session", "segmenter"),
    across: Sequence[str] = ("session", "structure"),
) -> pd.DataFrame:
    """Add Holm's and Benjamini-Hochberg's p-values, each with the size of its family.

    Parameters
    ----------
    comparisons
        Comparison table with a column `p_value`.
    p_value
        That column.
    name
        How the new columns begin; each question asked of all comparisons is a family of its own.
    within
        Columns that are the same in a Holm family: by default the structures of one segmenter.
    across
        Columns that are the same in a Benjamini-Hochberg family: by default all segmenters on
        one structure.

    Returns
    -------
    pandas.DataFrame
        A copy with `p_holm`, `n_holm`, `p_bh`, `n_bh` (of another name, without the sizes). A p-value
        that could not be computed is in no family, and a column that the table does not have is not a split.
    """
    table = comparisons.copy()
    for short, rule, columns in (("holm", holm, within), ("bh", benjamini_hochberg, across)):
        keys = [c for c in columns if c in table.columns]
        families = table.groupby(keys, dropna=False)[p_value] if keys else None
        if families is None:
            adjusted = rule(table[p_value].to_numpy())
            sizes = int(table[p_value].notna().sum())
        else:
            adjusted = families.transform(lambda p, rule=rule: rule(p.to_numpy()))
            sizes = families.transform("count").astype(int)
        table[f"{name}_{short}"] = adjusted
        if name == "p":
            table[f"n_{short}"] = sizes
    return table
