"""Volumes and label maps: checked reading, writing of NIfTI files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry, nifti, orientation

UNITS = ("HU", "SUV", "a.u.")

# Share of the largest label by which a float32 slope and intercept may miss a whole number.
_SLOPE_ROUNDING = 8 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Volume:
    """A 3D image.

    Attributes
    ----------
    data
        (I, J, K), intensities in `unit`, finite.
    affine
        (4, 4) float64, voxel index to world (RAS+, mm).
    unit
        ``"HU"``, ``"SUV"`` or ``"a.u."``.
    name
        What errors call it: the file or the case.
    """

    data: np.ndarray
    affine: np.ndarray
    unit: str = "a.u."
    name: str = field(default="volume", compare=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size (I, J, K)."""
        return self.data.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along I, J, K in mm."""
        return geometry.spacing_mm(self.affine)


@dataclass(frozen=True)
class LabelMap:
    """An integer volume, one value per structure, 0 elsewhere.

    Attributes
    ----------
    data
        (I, J, K), uint8 where the values allow it, else uint16.
    affine
        (4, 4) float64, voxel index to world (RAS+, mm).
    name
        What errors call it: the file or the case.
    """

    data: np.ndarray
    affine: np.ndarray
    name: str = field(default="label map", compare=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size (I, J, K)."""
        return self.data.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along I, J, K in mm."""
        return geometry.spacing_mm(self.affine)


def grid_difference(a: Volume | LabelMap, b: Volume | LabelMap) -> str | None:
    """How the grids of two volumes differ, as a phrase; None where they are the same.

    They are the same where they have one shape and no corner lies more than
    `geometry.TOLERANCE_VOXELS` apart.
    """
    if a.shape != b.shape:
        return f"shape {a.shape} against {b.shape}"
    voxels, mm = geometry.corner_distance(a.affine, b.affine, a.shape)
    if voxels <= geometry.TOLERANCE_VOXELS:
        return None
    return (
        f"a corner lies {voxels:.3g} voxels ({mm:.3g} mm) apart, at most {geometry.TOLERANCE_VOXELS} voxels "
        "are allowed"
    )


def onto_grid(label_map: LabelMap, image: Volume | LabelMap) -> LabelMap:
    """A label map on the grid of its image, reordered where only the order of its voxels differs.

    Returns
    -------
    LabelMap
        With the image's affine to the bit.

    Raises
    ------
    InputError
        If the grids differ in more than the order and direction of their axes.
    """
    if difference := grid_difference(image, label_map):
        data = orientation.reordered(label_map.data, label_map.affine, image.affine, image.shape)
        if data is None:
            raise InputError(
                f"Grid of {image.name} differs from its reference {label_map.name}: "
                f"{difference}. The reference must be on the grid of its image."
            )
        return LabelMap(np.asfortranarray(data), image.affine, label_map.name)
    return LabelMap(label_map.data, image.affine, label_map.name)


def read_volume(
    path: str | Path, *, unit: str = "a.u.", nan: float | None = None, two_files: bool = False
) -> Volume:
    """Read an image.

    Parameters
    ----------
    path
        NIfTI file, compressed or not; NRRD, MetaImage and MGH in one file too.
    unit
        Unit of the intensities: HU, SUV or a.u.
    nan
        What voxels that are not a number become (outside the field of view: -1000 HU, 0 SUV);
        None refuses them.
    two_files
        Whether the voxels may lie in a second file (.hdr and .img, .mhd, .nhdr). A cohort holds one file per
        image; the imports make one of two.

    Returns
    -------
    Volume
        float32 unless the file stores unscaled integers, which keep their type.

    Raises
    ------
    InputError
        A missing, truncated or foreign file; 2D, 4D or RGB data; an affine that is not
        invertible; NaN or infinite values; an image that is zero everywhere.
    """
    data, affine = nifti.read(path, two_files=two_files)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted below
        if data.dtype.kind == "f" and data.dtype != np.float32:
            data = data.astype(np.float32)
        # one pass: the sum is finite unless a value is not (an overflow to inf is checked in full)
        finite = data.dtype.kind != "f" or np.isfinite(np.dot(data.ravel("K"), data.ravel("K")))
    if not finite:
        bad = int((~np.isfinite(data)).sum())
        if bad and nan is None:
            raise InputError(
                f"{bad} voxels of {path} are NaN or infinite. All must be finite. Where they lie outside "
                "the field of view, a column `outside` in the manifest says what they are: -1000 (air in HU) or 0 "
                "(no activity); `umdlib import --outside` writes them so."
            )
        data = np.nan_to_num(data, copy=False, nan=nan, posinf=nan, neginf=nan) if bad else data
    if not data.any():
        raise InputError(f"Every voxel of {path} is 0. An image with signal is needed.")
    return Volume(data, affine, unit, str(path))


def read_label_map(
    path: str | Path, *, values: tuple[int, ...] | None = None, two_files: bool = False
) -> LabelMap:
    """Read a label map.

    Parameters
    ----------
    path
        As `read_volume` takes it. Floating-point files are accepted where every value is a whole
        number but for the rounding of a float32 slope.
    values
        The values allowed beside 0; None allows all from 1 to 65535.
    two_files
        As `read_volume` takes it.

    Returns
    -------
    LabelMap
        uint8 or uint16.

    Raises
    ------
    InputError
        A missing, truncated or foreign file; 2D, 4D or RGB data; values that are not whole
        numbers (2.9999), negative, above 65535, or outside `values`.
    """
    data, affine = nifti.read(path, two_files=two_files)
    if data.dtype == np.uint8 and values is None:  # can hold no other values
        return LabelMap(data, affine, str(path))
    occurring = _occurring(data)
    if data.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):  # what is not a number is not a whole one
            data, occurring = _whole(data, occurring, path)
    low, high = occurring.min(), occurring.max()
    if low < 0 or high > 65535:
        raise InputError(f"Label values of {path} run from {low} to {high}. Must be 0 to 65535.")
    if values is not None:
        counts = np.bincount(occurring.astype(np.uint16))
        stray = set(np.flatnonzero(counts).tolist()) - {0, *values}
        if stray:
            raise InputError(
                f"Label value {min(stray)} in {path} is not a structure of the cohort. "
                f"Known values: {', '.join(map(str, values))}."
            )
    data = data.astype(np.uint8 if high < 256 else np.uint16, copy=False)
    return LabelMap(data, affine, str(path))


def _whole(data: np.ndarray, occurring: np.ndarray, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Label values without what the float32 slope of a header leaves of rounding."""
    whole = np.rint(occurring)
    if np.array_equal(whole, occurring):
        return data, occurring
    finite = occurring[np.isfinite(occurring)]
    allowed = _SLOPE_ROUNDING * min(max(1.0, float(np.abs(finite).max(initial=0.0))), 65535)
    far = ~(np.abs(data - np.rint(data)) <= allowed)
    if far.any():
        raise InputError(
            f"Label value {data[far].flat[0]!s} in {path} is not a whole number "
            f"({int(far.sum())} voxels). A label map holds integers."
        )
    return np.rint(data), whole


def _occurring(data: np.ndarray) -> np.ndarray:
    """All values of a volume, those in long runs only a few times.

    Of the eight-byte words of the array, one that repeats the word before it is left out.
    """
    flat = data.ravel("K")
    whole = flat.nbytes // 8 * (8 // data.itemsize)
    words = flat[:whole].view(np.uint64)
    found = [words[:1].view(data.dtype), flat[whole:]]
    for start in range(1, len(words), nifti.PIECE):
        here = words[start : start + nifti.PIECE]
        found.append(here[here != words[start - 1 : start - 1 + len(here)]].view(data.dtype))
    return np.concatenate(found)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write an image as float32 (or its integer type), atomically: a reader never sees half a file."""
    nifti.write(path, volume.data, volume.affine, volume.unit)


def write_label_map(path: str | Path, label_map: LabelMap) -> None:
    """Write a label map in its integer type, unscaled, atomically."""
    nifti.write(path, label_map.data, label_map.affine, "labels")


def write_mask(path: str | Path, mask: np.ndarray, image: Volume, *, like: str | Path | None = None) -> None:
    """Write a mask on its image's own grid, atomically.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.
    mask
        Boolean (I, J, K), or labels in unsigned integers.
    image
        That it was made of.
    like
        The image's file: a NIfTI header is taken over to the bit, but for type and scale. None makes a
        new header with the image's affine.

    Raises
    ------
    InputError
        A mask of another shape or type; another ending; a file that cannot be written.
    """
    mask = np.asarray(mask)
    if mask.shape != image.shape or mask.dtype.kind not in "bu":
        raise InputError(
            f"Invalid mask {mask.dtype} {mask.shape} of {image.name}. Must be boolean or unsigned, {image.shape}."
        )
    nifti.write_like(path, mask, image.affine, like)


def write_bits(path: str | Path, bits: np.ndarray, affine: np.ndarray) -> None:
    """Write a bit-mask volume (unsigned; bit b of a voxel is mask b), atomically."""
    nifti.write(path, bits, affine, "bit masks")


def read_bits(path: str | Path, *, on: LabelMap | None = None) -> np.ndarray:
    """Read a bit-mask volume (I, J, K), unsigned.

    Raises
    ------
    InputError
        As `read_volume` does; other than unsigned integers; another grid than that of `on`.
    """
    data, affine = nifti.read(path)
    if data.dtype.kind != "u":
        raise InputError(f"File {path} holds {data.dtype}. Bit masks are unsigned integers.")
    if on is not None:
        difference = grid_difference(LabelMap(data, affine, str(path)), on)
        if difference is not None:
            raise InputError(f"Masks {path} are not on the grid of {on.name}: {difference}. Score it again.")
    return data
