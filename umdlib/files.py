"""Files that are never half there: written beside their place, then put into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from umdlib.errors import InputError


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """The name of a file to be written, which takes the place of `path` when the block ends.

    Its folder is made. Where the block ends with an error, the file that was there stays and the
    new one goes. Several processes may write to one place: each writes a file of its own.

    Raises
    ------
    InputError
        The file cannot be written, with the system's reason: no space left, no permission.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replaced(Path(folder) / "new" / "a.txt") as part:
    ...         _ = part.write_text("whole")
    ...     (Path(folder) / "new" / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from None
    except RuntimeError as error:  # torch's writer, when the disk is full
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        raise InputError(f"Cannot write {path}: {error}".rstrip(".")[:200] + ".") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
