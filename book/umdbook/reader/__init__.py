"""Sphinx extension of the book: terms, numbered viewers, shaded and live tables, absent chapters, charts."""

from __future__ import annotations

from umdbook.reader import absent, charts, figures, heads, live, shading, terms


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    app.add_config_value("umd_flagged", {}, "env", types=[dict])
    app.add_transform(figures.NumberViewers)
    app.add_post_transform(absent.UnlinkAbsent)
    app.connect("config-inited", shading.read_flagged)
    app.connect("env-get-outdated", terms.pages_to_read)
    app.connect("doctree-resolved", terms.link_terms)
    app.connect("doctree-resolved", shading.shade)
    app.connect("doctree-resolved", live.enliven)
    app.connect("doctree-resolved", charts.mark)
    app.connect("html-page-context", heads.complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
