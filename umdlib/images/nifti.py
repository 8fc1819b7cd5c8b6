"""NIfTI files: headers by nibabel, voxels inflated straight into an array and deflated out of it."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from umdlib.errors import InputError
from umdlib.files import replaced
from umdlib.images import geometry

try:  # several times as fast as zlib on label maps, in the same format
    from isal import igzip as fast_gzip
    from isal import isal_zlib as fast_zlib
except ImportError:  # pragma: no cover - isal has no wheel for this platform
    fast_gzip, fast_zlib = gzip, zlib
try:  # inflates long runs twice as fast as isal, noise half as fast
    from zlib_ng import gzip_ng as runs_gzip
except ImportError:  # pragma: no cover - zlib-ng has no wheel for this platform
    runs_gzip = fast_gzip

# A volume this many times as large as its file consists of runs: label maps, not images.
RUNS = 20

# Level of isal (the best that is fast) and a fast one of zlib; a gzip header and checksum.
LEVEL, GZIP = 2, zlib.MAX_WBITS + 16

# A piece of this size stays in the processor's cache from one step to the next; what is inflated is
# best a quarter of it, beside the inflater's own tables.
PIECE = 1 << 20
INFLATED = 1 << 18

# Memory of arrays that are gone, at most this many; only of arrays of this size or larger.
SPARE_BLOCKS = 2
SPARE_LEAST = 1 << 22

# Arrays of that size begin at the start of a line of the cache.
LINE = 64

_spare: list[np.ndarray] = []


class _Block:
    """Memory of one array, handed on to another array of its size when this one is gone.

    A new array costs more than filling it: the system clears every page at its first touch.
    """

    def __init__(self, raw: np.ndarray, size: int):
        self.raw = raw
        start = -raw.ctypes.data % LINE
        self.__array_interface__ = raw[start : start + size].__array_interface__

    def __del__(self, spare=_spare):
        spare.append(self.raw)
        del spare[:-SPARE_BLOCKS]


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in Fortran order with any content, in memory that was used before where there is some.

    Examples
    --------
    >>> empty((2, 3, 4), np.uint8).flags.f_contiguous
    True
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < SPARE_LEAST:
        return np.empty(shape, dtype, order="F")
    fitting = [n for n, raw in enumerate(_spare) if size + LINE <= len(raw) <= 2 * size]
    raw = _spare.pop(fitting[-1]) if fitting else np.empty(size + LINE, np.uint8)
    return np.asarray(_Block(raw, size)).view(dtype).reshape(shape, order="F")


def read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of a file that holds one 3D volume.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``, NIfTI-1 or -2, of either byte order.

    Returns
    -------
    data
        (I, J, K) in Fortran order and this machine's byte order: the file's type, or a
        floating-point type where the header scales the values.
    affine
        (4, 4) float64, voxel index to world (RAS+, mm).

    Raises
    ------
    InputError
        A missing, truncated, damaged or foreign file; 2D, 4D or RGB data; an affine that is not
        invertible.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"File {path} does not exist.")
    try:
        with _open(path) as stream:
            header, affine = _read_header(stream, path)
            data = empty(header.get_data_shape()[:3], header.get_data_dtype())
            _fill(data, stream)
            stream.read(1)  # at the end of a gzip stream its checksum is verified
            slope, intercept = header.get_slope_inter()
    except EOFError:
        raise InputError(f"File {path} is truncated: it ends before its last voxel.") from None
    except MemoryError:
        raise InputError(f"File {path} needs more memory than there is.") from None
    except (gzip.BadGzipFile, zlib.error, nib.spatialimages.HeaderDataError) as error:
        raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"File {path} cannot be read: {reason}.") from None
    except Exception as error:
        # isal and zlib-ng raise classes of their own for damaged streams
        if type(error).__module__.startswith(("isal", "zlib_ng")):
            raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
        raise
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        data = data * np.float32(slope) + np.float32(intercept or 0)
    return data, affine


def _open(path: Path):
    """Stream of a file's bytes, inflated by what is fastest for it."""
    if path.suffix.lower() != ".gz":
        return open(path, "rb")
    deflated = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, deflated - 4))
        inflated = int.from_bytes(file.read(4), "little")  # modulo 4 GB; only the pace hangs on it
    return (runs_gzip if inflated > RUNS * deflated else fast_gzip).open(path, "rb")


def _read_header(stream, path: Path) -> tuple[nib.Nifti1Header, np.ndarray]:
    """Checked header and affine; the stream is left at the first voxel."""
    start = stream.read(4)
    size = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    kind = size.get(int.from_bytes(start, "little")) or size.get(int.from_bytes(start, "big"))
    if len(start) < 4 or kind is None:
        raise InputError(f"File {path} is no NIfTI file: its header is missing.")
    rest = stream.read(kind.sizeof_hdr - 4)
    if len(rest) < kind.sizeof_hdr - 4:
        raise EOFError
    header = kind(start + rest)
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if dtype.fields:
        raise InputError(f"File {path} holds colours (RGB). A volume holds one value per voxel.")
    if len(shape) < 3 or min(shape[:3]) < 2 or set(shape[3:]) - {1}:
        raise InputError(f"File {path} has shape {shape}. A volume has three axes longer than 1.")
    if dtype.kind not in "iuf":
        raise InputError(f"File {path} holds {dtype}. A volume holds integers or real numbers.")
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"The affine of {path} cannot be inverted: {affine[:3].tolist()}.")
    if not geometry.is_orthogonal(affine, tolerance=5e-3):
        raise InputError(
            f"The voxel axes of {path} are not perpendicular (a tilted gantry?). Distances in mm need "
            "that: resample it and its reference to a grid that is."
        )
    stream.seek(int(header.get_data_offset()) or kind.single_vox_offset)
    return header, affine


def _fill(data: np.ndarray, stream) -> None:
    """Read all voxels of an array, piece by piece."""
    # a gzip stream's own readinto makes bytes first and copies them; the reader inside it does not
    reader = getattr(stream, "_buffer", stream)
    flat, filled = data.ravel("K").view(np.uint8), 0
    if flat.size >= SPARE_LEAST and "numba" in sys.modules:
        _stream(flat, reader)
        return
    view = memoryview(flat)
    while filled < len(view):
        got = reader.readinto(view[filled : filled + INFLATED])
        if not got:
            raise EOFError
        filled += got


def _stream(flat: np.ndarray, reader) -> None:
    """As `_fill`, but inflated into the cache and copied past it: a seventh less time.

    Where numba is loaded already; loading it takes longer than this saves.
    """
    from umdlib.kernels import streams

    piece, filled = np.empty(INFLATED, np.uint8), 0
    view = memoryview(piece)
    while filled < len(flat):
        wanted, there = min(INFLATED, len(flat) - filled), 0
        while there < wanted:
            got = reader.readinto(view[there:wanted])
            if not got:
                raise EOFError
            there += got
        streams.copy(flat, filled, piece, wanted)
        filled += wanted


def write(path: str | Path, data: np.ndarray, affine: np.ndarray, description: str) -> None:
    """Write a volume (I, J, K) as NIfTI-1, atomically: a reader never sees half a file.

    Unscaled, sform and qform in scanner space, mm; float64 becomes float32. A ``.gz`` file has
    no time stamp: the same volume is the same file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    if data.dtype == np.float64:
        data = data.astype(np.float32)
    with replaced(path) as part, open(part, "wb") as file:
        parts = _parts(data, affine, description)
        for piece in _compressed(parts) if path.suffix.lower() == ".gz" else parts:
            file.write(piece)


def _parts(data: np.ndarray, affine: np.ndarray, description: str):
    """Header and voxels in slabs: no copy of the volume where it is in Fortran order."""
    yield _header_bytes(data, affine, description)
    step = max(1, PIECE // max(1, data[:, :, :1].nbytes))
    for k in range(0, data.shape[2], step):
        yield np.asfortranarray(data[:, :, k : k + step]).ravel("K").view(np.uint8).data


def _compressed(parts):
    """Parts of a file as a gzip stream without name and time."""
    stream = fast_zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    for part in parts:
        yield stream.compress(part)
    yield stream.flush()


def _header_bytes(data: np.ndarray, affine: np.ndarray, description: str) -> bytes:
    """NIfTI-1 header of a single file, without extensions."""
    header = nib.Nifti1Header()
    header.set_data_shape(data.shape)
    header.set_data_dtype(data.dtype)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1, strip_shears=True)
    header["descrip"] = description.encode()[:79]
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    return header.binaryblock + bytes(4)
