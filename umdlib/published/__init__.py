"""What the two papers printed: tables as data, checks of their arithmetic, claims as predicates.

Nothing here computes a score, and nothing here corrects a printed number.
"""

from umdlib.published.cells import Cell, half_unit, parse_cell
from umdlib.published.tables import (
    SOURCES,
    Source,
    cells,
    fact,
    is_intact,
    n_scans,
    printed_lines,
    read,
    read_annotations,
    read_facts,
    read_training,
)

__all__ = [
    "SOURCES",
    "Cell",
    "Source",
    "cells",
    "fact",
    "half_unit",
    "is_intact",
    "n_scans",
    "parse_cell",
    "printed_lines",
    "read",
    "read_annotations",
    "read_facts",
    "read_training",
]
