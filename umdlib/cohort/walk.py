"""A user's folder, walked: links followed, leftovers of systems skipped, closed folders told."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from umdlib.errors import InputError

_LEFTOVERS = (".", "Thumbs.db", "desktop.ini", "__MACOSX")


def subfolders(folder: str | Path) -> list[Path]:
    """Folders in a folder, sorted, links to folders among them; hidden ones are not.

    Raises
    ------
    InputError
        No such folder, or one that is closed.
    """
    return [p for p in _entries(Path(folder)) if p.is_dir()]


def files_below(folder: str | Path, left_out: list[tuple[str, str]] | None = None) -> list[Path]:
    """All files below a folder, sorted, links followed once; names in composed Unicode are compared.

    Parameters
    ----------
    folder
        Where to look. Hidden files and folders (``._sub-001``, ``.DS_Store``) are skipped.
    left_out
        Takes (what, why) of folders that cannot be entered and links that lead nowhere or back.

    Raises
    ------
    InputError
        No such folder, or it is closed.
    """
    found: list[Path] = []
    left_out = [] if left_out is None else left_out
    _walk(Path(folder), found, left_out, frozenset({os.path.realpath(folder)}), top=True)
    return found


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
        elif entry.exists():
            found.append(entry)
        else:
            left_out.append((str(entry), "a link that leads nowhere"))


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder without hidden ones, in order of their composed names."""
    try:
        if not folder.is_dir():
            raise InputError(f"Folder {folder} does not exist.")
        entries = [p for p in folder.iterdir() if not p.name.startswith(_LEFTOVERS)]
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be read: {error.strerror or error}.") from None
    return sorted(entries, key=composed)
