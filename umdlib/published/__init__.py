"""What the two papers printed: tables as data, checks of their arithmetic, claims as predicates.

Nothing here computes a score, and nothing here corrects a printed number.
"""

from umdlib.published.across import audit_across
from umdlib.published.audit import audit_papers, audit_table
from umdlib.published.claims import Claim, evaluate, load_tables
from umdlib.published.claims_seganypet import SEGANYPET_CLAIMS
from umdlib.published.claims_umd import UMD_CLAIMS
from umdlib.published.foreign import Reading, parse_n, read_table
from umdlib.published.outcomes import GRADES, INNOCENT
from umdlib.published.parsing import Cell, half_unit, parse_cell
from umdlib.published.printed import (
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
from umdlib.published.report import audit_report, is_sound
from umdlib.published.significance import PRange, modality_ranges, p_range, paired_p

ALL_CLAIMS: tuple[Claim, ...] = UMD_CLAIMS + SEGANYPET_CLAIMS

__all__ = [
    "ALL_CLAIMS",
    "GRADES",
    "INNOCENT",
    "SOURCES",
    "Cell",
    "Claim",
    "PRange",
    "Reading",
    "Source",
    "audit_across",
    "audit_papers",
    "audit_report",
    "audit_table",
    "cells",
    "evaluate",
    "fact",
    "half_unit",
    "is_intact",
    "is_sound",
    "load_tables",
    "modality_ranges",
    "n_scans",
    "p_range",
    "paired_p",
    "parse_cell",
    "parse_n",
    "printed_lines",
    "read",
    "read_annotations",
    "read_facts",
    "read_table",
    "read_training",
]
