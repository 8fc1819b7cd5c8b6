"""What the cells of a page show: text, numbered tables, and values that the text refers to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from umdbook import enter_project
from umdlib.errors import InputError, unknown_name


def begin() -> None:
    """Start a page: paths begin at the project's folder, figures and names are the book's."""
    from umdbook import names
    from umdlib import figures, tables

    enter_project()
    figures.use_style()
    tables.use_titles(names.title)
    _draw_as_svg()


def _draw_as_svg() -> None:
    """Show charts of this kernel as SVG and pictures as PNG."""
    import matplotlib as mpl
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or "inline" not in str(mpl.get_backend(auto_select=False)):
        return
    import_module("matplotlib_inline.backend_inline")  # which sets formats of its own, once
    from IPython.core.pylabtools import print_figure
    from matplotlib.figure import Figure

    from umdlib.figures import is_drawing, to_svg

    formats = shell.display_formatter.formatters
    formats["image/svg+xml"].for_type(Figure, lambda f: to_svg(f) if is_drawing(f) else None)
    formats["image/png"].for_type(Figure, lambda f: None if is_drawing(f) else print_figure(f, base64=True))


@dataclass(frozen=True)
class Text:
    """Markdown: laid out where a notebook or a table shows it, plain where a word of the text stands for it."""

    markdown: str

    def __repr__(self) -> str:
        """Plain text, quoted: a word like 1,000 stays one."""
        return repr(self.markdown)

    def _repr_markdown_(self) -> str:
        return self.markdown


def text(markdown: str) -> Text:
    """Show Markdown as the result of a cell."""
    return Text(markdown)


def tabs(parts: Mapping[str, str]) -> str:
    """Lay Markdown of several parts, by title, behind tabs; a single part stands by itself.

    Tabs of one title on a page turn together.
    """
    if len(parts) < 2:
        return "\n\n".join(parts.values())
    items = [f"::::{{tab-item}} {title}\n:sync: {title}\n\n{part}\n::::" for title, part in parts.items()]
    return ":::::{tab-set}\n" + "\n\n".join(items) + "\n:::::"


def fold(title: str, markdown: str) -> str:
    """Lay Markdown behind a closed fold of this title."""
    return f"::::{{dropdown}} {title}\n{markdown}\n::::"


def show(*shown: object) -> None:
    """Show several things under one cell; None shows nothing."""
    from IPython.display import display

    display(*(thing for thing in shown if thing is not None))


def keep(name: str, value: object) -> None:
    """Keep a value, or a table in Markdown, for the place in the text that names it.

    Parameters
    ----------
    name
        As in the text's ``{glue}`` role or directive.
    value
        Text is kept as Markdown, a NumPy number as a plain one, everything else as it is.
    """
    from myst_nb import glue

    if isinstance(value, np.generic):
        value = value.item()  # a format of the text is applied to its plain form
    glue(name, text(value) if isinstance(value, str) else value, display=False)


def say(line: str) -> None:
    """Report a line of progress past the notebook."""
    print(line, file=sys.__stderr__, flush=True)


def checked(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a parameter's value that names one of some things, or is empty; refuse another, with the nearest."""
    if not name:
        return name
    names = list(known.unique() if hasattr(known, "unique") else dict.fromkeys(known))
    if name not in names:
        raise unknown_name(kind, name, names)
    return name


def read_record(path: str | Path, what: str, script: str) -> dict:
    """Read what a script in ``benchmarks/`` wrote."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No {what} at {path}. Make one with benchmarks/{script}.")
    return json.loads(path.read_text(encoding="utf-8"))
