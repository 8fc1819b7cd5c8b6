"""A number and its unit stand on one line, and a negative number has a minus sign."""

from __future__ import annotations

import re

from docutils import nodes

_BETWEEN = re.compile(r"(?<=\d) (?=(?:%|mm|cm|ml|HU|kB|MB|GB)(?!\w))")
_HYPHEN = re.compile(r"(?<![\w.,)\]/–−-])-(?=\d)")
_NO_BREAK = "\N{NO-BREAK SPACE}"

_AS_WRITTEN = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment)


def keep(app, document: nodes.document, name: str) -> None:
    """Handler of ``doctree-resolved``: a number keeps its unit beside it, and its minus is no hyphen."""
    if app.builder.format != "html":
        return
    for element in document.findall(nodes.Element):
        if isinstance(element, _AS_WRITTEN):
            continue
        for k, child in enumerate(
            element.children
        ):  # other handlers leave texts that do not know their parent
            if isinstance(child, nodes.Text):
                text = _HYPHEN.sub("−", _BETWEEN.sub(_NO_BREAK, child.astext()))
                if text != child.astext():
                    element[k] = nodes.Text(text)
