"""Sentences of the papers that carry a number or an order, each as a predicate over the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from umdlib.errors import InputError
from umdlib.published.printed import SOURCES, cells, read

SUPPORTED, CONTRADICTED, NOT_TESTABLE = "supported", "contradicted", "not testable"
VERDICTS = (SUPPORTED, CONTRADICTED, NOT_TESTABLE)
Tables = Mapping[str, pd.DataFrame]
Outcome = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """One sentence, as short as its test needs.

    Attributes
    ----------
    key
        Identifier.
    paper, where
        Source: paper, and section, table or figure.
    quote
        Words of the paper, a few.
    reading
        What we take it to say, with every threshold that the paper leaves open.
    test
        ``test(tables) -> (verdict, numbers)``; `tables` are `load_tables()`.
    """

    key: str
    paper: str
    where: str
    quote: str
    reading: str
    test: Callable[[Tables], Outcome]


def load_tables() -> dict[str, pd.DataFrame]:
    """Cells of every published table by name: what the predicates look at."""
    return {name: cells(read(name)) for name in SOURCES}


def decide(holds: bool, numbers: str) -> Outcome:
    """Supported or contradicted, with the numbers."""
    return (SUPPORTED if holds else CONTRADICTED), numbers


def cannot(why: str) -> Outcome:
    """Not testable, and why."""
    return NOT_TESTABLE, why


def scores(tables: Tables, session: str, modality: str) -> pd.DataFrame:
    """UMD's means: structures as rows (`average` among them), segmenters as columns."""
    name = {"petct": "umd_table1", "petmr": "umd_table2"}[session]
    chosen = tables[name].query("modality == @modality")
    return by_structure(chosen, "mean")


def medians(tables: Tables, name: str, cohort: str) -> pd.DataFrame:
    """SegAnyPET's medians of one cohort: structures as rows, segmenters as columns."""
    chosen = tables[name].query("cohort == @cohort")
    return by_structure(chosen, "median")


def by_structure(chosen: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """A statistic of some cells: structures as rows in printed order, segmenters as columns."""
    wide = chosen.pivot(index="structure", columns="segmenter", values=statistic)
    return wide.loc[chosen["structure"].drop_duplicates()]


def evaluate(claims: Iterable[Claim], tables: Tables | None = None) -> pd.DataFrame:
    """Every claim with its verdict and the numbers behind it.

    Parameters
    ----------
    claims
        `umdlib.published.ALL_CLAIMS`, or some of them.
    tables
        As `load_tables` gives them; other tables answer what the claim would be worth there.

    Returns
    -------
    pandas.DataFrame
        Columns ``key, paper, where, quote, reading, verdict, numbers``.

    Raises
    ------
    InputError
        If two claims share a key, or a predicate gives another verdict than the three.
    """
    tables = load_tables() if tables is None else tables
    rows = []
    for claim in claims:
        verdict, numbers = claim.test(tables)
        if verdict not in VERDICTS:
            raise InputError(f"Invalid verdict {verdict!r} of claim '{claim.key}'.")
        rows.append(
            {
                "key": claim.key,
                "paper": claim.paper,
                "where": claim.where,
                "quote": claim.quote,
                "reading": claim.reading,
                "verdict": verdict,
                "numbers": numbers,
            }
        )
    frame = pd.DataFrame(rows)
    if frame["key"].duplicated().any():
        raise InputError(f"Claim '{frame[frame['key'].duplicated()]['key'].iloc[0]}' occurs twice.")
    return frame
