"""Prompts: what a user gives a segmenter, in world coordinates."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "drawing": ["corrective_click", "pair_prompts"],
        "initial": ["InitialMask", "initial_mask"],
        "prompt": [
            "Box",
            "Click",
            "Cube",
            "OUTSIDE_PARTNER",
            "Prompt",
            "REFERENCE_EMPTY",
            "box_of",
            "click_voxel",
            "from_record",
            "to_record",
        ],
    },
)
