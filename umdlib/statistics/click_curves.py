"""What a segmenter was given, and what each corrective click brought, in score and seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from umdlib.labels import session
from umdlib.protocols import coordinates_given
from umdlib.scores.empty_rules import check_scores, higher_is_better, with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.pairs import group_numbers, means_over_structures
from umdlib.statistics.verdicts import at_floor

_KEYS = ["session", "segmenter", "prompt", "step", "modality"]


def _whole_cases(scores: pd.DataFrame, metric: str, empty: str) -> pd.DataFrame:
    """Scores averaged over seeds, of the structures of an image that are scored at every step.

    Subjects and structures are numbers, in the order of their names.
    """
    check_scores(scores, [metric])
    rows = scores[scores["status"].ne("unavailable")].reset_index(drop=True)
    rows = rows.assign(score=with_empty_rule(rows, metric, empty))
    if "seconds" not in rows:
        rows["seconds"] = np.nan
    case = ["session", "segmenter", "prompt", "modality", "subject", "structure"]
    if rows["seed"].ne(rows["seed"].min()).any():
        rows = rows.groupby([*case, "step"], sort=False)[["score", "seconds"]].mean().reset_index()
    rows = rows[[*case, "step", "score", "seconds"]]
    rows = rows.assign(**{k: pd.factorize(rows[k], sort=True)[0] for k in ("subject", "structure")})
    asked, first = group_numbers(rows, case[:3])
    numbers = rows[["modality", "subject", "structure", "step"]].assign(asked=asked)
    steps = np.bincount(asked[group_numbers(numbers, ["asked", "step"])[1]], minlength=len(first))
    number, first = group_numbers(numbers, ["asked", "modality", "subject", "structure"])
    scored = np.bincount(number, weights=rows["score"].notna(), minlength=len(first))
    return rows[scored[number] == steps[asked]]


def _parts(
    rows: pd.DataFrame, keys: list[str], order: np.ndarray | None = None
) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """Groups of rows, in the order in which they come, without the names that they share."""
    number, first = group_numbers(rows, keys)
    names = list(rows[keys].iloc[first].itertuples(index=False, name=None))
    rest = rows.drop(columns=keys)
    if order is not None:
        rest, number = rest.iloc[order], number[order]
    for n, part in rest.groupby(number, sort=False):
        yield names[n], part


def effort_table(scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Score and seconds of every segmenter, prompt and step: the form of SegAnyPET's table S3.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, prompt, step, modality`, `coordinates` (numbers given),
        `median, q1, q3` of the subjects' means over structures (standardised, as in
        `umdlib.statistics.pairs.standardised_means`; of structures that are scored at every step, so that
        steps compare like with like), `seconds` (median of a subject's mean over the structures that it has:
        time that was spent), `n_subjects`.
    """
    found = []
    for key, part in _parts(_whole_cases(scores, metric, empty), _KEYS):
        cells = part.set_index(["subject", "structure"])[["score"]]
        score = means_over_structures(cells, jackknife=False)["score"]
        seconds = part.groupby("subject")["seconds"].mean().median()
        found.append([*key, *score.quantile([0.5, 0.25, 0.75]), seconds, len(score)])
    table = pd.DataFrame(found, columns=[*_KEYS, "median", "q1", "q3", "seconds", "n_subjects"])
    return _with_coordinates(table, scores)


def _with_coordinates(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Numbers given per structure: those of the name of the prompt, else the rows' median."""
    keys = ["session", "segmenter", "prompt", "step", "modality"]
    named = [coordinates_given(p, s) for p, s in zip(table["prompt"], table["step"], strict=True)]
    table = table.assign(coordinates=np.array(named, float))
    if "coordinates" in scores and table["coordinates"].isna().any():
        counted = scores[scores["coordinates"].gt(0)].groupby(keys)["coordinates"].median()
        rows = pd.MultiIndex.from_frame(table[keys])
        table["coordinates"] = table["coordinates"].fillna(pd.Series(counted.reindex(rows).to_numpy()))
    whole = table["coordinates"].mod(1).eq(0).all()  # a median may be half, and NaN where rows count nothing
    return table.astype({"coordinates": int}) if whole else table


def curve_table(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean score after each corrective click, and its gain over the click before.

    Parameters
    ----------
    scores
        Score table with several steps; segmenters with one step have one point.
    metric, empty
        What is averaged, and the empty rule.
    n_resamples, seed
        Of the subject bootstrap.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, prompt, step, modality, coordinates, estimate, ci_low, ci_high`,
        `gain, gain_low, gain_high` (paired within the subject; NaN at the first step),
        `n_subjects`. Rows with modality ``difference`` hold PET minus structural, on the structures
        of a subject that both images have: a gain there says which image the click changes more. `at_floor`
        there: both images are at the floor, see `umdlib.statistics.verdicts.at_floor`.
    """
    rows = _whole_cases(scores, metric, empty)
    tables = []
    for (name, segmenter, prompt), part in _parts(rows, _KEYS[:3]):
        cases = part.pivot_table(index=["subject", "structure"], columns=["modality", "step"], values="score")
        matrix = means_over_structures(cases, sort=True)
        change = _differences(cases, session(name).structural)
        matrix = matrix.join(change) if len(change.columns) else matrix
        table = _curve(matrix, metric, n_resamples, seed)
        tables.append(table.assign(session=name, segmenter=segmenter, prompt=prompt))
    if not tables:
        return pd.DataFrame(columns=_CURVE)
    table = pd.concat(tables, ignore_index=True)
    return _with_coordinates(_with_floors(table, metric), scores)[_CURVE]


def _with_floors(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Add whether the difference between the two images of a step is one between floors."""
    keys = [*_KEYS[:3], "step"]
    sides = table[table["modality"].ne("difference")]
    best = sides.groupby(keys)["estimate"].max().rename("best").reset_index()
    rows = table.merge(best, on=keys, how="left")
    floor = at_floor(rows, metric=metric, sides=("best",)) & rows["modality"].eq("difference")
    return table.assign(at_floor=floor.to_numpy())


_CURVE = ["session", "segmenter", "prompt", "step", "modality", "coordinates", "estimate", "ci_low"]
_CURVE += ["ci_high", "gain", "gain_low", "gain_high", "n_subjects", "at_floor"]


def until_satisfied(
    scores: pd.DataFrame, *, target: float, metric: str = "dice", empty: str = "drop"
) -> pd.DataFrame:
    """Prompts and seconds until a mask is good enough: the effort of a user who stops at a score.

    The measured part of SegAnyPET's figure 4b, where two physicians prompted until they were satisfied.

    Parameters
    ----------
    scores
        Score table with several steps; segmenters with one step are left out.
    target
        Score that satisfies.
    metric, empty
        What is scored, and the empty rule.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, prompt, modality`; `at_once, reached`: share of a subject's structures that satisfy
        after the first prompt and after the last, mean over subjects; `prompts`: median over all structures
        of all subjects, NaN where fewer than half are ever satisfied; `seconds`: computing time of a structure
        until it satisfies or the prompts end, median; `budget`: prompts given at most; `n_subjects`. All are of
        the structures that a subject has: the work of a user, which no structure that is not there adds to.
    """
    rows = _whole_cases(scores, metric, empty)
    good = rows["score"] >= target if higher_is_better(metric) else rows["score"] <= target
    rows = rows.assign(good=good, number=rows["step"] + 1)
    order = np.argsort(rows["step"].to_numpy(), kind="stable")
    tables = []
    for key, part in _parts(rows, ["session", "segmenter", "prompt", "modality"], order):
        budget = int(part["number"].max())
        if budget == 1:
            continue
        cases = part.groupby(["subject", "structure"], sort=False)
        first = part[part["good"]].groupby(["subject", "structure"])["number"].min().astype(float)
        needed = first.reindex(cases.size().index).fillna(np.inf)
        last = pd.MultiIndex.from_frame(part[["subject", "structure"]])
        spent = part[part["number"].to_numpy() <= needed.reindex(last).to_numpy()]
        shares = (
            pd.DataFrame({"at_once": needed.eq(1), "reached": needed.lt(np.inf)}).groupby("subject").mean()
        )
        seconds = spent.groupby(["subject", "structure"])["seconds"].sum(min_count=1)
        middle = float(np.quantile(needed, 0.5, method="higher"))
        found = [
            *shares.mean(),
            middle if np.isfinite(middle) else np.nan,
            seconds.median(),
            budget,
            len(shares),
        ]
        tables.append([*key, *found])
    columns = ["at_once", "reached", "prompts", "seconds", "budget", "n_subjects"]
    return pd.DataFrame(tables, columns=["session", "segmenter", "prompt", "modality", *columns])


def _differences(cases: pd.DataFrame, structural: str) -> pd.DataFrame:
    """PET minus structural per subject and step, over the structures that both images have."""
    both = cases.dropna()
    steps = both.columns.get_level_values("step").unique()
    columns = {
        ("difference", step): both["PET", step] - both[structural, step]
        for step in steps
        if (structural, step) in both and ("PET", step) in both
    }
    if not columns:
        return pd.DataFrame(index=cases.index.unique("subject"))
    table = means_over_structures(pd.DataFrame(columns), sort=True)
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=cases.columns.names)
    return table


def _curve(matrix: pd.DataFrame, metric: str, n_resamples: int, seed: int) -> pd.DataFrame:
    """Means and gains of every column (modality, step) with their intervals."""
    counts, _ = bootstrap.seeded_counts(len(matrix), n_resamples, seed)
    low, high = _intervals(matrix, counts, metric, ("score", "difference"))
    gains = matrix * np.nan
    for modality, step in matrix.columns:
        before = [s for m, s in matrix.columns if m == modality and s < step]
        if before:
            gains[modality, step] = matrix[modality, step] - matrix[modality, max(before)]
    gain_low, gain_high = _intervals(gains, counts, metric, ("difference", "contrast"))
    table = matrix.columns.to_frame(index=False, name=["modality", "step"])
    table = table.assign(
        estimate=matrix.mean().to_numpy(),
        ci_low=low,
        ci_high=high,
        gain=gains.mean().to_numpy(),
        gain_low=gain_low,
        gain_high=gain_high,
        n_subjects=matrix.notna().sum().to_numpy(),
    )
    return table.sort_values(["modality", "step"], ignore_index=True)


def _intervals(matrix: pd.DataFrame, counts: np.ndarray, metric: str, kinds: tuple[str, str]) -> np.ndarray:
    """Interval of every column's mean, (2, columns); `difference` columns are of the second kind."""
    ends = np.empty((2, matrix.shape[1]))
    change = matrix.columns.get_level_values("modality") == "difference"
    for part, kind in ((~change, kinds[0]), (change, kinds[1])):
        bounds = bootstrap.value_bounds(metric, kind)
        ends[:, part] = bootstrap.mean_interval(matrix.to_numpy()[:, part], counts, bounds=bounds)
    return ends


def gain_is_worse(row: pd.Series, metric: str = "dice") -> bool:
    """Whether a click made things worse beyond doubt: its interval lies on the bad side of 0."""
    if higher_is_better(metric):
        return bool(row["gain_high"] < 0)
    return bool(row["gain_low"] > 0)
