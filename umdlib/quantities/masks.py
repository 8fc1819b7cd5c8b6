"""Volume, SUVmean, SUVmax, SUVpeak, total lesion glycolysis and mean HU of masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.images.volume import Volume

# Quantity -> unit of the image that it is read off; "" for any.
QUANTITIES: dict[str, str] = {
    "ml": "",
    "suv_mean": "SUV",
    "suv_max": "SUV",
    "suv_peak": "SUV",
    "tlg": "SUV",
    "hu_mean": "HU",
}

_PEAK_ML = 1.0

# Why an image gives none of the intensities.
NO_SCALE = "the signal has no scale: a mean of it means nothing"


class Reading:
    """Quantities of many masks of one image; what they share is computed once.

    SUVpeak is the largest mean over a sphere of 1 ml (radius 6.2 mm) whose centre is a voxel of the
    mask; the sphere may reach beyond the mask, as a region of fixed size does (Wahl et al. 2009,
    doi:10.2967/jnumed.108.057307; IBSI's global intensity peak). Of a sphere the voxels count whose
    centres lie in it.

    Parameters
    ----------
    image
        Intensities (I, J, K) with their unit and spacing.
    """

    def __init__(self, image: Volume) -> None:
        self._order = "C" if image.data.flags.c_contiguous and not image.data.flags.f_contiguous else "F"
        self._flat = _flat(image.data, self._order)
        self._image = image
        self._means: np.ndarray | None = None

    def of_bits(self, bits: np.ndarray, n: int) -> pd.DataFrame:
        """Quantities of the first `n` masks of a bit-mask volume (I, J, K), one row a bit.

        Returns
        -------
        pandas.DataFrame
            Columns `QUANTITIES`. What the image's unit does not give is NaN, and so is everything
            but the volume (0 ml) of an empty mask.

        Raises
        ------
        InputError
            Another shape than the image's; a volume that holds no unsigned integers.
        """
        if bits.shape != self._image.shape:
            raise InputError(
                f"Masks have shape {bits.shape}, {self._image.name} {self._image.shape}. Both must be on one grid."
            )
        if bits.dtype.kind != "u":
            raise InputError(f"A bit-mask volume holds {bits.dtype}. Must be unsigned integers.")
        from umdlib.kernels import intensities

        flat = _flat(bits, self._order)
        count, total = np.zeros(n, np.int64), np.zeros(n)
        highest, peak = np.full(n, -np.inf), np.full(n, -np.inf)
        intensities.sums(self._flat, flat, count, total, highest)
        if self._image.unit == "SUV" and count.any():
            self._peaks(flat, peak)
        return self._table(count, total, highest, peak)

    def _peaks(self, bits: np.ndarray, peak: np.ndarray) -> None:
        """Largest sphere mean of each mask, in place."""
        from umdlib.kernels import intensities

        if self._means is None:
            self._means = np.full(len(self._flat), np.nan, np.float32)
        offsets = sphere(self._image.spacing_mm)
        shape = np.array(self._image.shape)
        if self._order == "C":
            shape, offsets = shape[::-1].copy(), offsets[:, ::-1].copy()
        reach = np.abs(offsets).max(axis=0)
        intensities.peaks(self._flat, bits, self._means, offsets, shape, reach, peak)

    def _table(self, count, total, highest, peak) -> pd.DataFrame:
        """Quantities of counts, sums and maxima."""
        unit, here = self._image.unit, count > 0
        ml = count * float(np.prod(self._image.spacing_mm)) / 1000
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=here)
        nothing = np.full(len(count), np.nan)
        suv = unit == "SUV"
        return pd.DataFrame(
            {
                "ml": ml,
                "suv_mean": mean if suv else nothing,
                "suv_max": np.where(here, highest, np.nan) if suv else nothing,
                "suv_peak": np.where(here, peak, np.nan) if suv else nothing,
                "tlg": mean * ml if suv else nothing,
                "hu_mean": mean if unit == "HU" else nothing,
            }
        )


def quantify(image: Volume, masks: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Quantities of named masks of one image.

    Parameters
    ----------
    image
        Intensities (I, J, K) in SUV (SUVmean, SUVmax, SUVpeak, TLG), HU (mean) or a.u. (volume alone).
    masks
        Name to boolean mask (I, J, K).

    Returns
    -------
    pandas.DataFrame
        One row per mask, index its name, columns `QUANTITIES`: ml, SUV, SUV × ml, HU.

    Raises
    ------
    InputError
        A mask of another shape.

    Examples
    --------
    >>> data = np.full((9, 9, 9), 2.0, np.float32)
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:7, 2:7, 2:7] = True
    >>> quantify(Volume(data, np.diag([4.0, 4, 4, 1]), "SUV"), {"ball": mask}).loc["ball"].tolist()
    [8.0, 2.0, 2.0, 2.0, 16.0, nan]
    """
    reading = Reading(image)
    rows = [reading.of_bits(np.asarray(m).astype(np.uint8), 1) for m in masks.values()]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(QUANTITIES))
    return table.set_axis(list(masks))


def sphere(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Voxel offsets (n, 3) whose centres lie in a sphere of `_PEAK_ML` around a voxel's centre.

    Examples
    --------
    >>> [len(sphere((s, s, s))) for s in (20.0, 4.0, 2.0)]
    [1, 19, 123]
    """
    radius = (3000 * _PEAK_ML / (4 * np.pi)) ** (1 / 3)
    half = [int(radius // s) for s in spacing_mm]
    offsets = np.stack(np.meshgrid(*[np.arange(-h, h + 1) for h in half], indexing="ij"), -1).reshape(-1, 3)
    far = ((offsets * np.array(spacing_mm)) ** 2).sum(axis=1)
    return offsets[far <= radius**2]


def undefined_reason(unit: str) -> str:
    """Why an image in a unit gives no intensities; ``""`` where it does."""
    return NO_SCALE if unit not in ("SUV", "HU") else ""


def _flat(array: np.ndarray, order: str) -> np.ndarray:
    """A volume as one row of voxels, in a given memory order."""
    return array.ravel(order)
