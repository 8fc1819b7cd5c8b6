"""Prompt protocols by the names that a score table has: what each gives, and how it is drawn."""

from __future__ import annotations

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
        Kind of its first prompt: ``click``, ``box``, ``scribble``, ``class`` or ``text``.
    drawn
        Whether it draws at random; the seed of the others is 0.
    official
        Whether it repeats a published script: one generator for all structures of a case, in
        ascending label value, and no regard to the partner image.
    """

    text: str
    gives: str = "click"
    drawn: bool = True
    official: bool = False


# Names that end in {mm} take a length: jittered_5mm.
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
    "class": Protocol("The name of the structure alone.", "class", drawn=False),
    "text": Protocol("The name of the structure as a phrase.", "text", drawn=False),
    "official_random": Protocol(
        "SAM-Med3D, SegAnyPET: random voxel of the reference, then of the error.", official=True
    ),
    "ritm": Protocol(
        "SAM-Med3D's other sampler: random voxel of the deeper half, then of the deeper error.", official=True
    ),
}

# Numbers that one first prompt of each kind gives: a scribble its two ends, a word none.
_NUMBERS = {"click": 3, "box": 6, "scribble": 6, "class": 0, "text": 0}


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
    if _pattern(kind, length if found else None) not in PROTOCOLS:
        raise unknown_name("prompt protocol", name, PROTOCOLS)
    if found and not length > 0:
        raise InputError(f"Invalid prompt protocol '{name}'. Its length must be positive.")
    return kind, length


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
    kind, length = protocol(name)
    return PROTOCOLS[_pattern(kind, length or None)]


def _pattern(kind: str, length: float | None) -> str:
    """Key of `PROTOCOLS`."""
    return kind if length is None else f"{kind}_{{mm}}mm"


def kind_given(name: str) -> str:
    """What a protocol gives first: ``click``, ``box``, ``scribble``, ``class`` or ``text``.

    Examples
    --------
    >>> [kind_given(name) for name in ("jittered_5mm", "box_padded_5mm", "scribble", "text")]
    ['click', 'box', 'scribble', 'text']
    """
    return record(name).gives


def coordinates_given(name: str, step: int) -> int:
    """How many numbers a user has given after `step` corrective clicks.

    A click gives three coordinates, a box six, a scribble six (its ends), the name of a structure
    none. It puts a box and a click on one scale, which the number of prompts does not.

    Examples
    --------
    >>> coordinates_given("centre", 0), coordinates_given("centre", 2), coordinates_given("box", 0)
    (3, 9, 6)
    """
    return _NUMBERS[kind_given(name)] + 3 * int(step)
