"""Prompts: what a user gives a segmenter, in world coordinates."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "drawing": [
            "Box",
            "CANDIDATES",
            "CLICKS",
            "Click",
            "OFFICIAL",
            "OUTSIDE_PARTNER",
            "PROTOCOLS",
            "Prompt",
            "REDRAWS",
            "REFERENCE_EMPTY",
            "UNDRAWN",
            "WORLD",
            "box_of",
            "click_voxel",
            "corrective_click",
            "from_record",
            "kind_given",
            "pair_prompts",
            "protocol",
            "to_record",
        ]
    },
)
