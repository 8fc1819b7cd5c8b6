"""Titles of systems, as the book shows them."""

from __future__ import annotations

from functools import cache

from umdlib.files import read_tsv
from umdlib.tables import titles


@cache
def _titles() -> dict[str, str]:
    """Title of every system of the registry, from a table: a page does not depend on the adapters for it."""
    return dict(read_tsv(titles.SEGMENTERS).itertuples(index=False))


def title(segmenter: str) -> str:
    """Title of a system by the name that a score table has; that name where the registry does not know it.

    Examples
    --------
    >>> title("threshold"), title("of_another_machine")
    ('Threshold', 'of_another_machine')
    """
    return _titles().get(segmenter, segmenter)
