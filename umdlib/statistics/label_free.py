"""What agreement without labels says of the gap with labels: exact bounds, ranks and prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.statistics.bootstrap import resample_counts
from umdlib.statistics.verdicts import at_floor


def jaccard_distance(dice: float | np.ndarray) -> float | np.ndarray:
    """Jaccard distance of two masks whose Dice coefficient is known: 1 − D / (2 − D).

    Examples
    --------
    >>> jaccard_distance(0.5), jaccard_distance(1.0)
    (0.6666666666666667, 0.0)
    """
    return 1 - dice / (2 - dice)


def _dice(distance: pd.Series) -> pd.Series:
    """Dice coefficient of two masks whose Jaccard distance is known."""
    return 2 * (1 - distance) / (2 - distance)


def bound_table(within: pd.DataFrame) -> pd.DataFrame:
    """Means of agreement and of what it bounds, over structures within subjects, then over subjects.

    Parameters
    ----------
    within
        From `umdlib.evaluation.agreement.agree_run`.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, agreement`, `largest_gap` (mean Jaccard distance: the loss from the structural mask
        to PET's, in Jaccard on PET's grid, is at most this), `least_error` (half of it: at least one of the two masks
        is on average so far from the truth), `measured_gap` and `broken` (pairs that break the bound; 0, or
        the masks are not what they are said to be) where references exist, `n_subjects`, `n_undefined`,
        `at_floor` (the measured gap is one between floors, `umdlib.statistics.verdicts.at_floor`). Means are
        plain ones over the structures that a subject has: the bound of each pair carries over to a mean whose
        weights are not negative, which a standardised mean does not promise.
    """
    gap = within["pet"] - within["structural_on_pet"]
    means = {f"mean_{s}": _dice(within[s]) for s in ("structural_on_pet", "pet")}
    known = within.assign(gap=gap, size=gap.abs(), **means)[within["agreement"].notna()]
    broken = known["size"] > known["jaccard_distance"] + 1e-9
    known = known.assign(broken=broken.where(known["size"].notna(), 0).astype(int))
    sides = ["mean_structural_on_pet", "mean_pet"]
    numbers = ["agreement", "jaccard_distance", "gap", *sides]
    by = ["session", "segmenter"]
    subjects = known.groupby([*by, "subject"], sort=False)[numbers].mean()
    grouped = subjects.groupby(by, sort=False)
    table = grouped.mean().rename(columns={"jaccard_distance": "largest_gap", "gap": "measured_gap"})
    table["least_error"] = table["largest_gap"] / 2
    table["broken"] = known.groupby(by, sort=False)["broken"].sum()
    table["n_subjects"] = grouped.size()
    undefined = within[within["agreement"].isna()].groupby(by, sort=False).size()
    table["at_floor"] = at_floor(table, sides=sides)
    table = table.drop(columns=sides)
    table["n_undefined"] = undefined.reindex(table.index).fillna(0).astype(int)
    return table.reset_index()


def with_gap(within: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Agreement beside the measured gap, one row per subject, structure and segmenter that has both.

    Parameters
    ----------
    within
        From `umdlib.evaluation.agreement.agree_run`.
    differences
        From `umdlib.statistics.pairs.paired_differences`, of first prompts.

    Returns
    -------
    pandas.DataFrame
        `subject, session, structure, segmenter, agreement, gap` (PET minus structural DSC), `pet_dice`.
    """
    keys = ["subject", "session", "structure", "segmenter"]
    rows = differences[differences["state"].eq("paired") & differences["step"].eq(0)]
    gaps = rows.groupby(keys, sort=False)[["difference", "pet"]].mean().reset_index()
    both = within.groupby(keys, sort=False)["agreement"].mean().dropna().reset_index()
    both = both.merge(gaps, on=keys).rename(columns={"difference": "gap", "pet": "pet_dice"})
    return both


def validation_table(pairs: pd.DataFrame, *, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well agreement ranks systems and predicts the measured gap, with intervals over subjects.

    Parameters
    ----------
    pairs
        From `with_gap`.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `session, what, value, low, high, n_subjects, n`: Spearman's rank correlation of the systems' mean
        agreement with their mean gap, the mean of its size, and their mean DSC on PET; the same over
        systems and structures; and the root mean square error of the gap that a straight line on the
        agreement of the *other* subjects predicts, beside that of their mean gap. NaN below
        three systems, or below two subjects for the errors; an interval needs three subjects.
    """
    rows = []
    for session, part in pairs.groupby("session", sort=False):
        subjects = list(dict.fromkeys(part["subject"]))
        n = len(subjects)
        part = part.assign(size=part["gap"].abs())
        counts = resample_counts(n, n_resamples, np.random.default_rng(seed)) if n > 2 else np.zeros((0, n))
        for what, by, value in (
            ("rank of systems by gap", ["segmenter"], "gap"),
            ("rank of systems by size of the gap", ["segmenter"], "size"),
            ("rank of systems by DSC on PET", ["segmenter"], "pet_dice"),
            ("rank of systems and structures by gap", ["segmenter", "structure"], "gap"),
            ("rank of systems and structures by size of the gap", ["segmenter", "structure"], "size"),
            ("rank of systems and structures by DSC on PET", ["segmenter", "structure"], "pet_dice"),
        ):
            sums = _sums(part, subjects, by, value)
            found = _ranked(sums, np.ones((1, n)))[0]
            drawn = _ranked(sums, counts)
            drawn = drawn[np.isfinite(drawn)]
            ends = np.percentile(drawn, [2.5, 97.5]) if len(drawn) > 1 else (np.nan, np.nan)
            rows.append((session, what, found, *ends, n, sums.shape[2]))
        errors = _left_out(part, subjects)
        rows += [(session, what, e, np.nan, np.nan, n, len(part)) for what, e in errors.items()]
    return pd.DataFrame(rows, columns=["session", "what", "value", "low", "high", "n_subjects", "n"])


def _sums(part: pd.DataFrame, subjects: list[str], by: list[str], value: str) -> np.ndarray:
    """(3, subjects, cells): sums of agreement and of a value, and their number."""
    grouped = part.groupby(["subject", *by], sort=False)[["agreement", value]]
    table = grouped.sum().assign(n=grouped.size())
    wide = table.unstack(list(range(1, 1 + len(by)))).reindex(subjects).fillna(0.0)
    return np.stack([wide[c].to_numpy() for c in ("agreement", value, "n")])


def _ranked(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the cells' means in each resample."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = counts @ sums[2]
        means = [(counts @ s) / total for s in sums[:2]]
    found = np.full(len(counts), np.nan)
    for i, (x, y) in enumerate(zip(*means, strict=True)):
        both = np.isfinite(x) & np.isfinite(y)
        a, b = (pd.Series(v[both]).rank().to_numpy() for v in (x, y))
        if both.sum() >= 3 and np.ptp(a) and np.ptp(b):
            found[i] = np.corrcoef(a, b)[0, 1]
    return found


def _left_out(part: pd.DataFrame, subjects: list[str]) -> dict[str, float]:
    """Errors of the gap of one subject predicted from the others, by agreement and by their mean."""
    line, mean = [], []
    for subject in subjects:
        own = part["subject"].eq(subject).to_numpy()
        x, y = part["agreement"].to_numpy(), part["gap"].to_numpy()
        if own.all() or np.ptp(x[~own]) == 0:
            continue
        slope, intercept = np.polyfit(x[~own], y[~own], 1)
        line.append(y[own] - (intercept + slope * x[own]))
        mean.append(y[own] - y[~own].mean())
    names = ("error of the gap predicted by agreement", "error of the gap predicted by the others' mean")
    if not line:
        return dict.fromkeys(names, float("nan"))
    return {
        n: float(np.sqrt((np.concatenate(v) ** 2).mean())) for n, v in zip(names, (line, mean), strict=True)
    }
