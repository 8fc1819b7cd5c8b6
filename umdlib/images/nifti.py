"""NIfTI files: voxels inflated straight into an array and deflated out of it."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.files import existing, replaced
from umdlib.images import formats
from umdlib.images import header as headers

try:  # several times as fast as zlib on label maps, in the same format
    from isal import igzip as fast_gzip
    from isal import isal_zlib as fast_zlib
except ImportError:  # pragma: no cover - isal has no wheel for this platform
    fast_gzip, fast_zlib = gzip, zlib
try:  # inflates long runs twice as fast as isal, noise half as fast
    from zlib_ng import gzip_ng as runs_gzip
    from zlib_ng import zlib_ng as runs_zlib
except ImportError:  # pragma: no cover - zlib-ng has no wheel for this platform
    runs_gzip, runs_zlib = fast_gzip, fast_zlib

# What the inflaters raise for damaged streams; isal's class is not a zlib.error.
_DAMAGE = (gzip.BadGzipFile, zlib.error, fast_zlib.error, runs_zlib.error)

# A volume this many times as large as its file consists of runs: label maps, not images.
RUNS = 20

# Level of isal (the best that is fast) and a fast one of zlib; a gzip header and checksum.
LEVEL, GZIP = 2, zlib.MAX_WBITS + 16

# A piece of this size stays in the processor's cache from one step to the next; what is inflated is
# best a quarter of it, beside the inflater's own tables.
PIECE = 1 << 20
_INFLATED = 1 << 18

# Memory of arrays that are gone, at most this many; only of arrays of this size or larger.
_SPARE_BLOCKS = 2
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
        del spare[:-_SPARE_BLOCKS]


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


def read(path: str | Path, *, two_files: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of a file that holds one 3D volume.

    Parameters
    ----------
    path
        NIfTI-1 or -2 in one file, compressed or not whatever its name, of either byte order; or a
        format that `formats.read_other` reads.
    two_files
        Whether the voxels may lie in a second file (.hdr and .img, .mhd, .nhdr).

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
        A missing, truncated, damaged or foreign file; one that claims more than it or this machine
        can hold; 2D, 4D or RGB data; a header that does not say where the voxels lie, or says two things.
    """
    path = _existing_file(path)
    try:
        try:
            return _read(path, _opener(path), two_files)
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" not in str(error):
                raise
            return _read(
                path, gzip.open, two_files
            )  # bytes follow the stream: only this one reads up to there
    except EOFError:
        raise InputError(f"File {path} is truncated: it ends before its last voxel.") from None
    except MemoryError:
        raise InputError(f"File {path} needs more memory than there is.") from None
    except _DAMAGE as error:
        raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"File {path} cannot be read: {reason}.") from None


def is_one_file(path: str | Path) -> bool:
    """Whether a file begins as a NIfTI file that holds its voxels; False where it cannot be read."""
    path = Path(path)
    try:
        with _opener(path)(path, "rb") as stream:
            raw = stream.read(4)
            size = headers.header_size(raw)
            raw += stream.read(max(0, size - 4))
    except (OSError, EOFError, *_DAMAGE):
        return False
    return size > 0 and len(raw) == size and not headers.is_pair(raw)


def _read(path: Path, opener: Callable, two_files: bool) -> tuple[np.ndarray, np.ndarray]:
    """As `read`, by one way to open the file; damage raises what the inflater raises."""
    with opener(path, "rb") as stream:
        start = stream.read(4)
        size = headers.header_size(start)
        if size == 0:
            start += stream.read(formats.PEEK - 4)
            return _checked_other(path, start, two_files)
        raw = start + stream.read(size - 4)
        if len(raw) < size:
            raise EOFError
        if two_files and headers.is_pair(raw):
            return _read_pair(path, raw)
        header = headers.parse(raw, path, stored=path.stat().st_size, deflated=opener is not open)
        return _voxels(header, stream), header.affine


def _read_pair(path: Path, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A header (.hdr) whose voxels lie beside it (.img), either of them compressed or not."""
    stem = path.name.removesuffix(".gz").removesuffix(".hdr")
    names = [path.with_name(f"{stem}.img{end}") for end in ("", ".gz")]
    voxels = next((found for name in names if (found := existing(name)) is not None), None)
    if voxels is None:
        raise InputError(f"File {path} is the header of a pair, and {names[0].name} does not lie beside it.")
    opener = _opener(voxels)
    header = headers.parse(
        raw, path, stored=voxels.stat().st_size, deflated=opener is not open, two_files=True
    )
    with opener(voxels, "rb") as stream:
        return _voxels(header, stream), header.affine


def _voxels(header: headers.Header, stream) -> np.ndarray:
    """Voxels of an open file, scaled as its header says."""
    stream.seek(header.offset)
    data = empty(header.shape, header.dtype)
    _fill(data, stream)
    _verify_end(stream)
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    if (header.slope, header.intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found by the caller
            data = data * np.float32(header.slope) + np.float32(header.intercept)
    return data


def _existing_file(path: str | Path) -> Path:
    """The file, or why there is none."""
    found = existing(path)
    if found is None:
        raise InputError(f"File {path} does not exist.")
    if found.is_dir():
        raise formats.folder_error(found)
    return found


def _checked_other(path: Path, start: bytes, two_files: bool) -> tuple[np.ndarray, np.ndarray]:
    """A file of another format, in Fortran order, with what holds for NIfTI."""
    if len(start) < 4:
        raise InputError(f"File {path} is empty." if not start else f"File {path} is truncated.")
    data, affine = formats.read_other(path, start, two_files=two_files)
    if data.dtype.kind not in "iuf":
        raise InputError(f"File {path} holds {data.dtype}. A volume holds integers or real numbers.")
    headers.check_affine(affine, path)
    data = np.asfortranarray(data, data.dtype.newbyteorder("="))
    return data, affine


def _verify_end(stream) -> None:
    """Verify a gzip stream's checksum, which stands at its end; what follows the stream is not read."""
    try:
        stream.read(1)
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise


def _opener(path: Path) -> Callable:
    """Opener of a file, chosen by its first bytes: the fastest inflater for it."""
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return open
        stored = file.seek(0, 2)
        file.seek(max(0, stored - 4))
        inflated = int.from_bytes(file.read(4), "little")  # modulo 4 GB; only the pace hangs on it
    return (runs_gzip if inflated > RUNS * stored else fast_gzip).open


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
        got = reader.readinto(view[filled : filled + _INFLATED])
        if not got:
            raise EOFError
        filled += got


def _stream(flat: np.ndarray, reader) -> None:
    """As `_fill`, but inflated into the cache and copied past it: a seventh less time.

    Where numba is loaded already; loading it takes longer than this saves.
    """
    from umdlib.kernels import streams

    piece, filled = np.empty(_INFLATED, np.uint8), 0
    view = memoryview(piece)
    while filled < len(flat):
        wanted, there = min(_INFLATED, len(flat) - filled), 0
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


def write_like(path: str | Path, labels: np.ndarray, affine: np.ndarray, like: str | Path | None) -> None:
    """Write labels (I, J, K) of an image with the header of its file: place, axes and units to the bit.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.
    labels
        Boolean or unsigned.
    affine
        Of the image.
    like
        Its file. None, or a file that is not NIfTI: a new header with `affine`.

    Raises
    ------
    InputError
        Another ending; a file that cannot be read or written; labels of another shape.
    """
    if not str(path).lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"Invalid name of a mask {path}. Must end in .nii or .nii.gz.")
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    raw = None if like is None else _raw_header(_existing_file(like))
    if raw is None:
        write(path, labels, affine, "labels")
        return
    header = headers.labelled(raw, labels.dtype)
    if tuple(header.get_data_shape()[:3]) != labels.shape:
        raise InputError(f"Mask {labels.shape} is not on the grid of {like} {header.get_data_shape()}.")
    labels = labels.astype(labels.dtype.newbyteorder(header.endianness), copy=False)
    parts = [header.binaryblock + bytes(4), np.asfortranarray(labels).ravel("K").view(np.uint8).data]
    with replaced(path) as part, open(part, "wb") as file:
        for piece in _compressed(parts) if Path(path).suffix.lower() == ".gz" else parts:
            file.write(piece)


def _raw_header(path: Path) -> bytes | None:
    """Bytes of a file's header; None where it is not NIfTI."""
    try:
        with _opener(path)(path, "rb") as stream:
            start = stream.read(4)
            size = headers.header_size(start)
            return start + stream.read(size - 4) if size else None
    except (OSError, EOFError, *_DAMAGE) as error:
        raise InputError(f"File {path} cannot be read: {error}.") from None


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
    import nibabel as nib

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
