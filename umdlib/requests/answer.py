"""One request: the system is run, the mask written on the image's own grid, its record beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.files import existing, file_hash, replaced
from umdlib.images.volume import Volume, read_label_map, write_mask
from umdlib.prompts.prompt import Prompt, to_record
from umdlib.requests.given import Given, prompts_of
from umdlib.requests.opening import Opening, open_images
from umdlib.segmenters.calls import Opened, Unavailable, check_partner, out_of_memory
from umdlib.version import __version__

# Draws what was found into a picture file: opening, label map, names by value, prompts, path.
Draw = Callable[[Opening, np.ndarray, dict[int, str], list[Prompt], Path], None]


@dataclass(frozen=True)
class Request:
    """A request to a system.

    Attributes
    ----------
    image
        A file, or a folder of DICOM.
    out
        The mask, ``.nii`` or ``.nii.gz``; its record is written beside it as ``.json``, its picture as ``.png``.
    given
        The prompt as written.
    modality, session, partner
        As `open_images` takes them.
    """

    image: str
    out: Path
    given: Given = field(default_factory=Given)
    modality: str = ""
    session: str = ""
    partner: str = ""

    def beside(self, suffix: str) -> Path:
        """A file beside the mask with its name."""
        return self.out.with_name(self.out.name.removesuffix(".gz").removesuffix(".nii") + suffix)


@dataclass(frozen=True)
class Answer:
    """Result of a request.

    Attributes
    ----------
    out
        Where the mask lies.
    structures
        A row for each name: value in the mask, name, voxels, volume_ml, mean and max of the image inside
        (None where it is empty), unit.
    seconds
        Of the system, without reading and writing.
    kept
        Whether it was there already, of the same image, prompt and system.
    notes
        What was found and not given.
    """

    out: Path
    structures: list[dict]
    seconds: float
    kept: bool
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line for each structure."""
        return [_line(row) for row in self.structures]


def opened_images(request: Request) -> Opening:
    """The images of a request, read."""
    return open_images(
        request.image, modality=request.modality, session=request.session, partner=request.partner
    )


def answer(
    request: Request,
    opened: Opened | Unavailable,
    *,
    opening: Opening | None = None,
    draw: Draw | None = None,
    overwrite: bool = False,
) -> Answer:
    """Ask a system and write its mask; what is there of the same request is kept.

    Parameters
    ----------
    request
        What is asked.
    opened
        The system, of `umdlib.segmenters.open`.
    opening
        The request's images where they are read already: the same voxels are encoded once.
    draw
        Draws a picture beside the mask; None draws none.
    overwrite
        Whether a mask that is there is made anew.

    Raises
    ------
    InputError
        Whatever is wrong with the request, the image or the system, in one sentence; a file of another
        request at the mask's place, unless `overwrite`; no memory.
    """
    record = opened.record
    if isinstance(opened, Unavailable):
        raise InputError(f"Segmenter '{record.name}' is unavailable. {opened.reason}")
    opening = opening or opened_images(request)
    if opening.modality not in record.modalities and record.conditions:
        raise InputError(
            f"Segmenter '{record.name}' is for {', '.join(record.modalities)}; {request.image} is {opening.modality}."
        )
    if record.partner:
        check_partner(record, opening.image, opening.partner)
    prompts = prompts_of(request.given, opening.image, record)
    key = _key(opening, prompts, opened)
    if (kept := _kept(request, key, overwrite)) is not None:
        return Answer(request.out, kept["structures"], kept["seconds"], True, opening.notes)
    labels, seconds, notes = _predicted(opening, prompts, opened)
    write_mask(request.out, labels, opening.image, like=opening.file)
    rows = [
        _measured(labels == value, opening.image, value, prompt.structure)
        for value, prompt in enumerate(prompts, start=1)
    ]
    about = {
        "key": key,
        "umdlib": __version__,
        "system": record.name,
        "identity": opened.identity,
        "image": str(request.image),
        "modality": opening.modality,
        "session": opening.session,
        "partner": opening.partner.name if opening.partner is not None else None,
        "prompts": [to_record(p) for p in prompts],
        "coordinates": request.given.frame,
        "structures": rows,
        "seconds": round(seconds, 3),
        "mask_sha256": file_hash(request.out),
    }
    if draw is not None:
        names = {row["value"]: row["name"] for row in rows}
        draw(opening, labels, names, prompts, request.beside(".png"))
    with replaced(request.beside(".json")) as part:
        part.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return Answer(request.out, rows, seconds, False, opening.notes + notes)


def _predicted(
    opening: Opening, prompts: list[Prompt], opened: Opened
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """Label map of all prompts, seconds, and a note where two masks meet: the first one keeps the voxel."""
    record, image = opened.record, opening.image
    condition = (opening.session, opening.modality) if record.conditions else None
    try:
        segment = opened.call(condition)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"Segmenter '{record.name}' ran out of memory on {opened.device} while it was loaded. Free it, or "
            "use a machine with more."
        ) from None
    seen = {"partner": opening.partner} if record.partner else {}
    labels = np.zeros(image.shape, np.uint8 if len(prompts) < 256 else np.uint16, "F")
    started, shared = time.perf_counter(), 0
    for value, prompt in enumerate(prompts, start=1):
        mask = segment(image, prompt, **seen)
        free = labels == 0
        shared += int(np.count_nonzero(mask & ~free))
        labels[mask & free] = value
    seconds = time.perf_counter() - started
    notes = (f"{shared} voxels belong to two masks; the first one keeps them.",) if shared else ()
    if opening.partner is not None and not record.partner:
        notes += (f"Segmenter '{record.name}' sees one image: the partner's place was checked, no more.",)
    return labels, seconds, notes


def _measured(mask: np.ndarray, image: Volume, value: int, name: str) -> dict:
    """Volume of a mask, and mean and maximum of the image in it."""
    inside = image.data[mask]
    count = int(inside.size)
    return {
        "value": value,
        "name": name,
        "voxels": count,
        "volume_ml": round(count * float(np.prod(image.spacing_mm)) / 1000, 4),
        "mean": round(float(inside.mean(dtype=np.float64)), 4) if count else None,
        "max": round(float(inside.max()), 4) if count else None,
        "unit": image.unit,
    }


def _line(row: dict) -> str:
    """A structure in words."""
    if not row["voxels"]:
        return f"{row['name']}: empty, nothing was found"
    words = f"{row['name']}: {row['volume_ml']:.4g} ml ({row['voxels']} voxels)"
    name = {"SUV": "SUV", "HU": "HU"}.get(row["unit"], "intensity")
    return f"{words}, {name} mean {row['mean']:.4g}, max {row['max']:.4g}"


def _key(opening: Opening, prompts: list[Prompt], opened: Opened) -> str:
    """What a mask depends on: voxels, place, prompts and system."""
    digest = sha256()
    for image in filter(None, (opening.image, opening.partner)):
        digest.update(repr((image.shape, image.unit, image.data.dtype.str)).encode())
        digest.update(np.ascontiguousarray(image.affine, float).tobytes())
        digest.update(np.asfortranarray(image.data).ravel("K").view(np.uint8).data)
    about = [opened.record.name, opened.identity, opening.session, [to_record(p) for p in prompts]]
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()


def _kept(request: Request, key: str, overwrite: bool) -> dict | None:
    """The record of a mask that is there and whole; None where it is to be made.

    Raises
    ------
    InputError
        A file of something else at its place or at its record's; a file of the request, which is never overwritten.
    """
    path = request.beside(".json")
    for given in filter(None, (request.image, request.partner, request.given.initial_mask)):
        if request.out.exists() and (found := existing(given)) is not None and request.out.samefile(found):
            raise InputError(
                f"The mask would overwrite {given}, which the request reads. Give another place."
            )
    try:
        known = json.loads(path.read_text("utf-8")) if path.exists() else None
        ours = known is None or {"key", "mask_sha256"} <= known.keys()
    except (OSError, ValueError, AttributeError):
        known, ours = None, False
    if overwrite:
        return None
    if not request.out.exists():
        if not ours:
            raise InputError(
                f"File {path}, where the mask's record belongs, is there and is something else. Give the mask another "
                "name, or --overwrite."
            )
        return None
    same = bool(known) and ours and known["key"] == key and known["mask_sha256"] == file_hash(request.out)
    if not same:
        raise InputError(
            f"File {request.out} exists and is not the answer to this request. Give another place, or --overwrite."
        )
    read_label_map(request.out)
    return known
