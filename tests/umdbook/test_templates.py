"""A template says what it shows: three lines of imports at most, each of one form."""

import ast
import json
import re
from pathlib import Path

import pytest

TEMPLATES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MOST = 3
# what a page shows, its own module, and the library through its face
FORMS = (
    r"from umdbook import page",
    r"from umdbook\.chapters import \w+ as chapter",
    r"import umdlib as umd|from umdlib import \w+(, \w+)*",
)


def imports(path):
    """Every import statement of a notebook, wherever it stands; a file that a cell writes is none of its code."""
    found = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and not text.startswith("%%writefile"):
            lines = ["pass" if line.lstrip()[:1] in ("%", "!") else line for line in text.split("\n")]
            nodes = ast.walk(ast.parse("\n".join(lines)))
            found += [ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_imports_at_most_three_lines_each_of_its_form(path):
    found = imports(path)
    assert 0 < len(found) <= MOST
    assert [line for line in found if not any(re.fullmatch(f, line) for f in FORMS)] == []
    assert all(sum(bool(re.fullmatch(f, line)) for line in found) <= 1 for f in FORMS)


def test_every_import_statement_is_counted(tmp_path):
    cells = ["import a", "if x:\n    from b import c\n%matplotlib inline", "%%writefile d.py\nimport e"]
    notebook = {"cells": [{"cell_type": "code", "source": [c]} for c in cells]}
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    assert imports(tmp_path / "n.ipynb") == ["import a", "from b import c"]


def test_every_class_that_a_template_gives_a_table_has_a_rule():
    project = Path(__file__).parents[2]
    sheets = [*(project / "book" / "_static").glob("*.css"), *(project / "umdlib").rglob("assets/*.css")]
    rules = "".join(path.read_text("utf-8") for path in sheets)
    texts = "".join(path.read_text("utf-8") for path in TEMPLATES)
    given = {name for line in re.findall(r':class: ([\w -]+)\\n"', texts) for name in line.split()}
    assert "umd-wrap" in given
    assert [name for name in sorted(given) if name.startswith("umd-") and f".{name}" not in rules] == []
