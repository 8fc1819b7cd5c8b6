"""Kernels: what the caller's shell sets does not reach a page."""

import json
import os

import nbformat
import pytest

from umdbook import kernels, notebook
from umdlib.errors import InputError


def template(folder, source, figure=None):
    document = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    metadata = {"mystnb": {"figure": {"name": figure}}} if figure else {}
    document.cells = [nbformat.v4.new_code_cell(source, id="c", metadata=metadata)]
    path = folder / "page.ipynb"
    nbformat.write(document, path)
    return path


def test_a_backend_and_another_kernel_of_the_shell_do_not_reach_a_page(tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    source = "from umdbook import page\npage.begin()\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    page = template(tmp_path, source, "fig_line")
    done = notebook.execute(page, tmp_path / "done.ipynb", report=lambda _: None)
    kinds = [k for o in json.loads(done.read_text())["cells"][0]["outputs"] for k in o.get("data", {})]
    assert "image/svg+xml" in kinds and "image/png" not in kinds
    assert os.environ["MPLBACKEND"] == "Agg"  # the caller's own surroundings are as they were


def test_a_page_with_nothing_to_show_is_its_title_and_the_sentence(tmp_path):
    raising = "from umdlib.errors import NothingToShow\nraise NothingToShow('No <b>pair</b> here.')"
    page = template(tmp_path, raising, "fig_absent")
    document = nbformat.read(page, as_version=4)
    title = nbformat.v4.new_markdown_cell("# Who is who?\n\nAll {glue:text}`n` of them.", id="t")
    document.cells.insert(0, title)
    nbformat.write(document, page)
    done = nbformat.read(notebook.execute(page, tmp_path / "done.ipynb", report=lambda _: None), as_version=4)
    assert [c.source for c in done.cells] == ["# Who is who?\n\nNo &lt;b>pair&lt;/b> here."]
    assert not (tmp_path / "done.failed.ipynb").exists()


def test_a_declared_figure_without_a_picture_fails_its_chapter(tmp_path):
    page = template(tmp_path, "print('nothing')", "fig_absent")
    with pytest.raises(InputError, match="drew nothing for fig_absent"):
        notebook.execute(page, tmp_path / "done.ipynb", report=lambda _: None)
    assert not (tmp_path / "done.ipynb").exists()


def test_kernels_take_no_ports_and_share_no_socket():
    with kernels.clean_surroundings():
        managers = [kernels.kernel_manager()() for _ in range(2)]
        folder = os.environ["JUPYTER_RUNTIME_DIR"]
        assert {m.transport for m in managers} == {"ipc"}
        assert managers[0].ip != managers[1].ip and all(m.ip.startswith(folder) for m in managers)


def test_surroundings_end_where_they_began(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/somewhere")
    with kernels.clean_surroundings():
        assert "JUPYTER_PATH" not in os.environ and os.path.isdir(os.environ["JUPYTER_RUNTIME_DIR"])
        folder = os.environ["JUPYTER_RUNTIME_DIR"]
    assert os.environ["JUPYTER_PATH"] == "/somewhere" and not os.path.exists(folder)
