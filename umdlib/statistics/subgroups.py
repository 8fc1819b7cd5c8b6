"""Subgroups of subjects: the paired difference in each, and whether it differs between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from umdlib.statistics.bootstrap import interval_of_mean
from umdlib.statistics.multiplicity import adjust
from umdlib.statistics.pairs import condition, paired_differences, subject_means
from umdlib.statistics.verdicts import FLOOR, at_floor

FEWEST = 4  # subjects of either group; fewer have too few ways to be divided
EXACT_UP_TO = 5000  # divisions of the subjects that are all enumerated
# Factor -> (names of its two groups, which group a subject is in: False, True or neither).
FACTORS: dict[str, tuple[tuple[str, str], Callable[[pd.DataFrame], pd.Series]]] = {
    "sex": (("female", "male"), lambda t: t["sex"].map({"F": False, "M": True})),
    "age": (("under 60 years", "60 years or more"), lambda t: _from(t["age"], 60)),
    "body mass": (
        ("under 25 kg/m²", "25 kg/m² or more"),
        lambda t: _from(_numbers(t["weight_kg"]) / (_numbers(t["height_cm"]) / 100) ** 2, 25),
    ),
    "lesion load": (("no lesion", "lesions"), lambda t: _from(t["lesions"], 1)),
}
COLUMNS = ["session", "segmenter", "factor", "first", "first_low", "first_high", "n_first", "second"]
COLUMNS += ["second_low", "second_high", "n_second", "estimate", "p_value", "p_holm", "n_holm", "at_floor"]
COLUMNS += ["note"]


def _from(values: pd.Series, cut: float) -> pd.Series:
    """Whether each value reaches the cut; missing where it is."""
    numbers = _numbers(values)
    return numbers.ge(cut).astype(object).where(numbers.notna(), None)


def _numbers(values: pd.Series) -> pd.Series:
    """Numbers of a column that a manifest may hold as text."""
    return pd.to_numeric(values, errors="coerce")


def subject_factors(manifest: pd.DataFrame, lesions: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Group of every subject under every factor that a manifest gives.

    Parameters
    ----------
    manifest
        Column `subject` and any of `sex`, `age`, `height_cm`, `weight_kg`, `lesions` (how many); one or
        more rows a subject.
    lesions
        Subject -> number of lesions, where they were counted: in place of the manifest's.

    Returns
    -------
    pandas.DataFrame
        Index subject, a column per factor of `FACTORS`: False, True, or None where it is not known.
    """
    table = manifest.groupby("subject", sort=False).first()
    if lesions is not None:
        table["lesions"] = table.index.map(lesions)
    found = {}
    for name, (_, group) in FACTORS.items():
        try:
            found[name] = group(table)
        except KeyError:  # the manifest does not hold what this factor is made of
            continue
    return pd.DataFrame(found, index=table.index, dtype=object)


def subgroup_table(
    scores: pd.DataFrame,
    factors: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired difference in both groups of every factor, and the interaction of factor and modality.

    Parameters
    ----------
    scores
        Score table.
    factors
        From `subject_factors`.
    metric, empty
        What is compared, and the empty rule.
    n_resamples, seed
        Of the bootstrap in each group, and of the divisions of subjects where they are too many.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: mean difference and interval in the first and second group of `FACTORS`, `estimate`
        (second minus first), `p_value` of a permutation test that both are equal, `p_holm` over the
        factors of a segmenter, `at_floor` (the gap of a group is one between floors, see
        `umdlib.statistics.verdicts.at_floor`; then there is no test), and `note`. A subject is one value,
        its mean over structures, standardised over all subjects where it lacks some; the structures'
        effects, which both groups share, are taken as known. Only a test of the *difference* between groups
        speaks of a subgroup: an effect that is significant in one group and not in the other need not differ.

    Notes
    -----
    The statistic is Welch's t over divisions of the subjects: exact where the groups have the same
    distribution, and valid for equal means alone in large groups, Janssen (1997),
    https://doi.org/10.1016/S0167-7152(97)00043-6.
    """
    pairs = paired_differences(condition(scores), metric=metric, empty=empty)
    found = []
    for (session, segmenter), part in pairs.groupby(["session", "segmenter"], sort=False):
        if not part["state"].eq("paired").any():
            continue
        by = ["session", "segmenter"]
        values = subject_means(part, by).iloc[:, 0]
        sides = pd.concat(
            [subject_means(part, by, value=v).iloc[:, 0] for v in ("structural", "pet")], axis=1
        )
        sides.columns = ["mean_structural", "mean_pet"]
        for factor in factors:
            row = _compared(values, factors[factor], metric, n_resamples, seed)
            row |= _floored(row, sides, factors[factor], metric)
            found.append({"session": session, "segmenter": segmenter, "factor": factor, **row})
    table = pd.DataFrame(found, columns=[c for c in COLUMNS if c not in ("p_holm", "n_holm")])
    table = adjust(table, within=("session", "segmenter"), across=("session", "factor"))[COLUMNS]
    table.attrs = {"metric": metric}
    return table


def _compared(
    values: pd.Series, group: pd.Series, metric: str, n_resamples: int, seed: int
) -> dict[str, object]:
    """Both groups of one factor and the test between them."""
    known = group.reindex(values.index)
    sides = [values[known.eq(side).fillna(False).astype(bool)].dropna().to_numpy() for side in (False, True)]
    row = {}
    for name, side in zip(("first", "second"), sides, strict=True):
        of_mean = interval_of_mean(side, metric, n_resamples, seed)
        names = (name, f"{name}_low", f"{name}_high")
        row |= dict(zip(names, of_mean[:3], strict=True)) | {f"n_{name}": of_mean.n_subjects}
    row["estimate"] = row["second"] - row["first"]
    fewest = min(map(len, sides))
    enough = fewest >= FEWEST
    row["p_value"] = division_test(*sides, n_resamples=n_resamples, seed=seed) if enough else np.nan
    row["note"] = "" if enough else f"a group of {fewest}: no test below {FEWEST}"
    return row


def _floored(row: dict, sides: pd.DataFrame, group: pd.Series, metric: str) -> dict[str, object]:
    """Whether a group's gap is one between floors; a test between gaps then says nothing."""
    means = sides.groupby(group.reindex(sides.index).astype(object)).mean()
    if not at_floor(means, metric=metric).any():
        return {"at_floor": False}
    note = row["note"] or f"{FLOOR}: a group is at the floor in both images"
    return {"at_floor": True, "p_value": np.nan, "note": note}


def division_test(first: np.ndarray, second: np.ndarray, *, n_resamples: int, seed: int) -> float:
    """Two-sided permutation p-value that two groups have the same mean, with Welch's t.

    Examples
    --------
    Of the 70 divisions of eight values, this one and its mirror are the most extreme.

    >>> p = division_test(np.arange(4.0), 10 + np.arange(4.0), n_resamples=99, seed=0)
    >>> round(p * 70, 6)
    2.0
    """
    values = np.concatenate([first, second])
    n, k = len(values), len(first)
    masks = _divisions(n, k, n_resamples, seed)
    observed = np.zeros((1, n), bool)
    observed[0, :k] = True
    reached = np.abs(_welch(values, masks)) >= np.abs(_welch(values, observed)) - 1e-9
    exact = len(masks) <= EXACT_UP_TO and math.comb(n, k) == len(masks)
    return float(reached.mean() if exact else (reached.sum() + 1) / (len(masks) + 1))


def _divisions(n: int, k: int, n_resamples: int, seed: int) -> np.ndarray:
    """All divisions of n subjects into groups of k and the rest, or random ones."""
    if math.comb(n, k) <= EXACT_UP_TO:
        chosen = np.array(list(itertools.combinations(range(n), k)))
    else:
        rng = np.random.default_rng(seed)
        chosen = np.argsort(rng.random((n_resamples, n)), axis=1)[:, :k]
    masks = np.zeros((len(chosen), n), bool)
    np.put_along_axis(masks, chosen, True, axis=1)
    return masks


def _welch(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Welch's t of each division; infinite where neither group has a spread."""
    moments = []
    for mask in (masks, ~masks):
        n = mask.sum(axis=1)
        mean = mask @ values / n
        variance = np.maximum(mask @ values**2 - n * mean**2, 0) / (n - 1) / n
        moments.append((mean, np.where(variance < 1e-15, 0.0, variance)))
    gap = moments[1][0] - moments[0][0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = gap / np.sqrt(moments[0][1] + moments[1][1])
    return np.where(np.abs(gap) < 1e-12, 0.0, t)
