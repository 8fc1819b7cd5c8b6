"""Many requests from a table: run in its order, resumed where they stopped, one result row a structure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.files import read_tsv, write_tsv
from umdlib.requests.answer import Answer, Draw, Request, answer, opened_images
from umdlib.requests.given import Given
from umdlib.segmenters.calls import Opened, Unavailable

COLUMNS: dict[str, str] = {
    "image": "file or folder of DICOM, relative to the table",
    "click": "x,y,z; several with ; between them",
    "negative": "points outside the structure, as clicks",
    "box": "x,y,z,x,y,z",
    "lasso": "file of a closed line, x,y,z a line, relative to the table",
    "initial_mask": "file of a mask to start from, relative to the table",
    "text": "names or texts, with ; between them, or all",
    "coordinates": "world (default), lps or voxel",
    "modality": "CT, MR or PET",
    "session": "petct or petmr",
    "partner": "the other image of the examination, relative to the table",
    "mask": "name of the mask; by default of the image and the line",
}
RESULTS = "results.tsv"


def read_requests(table: str | Path, out: str | Path) -> list[Request]:
    """Requests of a table, in its order.

    Parameters
    ----------
    table
        Tab-separated, with the column ``image`` and any others of `COLUMNS`.
    out
        Folder of the masks.

    Raises
    ------
    InputError
        A table that cannot be read, is empty or has an unknown column; two masks of one name, or one
        outside the folder.
    """
    table, out = Path(table), Path(out)
    rows = read_tsv(table, ("image",))
    for column in rows.columns:
        if column not in COLUMNS:
            raise unknown_name(f"column of {table}", column, COLUMNS)
    if rows.empty:
        raise InputError(f"Table {table} holds no request. Give a line for each image and prompt.")
    found, seen = [], {}
    for line, row in rows.iterrows():
        cell = {c: "" if row.get(c, "") == "n/a" else row.get(c, "") for c in COLUMNS}
        if not cell["image"]:
            raise InputError(f"Line {line} of {table} names no image.")
        name = cell["mask"] or f"{stem(cell['image'])}_{line}.nii.gz"
        if seen.setdefault(name, line) != line:
            raise InputError(f"Lines {seen[name]} and {line} of {table} name one mask, {name}.")
        if not (out / name).resolve().is_relative_to(out.resolve()):
            raise InputError(f"Mask {name} in line {line} of {table} lies outside the folder {out}.")
        found.append(_request(cell, table.parent, out / name))
    return found


def _request(cell: dict[str, str], beside: Path, mask: Path) -> Request:
    """The request of a line; its files lie `beside` the table."""
    image, partner, lasso, initial = (
        str(beside / cell[c]) if cell[c] else "" for c in ("image", "partner", "lasso", "initial_mask")
    )
    clicks, negative, texts = (
        tuple(t for t in re.split(r"\s*;\s*", cell[c]) if t) for c in ("click", "negative", "text")
    )
    given = Given(clicks, negative, cell["box"], texts, cell["coordinates"] or "world", lasso, initial)
    return Request(image, mask, given, cell["modality"], cell["session"], partner)


def answer_all(
    requests: Sequence[Request],
    opened: Opened | Unavailable,
    *,
    draw: Draw | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Answer requests one after the other; a bad one is a row with its reason, the others go on.

    Parameters
    ----------
    requests
        Of one system.
    opened
        The system.
    draw, overwrite
        As `answer` takes them.
    say
        Called with one line per request.

    Returns
    -------
    pandas.DataFrame
        A row per request and structure: image, mask, value, name, voxels, volume_ml, mean, max, unit, seconds,
        status (``ok``, ``empty``, ``failed``) and reason.
    """
    rows, last, opening = [], None, None
    for number, request in enumerate(requests, start=1):
        images = (request.image, request.modality, request.session, request.partner)
        try:
            if last != images:
                last, opening = None, None
                last, opening = images, opened_images(request)
            found = answer(request, opened, opening=opening, draw=draw, overwrite=overwrite)
        except InputError as error:
            rows.append(_failed(request, str(error)))
        except Exception as error:  # whatever a model does, the other images go on
            rows.append(_failed(request, f"{type(error).__name__}: {error}"[:500]))
        else:
            rows += _rows(request, found)
            word = "kept" if found.kept else f"{found.seconds:.1f} s"
            say(
                f"[{number}/{len(requests)}] {request.image}, {word}: {'; '.join(found.lines())} -> {request.out}"
            )
            for note in found.notes:
                say(f"    {note}")
            continue
        say(f"[{number}/{len(requests)}] {request.image}, failed: {rows[-1]['reason']}")
    return pd.DataFrame(rows)


def write_results(folder: str | Path, results: pd.DataFrame) -> Path:
    """Write the rows of `answer_all` beside the masks."""
    return write_tsv(Path(folder) / RESULTS, results)


def _rows(request: Request, found: Answer) -> list[dict]:
    """Result rows of an answer."""
    about = {"image": request.image, "mask": str(request.out)}
    more = {"seconds": round(found.seconds, 3), "reason": ""}
    return [
        {**about, **row, **more, "status": "ok" if row["voxels"] else "empty"} for row in found.structures
    ]


def _failed(request: Request, reason: str) -> dict:
    """The result row of a request that could not be answered."""
    return {"image": request.image, "mask": "", "status": "failed", "reason": reason}


def stem(image: str) -> str:
    """Name of an image without its endings."""
    name = Path(image).name
    for ending in (".gz", ".nii", ".nrrd", ".mha", ".mgz"):
        name = name.removesuffix(ending)
    return name or "image"
