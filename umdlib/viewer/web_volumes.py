"""Volumes small enough for a web page: cut, averaged, coded in 8 bits, named by content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

from umdlib.errors import InputError
from umdlib.files import replaced
from umdlib.images import geometry
from umdlib.images.volume import Volume

# Intensities that one byte spans. CT: 8 HU a step, air to dense bone. SUV: 0.08 a step; what is
# hotter (urine, mostly) is shown as 20 and read out as "20 or more".
_RANGES: dict[str, tuple[float, float]] = {"HU": (-1024.0, 1016.0), "SUV": (0.0, 20.0)}

# What counts as body when the empty margin is cut away, by unit; a.u. is relative (see `_body`).
BODY = {"HU": -400.0, "SUV": 0.15}

MOST_STRUCTURES = 32


@dataclass(frozen=True)
class Reduction:
    """How a grid becomes the page's grid: whole voxels averaged, then stretched a little.

    Attributes
    ----------
    blocks
        Voxels averaged along I, J, K.
    stretch
        Blocks per page voxel along I, J, K, at least 1; linear interpolation where above 1.
    """

    blocks: tuple[int, int, int]
    stretch: tuple[float, float, float]

    def affine(self, affine: np.ndarray) -> np.ndarray:
        """Affine (4, 4) of the page's grid: everything keeps its place in the world."""
        factors = np.multiply(self.blocks, self.stretch)
        step = np.diag([*factors, 1.0])
        step[:3, 3] = (factors - 1) / 2
        return np.asarray(affine, float) @ step

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Shape of the page's grid."""
        blocks = [-(-n // b) for n, b in zip(shape, self.blocks, strict=True)]
        return tuple(max(1, math.ceil(n / s - 1e-9)) for n, s in zip(blocks, self.stretch, strict=True))

    def mean(self, data: np.ndarray) -> np.ndarray:
        """Intensities (I, J, K) on the page's grid, float32."""
        return self._window(data, (0, 0, 0), self.shape(data.shape))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Page voxels at least half filled; a mask too thin for that keeps its fullest voxels.

        Parameters
        ----------
        mask
            (I, J, K) boolean.

        Returns
        -------
        numpy.ndarray
            Boolean, on the page's grid; empty only where `mask` is.
        """
        shape = self.shape(mask.shape)
        result = np.zeros(shape, bool)
        # a structure fills a small part of a body: the rest is not touched
        spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
        if not spans[0].size:
            return result
        factors = np.multiply(self.blocks, self.stretch)
        first = np.array([int(n[0] / f) - 1 for n, f in zip(spans, factors, strict=True)]).clip(0)
        last = [int((n[-1] + 1) / f) + 2 for n, f in zip(spans, factors, strict=True)]
        last = np.minimum(last, shape)
        first = np.minimum(first, last - 1)
        filled = self._window(mask, first, last)
        window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        result[window] = (filled > 0) & (filled >= min(0.5, float(filled.max())))
        return result

    def _window(self, data: np.ndarray, first: Sequence[int], last: Sequence[int]) -> np.ndarray:
        """Means of the page voxels from `first` to before `last`."""
        cut, places = [], []
        for n, b, s, low, high in zip(data.shape, self.blocks, self.stretch, first, last, strict=True):
            at = np.clip((np.arange(low, high) + 0.5) * s - 0.5, 0, -(-n // b) - 1)
            start, stop = int(at[0]), int(at[-1]) + 2
            cut.append(slice(start * b, stop * b))
            places.append(at - start)
        result = _block_mean(data[tuple(cut)], self.blocks)
        for axis, at in enumerate(places):
            result = _interpolated(result, at, axis)
        return result


def reduction(spacing_mm: Sequence[float], target_mm: float) -> Reduction:
    """Reduction that brings each axis to `target_mm`, within a tenth; coarser axes stay.

    Examples
    --------
    >>> reduction((0.98, 3.0, 5.2), 4.0)
    Reduction(blocks=(4, 1, 1), stretch=(1.0, 1.3333333333333333, 1.0))
    """
    blocks = [max(1, int(target_mm / s + 0.05)) for s in spacing_mm]
    coarse = [s * n for s, n in zip(spacing_mm, blocks, strict=True)]
    return Reduction(tuple(blocks), tuple(target_mm / c if c < 0.9 * target_mm else 1.0 for c in coarse))


def _block_mean(data: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Mean of each block of voxels, float32; a last, partial block over what it holds.

    Examples
    --------
    >>> _block_mean(np.array([[[1, 3, 8]]]), (1, 1, 2)).tolist()
    [[[2.0, 8.0]]]
    """
    result = data
    for axis, size in enumerate(blocks):
        if size > 1:
            starts = np.arange(0, data.shape[axis], size)
            held = np.diff(np.append(starts, data.shape[axis]))
            total = np.add.reduceat(result, starts, axis=axis, dtype=np.float32)
            result = total / np.expand_dims(held, [a for a in range(3) if a != axis])
    return result.astype(np.float32, copy=False)


def without_air(data: np.ndarray, affine: np.ndarray, unit: str) -> np.ndarray:
    """CT or MR whose air outside the body has one value: its noise would be half of the file.

    Parameters
    ----------
    data
        (I, J, K) intensities.
    affine
        (4, 4), voxel to world (RAS+, mm); gives the axis that runs along the body.
    unit
        ``"SUV"`` is left as it is: uptake may reach the skin.
    """
    if unit == "SUV":
        return data
    along = int(np.abs(np.asarray(affine)[2, :3]).argmax())
    structure = scipy.ndimage.generate_binary_structure(3, 1)
    cut = [slice(None)] * 3
    for end in (0, 2):  # holes are filled slice by slice: the lungs are inside, the room is not
        cut[along] = slice(end, end + 1)
        structure[tuple(cut)] = False
    body = scipy.ndimage.binary_fill_holes(data > _body_level(data, unit), structure)
    return np.where(body, data, np.float32(_RANGES.get(unit, (0.0,))[0]))


def common_field(volumes: Sequence[Volume]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (RAS+, mm) of the body in the field that all volumes share.

    Where the fields do not overlap, the field of the first volume.
    """
    fields = [_bounds(v.affine, np.zeros(3), np.asarray(v.shape) - 1) for v in volumes]
    low = np.max([f[0] for f in fields], axis=0)
    high = np.min([f[1] for f in fields], axis=0)
    if (low >= high).any():
        return fields[0]
    bodies = [_body(v) for v in volumes]
    inner_low = np.maximum(low, np.min([b[0] for b in bodies], axis=0))
    inner_high = np.minimum(high, np.max([b[1] for b in bodies], axis=0))
    return (low, high) if (inner_low >= inner_high).any() else (inner_low, inner_high)


def field_slices(
    affine: np.ndarray, shape: Sequence[int], low: np.ndarray, high: np.ndarray
) -> tuple[slice, slice, slice]:
    """Voxels of a grid that lie in a world box, one more on each side where there is one."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    ijk = geometry.to_voxel(affine, corners)
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, np.asarray(shape) - 1)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, first + 1, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


def shifted(affine: np.ndarray, slices: Sequence[slice]) -> np.ndarray:
    """Affine (4, 4) of a grid cut to `slices`."""
    result = np.array(affine, float)
    result[:3, 3] = geometry.to_world(affine, [s.start for s in slices])
    return result


def byte_range(data: np.ndarray, unit: str) -> tuple[float, float]:
    """Intensities of bytes 0 and 255: fixed for HU and SUV, 0 to the 99.9th percentile for a.u."""
    if unit in _RANGES:
        low, high = _RANGES[unit]
        return (low, max(float(min(high, data.max())), 1.0)) if unit == "SUV" else (low, high)
    return 0.0, max(float(np.percentile(data, 99.9)), 1e-6)


def nifti_bytes(data: np.ndarray, affine: np.ndarray, span: tuple[float, float]) -> bytes:
    """An 8-bit NIfTI-1 file whose slope and intercept give back the intensities.

    Parameters
    ----------
    data
        (I, J, K) intensities.
    affine
        (4, 4), voxel to world (RAS+, mm).
    span
        Intensities of bytes 0 and 255.
    """
    import nibabel as nib

    low, high = span
    slope = (high - low) / 255
    header = nib.Nifti1Header()
    header.set_data_shape(data.shape)
    header.set_data_dtype(np.uint8)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1, strip_shears=True)
    header["scl_slope"], header["scl_inter"] = slope, low
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["pixdim"][1:4] = geometry.spacing_mm(affine)
    coded = np.clip(np.rint((data - low) / slope), 0, 255).astype(np.uint8)
    return header.binaryblock + bytes(4) + coded.tobytes(order="F")


def bit_volume(masks: Sequence[np.ndarray | None], shape: tuple[int, int, int]) -> np.ndarray:
    """One bit per structure, so that masks may overlap: bit b is set where mask b is.

    Returns
    -------
    numpy.ndarray
        uint8, uint16 or uint32, the narrowest that holds all bits.

    Examples
    --------
    >>> a, b = np.array([[[1, 1, 0]]], bool), np.array([[[0, 1, 0]]], bool)
    >>> bit_volume([a, None, b], (1, 1, 3)).tolist()
    [[[1, 5, 0]]]
    """
    dtype = bit_type(len(masks))
    result = np.zeros(shape, dtype)
    for bit, mask in enumerate(masks):
        if mask is not None:
            result[mask] |= dtype(1 << bit)
    return result


def bit_type(structures: int) -> type[np.unsignedinteger]:
    """Narrowest unsigned type with a bit for each structure."""
    if structures > MOST_STRUCTURES:
        raise InputError(f"{structures} structures in one viewer. It shows at most {MOST_STRUCTURES}.")
    return next(t for t, n in ((np.uint8, 8), (np.uint16, 16), (np.uint32, 32)) if structures <= n)


def packed(content: bytes) -> tuple[str, str]:
    """Content as gzip in base64, and the 16 hex digits of its SHA-256 that name it."""
    # mtime=0: the same content makes the same file on every day
    coded = base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")
    return hashlib.sha256(content).hexdigest()[:16], coded


def write_script(folder: Path, name: str, coded: str) -> Path:
    """Write one packed volume as a classic script, which a page may load even from file://."""
    return write_once(folder / f"{name}.js", script(name, coded).encode("ascii"))


def write_record(assets: Path, content: dict) -> str:
    """Write one record as a packed script below ``records/``; return its name."""
    name, coded = packed(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
    write_script(assets / "records", name, coded)
    return name


def script(name: str, coded: str) -> str:
    """Line of a classic script that gives a page packed content by name."""
    return f'(self.UMD_VOLUMES=self.UMD_VOLUMES||{{}})["{name}"]="{coded}";\n'


def write_once(path: Path, content: bytes) -> Path:
    """Write a file whose name is made from its content, unless it is there; never half of it."""
    if path.is_file():
        return path
    with replaced(path) as part:
        part.write_bytes(content)
    return path


def _interpolated(data: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis at the places `at`."""
    low = np.minimum(at.astype(int), data.shape[axis] - 1)
    if (at == low).all():
        return data.take(low, axis)
    high = np.minimum(low + 1, data.shape[axis] - 1)
    weight = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return data.take(low, axis) * (1 - weight) + data.take(high, axis) * weight


def _bounds(affine, first, last) -> tuple[np.ndarray, np.ndarray]:
    """World box of an index box, voxel centre to voxel centre."""
    corners = np.array(np.meshgrid(*zip(first, last, strict=True))).reshape(3, -1).T
    world = geometry.to_world(affine, corners)
    return world.min(axis=0), world.max(axis=0)


def _body(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """World box of the voxels above the level that air does not reach."""
    above = volume.data > _body_level(volume.data, volume.unit)
    spans = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        # more than one voxel in a thousand: a speck of noise is not a body
        spans.append(np.flatnonzero(above.mean(axis=others) > 1e-3))
    if any(s.size == 0 for s in spans):
        return _bounds(volume.affine, np.zeros(3), np.asarray(volume.shape) - 1)
    return _bounds(volume.affine, [s[0] for s in spans], [s[-1] for s in spans])


def _body_level(data: np.ndarray, unit: str) -> float:
    """Intensity that air does not reach; MR has no scale, so a tenth of its bright tissue."""
    return BODY[unit] if unit in BODY else 0.1 * float(np.percentile(data, 99))
