"""The same networks in the domain of their training and out of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib import resampling
from umdlib.design import DIETS, parts_of
from umdlib.empty_rules import difference_limits, higher_is_better, with_empty_rule
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


def domain_scores(
    table: pd.DataFrame, *, metric: str = "dice", empty: str = "drop"
) -> pd.DataFrame:
    """Mean score of each subject of the shifted cohorts, on the structures that all domains hold.

    Returns
    -------
    pandas.DataFrame
        `domain, number, diet, modality, score`. The subject's name is its domain and its number;
        subjects of one number are drawn alike in all domains, but for what the domain fixes.
    """
    columns = ["domain", "number", "diet", "modality", "score"]
    parts = table["segmenter"].map(lambda s: parts_of(s, family=FAMILY))
    rows = table[parts.notna() & table["status"].ne("unavailable") & table["step"].eq(0)]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows = rows.reset_index(drop=True)
    names = rows["subject"].str.rpartition("-")
    rows = rows.assign(
        score=with_empty_rule(rows, metric, empty),
        diet=[parts_of(s, family=FAMILY)[0] for s in rows["segmenter"]],
        domain=names[0], number=names[2],
    ).dropna(subset=["score"])  # fmt: skip
    held = rows.groupby("structure")["domain"].nunique()
    rows = rows[rows["structure"].isin(held.index[held.eq(rows["domain"].nunique())])]
    means = rows.groupby(columns[:-1], sort=False)["score"].mean().reset_index()
    means.attrs["metric"] = metric
    return means


def domain_changes(
    scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
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
        `COLUMNS`. The change is within subjects of one number; NaN at home.
    """
    found = []
    limits = difference_limits(scores.attrs.get("metric", "dice"))
    for (domain, diet, modality), part in scores.groupby(
        ["domain", "diet", "modality"], sort=False
    ):
        home = scores[scores["domain"].eq(HOME) & scores["diet"].eq(diet)
                      & scores["modality"].eq(modality)]  # fmt: skip
        both = part.set_index("number")["score"] - home.set_index("number")["score"]
        values = both.dropna().to_numpy() if domain != HOME else np.empty(0)
        row = {"domain": domain, "diet": diet, "modality": modality,
               "score": part["score"].mean(), "change": np.nan, "ci_low": np.nan,
               "ci_high": np.nan, "n_subjects": len(part)}  # fmt: skip
        if len(values):
            counts = resampling.resample_counts(
                len(values), n_resamples, np.random.default_rng(seed)
            )
            low, high = resampling.mean_interval(values[:, None], counts, bounds=limits)
            row |= {"change": values.mean(), "ci_low": low[0], "ci_high": high[0]}
        found.append(row)
    table = pd.DataFrame(found, columns=COLUMNS)
    table.attrs["metric"] = scores.attrs.get("metric", "dice")
    return table


def domain_sentence(changes: pd.DataFrame) -> str:
    """The largest loss and the smallest outside the domain, with their intervals.

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
    worst, best = seen.loc[seen["change"].idxmin()], seen.loc[seen["change"].idxmax()]
    if not higher_is_better(metric):
        worst, best = best, worst
    return (
        f"On a modality that a network was trained on, leaving the training's own simulator changes "
        f"its mean {metric_title(metric)} by {_said(worst)} at worst and by {_said(best)} at best (n = "
        f"{int(changes['n_subjects'].min())} subjects per domain, 95 % intervals): *unseen subjects* "
        f"and *unseen conditions* are two questions."
    )


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
