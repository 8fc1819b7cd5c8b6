"""Titles of systems, as the book shows them."""

from __future__ import annotations

from umdlib.segmenters import registry


def title(segmenter: str) -> str:
    """Title of a system by the name that a score table has; that name where the registry does not know it.

    Examples
    --------
    >>> title("threshold"), title("of_another_machine")
    ('Threshold', 'of_another_machine')
    """
    return registry.get(segmenter).title if segmenter in registry.names() else segmenter
