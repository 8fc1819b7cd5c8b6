"""The same networks in the domain of their training and out of it."""

from __future__ import annotations

import pandas as pd

from umdlib.scores.empty_rules import with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.factorial import parts_of
from umdlib.statistics.pairs import means_over_structures
from umdlib.statistics.verdicts import means_at_floor

FAMILY, HOME = "clicknet", "same"
STILL = "still"  # as at home, but PET shows the anatomy of its reference
COLUMNS = ["domain", "trained_on", "modality", "score", "change", "ci_low", "ci_high", "n_subjects"]
COLUMNS += ["at_floor"]


def domain_scores(table: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Score of each structure of each subject of the shifted cohorts.

    Returns
    -------
    pandas.DataFrame
        `domain, number, trained_on, modality, structure, score`, of the structures that all domains hold.
        The subject's name is its domain and its number; subjects of one number are drawn alike in
        all domains, but for what the domain fixes.
    """
    columns = ["domain", "number", "trained_on", "modality", "structure", "score"]
    parts = table["segmenter"].map(lambda s: parts_of(s, family=FAMILY))
    rows = table[parts.notna() & table["status"].ne("unavailable") & table["step"].eq(0)]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows = rows.reset_index(drop=True)
    names = rows["subject"].str.rpartition("-")
    rows = rows.assign(
        score=with_empty_rule(rows, metric, empty),
        trained_on=[parts_of(s, family=FAMILY)[0] for s in rows["segmenter"]],
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
        has in both domains; NaN at home. `n_subjects` are those of the change, at home all. `at_floor`
        says that both means are at the floor, see `umdlib.statistics.verdicts.at_floor`.
    """
    found = []
    metric = scores.attrs.get("metric", "dice")
    one = ["number", "structure"]
    for (domain, trained_on, modality), part in scores.groupby(
        ["domain", "trained_on", "modality"], sort=False
    ):
        home = scores[
            scores["domain"].eq(HOME) & scores["trained_on"].eq(trained_on) & scores["modality"].eq(modality)
        ]
        means = means_over_structures(part.set_index(one)[["score"]], sort=True)["score"]
        row = {
            "domain": domain,
            "trained_on": trained_on,
            "modality": modality,
            "score": means.mean(),
            "n_subjects": len(means),
            "at_floor": False,
        }
        if domain != HOME:
            sides = pd.DataFrame({"here": part.set_index(one)["score"], "home": home.set_index(one)["score"]})
            subjects = means_over_structures(sides.dropna(), sort=True)
            values = (subjects["here"] - subjects["home"]).to_numpy()
            row["n_subjects"] = len(values)
            row["at_floor"] = means_at_floor(subjects, metric)
        if domain != HOME and len(values):
            found_here = bootstrap.interval_of_mean(values, metric, n_resamples, seed)
            row |= dict(zip(("change", "ci_low", "ci_high"), found_here[:3], strict=True))
        found.append(row)
    table = pd.DataFrame(found, columns=COLUMNS)
    table.attrs["metric"] = metric
    return table


PARTS = {
    "gap": "PET − structural image",
    "reference": "of it, reference drawn on the structural image",
    "image": "left with a reference of PET's own",
}
# What each part is a difference of: see `reference_parts`.
SIDES = {"gap": ["pet", "structural"], "reference": ["pet", "still"], "image": ["still", "structural"]}


def reference_parts(scores: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Take the gap of each training apart: what the reference costs on PET, and what the image does.

    The same subjects are imaged twice, with the motion of PET and without: without it the reference
    that was drawn on the structural image is PET's own anatomy.

    Parameters
    ----------
    scores
        From `domain_scores`.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `trained_on, part` (of `PARTS`), `estimate, ci_low, ci_high, n_subjects, at_floor`. In every subject
        ``gap = reference + image``: ``gap`` is PET minus structural as scanned, ``image`` the same with PET
        that did not move, ``reference`` PET as scanned minus PET that did not move. Empty where a
        domain or an image is missing.
    """
    columns = ["trained_on", "part", "estimate", "ci_low", "ci_high", "n_subjects", "at_floor"]
    metric, found = scores.attrs.get("metric", "dice"), []
    for trained_on, rows in scores.groupby("trained_on", sort=False):
        at = rows.set_index(["domain", "number", "structure"])
        pet, other = (at.loc[at["modality"].eq("PET") == side, "score"] for side in (True, False))
        if not {HOME, STILL} <= set(pet.index.get_level_values(0)) or other.empty:
            continue
        table = pd.DataFrame({"pet": pet[HOME], "still": pet[STILL], "structural": other[HOME]}).dropna()
        means = means_over_structures(table, sort=True)
        values = {
            "gap": means["pet"] - means["structural"],
            "reference": means["pet"] - means["still"],
            "image": means["still"] - means["structural"],
        }
        for part in PARTS:
            of_mean = bootstrap.interval_of_mean(values[part].to_numpy(), metric, n_resamples, seed)
            floor = means_at_floor(means[SIDES[part]], metric)
            about = {"trained_on": trained_on, "part": part, "n_subjects": of_mean.n_subjects}
            found.append(about | of_mean.columns() | {"at_floor": floor})
    table = pd.DataFrame(found, columns=columns)
    table.attrs["metric"] = metric
    return table
