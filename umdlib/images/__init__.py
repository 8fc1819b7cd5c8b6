"""Volumes in the world: reading, grids, orientation, masks."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "volume": [
            "LabelMap",
            "UNITS",
            "Volume",
            "grid_difference",
            "onto_grid",
            "read_bits",
            "read_label_map",
            "read_volume",
            "write_bits",
            "write_label_map",
            "write_volume",
        ]
    },
)
