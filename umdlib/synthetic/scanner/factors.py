"""The named differences between a structural image and a PET image, each with a strength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from umdlib.errors import InputError, unknown_name


@dataclass(frozen=True)
class Factors:
    """Strength of each factor: 0 leaves it out exactly, 1 is the scanner's, 2 is twice as strong.

    With every factor of PET at 0 the PET image *is* the structural image; with one of them at 1 it
    differs from the structural image by that factor alone.

    Attributes
    ----------
    resolution
        PET's point spread (scales its width) and PET's grid; at 0 the structural image's.
    noise
        Standard deviation of PET noise.
    contrast
        FDG uptake instead of the structural image's contrast (0 to 1, a linear mixture).
    breathing
        Blur over the breathing cycle during the PET acquisition.
    misregistration
        Mean displacement of the PET's anatomy: breathing state, and a small rigid shift.
    bladder_filling
        Growth of the bladder between the structural image and PET.
    attenuation
        Bias of a four-class attenuation map (PET/MR only).
    attenuation_mismatch
        Bias where the attenuation map shows another breathing state than PET, most at the dome of
        the diaphragm; nothing without breathing and misregistration, or below full contrast.
    structural_noise
        CT noise, or the Rician noise of MR.
    bias_field
        Smooth intensity modulation of MR by its coils.
    ghosting
        Respiratory ghosts of MR.
    """

    resolution: float = 1.0
    noise: float = 1.0
    contrast: float = 1.0
    breathing: float = 1.0
    misregistration: float = 1.0
    bladder_filling: float = 1.0
    attenuation: float = 1.0
    attenuation_mismatch: float = 1.0
    structural_noise: float = 1.0
    bias_field: float = 1.0
    ghosting: float = 1.0

    def __post_init__(self):
        """Check every strength."""
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InputError(f"Invalid strength {value!r} of factor '{name}'. Must be 0 or more.")
            if name == "contrast" and value > 1:
                raise InputError(f"Invalid strength {value!r} of factor '{name}'. Must be 0 to 1.")

    def record(self) -> dict[str, float]:
        """Name to strength."""
        return asdict(self)


_PET_FACTORS = (
    "resolution",
    "noise",
    "contrast",
    "breathing",
    "misregistration",
    "bladder_filling",
    "attenuation",
    "attenuation_mismatch",
)
# The ladder's four letters and the factors behind each.
_LADDER: dict[str, tuple[str, ...]] = {
    "R": ("resolution",),
    "N": ("noise",),
    "C": ("contrast", "attenuation", "attenuation_mismatch"),
    "A": ("breathing", "misregistration", "bladder_filling"),
}


def factors(strengths: Mapping[str, float] | None = None, *, base: Factors | None = None) -> Factors:
    """`Factors` from a mapping of names to strengths, over a base (default: all at 1).

    Examples
    --------
    >>> factors({"noise": 0}).noise
    0

    Raises
    ------
    InputError
        An unknown factor, or a strength below 0.
    """
    base = base or Factors()
    known = [f.name for f in fields(Factors)]
    for name in strengths or {}:
        if name not in known:
            raise unknown_name("factor", name, known)
    return replace(base, **(strengths or {}))


def only(*names: str) -> Factors:
    """Every factor of PET at 0 but those named (a factor, or a letter of `_LADDER`).

    Examples
    --------
    >>> only("R").resolution, only("R").noise
    (1.0, 0.0)
    """
    off = dict.fromkeys(_PET_FACTORS, 0.0)
    for name in names:
        for factor in _LADDER.get(name, (name,)):
            if factor not in off:
                raise unknown_name("factor of PET", factor, [*_PET_FACTORS, *_LADDER])
            off[factor] = 1.0
    return Factors(**off)
