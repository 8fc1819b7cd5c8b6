"""The comparison table: one row per segmenter and structure, from pairs to verdicts."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.labels import MODALITIES
from umdlib.scores.empty_rules import score_limits
from umdlib.statistics import bootstrap, equivalence, signed_rank
from umdlib.statistics.bootstrap import FEWEST
from umdlib.statistics.failures import quadrants
from umdlib.statistics.multiplicity import adjust
from umdlib.statistics.pairs import (
    PAIR_KEYS,
    condition,
    gaps_in_words,
    group_numbers,
    pairing,
    subject_matrices,
    subject_means,
)
from umdlib.statistics.permutation import sign_flip_p
from umdlib.statistics.verdicts import at_floor, decide

TESTS: dict[str, str] = {
    "mean": "test of the mean difference over subjects that inverts its interval",
    "permutation": "sign-flip test over subjects, exact where the modalities are exchangeable",
    "wilcoxon": "Wilcoxon signed-rank test over subjects",
    "median": "sign test of the median difference over subjects",
}


@dataclass(frozen=True)
class Settings:
    """Settings of a comparison.

    Attributes
    ----------
    metric
        Column to compare.
    empty
        Empty rule, see `umdlib.scores.empty_rules.EMPTY_RULES`.
    test
        Name in `TESTS`: which p-value becomes `p_value` and is corrected.
    margin
        Largest difference that does not matter, in units of the metric.
    failure_below
        A DSC under this is a failure.
    confidence
        Nominal coverage of every interval; tests have the level ``1 - confidence``.
    n_resamples
        Bootstrap resamples and random sign patterns; both over subjects, shared by all cells of a
        session.
    seed
        Of the generator that draws them.
    reference_modality, prompt, step
        See `umdlib.statistics.pairs.paired_differences` and `umdlib.statistics.pairs.condition`.
    """

    metric: str = "dice"
    empty: str = "drop"
    test: str = "mean"
    margin: float = 0.02
    failure_below: float = 0.1
    confidence: float = 0.95
    n_resamples: int = 10_000
    seed: int = 0
    reference_modality: str | None = None
    prompt: str | None = None
    step: int | None = 0

    def __post_init__(self) -> None:
        """Refuse settings that no comparison can have."""
        if self.test not in TESTS:
            raise unknown_name("test", self.test, TESTS)
        for name in ("margin", "failure_below", "confidence"):
            if not isinstance(getattr(self, name), Real):
                raise InputError(f"Invalid {name} {getattr(self, name)!r}. Must be a number.")
        if not 0 < self.confidence < 1:
            raise InputError(f"Invalid confidence {self.confidence}. Must lie between 0 and 1.")
        if not 0 < self.margin < math.inf:
            raise InputError(f"Invalid equivalence margin {self.margin}. Must be above 0 and finite.")
        for name, least in (("n_resamples", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise InputError(f"Invalid {name} {value!r}. Must be a whole number of {least} or more.")
        if self.reference_modality is not None and self.reference_modality not in MODALITIES:
            raise unknown_name("modality", self.reference_modality, MODALITIES)


def compare(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = ("session", "segmenter", "structure"),
    settings: Settings | None = None,
    **changes: object,
) -> pd.DataFrame:
    """PET against the structural modality: one row per comparison, with everything beside it.

    Parameters
    ----------
    scores
        Score table.
    by
        Columns that make a comparison; `session` should be among them. What is left out (such as
        the structure) is averaged within each subject first, standardised over the structures where a
        subject lacks some; then what tests and intervals of the mean see are jackknife pseudo-values
        (`umdlib.statistics.pairs.standardised_means`).
    settings
        See `Settings`; None takes its defaults.
    **changes
        Fields of `Settings` that are to be others, such as ``metric="surface_dice_5mm"``.

    Returns
    -------
    pandas.DataFrame
        `by`, then `estimate, ci_low, ci_high` (mean difference PET minus structural with
        the studentised interval of `umdlib.statistics.bootstrap.mean_interval`),
        `n_subjects, n_pairs, n_unpaired, p_value`; `bca_low, bca_high` and `t_low, t_high` (BCa
        and Student's interval of the same mean); means, SDs and quartiles of either side on the
        pairs; `median*` (order-statistic interval), `hl*` (Hodges-Lehmann), `rank_biserial`,
        `d_z`, `p_mean` (inverts the interval), `p_permutation` with `permutation_method`, `p_wilcoxon` with
        `wilcoxon_method`, `p_median` (inverts the median's interval), `p_equivalence` and `p_relevance`
        (is the mean within the margin, is it beyond), `smallest_detectable` (80 % power), the failure
        columns of `umdlib.statistics.failures.quadrants`, `at_floor`, `p_holm, n_holm, p_bh, n_bh` of
        `p_value`, the same of the median's, the equivalence and the relevance p-value (families of their
        own), `verdict` (of `umdlib.statistics.verdicts.VERDICTS`, after Holm's correction over structures, or
        Benjamini-Hochberg's over segmenters where structures are averaged; ``undecided`` below six
        subjects, which have no `p_value`), and `note`, which says why
        a value is missing or weak. A segmenter that was not available has a row that says so.
        ``attrs`` holds the settings.

    Raises
    ------
    InputError
        If the table breaks its rules or a name is unknown.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=8, structures=["liver"], gap={"b": -0.3}, seed=2)
    >>> row = compare(table, n_resamples=999).iloc[0]
    >>> bool(row.ci_low < row.estimate < row.ci_high < 0), int(row.n_pairs), row.verdict
    (True, 8, 'differs and matters')
    """
    for name in changes:
        if name not in {f.name for f in fields(Settings)}:
            raise unknown_name("setting", name, [f.name for f in fields(Settings)])
    return compare_each(scores, [replace(settings or Settings(), **changes)], by=by)[0]


def compare_each(
    scores: pd.DataFrame,
    settings: Sequence[Settings],
    *,
    by: Sequence[str] = ("session", "segmenter", "structure"),
) -> list[pd.DataFrame]:
    """`compare` under each of several settings; pairs are found once for all that are of the same rows.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=8, structures=["liver"], gap={"b": -0.3}, seed=2)
    >>> rules = [Settings(empty=rule, n_resamples=99) for rule in ("drop", "zero")]
    >>> [found["estimate"].round(2).tolist() for found in compare_each(table, rules)]
    [[-0.37], [-0.37]]
    """
    by = [by] if isinstance(by, str) else list(by)
    if not by:
        raise InputError(f"No column to compare by. Known: {', '.join(PAIR_KEYS)}.")
    for name in by:
        if name not in PAIR_KEYS:
            raise unknown_name("column", name, PAIR_KEYS)
    rows = functools.cache(lambda prompt, step: condition(scores, prompt=prompt, step=step))
    pairs = functools.cache(lambda prompt, step, modality: pairing(rows(prompt, step), modality))
    fails = functools.cache(lambda prompt, step, below: quadrants(rows(prompt, step), by=by, below=below))
    tables = []
    for chosen in settings:
        found = pairs(chosen.prompt, chosen.step, chosen.reference_modality)
        table = _estimates(found.differences(chosen.metric, chosen.empty), by, chosen)
        table["p_value"] = table[f"p_{chosen.test}"]
        few = table["n_subjects"].lt(FEWEST)
        table.loc[few, ["p_value", "p_equivalence", "p_relevance"]] = np.nan
        failures = fails(chosen.prompt, chosen.step, chosen.failure_below)
        table = table.merge(failures.drop(columns=["n_pairs", "n_subjects"]), on=by, how="left")
        table = _with_verdicts(table, by, chosen)
        table = _with_unavailable(table, scores, by)
        table.attrs = asdict(chosen)
        tables.append(table)
    return tables


def _with_verdicts(table: pd.DataFrame, by: list[str], settings: Settings) -> pd.DataFrame:
    """Add corrected p-values, each question a family of its own, and what they decide together."""
    table["at_floor"] = at_floor(table, metric=settings.metric, below=settings.failure_below)
    table["p_equivalence"] = table["p_equivalence"].mask(table["at_floor"])
    table = adjust(table)
    for name in ("p_median", "p_equivalence", "p_relevance"):
        table = adjust(table, p_value=name, name=name)
    correction = "holm" if "structure" in by else "bh"
    found = decide(table, correction=correction, alpha=round(1 - settings.confidence, 12))
    return table.assign(verdict=found)


def _estimates(differences: pd.DataFrame, by: list[str], settings: Settings) -> pd.DataFrame:
    """Every statistic of every comparison; each session draws as if it were alone."""
    blocks = []
    sessions = differences["session"].unique() if "session" in by and len(differences) else [None]
    for session in sessions:
        rows = differences if session is None else differences[differences["session"].eq(session)]
        every = rows.groupby(by, sort=False).size().index
        sides = ("difference", "structural", "pet")
        found = dict.fromkeys((*sides, "of_mean"), pd.DataFrame(columns=every))
        if len(rows):
            found = subject_matrices(rows, by, sides)
            found["of_mean"] = subject_means(rows, by, jackknife=True)
        matrices = {side: matrix.reindex(columns=every) for side, matrix in found.items()}
        blocks.append(_block(matrices, rows, by, settings))
    return pd.concat(blocks, ignore_index=True)


def _block(
    matrices: dict[str, pd.DataFrame], rows: pd.DataFrame, by: list[str], settings: Settings
) -> pd.DataFrame:
    """Comparisons that share their subjects, hence their resamples."""
    matrix = matrices["difference"]
    table = matrix.columns.to_frame(index=False)
    table.columns = by
    values = matrix.to_numpy(dtype=float)
    table = pd.concat([table, _sizes(rows, by), _sides(matrices)], axis=1)
    table = table.assign(**_of_means(matrices["of_mean"].to_numpy(dtype=float), table, settings))
    single = [_single(column, settings.confidence) for column in values.T]
    names = list(_single(np.array([]), settings.confidence))
    table = pd.concat([table, pd.DataFrame(single, table.index, names)], axis=1)
    # One difference is as extreme as its mirror image: a p-value of 1 that tests nothing.
    alone = table["n_subjects"].lt(2)
    table.loc[alone, ["p_permutation", "p_wilcoxon", "p_median"]] = np.nan
    table["note"] = _notes(values, table, rows, by)
    first = [*by, "estimate", "ci_low", "ci_high", "n_subjects", "n_pairs", "n_unpaired"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


def _of_means(values: np.ndarray, table: pd.DataFrame, settings: Settings) -> dict[str, np.ndarray]:
    """Intervals and p-values of the means of all columns."""
    names = ["ci_low", "ci_high", "bca_low", "bca_high", "t_low", "t_high", "p_mean"]
    names += ["p_equivalence", "p_relevance", "p_permutation"]
    if not len(values):
        return {name: np.full(len(table), np.nan) for name in names} | {"permutation_method": ""}
    counts, rng = bootstrap.seeded_counts(len(values), settings.n_resamples, settings.seed)
    bounds = bootstrap.value_bounds(settings.metric)
    estimate = bootstrap.estimate_means(values, counts, bounds=bounds)
    inside = equivalence.equivalence_p(estimate, settings.margin)
    if score_limits(settings.metric) is not None:
        unseen = equivalence.unseen_p(
            estimate.mean,
            estimate.n,
            settings.margin,
            table["mean_structural"].to_numpy(),
            table["mean_pet"].to_numpy(),
        )
        inside = np.where(np.isfinite(inside), np.fmax(inside, unseen), np.nan)
    flips, how = sign_flip_p(values, n_resamples=settings.n_resamples, rng=rng)
    zero = (np.nan_to_num(np.abs(values)).max(axis=0) < 1e-12) & (estimate.n > 1)
    ends = [
        *estimate.interval(settings.confidence),
        *bootstrap.bca_interval(values, counts, confidence=settings.confidence),
        *bootstrap.student_interval(values, confidence=settings.confidence),
    ]
    p_values = [np.where(zero, 1.0, estimate.p_value())]
    p_values += [inside, equivalence.relevance_p(estimate, settings.margin), flips]
    return dict(zip(names, [*ends, *p_values], strict=True)) | {"permutation_method": how}


def _sizes(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Numbers of subjects, of pairs and of rows that are none, per comparison."""
    number, first = group_numbers(rows, by)
    paired = rows["state"].eq("paired").to_numpy(bool)
    each = group_numbers(rows[paired], [*by, "subject"])[1]
    counted = {"n_unpaired": number[~paired], "n_subjects": number[paired][each], "n_pairs": number[paired]}
    return pd.DataFrame({name: np.bincount(n, minlength=len(first)) for name, n in counted.items()})


def _sides(matrices: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Mean, SD and quartiles of either side over the subjects of each comparison."""
    table = pd.DataFrame(index=range(matrices["difference"].shape[1]))
    for side in ("structural", "pet"):
        values = matrices[side].astype(float)
        table[f"mean_{side}"] = values.mean().to_numpy()
        table[f"sd_{side}"] = values.std().to_numpy()
        for name, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
            table[f"{name}_{side}"] = values.quantile(share).to_numpy()
    return table


def _single(column: np.ndarray, confidence: float) -> dict[str, object]:
    """Statistics that need one column of differences at a time."""
    kept = column[np.isfinite(column)]
    sd = kept.std(ddof=1) if kept.size > 1 else np.nan
    mean = kept.mean() if kept.size else np.nan
    median, median_low, median_high = signed_rank.median_interval(kept, confidence=confidence)
    shift, shift_low, shift_high = signed_rank.hodges_lehmann(kept, confidence=confidence)
    p_wilcoxon, method = signed_rank.wilcoxon(kept)
    alpha = round(1 - confidence, 12)
    return {
        "estimate": mean,
        "sd": sd,
        "d_z": mean / sd if sd > 1e-12 else np.nan,
        "median": median,
        "median_low": median_low,
        "median_high": median_high,
        "p_median": signed_rank.sign_test(kept),
        "hl": shift,
        "hl_low": shift_low,
        "hl_high": shift_high,
        "rank_biserial": signed_rank.rank_biserial(kept),
        "p_wilcoxon": p_wilcoxon,
        "wilcoxon_method": method,
        "smallest_detectable": equivalence.detectable_effect(kept.size, alpha=alpha) * sd,
    }


def _notes(values: np.ndarray, table: pd.DataFrame, rows: pd.DataFrame, by: list[str]) -> list[str]:
    """Why a statistic of each comparison is missing or weak; empty where nothing is."""
    notes = []
    sizes = rows.groupby(by, sort=False).size()
    gone = dict(list(rows[rows["state"].ne("paired")].groupby(by, sort=False)["why"]))
    averaged = dict(list(rows.groupby(by, sort=False))) if "structure" not in by else {}
    keys = sizes.index.to_frame(index=False).itertuples(index=False, name=None)
    for key, size, column, n_pairs in zip(keys, sizes, values.T, table["n_pairs"], strict=True):
        reasons = gone.get(key, pd.Series(dtype=str))
        if n_pairs == 0:
            notes.append(f"no pairs ({reasons.mode().iloc[0]})")
            continue
        words = [_weakness(column), _missing(reasons, size)]
        words.append(gaps_in_words(averaged[key]) if averaged else "")
        notes.append("; ".join(filter(None, words)))
    return notes


def _weakness(column: np.ndarray) -> str:
    """What few or equal differences leave out."""
    kept = signed_rank.rounded(column)
    if kept.size == 1:
        return "one subject: no interval, no test"
    if not kept.any():
        return "all differences are zero: no test of equivalence"
    if np.ptp(kept) == 0:
        return "all differences are equal: no d_z, no test of the mean, interval of width 0"
    few = f"fewer than {FEWEST} subjects: no test, no verdict" if kept.size < FEWEST else ""
    return few + ("; Student's interval" if kept.size < bootstrap.STUDENT_BELOW else "")


def _missing(reasons: pd.Series, n_rows: int) -> str:
    """How many rows have no partner, and why."""
    if reasons.empty:
        return ""
    counts = ", ".join(f"{n} × {why}" for why, n in reasons.value_counts(sort=False).items())
    return f"{len(reasons)} of {n_rows} without a pair ({counts})"


def _with_unavailable(table: pd.DataFrame, scores: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Append a row, with its reason, for each comparison whose segmenter was not available."""
    gone = scores[scores["status"].eq("unavailable")]
    keys = [c for c in by if c in gone.columns]
    if gone.empty or not keys:
        return table
    reasons = gone.groupby(keys, sort=False, dropna=False)["reason"].first().reset_index()
    reasons = reasons.rename(columns={"reason": "note"})
    message = reasons["note"].fillna("no reason given").str.removesuffix(".")
    reasons["note"] = "unavailable: " + message
    known = table[keys].apply(tuple, axis=1) if len(table) else []
    reasons = reasons[~reasons[keys].apply(tuple, axis=1).isin(list(known))]
    counts = dict.fromkeys(("n_subjects", "n_pairs", "n_unpaired", "n_holm", "n_bh"), 0)
    return pd.concat([table, reasons.assign(**counts, verdict="")], ignore_index=True)
