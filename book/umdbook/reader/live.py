"""Measured tables that a reader can filter, sort and take along, as the published ones are.

Style and script stand before the tables, and each table is followed by the call that gives it its bar: it is painted in
its final form, so that nothing on a page moves.
"""

from __future__ import annotations

import re

from docutils import nodes

from umdbook.reader.shading import is_published
from umdlib.tables.interactive import live_tables

_LEAST_ROWS = 6  # a shorter table is seen at a glance
_LONG = 48  # letters of a cell that has to wrap
_SHORT = 12  # letters of a name like sub-001, which does not break at its hyphen
_CALL = "<script>window.umdTables?.()</script>"
_INTERVAL = re.compile(r"([\[(][^\[\]()]{0,32}\d[^\[\]()]{0,32}[\])])")


def enliven(app, document: nodes.document, name: str) -> None:
    """Handler of ``doctree-resolved``: every long numbered table of a page becomes a live one."""
    if app.builder.format != "html":
        return
    if not is_published(name):  # the published chapters say it themselves
        _choose(document)
    for table in [table for table in document.findall(nodes.table) if "umd-live" in table["classes"]]:
        table.parent.insert(table.parent.index(table) + 1, nodes.raw("", _CALL, format="html"))


def _choose(document: nodes.document) -> None:
    """Give the long tables of a measured page their classes, and the page their style and script."""
    for entry in document.findall(nodes.entry):
        _keep_intervals_whole(entry)
    found = [table for table in document.findall(nodes.table) if _is_long(table)]
    for table in found:
        table["classes"] += ["umd-live", "umd-measured"]
        _widen_columns_of_words(table)
    if found:
        document.insert(0, nodes.raw("", str(live_tables()), format="html"))


def _widen_columns_of_words(table: nodes.table) -> None:
    """Give the cells of a column that holds sentences a class: it is wide, where columns of numbers are narrow."""
    rows = [list(row.findall(nodes.entry)) for body in table.findall(nodes.tbody) for row in body.children]
    for column in zip(*rows, strict=False):
        if any(len(entry.astext()) > _LONG for entry in column):
            for entry in column:
                entry["classes"].append("umd-long")


def _keep_intervals_whole(entry: nodes.entry) -> None:
    """Let no line end within the brackets of an interval or a short name; cells of many words wrap as they do."""
    for text in list(entry.findall(nodes.Text)):
        if "-" in text.astext() and " " not in text.astext() and len(text.astext()) <= _SHORT:
            text.parent.replace(text, nodes.inline("", text.astext(), classes=["umd-whole"]))
            continue
        parts = _INTERVAL.split(text.astext())
        if len(parts) == 1 or len(text.astext()) > _LONG:
            continue
        text.parent.replace(
            text,
            [
                nodes.inline("", part, classes=["umd-whole"]) if k % 2 else nodes.Text(part)
                for k, part in enumerate(parts)
            ],
        )


def _is_long(table: nodes.table) -> bool:
    """Whether a table has a caption, one line of heads and many rows."""
    bodies = list(table.findall(nodes.tbody))
    heads = [row for head in table.findall(nodes.thead) for row in head.findall(nodes.row)]
    rows = sum(len(list(body.findall(nodes.row))) for body in bodies)
    titled = any(isinstance(child, nodes.title) for child in table.children)
    return titled and len(heads) == 1 and rows >= _LEAST_ROWS and "umd-live" not in table["classes"]
