"""Gaussian point spread on voxels, as wide as it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umdlib.synthetic.scanner.sampling import FWHM_PER_SD, blur

# Variance (voxels) of the kernel that a Gaussian of each standard deviation has on voxels: below half a
# voxel it is smaller than the Gaussian's.
_SD = np.linspace(0.05, 1.5, 291)
_OFFSETS = np.arange(-6, 7)
_KERNELS = np.exp(-0.5 * (_OFFSETS / _SD[:, None]) ** 2)
_VARIANCE = (_KERNELS * _OFFSETS**2).sum(axis=1) / _KERNELS.sum(axis=1)
_INTERPOLATED = 1 / 6  # variance (voxels) that linear interpolation adds, mean over where between voxels


def widened(
    values: np.ndarray,
    spacing_mm: Sequence[float],
    fwhm_mm: float | np.ndarray,
    *,
    sampled: bool | np.ndarray = False,
) -> np.ndarray:
    """Widen an image's point spread by a Gaussian.

    Parameters
    ----------
    values
        (I, J, K).
    spacing_mm
        Voxel edges along the array's axes.
    fwhm_mm
        Full width at half maximum that is added, one or along each axis, by the kernel's variance on voxels.
    sampled
        Whether the result will be interpolated linearly at other places, whose share of the width is left out. Along
        each axis it may be how much of that share: 1 for places anywhere between voxels, 0 for voxels' centres.

    Returns
    -------
    numpy.ndarray
        The values themselves where nothing is missing to the width.
    """
    wanted = (fwhm_mm / FWHM_PER_SD / np.asarray(spacing_mm, float)) ** 2 - _INTERPOLATED * np.asarray(
        sampled, float
    )
    sd = np.where(wanted > _VARIANCE[-1], np.sqrt(np.maximum(wanted, 0)), np.interp(wanted, _VARIANCE, _SD))
    sd = np.where(wanted > 1e-6, sd, 0.0)
    return blur(values, spacing_mm, sd * np.asarray(spacing_mm) * FWHM_PER_SD) if sd.any() else values
