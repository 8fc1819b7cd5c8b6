"""Prompt protocols by the names that a score table has: what each gives, and how it is drawn."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from umdlib.errors import InputError, unknown_name


@dataclass(frozen=True)
class Protocol:
    """A rule that turns a reference into a prompt.

    Attributes
    ----------
    text
        The rule in one sentence; ``{mm}`` stands for the length in its name.
    gives
        Kind of its first prompt: ``click``, ``slice_click``, ``box``, ``slice_box``, ``scribble``,
        ``lasso``, ``initial_mask``, ``class``, ``text``.
    drawn
        Whether it draws at random; the seed of the others is 0.
    official
        Whether it repeats a published script: one generator for all structures of a case, in
        ascending label value, and no regard to the partner image.
    own_image
        Whether each image gets a prompt from its own reference, since it names the image's slices.
    discloses
        What it discloses of the reference beside the clicks, boxes or lines themselves.
    """

    text: str
    gives: str = "click"
    drawn: bool = True
    official: bool = False
    own_image: bool = False
    discloses: str = ""


_SLICES = "in which axial slices the structure lies, and its parts there"

# Names that hold {mm} take a length, those that hold {n} a number: jittered_5mm, points_per_slice_3.
PROTOCOLS: dict[str, Protocol] = {
    "centre": Protocol("One click at the deepest voxel of the structural reference.", drawn=False),
    "random": Protocol("One click at a voxel of the structural reference, all equally likely."),
    "boundary": Protocol("One click at a voxel of the structural reference that touches the outside."),
    "jittered_{mm}mm": Protocol(
        "The centre, moved by a normal distance of SD {mm} mm along each axis; drawn again where that "
        "leaves the structure (100 draws, then the centre)."
    ),
    "box": Protocol("The smallest box around the structural reference.", "box", drawn=False),
    "box_padded_{mm}mm": Protocol(
        "The smallest box, each face moved outwards by {mm} mm.", "box", drawn=False
    ),
    "box_jittered_{mm}mm": Protocol(
        "The smallest box, each face moved by a normal distance of SD {mm} mm.", "box"
    ),
    "scribble": Protocol(
        "A line along the middle of the structural reference, in the slice of its centre.",
        "scribble",
        drawn=False,
    ),
    "lasso_{n}": Protocol(
        "A closed line of {n} corners, equally spaced on the outline of the structural reference in the slice "
        "of its centre.",
        "lasso",
        drawn=False,
    ),
    "initial_mask_{mm}mm": Protocol(
        "A mask to be corrected: the structural reference with its surface moved outwards by {mm} mm.",
        "initial_mask",
        drawn=False,
        discloses="the whole of the structure, {mm} mm too large",
    ),
    "class": Protocol("The name of the structure alone.", "class", drawn=False),
    "text": Protocol("The name of the structure as a phrase.", "text", drawn=False),
    "official_random": Protocol(
        "SAM-Med3D, SegAnyPET: random voxel of the reference, then of the error.", official=True
    ),
    "ritm": Protocol(
        "SAM-Med3D's other sampler: random voxel of the deeper half, then of the deeper error.", official=True
    ),
    "official_crop_{mm}mm": Protocol(
        "The released script of SAM-Med3D and SegAnyPET: a cube of {mm} mm whose middle is that of the box "
        "around the reference on a grid of 1.5 mm; a random voxel of the reference in it, then of the error "
        "in it.",
        official=True,
        discloses="where the middle of the reference's box lies",
    ),
    "sliding_{mm}mm": Protocol(
        "The text of the SegAnyPET paper: a cube of {mm} mm around a random voxel of the reference; further "
        "cubes, each half over the one before, where the mask reaches a face; then a random voxel of the "
        "error.",
        official=True,
    ),
    "points_per_slice_{n}": Protocol(
        "SAM and MedSAM in SegAnyPET's table S3: {n} random pixels of each connected part of the reference in "
        "each of its axial slices.",
        "slice_click",
        official=True,
        own_image=True,
        discloses=_SLICES,
    ),
    "boxes_per_slice": Protocol(
        "What MedSAM was trained for: the smallest box around each connected part of the reference in each of "
        "its axial slices.",
        "slice_box",
        drawn=False,
        official=True,
        own_image=True,
        discloses=_SLICES,
    ),
}

_CROP = ("official_crop_192mm",)
_POINTS = ("points_per_slice_3", "points_per_slice_5")

# What the authors of each system do in their own evaluation; of 2D systems, what SegAnyPET's did with
# them. Empty where they publish no rule for a click. All others: see `native_protocols`.
NATIVE: dict[str, tuple[str, ...]] = {
    "sam_med3d_turbo": _CROP,
    "seganypet_v1": _CROP,
    "seganypet_v2": _CROP,
    "seganypet_lesion": _CROP,
    "segvol": ("random",),
    "nninteractive": (),
    "vista3d": ("class",),
    "vista3d_point": ("centre",),
    "sat_pro": ("text",),
    "voxtell": ("text",),
    "sam_vit_b": _POINTS,
    "sam_vit_l": _POINTS,
    "sam_vit_h": _POINTS,
    "medsam": ("boxes_per_slice", "points_per_slice_5"),
    "medsam2": ("box",),
    "litemedsam": ("box",),
}

# Numbers that one first prompt of each kind gives: a scribble its two ends, a word none.
_NUMBERS = {"click": 3, "box": 6, "scribble": 6, "class": 0, "text": 0}

_MM, _N = r"_([0-9]+(?:\.[0-9]+)?)mm", r"_([0-9]+)"


def protocol(name: str) -> tuple[str, float]:
    """Kind of a protocol's name, and the length in mm or the number in it.

    Examples
    --------
    >>> protocol("jittered_2.5mm"), protocol("points_per_slice_3")
    (('jittered', 2.5), ('points_per_slice', 3.0))
    >>> protocol("centre")
    ('centre', 0.0)

    Raises
    ------
    InputError
        If there is no such protocol, or its length or number is missing or not positive.
    """
    kind, number, pattern = _parsed(name)
    if pattern not in PROTOCOLS:
        raise unknown_name("prompt protocol", name, PROTOCOLS)
    if pattern != kind and not number > 0:
        what = "length" if pattern.endswith("mm") else "number"
        raise InputError(f"Invalid prompt protocol '{name}'. Its {what} must be positive.")
    if kind == "lasso" and number < 3:
        raise InputError(f"Invalid prompt protocol '{name}'. A lasso has 3 corners or more.")
    return kind, number


def record(name: str) -> Protocol:
    """The rule that a protocol's name stands for.

    Examples
    --------
    >>> record("box_padded_5mm").gives
    'box'

    Raises
    ------
    InputError
        As `protocol` does.
    """
    protocol(name)
    return PROTOCOLS[_parsed(name)[2]]


def _parsed(name: str) -> tuple[str, float, str]:
    """Kind, number and key of `PROTOCOLS` of a name."""
    for end, key in ((_MM, "_{mm}mm"), (_N, "_{n}")):
        if found := re.fullmatch("(.+)" + end, name):
            return found[1], float(found[2]), found[1] + key
    return name, 0.0, name


def native_protocols(segmenter: str) -> tuple[str, ...]:
    """Protocols of a system's own evaluation, the first the one to prefer.

    A class or a text is native to whatever takes it.

    Examples
    --------
    >>> native_protocols("seganypet_v2"), native_protocols("nninteractive"), native_protocols("threshold")
    (('official_crop_192mm',), (), ('class', 'text'))
    """
    return NATIVE.get(segmenter, ("class", "text"))


def kind_given(name: str) -> str:
    """Kind of a protocol's first prompt, one of those of `Protocol.gives`.

    Examples
    --------
    >>> [kind_given(name) for name in ("jittered_5mm", "box_padded_5mm", "scribble", "text")]
    ['click', 'box', 'scribble', 'text']
    """
    return record(name).gives


def coordinates_given(name: str, step: int) -> float:
    """How many numbers a user has given after `step` corrective clicks.

    A click gives three coordinates, a box six, a scribble six (its ends), a lasso two per corner and one
    for its slice, the name of a structure none, a disclosed centre three. It puts a box and a click on one
    scale, which the number of prompts does not. NaN where prompts are given per slice: the rows of a score
    table count those. NaN for a mask to start from.

    Examples
    --------
    >>> coordinates_given("centre", 0), coordinates_given("centre", 2), coordinates_given("box", 0)
    (3, 9, 6)
    """
    (kind, number), rule = protocol(name), record(name)
    if rule.own_image or rule.gives == "initial_mask":
        return math.nan
    first = 2 * int(number) + 1 if rule.gives == "lasso" else _NUMBERS[rule.gives]
    return first + 3 * (kind == "official_crop") + 3 * int(step)
