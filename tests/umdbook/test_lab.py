"""Notebooks run in JupyterLab from where they lie: its kernels start in the notebook's own folder."""

import ast
import json
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

import umdbook

PROJECT = Path(__file__).parent.parent.parent
TEMPLATES = sorted((PROJECT / "notebooks").glob("*.ipynb"))
SMALL = PROJECT / "results" / "small"
# these train, or start jobs of their own: their run is part of the book's
LONG = {"inference", "train", "train_promptable", "your_own", "run"}
FEW = {
    "n_resamples": 99,
    "n_cohorts": 10,
    "n_simulated": 1,
    "n_runs": 1,
    "own_prompt": 0,
    "shown": 1,
    "measured": 1,
}


def run_in(folder, cells):
    """Outputs of code cells, run by a kernel that starts in a folder, as JupyterLab's do."""
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = nbclient.NotebookClient(
        document, kernel_name="python3", timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return ["".join(o.get("text", "") for o in c.outputs) for c in document.cells]


@pytest.mark.parametrize("inner", ["notebooks", "results/small/notebooks"])
def test_a_kernel_moves_to_the_project_folder_when_a_page_is_imported(tmp_path, inner):
    for folder in ("notebooks", "workflow", inner):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "workflow" / "Snakefile").touch()
    where = "import os; print(os.getcwd())"
    before, after = run_in(tmp_path / inner, [where, f"import umdbook; {where}"])
    assert Path(before.strip()) == (tmp_path / inner).resolve()
    assert Path(after.strip()) == tmp_path.resolve()


def test_outside_of_a_project_nothing_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert umdbook.project_folder() is None
    umdbook.enter_project()
    assert Path.cwd() == tmp_path.resolve()


@pytest.mark.parametrize("link", ["results", "results/small"])
def test_results_behind_a_link_are_the_projects(link, tmp_path, monkeypatch):
    project, disk = tmp_path / "project", tmp_path / "disk"
    (project / "book" / "umdbook").mkdir(parents=True)
    monkeypatch.setattr(umdbook, "__file__", str(project / "book" / "umdbook" / "__init__.py"))
    notebooks = disk / "small" / "notebooks"
    notebooks.mkdir(parents=True)
    assert umdbook.project_folder(notebooks) is None
    (project / link).parent.mkdir(exist_ok=True)
    (project / link).symlink_to(disk if link == "results" else disk / "small")
    assert umdbook.project_folder(notebooks) == project
    assert umdbook.project_folder(tmp_path) is None


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_with_paths_imports_the_pages_before_it_reads_a_file(path):
    cells = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if '"results/' not in "".join("".join(c["source"]) for c in tagged):
        return
    first = next(c for c in cells if c not in tagged)
    imported = set()
    for node in ast.walk(ast.parse("".join(first["source"]))):
        if isinstance(node, ast.Import):
            imported.update(a.name.partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert "umdbook" in imported, f"{path.name} would look for its files in notebooks/"


@pytest.fixture(scope="module")
def lab_kernel():
    """Client of one kernel for all templates: what they import beside the pages is imported once."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(PROJECT / "notebooks"))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


# The kernel as a template finds it in JupyterLab: in the notebook's folder, before the pages move it.
AS_NEW = """%reset -f
import os, sys
os.chdir({folder!r})
for name in [n for n in sys.modules if n.partition(".")[0] == "umdbook"]:
    del sys.modules[name]
"""


def of_the_small_run(path):
    """A template up to the cell that first reads a file of the run, on the small run and with few repeats."""
    document = nbformat.read(path, as_version=4)
    code = [n for n, cell in enumerate(document.cells) if cell.cell_type == "code"]
    first = document.cells[code[0]]
    paths = re.findall(r'^(\w+): str = "results/default', first.source, re.MULTILINE)
    use = re.compile(rf"\b({'|'.join(paths) or 'scores'})\b")
    reading = (n for n in code[2:] if use.search(document.cells[n].source))
    last = (
        code[1] if path.stem == "ladder" else next(reading, code[min(2, len(code) - 1)])
    )  # it predicts there
    few = [f"{name} = {n}" for name, n in FEW.items() if f"{name}: int" in first.source]
    first.source = "\n".join([first.source.replace("results/default", "results/small"), *few])
    document.cells = document.cells[: last + 1]
    return document


@pytest.mark.slow
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_runs_in_its_own_folder(path, lab_kernel):
    if path.stem in LONG:
        pytest.skip("it trains or starts jobs")
    if not (SMALL / "scores.parquet").is_file():
        pytest.skip("no small run (make book PROFILE=small)")
    sources = [c.source for c in of_the_small_run(path).cells if c.cell_type == "code"]
    # without nbclient, which answers a widget on the socket that it waits on and misses the reply there
    for source in (AS_NEW.format(folder=str(path.parent)), *sources):
        reply = lab_kernel.execute(source, reply=True, timeout=600, allow_stdin=False)["content"]
        if reply["status"] != "ok":
            pytest.fail(f"{path.name}: {reply['ename']}: {reply['evalue']}")
