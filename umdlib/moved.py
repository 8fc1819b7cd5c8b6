"""Old names of modules: an import of one fails with a sentence that says where it is now."""

from __future__ import annotations

import sys
from pathlib import Path


class _Moved:
    """Finder of last resort for modules of this package."""

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> None:
        """Raise where a module has moved; find nothing."""
        if name.startswith("umdlib."):
            table = (Path(__file__).parent / "moved.tsv").read_text("utf-8")
            place = dict(line.split("\t") for line in table.splitlines()).get(name)
            if place:
                raise ImportError(f"Module '{name}' is now '{place}'. Import from there.", name=name)


def announce() -> None:
    """Say the new place to whoever imports an old one."""
    if _Moved not in sys.meta_path:
        sys.meta_path.append(_Moved)
