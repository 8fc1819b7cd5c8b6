"""Compilation of the kernels, cached in a folder that can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numba
from numba.misc.appdirs import AppDirs

__all__ = ["njit"]


def _cache_folder(package: Path, chosen: str = "") -> str | None:
    """Find a folder for compiled code: ``""`` for numba's own choice, None where nothing can be written.

    In containers and on the read-only images of clusters neither the package nor a home may be
    writable; numba then refuses to compile at all.
    """
    own = [chosen] if chosen else [str(package / "__pycache__"), AppDirs(appname="numba").user_cache_dir]
    if any(map(_can_write, own)):
        return ""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    spare = str(Path(tempfile.gettempdir()) / f"umdlib-numba-{user}")
    return spare if _can_write(spare) else None


def _can_write(folder: str) -> bool:
    """Whether a file can be made in a folder, which is made where it is absent."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _uncached(*arguments, cache: bool = False, **options):
    """`numba.njit` without a cache."""
    return numba.njit(*arguments, **options)


_FOLDER = _cache_folder(Path(__file__).parent, numba.config.CACHE_DIR)
if _FOLDER:
    numba.config.CACHE_DIR = _FOLDER
njit = _uncached if _FOLDER is None else numba.njit
