"""A number and its unit stand on one line."""

from __future__ import annotations

import re

from docutils import nodes

_BETWEEN = re.compile(r"(?<=\d) (?=(?:%|mm|cm|ml|HU|kB|MB|GB)(?!\w))")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def keep(app, document: nodes.document, name: str) -> None:
    """Handler of ``doctree-resolved``: no line of the text ends between a number and its unit."""
    if app.builder.format != "html":
        return
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.raw | nodes.comment):
            joined = _BETWEEN.sub(_NO_BREAK, text.astext())
            if joined != text.astext():
                text.parent.replace(text, nodes.Text(joined))
