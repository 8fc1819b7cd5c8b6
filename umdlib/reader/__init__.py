"""Sphinx extension of the book: glossary terms with their definition, viewers as numbered figures."""

from __future__ import annotations

from umdlib.reader import figures, heads, terms


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    app.add_transform(figures.NumberViewers)
    app.connect("env-get-outdated", terms.pages_to_read)
    app.connect("doctree-resolved", terms.link_terms)
    app.connect("html-page-context", heads.complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
