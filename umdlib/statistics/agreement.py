"""Limits of agreement of quantities that are read off a prediction and off its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from umdlib.errors import InputError, unknown_name
from umdlib.scores.table import KEYS
from umdlib.statistics.bootstrap import interval_of_mean
from umdlib.statistics.pairs import condition, in_order, means_over_structures

# Quantity -> modality whose image it is read off, and how a reader calls it.
_READ_OFF: dict[str, str] = {
    "ml": "PET",
    "suv_mean": "PET",
    "suv_max": "PET",
    "suv_peak": "PET",
    "tlg": "PET",
    "hu_mean": "CT",
}
LIMIT = 1.96  # standard deviations that hold 95 % of normal differences
_SMALLEST_HU = 10.0  # of a reference: a share of less says nothing


@dataclass(frozen=True)
class _Retest:
    """Test-retest limits of one person, in per cent, below and above no change.

    Attributes
    ----------
    low, high
        Percent.
    what
        Of what, and in whom.
    source
        Key of the bibliography.
    """

    low: float
    high: float
    what: str
    source: str


RETEST: dict[str, _Retest] = {
    "suv_mean": _Retest(
        -10.8,
        10.8,
        "the smaller end of the coefficients of variation (10.8 to 13.4 %) of SUVmean in normal tissue, two "
        "examinations of 70 persons",
        "paquet2004",
    ),
    "suv_max": _Retest(
        -25.0,
        33.0,
        "change of a tumour's SUV beyond which two examinations are unlikely to differ by the measurement alone, where "
        "the protocol is kept with care (within-subject coefficient of variation about 10 %)",
        "lodge2017",
    ),
    "suv_peak": _Retest(
        -30.0,
        30.0,
        "change of a tumour's peak SUV, there normalised to lean body mass and of 0.8 units or more, that PERCIST "
        "calls a response or a progression: a threshold, not a measured test-retest limit",
        "wahl2009",
    ),
}


def quantity_changes(quantities: pd.DataFrame, quantity: str = "suv_mean") -> pd.DataFrame:
    """Change of a prediction's quantity against its reference's, one row per subject and condition.

    Seeds are averaged within the subject. First prompts alone count.

    Parameters
    ----------
    quantities
        Table of quantities.
    quantity
        A key of `_READ_OFF`.

    Returns
    -------
    pandas.DataFrame
        `subject, session, segmenter, structure, prompt, step`, `reference`, `prediction` and `change`:
        percent of the reference; NaN with `why` where one of the two is undefined.

    Raises
    ------
    InputError
        An unknown quantity.
    """
    rows = _changed(quantities, quantity)
    rows["why"] = _why(rows, quantity)
    by = ["subject", "session", "segmenter", "structure", "prompt", "step"]
    grouped = rows.groupby(by, sort=False)
    table = grouped[["reference", "prediction", "change"]].mean()
    table["why"] = grouped["why"].first().where(table["change"].isna(), "")
    table = in_order(table.reset_index(), list(rows["segmenter"].unique()))
    table.attrs = {"quantity": quantity}
    return table


def _changed(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """First predictions on the quantity's modality, with both sides and the change in percent."""
    if quantity not in _READ_OFF:
        raise unknown_name("quantity", quantity, _READ_OFF)
    rows = rows[rows["modality"].eq(_READ_OFF[quantity])]
    rows = condition(rows) if len(rows) else rows
    sides = rows[f"reference_{quantity}"], rows[f"prediction_{quantity}"]
    rows = rows.assign(reference=sides[0], prediction=sides[1])
    if quantity == "ml":
        rows["prediction"] = rows["prediction"].where(~rows["status"].isin(["failed", "unavailable"]))
    least = _SMALLEST_HU if quantity == "hu_mean" else 0.0
    base = rows["reference"].where(rows["reference"].abs() > least)
    return rows.assign(change=(100 * (rows["prediction"] - base) / base.abs()).astype(float))


def _why(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """Why a row has no change; empty where it has one."""
    why = pd.Series("", index=rows.index)
    why = why.mask(rows["reference"].isna(), "the structure is not in the reference")
    why = why.mask(rows["reference"].notna() & rows["prediction"].isna(), "the prediction is empty")
    if quantity == "hu_mean":
        small = rows["reference"].abs().le(_SMALLEST_HU)
        why = why.mask(small, f"the reference's mean is within {_SMALLEST_HU:g} HU of water")
    other = rows["status"].isin(["failed", "unavailable"]) | rows["reference"].isna() & rows["reason"].ne("")
    return why.mask(other, rows["reason"]).where(rows["change"].isna(), "")


def agreement_table(
    changes: pd.DataFrame,
    *,
    by: Sequence[str] = ("session", "segmenter", "structure"),
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Bias and Bland-Altman limits of agreement of changes, over subjects.

    Parameters
    ----------
    changes
        From `quantity_changes`.
    by
        What makes a row; structures that it leaves out are averaged within the subject first.
    n_resamples, seed
        Of the bootstrap over subjects, for the interval of the bias.

    Returns
    -------
    pandas.DataFrame
        `by`, then in percent `bias, bias_low, bias_high`, `sd`, `low, high` (bias ± 1.96 SD), `low_low,
        low_high, high_low, high_high` (their 95 % intervals), `n_subjects`, `n_undefined`, `within` (share
        of subjects inside the test-retest band; NaN where there is none) and `why` where there is no limit:
        three subjects are the least that give one.

    Notes
    -----
    Bland and Altman (1999), doi:10.1177/096228029900800204: a limit's variance is
    s² (1/n + 1.96² / (2 (n − 1))).
    """
    band = RETEST.get(changes.attrs.get("quantity", ""))
    rows = []
    for key, part in changes.groupby(list(by), sort=False):
        cells = part.set_index(["subject", "structure"])[["change"]]
        values = means_over_structures(cells, jackknife=False)["change"].dropna().to_numpy()
        of_mean = means_over_structures(cells)["change"].dropna().to_numpy()
        reasons = part.loc[part["change"].isna(), "why"]
        rows.append(
            {
                **dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)),
                **_limits(values, of_mean, n_resamples, seed),
                "n_undefined": len(reasons),
                "within": _share_within(values, band),
                "why": _reason(values, reasons),
            }
        )
    columns = [*by, *_limits(np.zeros(0), np.zeros(0), 0, 0), "n_undefined", "within", "why"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = dict(changes.attrs)
    return table


def _limits(values: np.ndarray, of_mean: np.ndarray, n_resamples: int, seed: int) -> dict[str, float]:
    """Bias, limits and their intervals of one sample; `of_mean` are the values for the interval of its mean."""
    n, nan = len(values), float("nan")
    names = ("bias_low", "bias_high", "sd", "low", "high", "low_low", "low_high", "high_low", "high_high")
    found = {"bias": float(values.mean()) if n else nan, **dict.fromkeys(names, nan), "n_subjects": n}
    if n < 3:
        return found
    mean = interval_of_mean(of_mean, "change", n_resamples, seed)
    found["bias_low"], found["bias_high"] = mean.low, mean.high
    sd = float(values.std(ddof=1))
    reach = float(stdtrit(n - 1, 0.975)) * sd * (1 / n + LIMIT**2 / (2 * (n - 1))) ** 0.5
    for name, limit in (("low", found["bias"] - LIMIT * sd), ("high", found["bias"] + LIMIT * sd)):
        found |= {name: limit, f"{name}_low": limit - reach, f"{name}_high": limit + reach}
    return found | {"sd": sd}


def _share_within(values: np.ndarray, band: _Retest | None) -> float:
    """Share of changes inside a band."""
    if band is None or not len(values):
        return float("nan")
    return float(((values >= band.low) & (values <= band.high)).mean())


def _reason(values: np.ndarray, reasons: pd.Series) -> str:
    """Why there are no limits; empty where there are."""
    if len(values) >= 3:
        return ""
    if len(values):
        return f"{len(values)} of the 3 subjects that limits need"
    return str(reasons.iloc[0]) if len(reasons) else "nothing was scored"


def consequences(scores: pd.DataFrame, quantities: pd.DataFrame, quantity: str = "suv_mean") -> pd.DataFrame:
    """DSC beside the change of a quantity, one row per first prediction with both.

    Returns
    -------
    pandas.DataFrame
        `KEYS`, `dice`, `reference`, `prediction`, `change` (percent of the reference).

    Raises
    ------
    InputError
        An unknown quantity; tables without a common row.
    """
    if quantity not in _READ_OFF:
        raise unknown_name("quantity", quantity, _READ_OFF)
    both = scores[[*KEYS, "dice"]].merge(quantities, on=list(KEYS), how="inner")
    if both.empty and len(scores) and len(quantities):
        raise InputError("The table of quantities has no row of the score table. Make it anew from this run.")
    both = _changed(both, quantity)
    kept = both[both["change"].notna() & both["dice"].notna()]
    return kept[[*KEYS, "dice", "reference", "prediction", "change"]].reset_index(drop=True)


def disagreements(
    pairs: pd.DataFrame, *, low: float = 0.6, high: float = 0.8
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions whose overlap and whose consequence disagree.

    Parameters
    ----------
    pairs
        From `consequences`.
    low, high
        A poor overlap is a DSC of at most `low`, a good one of at least `high`. Below 0.3 a mask lies
        elsewhere, and what it reads is chance: such predictions are left out.

    Returns
    -------
    harmless, costly : pandas.DataFrame
        Of the poor overlaps the three that change the quantity least; of the good ones the three that change
        it most. One row of a subject and structure at most in each.
    """
    sized = pairs.assign(size=pairs["change"].abs())  # a column given to an empty table would bring rows
    poor = sized[sized["dice"].le(low) & sized["dice"].ge(0.3)].sort_values("size", kind="stable")
    good = sized[sized["dice"].ge(high)].sort_values("size", ascending=False, kind="stable")
    one = ["subject", "session", "structure"]
    return tuple(
        t.drop_duplicates(one).head(3).drop(columns="size").reset_index(drop=True) for t in (poor, good)
    )


def overlap_and_change(pairs: pd.DataFrame) -> pd.DataFrame:
    """How far DSC predicts the size of a change, per session and segmenter.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, rank_correlation` (Spearman, of DSC and the size of the change; −1 where a
        higher DSC always means a smaller change), `n_pairs`; NaN below four pairs.
    """
    rows = []
    for (session, segmenter), part in pairs.groupby(["session", "segmenter"], sort=False):
        ranks = part["dice"].rank(), part["change"].abs().rank()
        known = len(part) >= 4 and all(np.ptp(r) > 0 for r in ranks)
        rows.append((session, segmenter, ranks[0].corr(ranks[1]) if known else np.nan, len(part)))
    return pd.DataFrame(rows, columns=["session", "segmenter", "rank_correlation", "n_pairs"])
