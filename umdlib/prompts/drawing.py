"""Prompts in world coordinates: what a user gives a segmenter, and how it is drawn."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import nibabel as nib
import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts import scribbles
from umdlib.prompts.scribbles import XYZ

# How often a draw is repeated, and how many voxels are tried by depth, before a click is kept
# although it lies outside the structure on the partner's grid.
REDRAWS = 100
CANDIDATES = 1000

OUTSIDE_PARTNER = "outside_partner"
REFERENCE_EMPTY = "reference_empty"


@dataclass(frozen=True)
class Click:
    """A world point (RAS+, mm); `positive` inside the structure, negative outside."""

    xyz_mm: XYZ
    positive: bool = True


WORLD: tuple[XYZ, XYZ, XYZ] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


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
    axes: tuple[XYZ, XYZ, XYZ] = WORLD

    def corners_mm(self) -> np.ndarray:
        """World coordinates (8, 3) of the corners."""
        along = np.array(np.meshgrid(*zip(self.low_mm, self.high_mm, strict=True))).reshape(3, -1).T
        return along if self.axes == WORLD else np.linalg.solve(np.array(self.axes), along.T).T

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
    along = corners if axes == WORLD else corners @ np.array(axes).T
    return Box(tuple(along.min(axis=0).tolist()), tuple(along.max(axis=0).tolist()), axes)


def _face_normals(affine: np.ndarray) -> tuple[XYZ, XYZ, XYZ]:
    """Unit normals of a voxel's faces, ordered and signed to come nearest to the world's axes."""
    normals = np.linalg.inv(np.asarray(affine, float)[:3, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turn = nib.orientations.io_orientation(affine)
    ordered = np.empty((3, 3))
    ordered[turn[:, 0].astype(int)] = normals * turn[:, 1:]
    # a grid along the world's axes keeps them to the bit
    return WORLD if np.abs(ordered - np.eye(3)).max() < 1e-9 else tuple(map(tuple, ordered.tolist()))


@dataclass(frozen=True)
class Prompt:
    """All that a user has given so far for one structure.

    Attributes
    ----------
    structure
        Name of the structure (what a class- or text-prompted system is asked for).
    clicks
        In the order given; the last is the newest.
    box
        Optional box.
    boxes
        Optional boxes of parts, e.g. a slab per axial slice and connected component; what a
        protocol for 2D systems discloses.
    scribble
        World points (RAS+, mm) of an open line drawn inside the structure, in order.
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

    @property
    def step(self) -> int:
        """Corrective clicks so far: clicks given after the first prompt."""
        first = 0 if self.box or self.boxes or self.text or self.scribble else 1
        return max(len(self.clicks) - first, 0)

    def with_click(self, click: Click) -> Prompt:
        """This prompt and one more click."""
        return replace(self, clicks=(*self.clicks, click))


# What each protocol gives. Those ending in {mm} take a length in their name: jittered_5mm.
PROTOCOLS: dict[str, str] = {
    "centre": "One click at the deepest voxel of the structural reference.",
    "random": "One click at a voxel of the structural reference, all equally likely.",
    "boundary": "One click at a voxel of the structural reference that touches the outside.",
    "jittered_{mm}mm": "The centre, moved by a normal distance of SD {mm} mm along each axis; drawn "
    "again where that leaves the structure (100 draws, then the centre).",
    "box": "The smallest box around the structural reference.",
    "box_padded_{mm}mm": "The smallest box, each face moved outwards by {mm} mm.",
    "box_jittered_{mm}mm": "The smallest box, each face moved by a normal distance of SD {mm} mm.",
    "scribble": "A line along the middle of the structural reference, in the slice of its centre.",
    "class": "The name of the structure alone.",
    "text": "The name of the structure as a phrase.",
    "official_random": "SAM-Med3D, SegAnyPET: random voxel of the reference, then of the error.",
    "ritm": "SAM-Med3D's other sampler: random voxel of the deeper half, then of the deeper error.",
}

# Protocols that draw nothing: their seed is 0.
UNDRAWN = ("centre", "box", "box_padded", "scribble", "class", "text")

# One generator for all structures of a case, drawn in ascending label value, as the scripts do.
OFFICIAL = ("official_random", "ritm")


def protocol(name: str) -> tuple[str, float]:
    """Kind and length in mm of a protocol's name.

    Examples
    --------
    >>> protocol("jittered_2.5mm")
    ('jittered', 2.5)
    >>> protocol("centre")
    ('centre', 0.0)

    Raises
    ------
    InputError
        If there is no such protocol, or its length is missing or not positive.
    """
    found = re.fullmatch(r"(.+)_([0-9]+(?:\.[0-9]+)?)mm", name)
    kind, length = (found[1], float(found[2])) if found else (name, 0.0)
    key = f"{kind}_{{mm}}mm" if found else kind
    if key not in PROTOCOLS:
        raise unknown_name("prompt protocol", name, PROTOCOLS)
    if found and not length > 0:
        raise InputError(f"Invalid prompt protocol '{name}'. Its length must be positive.")
    return kind, length


def kind_given(name: str) -> str:
    """What a protocol gives first: ``click``, ``box``, ``scribble``, ``class`` or ``text``.

    Examples
    --------
    >>> [kind_given(name) for name in ("jittered_5mm", "box_padded_5mm", "scribble", "text")]
    ['click', 'box', 'scribble', 'text']
    """
    kind, _ = protocol(name)
    return "click" if kind in CLICKS else kind.split("_")[0]


def pair_prompts(
    references: Mapping[str, LabelMap],
    structures: Sequence[Structure],
    *,
    protocol: str = "centre",
    seed: int = 0,
    case: str = "",
    structural: str | None = None,
) -> dict[str, Prompt]:
    """One prompt per structure for all images of a session, in world coordinates.

    A click is drawn on the grid of the structural reference. Where the voxel that contains it
    on a partner's grid is outside the structure there, the next candidate is taken: the next
    voxel by depth (`centre`, up to 1000), a new draw (the others, up to 100). If none lies inside
    everywhere, the first is kept and the prompt's note is ``"outside_partner"``. Of a scribble, the
    longest stretch that lies inside everywhere is kept. The official protocols know no partner:
    their first draw is kept.

    Parameters
    ----------
    references
        Label maps of one session by modality, each on its own grid.
    structures
        What to prompt for.
    protocol
        A name of `PROTOCOLS`, with its length: ``"jittered_5mm"``.
    seed, case
        The draw depends on these and on the structure's value, not on the other structures.
    structural
        The modality whose reference is pointed at; the first of `references` by default.

    Returns
    -------
    dict
        Structure name to `Prompt`. A structure that is absent from the structural reference
        has a prompt without click, box or scribble whose note is ``"reference_empty"``.
    """
    kind, length = _protocol(protocol)
    first = structural or next(iter(references))
    if first not in references:
        raise unknown_name("modality", first, references)
    partners = [r for modality, r in references.items() if modality != first]
    shared = np.random.default_rng(seed) if kind in OFFICIAL else None
    ordered = sorted(structures, key=lambda s: s.value)
    boxes = depth.bounding_boxes(references[first].data, [s.value for s in ordered])
    prompts = {}
    for structure, box in zip(ordered, boxes, strict=True):
        rng = shared or _rng(seed, case, structure)
        drawn = _draw(kind, length, references[first], box, partners, structure, rng)
        drawn_seed = 0 if kind in UNDRAWN else seed
        prompts[structure.name] = replace(drawn, protocol=protocol, seed=drawn_seed)
    return {s.name: prompts[s.name] for s in structures}


_protocol = protocol


def corrective_click(
    reference: np.ndarray,
    prediction: np.ndarray,
    affine: np.ndarray,
    *,
    protocol: str = "centre",
    rng: np.random.Generator | None = None,
) -> Click | None:
    """The next click: where the prediction is most wrong.

    ``"centre"`` (and every protocol that is not official): the deepest voxel of the largest
    connected error (26 neighbours, by number of voxels); false negatives and false positives are
    separate errors; on equal size the false negative, then the first in C order, is taken.
    ``"official_random"``: any voxel of the error, all equally likely. ``"ritm"``: of the error
    kind whose deepest voxel is deeper, any voxel deeper than half of that.

    Parameters
    ----------
    reference, prediction
        Boolean masks (I, J, K) on the grid of `affine`.
    protocol
        How to choose.
    rng
        Needed by the official protocols.

    Returns
    -------
    Click or None
        Positive in a false negative, negative in a false positive; None without an error.

    Raises
    ------
    InputError
        Different shapes; a protocol that is none; an official one without `rng`.
    """
    kind, _ = _protocol(protocol)
    if kind in OFFICIAL and rng is None:
        raise InputError(f"Corrective clicks of '{protocol}' are drawn: rng is needed.")
    if reference.shape != prediction.shape:
        raise InputError(
            f"The prediction has shape {prediction.shape}, its reference {reference.shape}. "
            "Both must be on one grid."
        )
    reference, prediction = reference.astype(bool), prediction.astype(bool)
    box = depth.difference_box(reference, prediction)
    if box is None:
        return None
    missed = reference[box] & ~prediction[box]
    added = prediction[box] & ~reference[box]
    choose = {"official_random": _random_error, "ritm": _ritm_error}.get(kind, _largest_error)
    ijk, positive = choose(missed, added, geometry.spacing_mm(affine), rng)
    ijk = [v + b.start for v, b in zip(ijk, box, strict=True)]
    return Click(_world(affine, ijk), positive)


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
    """A prompt as plain lists, numbers and strings; JSON keeps every float exactly."""
    record = asdict(prompt)
    record["clicks"] = [{"xyz_mm": list(c.xyz_mm), "positive": c.positive} for c in prompt.clicks]
    record["box"] = _box_record(prompt.box) if prompt.box else None
    record["boxes"] = [_box_record(b) for b in prompt.boxes]
    record["scribble"] = [list(xyz) for xyz in prompt.scribble]
    return record


def _box_record(box: Box) -> dict:
    """A box as lists; its axes only where they are not the world's."""
    faces = {"low_mm": list(box.low_mm), "high_mm": list(box.high_mm)}
    return faces if box.axes == WORLD else faces | {"axes": [list(axis) for axis in box.axes]}


def _box(record: Mapping) -> Box:
    """The box that `_box_record` wrote."""
    axes = tuple(map(tuple, record.get("axes", WORLD)))
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
    line = tuple(tuple(xyz) for xyz in record.get("scribble", ()))
    return Prompt(**{**record, "clicks": tuple(clicks), "box": box, "boxes": boxes, "scribble": line})


def _rng(seed: int, case: str, structure: Structure) -> np.random.Generator:
    """Generator of one structure of one case."""
    return np.random.default_rng([seed, zlib.crc32(case.encode()), structure.value])


def _world(affine: np.ndarray, ijk) -> XYZ:
    """World coordinates of a voxel's centre as plain floats."""
    return tuple(float(v) for v in geometry.to_world(affine, ijk))


def _draw(kind, length, reference, box, partners, structure, rng) -> Prompt:
    """The prompt of one structure, without its protocol's name."""
    if kind == "class":
        return Prompt(structure.name)
    if kind == "text":
        phrase = " ".join(reversed(structure.title.lower().split(", ")))
        return Prompt(structure.name, text=phrase)
    if box is None:
        return Prompt(structure.name, note=REFERENCE_EMPTY)
    if kind.startswith("box"):
        return Prompt(structure.name, box=_world_box(kind, length, reference.affine, box, rng))
    inside = _inside(partners, structure.value)
    if kind == "scribble":
        line = scribbles.middle_line(reference, box, structure.value)
        kept = scribbles.longest_stretch(line, inside)
        return Prompt(structure.name, scribble=kept or line, note=_note(bool(kept)))
    points = CLICKS[kind](reference, box, structure.value, length, rng)
    first = next(points)
    if kind in OFFICIAL or inside(first):
        return Prompt(structure.name, (Click(first, True),), note=_note(inside(first)))
    chosen = next((xyz for xyz in points if inside(xyz)), None)
    return Prompt(structure.name, (Click(chosen or first, True),), note=_note(chosen is not None))


def _note(inside: bool) -> str:
    return "" if inside else OUTSIDE_PARTNER


def _inside(label_maps: Sequence[LabelMap], value: int) -> Callable[[XYZ], bool]:
    """Whether a world point lies in a voxel of `value` in all label maps."""

    def inside(xyz: XYZ) -> bool:
        voxels = [geometry.nearest_voxel(m.affine, xyz, m.shape) for m in label_maps]
        pairs = zip(label_maps, voxels, strict=True)
        return all(ijk is not None and m.data[ijk] == value for m, ijk in pairs)

    return inside


def _voxel_points(reference, box, candidates: np.ndarray, order):
    """World points of voxels (n, 3) within `box`, in an order."""
    start = [b.start for b in box]
    for n in order:
        yield _world(reference.affine, candidates[n] + start)


def _by_depth(reference, box, value, length, rng):
    """The deepest voxels, deepest first, first in C order on ties."""
    depths = depth.depth_mm(reference.data[box] == value, reference.spacing_mm)
    # rounded, so that a tie is a tie
    depths = np.round(depths, 6)
    best = np.unravel_index(np.argmax(depths), depths.shape)
    yield _world(reference.affine, [v + b.start for v, b in zip(best, box, strict=True)])
    candidates = np.argwhere(depths > 0)
    order = np.argsort(-depths[depths > 0], kind="stable")
    yield from _voxel_points(reference, box, candidates, order[1:CANDIDATES])


def _anywhere(reference, box, value, length, rng):
    """Random voxels."""
    candidates = np.argwhere(reference.data[box] == value)
    order = (rng.integers(len(candidates)) for _ in range(REDRAWS))
    yield from _voxel_points(reference, box, candidates, order)


def _at_boundary(reference, box, value, length, rng):
    """Random voxels with a face neighbour outside."""
    mask = np.pad(reference.data[box] == value, 1)
    core = mask.copy()
    for axis in range(3):
        core &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    candidates = np.argwhere((mask & ~core)[1:-1, 1:-1, 1:-1])
    order = (rng.integers(len(candidates)) for _ in range(REDRAWS))
    yield from _voxel_points(reference, box, candidates, order)


def _around_centre(reference, box, value, length, rng):
    """The centre moved by a normal distance, inside the structure; the centre where none is."""
    inside = _inside([reference], value)
    centre = np.array(next(_by_depth(reference, box, value, length, rng)))
    for _ in range(REDRAWS):
        xyz = tuple((centre + rng.normal(0, length, 3)).tolist())
        if inside(xyz):
            yield xyz
    yield tuple(centre.tolist())


def _deeper_half(reference, box, value, length, rng):
    """A random voxel deeper than half the depth of the deepest."""
    depths = depth.depth_mm(reference.data[box] == value, reference.spacing_mm)
    candidates = np.argwhere(depths > depths.max() / 2)
    yield from _voxel_points(reference, box, candidates, [rng.integers(len(candidates))])


CLICKS = {
    "centre": _by_depth,
    "random": _anywhere,
    "boundary": _at_boundary,
    "jittered": _around_centre,
    "official_random": _anywhere,
    "ritm": _deeper_half,
}


def _world_box(kind, length, affine, box, rng) -> Box:
    """Box around a voxel box along the grid's axes, padded or jittered."""
    tight = box_of(affine, [b.start for b in box], [b.stop - 1 for b in box])
    low, high = np.array(tight.low_mm), np.array(tight.high_mm)
    if kind == "box_padded":
        low, high = low - length, high + length
    if kind == "box_jittered":
        # a face stays on its side of the middle
        most = 0.45 * (high - low)
        moves = rng.normal(0, length, (2, 3))
        low, high = low + np.minimum(moves[0], most), high - np.minimum(moves[1], most)
    return Box(tuple(low.tolist()), tuple(high.tolist()), tight.axes)


def _largest_error(missed, added, spacing_mm, rng):
    """Deepest voxel of the largest component of an error."""
    (n_missed, a), (n_added, b) = map(depth.largest_component, (missed, added))
    positive = n_missed >= n_added
    return depth.deepest_voxel(a if positive else b, spacing_mm), positive


def _random_error(missed, added, spacing_mm, rng):
    """Any voxel of the error."""
    candidates = np.argwhere(missed | added)
    ijk = tuple(candidates[rng.integers(len(candidates))].tolist())
    return ijk, bool(missed[ijk])


def _ritm_error(missed, added, spacing_mm, rng):
    """Any voxel of the deeper error's deeper half."""
    depths = [depth.depth_mm(m, spacing_mm) for m in (missed, added)]
    positive = bool(depths[0].max() > depths[1].max())  # as officially, a tie is negative
    chosen = depths[0 if positive else 1]
    candidates = np.argwhere(chosen > chosen.max() / 2)
    return tuple(candidates[rng.integers(len(candidates))].tolist()), positive
