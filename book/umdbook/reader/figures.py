"""Viewers as figures of the book: numbered, captioned and open to cross references."""

from __future__ import annotations

import html
import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

_CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.S)
NAME = re.compile(r'<figure class="umd-viewer" id="([^"]+)"')


class NumberViewers(SphinxTransform):
    """Put the output that holds a viewer into a figure with its caption.

    The figure is called ``fig-<name of the viewer>``. This happens before Sphinx collects labels and
    numbers figures, so ``{numref}`` finds it from any page.
    """

    default_priority = 800  # labels are collected at 850

    def apply(self, **kwargs) -> None:
        """Change the document in place."""
        for raw in list(self.document.findall(nodes.raw)):
            found = NAME.search(raw.astext())
            if found and raw.get("format") == "html":
                self._number(raw, found[1])

    def _number(self, raw: nodes.raw, name: str) -> None:
        holder = raw.parent
        while holder is not None and holder.get("nb_element") != "mime_bundle":
            holder = holder.parent
        holder = raw if holder is None else holder
        source = raw.astext()
        caption = _CAPTION.search(source)
        figure = nodes.figure(classes=["umd-numbered"], names=[f"fig-{name}"])
        figure.source, figure.line = raw.source or self.document["source"], raw.line or 0
        holder.replace_self(figure)
        figure += holder
        if caption:
            cut = _CAPTION.sub("", source)
            raw.rawsource, raw.children = cut, [nodes.Text(cut)]
            words = html.unescape(caption[1])
            figure += nodes.caption(words, words)
        self.document.note_explicit_target(figure, figure)
