"""What a user writes on a command line or in a table, as prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images.volume import Volume, read_label_map
from umdlib.prompts import lassos
from umdlib.prompts.initial import InitialMask, initial_mask
from umdlib.prompts.prompt import Box, Click, Prompt, box_of
from umdlib.segmenters.calls import check_prompt
from umdlib.segmenters.contract import Segmenter

# How coordinates are meant, and in words.
FRAMES: dict[str, str] = {
    "world": "mm to the right, front and head (RAS, as NIfTI and 3D Slicer)",
    "lps": "mm to the left, back and head (LPS, as DICOM and ITK)",
    "voxel": "voxel indices I, J, K of the file, from 0",
}
_PROTOCOL = "user"
_UNNAMED = "structure"


@dataclass(frozen=True)
class Given:
    """A prompt as it is written.

    Attributes
    ----------
    clicks, negative
        Points inside and outside the structure, ``x,y,z`` each.
    box
        ``x,y,z,x,y,z``, two opposite corners; empty for none. In voxels both corners are inside.
    lasso
        File of a closed line around the structure in one slice: a point ``x,y,z`` a line, three or more;
        empty for none. Lines that begin with # say nothing.
    initial_mask
        File of a mask to start from, on any grid; its voxels other than 0. Empty for none.
    texts
        Names or texts of what to segment, each a mask; ``all`` for all that a system knows.
    frame
        How numbers are meant, of `FRAMES`.
    """

    clicks: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    box: str = ""
    texts: tuple[str, ...] = ()
    frame: str = "world"
    lasso: str = ""
    initial_mask: str = ""


def prompts_of(given: Given, image: Volume, record: Segmenter) -> list[Prompt]:
    """Prompts in world coordinates, one for each structure to segment.

    Parameters
    ----------
    given
        As written.
    image
        That the coordinates are of.
    record
        System that takes them.

    Raises
    ------
    InputError
        Numbers that are none; a click or box outside the image, with the frame that it would lie
        inside of; a line or mask file that cannot be used; a text that the system does not know; a prompt
        of a kind that it does not take.
    """
    if given.frame not in FRAMES:
        raise unknown_name("coordinates", given.frame, FRAMES)
    clicks = [_click(text, True, given.frame, image) for text in given.clicks]
    clicks += [_click(text, False, given.frame, image) for text in given.negative]
    box = _box(given.box, given.frame, image) if given.box else None
    lasso = _lasso(given.lasso, given.frame, image) if given.lasso else ()
    initial = _initial(given.initial_mask, image) if given.initial_mask else None
    alone = box is None and not lasso and initial is None
    if clicks and alone and not any(c.positive for c in clicks):
        raise InputError(
            f"The prompt for {image.name} holds no positive click. Give one inside the structure."
        )
    kinds = {"lasso": bool(lasso), "initial_mask": initial is not None}
    for kind in [k for k, there in kinds.items() if there and k not in record.prompts]:
        takes = ", ".join(sorted(record.prompts)).replace("_", " ")
        raise InputError(f"Segmenter '{record.name}' takes no {kind.replace('_', ' ')}; it takes {takes}.")
    found = []
    for name in _names(given, record):
        text = name if "text" in record.prompts else None
        prompt = Prompt(name, tuple(clicks), box, text, protocol=_PROTOCOL, lasso=lasso, initial=initial)
        check_prompt(record, prompt)
        found.append(prompt)
    return found


def _names(given: Given, record: Segmenter) -> Sequence[str]:
    """Names to segment, each once."""
    texts = tuple(dict.fromkeys(t.strip() for t in given.texts if t.strip()))
    if texts == ("all",):
        if not record.structures:
            raise InputError(
                f"Segmenter '{record.name}' has no list of structures, so --text all names none."
            )
        return record.structures
    by_name = not record.prompts - {"class", "text"}
    if not texts and by_name:
        known = f" one of {', '.join(record.structures)}, or all" if record.structures else " what to find"
        raise InputError(f"Segmenter '{record.name}' takes names. Give --text:{known}.")
    if len(texts) > 1 and not by_name and not {"class", "text"} & record.prompts:
        raise InputError(
            f"Segmenter '{record.name}' marks what a click or box shows, so {len(texts)} names "
            f"({', '.join(texts)}) need a prompt each: ask for one at a time, or in lines of a table."
        )
    return texts or (_UNNAMED,)


def _click(text: str, positive: bool, frame: str, image: Volume) -> Click:
    """A point inside the image."""
    numbers = _numbers(text, 3, "click", "x,y,z")
    xyz = _world(numbers, frame, image)
    _check_inside(xyz, f"click {text}", numbers, frame, image)
    return Click(tuple(xyz.tolist()), positive)


def _box(text: str, frame: str, image: Volume) -> Box:
    """A box that holds voxels of the image."""
    numbers = _numbers(text, 6, "box", "x,y,z,x,y,z (two opposite corners)")
    corners = np.array(numbers).reshape(2, 3)
    if frame == "voxel":
        for corner in corners:
            _check_inside(_world(corner, frame, image), f"box {text}", corner, frame, image)
        return box_of(image.affine, corners.min(axis=0), corners.max(axis=0))
    world = np.array([_world(c, frame, image) for c in corners])
    if (np.ptp(world, axis=0) == 0).any():
        raise InputError(
            f"Invalid box {text} for {image.name}. Its corners must differ along all three axes."
        )
    box = Box(tuple(world.min(axis=0).tolist()), tuple(world.max(axis=0).tolist()))
    try:
        box.voxels(image.affine, image.shape)
    except InputError:
        raise InputError(
            f"Invalid box {text} ({FRAMES[frame]}) for {image.name}. It holds no voxel; {_field(image)}."
        ) from None
    return box


def _lasso(path: str, frame: str, image: Volume) -> tuple[tuple[float, float, float], ...]:
    """A closed line of a file, in one plane of the image."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"File {path} of the lasso cannot be read: {reason}.") from None
    points = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            what = f"line {number} of lasso {path}"
            numbers = _numbers(line.strip(), 3, what, "x,y,z")
            xyz = _world(numbers, frame, image)
            _check_inside(xyz, what, numbers, frame, image)
            points.append(tuple(xyz.tolist()))
    if len(points) < 3:
        raise InputError(f"Lasso {path} holds {len(points)} points. A closed line has 3 or more, one a line.")
    if (off := lassos.off_plane(points, image.affine)) > 1:
        raise InputError(
            f"Lasso {path} leaves its plane by {off:.1f} voxels of {image.name}. Its points must lie in one "
            "slice of the image, along any of its axes."
        )
    return tuple(points)


def _initial(path: str, image: Volume) -> InitialMask:
    """A mask of a file, which must share a voxel with the image."""
    labels = read_label_map(path)
    if not labels.data.any():
        raise InputError(f"Initial mask {path} is empty. It must hold the structure, or a part of it.")
    mask = initial_mask(labels.data > 0, labels.affine)
    if not mask.on(image).any():
        raise InputError(f"Initial mask {path} lies outside {image.name}; {_field(image)}.")
    return mask


def _numbers(text: str, count: int, kind: str, form: str) -> list[float]:
    """So many finite numbers."""
    try:
        numbers = [float(t) for t in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InputError(f"Invalid {kind} '{text}'. Write {form}: {count} numbers.")
    return numbers


def _world(numbers: Sequence[float], frame: str, image: Volume) -> np.ndarray:
    """A point of a frame as RAS+ mm."""
    point = np.asarray(numbers, float)
    if frame == "voxel":
        return geometry.to_world(image.affine, point)
    return point * (-1, -1, 1) if frame == "lps" else point


def _check_inside(xyz, what: str, numbers, frame: str, image: Volume) -> None:
    """Refuse a point outside the image; say in which other frame it would lie inside."""
    if geometry.nearest_voxel(image.affine, xyz, image.shape) is not None:
        return
    others = [
        f
        for f in FRAMES
        if f != frame
        and geometry.nearest_voxel(image.affine, _world(numbers, f, image), image.shape) is not None
    ]
    hint = f" Did you mean --coordinates {' or '.join(others)}?" if others else ""
    raise InputError(
        f"The {what} ({FRAMES[frame]}) lies outside {image.name}. It must lie inside; {_field(image)}.{hint}"
    )


def _field(image: Volume) -> str:
    """Where an image lies, in words."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in image.shape])).reshape(3, -1).T
    world = geometry.to_world(image.affine, corners)
    spans = [f"{a:.0f} to {b:.0f}" for a, b in zip(world.min(axis=0), world.max(axis=0), strict=True)]
    return f"it has {' x '.join(map(str, image.shape))} voxels and spans {', '.join(spans)} mm (RAS)"
