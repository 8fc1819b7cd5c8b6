"""The folder of a run: predictions, prompts and scores of each case, kept whole and read back."""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
from filelock import FileLock

from umdlib import prompts
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.files import file_hash, liveness, owner, replaced
from umdlib.images import volume
from umdlib.images.volume import LabelMap
from umdlib.metrics import scoring as metrics
from umdlib.prompts.prompt import Prompt
from umdlib.scores import table as scores

# Of this machine, for names: process numbers are a machine's own, and several may share the disk.
_HOST = re.sub(r"[^A-Za-z0-9-]+", "-", platform.node()) or "host"
_OWNER = "owner.json"
_CRASH = "crash.txt"
_RUN = "run.json"


def case_folder(root: str | Path, segmenter: str, case: Case) -> Path:
    """Where a case's scores, prompts and predictions lie."""
    return Path(root) / "cases" / segmenter / case.name


def read_prediction(
    root: str | Path, segmenter: str, case: Case, *, prompt: str = "centre", seed: int = 0, step: int = 0
) -> dict[str, np.ndarray]:
    """Predicted masks of a case: structure name -> boolean (I, J, K) on the grid of its image.

    Raises
    ------
    InputError
        If there is no such prediction, or it is not what was written.
    """
    folder = case_folder(root, segmenter, case)
    bits = volume.read_bits(_undamaged(folder / prediction_file(prompt, seed, step)))
    places = bit_places(folder, case)
    return {s.name: metrics.unpack_bit(bits, b) for s, b in zip(case.structures, places, strict=True)}


def bit_places(folder: Path, case: Case) -> list[int]:
    """Which bit of a case's predictions each of its structures has, by the names kept with them.

    Raises
    ------
    InputError
        The predictions are of other structures than the case has now.
    """
    names = [s.name for s in case.structures]
    stamp = _stamp(folder)
    kept = stamp.get("structures") or _structures_asked(folder) or names
    if set(kept) != set(names):
        raise InputError(
            f"Predictions in {folder} are of {', '.join(kept)}; the cohort has {', '.join(names)} now. "
            "Score it again."
        )
    return [kept.index(n) for n in names]


def _stamp(folder: Path) -> dict:
    """Provenance of a case's scores; empty where it cannot be read."""
    try:
        with open(folder / "scores.parquet", "rb") as file:
            return json.loads(pq.read_schema(file).metadata[b"umdlib"])
    except (OSError, KeyError, ValueError, TypeError):
        return {}


def _undamaged(file: Path) -> Path:
    """A file of a case's folder, refused where it is not what was written."""
    digest = _stamp(file.parent).get("files", {}).get(file.name)
    if digest is not None and file.is_file() and file_hash(file) != digest:
        raise InputError(f"File {file} is damaged: it is not what was written. Score the cohort again.")
    return file


def _structures_asked(folder: Path) -> list[str]:
    """Structures of a case in the order of its prompts, which is that of the bits."""
    try:
        given = json.loads((folder / "prompts.json").read_text("utf-8"))
        return list(dict.fromkeys(p["structure"] for p in given))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_prompts(root: str | Path, segmenter: str, case: Case) -> list[Prompt]:
    """Every prompt that was given for a case, in the order given.

    Raises
    ------
    InputError
        There is no such file, or it is not what was written.
    """
    path = _undamaged(case_folder(root, segmenter, case) / "prompts.json")
    if not path.is_file():
        raise InputError(f"File {path} does not exist.")
    return [prompts.from_record(r) for r in json.loads(path.read_text("utf-8"))]


def compare_prompts(cohort: Cohort, root: str | Path, session: str, segmenter: str) -> pd.DataFrame:
    """First prompts of the two images of each examination, read back from disk.

    Returns
    -------
    pandas.DataFrame
        One row per subject, structure, prompt and seed that has a click in both images: these,
        `distance_mm` between the two clicks, and `outside`: whether the click lies outside the
        structure on a partner's grid.
    """
    rows = []
    for pair in cohort.pairs(session):
        given = [
            {
                (p.structure, p.protocol, p.seed): p
                for p in read_prompts(root, segmenter, case)
                if len(p.clicks) == 1
            }
            for case in pair
        ]
        for key in given[0].keys() & given[1].keys():
            ends = [np.array(g[key].clicks[0].xyz_mm) for g in given]
            rows.append(
                [
                    pair[0].subject,
                    *key,
                    float(np.linalg.norm(ends[0] - ends[1])),
                    given[0][key].note == prompts.OUTSIDE_PARTNER,
                ]
            )
    columns = ["subject", "structure", "prompt", "seed", "distance_mm", "outside"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:4], ignore_index=True)


def prediction_file(prompt: str, seed: int, step: int) -> str:
    """Name of the bit-mask volume of one step within a case's folder."""
    return f"{prompt}-{seed}_step-{step:02d}.nii.gz"


def _kept_rows(root: str | Path, segmenter: str, cases: Iterable[Case]) -> list[pd.DataFrame]:
    """Score rows of those cases of which a run has kept whole folders."""
    kept = (Kept(case_folder(root, segmenter, c)) for c in cases)
    return [k.table for k in kept if k.stamp and not k.damage]


def add_to_part(
    root: Path, table: pd.DataFrame, cases: Iterable[Case], report: Callable[[str], None]
) -> list[Path]:
    """Add the rows of each segmenter to its part of a run's score table; returns the parts.

    A damaged part is made anew, from the cases that the run has kept.
    """
    parts = []
    for name, rows in table.groupby("segmenter", sort=False):
        rows = rows.reset_index(drop=True)
        rows.attrs["stamp"] = _stamp_of(table.attrs["stamp"], name)
        part = root / "parts" / f"{name}.parquet"
        if part.is_file():
            try:
                scores.read_scores(part)
            except InputError as error:
                report(f"{error} It is made anew from the cases that are kept.")
                part.unlink()
                kept = [t for t in _kept_rows(root, name, cases) if set(t) == set(rows)]
                for one in kept:
                    one.attrs["stamp"] = rows.attrs["stamp"]
                    scores.add_cases(part, one)
        scores.add_cases(part, rows)
        parts.append(part)
    return parts


def write_parts(root: Path, table: pd.DataFrame) -> None:
    """Replace the rows of a table in the parts of a run's score table.

    What a part has of other cases stays: images that its segmenter was not run on.
    """
    for name, rows in table.groupby("segmenter", sort=False):
        part = root / "parts" / f"{name}.parquet"
        stamp, rows = _stamp_of(table.attrs["stamp"], name), rows.reset_index(drop=True)
        with suppress(InputError):  # one that is damaged or absent is written anew
            before = scores.read_scores(part)
            stamp |= {"segmenters": before.attrs["stamp"].get("segmenters", stamp["segmenters"])}
            keys = ["session", "modality", "subject"]
            known = pd.MultiIndex.from_frame(before[keys]).isin(pd.MultiIndex.from_frame(rows[keys]))
            others = before[~known].reindex(columns=rows.columns)
            rows = pd.concat([rows, others], ignore_index=True) if len(others) else rows
        scores.write_scores(part, rows, stamp=stamp)


def claim(root: Path, cohort: Cohort, cohort_hash: str) -> None:
    """Make a folder a cohort's run, or refuse it where it is another's.

    A cohort is known by its manifest's place; one that was moved, by its content.

    Raises
    ------
    InputError
        The folder holds the run of another cohort; it cannot be written.
    """
    path, place = root / _RUN, str(cohort.manifest.resolve())
    try:
        known = json.loads(path.read_text("utf-8"))
        other = known["manifest"] != place and known["cohort_hash"] != cohort_hash
    except (OSError, ValueError, KeyError, TypeError):
        known, other = {}, False
    if other:
        raise InputError(
            f"Folder {root} holds the run of another cohort, {known['manifest']}. Cases of one name would be "
            f"mixed up. Name another folder; if {place} is that cohort, moved and changed, delete {path}."
        )
    content = {"manifest": place, "cohort_hash": cohort_hash}
    if known != content:
        with replaced(path) as part:
            part.write_text(json.dumps(content), "utf-8")


def _stamp_of(stamp: dict, name: str) -> dict:
    """The stamp of one segmenter's rows."""
    return {**stamp, "segmenters": {k: v for k, v in stamp["segmenters"].items() if k == name}}


def grid_of(file: Path) -> LabelMap:
    """The grid of a prediction by its header, without its voxels."""
    import nibabel as nib

    try:
        header = nib.load(file)
        return LabelMap(np.broadcast_to(np.uint8(0), header.shape), header.affine, str(file))
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"File {file} cannot be read: {error}.") from None


class Kept:
    """Stored results of one case, as far as they can be used.

    Attributes
    ----------
    stamp
        Provenance of its scores; empty where there is nothing that can be read.
    damage
        What is wrong with it, as a phrase; ``""`` where nothing is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp: dict = {}
        self.damage = ""
        self._table: pd.DataFrame | None = None
        if not (folder / "scores.parquet").is_file():
            return
        try:
            self._table = scores.read_scores(folder / "scores.parquet")
        except InputError as error:
            self.damage = str(error)
            return
        self.stamp = self._table.attrs["stamp"]
        for name, digest in self.stamp.get("files", {}).items():
            file = folder / name
            if not file.is_file():
                self.damage = f"{file} is gone"
            elif file_hash(file) != digest:
                self.damage = f"{file} is not what was written"

    @property
    def table(self) -> pd.DataFrame:
        """The case's score rows."""
        return self._table

    @property
    def ended(self) -> bool:
        """Whether a crash, a time limit or a memory limit ended the case."""
        return bool(self.stamp.get("ended"))

    def holds_failures(self) -> bool:
        """Whether a row has failed."""
        return bool(self._table["status"].eq("failed").any())

    def holds(self, stamp: dict) -> bool:
        """Whether this is the case of a stamp: same inputs, prediction and scoring, whole and without failures."""
        keys = ("inputs_key", "prediction_key", "score_key", "structures")
        same = all(self.stamp.get(k) == stamp.get(k) for k in keys)
        return bool(self.stamp) and not self.damage and same and not self.holds_failures()


def write_case(
    part: Path, folder: Path, table: pd.DataFrame, given: Iterable[Prompt], stamp: dict
) -> pd.DataFrame:
    """Finish a case's folder, whose predictions lie in `part`, and put it into its place.

    Where another process has put the same case there meanwhile, whole and without failures, its folder stays:
    nobody who reads it finds it gone.

    Returns the rows as they are read back.
    """
    records = [prompts.to_record(p) for p in given]
    (part / "prompts.json").write_text(json.dumps(records, indent=0), "utf-8")
    names = sorted(p.name for p in part.iterdir() if p.name not in (_OWNER, _CRASH))
    write_case_scores(part, table, {**stamp, "files": {n: file_hash(part / n) for n in names}})
    written = scores.read_scores(part / "scores.parquet")
    for name in (_OWNER, _CRASH):
        (part / name).unlink(missing_ok=True)
    try:
        part.replace(folder)  # succeeds where there is nothing
    except OSError:
        there = Kept(folder)
        if there.holds(stamp):
            return there.table
        _put(part, folder)
    return written


def write_case_scores(folder: Path, table: pd.DataFrame, stamp: dict) -> None:
    """Write the score rows of a case."""
    scores.write_scores(folder / "scores.parquet", table, stamp=stamp)


@contextmanager
def part_of(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write a case in; gone when the block ends.

    It says who writes it. Folders that dead processes left are removed; one whose writer may still
    live, also on another machine, stays. A crash of this process leaves its trace in the folder.
    """
    part = folder.with_name(f".{folder.name}.{_HOST}.{os.getpid()}.part")
    try:
        for stale in folder.parent.glob(f".{folder.name}.*.part"):
            if stale == part or _is_abandoned(stale):
                shutil.rmtree(stale, ignore_errors=True)
        part.mkdir(parents=True)
        (part / _OWNER).write_text(json.dumps(owner()), "utf-8")
        with _crash_trace(part / _CRASH):
            yield part
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_abandoned(part: Path) -> bool:
    """Whether the process that wrote a part is dead; the first and the last moment of a part have no record of it."""
    if (part / _OWNER).exists():
        return liveness(part / _OWNER) == "dead"
    number = part.name.split(".")[-2]
    return part.name.endswith(f".{_HOST}.{number}.part") and not psutil.pid_exists(int(number))


def crash_of(folder: Path) -> str:
    """How a process ended that was at work on a case, by the trace it left; ``""`` where none did."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        if liveness(part / _OWNER) != "dead":
            continue
        with suppress(OSError):
            first, _, _ = (part / _CRASH).read_text("utf-8", "replace").partition("\n")
            if first.strip():
                return first.strip()
    return ""


@contextmanager
def _crash_trace(path: Path) -> Iterator[None]:
    """Have the interpreter write its stack to a file should the process crash."""
    was = faulthandler.is_enabled()
    with open(path, "w") as file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            if was:
                with suppress(Exception):  # where there is no stderr any more
                    faulthandler.enable(sys.__stderr__)


def _put(part: Path, folder: Path) -> None:
    """Move a whole folder to its place; what was there stays until the new one is.

    Where another process puts the same case there at the same moment, one of the two stays.
    """
    old = part.with_suffix(".old")
    for last in (False, False, True):
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.replace(old)
        try:
            part.replace(folder)
        except OSError:
            if folder.exists() and not last:
                continue
            if not folder.exists() and old.exists():
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
        return


class FileHashes:
    """sha256 of files; each is read once a run folder, as long as its size and time stay.

    Parameters
    ----------
    path
        Where the hashes are kept, shared by all processes of a run.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._fresh = path, False
        self._known: dict[str, list] = self._read()
        self._used: dict[str, list] = {}

    def __call__(self, file: Path) -> str:
        """The hash of a file as it was at the first call for it."""
        name = str(Path(file).absolute())
        if name not in self._used:
            found = self._known.get(name)
            now = _signature(file)
            if found is None or found[:2] != now:
                found = [*now, file_hash(file)]
                # a file that was just written may change again within one tick of its clock
                if time.time_ns() - now[1] > 2_000_000_000:
                    self._known[name], self._fresh = found, True
            self._used[name] = [*now, found[2]]
        return self._used[name][2]

    def check(self, file: Path) -> None:
        """Refuse a file that has changed since it was hashed.

        Raises
        ------
        InputError
            Its size or time is another.
        """
        used = self._used.get(str(Path(file).absolute()))
        if used is not None and used[:2] != _signature(file):
            raise InputError(f"File {file} was changed while the run read it. Give the same command again.")

    def keep(self) -> None:
        """Write what was hashed, beside what other processes have written meanwhile."""
        if not self._fresh:
            return
        with suppress(OSError, InputError), FileLock(self._path.with_name(f".{self._path.name}.lock")):
            merged = self._read() | self._known
            with replaced(self._path) as part:
                part.write_text(json.dumps({"files": merged, "check": _check(merged)}), "utf-8")
        self._fresh = False

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self._path.read_text("utf-8"))
            return content["files"] if content["check"] == _check(content["files"]) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _check(content: object) -> str:
    """Digest that a file beside it holds."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _signature(file: Path) -> list[int]:
    """Size and time of change of a file."""
    try:
        found = os.stat(file)
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror or error}.") from None
    return [found.st_size, found.st_mtime_ns]
