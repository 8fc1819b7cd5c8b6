"""What a NIfTI header means: shape, type, scale, and where its voxels lie."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.formats import check_claim, check_shape

# mm per unit of length (xyzt_units, three bits); 0 is unknown and read as mm, as all programs do
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}

# sform, qform and pixdim may place no corner farther apart than this: programs read different ones
TOLERANCE_VOXELS = 0.5

SPACING_MM = (1e-3, 1e3)
_FARTHEST_MM = 1e6
_LARGEST_OFFSET = 1 << 28

_PAIRS = (b"ni1", b"ni2")
_SIZES = (348, 540)  # of NIfTI-1 and NIfTI-2


@dataclass(frozen=True)
class Header:
    """The facts of a header that reading needs.

    Attributes
    ----------
    shape
        (I, J, K).
    dtype
        Of the file, with its byte order.
    offset
        Byte at which the voxels begin.
    slope, intercept
        1 and 0 where the values are not scaled.
    affine
        (4, 4) float64, voxel index to world (RAS+, mm).
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray


def header_size(start: bytes) -> int:
    """Bytes of the header that these four bytes begin; 0 where they begin none."""
    sizes = (int.from_bytes(start[:4], order) for order in ("little", "big"))
    return next((size for size in sizes if size in _SIZES), 0) if len(start) >= 4 else 0


def voxel_count(path: str | Path) -> int:
    """Number of voxels of an image by its header alone; 0 where that cannot be read.

    Examples
    --------
    >>> voxel_count("absent.nii.gz")
    0
    """
    import nibabel as nib

    try:
        with open(path, "rb") as file:
            start = file.read(4)
        with (gzip.open if start[:2] == b"\x1f\x8b" else open)(path, "rb") as file:
            raw = file.read(max(_SIZES))
        size = header_size(raw)
        return math.prod(_shape(_fields(raw[:size]), Path(path)) if size else nib.load(path).shape)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError):
        return 0


def is_pair(raw: bytes) -> bool:
    """Whether the voxels of a NIfTI header lie in a second file (.img)."""
    return _magic(_fields(raw)) in _PAIRS


def _fields(raw: bytes) -> np.ndarray:
    """The fields of a header of either version."""
    return _of_bytes(raw).structarr


def _magic(fields: np.ndarray) -> bytes:
    """Kind of NIfTI file, by its header."""
    return bytes(fields["magic"]).rstrip(b"\0\r\n\x1a")


def parse(raw: bytes, path: Path, *, stored: int, deflated: bool, two_files: bool = False) -> Header:
    """Facts of a NIfTI-1 or NIfTI-2 header.

    Parameters
    ----------
    raw
        348 or 540 bytes.
    path
        What errors call it.
    stored, deflated
        Bytes of the file that holds the voxels, and whether it is compressed: what it claims must be possible.
    two_files
        Whether the voxels lie in a file of their own (.hdr and .img).

    Raises
    ------
    InputError
        Not NIfTI in one file; other than three axes longer than 1; colours or complex numbers; a
        scale, an offset or a unit that is not one; no place in the world, or two different ones;
        axes that are not perpendicular.
    """
    fields = _fields(raw)
    magic = _magic(fields)
    if magic in _PAIRS and not two_files:
        raise InputError(
            f"File {path} is the header of a pair (.hdr and .img). In a cohort an image is one file, which its hash "
            "covers: `umdlib import` makes one file of the two."
        )
    if magic not in (_PAIRS if two_files else (b"n+1", b"n+2")):
        raise InputError(
            f"File {path} is not a NIfTI file: its magic is {magic!r} (Analyze 7.5, or damaged). Convert it."
        )
    slope, intercept = _scale(fields, path)
    shape, dtype = _shape(fields, path), _dtype(fields, path)
    offset = _offset(fields, 0 if two_files else len(raw), path)
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    check_claim(claimed, stored - (0 if deflated else offset), path, deflated=deflated)
    return Header(shape, dtype, offset, slope, intercept, _affine(fields, shape, path))


def _of_bytes(raw: bytes):
    """nibabel's header of 348 or 540 bytes."""
    import nibabel as nib

    return (nib.Nifti1Header if len(raw) == _SIZES[0] else nib.Nifti2Header)(raw, check=False)


def labelled(raw: bytes, dtype: np.dtype):
    """The header of an image changed to one of labels on its grid: type, scale and words, nothing else."""
    header = _of_bytes(raw)
    header.set_data_dtype(dtype)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"], header["aux_file"] = b"labels", b""
    header["intent_code"], header["intent_name"] = 0, b""
    header["magic"], header["vox_offset"] = header.single_magic, len(raw) + 4
    return header


def _shape(fields: np.ndarray, path: Path) -> tuple[int, int, int]:
    """Three axes longer than 1."""
    n = int(fields["dim"][0])
    shape = tuple(int(v) for v in fields["dim"][1 : n + 1]) if 0 < n < 8 else ()
    check_shape(shape, path)
    return shape[:3]


def _dtype(fields: np.ndarray, path: Path) -> np.dtype:
    """Integers or real numbers."""
    from nibabel.nifti1 import data_type_codes

    code = int(fields["datatype"])
    try:
        dtype = np.dtype(data_type_codes.dtype[code])
    except KeyError:
        raise InputError(f"File {path} cannot be read as NIfTI: there is no data type {code}.") from None
    if dtype.fields:
        raise InputError(f"File {path} holds colours (RGB). A volume holds one value per voxel.")
    if dtype.kind not in "iuf":
        raise InputError(f"File {path} holds {dtype}. A volume holds integers or real numbers.")
    return dtype.newbyteorder(fields["datatype"].dtype.byteorder)


def _scale(fields: np.ndarray, path: Path) -> tuple[float, float]:
    """Slope and intercept; a slope that is 0 or not a number means that the values are not scaled."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise InputError(f"File {path} cannot be read as NIfTI: its scl_inter is {intercept}.")
    return slope, intercept


def _offset(fields: np.ndarray, size: int, path: Path) -> int:
    """Where the voxels begin; 0 stands for the end of the header."""
    offset = float(fields["vox_offset"])
    if offset == 0:
        return size + 4 if size else 0
    if not size <= offset <= _LARGEST_OFFSET:
        raise InputError(
            f"File {path} cannot be read as NIfTI: its voxels would begin at byte {offset:g} (vox_offset). "
            f"Must be {size + 4 if size else 0} or somewhat more."
        )
    return int(offset)


def _affine(fields: np.ndarray, shape: tuple[int, int, int], path: Path) -> np.ndarray:
    """Voxel index to world in mm, from the sform where it is valid, else from the qform."""
    unit = int(fields["xyzt_units"]) & 7
    if unit not in _UNITS_MM:
        raise InputError(f"File {path} gives its lengths in unit {unit} (xyzt_units). Must be m, mm or µm.")
    sform, qform = _sform(fields), _qform(fields, path)
    if sform is None and qform is None:
        raise _no_place(fields, path)
    if sform is not None:
        other, name = (qform, "qform") if qform is not None else (_by_pixdim(fields, sform), "pixdim")
        _check_agreement(sform, other, name, shape, path)
    affine = qform if sform is None else sform
    if _UNITS_MM[unit] != 1:
        affine[:3] *= _UNITS_MM[unit]
    check_affine(affine, path)
    return affine


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Raise unless the axes are perpendicular, the voxels of a size, and the place one in a room."""
    low, high = SPACING_MM
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what is too large for a square is too large for a voxel
        spacing = np.sqrt((affine[:3, :3].astype(float) ** 2).sum(axis=0))
    if not (low <= spacing.min() and spacing.max() <= high):
        shown = " x ".join(f"{v:.3g}" for v in spacing)
        raise InputError(f"Voxels of {path} measure {shown} mm. Must be {low:g} to {high:g} mm.")
    if np.abs(affine[:3, 3]).max() > _FARTHEST_MM:
        raise InputError(
            f"The first voxel of {path} lies at {affine[:3, 3].tolist()} mm. Nothing is that far."
        )
    if not geometry.is_orthogonal(affine, tolerance=5e-3):
        raise InputError(
            f"The voxel axes of {path} are not perpendicular (a tilted gantry?). Distances in mm need "
            "that: resample it and its reference to a grid that is."
        )


def _sform(fields: np.ndarray) -> np.ndarray | None:
    """The sform where its code says that it is one and it can be inverted."""
    affine = np.eye(4)
    affine[:3] = [fields[f"srow_{axis}"].astype(float) for axis in "xyz"]
    return affine if 0 < int(fields["sform_code"]) <= 5 and _invertible(affine) else None


def _qform(fields: np.ndarray, path: Path) -> np.ndarray | None:
    """The qform where its code says that it is one, by the formula of the NIfTI-1 header file."""
    from nibabel.quaternions import quat2mat

    if not 0 < int(fields["qform_code"]) <= 5:
        return None
    b, c, d = (float(fields[f"quatern_{axis}"]) for axis in "bcd")
    length = np.sqrt(b * b + c * c + d * d) if np.isfinite([b, c, d]).all() else np.inf
    pixdim = fields["pixdim"][:4].astype(float)
    if length > 1.001 or not np.isfinite(pixdim).all() or (pixdim[1:] == 0).any():
        return None
    if (pixdim[1:] < 0).any():
        if _sform(fields) is not None:
            return None
        raise InputError(
            f"Voxel sizes of {path} are negative (pixdim {pixdim[1:].tolist()}): some programs mirror such "
            "an image, others do not. Save it with an sform."
        )
    if length > 1:  # by rounding
        b, c, d = b / length, c / length, d / length
    a = np.sqrt(max(0.0, 1 - np.dot([b, c, d], [b, c, d])))
    if pixdim[0] < 0:
        pixdim[3] *= -1
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([a, b, c, d]) @ np.diag(pixdim[1:])
    affine[:3, 3] = [float(fields[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine if _invertible(affine) else None


def _by_pixdim(fields: np.ndarray, sform: np.ndarray) -> np.ndarray | None:
    """The sform with the voxel sizes of pixdim, as ITK reads a file without a qform; None without any."""
    pixdim = np.abs(fields["pixdim"][1:4].astype(float))
    if not np.isfinite(pixdim).all() or (pixdim == 0).any():
        return None
    affine = sform.copy()
    affine[:3, :3] *= np.minimum(pixdim, 1e12) / np.sqrt((sform[:3, :3] ** 2).sum(axis=0))
    return affine


def _check_agreement(
    sform: np.ndarray, other: np.ndarray | None, name: str, shape: tuple[int, int, int], path: Path
) -> None:
    """Raise where two descriptions place a corner apart; a qform cannot hold a sform's shears."""
    if other is None:
        return
    straight = sform.copy()
    size = np.sqrt((sform[:3, :3] ** 2).sum(axis=0))
    left, _, right = np.linalg.svd(sform[:3, :3] / size)
    if name == "qform":
        straight[:3, :3] = left @ right * size
    voxels, mm = geometry.corner_distance(straight, other, shape)
    if voxels > TOLERANCE_VOXELS:
        raise InputError(
            f"sform and {name} of {path} place a corner {mm:.3g} mm ({voxels:.3g} voxels) apart, at most "
            f"{TOLERANCE_VOXELS} voxels are allowed: programs that read the one or the other see different "
            "images. Keep the right one (nibabel: image.set_qform(image.affine), or set_sform)."
        )


def _no_place(fields: np.ndarray, path: Path) -> InputError:
    """Why there is neither sform nor qform."""
    codes = int(fields["sform_code"]), int(fields["qform_code"])
    if codes == (0, 0):
        return InputError(
            f"File {path} does not say where its voxels lie: sform_code and qform_code are 0, and programs "
            "guess differently, left and right included. Save it with an sform."
        )
    rows = [[float(v) for v in fields[f"srow_{axis}"]] for axis in "xyz"]
    return InputError(
        f"The affine of {path} cannot be inverted: sform_code {codes[0]} with {rows}, qform_code {codes[1]}."
    )


def _invertible(affine: np.ndarray) -> bool:
    """Whether three axes span the world."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e12:
        return False
    size = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return size.min() > 1e-9 and abs(np.linalg.det(affine[:3, :3] / size)) > 1e-6
