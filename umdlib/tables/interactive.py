"""Small scripts for static pages: live tables, and the explorer of published scores.

No library and no request: styles, script and data stand in the page, which also works when opened
as a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files


class _Html(str):
    """HTML that a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def _asset(name: str) -> str:
    return (files("umdlib.tables") / "assets" / name).read_text(encoding="utf-8")


def live_tables() -> _Html:
    """Styles and script, once per page: every ``table.umd-live`` becomes a live table.

    A ``{table}`` directive gets the class by its option ``:class: umd-live``. Without JavaScript
    the table stays what it is.

    Examples
    --------
    >>> "table.umd-live" in live_tables()
    True
    """
    style, script = _asset("interactive.css"), _asset("tables.js")
    return _Html(f"<style>{style}</style><script>{script}</script>")


def embed_json(data: Mapping) -> str:
    """JSON that is safe inside a script element.

    Examples
    --------
    >>> print(embed_json({"text": "</script>"}))
    {"text":"\\u003c/script>"}
    """
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def explorer(data: Mapping, *, fallback: str) -> _Html:
    """The explorer with its data; `live_tables` must stand on the same page.

    Parameters
    ----------
    data
        As `umdlib.published.explorer.explorer_data` gives it.
    fallback
        Sentence shown where scripts do not run.
    """
    return _Html(
        '<div class="umd-explorer"><script type="application/json">'
        f"{embed_json(data)}</script><noscript>{fallback}</noscript></div>"
        f"<script>{_asset('explorer.js')}</script>"
    )
