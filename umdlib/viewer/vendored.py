"""Libraries that pages load, packed beside this file: read and held to their recorded hashes."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from umdlib.errors import InputError

ASSETS = Path(__file__).parent / "assets"


def record(name: str) -> dict:
    """Where a vendored library comes from, its licence, and the hashes of its files."""
    return json.loads((ASSETS / "vendor" / f"{name}.json").read_text("utf-8"))


def content(file: str, sha256: str) -> bytes:
    """A vendored file, unpacked.

    Raises
    ------
    InputError
        It is not the one whose hash is recorded.
    """
    found = gzip.decompress(packed(file))
    digest = hashlib.sha256(found).hexdigest()
    if digest != sha256:
        raise InputError(f"SHA-256 of {file} is {digest}. Must be {sha256}.")
    return found


def packed(file: str) -> bytes:
    """A vendored file as it lies here, compressed with gzip."""
    return (ASSETS / "vendor" / f"{file}.gz").read_bytes()
