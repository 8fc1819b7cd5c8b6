"""What the cells of a page show: text, numbered tables, and values that the text refers to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from umdbook import enter_project
from umdlib.errors import InputError, unknown_name


def begin() -> None:
    """Start a page: paths begin at the project's folder, figures have the book's style."""
    from umdlib import figures

    enter_project()
    figures.use_style()


def text(markdown: str):
    """Show Markdown as the result of a cell."""
    from IPython.display import Markdown

    return Markdown(markdown)


def keep(name: str, value: object) -> None:
    """Keep a value, or a table in Markdown, for the place in the text that names it.

    Parameters
    ----------
    name
        As in the text's ``{glue}`` role or directive.
    value
        Text is kept as Markdown, everything else as it is.
    """
    from myst_nb import glue

    glue(name, text(value) if isinstance(value, str) else value, display=False)


def checked(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a parameter's value that names one of some things; empty text stands for any.

    Raises
    ------
    InputError
        It names none of them; the message has the nearest.
    """
    names = list(dict.fromkeys(known))
    if name and name not in names:
        raise unknown_name(kind, name, names)
    return name


def read_record(path: str | Path, what: str, script: str) -> dict:
    """Read what a script in ``benchmarks/`` wrote.

    Raises
    ------
    InputError
        If it does not exist; the message names the script.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No {what} at {path}. Make one with benchmarks/{script}.")
    return json.loads(path.read_text(encoding="utf-8"))
