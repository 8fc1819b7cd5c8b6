"""The record of a weight file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """One official weight file.

    `size` in bytes and `sha256` are None where they are not known; `where` says in words and
    repository name how to get it; `package` is the import name of the package that ships the file;
    `repo` is the owner and name on Hugging Face, from which it can be fetched on demand,
    under the name `remote` where that differs from `file`; `condition` is the session and modality
    of the images that the file is for, None where it serves all.
    """

    file: str
    where: str
    licence: str
    size: int | None = None
    sha256: str | None = None
    package: str = ""
    repo: str = ""
    remote: str = ""
    condition: tuple[str, str] | None = None
