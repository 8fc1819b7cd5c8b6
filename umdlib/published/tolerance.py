"""What a tolerance without a unit would mean: the same NSD in millimetres and in voxels."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.errors import InputError


def dice_at_nsd(nsd: float, tolerance_mm: float, volume_ml: float) -> float:
    """DSC of a ball whose surface is off by normal distances with this NSD.

    If signed distances between two surfaces are normal with mean 0, the NSD is the share of them
    within the tolerance, which gives their SD; their mean size is √(2/π) SD. The two masks of a ball of
    volume V and surface S then differ by about that size times S, so that DSC = 1 - size S / 2V.

    Parameters
    ----------
    nsd
        Normalised surface Dice, above 0 and below 1.
    tolerance_mm
        Tolerance in mm.
    volume_ml
        Volume of the structure.

    Returns
    -------
    float
        0 where the surfaces would be farther apart than the ball is large.

    Raises
    ------
    InputError
        If a number is out of range.

    Notes
    -----
    A ball has the smallest surface of its volume: a real organ with the same distances has a lower DSC.

    Examples
    --------
    >>> round(dice_at_nsd(0.5, 1.0, 1500.0), 3), round(dice_at_nsd(0.5, 4.0, 1500.0), 3)
    (0.975, 0.9)
    """
    if not 0 < nsd < 1 or tolerance_mm <= 0 or volume_ml <= 0:
        raise InputError(
            f"Invalid NSD {nsd}, tolerance {tolerance_mm} mm or volume {volume_ml} ml. NSD must lie between 0 "
            "and 1, the others above 0."
        )
    sd = tolerance_mm / scipy.stats.norm.ppf((1 + nsd) / 2)
    size = sd * np.sqrt(2 / np.pi)
    radius = (3 * 1000 * volume_ml / (4 * np.pi)) ** (1 / 3)
    return float(max(0.0, 1 - size * 3 / radius / 2))
