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
    for element in document.findall(nodes.Element):
        if isinstance(element, nodes.literal | nodes.literal_block | nodes.raw | nodes.comment):
            continue
        for k, child in enumerate(
            element.children
        ):  # other handlers leave texts that do not know their parent
            if isinstance(child, nodes.Text) and _BETWEEN.search(child.astext()):
                element[k] = nodes.Text(_BETWEEN.sub(_NO_BREAK, child.astext()))
