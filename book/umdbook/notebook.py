"""Running a notebook with parameters: checked before, reported during, clean and whole after."""

from __future__ import annotations

import ast
import json
import math
import re
import string
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import umdlib
from umdbook import kernels, names
from umdlib import labels
from umdlib.errors import InputError, NothingToShow, unknown_name
from umdlib.files import replaced
from umdlib.published.words import caption_words
from umdlib.tables.markdown import inert

# what a parameter's annotation admits, and what is shown for it
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}

# a numbered table with its title and body; a value that the text names, as a role or a directive
_TABLE = re.compile(r"^:{3,}\{table\}([^\n]*)\n(.*?)^:{3,}[ ]*$", re.DOTALL | re.MULTILINE)
_GLUED = re.compile(r"\{glue:?\w*\}(?:`([^`:]+)[^`]*`|[ \t]+(\S+))")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its name, type name, default (as source text) and comment."""

    name: str
    type: str
    default: str
    help: str


def light_jsonschema() -> None:
    """Import jsonschema without its grammars of addresses: they take 2 CPU s, and no notebook is checked by them."""
    grammars = "rfc3987_syntax"
    if "jsonschema" in sys.modules or grammars in sys.modules:
        return
    sys.modules[grammars] = None  # its import fails, which jsonschema takes for "not installed"
    try:
        import jsonschema  # noqa: F401
    finally:
        del sys.modules[grammars]


def parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Parameters of a notebook, from the cell tagged ``parameters``.

    Returns
    -------
    dict
        Name -> Parameter, in the order of the cell; empty where there is no such cell.
    """
    light_jsonschema()
    from papermill import inspect_notebook

    try:
        inspected = inspect_notebook(str(_checked(notebook)))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Notebook {notebook} cannot be read: {error}") from None
    return {
        name: Parameter(name, p["inferred_type_name"], p["default"].strip(), p["help"].strip())
        for name, p in inspected.items()
    }


def parse_values(notebook: str | Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Parameter values from command-line texts, by the type that the notebook declares."""
    known = parameters(notebook)
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in known:
            raise unknown_name(f"parameter of {Path(notebook).stem}", name, known)
        values[name] = _parse(Path(notebook).stem, known[name], text)
    return values


def check_values(notebook: str | Path, values: Mapping[str, Any]) -> None:
    """Refuse values that papermill would accept silently."""
    known = parameters(notebook)
    for name, value in values.items():
        if name not in known:
            raise unknown_name(f"parameter of {Path(notebook).stem}", name, known)
        if not _fits(known[name].type, value):
            raise InputError(
                f"Parameter {name} of {Path(notebook).stem} is {value!r}. Must be {known[name].type}."
            )


def execute(
    notebook: str | Path,
    output: str | Path,
    values: Mapping[str, Any] | None = None,
    *,
    report: Callable[[str], None] = print,
    minutes: float | None = None,
) -> Path:
    """Run a notebook through papermill.

    Parameters
    ----------
    notebook
        Template; it is not changed.
    output
        The executed copy; replaced only when every cell has run.
    values
        Parameter values, checked first; the rest are the notebook's defaults. In markdown cells and
        cell metadata ``$name`` becomes the value, and ``$structural``, ``$session_title``,
        ``$structural_title`` what they are where there is a session.
    report
        Called with a line per cell that took over a second, and at the end.
    minutes
        That one cell may take; a longer one fails.

    Returns
    -------
    pathlib.Path
        `output`, with ``metadata.umd``: parameters, seconds in all and per cell, version, date.

    Raises
    ------
    InputError
        As `check_values`, and where a cell fails: the cell, its source line and the error. The
        half-run copy is kept beside as ``….failed.ipynb``.
    """
    light_jsonschema()
    import nbformat
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    notebook, output = _checked(notebook), Path(output)
    values = dict(values or {})
    check_values(notebook, values)
    document = nbformat.read(notebook, as_version=4)
    all_values = {p.name: default(p) for p in parameters(notebook).values()} | values
    _substitute(document, _words(notebook, all_values))
    part = output.with_name(f".{output.stem}.part.ipynb")
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    _write(document, part)
    engine = _register_engine(output.stem, report)
    started = time.perf_counter()
    try:
        with kernels.clean_surroundings():
            execute_notebook(
                str(part),
                str(part),
                parameters=values,
                engine_name=engine,
                progress_bar=False,
                execution_timeout=math.ceil(60 * (minutes or 0)) or None,
                kernel_name="python3",
                kernel_manager_class=kernels.kernel_manager(),
                extra_arguments=["--IPKernelApp.log_level=50"],  # its end logs an interrupt as an error
            )
    except PapermillExecutionError as error:
        if error.ename != NothingToShow.__name__:
            part.replace(failed)
            raise InputError(_failure(notebook, failed, error)) from None
        _write(_sentence_page(document, error.evalue), part)
    except Exception as error:
        # a killed kernel, a time-out, a full disk: the file's own "completed" marks are not trusted
        if part.exists():
            part.replace(failed)
        last = (str(error).strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"Notebook {notebook.name} stopped: {type(error).__name__}: {last}. Its state is in {failed}."
        ) from error
    seconds = time.perf_counter() - started
    _hide_places(part)
    done = nbformat.read(part, as_version=4)
    if fault := _fault(done):
        part.replace(failed)
        raise InputError(f"Notebook {notebook.name}{fault}. Its state is in {failed}.")
    _scrub(done, all_values, seconds)
    nbformat.write(done, part)
    part.replace(output)
    failed.unlink(missing_ok=True)
    report(f"[{output.stem}] done in {seconds:.1f} s -> {output}")
    return output


def keep_cost(path: str | Path, seconds: float) -> None:
    """Write what this process and its kernels took, in columns of Snakemake's benchmark files.

    Parameters
    ----------
    path
        TSV file; replaced. Memory is the peak of the larger process in MB; where the system does not
        count (Windows), it and the CPU seconds are ``-``.
    seconds
        By the clock.
    """
    memory = processor = "-"
    with suppress(ImportError):
        import resource

        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        unit = 2**20 if sys.platform == "darwin" else 2**10  # of a megabyte
        memory = f"{max(u.ru_maxrss for u in used) / unit:.2f}"
        processor = f"{sum(u.ru_utime + u.ru_stime for u in used):.2f}"
    with replaced(path) as part:
        part.write_text(f"s\tmax_rss\tcpu_time\n{seconds:.4f}\t{memory}\t{processor}\n", "utf-8")


def _sentence_page(document, sentence: str):
    """The page of a chapter that has nothing to show of a run: its title, its parameters, and why."""
    import nbformat

    title = document.cells[0].source.partition("\n")[0]
    parameters = [c for c in document.cells if "parameters" in c.metadata.get("tags", [])]
    page = nbformat.v4.new_notebook(metadata=document.metadata)
    first = nbformat.v4.new_markdown_cell(f"{title}\n\n{inert(sentence)}", id="title")
    page.cells = [first, *parameters]
    return page


def _write(document, path: Path) -> None:
    """Write a notebook into a folder that is made where it is missing."""
    import nbformat

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(document, path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from None


def record(notebook: str | Path) -> dict[str, Any]:
    """What a run left in an executed notebook: parameters, seconds, cell_seconds, version, date."""
    document = json.loads(Path(_checked(notebook)).read_text(encoding="utf-8"))
    if "umd" not in document["metadata"]:
        raise InputError(f"Notebook {notebook} holds no record of a run.")
    return document["metadata"]["umd"]


def _checked(notebook: str | Path) -> Path:
    notebook = Path(notebook)
    if not notebook.is_file():
        raise InputError(f"Notebook {notebook} does not exist.")
    try:
        if "cells" not in json.loads(notebook.read_text(encoding="utf-8")):
            raise ValueError("it has no cells")
    except ValueError as error:
        raise InputError(f"File {notebook} is not a notebook: {error}.") from None
    return notebook


def _fits(declared: str, value: Any) -> bool:
    """Whether a value has the declared type; an undeclared parameter takes any plain value."""
    kinds = _TYPES.get(re.split(r"[\[ |]", declared, maxsplit=1)[0])
    if kinds is None:
        return isinstance(value, (str, int, float, bool, list, dict, type(None)))
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or ("None" in declared and value is None)


def _parse(stem: str, parameter: Parameter, text: str) -> Any:
    """A command-line text as a value of the parameter's type."""
    if parameter.type.startswith("str"):
        return text
    literal = {"true": "True", "false": "False", "yes": "True", "no": "False"}.get(text.lower(), text)
    try:
        value = ast.literal_eval(literal)
    except (ValueError, SyntaxError):
        value = text.split(",") if parameter.type.startswith("list") else text
    if parameter.type.startswith("list") and not isinstance(value, list | None):
        value = list(value) if isinstance(value, tuple) else [value]
    if not _fits(parameter.type, value):
        raise InputError(f"Parameter {parameter.name} of {stem} is '{text}'. Must be {parameter.type}.")
    return value


def default(parameter: Parameter) -> Any:
    """Default of a parameter as a value; its source text where it is not a literal."""
    try:
        return ast.literal_eval(parameter.default)
    except (ValueError, SyntaxError):
        return parameter.default


def _words(notebook: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Words for the text: the parameters, what a session implies, and what the papers printed."""
    words = (
        caption_words()
        if notebook.stem.startswith("published") or "$n_" in notebook.read_text("utf-8")
        else {}
    )
    words |= {name: str(value) for name, value in values.items()}
    words |= {f"{n}_title": names.title(str(v)) for n, v in values.items() if n.endswith("segmenter")}
    with suppress(InputError):
        session = labels.session(str(values.get("session")))
        words |= {
            "session_title": session.title,
            "structural": session.structural,
            "structural_title": labels.MODALITIES[session.structural].title,
        }
    return words


def _substitute(document, words: Mapping[str, str]) -> None:
    """``$word`` in markdown cells and in the metadata of all cells."""

    def fill(value):
        if isinstance(value, str):
            return string.Template(value).safe_substitute(words)
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    for cell in document.cells:
        if cell.cell_type == "markdown":
            cell.source = fill(cell.source)
        cell.metadata.update(fill(dict(cell.metadata)))


def _register_engine(stem: str, report: Callable[[str], None]) -> str:
    """A papermill engine that reports each cell; papermill's own says nothing without a terminal."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Reporting(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
            code = [i for i, c in enumerate(nb_man.nb.cells) if c.cell_type == "code"]
            begun: dict[int, float] = {}
            start, complete = nb_man.cell_start, nb_man.cell_complete

            def cell_start(cell, cell_index=None, **more):
                begun[cell_index] = time.perf_counter()
                return start(cell, cell_index, **more)

            def cell_complete(cell, cell_index=None, **more):
                seconds = time.perf_counter() - begun.get(cell_index, time.perf_counter())
                if cell_index in code and seconds > 1:
                    number = code.index(cell_index) + 1
                    report(f"[{stem}] cell {number}/{len(code)}  {seconds:.1f} s")
                return complete(cell, cell_index, **more)

            nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
            report(f"[{stem}] {len(code)} cells")
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    papermill_engines.register("umd", Reporting)
    return "umd"


def _failure(notebook: Path, failed: Path, error) -> str:
    """One paragraph for a cell that raised: where, what, and where to look."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}").strip()
    return (
        f"Notebook {notebook.name} failed in cell {error.cell_index + 1}: {message} "
        f"(its cells up to there are in {failed})"
    )


def _hide_places(notebook: Path) -> None:
    """Name files relative to the working folder and the home: a page says nothing of its machine."""
    text = notebook.read_text("utf-8")
    for place, shown in ((str(Path.cwd()), "."), (str(Path.home()), "~")):
        if len(place) > 1:
            text = text.replace(place, shown)
    notebook.write_text(text, "utf-8")


def _fault(document) -> str:
    """Promise of an executed notebook's text that its cells do not keep; empty where there is none."""
    if absent := _figures_without_picture(document):
        return f" drew nothing for {', '.join(absent)}"
    faults = text_faults(document)
    return f": {'; '.join(faults)}" if faults else ""


def _figures_without_picture(document) -> list[str]:
    """Names of the figures whose cells printed something and drew nothing.

    A cell without any output had nothing to draw: its section says so.
    """
    shown = ("image/", "text/html", "text/markdown", "application/")
    absent = []
    for number, cell in enumerate(document.cells):
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if cell.cell_type != "code" or figure is None or not cell.outputs:
            continue
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        if not any(kind.startswith(shown) for kind in kinds):
            absent.append(figure.get("name", f"cell {number + 1}"))
    return absent


def text_faults(document) -> list[str]:
    """Say what an executed notebook's text promises and its cells do not give.

    A numbered table must hold one table and nothing else; a value that the text names must be kept.
    Rendering the book would stop at these, after everything else was computed.
    """
    outputs = [o for c in document.cells if c.cell_type == "code" for o in c.outputs]
    kept = {
        o["metadata"]["scrapbook"]["name"]: o["data"] for o in outputs if "scrapbook" in o.get("metadata", {})
    }
    texts = [c.source for c in document.cells if c.cell_type == "markdown"]
    texts += [data["text/markdown"] for o in outputs if "text/markdown" in (data := o.get("data", {}))]
    faults = []
    for text in map(_joined, texts):
        named = [n for pair in _GLUED.findall(text) for n in pair if n]
        faults += [f"no cell keeps '{name}'" for name in dict.fromkeys(named) if name not in kept]
        faults += [
            f"no table where it says '{title.strip()[:60]}'"
            for title, body in _TABLE.findall(text)
            if not _is_table(body, kept)
        ]
    return faults


def _is_table(body: str, kept: dict[str, dict]) -> bool:
    """Whether a numbered table holds one table and nothing else: of its own, or the value that it names."""
    glued = _GLUED.search(body)
    data = kept.get(glued[1] or glued[2], {}) if glued else {"text/markdown": body}
    content = next((_joined(v) for kind, v in data.items() if kind.endswith("text/markdown")), "")
    lines = [n for line in content.splitlines() if (n := line.strip()) and not n.startswith(":")]
    return len(lines) >= 2 and all(line.startswith("|") for line in lines)


def _joined(text: str | list[str]) -> str:
    """A text of a notebook, which may be a list of its lines."""
    return text if isinstance(text, str) else "".join(text)


def _scrub(document, values: Mapping[str, Any], seconds: float) -> None:
    """Drop what differs from run to run or names this machine; keep the record of the run."""
    cell_seconds = []
    for number, cell in enumerate(document.cells):
        paper = cell.metadata.pop("papermill", {})
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell_seconds.append(round(paper.get("duration") or 0.0, 2))
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = f"injected-{number}"
    document.metadata.pop("papermill", None)
    document.metadata["umd"] = {
        "parameters": dict(values),
        "seconds": round(seconds, 1),
        "cell_seconds": cell_seconds,
        "umdlib": umdlib.__version__,
        "date": date.today().isoformat(),
    }
