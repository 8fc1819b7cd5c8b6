"""Metrics of a prediction against its reference."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "scoring": [
            "MOST_STRUCTURES",
            "STATES",
            "TOLERANCES_MM",
            "joint_counts",
            "label_bits",
            "metric_columns",
            "pack_bits",
            "score",
            "score_bits",
            "surface_dice",
            "unpack_bit",
        ]
    },
)
