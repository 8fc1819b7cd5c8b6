"""Display windows: what is black and what is white, one per unit, for every picture of the book."""

from __future__ import annotations

import numpy as np

# (low, high) of the grey scale: CT soft tissue; PET as read, SUV 0 to 5. MR has no scale of its own.
_WINDOWS: dict[str, tuple[float, float]] = {"HU": (-160.0, 240.0), "SUV": (0.0, 5.0)}
# Windows in which a structure shows that the usual one hides.
SUITED: dict[str, dict[str, tuple[float, float]]] = {
    "lung": {"HU": (-1000.0, 150.0)},
    "brain": {"HU": (0.0, 80.0), "SUV": (0.0, 10.0)},
}


def window(unit: str, data: np.ndarray, structure: str = "") -> tuple[float, float]:
    """Lowest and highest intensity shown.

    Parameters
    ----------
    unit
        ``"HU"``, ``"SUV"`` or another, whose window is 0 to the 99.5th percentile of what is above 0.
    data
        Intensities; read for units without a window only.
    structure
        Name of the structure that must be seen; ``""`` for none.

    Examples
    --------
    >>> window("SUV", np.zeros(1)), window("HU", np.zeros(1), "lung")
    ((0.0, 5.0), (-1000.0, 150.0))
    >>> window("a.u.", np.arange(201.0))
    (0.0, 199.005)
    """
    suited = SUITED.get(structure, {})
    if unit in suited or unit in _WINDOWS:
        return suited.get(unit) or _WINDOWS[unit]
    seen = data[data > 0]
    # every n-th voxel gives a percentile as well
    return 0.0, float(np.percentile(seen[:: max(seen.size // 200_000, 1)], 99.5)) if seen.size else 1.0


def grey(unit: str, values: np.ndarray, shown: tuple[float, float]) -> np.ndarray:
    """Grey values from 0, black, to 1, white, of intensities; PET is inverted: hot is dark.

    Examples
    --------
    >>> grey("HU", np.array([-160.0, 40.0]), (-160.0, 240.0)), grey("SUV", np.array([5.0]), (0.0, 5.0))
    (array([0. , 0.5]), array([0.]))
    """
    share = np.clip((values - shown[0]) / (shown[1] - shown[0]), 0, 1)
    return 1 - share if unit == "SUV" else share
