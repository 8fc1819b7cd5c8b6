"""Any program that takes a NIfTI image and a prompt and writes a NIfTI mask, run once per question."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umdlib import labels, segmenters
from umdlib.canaries.scenes import other_modality
from umdlib.errors import InputError
from umdlib.files import file_hash
from umdlib.images import geometry
from umdlib.images.volume import (
    Volume,
    grid_difference,
    read_label_map,
    read_volume,
    write_mask,
    write_volume,
)
from umdlib.prompts.prompt import Click, Prompt, box_of

# What a command may hold in braces.
PLACES: dict[str, str] = {
    "image": "the image, NIfTI",
    "partner": "the other image of the examination, NIfTI, on a grid of its own",
    "mask": "where the mask is to be written, NIfTI",
    "prompt": "a JSON file: structure, clicks and box in mm (RAS, LPS) and in voxels",
    "text": "name of the structure",
    "click": "x,y,z in mm, RAS",
    "click_lps": "x,y,z in mm, LPS",
    "click_voxel": "i,j,k of the image file, from 0",
    "box_voxel": "i,j,k,i,j,k of the first and last voxel",
    "modality": "CT, MR or PET",
    "weights": "the file that --weights names",
}
_PLACE = re.compile(r"\{(\w+)\}")


class WrapperFailed(Exception):
    """A program that gave no mask; its text says how it ended."""


@dataclass(frozen=True)
class Job:
    """One question to a program.

    Attributes
    ----------
    folder
        Of this question alone: it holds the image and the prompt and nothing else.
    image, mask, prompt
        Files in it; `mask` is to be written.
    values
        Value of each name of `PLACES`.
    partner
        File of the other image, where the program is given one.
    """

    folder: Path
    image: Path
    mask: Path
    prompt: Path
    values: dict[str, str]
    partner: Path | None = None


Run = Callable[[Job], None]


@dataclass(frozen=True)
class Outcome:
    """Result of a program: a mask (I, J, K) on the image's grid, or a fault and its detail."""

    mask: np.ndarray | None
    fault: str = ""
    detail: str = ""


class Command:
    """A program by its command line.

    Parameters
    ----------
    template
        With the names of `PLACES` in braces; ``{image}`` and ``{mask}`` are needed. It is split as a
        shell would, and no shell runs it. A word, or what follows its ``=``, that names a file seen from
        the current folder is that file, wherever the program runs.
    limit_s
        Seconds after which a call is given up.

    Raises
    ------
    InputError
        A name in braces that is not of `PLACES`; ``{image}`` or ``{mask}`` is missing; a limit of 0 or less.
    """

    def __init__(self, template: str, limit_s: float = 600.0) -> None:
        try:
            self.words = [_absolute(word, first=not k) for k, word in enumerate(shlex.split(template))]
        except ValueError as error:
            raise InputError(f"Invalid command '{template}': {error}.") from None
        named = set(_PLACE.findall(template))
        for name in sorted(named - set(PLACES)):
            raise InputError(f"Invalid {{{name}}} in command '{template}'. Known: {', '.join(PLACES)}.")
        for name in ("image", "mask"):
            if name not in named:
                raise InputError(f"Command '{template}' lacks {{{name}}}: {PLACES[name]}.")
        if not limit_s > 0:
            raise InputError(f"Invalid time limit {limit_s:g} s. Must be above 0 s.")
        self.places, self._limit = frozenset(named), limit_s

    def __call__(self, job: Job) -> None:
        """Run the program in the job's folder.

        Raises
        ------
        WrapperFailed
            It cannot start, takes too long, or ends with another status than 0.
        """
        words = [_PLACE.sub(lambda m: job.values[m[1]], w) for w in self.words]
        try:
            done = subprocess.run(
                words, cwd=job.folder, capture_output=True, text=True, errors="replace", timeout=self._limit
            )
        except OSError as error:
            raise WrapperFailed(f"cannot start: {error}") from None
        except subprocess.TimeoutExpired:
            raise WrapperFailed(f"took over {self._limit:g} s") from None
        if done.returncode:
            last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:]
            raise WrapperFailed(f"ended with status {done.returncode}: {''.join(last)[:200]}")


def _absolute(word: str, *, first: bool) -> str:
    """A word of a command line with the absolute path of the file that it names, if it names one."""
    start, sign, end = word.rpartition("=")
    path = Path(end)
    if end and (path.is_file() and not first if os.sep not in end else path.exists()):
        return f"{start}{sign}{path.absolute()}"
    return word


def segmenter(name: str, condition: tuple[str, str], device: str = "cpu") -> Run:
    """A segmenter of this package as a program that reads and writes files.

    Raises
    ------
    InputError
        No such segmenter, or one that cannot run here.
    """
    record = segmenters.get(name)
    segment = segmenters.load(record, device, condition)
    modalities = condition[1], other_modality(condition[1], condition[0])
    unit, other_unit = (labels.modality(m).unit for m in modalities)

    def run(job: Job) -> None:
        image, seen = read_volume(job.image, unit=unit), {}
        if job.partner is not None:
            seen["partner"] = read_volume(job.partner, unit=other_unit)
        about = json.loads(job.prompt.read_text("utf-8"))
        clicks = tuple(Click(tuple(c["ras_mm"]), c["positive"]) for c in about["clicks"])
        box = about["box"] and box_of(image.affine, about["box"]["first"], about["box"]["last"])
        name = about["structure"]
        prompt = Prompt(name, clicks, box, name if "text" in record.prompts else None)
        try:
            mask = segment(image, prompt, None, **seen)
            write_mask(job.mask, mask, image, like=job.image)
        except InputError as error:
            raise WrapperFailed(str(error)) from None

    return run


def ask(
    run: Run,
    image: Volume,
    prompt: Prompt,
    modality: str,
    *,
    folder: Path | None = None,
    weights: Path | None = None,
    beside: Callable[[Path], None] | None = None,
    partner: Volume | None = None,
) -> Outcome:
    """Ask a program one question in a folder of its own.

    Parameters
    ----------
    run
        The program.
    image, prompt, modality
        Prompt of the call. Clicks may lie outside the image.
    folder
        Where; None makes one that is removed again.
    weights
        File for ``{weights}``.
    beside
        Puts further files beside the image.
    partner
        The other image of the examination, for a program that sees two.

    Returns
    -------
    Outcome
        Fault ``failed``: no mask was written; ``not_a_mask``: the file cannot be read, or holds other
        than whole numbers from 0; ``grid_lost``: another grid than the image's; ``touches_image``.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="certify-") as made:
            more = {"weights": weights, "beside": beside, "partner": partner}
            return ask(run, image, prompt, modality, folder=Path(made), **more)
    job = _job(folder, image, prompt, modality, weights, partner)
    job.mask.unlink(missing_ok=True)
    if beside is not None:
        beside(folder)
    images = [f for f in (job.image, job.partner) if f is not None]
    before = [file_hash(f) for f in images]
    try:
        run(job)
    except WrapperFailed as error:
        return Outcome(None, "failed", str(error).replace(f"{folder}/", ""))
    if not job.mask.is_file():
        return Outcome(None, "failed", "wrote no mask")
    for file, digest in zip(images, before, strict=True):
        if file_hash(file) != digest:
            return Outcome(None, "touches_image", f"the file {file.name} is another one after the call")
    try:
        found = read_label_map(job.mask)
    except InputError as error:
        return Outcome(None, "not_a_mask", str(error).replace(str(folder) + "/", ""))
    difference = grid_difference(found, image)
    if difference is not None:
        return Outcome(None, "grid_lost", f"the mask is not on the image's grid: {difference}")
    return Outcome(found.data > 0)


def _job(
    folder: Path, image: Volume, prompt: Prompt, modality: str, weights: Path | None, partner: Volume | None
) -> Job:
    """Write the files of a question."""
    names = ("image.nii.gz", "mask.nii.gz", "prompt.json")
    files = {name.partition(".")[0]: folder / name for name in names}
    write_volume(files["image"], image)
    beside = None if partner is None else folder / "partner.nii.gz"
    if beside is not None:
        write_volume(beside, partner)
    clicks = [_click(image, c.xyz_mm, c.positive) for c in prompt.clicks]
    box = None
    if prompt.box is not None:
        first, last = prompt.box.voxels(image.affine, image.shape)
        box = {"first": first.tolist(), "last": last.tolist()}
    about = {"structure": prompt.structure, "modality": modality, "clicks": clicks, "box": box}
    files["prompt"].write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    first = clicks[0] if clicks else {"ras_mm": [], "lps_mm": [], "voxel": []}
    values = {name: str(path) for name, path in files.items()} | {
        "text": prompt.structure,
        "modality": modality,
        "click": _joined(first["ras_mm"]),
        "click_lps": _joined(first["lps_mm"]),
        "click_voxel": _joined(first["voxel"]),
        "box_voxel": _joined([*box["first"], *box["last"]]) if box else "",
        "weights": str(weights or ""),
        "partner": str(beside or ""),
    }
    return Job(folder, files["image"], files["mask"], files["prompt"], values, beside)


def _click(image: Volume, xyz_mm, positive: bool) -> dict:
    """A click in all frames; its voxel is the nearest one, also outside the image."""
    x, y, z = xyz_mm
    voxel = np.floor(geometry.to_voxel(image.affine, xyz_mm) + 0.5).astype(int).tolist()
    return {"ras_mm": [x, y, z], "lps_mm": [-x, -y, z], "voxel": voxel, "positive": positive}


def _joined(numbers) -> str:
    return ",".join(f"{n:g}" if isinstance(n, int) else f"{n:.4f}" for n in numbers)
