"""Inventory of the weight files of every segmenter: listed, checked, fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.segmenters import registry
from umdlib.weights import reading as weights
from umdlib.weights.archives import fetch_members


def table() -> pd.DataFrame:
    """One row per weight file of every segmenter: what `umdlib weights list` prints.

    Columns: segmenter, file, state (``here``, ``missing``, ``other size``, ``in a package``),
    megabytes, licence, where, sha256 (published or recorded at first use, else empty).
    """
    rows = []
    for name in registry.names():
        for item in registry.get(name).weights:
            path = weights.path_of(item)
            here = path.is_file()
            state = "missing" if not here else "here"
            if here and weights.missing(item, name):
                state = "other size"
            rows.append(
                {
                    "segmenter": name,
                    "file": item.file,
                    "state": "in a package" if state == "here" and item.package else state,
                    "megabytes": path.stat().st_size / 1e6 if here else np.nan,
                    "licence": item.licence,
                    "where": item.where,
                    "sha256": weights.known_hash(item) or "",
                }
            )
    columns = ["segmenter", "file", "state", "megabytes", "licence", "where", "sha256"]
    return pd.DataFrame(rows, columns=columns)


def list_text() -> str:
    """`umdlib weights list`: the folder, then a line or two per file."""
    lines = [f"Weights folder: {weights.folder()}"]
    for row in table().itertuples():
        size = "" if row.megabytes != row.megabytes else f"  {row.megabytes:.0f} MB"
        lines.append(f"{row.segmenter:18} {row.state:13} {row.file}{size}")
        if row.state == "missing":
            lines.append(f"{'':18} {'':13} from {row.where}; licence: {row.licence}")
    return "\n".join(lines)


def where_text(segmenter: str) -> str:
    """`umdlib weights where NAME`: where each file of a segmenter belongs and comes from."""
    record = registry.get(segmenter)
    if not record.weights:
        return f"Segmenter '{segmenter}' needs no weights."
    return "\n".join(
        f"{weights.path_of(w)}\n    from {w.where}\n    licence: {w.licence}\n    hash: {w.hash_words}"
        for w in record.weights
    )


def check_text(segmenter: str | None = None, *, accept: str | None = None) -> str:
    """`umdlib weights check [NAME] [--accept FILE]`: hash every file that is here.

    `accept` forgets the recorded hash of a file, so that its present one is recorded; a published
    hash cannot be overruled.

    Raises
    ------
    InputError
        A file whose hash or size is not the expected one.
    """
    if accept is not None:
        weights._forget(accept)
    lines = []
    if segmenter and not registry.get(segmenter).weights:
        return f"Segmenter '{segmenter}' needs no weights."
    for name in [segmenter] if segmenter else registry.names():
        for item in registry.get(name).weights:
            if weights.path_of(item).is_file():
                digest = weights.sha256(weights.verified(item, name))
                _check_owner(item.file, digest)
                published = item.sha256 and not weights.converted(item)
                source = "published hash" if published else "hash of its first use"
                lines.append(f"{name:18} {weights._key(item)}  {digest[:16]}…  as its {source}")
    return "\n".join(lines) or f"No weight file is in {weights.folder()}."


def _check_owner(file: str, digest: str) -> None:
    """Refuse a file whose hash was published for another name."""
    for name in registry.names():
        for item in registry.get(name).weights:
            if item.sha256 == digest and item.file != file:
                raise InputError(
                    f"Weights {weights.folder() / file} are {item.file} of '{name}' by their hash. "
                    "Fetch the file that belongs here."
                )


def fetch(segmenter: str, *, say=print) -> list[Path]:
    """`umdlib weights fetch NAME`: download a segmenter's files.

    Only on demand. A broken download resumes where it stopped; a finished one must have the published
    size and hash where there are any. ``HF_ENDPOINT`` names a mirror of the Hugging Face Hub,
    ``HF_TOKEN`` opens what needs a login.

    Raises
    ------
    InputError
        The files cannot be fetched automatically, the network or the folder fails, or what came is
        not what was announced.
    """
    paths, items = [], registry.get(segmenter).weights
    for item in items:
        path = weights.path_of(item)
        if not path.exists() and item.member:
            beside = [w for w in items if w.url == item.url and not weights.path_of(w).exists()]
            say(f"{item.url}\n  to {path} and {len(beside) - 1} more; licence: {item.licence}")
            fetch_members(beside)
        elif path.exists():
            say(f"{path} is here.")
        elif not (item.repo or item.url):
            raise InputError(f"{item.file} has to be fetched by hand from {item.where} to {path}.")
        else:
            say(f"{item.url or item.repo}\n  to {path}; licence: {item.licence}")
            weights.download(item, path)
        weights.verified(item, segmenter)
        paths.append(path)
    return paths
