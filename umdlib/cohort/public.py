"""Public sets of paired images as records: what they hold, how to cite them, how to get them."""

from __future__ import annotations

import hashlib
import json
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

from umdlib.errors import InputError, unknown_name
from umdlib.files import file_hash, read_tsv

_GITHUB = "https://raw.githubusercontent.com"
ZENODO = "https://zenodo.org/api/records"

_PIECE = 1 << 20


@dataclass(frozen=True)
class _PublicCohort:
    """One public set.

    Attributes
    ----------
    name, title, subjects, images, masks
        What it is and holds.
    licence, doi, citation
        How it may be used, and how to name it.
    where, access, source
        The host; free, registration or by hand; where it is fetched from, or the steps to take.
    layout, import_as, traps
        How its folder looks, the kind of import for it, and what to look out for.
    """

    name: str
    title: str
    subjects: str
    images: str
    masks: str
    licence: str
    doi: str
    citation: str
    where: str
    access: str
    source: str
    layout: str
    import_as: str
    traps: str

    def text(self) -> str:
        """All that is known, for a reader."""
        rows = {
            "subjects": self.subjects,
            "images": self.images,
            "masks": self.masks,
            "licence": self.licence,
            "where": self.where,
            "access": self.access,
            "layout": self.layout,
            "traps": self.traps,
            "cite": self.cite(),
        }
        lines = [f"{self.name}: {self.title}"]
        for key, value in rows.items():
            lines += textwrap.wrap(value, 100, initial_indent=f"  {key:9}", subsequent_indent=" " * 11)
        lines.append("  to get it:")
        lines += [f"    {n}. {step}" for n, step in enumerate(self.steps(), start=1)]
        return "\n".join(lines)

    def steps(self) -> list[str]:
        """Steps from the set to a cohort."""
        if self.access == "free":
            unpack = ["umdlib cohorts unpack ARCHIVE FOLDER, for what is an archive"]
            return [
                f"umdlib cohorts fetch {self.name} FOLDER",
                *(unpack if self.source.startswith("zenodo") else []),
                f"umdlib import {self.import_as} FOLDER DEST --dry-run, then without --dry-run",
            ]
        return [step.strip() for step in self.source.split("|")]

    def cite(self) -> str:
        """Citation with its DOI."""
        return self.citation + ("" if self.doi == "n/a" else f" doi:{self.doi}")


@cache
def records() -> tuple[_PublicCohort, ...]:
    """All records, in the order of the shipped table."""
    with resources.as_file(resources.files("umdlib.cohort") / "public.tsv") as path:
        table = read_tsv(path, [f.name for f in fields(_PublicCohort)])
    return tuple(_PublicCohort(**row) for row in table.to_dict("records"))


def record(name: str) -> _PublicCohort:
    """A record by name.

    Raises
    ------
    InputError
        No such set; the nearest name is suggested.
    """
    by_name = {r.name: r for r in records()}
    if name not in by_name:
        raise unknown_name("public cohort", name, by_name)
    return by_name[name]


def fetch(
    name: str,
    folder: str | Path,
    *,
    only: str = "",
    hosts: dict[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Fetch a set that is free; every file is checked, and those that are there already are kept.

    Parameters
    ----------
    name
        Of the record.
    folder
        Where it goes. A file that was broken off is gone on with.
    only
        Beginning of the paths to fetch, e.g. ``STS_001``; empty: all.
    hosts
        ``github`` and ``zenodo`` -> address, in place of the public ones.
    say
        Takes a line per file.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    InputError
        A set that must be fetched by hand, with its steps; a host that does not answer; a file that is not the
        one whose checksum is known.
    """
    found = record(name)
    if found.access != "free":
        steps = "".join(f"\n  {n}. {step}" for n, step in enumerate(found.steps(), start=1))
        raise InputError(f"{found.title} cannot be fetched for you ({found.access}):{steps}")
    host, _, place = found.source.partition(":")
    base = (hosts or {}).get(host) or {"github": _GITHUB, "zenodo": ZENODO}[host]
    files = _github_files(name, base, place) if host == "github" else _zenodo_files(base, place)
    files = [f for f in files if f[0].startswith(only)]
    if not files:
        raise InputError(f"No file of {name} begins with '{only}'.")
    folder, paths = Path(folder), []
    for number, (path, url, known) in enumerate(files, start=1):
        target = _inside(folder, path)
        if target.is_file() and _checksum(target, known) == known:
            say(f"{number} of {len(files)} {path}: there already")
        else:
            _download(url, target, known)
            say(f"{number} of {len(files)} {path}")
        paths.append(target)
    return paths


def _inside(folder: Path, path: str) -> Path:
    """A path of a host's list in the folder; a list that leads out of it is refused."""
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise InputError(f"The host lists '{path}', which lies outside {folder}. Nothing was fetched.")
    return folder / path


def _github_files(name: str, base: str, place: str) -> list[tuple[str, str, str]]:
    """(path, address, checksum) of a set at one commit: sha256, or git's own hash where that is what is known."""
    repository, _, commit = place.partition("@")
    with resources.as_file(resources.files("umdlib.cohort") / "public_files.tsv") as table:
        rows = read_tsv(table, ("set", "path", "source", "sha256", "git_blob"))
    return [
        (
            row["path"],
            f"{base}/{repository}/{commit}/{row['source']}",
            f"git:{row['git_blob']}" if row["sha256"] == "n/a" else f"sha256:{row['sha256']}",
        )
        for row in rows[rows["set"] == name].to_dict("records")
    ]


def _zenodo_files(base: str, number: str) -> list[tuple[str, str, str]]:
    """(name, address, checksum) of a record, as the host itself lists them."""
    import requests

    try:
        answer = requests.get(f"{base}/{number}", timeout=60)
        answer.raise_for_status()
        return [(f["key"], f["links"]["self"], f["checksum"]) for f in answer.json()["files"]]
    except (requests.RequestException, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"Record {number} cannot be listed: {type(error).__name__}: {error}.") from None


def _download(url: str, target: Path, known: str) -> None:
    """Download a file with pooch, and put it in its place when its checksum is the known one."""
    import pooch
    import requests

    part, whole = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "whole"))
    pooch.get_logger().setLevel("ERROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole.unlink(missing_ok=True)
        pooch.retrieve(url, known_hash=None, fname=whole.name, path=whole.parent, downloader=_Resuming(part))
        found = _checksum(whole, known)
        if found != known:
            whole.unlink()
            raise InputError(
                f"File {url} is not the one that is known: its checksum is {found}, not {known}."
            )
        whole.replace(target)
    except requests.RequestException as error:
        raise InputError(
            f"File {url} cannot be fetched: {error}. The same command resumes where this stopped."
        ) from None
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror or error}.") from None


class _Resuming:
    """pooch's downloader that goes on with what an earlier try has left in `part`."""

    def __init__(self, part: Path):
        self.part = part

    def __call__(self, url: str, output_file, pooch_object) -> None:
        import requests

        there = self.part.stat().st_size if self.part.is_file() else 0
        answer = requests.get(
            url, stream=True, timeout=60, headers={"Range": f"bytes={there}-"} if there else {}
        )
        if answer.status_code != 416:  # all of it is there already
            answer.raise_for_status()
            with open(self.part, "ab" if answer.status_code == 206 else "wb") as file:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
        shutil.move(self.part, output_file)


def _checksum(path: Path, known: str) -> str:
    """Checksum of a file in the manner of a known one: sha256, md5 or git's hash of a file."""
    manner = known.partition(":")[0]
    if manner == "sha256":
        return f"sha256:{file_hash(path)}"
    digest = hashlib.new("sha1" if manner == "git" else manner, usedforsecurity=False)
    if manner == "git":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return f"{manner}:{digest.hexdigest()}"
