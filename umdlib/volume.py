"""Volumes and label maps: checked reading and writing of NIfTI files."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from umdlib import geometry
from umdlib.errors import InputError

try:  # five times faster than zlib on label maps, the same bytes
    from isal import igzip as fast_gzip
except ImportError:  # pragma: no cover - isal has no wheel for this platform
    fast_gzip = gzip

UNITS = ("HU", "SUV", "a.u.")


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


def same_grid(a: Volume | LabelMap, b: Volume | LabelMap, *, tolerance_mm: float = 1e-3) -> bool:
    """Whether two volumes have one shape and affines that place every corner within `tolerance_mm`."""
    return grid_difference(a, b, tolerance_mm=tolerance_mm) is None


def grid_difference(
    a: Volume | LabelMap, b: Volume | LabelMap, *, tolerance_mm: float = 1e-3
) -> str | None:
    """How the grids of two volumes differ, as a phrase; None where they are the same."""
    if a.shape != b.shape:
        return f"shape {a.shape} against {b.shape}"
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape])).reshape(3, -1).T
    distance = np.abs(geometry.to_world(a.affine, corners) - geometry.to_world(b.affine, corners))
    if distance.max() > tolerance_mm:
        return f"a corner lies {distance.max():.3g} mm apart"
    return None


def read_volume(path: str | Path, *, unit: str = "a.u.") -> Volume:
    """Read an image.

    Parameters
    ----------
    path
        NIfTI file (`.nii` or `.nii.gz`).
    unit
        Unit of the intensities: HU, SUV or a.u.

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
    data, affine = _read(path)
    if not np.issubdtype(data.dtype, np.integer) and data.dtype != np.float32:
        data = data.astype(np.float32)
    # one pass: the sum is finite unless a value is not (an overflow to inf is checked in full)
    if np.issubdtype(data.dtype, np.floating) and not np.isfinite(
        np.dot(data.ravel("K"), data.ravel("K"))
    ):
        bad = int((~np.isfinite(data)).sum())
        if bad:
            raise InputError(f"{bad} voxels of {path} are NaN or infinite. All must be finite.")
    if not data.any():
        raise InputError(f"Every voxel of {path} is 0. An image with signal is needed.")
    return Volume(data, affine, unit, str(path))


def read_label_map(path: str | Path, *, values: tuple[int, ...] | None = None) -> LabelMap:
    """Read a label map.

    Parameters
    ----------
    path
        NIfTI file. Floating-point files are accepted where every value is a whole number.
    values
        The values allowed beside 0; None allows all from 1 to 65535.

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
    data, affine = _read(path)
    if not np.issubdtype(data.dtype, np.integer):
        whole = np.rint(data)
        wrong = data[whole != data]
        if wrong.size:
            raise InputError(
                f"Label value {wrong.flat[0]:.6g} in {path} is not a whole number "
                f"({wrong.size} voxels). A label map holds integers."
            )
        data = whole
    if data.dtype == np.uint8:  # holds no other values: no pass over the volume
        low, high = 0, 255
    else:
        low, high = (data.min(), data.max()) if data.size else (0, 0)
    if low < 0 or high > 65535:
        raise InputError(f"Label values of {path} run from {low} to {high}. Must be 0 to 65535.")
    data = data.astype(np.uint8 if high < 256 else np.uint16, copy=False)
    if values is not None:
        present = np.flatnonzero(np.bincount(data.ravel("K"), minlength=1)[1:]) + 1
        stray = sorted(set(present.tolist()) - set(values))
        if stray:
            raise InputError(
                f"Label value {stray[0]} in {path} is no structure of the cohort. "
                f"Known values: {', '.join(map(str, values))}."
            )
    return LabelMap(data, affine, str(path))


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write an image as float32 (or its integer type), atomically: a reader never sees half a file."""
    _write(path, volume.data, volume.affine, volume.unit)


def write_label_map(path: str | Path, label_map: LabelMap) -> None:
    """Write a label map in its integer type, unscaled, atomically."""
    _write(path, label_map.data, label_map.affine, "labels")


def write_bits(path: str | Path, bits: np.ndarray, affine: np.ndarray) -> None:
    """Write a bit-mask volume (unsigned; bit b of a voxel is mask b), atomically."""
    _write(path, bits, affine, "bit masks")


def read_bits(path: str | Path) -> np.ndarray:
    """Read a bit-mask volume (I, J, K), unsigned. Raises InputError as `read_volume` does."""
    data, _ = _read(path)
    if data.dtype.kind != "u":
        raise InputError(f"File {path} holds {data.dtype}. Bit masks are unsigned integers.")
    return data


def _read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Array (I, J, K) in native byte order with its scaling applied, and affine."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"File {path} does not exist.")
    opener = fast_gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            header, affine, dtype, shape = _read_header(stream, path)
            data = np.empty(int(np.prod(shape)), dtype)
            view = memoryview(data).cast("B")
            filled = 0
            while filled < len(view):
                got = stream.readinto(view[filled:])
                if not got:
                    raise EOFError
                filled += got
    except EOFError:
        raise InputError(f"File {path} is truncated: it ends before its last voxel.") from None
    except (gzip.BadGzipFile, zlib.error, nib.spatialimages.HeaderDataError) as error:
        raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"File {path} cannot be read: {reason}.") from None
    except Exception as error:
        # isal raises a class of its own for damaged streams
        if type(error).__module__.startswith("isal"):
            raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
        raise
    data = data.reshape(shape, order="F")
    slope, intercept = header.get_slope_inter()
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        data = data * np.float32(slope) + np.float32(intercept or 0)
    return data.astype(data.dtype.newbyteorder("="), copy=False), affine


def _read_header(stream, path: Path):
    """NIfTI-1 or -2 header, affine, dtype and 3D shape; the stream is left at the first voxel."""
    start = stream.read(4)
    size = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    kind = size.get(int.from_bytes(start, "little")) or size.get(int.from_bytes(start, "big"))
    if len(start) < 4 or kind is None:
        raise InputError(f"File {path} is no NIfTI file: its header is missing.")
    rest = stream.read(kind.sizeof_hdr - 4)
    if len(rest) < kind.sizeof_hdr - 4:
        raise EOFError
    header = kind(start + rest)
    shape = header.get_data_shape()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    dtype = header.get_data_dtype()
    if dtype.fields:
        raise InputError(f"File {path} holds colours (RGB). A volume holds one value per voxel.")
    if len(shape) != 3 or 1 in shape:
        raise InputError(f"File {path} has shape {shape}. A volume has three axes longer than 1.")
    if dtype.kind not in "iuf":
        raise InputError(f"File {path} holds {dtype}. A volume holds integers or real numbers.")
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"The affine of {path} cannot be inverted: {affine[:3].tolist()}.")
    stream.seek(int(header.get_data_offset()) or kind.single_vox_offset)
    return header, affine, dtype, shape


def _write(path: str | Path, data: np.ndarray, affine: np.ndarray, description: str) -> None:
    """NIfTI-1 with sform and qform in scanner space, mm, without a time stamp in the gzip header."""
    path = Path(path)
    if data.dtype == np.float64:
        data = data.astype(np.float32)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    raw = image.to_bytes()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            if path.suffix == ".gz":
                with fast_gzip.GzipFile("", "wb", compresslevel=2, fileobj=file, mtime=0) as stream:
                    stream.write(raw)
            else:
                file.write(raw)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)
