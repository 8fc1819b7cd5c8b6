"""Ranking of segmenters, with how stable it is when subjects, metric or empty rule change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from umdlib.labels import MODALITIES, session
from umdlib.scores.empty_rules import EMPTY_RULES, check_scores, higher_is_better, with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.pairs import condition, means_over_structures


def case_matrix(
    scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop", common: bool = True
) -> pd.DataFrame:
    """Scores of one modality as subject × structure rows and segmenter columns.

    Parameters
    ----------
    scores
        Rows of one session and modality.
    metric, empty
        What is ranked, and the empty rule.
    common
        Keep only the cases that every segmenter has a score for: the winner over different cases
        may not be the winner over the same ones. A segmenter without any score is no reason to
        drop a case; its column stays, empty.

    Returns
    -------
    pandas.DataFrame
        Index `subject, structure`; float64, averaged over seeds.
    """
    check_scores(scores, [metric])
    cells = _cells(scores, metric, empty)
    return _of_all(cells) if common else cells


def _cells(scores: pd.DataFrame, metric: str, empty: str) -> pd.DataFrame:
    """Cases by segmenters, NaN where a segmenter has no score."""
    rows = scores[["subject", "structure", "segmenter"]].copy()
    rows["value"] = with_empty_rule(scores, metric, empty)
    every = list(rows["segmenter"].unique())
    index = ["subject", "structure"]
    table = rows.dropna(subset="value").pivot_table(
        index=index, columns="segmenter", values="value", sort=False
    )
    return table.reindex(columns=every)


def _of_all(cells: pd.DataFrame) -> pd.DataFrame:
    """The cases of which every segmenter with a score has one."""
    return cells.dropna(subset=[s for s in cells if cells[s].notna().any()])


def rank_segmenters(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    common: bool = True,
    n_resamples: int = 10_000,
    seed: int = 0,
    prompt: str | None = None,
    step: int | None = 0,
) -> pd.DataFrame:
    """Rank segmenters in each session and modality, with the bootstrap distribution of the ranks.

    Structures are averaged within a subject (standardised where it lacks some), then subjects; subjects are
    resampled.

    Parameters
    ----------
    scores
        Score table.
    metric, empty, common
        See `case_matrix`.
    n_resamples, seed
        Of the subject bootstrap.
    prompt, step
        See `umdlib.statistics.pairs.condition`.

    Returns
    -------
    pandas.DataFrame
        `session, modality, segmenter, score, rank, rank_low, rank_high` (95 % of the resamples),
        `share_first`, `rank_shares` (tuple: share of resamples at rank 1, 2, …), `kendall_tau`
        (mean τ of the resampled rankings with this one), `n_subjects, n_cases, n_dropped` (cases
        that some segmenter lacks), `note`. Tied segmenters share the mean of their ranks.

    Notes
    -----
    Ranking stability as in Wiesenfarth et al. (2021), https://doi.org/10.1038/s41598-021-82017-6.
    """
    rows = condition(scores, prompt=prompt, step=step)
    tables = []
    for (name, modality), part in rows.groupby(["session", "modality"], sort=False):
        if modality != "PET" and modality != session(name).structural:
            continue
        loose = case_matrix(part, metric=metric, empty=empty, common=False)
        matrix = case_matrix(part, metric=metric, empty=empty, common=common)
        table = _ranks(matrix, higher_is_better(metric), n_resamples, seed)
        scored = [c for c in loose if loose[c].notna().any()]
        lost = table["note"].ne("") & table["segmenter"].isin(scored)
        table.loc[lost, "note"] = "no case that all segmenters have"
        table["n_dropped"] = len(loose) - len(matrix)
        tables.append(table.assign(session=name, modality=MODALITIES[modality].name))
    if not tables:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat(tables, ignore_index=True)[_COLUMNS]


_COLUMNS = ["session", "modality", "segmenter", "score", "rank", "rank_low", "rank_high", "share_first"]
_COLUMNS += ["rank_shares", "kendall_tau", "n_subjects", "n_cases", "n_dropped", "note"]


def _ranks(matrix: pd.DataFrame, larger: bool, n_resamples: int, seed: int) -> pd.DataFrame:
    """Ranks of the columns with a score and their distribution; a note for the others."""
    known = [c for c in matrix if matrix[c].notna().any()]
    table = pd.DataFrame({"segmenter": list(matrix), "note": ""})
    table.loc[~table["segmenter"].isin(known), "note"] = "no score on any case"
    table["n_cases"] = len(matrix)
    table["n_subjects"] = matrix.index.get_level_values("subject").nunique()
    blank = ["score", "rank", "rank_low", "rank_high", "share_first", "kendall_tau"]
    table[blank] = np.nan
    table["rank_shares"] = [()] * len(table)
    if known and len(matrix):
        subjects = means_over_structures(matrix[known])
        found = _bootstrap_ranks(subjects, larger, n_resamples, seed)
        table = table.set_index("segmenter")
        for column in found:
            table[column] = found[column].combine_first(table[column])
        table = table.reset_index()
    return table.sort_values("rank", kind="stable", na_position="last")


def _bootstrap_ranks(subjects: pd.DataFrame, larger: bool, n_resamples: int, seed: int) -> pd.DataFrame:
    """Observed and resampled ranks of the columns of a subject × segmenter table."""
    sign = -1.0 if larger else 1.0
    score = subjects.mean()
    rank = scipy.stats.rankdata(sign * score.round(9))
    counts, _ = bootstrap.seeded_counts(len(subjects), n_resamples, seed)
    means = bootstrap.resampled_means(subjects.to_numpy(), counts)
    means = means[np.isfinite(means).all(axis=1)]
    ranks = scipy.stats.rankdata(sign * means.round(9), axis=1)
    places = np.arange(1, len(score) + 1)
    best_place = scipy.stats.rankdata(sign * means.round(9), axis=1, method="min")
    shares = [(best_place[:, [j]] == places).mean(axis=0) for j in range(len(score))]
    return pd.DataFrame(
        {
            "score": score,
            "rank": rank,
            "rank_low": np.quantile(ranks, 0.025, axis=0),
            "rank_high": np.quantile(ranks, 0.975, axis=0),
            "share_first": (ranks == ranks.min(axis=1, keepdims=True)).mean(axis=0),
            "kendall_tau": _mean_tau(rank, ranks),
            "rank_shares": [tuple(float(x) for x in share) for share in shares],
        },
        index=subjects.columns,
    )


def _mean_tau(rank: np.ndarray, ranks: np.ndarray) -> float:
    """Mean Kendall tau-b of each row of `ranks` with `rank`; NaN with fewer than two segmenters."""
    if len(rank) < 2:
        return float("nan")
    first, second = np.triu_indices(len(rank), 1)
    observed = np.sign(rank[first] - rank[second])
    resampled = np.sign(ranks[:, first] - ranks[:, second])
    scale = np.sqrt((observed**2).sum() * (resampled**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = (resampled @ observed) / scale
    return float(np.mean(tau[np.isfinite(tau)])) if np.isfinite(tau).any() else float("nan")


def ranking_sensitivity(
    scores: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("dice", "surface_dice_1mm", "hausdorff_95"),
    commons: Sequence[bool] = (True, False),
) -> pd.DataFrame:
    """Ranks under every metric, empty rule and choice of cases, each against the first of them.

    Returns
    -------
    pandas.DataFrame
        `session, modality, segmenter, metric, empty, common, score, rank, n_cases`,
        `tau` (Kendall's tau-b with the ranking under the first metric, first rule, first choice;
        NaN where undefined) and `winner_changes`.
    """
    rows = condition(scores)
    check_scores(rows, metrics)
    parts = [_ranks_of_settings(*part, metrics, commons) for part in rows.groupby(_IMAGES, sort=False)]
    return pd.concat(parts, ignore_index=True)


_IMAGES = ["session", "modality"]


def _ranks_of_settings(images: tuple[str, str], rows: pd.DataFrame, metrics, commons) -> pd.DataFrame:
    """Scores and ranks of one session and modality under every setting, without a bootstrap."""
    segmenters, names = pd.factorize(rows["segmenter"])
    numbered = {k: pd.factorize(rows[k], sort=True)[0] for k in ("subject", "structure")}
    rows = rows.assign(**numbered, segmenter=segmenters)  # numbers are grouped faster than names
    tables = []
    for metric in metrics:
        for empty in EMPTY_RULES:
            cells = _cells(rows, metric, empty)
            for common in commons:
                matrix = _of_all(cells) if common else cells
                score = means_over_structures(matrix, sort=True, jackknife=False).mean()
                rank = (score if not higher_is_better(metric) else -score).round(9).rank()
                table = pd.DataFrame({"score": score, "rank": rank, "n_cases": len(matrix)})
                table.insert(0, "segmenter", names[table.index])
                setting = dict(zip(_IMAGES, images, strict=True), metric=metric, empty=empty, common=common)
                tables.append(table.assign(**setting))
    return _against_first(pd.concat(tables, ignore_index=True))


def _against_first(part: pd.DataFrame) -> pd.DataFrame:
    """Add Kendall's tau and the change of winner against the first setting."""
    setting = ["metric", "empty", "common"]
    groups = [g.set_index("segmenter") for _, g in part.groupby(setting, sort=False)]
    first = groups[0]["rank"].dropna()
    done = []
    for group in groups:
        rank = group["rank"].reindex(first.index).dropna()
        known = first[rank.index]
        enough = len(rank) > 1 and len(rank.unique()) > 1 and len(known.unique()) > 1
        tau = float(scipy.stats.kendalltau(known, rank).statistic) if enough else float("nan")
        winners = set(rank.index[rank.eq(rank.min())])
        changes = not winners & set(known.index[known.eq(known.min())]) if len(rank) else False
        done.append(group.reset_index().assign(tau=tau, winner_changes=changes))
    return pd.concat(done, ignore_index=True)
