"""Shading of the segmenters that the canaries flag, wherever a table of the book names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from docutils import nodes

FILE = "flagged.json"  # beside the pages: segmenter, by name and by title, to what is suspected


def read_flagged(app, config) -> None:
    """Handler of ``config-inited``: a change of what is flagged makes every page anew."""
    path = Path(app.srcdir, FILE)
    if path.is_file():
        config.umd_flagged = json.loads(path.read_text("utf-8"))


def shade(app, document: nodes.document, name: str) -> None:
    """Handler of ``doctree-resolved``: shade the tables of a page; published tables stay as they are."""
    if is_published(name):
        return
    for table in list(document.findall(nodes.table)):
        _shade_table(table, app.config.umd_flagged)


def is_published(name: str) -> bool:
    """Whether a page shows what the papers printed: its tables are made as they are to be seen."""
    return name.rpartition("/")[2].startswith("published")


def _shade_table(table: nodes.table, flagged: Mapping[str, str]) -> None:
    """Mark the rows and columns of a table that name a flagged segmenter, and say below it why."""
    columns: dict[int, str] = {}
    found: dict[str, None] = {}
    for row in table.findall(nodes.row):
        cells = [cell for cell in row.children if isinstance(cell, nodes.entry)]
        words = [" ".join(cell.astext().split()) for cell in cells]
        if isinstance(row.parent, nodes.thead):
            columns |= {n: word for n, word in enumerate(words) if word in flagged}
            here = None
        else:
            here = next((word for word in words if word in flagged), None)
        found |= dict.fromkeys([*columns.values(), *([here] if here else [])])
        for n, cell in enumerate(cells):
            if here or n in columns:
                cell["classes"].append("flagged")
    if found:
        reasons = " ".join(f"{name}: {flagged[name]}." for name in found)
        note = f"Shaded: flagged by the canaries, its adapter may be wired wrong. {reasons}"
        place = table.parent.index(table) + 1
        table.parent.insert(place, nodes.paragraph(note, note, classes=["flagged-note"]))
