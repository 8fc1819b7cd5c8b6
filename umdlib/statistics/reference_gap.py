"""What supervised references lose on PET, and what of another segmenter's gap is left beside it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.labels import session as session_record
from umdlib.scores.empty_rules import with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.pairs import condition, means_over_structures, paired_differences, subject_means
from umdlib.statistics.verdicts import floors

# Order of the book: the paper's reference first.
SPECIALISTS = (
    "nnunet_small",
    "segresnet_small",
    "stunet_small",
    "swinunetr_small",
    "nnunet",
    "segresnet",
    "stunet",
    "swinunetr",
)


def specialists(scores: pd.DataFrame) -> list[str]:
    """Specialists that have a score in a table, in the order of `SPECIALISTS`."""
    here = set(scores.loc[scores["status"].ne("unavailable"), "segmenter"].unique())
    return [name for name in SPECIALISTS if name in here]


def reference_means(
    scores: pd.DataFrame,
    printed: pd.DataFrame,
    *,
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean DSC of each specialist by session and modality, beside UMD's nnU-Net row.

    Parameters
    ----------
    scores
        Score table.
    printed
        ``umdlib.published.read("umd_table3")``.
    empty
        Empty rule.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `segmenter, session, modality, estimate, ci_low, ci_high, n_subjects`, and for nnU-Net
        `printed`: UMD's, trained on 10 patients. A subject's value is its mean over structures.
    """
    rows = _scored(scores, specialists(scores), "dice", empty)
    found = []
    for (segmenter, name, modality), part in rows.groupby(["segmenter", "session", "modality"], sort=False):
        values = _subject_scores(part).to_numpy()
        of_mean = bootstrap.interval_of_mean(values, "dice", n_resamples, seed, kind="score")
        found.append([segmenter, name, modality, *of_mean[:3], len(values)])
    columns = ["segmenter", "session", "modality", "estimate", "ci_low", "ci_high", "n_subjects"]
    table = pd.DataFrame(found, columns=columns)
    table = table.merge(_printed(printed), on=["session", "modality"], how="left", sort=False)
    table["printed"] = table["printed"].where(table["segmenter"].str.startswith("nnunet"))
    return _in_order(table)


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    """UMD's means of nnU-Net by session and modality, from its table 3."""
    paper = table[table["segmenter"].eq("nnunet") & table["session"].ne("")]
    return paper[["session", "modality", "value"]].rename(columns={"value": "printed"})


def _home_scores() -> pd.DataFrame:
    """Read what each specialist scores on unseen subjects of its own simulator."""
    file = resources.files("umdlib.statistics") / "reference_scores.tsv"
    with file.open(encoding="utf-8") as text:
        return pd.read_csv(text, sep="\t")


def own_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Score of each specialist on unseen subjects of its own simulator, from a run on such subjects.

    Parameters
    ----------
    scores
        Score table; only rows that were asked for by name count.

    Returns
    -------
    pandas.DataFrame
        `segmenter, session, modality, dice, n_subjects`: mean DSC over structures, then subjects, to three
        decimals.

    Raises
    ------
    InputError
        No specialist has a score.
    """
    rows = _scored(scores[scores["prompt"].eq("class")], specialists(scores), "dice", "drop")
    rows = rows.dropna(subset=["score"])
    if rows.empty:
        raise InputError("No specialist has a score in this table. Name one, e.g. nnunet_small, in the run.")
    keys = ["segmenter", "session", "modality"]
    parts = {key: _subject_scores(part) for key, part in rows.groupby(keys)}
    means = pd.concat(parts, names=keys).groupby(keys)
    table = means.mean().round(3).rename("dice").reset_index()
    return _in_order(table.assign(n_subjects=means.size().to_numpy()))


def reference_condition(
    scores: pd.DataFrame,
    reference: str,
    *,
    home: pd.DataFrame | None = None,
    tolerance: float = 0.1,
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether a specialist is a reference for this cohort: does it work on the structural image?

    What a network loses on PET is a property of the image only where the network knows such images.
    One that already fails on the structural image is outside its domain, and its gap says nothing.

    Parameters
    ----------
    scores
        Score table.
    reference
        Specialist.
    home
        Its scores on the data it was made for, as `_home_scores` has them; None takes those.
    tolerance
        How much lower its mean DSC may be here than there.
    empty, n_resamples, seed
        See `reference_means`.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, modality, home, estimate, ci_low, ci_high, n_subjects, holds, why`, one row
        per session. `holds` is False where the mean on the structural image lies more than `tolerance`
        below that at home, or where it is not known at home: without that, nothing is tested.
    """
    home = _home_scores() if home is None else home
    rows = _scored(scores, [reference], "dice", empty)
    found = []
    for name, part in rows.groupby("session", sort=False):
        modality = session_record(name).structural
        values = _subject_scores(part[part["modality"].eq(modality)]).to_numpy()
        of_mean = bootstrap.interval_of_mean(values, "dice", n_resamples, seed, kind="score")
        there = home[
            home["segmenter"].eq(reference) & home["session"].eq(name) & home["modality"].eq(modality)
        ]
        known = float(there["dice"].iloc[0]) if len(there) else np.nan
        why = ""
        if not len(there):
            why = "its score on the data it was made for is not known"
        elif not of_mean.estimate >= known - tolerance:
            why = f"its mean DSC on {modality} is more than {tolerance:g} below that on its own data"
        found.append([name, reference, modality, known, *of_mean[:3], of_mean.n_subjects, not why, why])
    columns = ["session", "segmenter", "modality", "home", "estimate", "ci_low", "ci_high"]
    return pd.DataFrame(found, columns=[*columns, "n_subjects", "holds", "why"])


def excess_gap(
    scores: pd.DataFrame,
    *,
    reference: str | None = None,
    metric: str = "dice",
    empty: str = "drop",
    by: Sequence[str] = ("session", "segmenter"),
    sessions: Sequence[str] | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """A segmenter's gap minus the supervised reference's, on the same subjects and structures.

    A gap is PET minus the structural modality. What a network loses that was trained on PET is
    what the image itself withholds from this network; what another loses beyond it is its own.

    Parameters
    ----------
    scores
        Score table.
    reference
        Specialist; None takes the first of `SPECIALISTS` that has pairs.
    metric, empty
        What is compared, and the empty rule.
    by
        Columns that make a comparison, with ``segmenter``.
    sessions
        Those in which the reference is one, see `reference_condition`; None takes all.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `by`, `gap`, `reference_gap`, `estimate` (the excess: their difference), `ci_low`,
        `ci_high`, `n_subjects`, `n_pairs`, `at_floor` (one of the two gaps is between floors, see
        `umdlib.statistics.verdicts.at_floor`); ``attrs["reference"]`` names the reference. Both gaps
        are means over the same pairs. Empty where the reference has no pair.

    Raises
    ------
    InputError
        The reference is not in the table.
    """
    known = specialists(scores)
    if reference is not None and reference not in scores["segmenter"].unique():
        raise InputError(f"Reference '{reference}' is not in the score table.")
    reference = reference or (known[0] if known else None)
    keys = ["subject", "session", "structure"]
    columns = [*by, "gap", "reference_gap", "estimate", "ci_low", "ci_high", "n_subjects", "n_pairs"]
    columns.append("at_floor")
    if reference is None:
        return _empty(columns, reference, metric)
    chosen = condition(scores)
    pairs = paired_differences(chosen, metric=metric, empty=empty)
    pairs = pairs[pairs["state"].eq("paired")]
    if sessions is not None:
        pairs = pairs[pairs["session"].isin(list(sessions))]
    own = pairs[pairs["segmenter"].eq(reference)]
    ours = own[[*keys, "difference"]].rename(columns={"difference": "reference_gap"})
    others = pairs[pairs["segmenter"].ne(reference)].merge(ours, on=keys)
    if others.empty:
        return _empty(columns, reference, metric)
    others.attrs = own.attrs = pairs.attrs
    beside = own.merge(others[[*keys, "segmenter"]].rename(columns={"segmenter": "_other"}), on=keys)
    beside.attrs = pairs.attrs
    at_floor = floors(others, chosen, by)
    at_floor |= floors(beside, chosen, ["_other" if b == "segmenter" else b for b in by]).reindex(
        at_floor.index, fill_value=False
    )
    others["excess"] = others["difference"] - others["reference_gap"]
    others["subject"] = pd.factorize(others["subject"], sort=True)[0]  # numbers are grouped faster than names
    found = []
    for key, part in others.groupby(list(by), sort=False):
        cells = part.set_index(["subject", "structure"])[["difference", "reference_gap", "excess"]]
        values = means_over_structures(cells, sort=True)
        of_mean = bootstrap.interval_of_mean(
            values["excess"].to_numpy(), metric, n_resamples, seed, kind="contrast"
        )
        gap, theirs, excess = values.mean()
        row = [*key, gap, theirs, excess, of_mean.low, of_mean.high, len(values), len(part)]
        found.append([*row, bool(at_floor[key if len(key) > 1 else key[0]])])
    table = pd.DataFrame(found, columns=columns)
    table.attrs = {"reference": reference, "metric": metric}
    return table


def supervised_gap(
    scores: pd.DataFrame,
    printed: pd.DataFrame,
    *,
    metric: str = "dice",
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Loss of each specialist on PET by itself, with its interval, beside UMD's nnU-Net.

    Parameters
    ----------
    scores
        Score table.
    printed
        ``umdlib.published.read("umd_table3")``.
    metric, empty
        What is compared, and the empty rule.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, estimate, ci_low, ci_high, n_subjects`, `at_floor`
        (`umdlib.statistics.verdicts.at_floor`), and `printed`: the difference
        of UMD's printed means, where DSC is compared. Empty where no specialist has a pair.
    """
    by = ["session", "segmenter"]
    chosen = condition(scores[scores["segmenter"].isin(specialists(scores))])
    columns = [*by, "estimate", "ci_low", "ci_high", "n_subjects", "at_floor"]
    if chosen.empty:
        return pd.DataFrame(columns=[*columns, "printed"])
    pairs = paired_differences(chosen, metric=metric, empty=empty)
    matrix, at_floor = subject_means(pairs, by, jackknife=True), floors(pairs, chosen, by)
    found = []
    for key, column in matrix.items():
        of_mean = bootstrap.interval_of_mean(column.to_numpy(), metric, n_resamples, seed)
        found.append([*key, *of_mean[:3], of_mean.n_subjects, bool(at_floor[key])])
    table = pd.DataFrame(found, columns=columns)
    theirs = _printed(printed).pivot(index="session", columns="modality", values="printed")
    lost = {
        name: float(means["PET"] - means[session_record(name).structural])
        for name, means in theirs.iterrows()
    }
    here = table["segmenter"].str.startswith("nnunet") & (metric == "dice")
    return table.assign(printed=table["session"].map(lost).where(here))


def quartiles(scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Median and quartiles per structure on PET: SegAnyPET's supplementary tables 1 and 2 in form.

    Parameters
    ----------
    scores
        Score table.
    metric, empty
        What is shown.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, points` (clicks given: 1, 3 or 5, of which the first is the prompt and the others
        corrective; 0 for specialists), `structure, median, q1, q3, n_subjects`;
        specialists first. Numbers of clicks that a segmenter has no score for have no row.
    """
    ours = specialists(scores)
    rows = _scored(scores, None, metric, empty)
    rows = rows[rows["modality"].eq("PET") & rows["score"].notna()]
    rows = rows[rows["prompt"].isin(["centre", "class"])]
    given = np.where(rows["prompt"].eq("class"), 0, rows["step"] + 1)
    rows = rows.assign(points=given)
    rows = rows[rows["points"].isin([0, 1, 3, 5])]
    keys = ["session", "segmenter", "points", "structure"]
    values = rows.groupby([*keys, "subject"], sort=False)["score"].mean().groupby(keys, sort=False)
    table = pd.DataFrame(
        {
            "median": values.median(),
            "q1": values.quantile(0.25),
            "q3": values.quantile(0.75),
            "n_subjects": values.size(),
        }
    ).reset_index()
    place = {name: n for n, name in enumerate([*ours, *sorted(set(table["segmenter"]) - set(ours))])}
    table["_place"] = table["segmenter"].map(place)
    table = table.sort_values(["session", "_place", "points"], kind="stable")
    table = table.drop(columns="_place").reset_index(drop=True)
    table.attrs = {"metric": metric, "modality": "PET"}
    return table


def _scored(scores: pd.DataFrame, segmenters: list[str] | None, metric: str, empty: str) -> pd.DataFrame:
    """Rows of available segmenters with their score under the empty rule."""
    rows = scores[scores["status"].ne("unavailable")].reset_index(drop=True)
    if segmenters is not None:
        rows = rows[rows["segmenter"].isin(segmenters)].reset_index(drop=True)
    if rows.empty:
        return rows.assign(score=pd.Series(dtype=float))
    return rows.assign(score=with_empty_rule(rows, metric, empty))


def _subject_scores(rows: pd.DataFrame) -> pd.Series:
    """Mean over structures of each subject that has a score."""
    cells = rows.dropna(subset=["score"]).set_index(["subject", "structure"])[["score"]]
    return means_over_structures(cells, sort=True)["score"]


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Specialists in their order, structural before PET."""
    order = pd.DataFrame(
        {
            "a": table["segmenter"].map(SPECIALISTS.index),
            "b": table["session"],
            "c": table["modality"].ne(table["session"].map(lambda s: session_record(s).structural)),
        }
    )
    ordered = order.sort_values(["a", "b", "c"], kind="stable").index
    return table.loc[ordered].reset_index(drop=True)


def _empty(columns: list[str], reference: str | None, metric: str) -> pd.DataFrame:
    """A table without rows that still says what it would hold."""
    table = pd.DataFrame(columns=columns)
    table.attrs = {"reference": reference or "", "metric": metric}
    return table
