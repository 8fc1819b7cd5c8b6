"""State and movement of a subject between and during the two images of one session."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

_LIVER_COV = 0.10


@dataclass(frozen=True)
class Acquisition:
    """State and movement of a subject in the two images of one session.

    Attributes
    ----------
    breathing_mm
        Peak-to-peak motion of the dome of the diaphragm during PET.
    misregistration_mm
        Mean downward displacement of the dome in PET against the structural image.
    rigid_mm
        Shift (x, y, z) of the whole body.
    bladder_ml
        Growth of the bladder.
    liver_cov
        Coefficient of variation of PET noise in the liver.
    lung_bias
        Relative error of uptake in lung from the fixed coefficient of a four-class map.
    """

    breathing_mm: float = 12.0
    misregistration_mm: float = 6.0
    rigid_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bladder_ml: float = 60.0
    liver_cov: float = _LIVER_COV
    lung_bias: float = 0.0

    def record(self) -> dict:
        """Plain numbers."""
        return asdict(self) | {"rigid_mm": list(self.rigid_mm)}


def draw_acquisition(rng: np.random.Generator, *, session: str, bmi: float) -> Acquisition:
    """An acquisition drawn from what scanners and patients do."""
    cov = (0.105 if session == "petct" else 0.09) * np.exp(rng.normal(0, 0.12)) * (bmi / 25) ** 0.6
    return Acquisition(
        breathing_mm=round(float(np.clip(rng.normal(13, 3.5), 5, 24)), 2),
        misregistration_mm=round(float(np.clip(rng.normal(5, 5), -6, 16)), 2),
        rigid_mm=tuple(round(float(v), 2) for v in rng.normal(0, 1, 3) * [0.8, 0.8, 1.0]),
        bladder_ml=round(float(np.clip(rng.normal(60, 30), 5, 150)), 1),
        liver_cov=round(float(np.clip(cov, 0.05, 0.2)), 4),
        lung_bias=round(float(np.clip(rng.normal(0.0, 0.10), -0.2, 0.2)), 4),
    )
