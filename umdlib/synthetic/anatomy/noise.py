"""Smooth random fields: uniform cubic B-splines with random coefficients, the same on any grid."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.synthetic.anatomy import kernel

# Coefficients beyond this many standard deviations are cut: it bounds every field.
_CUT = 2.5
# Standard deviation of a 3D cubic B-spline field with unit coefficients, averaged over positions:
# (151 / 315) ** (3 / 2), the integral of the squared basis along each axis.
_UNIT_SD = (151 / 315) ** 1.5


class SplineField:
    """A smooth random scalar field over a box.

    Parameters
    ----------
    rng
        Draws the coefficients.
    low_mm, high_mm
        Corners of the box; the field is continued beyond by its edge coefficients.
    knots_mm
        Distance of the control points, one number or one per axis: features are twice as long.
    sd
        Standard deviation of the field.

    Notes
    -----
    A deformation whose coefficients stay below 0.4 times the knot distance is one-to-one
    (Choi & Lee 2000, doi 10.1006/gmod.2000.0531), hence keeps topology.
    """

    def __init__(self, rng, low_mm, high_mm, knots_mm, sd: float):
        """Draw the coefficients."""
        low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
        knots = np.broadcast_to(np.asarray(knots_mm, float), 3)
        shape = np.ceil((high - low) / knots).astype(int) + 4
        draw = np.clip(rng.standard_normal(shape), -_CUT, _CUT)
        self.coefficients = (draw * (sd / _UNIT_SD)).astype(np.float32)
        self.low, self.knots_mm = low - 1.5 * knots, knots

    @property
    def bound(self) -> float:
        """No value of the field is larger than this."""
        return float(np.abs(self.coefficients).max())

    def on_axes(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values (len(x), len(y), len(z)) float32 on the grid that three axes (mm) span."""
        value = self.coefficients
        for axis, at in enumerate((x, y, z)):
            value = np.ascontiguousarray(np.moveaxis(value, axis, -1))
            first, weights = self._basis(np.asarray(at, float), axis)
            out = np.empty((*value.shape[:2], len(at)), np.float32)
            kernel.spline(value, first, weights, out)
            value = np.moveaxis(out, -1, axis)
        return value

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values (N,) at points (N, 3) in mm."""
        index = (np.asarray(points, float) - self.low) / self.knots_mm
        index = np.clip(index, 1, np.array(self.coefficients.shape) - 2)
        return scipy.ndimage.map_coordinates(
            self.coefficients, index.T, order=3, prefilter=False, mode="nearest"
        )

    def _basis(self, at: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """First coefficient (K,) and weights (K, 4) of the cubic B-spline along one axis."""
        n = self.coefficients.shape[axis]
        index = np.clip((at - self.low[axis]) / self.knots_mm[axis], 1, n - 2)
        first = np.clip(np.floor(index).astype(np.int64) - 1, 0, n - 4)
        t = index - 1 - first
        weights = (
            np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t * (1 + t - t**2)) + 1, t**3], axis=1) / 6
        )
        return first, weights.astype(np.float32)
