"""The book of one run: sources and executed notebooks laid together, rendered to HTML."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from umdlib import scores
from umdlib.errors import InputError


def stage(
    source: str | Path,
    staged: str | Path,
    executed: Iterable[str | Path],
    *,
    stamp: Mapping[str, Any],
    template_folder: str = "notebooks",
) -> Path:
    """Lay the book's sources and the executed notebooks of a run together.

    Parameters
    ----------
    source
        Folder with `_toc.yml` and the prose pages.
    staged
        Folder to fill; what does not belong there is removed, what is the same is left alone so
        that Sphinx reads only what changed.
    executed
        Notebooks written by `notebook.execute`; they become ``results/<name>.ipynb`` with a
        provenance section at their end.
    stamp
        Provenance of the score table, for that section.
    template_folder
        Where a reader finds the templates.

    Returns
    -------
    pathlib.Path
        The table of contents of this run: pages whose notebook did not run are left out.
    """
    source, staged = Path(source), Path(staged)
    wanted: dict[Path, bytes] = {}
    for path in sorted(source.rglob("*")):
        if path.is_file() and "results" not in path.relative_to(source).parts[:1]:
            wanted[path.relative_to(source)] = path.read_bytes()
    for path in map(Path, executed):
        document = json.loads(path.read_text(encoding="utf-8"))
        _fold_parameters(document)
        document["cells"].append(_provenance_cell(path, document, stamp, template_folder))
        text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)
        wanted[Path("results") / path.name] = (text + "\n").encode()
    toc = yaml.safe_load(wanted[Path("_toc.yml")])
    wanted[Path("_toc.yml")] = yaml.safe_dump(_pruned(toc, wanted), sort_keys=False).encode()
    for path in sorted(staged.rglob("*"), reverse=True):
        inner = path.relative_to(staged)
        if path.is_file() and inner not in wanted and inner.parts[0] not in ("_extra", "_static"):
            path.unlink()
    for inner, content in wanted.items():
        target = staged / inner
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return staged / "_toc.yml"


def render(
    staged: str | Path,
    config: str | Path,
    output: str | Path,
    *,
    report: Callable[[str], None] = print,
) -> Path:
    """Render a staged book with warnings as errors and put it at `output` in one move.

    Returns
    -------
    pathlib.Path
        `output`/index.html.

    Raises
    ------
    InputError
        With what Jupyter Book said, where it did not succeed.
    """
    staged, output = Path(staged).resolve(), Path(output)
    started = time.perf_counter()
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(staged),
        "--config", str(Path(config).resolve()), "--toc", str(staged / "_toc.yml"),
        "--path-output", str(staged.parent), "--warningiserror", "--nitpick", "--keep-going",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    html = staged.parent / "_build" / "html"
    if run.returncode or not (html / "index.html").is_file():
        said = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
        notable = [line for line in said if "WARNING" in line or "ERROR" in line]
        raise InputError("The book was not rendered:\n" + "\n".join(notable or said[-20:]))
    part, old = output.with_name(f".{output.name}.part"), output.with_name(f".{output.name}.old")
    for folder in (part, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(html, part, ignore=shutil.ignore_patterns(".buildinfo", "objects.inv.tmp"))
    if output.exists():
        output.replace(old)
    part.replace(output)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(f.stat().st_size for f in output.rglob("*") if f.is_file()) / 1e6
    pages = len(list(output.glob("*.html"))) + len(list(output.glob("results/*.html")))
    report(f"[book] {pages} pages, {size:.1f} MB in {time.perf_counter() - started:.1f} s")
    return output / "index.html"


def _pruned(toc: dict, present: Mapping[Path, bytes]) -> dict:
    """The table of contents without pages that do not exist, and without emptied parts."""

    def exists(entry: dict) -> bool:
        stem = Path(entry["file"])
        return any(stem.with_name(stem.name + end) in present for end in (".md", ".ipynb"))

    parts = []
    for part in toc.get("parts", []):
        chapters = []
        for chapter in part["chapters"]:
            if "file" in chapter and not exists(chapter):
                continue
            if "sections" in chapter:
                chapter = {**chapter, "sections": [s for s in chapter["sections"] if exists(s)]}
            chapters.append(chapter)
        if chapters:
            parts.append({**part, "chapters": chapters})
    return {**toc, "parts": parts}


def _fold_parameters(document: dict) -> None:
    """Fold the parameter cells: a reader sees the answer first, the command at the end has them all."""
    for cell in document["cells"]:
        tags = cell["metadata"].get("tags", [])
        if {"parameters", "injected-parameters"} & set(tags):
            cell["metadata"]["tags"] = [*tags, "hide-cell"]


def _provenance_cell(
    path: Path, document: Mapping, stamp: Mapping[str, Any], template_folder: str
) -> dict:
    """The last section of an executed chapter: what made it, and the command that makes it again."""
    run = document["metadata"]["umd"]
    template = _template(path, template_folder)
    words = []
    if stamp:
        names = ", ".join(sorted(stamp.get("segmenters", {})))
        words += [f"cohort `{stamp.get('cohort')}` ({str(stamp.get('cohort_hash', ''))[:12]})",
                  f"segmenters {names}"]  # fmt: skip
    words += [f"umdlib {run['umdlib']}" + (f" ({stamp['commit']})" if stamp.get("commit") else ""),
              f"run on {run['date']} in {run['seconds']:.0f} s"]  # fmt: skip
    options = " \\\n  ".join(
        f"-p {name} {_shell(value)}" for name, value in run["parameters"].items()
    )
    command = f"umdlib run {template}" + (f" \\\n  {options}" if options else "")
    text = (
        "---\n\n:::{dropdown} How this page was made\n"
        f"{'; '.join(words)}.\n\n"
        f"Run it again, with other parameters if you like:\n\n```bash\n{command}\n```\n\n"
        f"The notebook as it ran: {{download}}`{path.name} <{path.name}>`.\n:::\n"
    )
    return {"cell_type": "markdown", "id": "provenance", "metadata": {}, "source": text}


def _template(path: Path, folder: str) -> str:
    """Template of an executed notebook: ``modality_gap_petmr`` was made from ``modality_gap``."""
    stem = path.stem
    while stem and not (Path(folder) / f"{stem}.ipynb").is_file():
        stem = stem.rpartition("_")[0]
    return stem or path.stem


def _shell(value: Any) -> str:
    import shlex

    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def job_table(folder: str | Path) -> pd.DataFrame:
    """What each job of the graph cost, from Snakemake's benchmark files.

    Returns
    -------
    pandas.DataFrame
        job, seconds, peak MB (resident); the slowest first.
    """
    rows = []
    for path in sorted(Path(folder).glob("*.tsv")):
        last = pd.read_csv(path, sep="\t", na_values="-").iloc[-1]
        rows.append([path.stem.replace("_", " ", 1), float(last["s"]), float(last["max_rss"])])
    table = pd.DataFrame(rows, columns=["job", "seconds", "peak MB"])
    return table.sort_values("seconds", ascending=False, ignore_index=True)


def stamp_of(score_file: str | Path) -> dict[str, Any]:
    """Provenance stamp of a score table; empty where there is none yet."""
    return scores.read_scores(score_file).attrs["stamp"] if Path(score_file).is_file() else {}
