"""How prompts are drawn from references, and corrective clicks from errors."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy

from umdlib import protocols
from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.runs import Runs, runs_of
from umdlib.images.volume import LabelMap
from umdlib.labels import Structure
from umdlib.prompts import disclosed, lassos, scribbles
from umdlib.prompts.initial import initial_mask
from umdlib.prompts.prompt import OUTSIDE_PARTNER, REFERENCE_EMPTY, Box, Click, Cube, Prompt, box_of
from umdlib.prompts.scribbles import XYZ

# How often a draw is repeated, and how many voxels are tried by depth, before a click is kept
# although it lies outside the structure on the partner's grid.
_REDRAWS = 100
_CANDIDATES = 1000


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
    their first draw is kept. Those with a prompt per slice are drawn for one image: call once for
    each, with its modality as `structural`.

    Parameters
    ----------
    references
        Label maps of one session by modality, each on its own grid.
    structures
        What to prompt for.
    protocol
        A name of `umdlib.protocols.PROTOCOLS`, with its length: ``"jittered_5mm"``.
    seed, case
        The draw depends on these and on the structure's value, not on the other structures.
    structural
        The modality whose reference is pointed at; the first of `references` by default.

    Returns
    -------
    dict
        Structure name to `Prompt`. A structure that is absent from the structural reference
        has a prompt without click, box, line or mask whose note is ``"reference_empty"``.
    """
    rule = protocols.record(protocol)
    first = structural or next(iter(references))
    if first not in references:
        raise unknown_name("modality", first, references)
    partners = [r for modality, r in references.items() if modality != first and not rule.own_image]
    shared = np.random.default_rng(seed) if rule.official else None
    ordered = sorted(structures, key=lambda s: s.value)
    boxes = depth.bounding_boxes(references[first].data, [s.value for s in ordered])
    prompts = {}
    for structure, box in zip(ordered, boxes, strict=True):
        rng = shared or _rng(seed, case, structure)
        drawn = _draw(protocol, references[first], box, partners, structure, rng)
        drawn_seed = seed if rule.drawn else 0
        prompts[structure.name] = replace(drawn, protocol=protocol, seed=drawn_seed)
    return {s.name: prompts[s.name] for s in structures}


def corrective_click(
    reference: np.ndarray | Runs,
    prediction: np.ndarray | Runs,
    affine: np.ndarray,
    *,
    protocol: str = "centre",
    rng: np.random.Generator | None = None,
    cube: Cube | None = None,
) -> Click | None:
    """The next click: where the prediction is most wrong.

    ``"centre"`` (and every protocol that is not official): the deepest voxel of the largest
    connected error (26 neighbours, by number of voxels); false negatives and false positives are
    separate errors; on equal size the false negative, then the first in C order, is taken.
    ``"official_random"``, ``"sliding"``, ``"official_crop"``: any voxel of the error, all equally
    likely. ``"ritm"``: of the error kind whose deepest voxel is deeper, any voxel deeper than half of
    that.

    Parameters
    ----------
    reference, prediction
        Boolean masks (I, J, K) on the grid of `affine`, or their runs, both along one axis.
    protocol
        How to choose.
    rng
        Needed by the official protocols.
    cube
        Of the prompt so far: where its centre is disclosed, only errors inside it count.

    Returns
    -------
    Click or None
        Positive in a false negative, negative in a false positive; None without an error.

    Raises
    ------
    InputError
        Different shapes; a protocol that is none; an official one without `rng`.
    """
    kind, _ = protocols.protocol(protocol)
    if protocols.record(protocol).official and rng is None:
        raise InputError(f"Corrective clicks of '{protocol}' are drawn: rng is needed.")
    if reference.shape != prediction.shape:
        raise InputError(
            f"The prediction has shape {prediction.shape}, its reference {reference.shape}. "
            "Both must be on one grid."
        )
    if isinstance(reference, np.ndarray):
        reference, prediction = (m.astype(bool, copy=False) for m in (reference, prediction))
        flipped = bool(reference.flags.f_contiguous and not reference.flags.c_contiguous)
        reference, prediction = (runs_of(mask, flipped=flipped) for mask in (reference, prediction))
    missed, added = reference.minus(prediction), prediction.minus(reference)
    if cube is not None and cube.centre_mm is not None:
        inside = cube.voxels(affine, reference.shape)
        missed, added = missed.within(inside), added.within(inside)
    if not missed.size + added.size:
        return None
    ijk, positive = _ERRORS.get(kind, _largest_error)(missed, added, geometry.spacing_mm(affine), rng)
    return Click(_world(affine, ijk), positive)


def _rng(seed: int, case: str, structure: Structure) -> np.random.Generator:
    """Generator of one structure of one case."""
    return np.random.default_rng([seed, zlib.crc32(case.encode()), structure.value])


def _world(affine: np.ndarray, ijk) -> XYZ:
    """World coordinates of a voxel's centre as plain floats."""
    return tuple(float(v) for v in geometry.to_world(affine, ijk))


def _draw(protocol, reference, box, partners, structure, rng) -> Prompt:
    """The prompt of one structure, without its protocol's name."""
    kind, number = protocols.protocol(protocol)
    if kind == "class":
        return Prompt(structure.name)
    if kind == "text":
        phrase = " ".join(reversed(structure.title.lower().split(", ")))
        return Prompt(structure.name, text=phrase)
    if box is None:
        return Prompt(structure.name, note=REFERENCE_EMPTY)
    if kind == "points_per_slice":
        return disclosed.slice_points(reference, box, structure.name, structure.value, int(number), rng)
    if kind == "boxes_per_slice":
        return disclosed.slice_boxes(reference, box, structure.name, structure.value)
    if kind.startswith("box"):
        return Prompt(structure.name, box=_world_box(kind, number, reference.affine, box, rng))
    if kind == "lasso":
        line = lassos.outline(reference, box, structure.value, int(number))
        return Prompt(structure.name, lasso=line)
    if kind == "initial_mask":
        grown = _grown(reference.data == structure.value, reference.spacing_mm, number)
        return Prompt(structure.name, initial=initial_mask(grown, reference.affine))
    inside = _inside(partners, structure.value)
    if kind == "official_crop":
        drawn = disclosed.crop_prompt(reference, box, structure.name, structure.value, number, rng)
        return replace(drawn, note=_note(inside(drawn.clicks[0].xyz_mm)))
    if kind == "scribble":
        line = scribbles.middle_line(reference, box, structure.value)
        kept = scribbles.longest_stretch(line, inside)
        return Prompt(structure.name, scribble=kept or line, note=_note(bool(kept)))
    cube = Cube(number, slides=True) if kind == "sliding" else None
    points = _CLICKS[kind](reference, box, structure.value, number, rng)
    first = next(points)
    if protocols.record(protocol).official or inside(first):
        return Prompt(structure.name, (Click(first),), note=_note(inside(first)), cube=cube)
    chosen = next((xyz for xyz in points if inside(xyz)), None)
    return Prompt(structure.name, (Click(chosen or first),), note=_note(chosen is not None))


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
    yield from _voxel_points(reference, box, candidates, order[1:_CANDIDATES])


def _anywhere(reference, box, value, length, rng):
    """Random voxels."""
    candidates = np.argwhere(reference.data[box] == value)
    order = (rng.integers(len(candidates)) for _ in range(_REDRAWS))
    yield from _voxel_points(reference, box, candidates, order)


def _at_boundary(reference, box, value, length, rng):
    """Random voxels with a face neighbour outside."""
    mask = np.pad(reference.data[box] == value, 1)
    core = mask.copy()
    for axis in range(3):
        core &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    candidates = np.argwhere((mask & ~core)[1:-1, 1:-1, 1:-1])
    order = (rng.integers(len(candidates)) for _ in range(_REDRAWS))
    yield from _voxel_points(reference, box, candidates, order)


def _around_centre(reference, box, value, length, rng):
    """The centre moved by a normal distance, inside the structure; the centre where none is."""
    inside = _inside([reference], value)
    centre = np.array(next(_by_depth(reference, box, value, length, rng)))
    for _ in range(_REDRAWS):
        xyz = tuple((centre + rng.normal(0, length, 3)).tolist())
        if inside(xyz):
            yield xyz
    yield tuple(centre.tolist())


def _deeper_half(reference, box, value, length, rng):
    """A random voxel deeper than half the depth of the deepest."""
    depths = depth.depth_mm(reference.data[box] == value, reference.spacing_mm)
    candidates = np.argwhere(depths > depths.max() / 2)
    yield from _voxel_points(reference, box, candidates, [rng.integers(len(candidates))])


_CLICKS = {
    "centre": _by_depth,
    "random": _anywhere,
    "boundary": _at_boundary,
    "jittered": _around_centre,
    "official_random": _anywhere,
    "ritm": _deeper_half,
    "sliding": _anywhere,
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


def _grown(mask: np.ndarray, spacing_mm, length: float) -> np.ndarray:
    """Voxels whose centres lie within a length of a voxel of the mask."""
    (box,) = depth.bounding_boxes(mask, [1])
    reach = [int(length // s) + 1 for s in spacing_mm]
    wide = tuple(slice(max(b.start - r, 0), b.stop + r) for b, r in zip(box, reach, strict=True))
    out = mask.copy()
    out[wide] = scipy.ndimage.distance_transform_edt(~mask[wide], spacing_mm) <= length
    return out


def _largest_error(missed: Runs, added: Runs, spacing_mm, rng):
    """Deepest voxel of the largest component of an error."""
    largest = [error.largest_component() for error in (missed, added)]
    positive = largest[0].size >= largest[1].size
    return largest[0 if positive else 1].deepest_voxel(spacing_mm), positive


def _random_error(missed: Runs, added: Runs, spacing_mm, rng):
    """Any voxel of the error."""
    low, missed, added = _in_box(missed, added)
    candidates = np.argwhere(missed | added)
    ijk = tuple(candidates[rng.integers(len(candidates))].tolist())
    return low + ijk, bool(missed[ijk])


def _ritm_error(missed: Runs, added: Runs, spacing_mm, rng):
    """Any voxel of the deeper error's deeper half."""
    low, missed, added = _in_box(missed, added)
    depths = [depth.depth_mm(m, spacing_mm) for m in (missed, added)]
    positive = bool(depths[0].max() > depths[1].max())  # as officially, a tie is negative
    chosen = depths[0 if positive else 1]
    candidates = np.argwhere(chosen > chosen.max() / 2)
    return low + candidates[rng.integers(len(candidates))], positive


def _in_box(*errors: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First voxel of the box around two masks, and both as arrays in it."""
    boxes = [box for e in errors if (box := e.box()) is not None]
    around = tuple(
        slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True)
    )
    return np.array([s.start for s in around]), *(e.mask(around) for e in errors)


# Of the protocols that draw; of the others the largest error.
_ERRORS = {
    "official_random": _random_error,
    "official_crop": _random_error,
    "sliding": _random_error,
    "ritm": _ritm_error,
}
