"""The book of one run: sources and executed notebooks laid together, rendered to HTML."""

from __future__ import annotations

import gzip
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from umdbook import graph, notebook, styles
from umdbook.reader import shading
from umdlib import labels, published, segmenters
from umdlib.canaries import findings
from umdlib.errors import InputError
from umdlib.scores import table as scores
from umdlib.tables.exports import inert_cells
from umdlib.tables.markdown import count

_BYLINES = {
    "simulated": "**Simulated** with a known truth; neither printed in the papers nor measured here",
    "published": "**Printed in the papers**; nothing on this page was measured here",
}
# Parameters of pages that read the images, of which a released run has those of a few subjects.
_OF_IMAGES = {"folder", "quantities"}
_FENCE = re.compile(r"^```(?:bash|sh|shell)\n.*?^```", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"^([ \t]*)(umdlib|papermill|jupyter|snakemake)(?= )", re.MULTILINE)
TABLE = re.compile(r"^:{3,}\{table\} .+$", re.MULTILINE)
# One quiet switch in place of a bar above every cell: without a script the bars stay.
_CODE_SWITCH = ' <button class="umd-code-switch" type="button" aria-pressed="false">Show the code</button>'
# What a page offers at most as one file of a score table: above it compressed, or as Parquet alone.
_CSV_BYTES = 10_000_000
_PARAMETER_CELLS = {
    "parameters": "the parameters and what they mean",
    "injected-parameters": "the parameters of this run",
}


def stage(
    source: str | Path,
    staged: str | Path,
    executed: Iterable[str | Path],
    *,
    stamp: Mapping[str, Any],
    template_folder: str = "notebooks",
    data: Mapping[str, bytes] | None = None,
    flagged: Mapping[str, str] | None = None,
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
    data
        Files that pages offer for download: name -> content.
    flagged
        Segmenters that tables shade, by name and title -> what is suspected.

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
    wanted |= {Path("data") / name: content for name, content in (data or {}).items()}
    wanted[Path(shading.FILE)] = json.dumps(dict(flagged or {}), indent=1, ensure_ascii=False).encode()
    toc = yaml.safe_load(wanted[Path("_toc.yml")])
    root = toc["root"].rpartition("/")[2]
    for path in map(Path, executed):
        page = _page(path, template_folder, stamp, data or {}, landing=path.stem == root)
        wanted[Path("results") / path.name] = page.encode()
    wanted[Path("_toc.yml")] = yaml.safe_dump(_pruned(toc, wanted), sort_keys=False).encode()
    _lay(wanted, staged)
    return staged / "_toc.yml"


def _page(path: Path, templates: str, stamp: Mapping, data: Mapping[str, bytes], *, landing: bool) -> str:
    """An executed notebook as the book takes it: parameters folded, tables marked, provenance at its end."""
    document = json.loads(path.read_text(encoding="utf-8"))
    template = _template(path, templates)
    file = Path(templates) / f"{template}.ipynb"
    known = notebook.parameters(file) if file.is_file() else {}
    track = graph.chapter(file)["track"] if file.is_file() else "measured"
    document["metadata"]["umd"] |= {"name": path.stem, "template": template, "track": track}
    _fold_parameters(document, remove=landing)
    if not landing:
        _byline(document, stamp)
    _mark_tables(document, stamp)
    document["cells"].append(_provenance_cell(document, stamp, known, data))
    _with_paths(document)
    text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)
    return _without_places(text, document["metadata"]["umd"]["parameters"]) + "\n"


def _lay(wanted: Mapping[Path, bytes], staged: Path) -> None:
    """Fill a folder: what is not wanted goes, what is the same is not touched."""
    for path in sorted(staged.rglob("*"), reverse=True):
        inner = path.relative_to(staged)
        if path.is_file() and inner not in wanted and inner.parts[0] not in ("_extra", "_static"):
            path.unlink()
    for inner, content in wanted.items():
        target = staged / inner
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def render(
    staged: str | Path, config: str | Path, output: str | Path, *, report: Callable[[str], None] = print
) -> Path:
    """Render a staged book with warnings as errors and put it at `output` in one move."""
    staged, output = Path(staged).resolve(), Path(output)
    started = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from umdbook.notebook import light_jsonschema; light_jsonschema(); "
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(staged),
        "--config",
        str(Path(config).resolve()),
        "--toc",
        str(staged / "_toc.yml"),
        "--path-output",
        str(staged.parent),
        "--warningiserror",
        "--nitpick",
        "--keep-going",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    html = staged.parent / "_build" / "html"
    if run.returncode or not (html / "index.html").is_file():
        printed = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
        notable = [line for line in printed if "WARNING" in line or "ERROR" in line]
        raise InputError("The book was not rendered:\n" + "\n".join(notable or printed[-20:]))
    part, old = output.with_name(f".{output.name}.part"), output.with_name(f".{output.name}.old")
    for folder in (part, old):
        shutil.rmtree(folder, ignore_errors=True)
    # source maps are for who develops the theme: three of sixty megabytes; no page asks for the icon script
    shutil.copytree(
        html, part, ignore=shutil.ignore_patterns(".buildinfo", "objects.inv.tmp", "*.map", "fontawesome.js*")
    )
    styles.make_lean(part)
    styles.join(part)
    if output.exists():
        output.replace(old)
    part.replace(output)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(f.stat().st_size for f in output.rglob("*") if f.is_file()) / 1e6
    pages = len(list(output.glob("*.html"))) + len(list(output.glob("results/*.html")))
    report(f"[book] {pages} pages, {size:.1f} MB in {time.perf_counter() - started:.1f} s")
    return output / "index.html"


def _without_places(text: str, parameters: Mapping[str, Any]) -> str:
    """The JSON of a page that says nothing of where a reader's own files lie.

    Of a parameter that leads out of the project's folder only the file's name is left.
    """
    for value in parameters.values():
        if not isinstance(value, str) or not value.startswith(("/", "..", "~")) or len(value) < 3:
            continue
        file = Path(value)
        for place in (value, f"{file.expanduser().resolve().parent}/"):
            written = json.dumps(place, ensure_ascii=False)[1:-1]
            if len(place) > 2:
                text = text.replace(written, "path/to/" + (file.name if place == value else ""))
    return text


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


def _fold_parameters(document: dict, *, remove: bool = False) -> None:
    """Fold the parameter cells: a reader sees the answer first, the command at the end has them all."""
    for cell in document["cells"]:
        tags = cell["metadata"].get("tags", [])
        for tag, what in _PARAMETER_CELLS.items():
            if tag in tags:
                cell["metadata"]["tags"] = [*tags, "remove-cell" if remove else "hide-cell"]
                folds = {"code_prompt_show": f"Show {what}", "code_prompt_hide": f"Hide {what}"}
                cell["metadata"]["mystnb"] = folds


def _with_paths(document: dict) -> None:
    """Printed commands work as they stand in a fresh shell: programs by their place in the project's folder."""
    for cell in document["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = _FENCE.sub(lambda block: PROGRAM.sub(r"\1.venv/bin/\2", block.group()), text)


def _byline(document: dict, stamp: Mapping[str, Any]) -> None:
    """A line below the title: whose numbers these are, and where it says how they were made."""
    run = document["metadata"]["umd"]
    parameters, name = run["parameters"], run["name"]
    about = stamp.get("released")
    if "lesions" in parameters:
        what = "**Measured here** on one simulated subject with planted lesions"
    elif "scores" in parameters and about:
        what = _released(stamp, parameters)
    elif {"scores", "manifest"} & parameters.keys() and stamp:
        kind = "simulated " * bool(stamp.get("simulated") or about)
        # of a released run only these subjects have images here
        shown = {s: len(names) for s, names in about["live"].items()} if about else stamp.get("subjects", {})
        what = f"**Measured here** on {kind}cohort `{stamp.get('cohort')}`: {_subjects(shown)}"
    elif run["track"] in _BYLINES:
        what = _BYLINES[run["track"]]
    else:
        return
    title = document["cells"][0]
    head, _, rest = "".join(title["source"]).partition("\n")
    made = f"[how this page was made](#made-{name})"
    line = f":::{{div}} umd-byline\n{what} · {made}{_CODE_SWITCH if _folds_code(document) else ''}\n:::"
    title["source"] = f"{head}\n\n{line}\n{rest}"


def _folds_code(document: Mapping) -> bool:
    """Whether any cell of a page is one that the page's switch shows."""
    tags = [tag for cell in document["cells"] for tag in cell["metadata"].get("tags", [])]
    return bool({"hide-input", "hide-cell"} & set(tags))


def _released(stamp: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Whose scores a page reads where it uses a released run, and which of them were computed again."""
    about = stamp["released"]
    again = _subjects({s: len(names) for s, names in about["live"].items()})
    same = (
        f"all {about['rows']:,} rows equal to the bit"
        if about["exact"]
        else f"{about['equal']:,} of {about['rows']:,} rows equal to the bit on another kind of processor"
    )
    shown = "; pictures and viewers show these subjects" * ("root" in parameters)
    shown += "; what this page computes itself is of these subjects" * bool(_OF_IMAGES & parameters.keys())
    return (
        f"**Measured by this project**: released run `{about['name']}`, simulated cohort, "
        f"{_subjects(stamp.get('subjects', {}))}. Computed again for this book: {again}, {same}{shown}"
    )


def _mark_tables(document: dict, stamp: Mapping[str, Any]) -> None:
    """Name the released run in the captions of a page that reads its scores alone.

    Tables of something else (simulations, cards, printed numbers) lie in cells tagged ``other-source``.
    """
    parameters = document["metadata"]["umd"]["parameters"].keys()
    if (
        not stamp.get("released")
        or "scores" not in parameters
        or {"root", "domains", "lesion_scores", "folder"} & parameters
    ):
        return
    counted = " + ".join(str(n) for n in stamp.get("subjects", {}).values())
    source = f"Scores: released run `{stamp['released']['name']}`, {counted} subjects."
    for cell in document["cells"]:
        if cell["cell_type"] == "markdown" and "other-source" not in cell["metadata"].get("tags", []):
            text = "".join(cell["source"])
            cell["source"] = TABLE.sub(lambda found: f"{found.group().rstrip()} {source}", text)


def _provenance_cell(
    document: Mapping, stamp: Mapping[str, Any], known: Mapping[str, notebook.Parameter], data: Iterable[str]
) -> dict:
    """The last section of an executed chapter: what made it, its data, and how to make it again."""
    run = document["metadata"]["umd"]
    name, template = run["name"], run["template"]
    measured = stamp and {"scores", "manifest"} & run["parameters"].keys()
    words = []
    if measured:
        words += [
            f"cohort `{stamp.get('cohort')}` ({str(stamp.get('cohort_hash', ''))[:12]}), "
            f"{_subjects(stamp.get('subjects', {}))}"
        ]
        if about := stamp.get("released"):
            again = ", ".join(name for names in about["live"].values() for name in names)
            words.append(
                f"scores of released run `{about['name']}` (sha256 {about['sha256'][:12]}), computed again and "
                f"compared: {again}"
            )
    words += [
        f"umdlib {run['umdlib']}" + (f" ({stamp['commit']})" if stamp.get("commit") else ""),
        f"run on {run['date']} in {run['seconds']:.0f} s",
    ]
    prefixes = ("scores",) * bool(measured) + ("published",) * (
        run["track"] == "published" or template == "reported"
    )
    links = [f"{{download}}`{n} <../data/{n}>`" for n in data if n.startswith(prefixes)]
    # Sphinx keeps every page's source beside the site: a download role would copy it once more
    source = f"../_sources/results/{name}.ipynb"
    links.append(f'<a href="{source}" download>{name}.ipynb</a> (the notebook as it ran)')
    values = {n: notebook.default(p) for n, p in known.items()} | run["parameters"]
    text = (
        f"(made-{name})=\n## How this page was made\n\n"
        "::::{dropdown} Its run, its files, and the command for these parameters or others\n:::{div} umd-provenance\n"
        f"{'; '.join(words)}.\n\nDownload: {', '.join(links)}.\n:::\n\nIn the project's folder\n\n"
        f"```bash\n{_papermill(name, template, values)}\n```\n\n"
        "or, with every name and type checked before anything runs,\n\n"
        f"```bash\n{_command(name, template, values)}\n```\n\n"
        "`.venv` is the environment that `make env` made. In one of your own leave out `.venv/bin/`; on Windows write "
        f"`.venv\\Scripts\\`.{_weights(stamp) if measured else ''}\n::::\n"
    )
    return {"cell_type": "markdown", "id": "provenance", "metadata": {}, "source": text}


def _subjects(counts: Mapping[str, int]) -> str:
    """``8 subjects in PET/CT and 8 in PET/MR``."""
    parts = [
        f"{n if k else count(n, 'subject')} in {labels.session(s).title}"
        for k, (s, n) in enumerate(counts.items())
    ]
    return " and ".join(parts) or "no subject"


def _weights(stamp: Mapping[str, Any]) -> str:
    """A paragraph that names the segmenters of a run with the hashes of their weights."""
    parts = []
    for name, identity in sorted(stamp.get("segmenters", {}).items()):
        hashes = [h[:12] for h in identity.get("weights", {}).values() if h]
        parts.append(f"{name} ({'weights ' + ', '.join(hashes) if hashes else 'no weights'})")
    return f"\n\nSegmenters: {', '.join(parts)}." if parts else ""


def _command(name: str, template: str, values: Mapping[str, Any]) -> str:
    """The command of this project that runs a template with these parameters."""
    options = [f"-p {k} {_shell(v)}" for k, v in values.items()]
    called = [] if name == template else [f"--name {name}"]
    return " \\\n  ".join([f"umdlib run {template}", *called, *options])


def _papermill(name: str, template: str, values: Mapping[str, Any]) -> str:
    """The same as a call of papermill, and the call that opens the result."""
    options = []
    for k, v in values.items():
        if isinstance(v, str):
            options.append(f"-r {k} {_shell(v)}")  # -p would make a number of a text like 12
        elif isinstance(v, (bool, int, float)):
            options.append(f"-p {k} {v}")
        else:
            options.append(f"-y {shlex.quote(json.dumps({k: v}))}")
    call = " \\\n  ".join([f"papermill notebooks/{template}.ipynb {name}.ipynb", *options])
    return f"{call}\njupyter lab {name}.ipynb"


def _template(path: Path, folder: str) -> str:
    """Template of an executed notebook: ``modality_gap_petmr`` was made from ``modality_gap``."""
    stem = path.stem
    while stem and not (Path(folder) / f"{stem}.ipynb").is_file():
        stem = stem.rpartition("_")[0]
    return stem or path.stem


def _shell(value: Any) -> str:
    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def job_table(folder: str | Path) -> pd.DataFrame:
    """Cost of each job of the graph, from Snakemake's benchmark files.

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


def flagged_segmenters(root: str | Path) -> dict[str, str]:
    """Segmenters that the canaries of a run flag, by name and by title, to what is suspected."""
    names = findings.flagged(findings.read(root))
    known = set(segmenters.names())
    return names | {segmenters.get(n).title: words for n, words in names.items() if n in known}


def stamp_of(score_file: str | Path) -> dict[str, Any]:
    """Provenance stamp of a score table, with its `subjects` per session; empty where there is none."""
    if not Path(score_file).is_file():
        return {}
    table = scores.read_scores(score_file)
    subjects = table.groupby("session", sort=False)["subject"].nunique()
    stamp = {**table.attrs["stamp"], "subjects": {s: int(n) for s, n in subjects.items()}}
    run = Path(score_file).resolve().parent
    if stamp.get("cohort") == "cohort" and (run / "cohort" / "manifest.tsv").is_file():
        stamp |= {"cohort": run.name, "simulated": True}  # a run makes its synthetic cohort in its own folder
    return stamp


def downloads(score_file: str | Path) -> dict[str, bytes]:
    """Downloads of the pages: the score table in two formats, and the published tables in one archive.

    A score table of more than `_CSV_BYTES` as CSV is compressed; where that takes more too, the Parquet
    file stands alone.

    Returns
    -------
    dict
        File name -> content; the same input gives the same bytes.
    """
    files = {}
    if Path(score_file).is_file():
        files["scores.parquet"] = Path(score_file).read_bytes()
        text = inert_cells(scores.read_scores(score_file)).to_csv(index=False).encode()
        packed = gzip.compress(text, mtime=0) if len(text) > _CSV_BYTES else b""
        if not packed:
            files["scores.csv"] = text
        elif len(packed) <= _CSV_BYTES:
            files["scores.csv.gz"] = packed
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((Path(published.__file__).parent / "data").glob("*.tsv")):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return files | {"published_tables.zip": stream.getvalue()}
