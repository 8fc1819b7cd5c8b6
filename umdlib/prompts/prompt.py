"""What a user gives a segmenter, in world coordinates: clicks, boxes, lines, masks, words, as records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry, orientation
from umdlib.images.volume import LabelMap, Volume
from umdlib.prompts import initial as initial_masks
from umdlib.prompts.initial import InitialMask
from umdlib.prompts.scribbles import XYZ

OUTSIDE_PARTNER = "outside_partner"
REFERENCE_EMPTY = "reference_empty"


@dataclass(frozen=True)
class Click:
    """A world point (RAS+, mm); `positive` inside the structure, negative outside."""

    xyz_mm: XYZ
    positive: bool = True


_WORLD: tuple[XYZ, XYZ, XYZ] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Box:
    """A box along the axes of an image, outer face of first to outer face of last voxel.

    Attributes
    ----------
    low_mm, high_mm
        Distances of the faces from the world's origin along each of `axes`, in mm.
    axes
        Unit normals of the three pairs of faces, in world coordinates (RAS+), in the order that is
        nearest to right, front, head. The world's own axes by default.
    """

    low_mm: XYZ
    high_mm: XYZ
    axes: tuple[XYZ, XYZ, XYZ] = _WORLD

    def corners_mm(self) -> np.ndarray:
        """World coordinates (8, 3) of the corners."""
        along = np.array(np.meshgrid(*zip(self.low_mm, self.high_mm, strict=True))).reshape(3, -1).T
        return along if self.axes == _WORLD else np.linalg.solve(np.array(self.axes), along.T).T

    def voxels(self, affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """First and last voxel (3,), both inside, of the box on an image's grid, cut to the image.

        On a grid of the same axes these are the voxels that the box was drawn around; on another
        grid, the smallest range of voxels that holds the box.

        Raises
        ------
        InputError
            The box holds no voxel of the image.
        """
        index = geometry.to_voxel(affine, self.corners_mm())
        first = np.maximum(np.rint(index.min(axis=0) + 0.5).astype(int), 0)
        last = np.minimum(np.rint(index.max(axis=0) - 0.5).astype(int), np.array(shape) - 1)
        if (last < first).any():
            raise InputError(
                f"The box {self.low_mm} to {self.high_mm} mm lies outside the image of {tuple(shape)} voxels."
            )
        return first, last


def box_of(affine: np.ndarray, first: Sequence[float], last: Sequence[float]) -> Box:
    """The box around voxels `first` to `last`, both inside, along the axes of their grid.

    Examples
    --------
    >>> box_of(np.diag([2.0, -3.0, 4.0, 1.0]), (1, 2, 3), (1, 2, 4))
    Box(low_mm=(1.0, -7.5, 10.0), high_mm=(3.0, -4.5, 18.0), axes=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    """
    faces = zip(np.subtract(first, 0.5), np.add(last, 0.5), strict=True)
    corners = geometry.to_world(affine, np.array(np.meshgrid(*faces)).reshape(3, -1).T)
    axes = _face_normals(affine)
    along = corners if axes == _WORLD else corners @ np.array(axes).T
    return Box(tuple(along.min(axis=0).tolist()), tuple(along.max(axis=0).tolist()), axes)


def _face_normals(affine: np.ndarray) -> tuple[XYZ, XYZ, XYZ]:
    """Unit normals of a voxel's faces, ordered and signed to come nearest to the world's axes."""
    normals = np.linalg.inv(np.asarray(affine, float)[:3, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turn = orientation.axes_of(affine)
    ordered = np.empty((3, 3))
    ordered[turn[:, 0].astype(int)] = normals * turn[:, 1:]
    # a grid along the world's axes keeps them to the bit
    return _WORLD if np.abs(ordered - np.eye(3)).max() < 1e-9 else tuple(map(tuple, ordered.tolist()))


@dataclass(frozen=True)
class Cube:
    """Where a system that sees a cube of an image shall look, as the protocol says.

    Attributes
    ----------
    side_mm
        Edge of the cube, which lies along the image's axes.
    centre_mm
        World point (RAS+, mm) that the protocol discloses; None for a cube around the first click.
    slides
        Whether further cubes, each half over the one before, follow where the mask reaches a face.
    """

    side_mm: float
    centre_mm: XYZ | None = None
    slides: bool = False

    def voxels(self, affine: np.ndarray, shape: Sequence[int]) -> tuple[slice, slice, slice]:
        """Voxels of a grid whose centres lie in a cube with a disclosed centre.

        Examples
        --------
        >>> Cube(6.0, (10.0, 0.0, 5.0)).voxels(np.diag([2.0, 2.0, 2.0, 1.0]), (9, 9, 9))
        (slice(4, 7, None), slice(0, 2, None), slice(2, 4, None))
        """
        centre = geometry.to_voxel(affine, self.centre_mm)
        half = self.side_mm / 2 / np.array(geometry.spacing_mm(affine))
        low = np.clip(np.ceil(centre - half + 1e-6), 0, shape).astype(int)
        high = np.clip(np.floor(centre + half - 1e-6) + 1, low, shape).astype(int)
        return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class Prompt:
    """All that a user has given so far for one structure.

    Attributes
    ----------
    structure
        Name of the structure, which a class- or text-prompted system is given.
    clicks
        In the order given; the last is the newest.
    box
        Optional box.
    boxes
        Optional boxes of parts, e.g. a slab per axial slice and connected component; what a
        protocol for 2D systems discloses.
    scribble
        World points (RAS+, mm) of an open line drawn inside the structure, in order.
    cube
        Where a system that sees a cube shall look; None leaves it to the system.
    first_clicks
        Clicks of the first prompt; None for one, or none beside a box, line, mask or text.
    lasso
        World points (RAS+, mm) of a closed line drawn around the structure in one slice, in order.
    initial
        A mask to start from, which other prompts correct; alone, the system is to refine it.
    text
        Optional text.
    protocol
        How the prompt was drawn, e.g. ``"centre"``.
    seed
        Seed of the draw; 0 for protocols that draw nothing.
    note
        Stated exception: ``"outside_partner"``, the click lies outside the structure on a
        partner image's grid; ``"reference_empty"``, there is nothing to point at, and no click
        or box is given.
    """

    structure: str
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    text: str | None = None
    protocol: str = "centre"
    seed: int = 0
    note: str = ""
    boxes: tuple[Box, ...] = ()
    scribble: tuple[XYZ, ...] = ()
    cube: Cube | None = None
    first_clicks: int | None = None
    lasso: tuple[XYZ, ...] = ()
    initial: InitialMask | None = None

    @property
    def step(self) -> int:
        """Corrective clicks so far: clicks given after the first prompt."""
        first = self.first_clicks
        if first is None:
            others = self.box, self.boxes, self.text, self.scribble, self.lasso, self.initial
            first = 0 if any(others) else 1
        return max(len(self.clicks) - first, 0)

    @property
    def coordinates(self) -> float:
        """How many numbers the user has given; NaN with a mask to start from, which no number counts.

        Three per click and for the disclosed centre of a cube, six per box and scribble (its ends),
        five per box in a slice (four in the plane, one for the slice), of a lasso two per corner and one for
        the slice, none for words.

        Examples
        --------
        >>> Prompt("liver", (Click((0, 0, 0)),) * 2, cube=Cube(192.0, (0, 0, 0))).coordinates
        9
        """
        if self.initial is not None:
            return math.nan
        centre = self.cube is not None and self.cube.centre_mm is not None
        whole = 6 * bool(self.scribble) + 6 * (self.box is not None)
        lasso = 2 * len(self.lasso) + bool(self.lasso)
        return 3 * (len(self.clicks) + centre) + whole + 5 * len(self.boxes) + lasso

    def with_click(self, click: Click) -> Prompt:
        """This prompt and one more click."""
        return replace(self, clicks=(*self.clicks, click))


def click_voxel(click: Click, volume: Volume | LabelMap) -> tuple[int, int, int]:
    """Voxel of `volume` that contains a click.

    Raises
    ------
    InputError
        If the click lies outside the volume.
    """
    ijk = geometry.nearest_voxel(volume.affine, click.xyz_mm, volume.shape)
    if ijk is None:
        point = ", ".join(f"{v:.1f}" for v in click.xyz_mm)
        raise InputError(
            f"Invalid click ({point}) mm in {volume.name}. Must lie in the volume of {volume.shape} voxels."
        )
    return ijk


def to_record(prompt: Prompt) -> dict:
    """A prompt as plain lists, numbers and strings; JSON keeps every float exactly.

    A lasso and an initial mask stand in it only where there is one.
    """
    record = asdict(prompt)
    for kind in ("lasso", "initial"):
        if not record[kind]:
            del record[kind]
    if prompt.lasso:
        record["lasso"] = [list(xyz) for xyz in prompt.lasso]
    record["clicks"] = [{"xyz_mm": list(c.xyz_mm), "positive": c.positive} for c in prompt.clicks]
    record["box"] = _box_record(prompt.box) if prompt.box else None
    record["boxes"] = [_box_record(b) for b in prompt.boxes]
    record["scribble"] = [list(xyz) for xyz in prompt.scribble]
    if prompt.cube and prompt.cube.centre_mm:
        record["cube"]["centre_mm"] = list(prompt.cube.centre_mm)
    return record


def _box_record(box: Box) -> dict:
    """A box as lists; its axes only where they are not the world's."""
    faces = {"low_mm": list(box.low_mm), "high_mm": list(box.high_mm)}
    return faces if box.axes == _WORLD else faces | {"axes": [list(axis) for axis in box.axes]}


def _box(record: Mapping) -> Box:
    """The box that `_box_record` wrote."""
    axes = tuple(map(tuple, record.get("axes", _WORLD)))
    return Box(tuple(record["low_mm"]), tuple(record["high_mm"]), axes)


def from_record(record: Mapping) -> Prompt:
    """The prompt that `to_record` wrote.

    Examples
    --------
    >>> prompt = Prompt("liver", (Click((0.1, -2.5, 1e-9)),), Box((0, 0, 0), (1, 2, 3)))
    >>> from_record(to_record(prompt)) == prompt
    True
    """
    clicks = [Click(tuple(c["xyz_mm"]), bool(c["positive"])) for c in record["clicks"]]
    box = _box(record["box"]) if record.get("box") else None
    boxes = tuple(_box(b) for b in record.get("boxes", ()))
    lines = {
        kind: tuple(tuple(xyz) for xyz in record[kind]) for kind in ("scribble", "lasso") if kind in record
    }
    initial = initial_masks.from_record(record["initial"]) if record.get("initial") else None
    apart = ("clicks", "box", "boxes", "scribble", "lasso", "initial", "cube")
    plain = {k: v for k, v in record.items() if k not in apart}
    cube = _cube(record.get("cube"))
    return Prompt(**plain, **lines, clicks=tuple(clicks), box=box, boxes=boxes, initial=initial, cube=cube)


def _cube(record: Mapping | None) -> Cube | None:
    """The cube of a record."""
    if not record:
        return None
    centre = record["centre_mm"]
    return Cube(record["side_mm"], tuple(centre) if centre else None, record["slides"])
