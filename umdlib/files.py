"""Files: written atomically, hashed, found by name, and read as tab-separated tables."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import os
import platform
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from umdlib.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

_MARK = b"umdlib-sha256:"
SEAL = _MARK + b"0" * 64  # what a file holds in place of its hash until `seal` writes it


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Name of a file to be written; it takes the place of `path` when the block ends.

    Its folder is made. Where the block ends with an error, the file that was there stays and the
    new one is removed. Several processes may write to one place: each writes a file of its own.

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


def file_hash(path: str | Path) -> str:
    """sha256 of a file's bytes.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from None


def seal(path: str | Path) -> None:
    """Write the hash of a file's bytes into it, in place of the zeros of the `SEAL` that it holds."""
    content = Path(path).read_bytes()
    with open(path, "r+b") as file:
        file.seek(content.rfind(_MARK) + len(_MARK))
        file.write(hashlib.sha256(content).hexdigest().encode())


def is_whole(content: bytes) -> bool:
    """Whether a file's bytes are those that `seal` has seen; one without a seal passes.

    Examples
    --------
    >>> is_whole(b"plain"), is_whole(b"sealed " + SEAL)
    (True, False)
    """
    place = content.rfind(_MARK)
    if place < 0:
        return True
    start = place + len(_MARK)
    end = start + 64
    whole = memoryview(content)
    found = hashlib.sha256(whole[:start])
    found.update(b"0" * 64)
    found.update(whole[end:])
    return found.hexdigest().encode() == content[start:end]


def write_stamped(path: str | Path, table: pd.DataFrame, key: bytes, stamp: dict) -> None:
    """Write a table as Parquet, atomically and sealed, with its provenance in the file's metadata.

    Parameters
    ----------
    path
        Of the file.
    table
        Checked by the caller.
    key
        Of the metadata that holds the provenance.
    stamp
        Provenance.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    own = {key: json.dumps(stamp, sort_keys=True).encode(), b"umdlib_check": SEAL}
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **own})
    with replaced(path) as part:
        with open(part, "wb") as file:  # Arrow takes names in UTF-8 alone, which a bare locale does not give
            pq.write_table(arrow, file)
        seal(part)


def read_stamped(
    path: str | Path,
    key: bytes,
    *,
    name: str,
    made_by: str,
    by_column: bool = False,
    rows: Callable[[Callable[[str], pd.Series]], np.ndarray] | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Read a table that `write_stamped` wrote, and its provenance; empty where the file has none.

    Parameters
    ----------
    path, key
        As they were written.
    name, made_by
        What the table is called, and the command that makes one, for messages.
    by_column
        Whether text comes as categories, as the file holds it: each word once, but for content keys, of which
        each row has its own. A large table is then never in memory twice.
    rows
        With `by_column`, which rows are read: of a function that gives a column by its name, a mask.

    Raises
    ------
    InputError
        A missing, damaged or foreign file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{name} {path} does not exist. `{made_by}` makes one.")
    try:
        content = path.read_bytes()
        if not is_whole(content):
            raise InputError(f"{name} {path} is damaged: it is not what was written. Make it anew.")
        if by_column:
            return _by_column(content, key, str(path), rows)
        arrow = pq.read_table(pa.BufferReader(content))
        return arrow.to_pandas(), _stamp_of(arrow.schema, key)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"File {path} is not a Parquet table: {error}.") from None


def _stamp_of(schema: pa.Schema, key: bytes) -> dict:
    """Provenance in a table's metadata."""
    return json.loads((schema.metadata or {}).get(key, b"{}"))


def _by_column(content: bytes, key: bytes, source: str, rows: Callable | None) -> tuple[pd.DataFrame, dict]:
    """See `read_stamped`: one column after the other, of the rows that are asked for."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(pa.BufferReader(content))
    text = (f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type))
    words = [name for name in text if not name.endswith("_key")]
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=words)

    def column(name: str, mask: pa.Array | None = None) -> pd.Series:
        if name not in schema.names:
            raise InputError(f"Column '{name}' is missing in {source}.")
        arrow = file.read(columns=[name])
        values = (arrow if mask is None else arrow.filter(mask)).to_pandas(ignore_metadata=True)[name]
        return values.copy() if values.dtype.kind in "fi" else values  # Arrow's memory takes no writing

    mask = None if rows is None else pa.array(rows(column))
    table = pd.DataFrame({name: column(name, mask) for name in schema.names}, copy=False)
    return table, _stamp_of(schema, key)


def owner() -> dict:
    """Describe this process so that it is known on whatever machine and in whatever container its files are read.

    Returns
    -------
    dict
        Host, boot, process namespace, number and start of the process.
    """
    process = psutil.Process()
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    return {
        "host": platform.node(),
        "boot": boot.read_text().strip() if boot.is_file() else "",
        "pids": os.readlink(namespace) if namespace.is_symlink() else "",
        "pid": process.pid,
        "started": process.create_time(),
    }


def liveness(record: str | Path) -> str:
    """Whether the process whose `owner` record lies in a JSON file still runs.

    Returns
    -------
    str
        ``living``, ``dead``, or ``unknown``: it is of another machine, boot or container, or the file
        cannot be read. What is unknown is not to be removed.
    """
    try:
        theirs, here = json.loads(Path(record).read_text("utf-8")), owner()
        if any(theirs[k] != here[k] for k in ("host", "boot", "pids")):
            return "unknown"
        started = psutil.Process(theirs["pid"]).create_time()
        return "living" if abs(started - theirs["started"]) < 1 else "dead"
    except psutil.NoSuchProcess:
        return "dead"
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return "unknown"


def existing(path: str | Path) -> Path | None:
    """The file or folder at `path`, also where its name is in the other Unicode form; None if there is none.

    "ü" is one character or a letter with a mark; a table and a disk may differ in that.

    Raises
    ------
    InputError
        The system cannot look: a closed folder, a name that is too long, a NUL in it.

    Examples
    --------
    >>> existing(os.devnull) == Path(os.devnull), existing("/no/such/file")
    (True, None)
    """
    path = Path(path)
    forms = [unicodedata.normalize(form, str(path)) for form in ("NFC", "NFD")]
    for candidate in dict.fromkeys([str(path), *forms]):
        try:
            os.stat(candidate)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"Cannot look at {str(path)[:200]}: {error.strerror or error}.") from None
        except ValueError as error:
            raise InputError(f"Invalid file name {str(path)[:200]!r}: {error}.") from None
        return Path(candidate)
    return None


def read_tsv(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a tab-separated table of strings.

    Parameters
    ----------
    path
        UTF-8, or UTF-16 with its mark as Excel's "Unicode text" has it. Lines end with LF, CRLF or
        CR; blank lines and columns without name and content are skipped; "#" starts no comment.
    columns
        Names that must be there.

    Returns
    -------
    pandas.DataFrame
        All cells are strings without spaces around them. The index, ``line``, is each row's line in
        the file.

    Raises
    ------
    InputError
        A file that is missing, unreadable, empty, in another encoding or not tab-separated; a column
        that is missing or there twice; a line of another number of fields; a control character.
    """
    import pandas as pd

    path = Path(path)
    numbered = [(n, line) for n, line in enumerate(_lines(path), start=1) if line.strip()]
    if not numbered:
        raise InputError(f"File {path} is empty.")
    first = numbered[0][1]
    if "\t" not in first and any(mark in first for mark in ",; "):
        raise InputError(
            f"File {path} is not tab-separated: its header is '{first[:60]}'. In a spreadsheet, save it as "
            "'Text (tab delimited)' or 'Unicode text'."
        )
    rows = [_fields(path, *line) for line in numbered]
    width = max((n for row in rows for n, cell in enumerate(row, start=1) if cell), default=0)
    header = rows[0][: max(width, 1)]
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"Column '{name}' of {path} is there twice.")
    for column in columns:
        if column not in header:
            raise InputError(f"Column '{column}' is missing in {path}. It has: {', '.join(header)}.")
    for (number, _), row in zip(numbered[1:], rows[1:], strict=True):
        if len(row) != len(rows[0]):
            raise InputError(f"Line {number} of {path} has {len(row)} fields. The header has {len(header)}.")
    lines = pd.Index([number for number, _ in numbered[1:]], name="line", dtype=int)
    return pd.DataFrame([row[: len(header)] for row in rows[1:]], columns=header, index=lines, dtype=str)


def write_tsv(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as tab-separated UTF-8, atomically.

    Missing values and empty texts are n/a, as in BIDS; a tab or line end within a text becomes a space.
    """
    table = table.astype(object).where(table.notna() & table.ne(""), "n/a")
    table = table.map(lambda v: re.sub(r"[\t\r\n]+", " ", v) if isinstance(v, str) else v)
    with replaced(path) as part:
        table.to_csv(part, sep="\t", index=False, lineterminator="\n")
    return Path(path)


def in_utf8(text: str) -> str:
    r"""A text that UTF-8 can hold: what a file's name holds of another encoding is spelt out.

    Examples
    --------
    >>> in_utf8(os.fsdecode(b"J\xf6rg.nii")), in_utf8("Jörg.nii")
    ('J\\udcf6rg.nii', 'Jörg.nii')
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _lines(path: Path) -> list[str]:
    """Lines of a text file, without their ends."""
    found = existing(path)
    if found is None:
        raise InputError(f"File {path} does not exist.")
    try:
        raw = found.read_bytes()
    except OSError as error:
        raise InputError(f"File {path} cannot be read: {error.strerror or error}.") from None
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(
            f"File {path} is an Excel workbook or an archive. In a spreadsheet, save it as 'Text (tab delimited)' or "
            "'Unicode text'."
        )
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"File {path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}. "
            "Save it as UTF-8."
        ) from None
    lines = re.split(r"\r\n|\n|\r", text)
    for number, line in enumerate(lines, start=1):
        if control := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            raise InputError(
                f"Line {number} of {path} holds the control character {control[0]!r}. Remove it."
            )
    return lines


def _fields(path: Path, number: int, line: str) -> list[str]:
    """The fields of one line; a quoted field ends where its line does."""
    try:
        (row,) = csv.reader([line], delimiter="\t", strict=True)
    except (csv.Error, ValueError):
        raise InputError(
            f"Line {number} of {path} has a quotation mark that does not enclose a whole field. Remove it."
        ) from None
    return [cell.strip() for cell in row]
