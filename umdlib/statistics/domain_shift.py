"""The same networks in the domain of their training and out of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.scores.empty_rules import difference_limits, higher_is_better, is_directed, with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.factorial import DIETS, parts_of
from umdlib.tables import interval, metric_title
from umdlib.training.domains import DOMAINS

FAMILY, HOME = "clicknet", "same"
NO_DOMAINS = (
    "This run holds no scores of shifted cohorts: they are computed where the segmenters of the run "
    "include the three networks."
)
TITLES = {name: d.title for name, d in DOMAINS.items()}
WORDS = {name: d.words for name, d in DOMAINS.items()}
COLUMNS = ["domain", "diet", "modality", "score", "change", "ci_low", "ci_high", "n_subjects"]


def domain_scores(table: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Score of each structure of each subject of the shifted cohorts.

    Returns
    -------
    pandas.DataFrame
        `domain, number, diet, modality, structure, score`, of the structures that all domains hold.
        The subject's name is its domain and its number; subjects of one number are drawn alike in
        all domains, but for what the domain fixes.
    """
    columns = ["domain", "number", "diet", "modality", "structure", "score"]
    parts = table["segmenter"].map(lambda s: parts_of(s, family=FAMILY))
    rows = table[parts.notna() & table["status"].ne("unavailable") & table["step"].eq(0)]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows = rows.reset_index(drop=True)
    names = rows["subject"].str.rpartition("-")
    rows = rows.assign(
        score=with_empty_rule(rows, metric, empty),
        diet=[parts_of(s, family=FAMILY)[0] for s in rows["segmenter"]],
        domain=names[0],
        number=names[2],
    ).dropna(subset=["score"])
    held = rows.groupby("structure")["domain"].nunique()
    rows = rows[rows["structure"].isin(held.index[held.eq(rows["domain"].nunique())])]
    rows = rows[columns].reset_index(drop=True)
    rows.attrs["metric"] = metric
    return rows


def domain_changes(scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Mean score in each domain, and its change against the training's own simulator.

    Parameters
    ----------
    scores
        From `domain_scores`.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`. The change is within subjects of one number, on the structures that a subject
        has in both domains; NaN at home. `n_subjects` are those of the change, at home all.
    """
    found = []
    limits = difference_limits(scores.attrs.get("metric", "dice"))
    one = ["number", "structure"]
    for (domain, diet, modality), part in scores.groupby(["domain", "diet", "modality"], sort=False):
        home = scores[scores["domain"].eq(HOME) & scores["diet"].eq(diet) & scores["modality"].eq(modality)]
        means = part.groupby("number")["score"].mean()
        row = {
            "domain": domain,
            "diet": diet,
            "modality": modality,
            "score": means.mean(),
            "change": np.nan,
            "ci_low": np.nan,
            "ci_high": np.nan,
            "n_subjects": len(means),
        }
        if domain != HOME:
            both = (part.set_index(one)["score"] - home.set_index(one)["score"]).dropna()
            values = both.groupby("number").mean().to_numpy()
            row["n_subjects"] = len(values)
        if domain != HOME and len(values):
            counts = bootstrap.resample_counts(len(values), n_resamples, np.random.default_rng(seed))
            low, high = bootstrap.mean_interval(values[:, None], counts, bounds=limits)
            row |= {"change": values.mean(), "ci_low": low[0], "ci_high": high[0]}
        found.append(row)
    table = pd.DataFrame(found, columns=COLUMNS)
    table.attrs["metric"] = scores.attrs.get("metric", "dice")
    return table


def domain_sentence(changes: pd.DataFrame) -> str:
    """The lowest change and the highest outside the domain, with their intervals.

    Parameters
    ----------
    changes
        From `domain_changes`.
    """
    if changes.empty:
        return NO_DOMAINS
    home = np.array([_home(r.diet, r.modality) for r in changes.itertuples()])
    seen = changes[changes["change"].notna() & home]
    if seen.empty:
        return "No network was tested both inside and outside its domain."
    metric = changes.attrs.get("metric", "dice")
    lowest, highest = seen.loc[seen["change"].idxmin()], seen.loc[seen["change"].idxmax()]
    ends = [(lowest, "at its lowest"), (highest, "at its highest")]
    if is_directed(metric):
        words = ("at worst", "at best") if higher_is_better(metric) else ("at best", "at worst")
        ends = sorted(zip((lowest, highest), words, strict=True), key=lambda end: end[1] != "at worst")
    said = " and ".join(f"{_said(row)} {word}" for row, word in ends[: min(2, len(seen))])
    text = (
        f"On a modality that a network was trained on, leaving the training's own simulator changes "
        f"its mean {metric_title(metric)} by {said} (the ends of {len(seen)} changes, n = "
        f"{int(seen['n_subjects'].min())} subjects; 95 % intervals of each alone, not corrected for "
        "their number)."
    )
    moved = (lowest["ci_high"] < 0) or (highest["ci_low"] > 0)
    return text + (" *Unseen subjects* and *unseen conditions* are two questions." if moved else "")


def _said(row: pd.Series) -> str:
    """A change with where it was seen."""
    value = interval(row["change"], row["ci_low"], row["ci_high"])
    return (
        f"{value} ({DOMAINS[row['domain']].title.lower()}, trained on {DIETS[row['diet']]}, tested on "
        f"{row['modality']})"
    )


def _home(diet: str, modality: str) -> bool:
    """Whether a modality was seen in a training."""
    return diet == "both" or (diet == "pet") == (modality == "PET")
