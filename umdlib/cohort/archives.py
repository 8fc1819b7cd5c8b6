"""Archives of public sets, unpacked with every member checked: no way out of the folder, no links, no bombs."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from umdlib.cohort.walk import ARCHIVES
from umdlib.errors import InputError

# More than this ratio of inflated to stored bytes is not an archive of images, once it is more than this.
_BOMB_RATIO, _BOMB_BYTES = 200, 1 << 30
_MOST_MEMBERS = 2_000_000

# Share of the disk's free space that stays free.
_MARGIN = 0.05
_PIECE = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


@dataclass(frozen=True)
class _Member:
    """A member of an archive: its name, whether it is a folder, a file or neither, and how it is read."""

    name: str
    kind: str
    size: int
    stream: Callable[[], BinaryIO]


def is_archive(path: str | Path) -> bool:
    """Whether a file is called as an archive is."""
    return Path(path).name.lower().endswith(ARCHIVES)


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    most_bytes: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Unpack an archive.

    Parameters
    ----------
    archive
        ZIP or tar, compressed by gzip, bzip2 or xz or not.
    folder
        Where its files go. A file that is there with the size of its member is kept: an unpacking that was
        broken off goes on.
    most_bytes
        That all files together may have; None takes what the disk has free, less a twentieth.
    say
        Takes a line of progress every 500 files, and of each member that is left out: links, devices, leftovers
        of systems.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    InputError
        Another kind of file, a damaged or an encrypted one; a member whose name leads out of the folder; more
        members or bytes than allowed; a disk that is full. What was unpacked before stays.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        members, stored = _members(archive), archive.stat().st_size
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        allowed = int(free * (1 - _MARGIN)) if most_bytes is None else most_bytes
        return _unpack(archive, members, folder, allowed, stored, say)
    except _DAMAGE as error:
        raise InputError(f"Archive {archive} is damaged: {error or type(error).__name__}.") from None
    except OSError as error:
        raise InputError(f"Archive {archive} cannot be unpacked: {error.strerror or error}.") from None


def _unpack(
    archive: Path,
    members: Iterator[_Member],
    folder: Path,
    allowed: int,
    stored: int,
    say: Callable[[str], None],
) -> list[Path]:
    """Check and write member by member; what is inflated is counted, whatever the members claim."""
    written, total = [], 0
    for number, member in enumerate(members, start=1):
        if number > _MOST_MEMBERS:
            raise InputError(
                f"Archive {archive} has more than {_MOST_MEMBERS:,} members. Nothing more is unpacked."
            )
        target = _target(member.name, folder, archive)
        if member.kind == "folder" or target is None:
            continue
        if member.kind != "file":
            say(f"{member.name}: a link or a device, left out")
            continue
        total += member.size
        _check_size(archive, total, allowed, stored)
        if not (target.is_file() and target.stat().st_size == member.size):
            _write(member, target, archive)
        written.append(target)
        if len(written) % 500 == 0:
            say(f"{len(written)} files unpacked")
    if not written:
        raise InputError(f"Archive {archive} holds no file.")
    return written


def _check_size(archive: Path, total: int, allowed: int, stored: int) -> None:
    """Raise where the members so far come to more than the disk or any real archive holds."""
    if total > allowed:
        raise InputError(
            f"Archive {archive} holds more than {total / 2**30:.2f} GB, at most {allowed / 2**30:.2f} fit here. "
            "Make room, or name another folder."
        )
    if total > _BOMB_BYTES and total > _BOMB_RATIO * stored:
        raise InputError(
            f"Archive {archive} of {stored:,} bytes would inflate to more than {total:,}. No archive of images shrinks "
            f"{_BOMB_RATIO}-fold: nothing more is unpacked."
        )


def _target(name: str, folder: Path, archive: Path) -> Path | None:
    """Where a member goes; None for leftovers of systems. A name that leads out of the folder is refused."""
    parts = PurePosixPath(name.replace("\\", "/"))
    wrong = (
        parts.is_absolute()
        or ".." in parts.parts
        or re.match(r"[A-Za-z]:", name)
        or re.search(r"[\0-\x1f]", name)
    )
    if not wrong and any(p.name.startswith("._") or p.name == "__MACOSX" for p in (parts, *parts.parents)):
        return None
    target = folder / parts
    # a link that lay in the folder before must not lead a member out of it either
    if wrong or not target.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"Archive {archive} has a member '{name[:80]!r}', which leads out of {folder}. It is not to be trusted."
        )
    return target


def _write(member: _Member, target: Path, archive: Path) -> None:
    """Write one member beside its place, then into it; it may not be longer than it claims."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:200]}.part")
    try:
        with member.stream() as stream, open(part, "wb") as file:
            count = 0
            while piece := stream.read(_PIECE):
                count += len(piece)
                if count > member.size:
                    raise InputError(f"Archive {archive} is damaged: {member.name} is longer than it claims.")
                file.write(piece)
        if count < member.size:
            raise InputError(f"Archive {archive} is damaged: {member.name} is shorter than it claims.")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _members(archive: Path) -> Iterator[_Member]:
    """Members of a ZIP or a tar file, in order; what is neither is refused at once."""
    with open(archive, "rb") as file:
        start = file.read(6)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    if start[:6] in (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"):
        raise InputError(
            f"Archive {archive} is a 7z or RAR file. Unpack it with 7-Zip; the import checks what it holds."
        )
    if tarfile.is_tarfile(archive):
        return _tar_members(archive)
    raise InputError(f"File {archive} is not an archive: neither ZIP nor tar.")


def _zip_members(archive: Path) -> Iterator[_Member]:
    """Members of a ZIP file."""
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            if info.flag_bits & 1:
                raise InputError(f"Archive {archive} is encrypted. Unpack it with its password.")
            mode = info.external_attr >> 16 & 0o170000
            kind = "folder" if info.is_dir() else "file" if mode in (0, 0o100000) else "other"
            yield _Member(info.filename, kind, info.file_size, lambda info=info: zipped.open(info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    """Members of a tar file, read once from its start to its end."""
    with tarfile.open(archive, "r|*") as tar:
        for info in tar:
            kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
            yield _Member(info.name, kind, info.size, lambda info=info: tar.extractfile(info))
