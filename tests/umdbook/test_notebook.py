"""Running notebooks: parameters checked first, whole copies only, no trace of this machine."""

import json
import subprocess
import sys

import nbformat
import pytest

from umdbook import notebook
from umdlib.errors import InputError

PARAMETERS = """session: str = "petct"  # petct or petmr
subjects: int = 3  # how many
share: float = 0.5
flags: list = [1, 2]
quick: bool = True"""


@pytest.fixture
def template(tmp_path):
    def make(*cells, parameters=PARAMETERS):
        document = nbformat.v4.new_notebook()
        document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        document.metadata["language_info"] = {"name": "python"}
        document.cells = [
            nbformat.v4.new_markdown_cell("# Is $structural better in $session_title?", id="title"),
            nbformat.v4.new_code_cell(parameters, id="par", metadata={"tags": ["parameters"]}),
            *[nbformat.v4.new_code_cell(c, id=f"c{i}") for i, c in enumerate(cells)],
        ]
        path = tmp_path / "chapter.ipynb"
        nbformat.write(document, path)
        return path

    return make


def test_parameters_are_found_with_type_default_and_help(template):
    found = notebook.parameters(template("1"))
    assert found["session"] == notebook.Parameter("session", "str", '"petct"', "petct or petmr")
    assert [p.type for p in found.values()] == ["str", "int", "float", "list", "bool"]


def test_misspelt_parameter_is_refused_with_the_nearest_name(template):
    with pytest.raises(InputError, match=r"Unknown parameter of chapter 'sesion'. Did you mean 'session'\?"):
        notebook.check_values(template("1"), {"sesion": "petmr"})


@pytest.mark.parametrize(
    "values",
    [{"subjects": "3"}, {"subjects": 2.5}, {"session": 1}, {"quick": 1}, {"flags": "1"}, {"subjects": True}],
)
def test_wrong_type_is_refused(template, values):
    with pytest.raises(InputError, match=r"Must be \w+\.$"):
        notebook.check_values(template("1"), values)


def test_texts_become_values_of_the_declared_type(template):
    texts = {"session": "12", "subjects": "4", "share": "1", "flags": "a,b", "quick": "no"}
    values = notebook.parse_values(template("1"), texts)
    assert values == {"session": "12", "subjects": 4, "share": 1, "flags": ["a", "b"], "quick": False}
    with pytest.raises(InputError, match="is 'four'. Must be int"):
        notebook.parse_values(template("1"), {"subjects": "four"})


def test_run_substitutes_words_and_leaves_no_trace_of_the_machine(template, tmp_path):
    out = tmp_path / "out" / "chapter_petmr.ipynb"
    lines = []
    notebook.execute(template("print(session, subjects)"), out, {"session": "petmr"}, report=lines.append)
    document = json.loads(out.read_text())
    assert document["cells"][0]["source"] == ["# Is MR better in PET/MR?"]
    assert document["cells"][-1]["outputs"][0]["text"] == ["petmr 3\n"]
    assert str(tmp_path) not in out.read_text()
    assert notebook.record(out)["parameters"]["session"] == "petmr"
    assert lines[0].startswith("[chapter_petmr] ")
    assert " done in " in lines[-1]
    assert not list(out.parent.glob(".*"))


def test_failing_cell_ends_with_a_sentence_and_keeps_the_old_copy(template, tmp_path):
    out = tmp_path / "chapter_out.ipynb"
    notebook.execute(template("1"), out, report=lambda _: None)
    before = out.read_text()
    broken = template("raise ValueError('no such organ')")
    with pytest.raises(InputError, match=r"failed in cell \d: ValueError: no such organ"):
        notebook.execute(broken, out, report=lambda _: None)
    assert out.read_text() == before
    assert (tmp_path / "chapter_out.failed.ipynb").is_file()


def test_killed_kernel_is_a_failure_and_no_result(template, tmp_path):
    out = tmp_path / "chapter_out.ipynb"
    killed = template("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(InputError, match="stopped: DeadKernelError"):
        notebook.execute(killed, out, report=lambda _: None)
    assert not out.exists()


def test_two_runs_differ_in_their_seconds_only(template, tmp_path):
    texts = []
    for name in ("a", "b"):
        path = notebook.execute(template("print(1)"), tmp_path / f"{name}.ipynb", report=lambda _: None)
        document = json.loads(path.read_text())
        for key in ("seconds", "cell_seconds"):
            del document["metadata"]["umd"][key]
        texts.append(document)
    assert texts[0] == texts[1]


def test_no_notebook_is_a_clear_error(tmp_path):
    (tmp_path / "x.ipynb").write_text("[]")
    for path in (tmp_path / "absent.ipynb", tmp_path / "x.ipynb"):
        with pytest.raises(InputError, match=r"does not exist|is not a notebook"):
            notebook.parameters(path)


@pytest.mark.parametrize(("text", "value"), [("1,5", [1, 5]), ("5", [5]), ("[2]", [2])])
def test_a_list_on_the_command_line(text, value):
    from umdbook.notebook import Parameter, _parse

    given = Parameter("tolerances_mm", "list", "[1.0]", "")
    assert _parse("chapter", given, text) == value


def test_a_job_builds_no_grammar_of_addresses(template):
    """They take two seconds of each chapter's process."""
    code = (
        "import sys; from umdbook import notebook; notebook.parameters(sys.argv[1]); "
        "print('jsonschema' in sys.modules, 'lark' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(template("1"))], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
