"""Paired differences of PET and structural scores, one row per subject and condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.labels import MODALITIES, ORGANS, session, sorted_sessions
from umdlib.scores.empty_rules import check_scores, with_empty_rule

PAIR_KEYS = ["subject", "session", "structure", "segmenter", "prompt", "step"]
STATES = ("paired", "structural only", "PET only", "neither")


def condition(scores: pd.DataFrame, *, prompt: str | None = None, step: int | None = 0) -> pd.DataFrame:
    """The rows of one prompt protocol and one number of corrective clicks per segmenter.

    Parameters
    ----------
    scores
        Score table.
    prompt
        Protocol; None takes ``centre``, or a segmenter's own one where it has no other.
    step
        Corrective clicks so far. A segmenter with one step only (it takes no clicks) keeps it;
        None keeps every step.

    Returns
    -------
    pandas.DataFrame
        A part of `scores`. Rows of unavailable segmenters are always kept.

    Raises
    ------
    InputError
        If a segmenter has several protocols or steps and none of them is the given one.
    """
    scores = scores.reset_index(drop=True)
    here = scores["status"].ne("unavailable")
    keep = ~here
    said = scores.loc[here, ["segmenter", "prompt", "step"]]
    for segmenter, rows in said.groupby("segmenter", sort=False):
        chosen = _chosen(rows["prompt"], prompt or "centre", f"prompt of {segmenter}")
        rows = rows[rows["prompt"].eq(chosen)]
        if step is not None:
            rows = rows[rows["step"].eq(_chosen(rows["step"], step, f"step of {segmenter}"))]
        keep[rows.index] = True
    return scores[keep]


def _chosen(values: pd.Series, wanted: object, what: str) -> object:
    """The value that is wanted, else the only one."""
    found = values.unique()
    if wanted in found:
        return wanted
    if len(found) > 1:
        raise unknown_name(what, str(wanted), map(str, found))
    return found[0]


def paired_differences(
    scores: pd.DataFrame, *, metric: str = "dice", reference_modality: str | None = None, empty: str = "drop"
) -> pd.DataFrame:
    """PET minus structural score: same subject, session, structure, segmenter, prompt, step.

    Seeds are paired seed by seed and then averaged, so that a subject counts once.

    Parameters
    ----------
    scores
        Score table, checked. Rows of unavailable segmenters are left out.
    metric
        Column of the table.
    reference_modality
        What PET is compared with; None takes each session's structural modality.
    empty
        Empty rule, see `umdlib.scores.empty_rules.EMPTY_RULES`.

    Returns
    -------
    pandas.DataFrame
        `subject, session, structure, segmenter, prompt, step`, then `structural`, `pet`,
        `difference` (PET minus structural), `n_seeds` (pairs averaged), `state` and `why`.
        `state` is one of `STATES`; a row that is not ``paired`` is kept with the side that exists,
        difference NaN, and the reason in `why`. In a paired row both sides are averages over the
        same seeds. ``attrs["metric"]`` and ``attrs["empty"]`` say what was computed.

    Raises
    ------
    InputError
        If a row occurs twice, a column is missing, a name is unknown, or a session's modality
        is neither PET nor the reference.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=3, structures=["liver"], gap={"b": -0.2}, seed=1)
    >>> paired_differences(table).shape
    (3, 12)
    """
    check_scores(scores, [metric])
    scores = scores.reset_index(drop=True)
    rows = scores.loc[scores["status"].ne("unavailable"), [*PAIR_KEYS, "seed", "status"]].copy()
    rows["role"] = _roles(scores.loc[rows.index], reference_modality)
    rows["score"] = with_empty_rule(scores, metric, empty)[rows.index]
    rows = rows[rows["role"].ne("")]
    sides = [_side(rows, role) for role in ("structural", "pet")]
    seeds = sides[0].merge(sides[1], on=[*PAIR_KEYS, "seed"], how="outer", sort=False)
    seeds = _with_unavailable(seeds, scores[scores["status"].eq("unavailable")])
    table = in_order(_averaged_over_seeds(seeds), list(scores["segmenter"].unique()))
    table.attrs = {"metric": metric, "empty": empty}
    return table


def in_order(table: pd.DataFrame, segmenters: Sequence[str]) -> pd.DataFrame:
    """Rows by session, segmenter as listed, structure as in `umdlib.labels.ORGANS`, subject."""
    organs = [s.name for s in ORGANS]
    others = [s for s in table["structure"].unique() if s not in organs]
    places = {
        "session": sorted_sessions(table["session"]),
        "segmenter": list(segmenters),
        "structure": organs + others,
    }
    order = table[["subject", "prompt", "step"]].copy()
    for column, names in places.items():
        order[column] = table[column].map({name: i for i, name in enumerate(names)})
    by = ["session", "segmenter", "structure", "prompt", "step", "subject"]
    return table.loc[order.sort_values(by, kind="stable").index].reset_index(drop=True)


def _roles(rows: pd.DataFrame, reference_modality: str | None) -> pd.Series:
    """``pet``, ``structural``, or empty for a structural modality that is not the reference."""
    for name in rows["modality"].unique():
        if name not in MODALITIES:
            raise unknown_name("modality", name, MODALITIES)
    structural = {name: session(name).structural for name in rows["session"].unique()}
    wanted = rows["session"].map({s: reference_modality or m for s, m in structural.items()})
    role = pd.Series("", index=rows.index).mask(rows["modality"].eq(wanted), "structural")
    role = role.mask(rows["modality"].eq("PET"), "pet")
    if len(rows) and role.eq("").all():
        found = ", ".join(sorted(rows["modality"].unique()))
        msg = f"No rows of PET or its reference in the score table, only {found}."
        raise InputError(f"{msg} A paired difference needs both.")
    return role


def _side(rows: pd.DataFrame, role: str) -> pd.DataFrame:
    """Scores and states of one side of the pairs."""
    side = rows.loc[rows["role"].eq(role), [*PAIR_KEYS, "seed", "score", "status"]]
    return side.rename(columns={"score": role, "status": f"{role}_status"})


def _with_unavailable(seeds: pd.DataFrame, gone: pd.DataFrame) -> pd.DataFrame:
    """A side without a row says so where its segmenter could not be run on that modality."""
    pet = gone["modality"].eq("PET")
    for side, rows in (("structural", gone[~pet]), ("pet", gone[pet])):
        keys, status = ["session", "segmenter"], f"{side}_status"
        asked = rows[keys].drop_duplicates()
        blank = seeds.index[seeds[status].isna()]
        could_not = pd.MultiIndex.from_frame(seeds.loc[blank, keys]).isin(pd.MultiIndex.from_frame(asked))
        seeds.loc[blank[could_not], status] = "unavailable"
    return seeds


def _averaged_over_seeds(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per subject and condition, averaged over the seeds that have both sides."""
    difference = seeds["pet"] - seeds["structural"]
    both = difference.notna()
    seeds = seeds.assign(difference=difference, n_seeds=both.astype(int))
    any_pair = both.groupby([seeds[k] for k in PAIR_KEYS], dropna=False).transform("any")
    for side in ("structural", "pet"):  # only common seeds, where there are any
        seeds[side] = seeds[side].where(both | ~any_pair)
    seeds["why"] = _reason(seeds)
    grouped = seeds.groupby(PAIR_KEYS, dropna=False, sort=False)
    table = grouped[["structural", "pet", "difference"]].mean()
    table["n_seeds"] = grouped["n_seeds"].sum()
    table["state"] = np.select(
        [table["difference"].notna(), table["structural"].notna() & table["pet"].notna()],
        ["paired", "neither"],
        np.select(
            [table["structural"].notna(), table["pet"].notna()], ["structural only", "PET only"], "neither"
        ),
    )
    table["why"] = grouped["why"].first().where(table["state"].ne("paired"), "")
    return table.reset_index()


def _reason(seeds: pd.DataFrame) -> pd.Series:
    """Why a side of each seed has no score; empty where both have one."""
    parts = []
    for side, title in (("structural", "structural"), ("pet", "PET")):
        status = seeds[f"{side}_status"].fillna("no row").str.replace("_", " ")
        parts.append((title + ": " + status).where(seeds[side].isna(), ""))
    return (parts[0] + "; " + parts[1]).str.strip("; ")


def unpaired(differences: pd.DataFrame) -> pd.DataFrame:
    """Count the rows of `paired_differences` that are not a pair, by comparison, state and reason.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, structure, state, why, n`; empty where every row is a pair.
    """
    rows = differences[differences["state"].ne("paired")]
    keys = ["session", "segmenter", "structure", "state", "why"]
    return rows.groupby(keys, sort=False).size().rename("n").reset_index()


def subject_means(differences: pd.DataFrame, by: Sequence[str], *, value: str = "difference") -> pd.DataFrame:
    """One value per subject and comparison, as a matrix.

    Parameters
    ----------
    differences
        From `paired_differences`.
    by
        Columns that make a comparison. What they leave out (structures, prompts) is averaged
        within the subject first, because 13 structures of one subject are not 13 subjects; subjects
        that lack a structure are standardised over the structures, see `standardised_means`.
    value
        Column to arrange.

    Returns
    -------
    pandas.DataFrame
        Index subject, columns `by`; NaN where a subject has no pair in a comparison.
    """
    for name in by:
        if name not in differences.columns:
            raise unknown_name("column", name, differences.columns)
    rows = differences[differences["state"].eq("paired")]
    matrix = rows.pivot_table(index="subject", columns=list(by), values=value, sort=False)
    if "structure" not in by:
        by_number = rows[[value]].assign(**{k: pd.factorize(rows[k])[0] for k in ("subject", "structure")})
        subjects = rows["subject"].unique()
        for key, places in rows.groupby(list(by), sort=False).indices.items():
            cells = _cells(by_number.iloc[places], value)
            if cells.isna().any(axis=None):
                cells.index = subjects[cells.index]
                column = key if len(by) > 1 else key[0] if isinstance(key, tuple) else key
                matrix[column] = standardised_means(cells).reindex(matrix.index)
    return matrix


def _cells(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Subjects by structures, both numbered, in the order in which they come; NaN where there is no row."""
    (i, subjects), (j, structures) = (pd.factorize(rows[k]) for k in ("subject", "structure"))
    grid = np.full((len(subjects), len(structures)), np.nan)
    if np.bincount(i * len(structures) + j).max() > 1:  # several prompts
        return rows.pivot_table(index="subject", columns="structure", values=value, sort=False)
    grid[i, j] = rows[value]
    return pd.DataFrame(grid, subjects, structures, copy=False)  # rows stay contiguous, as a pivot has them


def standardised_means(cells: pd.DataFrame) -> pd.Series:
    """Mean over structures of each subject, as if every subject had all of them.

    A plain mean over what a subject has is a mean of other structures in every subject: where a hard
    structure is missing in half of them, it counts half. Here each structure counts the same. What a
    subject lacks is filled by least squares from the effect of the subject and that of the structure,
    which supposes that a structure is not missing *because* its value is unusual.

    Parameters
    ----------
    cells
        Subjects by structures, NaN where missing.

    Returns
    -------
    pandas.Series
        Per subject; the plain mean of its row where nothing is missing, and where subjects share too
        few structures for the effects to be told apart.

    Examples
    --------
    The second structure loses 0.2 and is missing in one of two subjects; the mean loss is 0.1.

    >>> cells = pd.DataFrame({"a": [0.0, 0.0], "b": [-0.2, np.nan]})
    >>> standardised_means(cells).round(9).tolist(), cells.mean(axis=1).mean().item()
    ([-0.1, -0.1], -0.05)
    """
    has = cells.notna().to_numpy()
    filled = cells.fillna(0.0).to_numpy()
    held = has.sum(axis=1)
    plain = filled.sum(axis=1) / held
    share = has / held[:, None]
    normal = np.diag(has.sum(axis=0)) - has.T.astype(float) @ share
    if np.linalg.matrix_rank(normal, tol=1e-9) < has.shape[1] - 1:
        return pd.Series(plain, cells.index)
    structures = np.linalg.pinv(normal, rcond=1e-9) @ (filled - has * plain[:, None]).sum(axis=0)
    effects = plain - share @ structures + structures.mean()
    complete = held == has.shape[1]
    return pd.Series(np.where(complete, plain, effects), cells.index)
