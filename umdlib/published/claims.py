"""Sentences of the papers that carry a number or an order, each as a predicate over the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from umdlib.errors import InputError
from umdlib.published.printed import SOURCES, cells, read, read_claims

SUPPORTED, CONTRADICTED, NOT_TESTABLE = "supported", "contradicted", "not testable"
DEPENDS = "depends on the reading"
# The verdict of a sentence is the first of these that one of its parts has.
VERDICTS = (CONTRADICTED, NOT_TESTABLE, DEPENDS, SUPPORTED)
MARGIN = 0.02  # DSC; a smaller difference is called neither better nor worse
SLIGHT = 0.05  # DSC; a larger difference is not slight
Tables = Mapping[str, pd.DataFrame]
Outcome = tuple[str, str]
Test = Callable[[Tables], Outcome]


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
    test: Test


def claims_of(paper: str, tests: Mapping[str, Test | tuple[Test, ...]]) -> tuple[Claim, ...]:
    """Claims of a paper: its sentences in `claims.tsv`, each with its test or tests."""
    rows = read_claims().query("paper == @paper")
    odd = set(rows["key"]).symmetric_difference(tests)
    if odd:
        raise InputError(f"Claims of {paper} and their tests do not match: {', '.join(sorted(odd))}.")
    made = {key: together(*t) if isinstance(t, tuple) else t for key, t in tests.items()}
    return tuple(Claim(**row, test=made[row["key"]]) for row in rows.to_dict("records"))


def load_tables() -> dict[str, pd.DataFrame]:
    """Cells of every published table by name: what the predicates look at."""
    return {name: cells(read(name)) for name in SOURCES}


def decide(holds: bool, numbers: str) -> Outcome:
    """Supported or contradicted, with the numbers."""
    return (SUPPORTED if holds else CONTRADICTED), numbers


def cannot(why: str) -> Outcome:
    """Not testable, and why."""
    return NOT_TESTABLE, why


def ordered(differences: Iterable[float], numbers: str) -> Outcome:
    """Whether all differences, first minus second, are positive by `MARGIN`.

    Contradicted if one is negative by `MARGIN`; if some are within the margin, that depends on the
    reading.

    Examples
    --------
    >>> ordered([0.1, 0.01], "Two.")
    ('depends on the reading', '1 of 2 above by 0.02, 1 within it, 0 below. Two.')
    """
    values = list(differences)
    above, below = (sum(s * v >= MARGIN for v in values) for s in (1, -1))
    level = len(values) - above - below
    text = f"{above} of {len(values)} above by {MARGIN:g}, {level} within it, {below} below."
    verdict = CONTRADICTED if below else DEPENDS if level else SUPPORTED
    return verdict, f"{text} {numbers}".strip()


def together(*tests: Test) -> Test:
    """The test of a sentence that says several things: one verdict, the least favourable, all numbers."""

    def test(tables: Tables) -> Outcome:
        found = [t(tables) for t in tests]
        return min((v for v, _ in found), key=VERDICTS.index), " ".join(numbers for _, numbers in found)

    return test


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
        If two claims share a key or a sentence, or a predicate gives another verdict than `VERDICTS`.
    """
    tables = load_tables() if tables is None else tables
    rows = []
    for claim in claims:
        verdict, numbers = claim.test(tables)
        if verdict not in VERDICTS:
            raise InputError(f"Invalid verdict {verdict!r} of claim '{claim.key}'.")
        row = {name: getattr(claim, name) for name in ("key", "paper", "where", "quote", "reading")}
        rows.append(row | {"verdict": verdict, "numbers": numbers})
    frame = pd.DataFrame(rows)
    for column in ("key", "quote"):
        if frame[column].duplicated().any():
            twice = frame[frame[column].duplicated()][column].iloc[0]
            raise InputError(f"Claim '{twice}' occurs twice.")
    return frame
