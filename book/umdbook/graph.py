"""Inputs of the graph's jobs: code followed by its imports, what a chapter says of itself, and their hashes."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.sources import import_closure

TRACKS = ("measured", "published", "simulated")
PACKAGES = ("umdlib", "umdbook")
_HERE = Path(__file__).parent


def chapter(template: str | Path) -> dict:
    """What a chapter's template says of itself in its metadata.

    Returns
    -------
    dict
        ``track``: whose numbers it shows, one of `TRACKS`; ``reads``: files beside the run that it
        reads (those that are there), from patterns relative to the project's folder.

    Raises
    ------
    InputError
        A template without the entry, or with a track that does not exist.
    """
    metadata = json.loads(Path(template).read_text("utf-8"))["metadata"].get("umd")
    if metadata is None:
        raise InputError(f"Notebook {template} has no entry 'umd' in its metadata.")
    if metadata.get("track") not in TRACKS:
        raise unknown_name(f"track of {template}", str(metadata.get("track")), TRACKS)
    project = _HERE.parents[1]
    reads = [str(p) for pattern in metadata.get("reads", []) for p in sorted(project.glob(pattern))]
    return {"track": metadata["track"], "reads": reads}


@functools.cache
def code_of(*starts: str) -> tuple[Path, ...]:
    """Files that modules, scripts or notebooks are computed with: code and package data, sorted.

    What opens segmenters by their names depends on the adapters of all.

    Parameters
    ----------
    *starts
        Dotted names of modules, or paths of ``.py`` and ``.ipynb`` files.

    Raises
    ------
    InputError
        A start that does not exist.
    """
    files = set(import_closure(starts, packages=PACKAGES))
    if any(file.match("segmenters/registry.py") for file in files):
        root = next(f for f in files if f.match("segmenters/registry.py")).parent
        files.update(
            import_closure([*sorted(root.glob("systems/*.py")), *sorted(root.glob("external/*.py"))])
        )
        files.update(root.glob("external/workers/*.py"))
    return tuple(sorted(files | set(_data_beside(files))))


def _data_beside(files: Iterable[Path]) -> set[Path]:
    """Data files in the folders of modules and in their folders without modules; no released networks."""
    found: set[Path] = set()
    for folder in {file.parent for file in files if {"umdlib", "umdbook"} & set(file.parts)}:
        if folder.name in PACKAGES:
            continue
        for path in folder.iterdir():
            inside = path.rglob("*") if path.is_dir() and not any(path.glob("*.py")) else [path]
            found.update(p for p in inside if p.is_file() and p.suffix not in (".py", ".pyc"))
    return {p for p in found if not {"__pycache__", "released"} & set(p.parts)}


def keep_key(path: str | Path, files: Iterable[str | Path], **values: object) -> str:
    """Write the hashes of a job's inputs to a file that changes only when one of them does.

    The graph compares this file's time: a copied, touched or re-checked-out source that says the
    same, a date in the future, and characters that the graph would take for wildcards do not matter.

    Parameters
    ----------
    path
        File to write.
    files
        Inputs; one that does not exist counts as absent.
    **values
        What else the job depends on.

    Returns
    -------
    str
        `path`.
    """
    lines = [f"{_digest(file)}  {_shown(file)}" for file in sorted(map(Path, files))]
    lines += [f"{name}: {value}" for name, value in sorted(values.items())]
    text = "\n".join(lines) + "\n"
    path = Path(path)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            part.write_text(text, "utf-8")
    return str(path)


def _digest(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return "absent"
    return _hashed(file, found.st_mtime_ns, found.st_size)


@functools.cache
def _hashed(file: Path, changed: int, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _shown(file: Path) -> str:
    """A file relative to the project's folder where it lies there."""
    project = _HERE.parents[1]
    file = file.resolve()
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)


def run_name(profile: str, manifest: str = "") -> str:
    """Name of the run's folder: the profile's, or of a user's cohort its folder with a hash of its path.

    Examples
    --------
    >>> run_name("small")
    'small'
    >>> run_name("default", "/data/a/manifest.tsv")[:2], len(run_name("default", "/data/a/manifest.tsv"))
    ('a-', 8)
    >>> run_name("default", "/data/a/manifest.tsv") == run_name("default", "/other/a/manifest.tsv")
    False
    """
    if not manifest:
        return profile
    place = Path(manifest).resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", place.parent.name).strip("-") or "cohort"
    return f"{name}-{hashlib.sha256(str(place).encode()).hexdigest()[:6]}"


def names_of(segmenters: str) -> dict[str, str]:
    """File name -> segmenter as it was given: one of the user's own is ``file.py:NAME``, no file name.

    Examples
    --------
    >>> names_of("threshold,models/a.py:MINE")
    {'threshold': 'threshold', 'models-a.py-MINE': 'models/a.py:MINE'}

    Raises
    ------
    InputError
        Two names that differ in marks alone.
    """
    given = list(dict.fromkeys(filter(None, segmenters.split(","))))
    names = {re.sub(r"[^A-Za-z0-9_.]+", "-", s).strip("-.") or "segmenter": s for s in given}
    if len(names) < len(given):
        raise InputError(
            f"Two of the segmenters {', '.join(given)} have names that differ in marks alone. Rename one."
        )
    return names


def uses_gpu(segmenter: str) -> bool:
    """Whether a segmenter can use a GPU: of the built-in ones those that need a package; a user's own may.

    Examples
    --------
    >>> uses_gpu("threshold"), uses_gpu("vista3d"), uses_gpu("my_model.py:MODEL")
    (False, True, True)
    """
    from umdlib import segmenters

    if segmenter not in segmenters.BUILT_IN:
        return True
    record = segmenters.get(segmenter)
    return bool(record.packages or record.external)


def own_files(segmenter: str) -> list[str]:
    """Files of a segmenter of the user's own, code or card, that its jobs depend on too.

    Examples
    --------
    >>> own_files("my_model.py:MODEL"), own_files("clicknet:nets/a.json"), own_files("threshold")
    (['my_model.py'], ['nets/a.json'], [])
    """
    kind, _, rest = segmenter.partition(":")
    if kind in ("clicknet", "sam_med3d_small") and rest:
        return [rest]
    file = segmenter.rpartition(":")[0]
    if not file.endswith(".py"):
        return []
    return [str(p) for p in import_closure(file)] if Path(file).is_file() else [file]


def mega_voxels(image: str | Path) -> int:
    """Millions of voxels of an image, from its header; 0 where that cannot be read.

    Examples
    --------
    >>> mega_voxels("absent.nii.gz")
    0
    """

    import nibabel

    try:
        return math.ceil(math.prod(nibabel.load(image).shape) / 1e6)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError):
        return 0
