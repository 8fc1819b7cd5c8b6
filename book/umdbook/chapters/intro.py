"""The finding of a run in one line: which segmenter, how much PET costs it, how sure that is."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from umdlib import labels, protocols
from umdlib.errors import InputError
from umdlib.statistics import comparison as paired
from umdlib.statistics.pairs import condition


def headline(
    scores: pd.DataFrame, session: str, segmenter: str, *, metric: str = "dice", seed: int = 0
) -> pd.Series:
    """The comparison that the landing page shows.

    Parameters
    ----------
    scores
        Score table.
    session
        petct or petmr.
    segmenter
        Name.
    metric
        Column to compare.
    seed
        Of the bootstrap.

    Returns
    -------
    pandas.Series
        A row of `paired.compare` over all structures of a subject together, and `prompt`.

    Raises
    ------
    InputError
        If the segmenter has no pair in this session.
    """
    part = scores[scores["session"] == session]
    rows = paired.compare(part, by=("session", "segmenter"), metric=metric, seed=seed)
    rows = rows[rows["estimate"].notna() & rows["segmenter"].eq(segmenter)]
    if rows.empty:
        raise InputError(f"No pair of {segmenter} in session {session} has a {metric}.")
    prompt = condition(part.query("segmenter == @segmenter"))["prompt"].iloc[0]
    return pd.concat([rows.iloc[0], pd.Series({"prompt": prompt})])


def typical_subject(
    scores: pd.DataFrame, session: str, segmenter: str, structure: str, *, metric: str = "dice"
) -> str:
    """Subject whose paired difference is the median one (the lower of two), the first of equals.

    Raises
    ------
    InputError
        If there is no pair.
    """
    part = scores[
        (scores["session"] == session)
        & (scores["segmenter"] == segmenter)
        & (scores["structure"] == structure)
    ]
    pairs = paired.paired_differences(condition(part), metric=metric).dropna(subset=["difference"])
    if pairs.empty:
        raise InputError(f"No pair of {structure} by {segmenter} in session {session}.")
    ordered = pairs.sort_values(["difference", "subject"])
    return ordered["subject"].iloc[(len(ordered) - 1) // 2]


@dataclass(frozen=True)
class Opening:
    """What the landing page shows: `row` of `headline`, and a typical pair of one structure."""

    session: str
    segmenter: str
    row: pd.Series
    structure: str
    subject: str


NOTHING = (
    "No segmenter of this run has a score on both images of a subject: there is nothing to compare yet. "
    "The page on the run lists what failed, and why."
)


def opening(
    scores: pd.DataFrame,
    sessions: Sequence[str],
    structures: Sequence[str],
    *,
    segmenter: str = "",
    metric: str = "dice",
) -> Opening | None:
    """The first session and structure in which the best segmenter with pairs has one.

    Parameters
    ----------
    scores
        Score table.
    sessions, structures
        Names, in the order in which they are tried.
    segmenter
        Name; if empty the best on the structural image, of those that take clicks before others.
    metric
        Column of the table, larger is better.

    Returns
    -------
    Opening or None
        None where no pair has a score.
    """
    for session in sessions:
        rows = scores[scores["session"].eq(session) & scores["step"].eq(0)]
        rows = rows[rows["modality"].eq(labels.session(session).structural)]
        means = rows.groupby("segmenter", sort=False).agg(
            clickless=("prompt", lambda names: protocols.kind_given(names.iloc[0]) != "click"),
            score=(metric, "mean"),
        )
        order = means.dropna().sort_values(["clickless", "score"], ascending=[True, False])
        for name in [segmenter] if segmenter else order.index:
            for structure in structures:
                try:
                    subject = typical_subject(scores, session, name, structure, metric=metric)
                except InputError:
                    continue
                row = headline(scores, session, name, metric=metric)  # a pair has one
                return Opening(session, str(name), row, structure, subject)
    return None


def finding_html(row: pd.Series, *, title: str, n_structures: int) -> str:
    """The line as HTML: the estimate large, then what it is, its interval and n."""
    session = labels.SESSIONS[row["session"]]
    number = f"{row['estimate']:+.3f}".replace("-", "−")
    structures = "1 structure" if n_structures == 1 else f"{n_structures} structures"
    low, high = (f"{row[k]:+.3f}".replace("-", "−") for k in ("ci_low", "ci_high"))
    clicked = protocols.kind_given(row["prompt"]) == "click"
    given = "the same click" if clicked else f"the prompt '{row['prompt']}'"
    return (
        f'<div class="umd-finding"><strong>{number}</strong><span>mean change in overlap with the '
        f"reference (DSC, 0 to 1) from {session.structural} to PET under {given}; 95&nbsp;% "
        f"interval {low} to {high}; "
        f"{html.escape(title)}, {row['n_subjects']} subjects, {structures}</span></div>"
    )


def landing_markdown(row: pd.Series, *, title: str, n_structures: int) -> str:
    """The finding, and beside it where to go from here, as MyST Markdown for the landing page."""
    session = row["session"]
    return (
        "::::{div} umd-hero\n"
        f"```{{raw}} html\n{finding_html(row, title=title, n_structures=n_structures)}\n```\n\n"
        ":::{div} umd-ways\n"
        f"- [Read: what {labels.SESSIONS[session].title} shows](modality_gap_{session}.ipynb)\n"
        "- [Look: the best and the worst cases](gallery.ipynb)\n"
        "- [Run: your images, your model](your_own.ipynb)\n"
        ":::\n::::"
    )
