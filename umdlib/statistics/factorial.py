"""The 3 × 2 design: one network trained on three diets, tested on two modalities.

UMD's gap is measured with networks that were trained on structure. With networks of one kind that
were trained on structure only, on PET only, and on both, it splits, in every subject, into ::

    PET | structural  -  CT | structural   =   PET | pet - CT | structural   +   PET | structural - PET | pet
    the gap                                =   modality effect               +   transfer effect

(tested modality | training). The modality effect is what remains when each image is given to the
network that knows it; the transfer effect is what was only not learned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.labels import session as session_record
from umdlib.scores.empty_rules import check_scores, score_limits, with_empty_rule
from umdlib.statistics import bootstrap

DIETS: dict[str, str] = {"structural": "structure only", "pet": "PET only", "both": "structure and PET"}

# Name -> signed cells (training, tested side), and what it says.
CONTRASTS: dict[str, tuple[dict[tuple[str, str], int], str]] = {
    "gap": (
        {("structural", "pet"): 1, ("structural", "structural"): -1},
        "PET minus structural, trained on structure: the gap as benchmarks measure it",
    ),
    "modality effect": (
        {("pet", "pet"): 1, ("structural", "structural"): -1},
        "PET minus structural, each tested on what it was trained on",
    ),
    "transfer effect": (
        {("structural", "pet"): 1, ("pet", "pet"): -1},
        "on PET: trained on structure minus trained on PET",
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
    "gap of both": (
        {("both", "pet"): 1, ("both", "structural"): -1},
        "PET minus structural, trained on both",
    ),
    "price on structure": (
        {("both", "structural"): 1, ("structural", "structural"): -1},
        "on the structural image: trained on both minus trained on structure",
    ),
    "price on PET": (
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
    found = re.fullmatch(rf"{re.escape(family)}_({'|'.join(DIETS)})(?:_(\d+))?", segmenter)
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
        `session, subject, structure, diet, side` (``structural`` or ``pet``), `score`, `n_seeds`;
        empty where the table holds none of these networks. ``attrs["metric"]`` names the metric.
    """
    check_scores(scores, [metric])
    scores = scores.reset_index(drop=True)
    rows = scores.assign(score=with_empty_rule(scores, metric, empty))
    rows["parts"] = rows["segmenter"].map(lambda s: parts_of(s, family=family))
    here = rows["parts"].notna() & rows["status"].ne("unavailable")
    rows = rows[here & rows["prompt"].eq(prompt) & rows["step"].eq(step)]
    if rows.empty:
        return pd.DataFrame(columns=_COLUMNS)
    rows = rows.assign(
        diet=[p[0] for p in rows["parts"]],
        training_seed=[p[1] for p in rows["parts"]],
        side=np.where(rows["modality"].eq("PET"), "pet", "structural"),
    )
    complete = [_complete(part) for _, part in rows.groupby("session", sort=False)]
    table = pd.concat(complete)[_COLUMNS]
    table.attrs["metric"] = metric
    return table


_COLUMNS = ["session", "subject", "structure", "diet", "side", "score", "n_seeds"]


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one session on the seeds, subjects and structures that every cell has."""
    cells = rows.groupby(["diet", "side"]).ngroups
    per_seed = rows.groupby("training_seed")[["diet", "side"]].apply(lambda p: len(p.drop_duplicates()))
    seeds = per_seed.index[per_seed.eq(cells)]
    rows = rows[rows["training_seed"].isin(seeds)]
    wide = rows.pivot_table(
        index=["session", "subject", "structure"],
        columns=["diet", "side", "training_seed"],
        values="score",
        sort=False,
    )
    wide = wide.dropna()
    means = wide.T.groupby(level=["diet", "side"]).mean().T
    long = means.melt(ignore_index=False, value_name="score").reset_index()
    return long.assign(n_seeds=len(seeds))


def cells(scores: pd.DataFrame, *, by_structure: bool = False) -> pd.DataFrame:
    """One value per subject and cell, as a matrix.

    Parameters
    ----------
    scores
        From `design_scores`, of one session.
    by_structure
        Whether a row is a subject's structure; by default structures are averaged within subjects.

    Returns
    -------
    pandas.DataFrame
        Index subject (and structure), columns (diet, side).
    """
    if len(scores["session"].unique()) > 1:
        raise InputError(f"Cells of one session, not of {', '.join(scores['session'].unique())}.")
    index = ["subject", "structure"] if by_structure else ["subject"]
    return scores.pivot_table(index=index, columns=["diet", "side"], values="score", sort=False)


def design_table(scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """The 3 × 2 table of each session: mean and subject-bootstrap interval of every cell.

    Returns
    -------
    pandas.DataFrame
        `session, diet, side, modality, estimate, ci_low, ci_high, n_subjects, n_seeds`.
    """
    tables = []
    for name, part in scores.groupby("session", sort=False):
        matrix = cells(part)
        counts = bootstrap.resample_counts(len(matrix), n_resamples, np.random.default_rng(seed))
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
    columns = [
        "session",
        "diet",
        "side",
        "modality",
        "estimate",
        "ci_low",
        "ci_high",
        "n_subjects",
        "n_seeds",
    ]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)[columns]
    order = table["diet"].map({d: i for i, d in enumerate(DIETS)}) * 2 + table["side"].eq("pet")
    sessions = table["session"].map({s: i for i, s in enumerate(table["session"].unique())})
    return table.iloc[np.lexsort([order, sessions])].reset_index(drop=True)


def contrast_table(
    scores: pd.DataFrame, *, names: Sequence[str] = tuple(CONTRASTS), n_resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Contrasts between the cells, within subjects: estimate, interval, sign-flip p-value.

    Returns
    -------
    pandas.DataFrame
        `session, contrast, estimate, ci_low, ci_high, p_value, n_subjects, words`; a contrast
        whose cells are not there has no row. Resamples are shared, so that in each of them the gap
        is the sum of the modality and the transfer effect.
    """
    rows = []
    for session, part in scores.groupby("session", sort=False):
        matrix = cells(part)
        counts = bootstrap.resample_counts(len(matrix), n_resamples, np.random.default_rng(seed))
        rng = np.random.default_rng(seed + 1)
        for name in names:
            weights, words = CONTRASTS[name]
            if any(cell not in matrix for cell in weights):
                continue
            values = sum(w * matrix[cell].to_numpy() for cell, w in weights.items())[:, None]
            values = np.round(values, 12)  # equal differences are equal
            low, high = bootstrap.mean_interval(values, counts, bounds=_limits(weights, scores))
            p_value, _ = bootstrap.sign_flip_p(values, n_resamples=n_resamples, rng=rng)
            rows.append(
                {
                    "session": session,
                    "contrast": name,
                    "estimate": values.mean(),
                    "ci_low": low[0],
                    "ci_high": high[0],
                    "p_value": p_value[0] if len(values) > 1 else np.nan,
                    "n_subjects": len(values),
                    "words": words,
                }
            )
    columns = ["session", "contrast", "estimate", "ci_low", "ci_high", "p_value", "n_subjects", "words"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["metric"] = scores.attrs.get("metric", "dice")
    return table


def _limits(weights: Mapping, scores: pd.DataFrame) -> tuple[float, float] | None:
    """Smallest and largest possible value of a contrast; None where the metric has no limits."""
    if score_limits(scores.attrs.get("metric", "dice")) is None:
        return None
    signed = list(weights.values())
    return float(sum(w for w in signed if w < 0)), float(sum(w for w in signed if w > 0))


def learned_share(
    scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0, smallest: float = 0.02
) -> pd.DataFrame:
    """The share of the gap that is the transfer effect, with its interval.

    The interval holds the shares s for which the interval of ``transfer - s gap`` holds 0, as
    Fieller's does for normal values. Where the modality effect's interval holds 0, so does it hold
    100 %, but for a search that starts at the estimate and ends at the first s that is outside.
    A ratio of two means is undefined where its denominator may be 0: share and interval are left
    out where the gap's own interval comes nearer to 0 than `smallest`.

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
        counts = bootstrap.resample_counts(len(matrix), n_resamples, np.random.default_rng(seed))
        limits = _limits(CONTRASTS["gap"][0], scores)
        low, high = bootstrap.mean_interval(gap[:, None], counts, bounds=limits)
        row = {"session": session, "estimate": np.nan, "ci_low": np.nan, "ci_high": np.nan}
        if len(matrix) < 2:
            rows.append({**row, "note": "one subject: no share of the gap"})
            continue
        if abs(gap.mean()) < smallest or not (high[0] < -smallest or low[0] > smallest):
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
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    prompt: str = "centre",
    step: int = 0,
    family: str = "clicknet",
) -> pd.DataFrame:
    """Mean of each cell for every training seed: what another draw of the training changes.

    Returns
    -------
    pandas.DataFrame
        `session, diet, side, training_seed, score` (mean over subjects of means over structures).
    """
    tables = []
    options = {"metric": metric, "empty": empty, "prompt": prompt, "step": step, "family": family}
    for seed, rows in _of_every_seed(scores, **options):
        means = rows.groupby(["session", "diet", "side", "subject"], sort=False)["score"].mean()
        means = means.groupby(["session", "diet", "side"], sort=False).mean().reset_index()
        tables.append(means.assign(training_seed=seed))
    columns = ["session", "diet", "side", "training_seed", "score"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def contrasts_by_training_seed(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    prompt: str = "centre",
    step: int = 0,
    family: str = "clicknet",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """`contrast_table` of every training seed by itself, with `training_seed`.

    Intervals are over subjects; what lies between the seeds is what another draw of first weights,
    patches and clicks changes.
    """
    options = {"metric": metric, "empty": empty, "prompt": prompt, "step": step, "family": family}
    tables = [
        contrast_table(rows, n_resamples=n_resamples, seed=seed).assign(training_seed=n)
        for n, rows in _of_every_seed(scores, **options)
    ]
    if not tables:
        return contrast_table(design_scores(scores, **options)).assign(training_seed=0)
    return pd.concat(tables, ignore_index=True)


def _of_every_seed(scores: pd.DataFrame, *, family: str, **options):
    """Each training seed of a family, and the design's scores of the networks with that seed."""
    seeds = {p[1] for s in scores["segmenter"].unique() if (p := parts_of(s, family=family))}
    for seed in sorted(seeds):
        mine = {f"{family}_{d}" + (f"_{seed}" if seed else "") for d in DIETS}
        rows = scores[scores["segmenter"].isin(mine)]
        yield seed, design_scores(rows, family=family, **options)


def class_means(
    scores: pd.DataFrame,
    systems: Sequence[tuple[str, str, int]],
    *,
    metric: str = "dice",
    empty: str = "drop",
    prompt: str = "centre",
) -> pd.DataFrame:
    """Mean over subjects of each structure for some systems and numbers of clicks.

    Parameters
    ----------
    scores
        Score table.
    systems
        (label, segmenter, step); one that the table does not hold has no rows. A segmenter that
        takes no clicks has step 0 only, whatever its prompt is called.

    Returns
    -------
    pandas.DataFrame
        `session, label, segmenter, modality, structure, score`, in the order of `systems`.
    """
    check_scores(scores, [metric])
    scores = scores.reset_index(drop=True)
    rows = scores.assign(score=with_empty_rule(scores, metric, empty))
    rows = rows[rows["status"].ne("unavailable")]
    tables = []
    for label, segmenter, step in systems:
        mine = rows[rows["segmenter"].eq(segmenter) & rows["step"].eq(step)]
        if prompt in set(mine["prompt"]):
            mine = mine[mine["prompt"].eq(prompt)]
        keys = ["session", "modality", "structure"]
        means = mine.groupby(keys, sort=False)["score"].mean().reset_index()
        tables.append(means.assign(label=label, segmenter=segmenter))
    columns = ["session", "label", "segmenter", "modality", "structure", "score"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
