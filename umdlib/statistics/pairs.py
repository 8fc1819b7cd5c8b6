"""Paired differences of PET and structural scores, one row per subject and condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.labels import MODALITIES, ORGANS, session, sorted_sessions
from umdlib.scores.empty_rules import check_columns, check_scores, with_empty_rule

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
        If a segmenter has several protocols or steps and none of them is the given one, or no row has
        the protocol that is asked for.
    """
    check_columns(scores)
    if prompt not in (None, "centre", *scores["prompt"].unique()):
        raise unknown_name("prompt of the score table", prompt, map(str, scores["prompt"].unique()))
    scores = scores.reset_index(drop=True)
    here = scores["status"].ne("unavailable").to_numpy(bool)
    number, first = group_numbers(scores, ["segmenter", "prompt", "step"])
    found = pd.unique(number[here])
    kinds = scores.loc[first[found], ["segmenter", "prompt", "step"]].set_axis(found)
    keep = np.zeros(len(first), bool)
    for segmenter, rows in kinds.groupby("segmenter", sort=False):
        chosen = _chosen(rows["prompt"], prompt or "centre", f"prompt of {segmenter}")
        rows = rows[rows["prompt"].eq(chosen)]
        if step is not None:
            rows = rows[rows["step"].eq(_chosen(rows["step"], step, f"step of {segmenter}"))]
        keep[rows.index] = True
    return scores[keep[number] | ~here]


def group_numbers(table: pd.DataFrame, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups of rows that agree in `keys`, in the order in which they come.

    Returns
    -------
    number, first : numpy.ndarray
        Number of each row's group; place of each group's first row.

    Examples
    --------
    >>> number, first = group_numbers(pd.DataFrame({"a": ["y", "x", "y"], "b": [1, 1, 1]}), ["a", "b"])
    >>> number.tolist(), first.tolist()
    ([0, 1, 0], [0, 1])
    """
    number, levels = np.zeros(len(table), np.int64), 1
    for key in keys:
        codes, names = pd.factorize(table[key], use_na_sentinel=False)
        if levels * len(names) > 2**62:
            number, kinds = pd.factorize(number)
            levels = len(kinds)
        number, levels = number * len(names) + codes, levels * max(len(names), 1)
    number = pd.factorize(number)[0]
    first = np.empty(number.max(initial=-1) + 1, np.int64)
    first[number[::-1]] = np.arange(len(table))[::-1]
    return number, first


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
    return pairing(scores, reference_modality).differences(metric, empty)


@dataclass(frozen=True)
class Pairing:
    """Which rows of a score table make pairs, whatever is compared.

    Attributes
    ----------
    scores
        Score table, its rows numbered.
    structural, pet
        Row of either side, seed by seed; -1 where there is none.
    number
        Pair of each of those, whose keys are `keys`.
    first
        Place of each pair's first seed.
    keys
        `PAIR_KEYS` of every pair, in the order of `in_order`.
    """

    scores: pd.DataFrame
    structural: np.ndarray
    pet: np.ndarray
    number: np.ndarray
    first: np.ndarray
    keys: pd.DataFrame

    def differences(self, metric: str, empty: str) -> pd.DataFrame:
        """See `paired_differences`."""
        check_columns(self.scores, [metric])
        values = np.append(with_empty_rule(self.scores, metric, empty), np.nan)
        seeds = pd.DataFrame({"structural": values[self.structural], "pet": values[self.pet]})
        seeds["difference"] = seeds["pet"] - seeds["structural"]
        paired = seeds["difference"].notna().to_numpy()
        n_seeds = np.bincount(self.number, weights=paired, minlength=len(self.keys)).astype(np.int64)
        only_common = ~paired & (n_seeds[self.number] > 0)  # only common seeds, where there are any
        for side in ("structural", "pet"):
            seeds[side] = seeds[side].mask(only_common)
        if len(seeds) > len(self.keys):
            means = seeds.groupby(self.number).mean()
        else:
            means = seeds.iloc[self.first].reset_index(drop=True)
        sides = means["structural"].notna(), means["pet"].notna()
        state = np.select(
            [means["difference"].notna(), sides[0] & sides[1], *sides],
            ["paired", "neither", "structural only", "PET only"],
            "neither",
        )
        why = np.full(len(means), "", dtype=object)
        alone = np.flatnonzero(state != "paired")
        why[alone] = self._reasons(seeds.iloc[self.first[alone]])
        more = {"n_seeds": n_seeds, "state": pd.array(state, "str"), "why": pd.array(why, "str")}
        table = pd.concat([self.keys, means], axis=1).assign(**more)
        table.attrs = {"metric": metric, "empty": empty}
        return table

    def _reasons(self, seeds: pd.DataFrame) -> list[str]:
        """Why a side of some seeds has no score; empty where both have one."""
        places = seeds.index.to_numpy()
        keys = self.keys.iloc[self.number[places]]
        gone = self.scores[self.scores["status"].eq("unavailable")]
        parts = []
        for side, title, rows in (
            ("structural", "structural", gone[gone["modality"].ne("PET")]),
            ("pet", "PET", gone[gone["modality"].eq("PET")]),
        ):
            could_not = set(
                rows[["session", "segmenter"]].drop_duplicates().itertuples(index=False, name=None)
            )
            place = getattr(self, side)[places]
            status = self.scores["status"].iloc[place].replace("ok", "undefined").to_numpy(object)
            asked = zip(keys["session"], keys["segmenter"], strict=True)
            words = [
                s if p >= 0 else "unavailable" if k in could_not else "no row"
                for s, p, k in zip(status, place, asked, strict=True)
            ]
            missing = seeds[side].isna()
            parts.append(
                [f"{title}: {w.replace('_', ' ')}" if m else "" for w, m in zip(words, missing, strict=True)]
            )
        return ["; ".join(filter(None, both)) for both in zip(*parts, strict=True)]


def pairing(scores: pd.DataFrame, reference_modality: str | None = None) -> Pairing:
    """Find the pairs of a score table, as `paired_differences` compares them.

    Raises
    ------
    InputError
        As `paired_differences`, but for the metric.
    """
    check_scores(scores, [])
    scores = scores.reset_index(drop=True)
    rows = scores.loc[scores["status"].ne("unavailable"), [*PAIR_KEYS, "seed", "modality"]]
    role = _roles(rows, reference_modality).to_numpy(object)
    places = [rows.index[role == side] for side in ("structural", "pet")]
    rows = rows.loc[places[0].append(places[1])]
    seed, first = group_numbers(rows, [*PAIR_KEYS, "seed"])
    row_of = np.full((2, len(first)), -1)
    row_of[0, seed[: len(places[0])]] = places[0]
    row_of[1, seed[len(places[0]) :]] = places[1]
    keys = rows[PAIR_KEYS].iloc[first]
    number, of_pair = group_numbers(keys, PAIR_KEYS)
    keys = keys.iloc[of_pair]
    order = _order(keys, list(scores["segmenter"].unique()))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    number = place[number]
    by_seed = np.lexsort([rows["seed"].iloc[first], number])  # a mean is summed in the order of its seeds
    number, row_of = number[by_seed], row_of[:, by_seed]
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    return Pairing(scores, *row_of, number, begins, keys.iloc[order].reset_index(drop=True))


def in_order(table: pd.DataFrame, segmenters: Sequence[str]) -> pd.DataFrame:
    """Rows by session, segmenter as listed, structure as in `umdlib.labels.ORGANS`, subject."""
    return table.iloc[_order(table, segmenters)].reset_index(drop=True)


def _order(table: pd.DataFrame, segmenters: Sequence[str]) -> np.ndarray:
    """Places of the rows in that order."""
    organs = [s.name for s in ORGANS]
    others = [s for s in table["structure"].unique() if s not in organs]
    places = {
        "session": sorted_sessions(table["session"]),
        "segmenter": list(segmenters),
        "structure": organs + others,
    }
    order = []
    for column in ("session", "segmenter", "structure", "prompt", "step", "subject"):
        codes, names = pd.factorize(table[column])
        known = places.get(column) or sorted(names)
        rank = {name: i for i, name in enumerate(known)}
        order.append(np.array([rank.get(n, len(rank)) for n in names] + [len(rank)])[codes])
    return np.lexsort(order[::-1])


def _roles(rows: pd.DataFrame, reference_modality: str | None) -> pd.Series:
    """``pet``, ``structural``, or empty for a structural modality that is not the reference."""
    for name in rows["modality"].unique():
        if name not in MODALITIES:
            raise unknown_name("modality", name, MODALITIES)
    number, first = group_numbers(rows, ["session", "modality"])
    kinds = []
    for name, modality in rows[["session", "modality"]].iloc[first].itertuples(index=False):
        wanted = reference_modality or session(name).structural
        kinds.append("pet" if modality == "PET" else "structural" if modality == wanted else "")
    role = pd.Series(pd.array(kinds, dtype="str").take(number), index=rows.index)
    if len(rows) and role.eq("").all():
        found = ", ".join(sorted(rows["modality"].unique()))
        msg = f"No rows of PET or its reference in the score table, only {found}."
        raise InputError(f"{msg} A paired difference needs both.")
    return role


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


def subject_means(
    differences: pd.DataFrame, by: Sequence[str], *, value: str = "difference", jackknife: bool = False
) -> pd.DataFrame:
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
    jackknife
        Whether values are for the mean and its interval, see `standardised_means`.

    Returns
    -------
    pandas.DataFrame
        Index subject, columns `by`; NaN where a subject has no pair in a comparison.
    """
    return subject_matrices(differences, by, [value], jackknife=jackknife)[value]


def subject_matrices(
    differences: pd.DataFrame, by: Sequence[str], values: Sequence[str], *, jackknife: bool = False
) -> dict[str, pd.DataFrame]:
    """`subject_means` of several columns."""
    for name in by:
        if name not in differences.columns:
            raise unknown_name("column", name, differences.columns)
    rows = differences[differences["state"].eq("paired")]
    (i, of_subject), (j, of_column) = (group_numbers(rows, keys) for keys in (["subject"], by))
    keys = rows[list(by)].iloc[of_column]
    subjects = pd.Index(rows["subject"].iloc[of_subject])
    columns = pd.MultiIndex.from_frame(keys) if len(by) > 1 else pd.Index(keys[by[0]])
    structure = pd.factorize(rows["structure"])[0]
    of_each = np.split(np.argsort(j, kind="stable"), np.cumsum(np.bincount(j))[:-1])
    matrices = {}
    for value in values:
        numbers = rows[value].to_numpy()
        grid = np.full((len(of_subject), len(of_column)), np.nan)
        grid[i, j] = _mean_of_each(numbers, i * len(of_column) + j)
        matrix = pd.DataFrame(
            grid, subjects, columns, copy=False
        )  # rows stay contiguous, as a pivot has them
        if "structure" not in by:
            by_number = pd.DataFrame({"subject": i, "structure": structure, value: numbers})
            for column, places in zip(columns, of_each, strict=False):
                cells = _cells(by_number.iloc[places], value)
                if cells.isna().any(axis=None):
                    means = standardised_means(cells, jackknife=jackknife)
                    matrix[column] = means.reindex(range(len(subjects))).to_numpy()
        matrices[value] = matrix
    return matrices


def _mean_of_each(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean of the values of each one's group, in their places."""
    if np.bincount(group).max(initial=0) < 2:
        return values
    return pd.Series(values).groupby(group).transform("mean").to_numpy()


def means_over_structures(cells: pd.DataFrame, *, sort: bool = False, jackknife: bool = True) -> pd.DataFrame:
    """Mean over structures of each subject, of every column: the one rule where structures are averaged.

    Parameters
    ----------
    cells
        Index of two levels, subject and structure (seeds or prompts of one are averaged first where any
        cell is missing); columns of numbers, NaN where there is none.
    sort
        Whether subjects are sorted or stay in the order in which they come.
    jackknife
        Whether values are for a mean and its interval, as nearly everywhere, or each subject's own, for
        medians and quartiles; see `standardised_means`.

    Returns
    -------
    pandas.DataFrame
        Index subject. A column that lacks some structure in some subject is standardised over the
        structures, see `standardised_means`; with equal gaps in two columns so is their sum.

    Examples
    --------
    >>> index = pd.MultiIndex.from_tuples([("1", "a"), ("1", "b"), ("2", "a")], names=["subject", "structure"])
    >>> means_over_structures(pd.DataFrame({"loss": [0.0, -0.2, 0.0]}, index))["loss"].round(9).tolist()
    [-0.1, -0.1]
    """
    means = cells.groupby(level=0, sort=sort).mean()
    for column in cells:
        known = cells[column].dropna()
        n_cells = len(known.index.unique())
        if n_cells == known.index.unique(0).size * known.index.unique(1).size:
            continue
        grid = known.groupby(level=[0, 1], sort=False).mean().unstack()
        means[column] = standardised_means(grid, jackknife=jackknife).reindex(means.index)
    return means


def gaps_in_words(rows: pd.DataFrame) -> str:
    """Say what an average over structures did about subjects that lack some; empty where none does.

    Parameters
    ----------
    rows
        Rows of `paired_differences` that are averaged together.
    """
    paired = rows[rows["state"].eq("paired")]
    subjects, structures = paired["subject"].nunique(), paired["structure"].nunique()
    cells = paired.groupby(["subject", "structure"])["difference"].mean().unstack()
    gaps = int(cells.isna().to_numpy().sum())
    if not gaps:
        return ""
    words = f"{gaps} of {subjects} × {structures} pairs of subject and structure missing: "
    if _linked(cells.notna().to_numpy()):
        return words + "standardised over the structures"
    return words + "too few in common to standardise, a mean of what each subject has"


def _linked(has: np.ndarray) -> bool:
    """Whether effects of subjects and structures can be told apart where these cells have a value."""
    return bool(np.linalg.matrix_rank(_normal(has), tol=1e-9) == has.shape[1] - 1)


def _cells(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Subjects by structures, both numbered, in the order in which they come; NaN where there is no row."""
    (i, subjects), (j, structures) = (pd.factorize(rows[k]) for k in ("subject", "structure"))
    grid = np.full((len(subjects), len(structures)), np.nan)
    if np.bincount(i * len(structures) + j).max() > 1:  # several prompts
        return rows.pivot_table(index="subject", columns="structure", values=value, sort=False)
    grid[i, j] = rows[value]
    return pd.DataFrame(grid, subjects, structures, copy=False)  # rows stay contiguous, as a pivot has them


def standardised_means(cells: pd.DataFrame, *, jackknife: bool = False) -> pd.Series:
    """Mean over structures of each subject, as if every subject had all of them.

    A plain mean over what a subject has is a mean of other structures in every subject: where a hard
    structure is missing in half of them, it counts half. Here each structure counts the same. What a
    subject lacks is filled by least squares from the effect of the subject and that of the structure,
    which supposes that a structure is not missing *because* its value is unusual.

    Parameters
    ----------
    cells
        Subjects by structures, NaN where missing.
    jackknife
        Whether the values are jackknife pseudo-values of the standardised mean, moved to have it as their
        mean. Their spread holds the uncertainty of the structures' effects too, so that an interval of
        their mean is one of the standardised mean; a single one is not a score of its subject.

    Returns
    -------
    pandas.Series
        Per subject; the plain mean of its row where nothing is missing, and where subjects share too
        few structures for the effects to be told apart.

    Notes
    -----
    `umdlib.statistics.operating_characteristics.missing_coverage` counts how often intervals of either kind
    of values hold the mean. A subject without which the effects cannot be told apart has the value
    of the infinitesimal jackknife, which is nearer to the mean.

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
    complete = held == has.shape[1]
    if complete.all() or not _linked(has):
        return pd.Series(plain, cells.index)
    share = has / held[:, None]
    inverse = np.linalg.pinv(_normal(has), rcond=1e-9)
    residuals = filled - has * plain[:, None]
    structures = inverse @ residuals.sum(axis=0)
    own = plain - share @ structures + structures.mean()
    own = np.where(complete, plain, own)
    if not jackknife:
        return pd.Series(own, cells.index)
    residuals -= has * (structures - (share @ structures)[:, None])
    return pd.Series(own + _structure_part(has, residuals, inverse), cells.index)


def _normal(has: np.ndarray) -> np.ndarray:
    """Normal matrix of the structures' effects, those of subjects taken out."""
    share = has / has.sum(axis=1, keepdims=True)
    return np.diag(has.sum(axis=0)) - has.T.astype(float) @ share


def _structure_part(has: np.ndarray, residuals: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """What the structures' effects add to each subject's pseudo-value, (n,): 0 on average.

    The effects without a subject are those of all, moved by its residuals through the normal matrix
    without it; the standardised mean moves with them by the weights that the other subjects' gaps leave.
    """
    n, k = has.shape
    share = has / has.sum(axis=1, keepdims=True)
    own = has[:, :, None] * (np.eye(k) - share[:, None, :])
    without = _normal(has) - own + 1 / k  # the constant is what effects are free of
    weight = 1 / k - (share.sum(axis=0) - share) / max(n - 1, 1)
    unlinked = np.linalg.eigvalsh(without)[:, 0] < 1e-9
    without[unlinked] = np.eye(k)
    moved = np.linalg.solve(without, residuals[:, :, None])[:, :, 0]
    moved[unlinked] = residuals[unlinked] @ inverse
    part = (n - 1) * (weight * moved).sum(axis=1)
    return part - part.mean()
