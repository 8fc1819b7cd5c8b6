"""How do I run this on my own data? A folder of the page's own, commands as typed, borrowed subjects."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from umdlib import __main__ as cli
from umdlib.cohort.manifest import COLUMNS, OPTIONAL, Case, Cohort, write_structures
from umdlib.errors import InputError, NothingToShow
from umdlib.images.volume import LabelMap, write_label_map
from umdlib.tables.markdown import numbered_table

__all__ = ["write_structures"]

# Names under which a segmentation program might leave the masks of three organs.
_OWN_NAMES = {"urinary_bladder": "bladder", "esophagus": "oesophagus", "kidney_left": "left kidney"}
_FIRST, _LAST = 4, 3  # lines shown of a longer print


def empty_folder(folder: str) -> None:
    """Make the folder that the page writes to; what an earlier run of the page left in it is removed.

    InputError: if it holds files that this page did not write.
    """
    mark = Path(folder, "made_by_this_page")
    if mark.exists():
        shutil.rmtree(folder)
    elif Path(folder).is_dir() and any(Path(folder).iterdir()):
        raise InputError(f"Folder {folder} holds files that this page did not write. Name an empty one.")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def shell(command: str, *, ends: Sequence[int] = (0,)) -> None:
    """Run a command as a reader would type it, show how what it prints begins and ends; stop if it ends otherwise."""
    print(f"$ {command}")
    status, said = _ended(shlex.split(command))
    lines = said.strip().splitlines()
    print("\n".join([*lines[:_FIRST], "…", *lines[-_LAST:]] if len(lines) > _FIRST + _LAST + 2 else lines))
    if status not in ends:
        raise InputError(f"{command} ended with status {status}.")


def _ended(words: Sequence[str]) -> tuple[int, str]:
    """Exit status and printed text of a command: in this process, but for one that starts a kernel."""
    if words[0] == "umdlib" and words[1] != "run":
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(words[1:])
        return status, out.getvalue() + err.getvalue()
    run = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


def column_table() -> str:
    """The columns of a manifest and what they hold."""
    columns = pd.DataFrame((COLUMNS | OPTIONAL).items(), columns=["column", "what it holds"])
    return numbered_table(columns, "Columns of a manifest.", "tab-manifest")


def borrowed_pairs(cohort: Cohort, subjects: int) -> list[tuple[Case, Case]]:
    """The first subjects of the first session, as if they were a reader's own."""
    found = cohort.pairs(cohort.sessions()[0])[:subjects]
    if not found:
        raise NothingToShow("No subject of this cohort has both images: there is no pair to borrow.")
    return found


def from_here(path: Path, folder: str) -> str:
    """A path relative to the folder of a table that names it."""
    return os.path.relpath(path, folder)


def row_table(rows: Sequence[Mapping]) -> str:
    """What was borrowed, without the paths."""
    shown = pd.DataFrame(rows)[["subject", "session", "modality", "unit"]]
    return numbered_table(shown, "The images that stand in for yours.", "tab-borrowed")


def make_archive(folder: str, cohort: Cohort, pairs: Sequence[tuple[Case, Case]]) -> list[Path]:
    """A folder as a segmentation program leaves it: images, and one mask per structure.

    Returns: The files, relative to `folder`.
    """
    for pair in pairs:
        place = Path(folder) / pair[0].subject
        (place / "segmentations").mkdir(parents=True, exist_ok=True)
        for case in pair:
            shutil.copy(case.image, place / f"{case.modality.lower()}.nii.gz")
        reference = pair[0].read_reference()
        for structure in cohort.structures[:12]:
            mask = LabelMap((reference.data == structure.value).astype("uint8"), reference.affine)
            name = _OWN_NAMES.get(structure.name, structure.name)
            write_label_map(place / "segmentations" / f"{name}.nii.gz", mask)
        write_label_map(place / "segmentations" / "implant.nii.gz", mask)
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*.nii.gz"))


def own_table(scores: pd.DataFrame) -> str:
    """DSC by segmenter, modality and status."""
    summary = scores.groupby(["segmenter", "modality", "status"])["dice"].agg(["size", "mean", "median"])
    formats = {"mean": ".3f", "median": ".3f"}
    caption = "DSC by segmenter and modality."
    return numbered_table(summary.reset_index(), caption, "tab-own", formats)
