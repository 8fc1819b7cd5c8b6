"""The record of a weight file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """One official weight file.

    Attributes
    ----------
    file
        Its place in the weights folder, or in the package that ships it.
    where
        How to get it, in words.
    licence
        As the file's own page says.
    size
        In bytes; None where it is not known.
    sha256, md5
        Published hashes; None where there is none.
    package
        Import name of the package that ships the file.
    repo, remote, revision
        Owner and name on the Hugging Face Hub, the name there where that differs from `file`, and the
        branch, tag or commit.
    url
        Direct address, where there is one.
    condition
        Session and modality of the images that the file is for; None where it serves all.
    """

    file: str
    where: str
    licence: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    package: str = ""
    repo: str = ""
    remote: str = ""
    revision: str = "main"
    url: str = ""
    condition: tuple[str, str] | None = None
