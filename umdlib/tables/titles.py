"""Titles of segmenters in tables and figures, as the page that shows them gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# Columns name, title of every system of the registry, so that a page does not depend on all adapters for them.
SEGMENTERS = Path(__file__).with_name("segmenter_titles.tsv")
# One for the process, as a style of Matplotlib is: right of the score table no registry is known.
_given: dict[str, Callable[[str], str]] = {}


def use_titles(title: Callable[[str], str] | None) -> None:
    """Show segmenters by another name from now on in this process; None shows the names of the score table.

    Parameters
    ----------
    title
        Function from a name to the title shown; a name that it does not know it returns.
    """
    _given.clear()
    if title is not None:
        _given["segmenter"] = title


def segmenter_title(name: str) -> str:
    """Name of a segmenter for a reader; that of the score table unless `use_titles` gave another.

    Examples
    --------
    >>> segmenter_title("clicknet_pet")
    'clicknet_pet'
    """
    return _given.get("segmenter", str)(name)
