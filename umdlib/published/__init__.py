"""What papers printed: tables as data, checks of their arithmetic, claims as predicates.

Nothing here computes a score, and nothing here corrects a printed number.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "parsing": ["parse_cell"],
        "printed": [
            "SOURCES",
            "cells",
            "fact",
            "is_intact",
            "n_scans",
            "printed_lines",
            "read",
            "read_annotations",
            "read_facts",
            "read_pet_only",
            "read_training",
        ],
        "outcomes": ["GRADES", "INNOCENT"],
        "foreign": ["Reading", "parse_n", "read_table"],
        "report": ["audit_report", "is_sound"],
        "across": ["audit_across"],
        "audit": ["audit_papers", "audit_table"],
        "significance": ["modality_ranges", "p_range", "paired_p"],
        "claims": ["evaluate"],
        "sentences": ["ALL_CLAIMS"],
    },
)
