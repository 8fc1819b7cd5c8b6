"""Limits of what is simulated: spacing and counts."""

from __future__ import annotations

import numpy as np

from umdlib.errors import InputError

FINEST_MM, COARSEST_MM = 2.0, 8.0


def check_spacing(spacing_mm: float) -> None:
    """Refuse a spacing that the thinnest structure cannot be drawn on, or that memory cannot hold."""
    if not FINEST_MM <= spacing_mm <= COARSEST_MM:
        raise InputError(
            f"Invalid spacing {spacing_mm} mm. Must be {FINEST_MM} to {COARSEST_MM} mm: on a coarser "
            "grid the oesophagus, 12-15 mm thick, has no voxel of its own."
        )


def check_whole(name: str, value, low: int) -> None:
    """Refuse what is no whole number of `low` or more."""
    if not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"Invalid {name} {value!r}. Must be a whole number of {low} or more.")


def anatomy_spacing(spacing_mm: float) -> float:
    """Edge (mm) of the anatomy's voxels: finer than any image of the cohort, within memory."""
    return float(np.clip(0.6 * spacing_mm, 1.6, 3.0))
