"""A volume as a stack of axial pictures for 2D systems: greys, boxes, points, and the way back."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy

from umdlib.images import orientation
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Box, Prompt
from umdlib.segmenters.contract import Segmenter
from umdlib.segmenters.preparation.growing import RegionGrowing

Box2D = tuple[int, int, int, int]  # x0, y0, x1, y1, inclusive pixels
WINDOW_HU = (-160.0, 240.0)  # level 40, width 400
_PERCENTILES = (0.5, 99.5)  # of the voxels above 0, where the unit is not HU
_FREE = 4 << 30  # bytes that codes on disk leave free


@dataclass(frozen=True)
class Stack:
    """Axial pictures as radiologists see them, and as SimpleITK gives an LPS image.

    Attributes
    ----------
    data
        (Z, Y, X): slices from feet to head, rows from front to back, columns from the subject's
        right to left.
    affine
        (4, 4): index (x, y, z) to world (RAS+, mm).
    back
        Brings a (Z, Y, X) array onto the image's grid.
    """

    data: np.ndarray
    affine: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


def axial(image: Volume) -> Stack:
    """The image's axes permuted and flipped, never resampled."""
    data, affine, back = oriented(image.data, image.affine, "LPS")
    return Stack(data.T, affine, lambda mask: back(mask.T))


def oriented(
    data: np.ndarray, affine: np.ndarray, codes: str
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """`data` with axes closest to `codes` such as ``"RAS"``, its affine, and the way back."""
    turn = orientation.turn_to(affine, codes)

    def back(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(orientation.turned(array, orientation.turned_back(turn)))

    return orientation.turned(data, turn), orientation.turned_affine(affine, data.shape, turn), back


def grey(image: Volume) -> np.ndarray:
    """(I, J, K) uint8: CT window 40/400, else the 0.5 to 99.5 percentiles of the positive voxels.

    As in the MedSAM repository's ``pre_CT_MR.py``: voxels of exactly 0 stay black outside CT.
    """
    data = np.asarray(image.data, np.float32)
    if image.unit == "HU":
        low, high = WINDOW_HU
    else:
        positive = data[data > 0]
        low, high = np.percentile(positive, _PERCENTILES) if positive.size else (0.0, 1.0)
    cut = np.clip(data, low, high)
    bottom, top = cut.min(), cut.max()
    scaled = (cut - bottom) / max(float(top - bottom), 1e-8) * 255.0
    if image.unit != "HU":
        scaled[data == 0] = 0
    return scaled.astype(np.uint8)


def _boxes_of(mask: np.ndarray) -> Iterator[tuple[int, Box2D]]:
    """Slice and tight box of every connected component of at least ten pixels.

    `mask` is (Z, Y, X); components touch by an edge or a corner.
    """
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        labels, _ = scipy.ndimage.label(mask[z], structure=np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        for value, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), start=1):
            if sizes[value] >= 10:
                yield int(z), (columns.start, rows.start, columns.stop - 1, rows.stop - 1)


def pixels_of(box: Box, stack: Stack) -> tuple[int, int, Box2D]:
    """First and last slice and in-plane box, all inclusive, of a prompt's box, cut to the stack."""
    low, high = box.voxels(stack.affine, stack.data.shape[::-1])
    (x0, y0, z0), (x1, y1, z1) = low.tolist(), high.tolist()
    return z0, z1, (x0, y0, x1, y1)


def prompted_boxes(image: Volume, prompt: Prompt, stack: Stack) -> list[tuple[int, Box2D]]:
    """Slice and box of every picture to be segmented.

    Disclosed boxes (`prompt.boxes`, one slab per slice and component) are taken as they are.
    Else the boxes come from the clicks by a stated rule that sees no reference: region growing
    from the clicks, a tight box around each of its components in each slice.
    """
    if prompt.boxes:
        return [
            (z, b) for z0, z1, b in (pixels_of(x, stack) for x in prompt.boxes) for z in range(z0, z1 + 1)
        ]
    mask = RegionGrowing()(image, prompt)
    return list(_boxes_of(oriented(mask, image.affine, "LPS")[0].T))


def grown(record: Segmenter) -> Segmenter:
    """A 2D system that takes clicks: it gets the boxes of the region that they grow.

    The row of such a system measures region growing as much as the system, so it has a name of its own.
    """
    return replace(
        record,
        name=f"{record.name}_grown",
        title=f"{record.title} in boxes of region growing",
        summary=f"{record.title}, from clicks: a box around each part of the region grown from them, in each "
        "slice. No better than that region is.",
        prompts=frozenset({"click", "negative_click"}),
        settings=record.settings | {"box_rule": "region_growing-1"},
        native="none: a rule of this project, for a click where the system takes boxes",
    )


@dataclass(frozen=True)
class Encoded:
    """One picture after an encoder: a tensor, (H, W) before, and its size inside the network's square."""

    embedding: object
    size: tuple[int, int]
    inner: tuple[int, int]


class Memory:
    """The pictures encoded of one image, each once; forgotten when another image comes.

    What is more than `keep` lies in a temporary folder, to the bit, where the disk has room.
    """

    def __init__(
        self, encode: Callable[[list[np.ndarray]], list[Encoded]], *, keep: int, batch: int = 1
    ) -> None:
        self._encode, self._keep, self._batch = encode, keep, batch
        self._data: np.ndarray | None = None
        self._stack: Stack | None = None
        self._seen: OrderedDict[int, Encoded] = OrderedDict()
        self._disk: dict[int, tuple[Path, Encoded, object]] = {}  # file, what else there is, device
        self._folder: Path | None = None

    def stack(self, image: Volume) -> Stack:
        """The image's greys as a stack, made once per image."""
        if self._data is not image.data:
            self._seen.clear()
            self._disk.clear()  # their files are written over
            self._stack = axial(Volume(grey(image), image.affine))
            self._data = image.data
        return self._stack

    def free_memory(self) -> bool:
        """Let go of what is in memory and keep one slice at a time from now on; False if it does so."""
        had_more = self._keep > 1
        self._seen.clear()
        self._keep = self._batch = 1
        return had_more

    def each(self, slices: Iterable[int]) -> Iterator[tuple[int, Encoded]]:
        """Each slice with its code, in the order given; every structure of a slice shares it."""
        ahead = list(slices)
        for n, z in enumerate(ahead):
            if z in self._disk and z not in self._seen:
                self._seen[z] = self._read(z)
                self._trim()
            elif z not in self._seen:
                absent = dict.fromkeys(s for s in ahead[n:] if not self._knows(s))
                self._fill(list(absent)[: min(self._batch, self._keep)])
            self._seen.move_to_end(z)
            yield z, self._seen[z]

    def foresee(self, slices: Iterable[int]) -> None:
        """Encode slices that will be needed, in whole batches, as many as are kept."""
        absent = [z for z in dict.fromkeys(slices) if not self._knows(z)][: self._keep]
        for first in range(0, len(absent), self._batch) if self._batch > 1 else ():
            self._fill(absent[first : first + self._batch])

    def encoded(self, z: int) -> Encoded:
        """Features of slice `z`."""
        ((_, code),) = self.each([z])
        return code

    def _knows(self, z: int) -> bool:
        """Whether a slice is encoded, in memory or on disk."""
        return z in self._seen or z in self._disk

    def _fill(self, slices: list[int]) -> None:
        """Encode slices that are not here."""
        codes = self._encode([self._stack.data[z] for z in slices])
        self._seen.update(zip(slices, codes, strict=True))
        self._trim()

    def _trim(self) -> None:
        """Move the oldest codes beyond `keep` to disk; where the disk is full they are dropped."""
        while len(self._seen) > self._keep:
            z, code = self._seen.popitem(last=False)
            if z in self._disk:
                continue
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="umd-slices-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            if shutil.disk_usage(self._folder).free > _FREE:
                path = self._folder / f"{z}.npy"
                np.save(path, code.embedding.cpu().numpy())
                self._disk[z] = path, replace(code, embedding=None), code.embedding.device

    def _read(self, z: int) -> Encoded:
        """A code from disk."""
        import torch

        path, rest, device = self._disk[z]
        return replace(rest, embedding=torch.from_numpy(np.load(path)).to(device))


def paint(stack: Stack, parts: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Boolean mask on the image's grid: the union of pictures' masks, slice by slice."""
    mask = np.zeros(stack.data.shape, bool)
    for z, part in parts:
        mask[z] |= part
    return stack.back(mask)
