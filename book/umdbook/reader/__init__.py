"""Sphinx extension of the book: terms, numbered viewers, shaded and live tables, absent chapters, charts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from umdbook.reader import absent, charts, figures, heads, live, shading, terms, units


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    app.add_config_value("umd_flagged", {}, "env", types=[dict])
    app.add_transform(figures.NumberViewers)
    app.add_post_transform(absent.UnlinkAbsent)
    app.connect("config-inited", shading.read_flagged)
    app.connect("env-get-outdated", terms.pages_to_read)
    app.connect("doctree-resolved", terms.link_terms)
    app.connect("doctree-resolved", shading.shade)
    app.connect("doctree-resolved", absent.say_reasons)
    app.connect("doctree-resolved", live.enliven)
    app.connect("doctree-resolved", charts.mark)
    app.connect("doctree-resolved", units.keep)
    app.connect("html-page-context", heads.complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": _version(app.srcdir)}


def _version(source: str | Path) -> int:
    """Version of what makes pages but is no page: with another, Sphinx reads all of them anew.

    It covers this extension and the files of ``_static``, which Sphinx copies only where a page changed.
    """
    own = [*Path(__file__).parent.glob("*.py"), *(Path(source) / "_static").rglob("*")]
    contents = [path.read_bytes() for path in sorted(own) if path.is_file()]
    return int(hashlib.sha256(b"\0".join(contents)).hexdigest()[:12], 16)
