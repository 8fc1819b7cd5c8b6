"""Metabolic networks: how the uptake of organs varies together over subjects."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import scipy

from umdlib.statistics.bootstrap import seeded_counts
from umdlib.statistics.pairs import condition

LEAST_SUBJECTS = 4  # an interval of a correlation needs n - 3 of at least 1


def organ_uptake(
    quantities: pd.DataFrame, session: str, segmenter: str, *, side: str = "prediction"
) -> pd.DataFrame:
    """SUVmean of organs: subjects down, structures across.

    Parameters
    ----------
    quantities
        Table of quantities.
    session, segmenter
        Which rows; a reference is the same for every segmenter.
    side
        ``prediction`` or ``reference``.

    Returns
    -------
    pandas.DataFrame
        NaN where a mask is empty or was not made; seeds averaged.
    """
    here = quantities["session"].eq(session) & quantities["segmenter"].eq(segmenter)
    rows = quantities[here & quantities["modality"].eq("PET")]
    rows = condition(rows) if len(rows) else rows
    order = list(dict.fromkeys(rows["structure"]))
    wide = rows.pivot_table(
        index="subject", columns="structure", values=f"{side}_suv_mean", aggfunc="mean", dropna=False
    )
    return wide.reindex(columns=order)


def network(uptake: pd.DataFrame) -> pd.DataFrame:
    """Edges of a metabolic network: correlations of the logarithm of uptake over subjects.

    Parameters
    ----------
    uptake
        From `organ_uptake`.

    Returns
    -------
    pandas.DataFrame
        `first, second, correlation, low, high` (95 %, Fisher's z), `n_subjects` and `why`: a pair with
        fewer than `LEAST_SUBJECTS` subjects that have both organs, or without spread, is not an edge and is NaN.
    """
    logs = np.log(uptake.where(uptake > 0))
    rows = []
    for a, b in itertools.combinations(uptake.columns, 2):
        both = logs[[a, b]].dropna()
        rows.append((a, b, *_edge(both[a].to_numpy(), both[b].to_numpy())))
    return pd.DataFrame(rows, columns=["first", "second", "correlation", "low", "high", "n_subjects", "why"])


def _edge(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, int, str]:
    """Correlation of two organs with its interval, or why there is none."""
    n, nan = len(x), float("nan")
    if n < LEAST_SUBJECTS:
        return nan, nan, nan, n, f"{n} of the {LEAST_SUBJECTS} subjects that an edge needs"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan, nan, nan, n, "an organ with one value in all subjects"
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    return r, *correlation_interval(r, n), n, ""


def correlation_interval(r: float, n: int) -> tuple[float, float]:
    """Fisher's 95 % interval of a correlation over n subjects, at least four.

    Examples
    --------
    >>> [round(end, 2) for end in correlation_interval(0.7, 8)]
    [-0.01, 0.94]
    """
    z, reach = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), 1.959964 / np.sqrt(n - 3)
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def network_distance(
    reference: pd.DataFrame, prediction: pd.DataFrame, *, n_resamples: int = 500, seed: int = 0
) -> dict[str, float]:
    """How far a system's network lies from the reference's.

    The distance is the mean over edges of the difference of the two correlations without its sign,
    over subjects and organs that both have; organs that half of the subjects lack are left out. The
    interval is of the jackknife over subjects, for both networks together: networks of resamples lie
    farther apart than those of the subjects, so that percentiles of a bootstrap would lie above the
    distance. `chance` is the same distance between the reference's network and that of a resample of
    its own subjects, in the median: what so few subjects do by themselves.

    Parameters
    ----------
    reference, prediction
        From `organ_uptake`.
    n_resamples, seed
        Of the bootstrap over subjects for `chance`.

    Returns
    -------
    dict
        `distance, low, high, chance, n_subjects, n_edges`; NaN where fewer than `LEAST_SUBJECTS`
        subjects or two organs are complete in both.
    """
    nan = float("nan")
    found = dict.fromkeys(("distance", "low", "high", "chance"), nan) | {"n_subjects": 0, "n_edges": 0}
    sides = _complete(reference, prediction)
    if sides is None:
        return found
    x, y = sides
    n = len(x)
    upper = np.triu_indices(x.shape[1], 1)
    plain, left_out = (
        [_correlations(v, weights)[:, upper[0], upper[1]] for v in (x, y)]
        for weights in (np.ones((1, n)), 1 - np.eye(n))
    )
    (distance,) = _mean_distances(plain[1], plain[0])
    without = _mean_distances(left_out[1], left_out[0])
    reach = scipy.stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))
    counts, _ = seeded_counts(n, n_resamples, seed)
    drawn = _correlations(x, counts)[:, upper[0], upper[1]]
    return {
        "distance": float(distance),
        "low": float(max(distance - reach, 0)),
        "high": float(distance + reach),
        "chance": float(np.median(_mean_distances(drawn, plain[0]))),
        "n_subjects": n,
        "n_edges": len(upper[0]),
    }


def _mean_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean distance of correlations (resamples, edges) in each resample that has any."""
    apart = np.abs(a - b)
    return np.nanmean(apart[np.isfinite(apart).any(axis=1)], axis=1)


def _complete(reference: pd.DataFrame, prediction: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Log uptake of the organs that at least the least number of subjects have in both, and those subjects."""
    organs = [c for c in reference.columns if c in prediction.columns]
    subjects = reference.index.intersection(prediction.index)
    sides = [np.log(t.loc[subjects, organs].where(lambda v: v > 0)) for t in (reference, prediction)]
    both = sides[0].notna() & sides[1].notna()
    organs = [o for o in organs if both[o].sum() >= LEAST_SUBJECTS]
    whole = both[organs].all(axis=1)
    # drop the organ that is missing most often until half of the subjects, and enough, are complete
    while len(organs) > 2 and whole.sum() < max(LEAST_SUBJECTS, len(subjects) / 2):
        organs.remove(both[organs].sum().idxmin())
        whole = both[organs].all(axis=1)
    if len(organs) < 2 or whole.sum() < LEAST_SUBJECTS:
        return None
    return tuple(s.loc[whole, organs].to_numpy() for s in sides)


def _correlations(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Correlation matrices (resamples, organs, organs) of subjects (n, organs) drawn `counts` times."""
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    second = np.einsum("rn,ni,nj->rij", share, values, values, optimize=True)
    covariance = second - mean[:, :, None] * mean[:, None, :]
    spread = np.sqrt(np.maximum(np.einsum("rii->ri", covariance), 0))
    scale = spread[:, :, None] * spread[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, covariance / scale, np.nan)
