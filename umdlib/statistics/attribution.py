"""Shapley shares: how much of a paired difference belongs to each named factor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.statistics.bootstrap import interval_of_mean
from umdlib.statistics.pairs import means_over_structures

NONE, PET, UNDONE = "none", "PET", "PET-"  # cells: nothing degraded; the real PET; PET with factors undone
KEYS = ("subject", "session", "structure", "segmenter")
GAP, RESIDUAL = "gap", "residual"
FACTORS = "RNCA"  # resolution, noise, contrast, alignment


def subsets(factors: str) -> list[str]:
    """Names of all subsets of some one-letter factors, in the order of their bits.

    Examples
    --------
    >>> subsets("RN")
    ['none', 'R', 'N', 'R+N']
    """
    return [
        "+".join(f for i, f in enumerate(factors) if number >> i & 1) or NONE
        for number in range(1 << len(factors))
    ]


def shapley_values(values: np.ndarray) -> np.ndarray:
    """Shapley value of each factor from the worth of every subset.

    Parameters
    ----------
    values
        Shape (..., 2**k); the subset at index ``n`` holds factor ``i`` where bit ``i`` of ``n`` is set.

    Returns
    -------
    numpy.ndarray
        Shape (..., k). They sum to the worth of all factors minus that of none; a factor that changes
        no subset has exactly 0.

    Notes
    -----
    Shapley (1953): the mean over all orders of what a factor adds to those before it.

    Examples
    --------
    Two factors that cost 0.1 and 0.2, and 0.1 more together:

    >>> shapley_values(np.array([0.0, -0.1, -0.2, -0.4])).round(6).tolist()
    [-0.15, -0.25]
    """
    values, k = _checked(values)
    shares = np.zeros((*values.shape[:-1], k))
    for factor in range(k):
        for without, added in _steps(values, factor):
            size = without.bit_count()
            weight = math.factorial(size) * math.factorial(k - 1 - size) / math.factorial(k)
            shares[..., factor] += weight * added
    return shares


def order_extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest part that each factor has over all orders in which they can be added.

    Returns
    -------
    low, high : numpy.ndarray
        Shape (..., k).

    Examples
    --------
    >>> low, high = order_extremes(np.array([0.0, -0.1, -0.2, -0.4]))
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([-0.2, -0.3], [-0.1, -0.2])
    """
    values, k = _checked(values)
    parts = np.stack([np.stack([a for _, a in _steps(values, f)], axis=-1) for f in range(k)], axis=-2)
    return parts.min(axis=-1), parts.max(axis=-1)


def _checked(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values as floats, and the number of factors."""
    values = np.asarray(values, float)
    k = values.shape[-1].bit_length() - 1 if values.ndim and values.shape[-1] else -1
    if k < 1 or values.shape[-1] != 1 << k:
        raise InputError(
            f"Invalid worths of shape {values.shape}. The last axis must hold 2, 4, 8 … subsets."
        )
    return values, k


def _steps(values: np.ndarray, factor: int):
    """(subset without the factor, what the factor adds to it)."""
    bit = 1 << factor
    for without in range(values.shape[-1]):
        if not without & bit:
            yield without, values[..., without | bit] - values[..., without]


def share_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Shares of every subject, structure and segmenter.

    Parameters
    ----------
    cells
        `KEYS`, `cell` (names of `subsets`, `PET`, and with factors undone ``PET-C``), `score`, `reason`.

    Returns
    -------
    pandas.DataFrame
        `KEYS`, `factor`, `share`, `order_low`, `order_high`, `reverse`, `reason`. Factors are the letters,
        `residual` (real PET minus all degradations) and `gap` (real PET minus structural): the letters
        and the residual sum to the gap. `reverse` is the share when the factor is undone on PET, NaN where
        that was not run. Where a cell has no score all are NaN, with its reason.
    """
    rows = []
    names = [*subsets(FACTORS), PET]
    for key, part in cells.groupby(list(KEYS), sort=False):
        scores = part.set_index("cell")["score"].reindex(names)
        missing = scores[scores.isna()]
        if len(missing):
            reasons = part[part["cell"].isin(missing.index) & part["reason"].ne("")]["reason"]
            reason = reasons.iloc[0] if len(reasons) else f"no score of cell {missing.index[0]}"
            rows += [(*key, f, *[np.nan] * 4, reason) for f in (*FACTORS, RESIDUAL, GAP)]
            continue
        values = scores.to_numpy(float)
        found, (low, high) = shapley_values(values[:-1]), order_extremes(values[:-1])
        undone = _reverse(part.set_index("cell")["score"])
        for i, f in enumerate(FACTORS):
            rows.append((*key, f, found[i], low[i], high[i], undone.get(f, np.nan), ""))
        rest, gap = values[-1] - values[-2], values[-1] - values[0]
        rows += [(*key, n, v, v, v, np.nan, "") for n, v in ((RESIDUAL, rest), (GAP, gap))]
    return pd.DataFrame(
        rows, columns=[*KEYS, "factor", "share", "order_low", "order_high", "reverse", "reason"]
    )


def _reverse(scores: pd.Series) -> dict[str, float]:
    """Shares from the other end: what PET lacks of its own score with factors undone; sign as of shares."""
    known = [f for f in FACTORS if UNDONE + f in scores.index]
    names = [PET if n == NONE else UNDONE + n for n in subsets("".join(known))] if known else []
    values = scores.reindex(names).to_numpy(float)
    if not known or np.isnan(values).any():
        return {}
    return dict(zip(known, -shapley_values(values), strict=True))


def share_table(
    rows: pd.DataFrame,
    by: Sequence[str] = ("session", "segmenter"),
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean shares over structures within subjects (standardised), then over subjects, with intervals.

    Parameters
    ----------
    rows
        From `share_rows`.
    by
        What makes a row.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `by`, `factor`, `estimate`, `low`, `high`, `order_low`, `order_high` (means of the smallest and
        largest part over all orders), `reverse`, `n_subjects`, `n_undefined`. Intervals are NaN below two
        subjects.
    """
    numbers = ["share", "order_low", "order_high", "reverse"]
    out = []
    for key, part in rows.groupby([*by, "factor"], sort=False):
        known = part[part["share"].notna()]
        subjects = means_over_structures(known.set_index(["subject", "structure"])[numbers])
        found = interval_of_mean(subjects["share"].to_numpy(float), "dice", n_resamples, seed)
        ends = subjects[["order_low", "order_high", "reverse"]].mean()
        out.append((*key, *found[:3], *ends, found.n_subjects, len(part) - len(known)))
    columns = [*by, "factor", "estimate", "low", "high", "order_low", "order_high", "reverse"]
    return pd.DataFrame(out, columns=[*columns, "n_subjects", "n_undefined"])


def additivity_error(rows: pd.DataFrame) -> float:
    """Largest distance of the sum of shares and residual from the gap; 0 where there are none."""
    wide = rows.pivot_table(index=list(KEYS), columns="factor", values="share", sort=False)
    if wide.empty:
        return 0.0
    return float((wide.drop(columns=GAP).sum(axis=1) - wide[GAP]).abs().max())


def largest_share(table: pd.DataFrame) -> pd.Series | None:
    """The factor (or residual) of one system's table that lies farthest from 0; None without any."""
    known = table[table["factor"].ne(GAP) & table["estimate"].notna()]
    return known.loc[known["estimate"].abs().idxmax()] if len(known) else None
