"""The Python of the book's pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def project_folder(start: str | Path = ".") -> Path | None:
    """Folder of the project that holds `start`: the nearest with templates and a graph; None outside.

    Results may be a link to another disk, whole or run by run: what lies behind it is this project's too.
    """
    here, own = Path(start).resolve(), Path(__file__).parents[2]
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "workflow" / "Snakefile").is_file():
            return folder
    linked = [p.resolve() for p in (own / "results", *own.glob("results/*")) if p.is_symlink()]
    return own if any(here.is_relative_to(p) for p in linked) else None


def enter_project() -> None:
    """Make the project's folder the working folder, where there is one.

    The paths in a page's parameters start there. JupyterLab starts a kernel in the notebook's own
    folder: `notebooks/` for a template, `results/<run>/notebooks/` for an executed copy.
    """
    folder = project_folder()
    if folder is not None:
        os.chdir(folder)


def _in_a_kernel() -> bool:
    """Whether this process runs a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


# a page imports this package before it reads a file; scripts and tests keep their folder
if _in_a_kernel():
    enter_project()
