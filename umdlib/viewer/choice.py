"""Viewers of which a page shows the one that is chosen from a list."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from umdlib.viewer import web_volumes
from umdlib.viewer.pair import ASSETS, Pair


@dataclass(frozen=True)
class Choice:
    """A list of viewers, the first of which is shown; the others are loaded and opened when they are chosen.

    Attributes
    ----------
    viewers
        Title in the list to viewer; at least one.
    label
        Of the list.
    name
        Identifier of the list, one of a kind on the page.
    """

    viewers: Mapping[str, Pair]
    label: str
    name: str = "umd-choice"

    def write(self, assets: str | Path, *, root: str = "../umd/") -> str:
        """Write the files that the page loads on demand, and return its HTML.

        Parameters
        ----------
        assets
            Folder that the site publishes as `root`.
        root
            Address of `assets` as seen from the page.
        """
        shown = next(iter(self.viewers.values())).write(assets, root=root)
        figures = {
            title: viewer.write(assets, root=root, poster=False) for title, viewer in self.viewers.items()
        }
        records = {t: web_volumes.write_record(Path(assets), {"figure": f}) for t, f in figures.items()}
        options = "".join(
            f'<option value="{record}">{html.escape(title)}</option>' for title, record in records.items()
        )
        script = (ASSETS / "umd-choice.js").read_text("utf-8")
        return (
            f'<div class="umd-choice" data-umd-root="{html.escape(root)}"><div class="umd-field">'
            f'<label for="{self.name}">{html.escape(self.label)}</label>'
            f'<select id="{self.name}" autocomplete="off">{options}</select></div>'
            f'<div class="umd-chosen">{shown}</div></div><script>{script}</script>'
        )

    def __repr__(self) -> str:
        """Titles of the list."""
        return f"{self.label}: {', '.join(self.viewers)}"

    def _repr_html_(self) -> str:
        assets = os.environ.get("UMD_STATIC")
        return self.write(assets) if assets else next(iter(self.viewers.values())).inline()
