"""Ceilings laid out beside scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.scores.ceilings import KINDS
from umdlib.statistics.ceilings import read_ceilings, structure_ceilings
from umdlib.tables.markdown import number
from umdlib.tables.modality_table import structure_title

NO_CEILINGS = (
    "This page was made without a table of ceilings; `umdlib ceilings` makes one from the references alone."
)
_SHOWN = ["modality", "structure", "title", "ceiling"]


def ceiling_title(kind: str, size_mm: float) -> str:
    """Name of a ceiling for a reader.

    Examples
    --------
    >>> ceiling_title("second reader", 2.0), ceiling_title("grid", float("nan"))
    ('second reader (2 mm)', 'grid')
    """
    if kind == "motion":
        return "moved as measured"
    name = "moved" if kind == "shift" else kind
    return f"{name} ({size_mm:g} mm)" if np.isfinite(size_mm) else name


def titled(ceilings: pd.DataFrame) -> pd.DataFrame:
    """`umdlib.statistics.ceilings.structure_ceilings` with the column `title`; motion is of many sizes."""
    titles = [ceiling_title(r.kind, r.size_mm) for r in ceilings.itertuples()]
    rows = ceilings.assign(title=titles)
    keys = [c for c in ("session", "modality", "structure") if c in rows] + ["kind", "title"]
    return rows.groupby(keys, sort=False, as_index=False)["ceiling"].mean()


def lines(ceilings: pd.DataFrame, session: str) -> pd.DataFrame:
    """The ceilings that scores are shown beside, of one session.

    Returns
    -------
    pandas.DataFrame
        `modality, structure, title, ceiling`: the largest jitter of a second reader, and the measured movement,
        or the stated one where none was measured.
    """
    rows = ceilings[ceilings["session"].eq(session)]
    if rows.empty:
        return pd.DataFrame(columns=_SHOWN)
    jitter = rows[rows["kind"].eq("second reader")]
    jitter = jitter[jitter["size_mm"].eq(jitter["size_mm"].max())]
    kind = "motion" if rows["kind"].eq("motion").any() else "shift"
    shown = titled(pd.concat([jitter, rows[rows["kind"].eq(kind)]]))
    return shown[_SHOWN]


def beside_scores(path: str, session: str) -> pd.DataFrame:
    """`lines` of a table of ceilings by its path; without rows where the path is empty."""
    if not path:
        return pd.DataFrame(columns=_SHOWN)
    return lines(structure_ceilings(read_ceilings(path)), session)


def columns(shown: pd.DataFrame) -> Mapping[str, Mapping[tuple[str, str], str]]:
    """The same for `umdlib.tables.to_markdown`: title -> (structure, modality) -> text."""
    return {
        f"*{title}*": {(r.structure, r.modality): number(r.ceiling) for r in part.itertuples()}
        for title, part in shown.groupby("title", sort=False)
    }


def ceilings_layout(ceilings: pd.DataFrame, session: str) -> pd.DataFrame:
    """All ceilings of one session: structures down, kinds across, PET's unless the title says otherwise."""
    rows = titled(ceilings[ceilings["session"].eq(session)])
    rows["title"] = rows["title"].where(rows["modality"].eq("PET"), rows["title"] + ", " + rows["modality"])
    wide = rows.pivot_table(index="structure", columns="title", values="ceiling", sort=False)
    wide = wide[list(dict.fromkeys(rows["title"]))]
    table = pd.DataFrame({"Structure": [structure_title(s) for s in wide.index]})
    for title in wide:
        table[title] = [number(v) for v in wide[title]]
    return table


def kinds_words(ceilings: pd.DataFrame) -> str:
    """What each kind in a table is, as a Markdown list, and whether it is a bound."""
    bound = dict(zip(ceilings["kind"], ceilings["bound"], strict=True))
    items = []
    for kind, words in KINDS.items():
        if kind in bound:
            force = " (a bound: no mask of that kind exceeds it)" if bound[kind] else ""
            items.append(f"- *{'moved' if kind == 'shift' else kind}*: {words}{force}")
    return "\n".join(items)
