"""Shading of the segmenters that the canaries flag, wherever a table of the book names them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

from umdbook.chapters import systems
from umdlib.canaries.findings import flagged, read

TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


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
