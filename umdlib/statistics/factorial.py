"""The 3 × 2 design: one network trained on structural images, on PET or on both, tested on two modalities.

UMD's gap is measured with networks that were trained on structural images. With networks of one kind
that were trained on structural images only, on PET only, and on both, it splits, in every subject, into ::

    PET | structural  -  CT | structural   =   PET | pet - CT | structural   +   PET | structural - PET | pet
    the gap                                =   modality effect               +   transfer effect

(tested modality | trained on). The modality effect is what remains when each image is given to the
network that was trained on it. It holds all that is harder about PET for such a network, and whatever
the references, which are drawn on the structural image, hold against a mask that fits PET: the two
are not told apart. The transfer effect is the cost of training on the other images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from umdlib.errors import InputError
from umdlib.labels import session as session_record
from umdlib.scores.empty_rules import check_scores, rows_with_score, score_limits
from umdlib.statistics import bootstrap
from umdlib.statistics.pairs import group_numbers, means_over_structures
from umdlib.statistics.verdicts import FLOOR, means_at_floor

TRAINED_ON: dict[str, str] = {
    "structural": "structural images only",
    "pet": "PET only",
    "both": "structural images and PET",
}

# Name -> signed cells (training, tested side), and what it says.
CONTRASTS: dict[str, tuple[dict[tuple[str, str], int], str]] = {
    "gap": (
        {("structural", "pet"): 1, ("structural", "structural"): -1},
        "PET minus structural, trained on structural images: the gap as benchmarks measure it",
    ),
    "modality effect": (
        {("pet", "pet"): 1, ("structural", "structural"): -1},
        "PET minus structural, each tested on what it was trained on",
    ),
    "transfer effect": (
        {("structural", "pet"): 1, ("pet", "pet"): -1},
        "on PET: trained on structural images minus trained on PET",
    ),
    "reverse gap": ({("pet", "pet"): 1, ("pet", "structural"): -1}, "PET minus structural, trained on PET"),
    "interaction": (
        {
            ("structural", "pet"): 1,
            ("structural", "structural"): -1,
            ("pet", "pet"): -1,
            ("pet", "structural"): 1,
        },
        "the gap minus the reverse gap: 0 if the training did not matter",
    ),
    "gap after joint training": (
        {("both", "pet"): 1, ("both", "structural"): -1},
        "PET minus structural, trained on both",
    ),
    "cost of joint training on structural images": (
        {("both", "structural"): 1, ("structural", "structural"): -1},
        "on the structural image: trained on both minus trained on structural images",
    ),
    "cost of joint training on PET": (
        {("both", "pet"): 1, ("pet", "pet"): -1},
        "on PET: trained on both minus trained on PET",
    ),
}


def parts_of(segmenter: str, *, family: str = "clicknet") -> tuple[str, int] | None:
    """Training and seed of a network by its name; None where it is not of the family.

    Examples
    --------
    >>> parts_of("clicknet_both_1"), parts_of("clicknet_pet"), parts_of("threshold")
    (('both', 1), ('pet', 0), None)
    """
    found = re.fullmatch(rf"{re.escape(family)}_({'|'.join(TRAINED_ON)})(?:_(\d+))?", segmenter)
    return (found[1], int(found[2] or 0)) if found else None


def design_scores(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    prompt: str = "centre",
    step: int = 0,
    family: str = "clicknet",
) -> pd.DataFrame:
    """Scores of the networks of a family: one row per subject, structure, training and tested side.

    Seeds that every cell has are averaged; a structure of a subject enters where all cells of the
    session have a score.

    Returns
    -------
    pandas.DataFrame
        `session, subject, structure, trained_on, side` (``structural`` or ``pet``), `score`, `n_seeds`;
        empty where the table holds none of these networks. ``attrs["metric"]`` names the metric.
    """
    check_scores(scores[:0], [metric])
    parts = {s: p for s in scores["segmenter"].unique() if (p := parts_of(s, family=family))}
    here = scores["segmenter"].isin(parts) & scores["status"].ne("unavailable")
    rows = rows_with_score(
        scores, here & scores["prompt"].eq(prompt) & scores["step"].eq(step), metric, empty
    )
    if rows.empty:
        return pd.DataFrame(columns=_COLUMNS)
    rows = rows.assign(
        trained_on=rows["segmenter"].map({s: p[0] for s, p in parts.items()}),
        training_seed=rows["segmenter"].map({s: p[1] for s, p in parts.items()}),
        side=np.where(rows["modality"].eq("PET"), "pet", "structural"),
    )
    complete = [_complete(part) for _, part in rows.groupby("session", sort=False)]
    table = pd.concat(complete)[_COLUMNS]
    table.attrs["metric"] = metric
    return table


_COLUMNS = ["session", "subject", "structure", "trained_on", "side", "score", "n_seeds"]


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one session on the seeds, subjects and structures that every cell has."""
    cells = rows.groupby(["trained_on", "side"]).ngroups
    per_seed = rows.groupby("training_seed")[["trained_on", "side"]].apply(lambda p: len(p.drop_duplicates()))
    seeds = per_seed.index[per_seed.eq(cells)]
    rows = rows[rows["training_seed"].isin(seeds)]
    wide = rows.pivot_table(
        index=["session", "subject", "structure"],
        columns=["trained_on", "side", "training_seed"],
        values="score",
        sort=False,
    )
    wide = wide.dropna()
    means = wide.T.groupby(level=["trained_on", "side"]).mean().T
    long = means.melt(ignore_index=False, value_name="score").reset_index()
    return long.assign(n_seeds=len(seeds))


def cells(scores: pd.DataFrame) -> pd.DataFrame:
    """One value per subject and cell, as a matrix: structures are averaged within subjects (standardised).

    Parameters
    ----------
    scores
        From `design_scores`, of one session.

    Returns
    -------
    pandas.DataFrame
        Index subject, columns (trained_on, side).
    """
    if len(scores["session"].unique()) > 1:
        raise InputError(f"Cells of one session, not of {', '.join(scores['session'].unique())}.")
    rows = scores.set_index(["subject", "structure"])
    matrix = scores.pivot_table(index="subject", columns=["trained_on", "side"], values="score", sort=False)
    for cell, part in rows.groupby(["trained_on", "side"], sort=False):
        matrix[cell] = means_over_structures(part[["score"]])["score"]
    return matrix


def design_table(scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """The 3 × 2 table of each session: mean and subject-bootstrap interval of every cell.

    Returns
    -------
    pandas.DataFrame
        `session, trained_on, side, modality, estimate, ci_low, ci_high, n_subjects, n_seeds`.
    """
    tables = []
    for name, part in scores.groupby("session", sort=False):
        matrix = cells(part)
        counts, _ = bootstrap.seeded_counts(len(matrix), n_resamples, seed)
        limits = score_limits(scores.attrs.get("metric", "dice"))
        low, high = bootstrap.mean_interval(matrix.to_numpy(), counts, bounds=limits)
        table = matrix.columns.to_frame(index=False)
        structural = session_record(name).structural
        tables.append(
            table.assign(
                session=name,
                modality=np.where(table["side"].eq("pet"), "PET", structural),
                estimate=matrix.mean().to_numpy(),
                ci_low=low,
                ci_high=high,
                n_subjects=len(matrix),
                n_seeds=int(part["n_seeds"].iloc[0]),
            )
        )
    columns = ["session", "trained_on", "side", "modality", "estimate", "ci_low", "ci_high", "n_subjects"]
    columns += ["n_seeds"]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)[columns]
    order = table["trained_on"].map({d: i for i, d in enumerate(TRAINED_ON)}) * 2 + table["side"].eq("pet")
    sessions = table["session"].map({s: i for i, s in enumerate(table["session"].unique())})
    return table.iloc[np.lexsort([order, sessions])].reset_index(drop=True)


def contrast_table(
    scores: pd.DataFrame, *, names: Sequence[str] = tuple(CONTRASTS), n_resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Contrasts between the cells, within subjects: estimate, interval and its p-value.

    Returns
    -------
    pandas.DataFrame
        `session, contrast, estimate, ci_low, ci_high, p_value, n_subjects, words, at_floor`
        (`umdlib.statistics.verdicts.at_floor` of the contrast's cells); a contrast
        whose cells are not there has no row. The p-value is under 0.05 exactly where the interval leaves
        out 0. Resamples are shared, so that in each of them the gap is the sum of the modality and the
        transfer effect.
    """
    rows = []
    metric = scores.attrs.get("metric", "dice")
    for session, part in scores.groupby("session", sort=False):
        matrix = cells(part)
        for name, values in _contrasts(matrix, names).items():
            found = bootstrap.interval_of_mean(values, metric, n_resamples, seed, kind=_kind(name))
            floor = means_at_floor(matrix[list(CONTRASTS[name][0])], metric)
            rows.append([session, name, *found, CONTRASTS[name][1], floor])
    columns = ["session", "contrast", "estimate", "ci_low", "ci_high", "p_value", "n_subjects", "words"]
    columns.append("at_floor")
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["metric"] = metric
    return table


def _contrasts(matrix: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Value per subject of each contrast whose cells are there."""
    found = {}
    for name in names:
        weights = CONTRASTS[name][0]
        if all(cell in matrix for cell in weights):
            values = sum(w * matrix[cell].to_numpy() for cell, w in weights.items())
            found[name] = np.round(values, 12)  # equal differences are equal
    return found


def _kind(name: str) -> str:
    """Whether a contrast is one difference, or one between two of them."""
    return "difference" if len(CONTRASTS[name][0]) == 2 else "contrast"


_SMALLEST = 0.02  # a gap nearer to 0 cannot be divided by


def learned_share(scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """The share of the gap that is the transfer effect, with its interval.

    The interval holds the shares s for which the interval of ``transfer - s gap`` holds 0, as
    Fieller's does for normal values. Where the modality effect's interval holds 0, so does it hold
    100 %, but for a search that starts at the estimate and ends at the first s that is outside.
    A ratio of two means is undefined where its denominator may be 0: share and interval are left
    out where the gap's own interval comes nearer to 0 than 0.02.

    Returns
    -------
    pandas.DataFrame
        `session, estimate, ci_low, ci_high, note`.
    """
    rows = []
    for session, part in scores.groupby("session", sort=False):
        matrix = cells(part)
        gap, transfer = (
            sum(w * matrix[c].to_numpy() for c, w in CONTRASTS[name][0].items())
            if all(c in matrix for c in CONTRASTS[name][0])
            else None
            for name in ("gap", "transfer effect")
        )
        if gap is None or transfer is None:
            continue
        counts, _ = bootstrap.seeded_counts(len(matrix), n_resamples, seed)
        limits = bootstrap.value_bounds(scores.attrs.get("metric", "dice"))
        low, high = bootstrap.mean_interval(gap[:, None], counts, bounds=limits)
        row = {"session": session, "estimate": np.nan, "ci_low": np.nan, "ci_high": np.nan}
        if len(matrix) < 2:
            rows.append({**row, "note": "one subject: no share of the gap"})
            continue
        if means_at_floor(matrix[list(CONTRASTS["gap"][0])], scores.attrs.get("metric", "dice")):
            rows.append({**row, "note": f"the gap is {FLOOR}, both scores are at the floor: no share of it"})
            continue
        if abs(gap.mean()) < _SMALLEST or not (high[0] < -_SMALLEST or low[0] > _SMALLEST):
            rows.append({**row, "note": "the gap may be zero: no share of it"})
            continue
        share = transfer.mean() / gap.mean()
        ends = [_share_end(transfer, gap, counts, share, side) for side in (-1, 1)]
        rows.append({**row, "estimate": share, "ci_low": ends[0], "ci_high": ends[1], "note": ""})
    return pd.DataFrame(rows, columns=["session", "estimate", "ci_low", "ci_high", "note"])


def _share_end(part: np.ndarray, whole: np.ndarray, counts: np.ndarray, share: float, side: int) -> float:
    """The share farthest from the estimate on one side for which part - share whole may be 0.

    NaN where there is none within 100 times the whole.
    """

    def inside(s: float) -> bool:
        values = np.round(part - s * whole, 12)[:, None]
        low, high = bootstrap.mean_interval(values, counts)
        return bool(low[0] <= 0 <= high[0])

    if len(part) < 2:
        return float("nan")
    near, step = share, 0.01
    while inside(share + side * step):
        near, step = share + side * step, 2 * step
        if step > 100:
            return float("nan")
    far = share + side * step
    for _ in range(20):
        middle = (near + far) / 2
        near, far = (middle, far) if inside(middle) else (near, middle)
    return float(near)


def by_training_seed(
    scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop", family: str = "clicknet"
) -> pd.DataFrame:
    """Mean of each cell for every training seed: what another training run changes.

    Returns
    -------
    pandas.DataFrame
        `session, trained_on, side, training_seed, score` (mean over subjects of means over structures).
    """
    tables = []
    options = {"metric": metric, "empty": empty, "family": family}
    for seed, rows in _of_every_seed(scores, **options):
        for session, part in rows.groupby("session", sort=False):
            means = cells(part).mean().rename("score").reset_index()
            tables.append(means.assign(session=session, training_seed=seed))
    columns = ["session", "trained_on", "side", "training_seed", "score"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def contrasts_by_training_seed(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    family: str = "clicknet",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """`contrast_table` of every training seed by itself, with `training_seed`.

    Intervals are over subjects; what lies between the seeds is what another draw of first weights,
    patches and clicks changes.
    """
    options = {"metric": metric, "empty": empty, "family": family}
    tables = [
        contrast_table(rows, n_resamples=n_resamples, seed=seed).assign(training_seed=n)
        for n, rows in _of_every_seed(scores, **options)
    ]
    if not tables:
        return contrast_table(design_scores(scores, **options)).assign(training_seed=0)
    return pd.concat(tables, ignore_index=True)


def contrasts_over_seeds(scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Contrasts with an interval for other subjects *and* other training seeds.

    Subjects and seeds are crossed: every network segments every subject. Both are taken as drawn at
    random, so that the interval holds for the next subject and the next training run.

    Returns
    -------
    pandas.DataFrame
        `session, contrast, estimate, ci_low, ci_high, freedom, n_subjects, n_seeds, at_floor`; no rows where
        there is one seed. With two seeds that differ, the degrees of freedom are near one and the
        interval is wide: two training runs say no more.

    Notes
    -----
    Two-way random effects, one observation a cell: the variance of the mean is
    ``(MS_subject + max(MS_seed - MS_rest, 0)) / (n k)``, its degrees of freedom by Satterthwaite (1946),
    https://doi.org/10.2307/3002019, as for readers and cases by Hillis (2007),
    https://doi.org/10.1002/sim.2532. Student's t.
    """
    of_seed = dict(_of_every_seed(scores, family="clicknet", metric=metric, empty=empty))
    sessions = dict.fromkeys(name for rows in of_seed.values() for name in rows["session"].unique())
    found = []
    for session in sessions:
        columns, means = {name: {} for name in CONTRASTS}, []
        for seed, rows in of_seed.items():
            matrix = cells(rows[rows["session"].eq(session)])
            means.append(matrix.mean())
            for name, values in _contrasts(matrix, tuple(CONTRASTS)).items():
                columns[name][seed] = pd.Series(values, matrix.index)
        of_seeds = pd.concat(means, axis=1).T
        for name, by_seed in columns.items():
            table = pd.DataFrame(by_seed).dropna()
            if table.shape[1] > 1 and len(table) > 1:
                bounds = bootstrap.value_bounds(metric, _kind(name))
                floor = means_at_floor(of_seeds[list(CONTRASTS[name][0])], metric)
                found.append([session, name, *_crossed(table.to_numpy(), bounds), *table.shape, floor])
    columns = ["session", "contrast", "estimate", "ci_low", "ci_high", "freedom", "n_subjects", "n_seeds"]
    columns.append("at_floor")
    table = pd.DataFrame(found, columns=columns)
    table.attrs["metric"] = metric
    return table


def _crossed(values: np.ndarray, bounds: tuple[float, float] | None) -> tuple[float, float, float, float]:
    """Mean, interval and degrees of freedom of crossed random rows and columns."""
    n, k = values.shape
    mean, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    ms_rows = k * rows.var(ddof=1)
    ms_columns = n * columns.var(ddof=1)
    rest = values - rows[:, None] - columns + mean
    ms_rest = (rest**2).sum() / ((n - 1) * (k - 1))
    extra = max(ms_columns - ms_rest, 0.0)
    whole = ms_rows + extra
    if whole <= 0:
        return mean, mean, mean, float(n - 1)
    parts = ms_rows**2 / (n - 1)
    if extra > 0:
        parts += ms_columns**2 / (k - 1) + ms_rest**2 / ((n - 1) * (k - 1))
    freedom = whole**2 / parts
    half = stdtrit(freedom, 0.975) * np.sqrt(whole / (n * k))
    low, high = bounds or (-np.inf, np.inf)
    return mean, max(mean - half, low), min(mean + half, high), freedom


def _of_every_seed(scores: pd.DataFrame, *, family: str, **options):
    """Each training seed of a family, and the design's scores of the networks with that seed."""
    seeds = {p[1] for s in scores["segmenter"].unique() if (p := parts_of(s, family=family))}
    for seed in sorted(seeds):
        mine = {f"{family}_{d}" + (f"_{seed}" if seed else "") for d in TRAINED_ON}
        rows = scores[scores["segmenter"].isin(mine)]
        yield seed, design_scores(rows, family=family, **options)


def class_means(
    scores: pd.DataFrame,
    systems: Sequence[tuple[str, str, int]],
    *,
    metric: str = "dice",
    empty: str = "drop",
) -> pd.DataFrame:
    """Mean over subjects of each structure for some systems and numbers of clicks.

    Parameters
    ----------
    scores
        Score table.
    systems
        (label, segmenter, step); one that the table does not hold has no rows. A segmenter that
        takes no clicks has step 0 only, whatever its prompt is called.
    metric, empty
        What is averaged, and the empty rule.

    Returns
    -------
    pandas.DataFrame
        `session, label, segmenter, modality, structure, score`, in the order of `systems`.
    """
    check_scores(scores[:0], [metric])
    asked = scores["segmenter"].isin({s[1] for s in systems}) & scores["step"].isin({s[2] for s in systems})
    rows = rows_with_score(scores, asked & scores["status"].ne("unavailable"), metric, empty)
    system, first = group_numbers(rows, ["segmenter", "step"])
    centre = rows["prompt"].eq("centre").to_numpy(bool)
    with_centre = np.bincount(system, weights=centre, minlength=len(first)) > 0
    rows = rows[centre | ~with_centre[system]]
    keys = ["session", "modality", "structure"]
    number, first = group_numbers(rows, ["segmenter", "step", *keys])
    means = rows[["segmenter", "step", *keys]].iloc[first].reset_index(drop=True)
    means["score"] = rows["score"].groupby(number).mean().to_numpy()
    tables = []
    for label, segmenter, step in systems:
        mine = means[means["segmenter"].eq(segmenter) & means["step"].eq(step)]
        tables.append(mine[[*keys, "score"]].assign(label=label, segmenter=segmenter))
    columns = ["session", "label", "segmenter", "modality", "structure", "score"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
