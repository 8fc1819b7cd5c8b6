"""Segmenters that the canaries flag, shaded wherever a table of the book names them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from umdbook.chapters import systems

from umdlib.canaries.checks import FAULTS
from umdlib.errors import InputError
from umdlib.files import replaced

FILE = "canaries.tsv"
COLUMNS = ("segmenter", "modality", "n_cases", "faults", "detail", "control")
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


def write(root: str | Path, findings: pd.DataFrame) -> Path:
    """Store what `canary_run.check_run` found beside the scores of a run."""
    path = Path(root) / FILE
    with replaced(path) as part:
        findings.to_csv(part, sep="\t", index=False, lineterminator="\n")
    return path


def read(root: str | Path) -> pd.DataFrame:
    """What the canaries of a run found; no rows where they did not run.

    Raises
    ------
    InputError
        A file that is no table of findings.
    """
    path = Path(root) / FILE
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    absent = [c for c in COLUMNS if c not in table]
    if absent:
        raise InputError(f"File {path} lacks the columns {', '.join(absent)}.")
    return table


def flagged(findings: pd.DataFrame) -> dict[str, str]:
    """Segmenter to its faults in words, of those with at least one.

    Examples
    --------
    >>> rows = pd.DataFrame({"segmenter": ["a", "b"], "faults": ["", "flipped"]})
    >>> flagged(rows)
    {'b': 'a flip of the prediction fits clearly better'}
    """
    named: dict[str, dict[str, None]] = {}
    for row in findings.itertuples():
        for fault in filter(None, row.faults.split(", ")):
            named.setdefault(row.segmenter, {})[FAULTS.get(fault, fault)] = None
    return {name: "; ".join(words) for name, words in named.items()}


def shade_pages(folder: str | Path, root: str | Path) -> int:
    """Shade a rendered book's tables; returns how many. Pages of published tables stay as they are."""
    names = flagged(read(root))
    if not names:
        return 0
    names |= {systems.title(name): said for name, said in names.items()}
    shaded = 0
    for page in sorted(Path(folder).rglob("*.html")):
        if page.name.startswith("published"):
            continue
        before = page.read_text("utf-8")
        after = shade(before, names)
        if after != before:
            shaded += after.count('class="flagged-note"')
            page.write_text(after, "utf-8")
    return shaded


def shade(page: str, names: Mapping[str, str]) -> str:
    """A page whose tables mark the rows and columns that name a flagged segmenter.

    Parameters
    ----------
    page
        HTML.
    names
        Segmenter to what is suspected.

    Returns
    -------
    str
        Marked cells have the class ``flagged``; a line after the table says why. Nothing else
        changes.
    """
    return TABLE.sub(lambda match: _shaded_table(match.group(), names), page)


def _shaded_table(table: str, names: Mapping[str, str]) -> str:
    """One table; unchanged where it names nobody."""
    columns: dict[int, str] = {}
    found: dict[str, None] = {}

    def row(match: re.Match) -> str:
        line = match.group()
        cells = CELL.findall(line)
        texts = [html.unescape(TAG.sub("", inner)).strip() for _, _, inner in cells]
        heads = all(kind == "th" for kind, *_ in cells)
        if heads:
            columns.update({n: t for n, t in enumerate(texts) if t in names})
        here = next((t for t in texts if t in names), None) if not heads else None
        found.update(dict.fromkeys([*columns.values(), *([here] if here else [])]))
        position = iter(range(len(cells)))

        def cell(inner: re.Match) -> str:
            n = next(position)
            return _marked(inner) if here or n in columns else inner.group()

        return CELL.sub(cell, line)

    marked = ROW.sub(row, table)
    if not found:
        return table
    said = " ".join(f"{name}: {names[name]}." for name in found)
    note = f"Shaded: flagged by the canaries, its adapter may be wired wrong. {said}"
    return f'{marked}<p class="flagged-note">{html.escape(note)}</p>'


def _marked(cell: re.Match) -> str:
    """A cell with the class ``flagged``."""
    kind, attributes, inner = cell.groups()
    if 'class="' in attributes:
        attributes = attributes.replace('class="', 'class="flagged ', 1)
    else:
        attributes += ' class="flagged"'
    return f"<{kind}{attributes}>{inner}</{kind}>"
