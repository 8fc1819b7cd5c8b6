"""What is simulated of each subject, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from umdlib.errors import InputError
from umdlib.synthetic.scanner.factors import Factors

FINEST_MM, COARSEST_MM = 2.0, 8.0


@dataclass(frozen=True)
class Settings:
    """Settings of the simulation of each subject.

    Attributes
    ----------
    spacing_mm
        Edge of a PET voxel, about; every grid scales with it.
    lesions
        How many are planted.
    factors
        Strengths of the physics; all at the scanner's by default.
    """

    spacing_mm: float = 4.0
    lesions: int = 0
    factors: Factors = field(default_factory=Factors)

    def check(self) -> None:
        """Raise `InputError` where a number is out of range."""
        _check_spacing(self.spacing_mm)
        check_whole("lesions", self.lesions, 0)


def _check_spacing(spacing_mm: float) -> None:
    """Refuse a spacing that the thinnest structure cannot be drawn on, or that memory cannot hold."""
    if not FINEST_MM <= spacing_mm <= COARSEST_MM:
        raise InputError(
            f"Invalid spacing {spacing_mm} mm. Must be {FINEST_MM} to {COARSEST_MM} mm: on a coarser "
            "grid the oesophagus, 12-15 mm thick, has no voxel of its own."
        )


def check_whole(name: str, value, low: int) -> None:
    """Raise unless `value` is an integer of at least `low`."""
    if not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"Invalid {name} {value!r}. Must be a whole number of {low} or more.")


def anatomy_spacing(spacing_mm: float) -> float:
    """Edge (mm) of the anatomy's voxels: finer than any image of the cohort, within memory."""
    return float(np.clip(0.6 * spacing_mm, 1.6, 3.0))
