"""The ladder from a structural image to its PET: resolution, noise, contrast, alignment, and their 16 combinations."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cells": ["CELLS", "FACTORS", "Degradations", "degraded_cells", "undone_cells"],
        "estimates": ["Estimates", "estimate_pair"],
        "regions": ["Regions", "regions_of"],
        "shards": ["gathered"],
        "run": ["CELL_COLUMNS", "ESTIMATE_COLUMNS", "LadderSettings", "Watch", "header_filter", "ladder_run"],
    },
)
