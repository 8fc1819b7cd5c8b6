"""Canaries: is the adapter of a segmenter wired right?"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checks": [
            "CLEARLY",
            "FAULTS",
            "Finding",
            "LEAST",
            "NEAR",
            "SAME",
            "check_control",
            "check_masks",
            "check_orientation",
            "flagged",
            "likeness",
            "readings",
            "to_table",
        ]
    },
)
