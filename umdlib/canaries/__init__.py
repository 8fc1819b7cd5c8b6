"""Canaries: is the adapter of a segmenter wired right?"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checks": [
            "CHANCE",
            "CLEARLY",
            "DEAD",
            "FAULTS",
            "Finding",
            "LEAK",
            "LEAST",
            "NEAR",
            "SAME",
            "TOUCHED",
            "check_control",
            "check_firewall",
            "check_masks",
            "check_one_mask",
            "check_orientation",
            "check_prompt_shift",
            "check_wiring",
            "flagged",
            "likeness",
            "readings",
            "swap_gain",
            "to_table",
            "wiring_matrix",
        ]
    },
)
