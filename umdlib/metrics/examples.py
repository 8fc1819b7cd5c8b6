"""Example masks with answers that can be checked by eye."""

from __future__ import annotations

import numpy as np


def ellipsoid(shape: tuple, spacing_mm: tuple, centre_mm: tuple, half_mm: tuple) -> np.ndarray:
    """Make a boolean mask (I, J, K) of an ellipsoid; the centre counts from the middle of the volume.

    Examples
    --------
    >>> int(ellipsoid((3, 3, 3), (1, 1, 1), (0, 0, 0), (1.1, 1.1, 1.1)).sum())
    7
    """
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    parts = zip(axes, shape, spacing_mm, centre_mm, half_mm, strict=True)
    return sum((((a - (n - 1) / 2) * s - c) / h) ** 2 for a, n, s, c, h in parts) <= 1


def pair() -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Make a reference, a prediction and their spacing: a ball, the ball moved and cut, and a far spot."""
    shape, spacing = (44, 30, 24), (2.0, 2.0, 2.0)
    reference = ellipsoid(shape, spacing, (-14, 0, 0), (20, 20, 18))
    prediction = ellipsoid(shape, spacing, (-11, 2, 0), (20, 20, 18))
    prediction[:, :7] = False
    return reference, prediction | ellipsoid(shape, spacing, (35, 0, 0), (6, 6, 6)), spacing
