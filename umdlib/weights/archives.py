"""Weight files that are published inside zip archives: one archive, several files."""

from __future__ import annotations

import fnmatch
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from umdlib.errors import InputError
from umdlib.files import replaced
from umdlib.weights import reading
from umdlib.weights.record import Weights


def fetch_members(items: Sequence[Weights]) -> None:
    """Download the archive of `items` once and put each of them at its place in the weights folder.

    The archive is removed when every file is there. A broken download resumes where it stopped.

    Raises
    ------
    InputError
        The network, the server or the folder fails; the archive has not the published hash, is damaged,
        or does not hold a file once.
    """
    first = items[0]
    archive = reading.folder() / ".parts" / Path(first.url).name
    if not archive.is_file():
        reading.download(first, archive)
    actual = reading.sha256(archive)
    if first.archive_sha256 and actual != first.archive_sha256:
        archive.unlink()
        raise InputError(
            f"{first.url} has sha256 {actual[:12]}…, not the published {first.archive_sha256[:12]}…. It was removed; "
            "fetch it again."
        )
    try:
        with zipfile.ZipFile(archive) as opened:
            for item in items:
                _extract(opened, item)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise InputError(f"{first.url} is not a whole zip archive: {error}. It was removed.") from None
    archive.unlink()


def _extract(archive: zipfile.ZipFile, item: Weights) -> None:
    """Write the one member that an item's pattern names to its place."""
    inside = [n for n in archive.namelist() if not n.endswith("/")]
    found = [n for n in inside if fnmatch.fnmatchcase(n, item.member)]
    if len(found) != 1:
        raise InputError(
            f"{item.url} holds {len(found)} files '{item.member}', not 1. It holds {', '.join(inside[:8])}."
        )
    path = reading.path_of(item)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as part, archive.open(found[0]) as source, open(part, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
