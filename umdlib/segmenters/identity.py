"""What the predictions of a segmenter depend on: version, settings, code, weights."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from umdlib import sources
from umdlib.segmenters.contract import Segmenter
from umdlib.weights import reading as weights

_PACKAGE = Path(__file__).parents[1]
_EXTERNAL = Path(__file__).parent / "external" / "workers"


def identity_of(segmenter: Segmenter) -> dict:
    """Record of all that a segmenter's predictions depend on: version, settings, code, weight hashes.

    The code is that of `load` and of all that it imports inside this package, see
    `umdlib.sources.import_closure`. Weights by their published hash, else the one recorded at first
    use, else ``""``.
    """
    return {
        "version": segmenter.version,
        "settings": {k: str(v) for k, v in segmenter.settings.items()},
        "source": _code(segmenter),
        "weights": {_short_name(w.file): weights.known_hash(w) or "" for w in segmenter.weights},
    }


def _code(segmenter: Segmenter) -> str:
    """Digest of the code behind a segmenter; ``""`` where it cannot be read."""
    parts = set()
    for thing in _behind(segmenter.load):
        try:
            file = Path(inspect.getsourcefile(thing) or "")
            if file.is_file():
                # the code of this package as it was when the process first needed its digest
                changed = 0 if file.is_relative_to(_PACKAGE) else file.stat().st_mtime_ns
                parts.add(_digest(file, changed))
            else:  # a cell of a notebook has no file, but its text
                parts.add(inspect.getsource(thing))
        except (TypeError, OSError):
            continue
    if segmenter.external:
        workers = (_EXTERNAL / f"{name}.py" for name in (segmenter.name, "file_contract"))
        parts.add(sources.code_digest(filter(Path.is_file, workers)))
    return sha256("\n".join(sorted(parts)).encode()).hexdigest() if parts else ""


@functools.lru_cache(maxsize=256)
def _digest(file: Path, changed: int) -> str:
    """Digest of a file and of all that it imports, kept until the file changes."""
    return sources.code_digest(sources.import_closure(file))


def _behind(load: Callable) -> Iterator[Callable]:
    """A function without its wrappers, and the functions and classes that it was made with."""
    waiting, seen = [load], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, functools.partial):
            waiting += [thing.func, *filter(callable, (*thing.args, *thing.keywords.values()))]
            continue
        plain = inspect.unwrap(thing)
        if not inspect.isroutine(plain) and not inspect.isclass(plain):
            plain = type(plain)
        yield plain
        cells = getattr(plain, "__closure__", None) or ()
        for cell in cells:
            try:
                content = cell.cell_contents
            except ValueError:  # not yet given a value
                continue
            if callable(content):
                waiting.append(content)


def _short_name(file: str) -> str:
    """A weight file by a name that does not depend on where a user's own network lies."""
    return "/".join(Path(file).parts[-2:]) if Path(file).is_absolute() else file
