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
        Direct address, where there is one; of a zip archive where there is a `member`.
    member
        Its path inside that archive, where ``*`` stands for any name.
    archive_sha256
        Published hash of that archive; None where there is none.
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
    member: str = ""
    archive_sha256: str | None = None
    condition: tuple[str, str] | None = None

    @property
    def hash_words(self) -> str:
        """Source of its hash, in words; where none is public, how the file is checked."""
        if self.sha256:
            return f"published sha256 {self.sha256[:12]}…"
        if self.md5:
            return f"published md5 {self.md5[:12]}…"
        if self.archive_sha256:
            return f"published sha256 of its archive {self.archive_sha256[:12]}…; itself hashed at first use"
        if self.licence == "yours":
            return "yours: hashed at first use"
        return "no public hash known: hashed at first use"
