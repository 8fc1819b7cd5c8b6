"""Titles of systems, as the book shows them."""

from __future__ import annotations

import functools

from umdlib.segmenters import registry


@functools.cache
def title(segmenter: str) -> str:
    """Title of a system; its name where the registry does not know it."""
    return registry.get(segmenter).title if segmenter in registry.names() else segmenter
