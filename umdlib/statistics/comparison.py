"""The comparison table: one row per segmenter and structure, from pairs to corrected p-values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.scores.empty_rules import difference_limits
from umdlib.statistics import bootstrap as resampling
from umdlib.statistics import equivalence
from umdlib.statistics import signed_rank as rank_tests
from umdlib.statistics.failures import quadrants
from umdlib.statistics.multiplicity import adjust
from umdlib.statistics.pairs import PAIR_KEYS, condition, paired_differences, subject_means, unpaired

__all__ = ["TESTS", "compare", "condition", "paired_differences", "subject_means", "unpaired"]

TESTS: dict[str, str] = {
    "permutation": "sign-flip permutation test of the mean difference over subjects",
    "wilcoxon": "Wilcoxon signed-rank test over subjects",
}


def compare(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    by: Sequence[str] = ("session", "segmenter", "structure"),
    n_resamples: int = 10_000,
    seed: int = 0,
    empty: str = "drop",
    margin: float = 0.02,
    test: str = "permutation",
    failure_below: float = 0.1,
    confidence: float = 0.95,
    reference_modality: str | None = None,
    prompt: str | None = None,
    step: int | None = 0,
) -> pd.DataFrame:
    """PET against the structural modality: one row per comparison, with everything beside it.

    Parameters
    ----------
    scores
        Score table.
    metric
        Column to compare.
    by
        Columns that make a comparison; `session` should be among them. What is left out (such as
        the structure) is averaged within each subject first.
    n_resamples
        Bootstrap resamples and random sign patterns; both over subjects, shared by all cells of a
        session.
    seed
        Of the generator that draws them.
    empty
        Empty rule, see `umdlib.scores.empty_rules.EMPTY_RULES`.
    margin
        Equivalence margin, in units of the metric.
    test
        Name in `TESTS`: which p-value becomes `p_value` and is corrected.
    failure_below
        A DSC under this is a failure.
    confidence
        Nominal coverage of every interval.
    reference_modality, prompt, step
        See `umdlib.statistics.pairs.paired_differences` and `umdlib.statistics.pairs.condition`.

    Returns
    -------
    pandas.DataFrame
        `by`, then `estimate, ci_low, ci_high` (mean difference PET minus structural with
        the studentised interval of `umdlib.statistics.bootstrap.mean_interval`),
        `n_subjects, n_pairs, n_unpaired, p_value`; `bca_low, bca_high` and `t_low, t_high` (BCa
        and Student's interval of the same mean); means, SDs and quartiles of either side on the
        pairs; `median*` (order-statistic interval), `hl*` (Hodges-Lehmann), `rank_biserial`,
        `d_z`, `p_permutation` with `permutation_method`, `p_wilcoxon` with `wilcoxon_method`,
        `p_tost` and `equivalent`, `smallest_detectable` (80 % power), the failure columns of
        `umdlib.statistics.failures.quadrants`, `p_holm, n_holm, p_bh, n_bh`, and `note`, which says why
        a value is missing. A segmenter that was not available has a row that says so.
        ``attrs`` holds metric, empty rule, test and the other settings.

    Raises
    ------
    InputError
        If the table breaks its rules or a name is unknown.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=8, structures=["liver"], gap={"b": -0.3}, seed=2)
    >>> row = compare(table, n_resamples=999).iloc[0]
    >>> bool(row.ci_low < row.estimate < row.ci_high < 0), int(row.n_pairs)
    (True, 8)
    """
    if test not in TESTS:
        raise unknown_name("test", test, TESTS)
    if not 0 < confidence < 1:
        raise InputError(f"Invalid confidence {confidence}. Must lie between 0 and 1.")
    by = list(by)
    for name in by:
        if name not in PAIR_KEYS:
            raise unknown_name("column", name, PAIR_KEYS)
    chosen = condition(scores, prompt=prompt, step=step)
    differences = paired_differences(
        chosen, metric=metric, reference_modality=reference_modality, empty=empty
    )
    table = _estimates(differences, by, n_resamples, seed, confidence, margin)
    table["p_value"] = table[f"p_{test}"]
    table = table.merge(
        quadrants(chosen, by=by, below=failure_below).drop(columns=["n_pairs", "n_subjects"]),
        on=by,
        how="left",
    )
    table = _with_unavailable(adjust(table), scores, by)
    table.attrs = {
        "metric": metric,
        "empty": empty,
        "test": test,
        "margin": margin,
        "failure_below": failure_below,
        "confidence": confidence,
        "n_resamples": n_resamples,
        "seed": seed,
    }
    return table


def _estimates(
    differences: pd.DataFrame, by: list[str], n_resamples: int, seed: int, confidence: float, margin: float
) -> pd.DataFrame:
    """Every statistic of every comparison; each session draws as if it were alone."""
    blocks = []
    sessions = differences["session"].unique() if "session" in by and len(differences) else [None]
    for session in sessions:
        rows = differences if session is None else differences[differences["session"].eq(session)]
        every = rows.groupby(by, sort=False).size().index
        matrix = subject_means(rows, by) if len(rows) else pd.DataFrame(columns=every)
        matrix = matrix.reindex(columns=every)
        rng = np.random.default_rng(seed)
        blocks.append(_block(matrix, rows, by, n_resamples, rng, confidence, margin))
    return pd.concat(blocks, ignore_index=True)


def _block(
    matrix: pd.DataFrame,
    rows: pd.DataFrame,
    by: list[str],
    n_resamples: int,
    rng: np.random.Generator,
    confidence: float,
    margin: float,
) -> pd.DataFrame:
    """Comparisons that share their subjects, hence their resamples."""
    table = matrix.columns.to_frame(index=False)
    table.columns = by
    values = matrix.to_numpy(dtype=float)
    table = pd.concat([table, _sizes(rows, by)], axis=1)
    if len(values):
        counts = resampling.resample_counts(len(values), n_resamples, rng)
        limits = difference_limits(rows.attrs["metric"])
        ends = {
            "ci": resampling.mean_interval(values, counts, confidence=confidence, bounds=limits),
            "bca": resampling.bca_interval(values, counts, confidence=confidence),
            "t": resampling.student_interval(values, confidence=confidence),
        }
        flips, how = resampling.sign_flip_p(values, n_resamples=n_resamples, rng=rng)
    else:
        flips = np.full(len(table), np.nan)
        ends = dict.fromkeys(("ci", "bca", "t"), (flips, flips))
        how = np.full(len(table), "")
    single = [_single(column, confidence, margin) for column in values.T]
    names = list(_single(np.array([]), confidence, margin))
    for name, (low, high) in ends.items():
        table[f"{name}_low"], table[f"{name}_high"] = low, high
    table = table.assign(p_permutation=flips, permutation_method=how)
    table = pd.concat([table, pd.DataFrame(single, table.index, names)], axis=1)
    # One difference is as extreme as its mirror image: a p-value of 1 that tests nothing.
    alone = table["n_subjects"].lt(2)
    table.loc[alone, ["p_permutation", "p_wilcoxon"]] = np.nan
    table["note"] = [_note(column, n) for column, n in zip(values.T, table["n_pairs"], strict=True)]
    reasons = rows.groupby(by, sort=False)["why"].agg(lambda why: why.mode().iloc[0]).to_numpy()
    none = table["n_pairs"].eq(0)
    table.loc[none, "note"] = "no pairs (" + pd.Series(reasons)[none] + ")"
    first = [*by, "estimate", "ci_low", "ci_high", "n_subjects", "n_pairs", "n_unpaired"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


def _sizes(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Numbers of pairs and the spread of either side on them, per comparison."""
    paired = rows[rows["state"].eq("paired")]
    every = rows.groupby(by, sort=False)["state"]
    table = pd.DataFrame({"n_unpaired": every.agg(lambda s: int(s.ne("paired").sum()))})
    table["n_subjects"] = paired.groupby(by)["subject"].nunique()
    table["n_pairs"] = paired.groupby(by).size()
    table = table.fillna({"n_subjects": 0, "n_pairs": 0}).astype(int)
    for side in ("structural", "pet"):
        per_subject = paired.groupby([*by, "subject"])[side].mean().groupby(by)
        table[f"mean_{side}"] = per_subject.mean()
        table[f"sd_{side}"] = per_subject.std()
        for name, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
            table[f"{name}_{side}"] = per_subject.quantile(share)
    return table.reset_index(drop=True)


def _single(column: np.ndarray, confidence: float, margin: float) -> dict[str, object]:
    """Statistics that need one column of differences at a time."""
    kept = column[np.isfinite(column)]
    sd = kept.std(ddof=1) if kept.size > 1 else np.nan
    mean = kept.mean() if kept.size else np.nan
    median, median_low, median_high = rank_tests.median_interval(kept, confidence=confidence)
    shift, shift_low, shift_high = rank_tests.hodges_lehmann(kept, confidence=confidence)
    p_wilcoxon, method = rank_tests.wilcoxon(kept)
    p_tost = equivalence.tost(kept, margin)
    return {
        "estimate": mean,
        "sd": sd,
        "d_z": mean / sd if sd > 1e-12 else np.nan,
        "median": median,
        "median_low": median_low,
        "median_high": median_high,
        "hl": shift,
        "hl_low": shift_low,
        "hl_high": shift_high,
        "rank_biserial": rank_tests.rank_biserial(kept),
        "p_wilcoxon": p_wilcoxon,
        "wilcoxon_method": method,
        "p_tost": p_tost,
        "equivalent": p_tost < 1 - confidence,
        "smallest_detectable": equivalence.smallest_detectable(kept, alpha=1 - confidence),
    }


def _note(column: np.ndarray, n_pairs: int) -> str:
    """Why a statistic of this comparison is missing or weak; empty where nothing is."""
    kept = rank_tests.rounded(column)
    if n_pairs == 0:
        return "no pairs"
    if kept.size == 1:
        return "one subject: no interval, no test"
    if not kept.any():
        return "all differences are zero"
    if np.ptp(kept) == 0:
        return "all differences are equal: no d_z, interval of width 0"
    few = "fewer than six subjects: p cannot fall below 0.05" if kept.size < 6 else ""
    return few + ("; Student's interval" if kept.size < resampling.STUDENT_BELOW else "")


def _with_unavailable(table: pd.DataFrame, scores: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Append a row, with its reason, for each comparison whose segmenter was not available."""
    gone = scores[scores["status"].eq("unavailable")]
    keys = [c for c in by if c in gone.columns]
    if gone.empty or not keys:
        return table
    reasons = gone.groupby(keys, sort=False, dropna=False)["reason"].first().reset_index()
    reasons = reasons.rename(columns={"reason": "note"})
    said = reasons["note"].fillna("no reason given").str.removesuffix(".")
    reasons["note"] = "unavailable: " + said
    known = table[keys].apply(tuple, axis=1) if len(table) else []
    reasons = reasons[~reasons[keys].apply(tuple, axis=1).isin(list(known))]
    counts = dict.fromkeys(("n_subjects", "n_pairs", "n_unpaired", "n_holm", "n_bh"), 0)
    return pd.concat([table, reasons.assign(**counts)], ignore_index=True)
