"""Walk of a user's folder: links are followed, leftovers of systems skipped, closed folders reported."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from umdlib.errors import InputError

# What a volume's file may be called; of two files the header stands for both. Archives are listed, not opened.
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".hdr.gz", ".hdr")
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")

_LEFTOVERS = (".", "Thumbs.db", "desktop.ini", "__MACOSX")


def subfolders(folder: str | Path) -> list[Path]:
    """Folders in a folder, sorted, links to folders among them; hidden ones are not."""
    return [p for p in _entries(Path(folder)) if p.is_dir()]


def files_below(folder: str | Path, left_out: list[tuple[str, str]] | None = None) -> list[Path]:
    """All files below a folder, sorted, links followed once; names in composed Unicode are compared.

    Parameters
    ----------
    folder
        Where to look. Hidden files and folders (``._sub-001``, ``.DS_Store``) are skipped.
    left_out
        Takes (what, why) of folders that cannot be entered and links that lead nowhere or back.
    """
    found: list[Path] = []
    left_out = [] if left_out is None else left_out
    _walk(Path(folder), found, left_out, frozenset({os.path.realpath(folder)}), top=True)
    return found


def is_volume(file: Path) -> bool:
    """Whether a file is called as a volume is."""
    return file.name.lower().endswith(VOLUMES)


def stem(file: Path) -> str:
    """Name of a volume without its suffix, in lower case."""
    name = composed(file.name).lower()
    return name.removesuffix(next((end for end in VOLUMES if name.endswith(end)), ""))


def composed(path: Path | str) -> str:
    """Path as text with slashes, in the composed form of Unicode."""
    return unicodedata.normalize("NFC", Path(path).as_posix())


def _walk(
    folder: Path, found: list[Path], left_out: list[tuple[str, str]], above: frozenset[str], top: bool = False
) -> None:
    """Collect files; `above` holds the real folders on the way, so that a link back ends."""
    try:
        entries = _entries(folder)
    except InputError as error:
        if top:
            raise
        left_out.append((str(folder), str(error)))
        return
    for entry in entries:
        if entry.is_dir():
            real = os.path.realpath(entry)
            if real in above:
                left_out.append((str(entry), "a link that leads back to a folder above it"))
            else:
                _walk(entry, found, left_out, above | {real})
        elif not entry.exists():
            left_out.append((str(entry), "a link that leads nowhere"))
        elif entry.name.lower().endswith(ARCHIVES):
            left_out.append((str(entry), "an archive: `umdlib cohorts unpack ARCHIVE FOLDER` unpacks it"))
        elif target := _stored_link(entry):
            left_out.append(
                (str(entry), f"a link that was stored as text, to {target}: make it a link, or copy it")
            )
        else:
            found.append(entry)


def _stored_link(file: Path) -> str:
    """Where a link leads that git or an archive stored as a text file; empty for any other file."""
    try:
        if file.suffix or not 0 < file.stat().st_size < 1024:
            return ""
        text = file.read_text(encoding="utf-8").strip()
        return text if "\n" not in text and "/" in text and (file.parent / text).exists() else ""
    except (OSError, UnicodeDecodeError, ValueError):
        return ""


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder without hidden ones, in order of their composed names."""
    try:
        if not folder.is_dir():
            raise InputError(f"Folder {folder} does not exist.")
        entries = [p for p in folder.iterdir() if not p.name.startswith(_LEFTOVERS)]
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be read: {error.strerror or error}.") from None
    return sorted(entries, key=composed)
