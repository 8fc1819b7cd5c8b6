"""The import closure: what a module is computed with, read from its source."""

import json
import shutil
from pathlib import Path

import pytest

import umdlib
from umdlib.errors import InputError
from umdlib.sources import code_digest, import_closure

PACKAGE = Path(umdlib.__file__).parent


@pytest.fixture
def package(tmp_path):
    """Function that writes files of a package and returns what a start reaches, relative to it."""

    def write(files, start="pack.start"):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        start = tmp_path / start if start.endswith((".py", ".ipynb")) else start
        found = import_closure(start, packages=("pack",), root=tmp_path)
        return [str(f.relative_to(tmp_path)) for f in found]

    return write


FACE = (
    "import lazy_loader as lazy\n"
    "__getattr__, __dir__, __all__ = lazy.attach(__name__, "
    "submodules=['c'], submod_attrs={'a': ['one'], 'b': ['two']})\n"
)
ROOM = {
    "pack/__init__.py": "",
    "pack/room/__init__.py": FACE,
    "pack/room/a.py": "one = 1",
    "pack/room/b.py": "from pack.room import c\ntwo = c.x",
    "pack/room/c.py": "x = 2",
}


def test_a_name_of_a_lazy_face_stands_for_the_module_that_holds_it(package):
    found = package(ROOM | {"pack/start.py": "from pack.room import one"})
    assert found == ["pack/room/a.py", "pack/start.py"]


def test_an_attribute_of_a_lazy_face_is_followed_and_the_others_are_not(package):
    found = package(ROOM | {"pack/start.py": "from pack import room\nprint(room.two)"})
    assert found == ["pack/room/b.py", "pack/room/c.py", "pack/start.py"]


def test_a_face_used_as_an_object_gives_all_its_modules(package):
    found = package(ROOM | {"pack/start.py": "from pack import room\nvars(room)"})
    assert {"pack/room/a.py", "pack/room/b.py", "pack/room/c.py"} <= set(found)


def test_a_face_over_a_face_is_seen_through(package):
    top = FACE.replace("'a': ['one'], 'b': ['two']", "'room.b': ['two']").replace("['c']", "['room']")
    files = ROOM | {"pack/__init__.py": top}
    assert "pack/room/b.py" in package(files | {"pack/start.py": "import pack as p\np.two"})
    found = package(files | {"pack/start.py": "import pack as p\np.room.one"})
    assert found == ["pack/room/a.py", "pack/start.py"]


def test_imports_inside_functions_and_relative_ones_count_and_those_for_types_do_not(package):
    files = {
        "pack/__init__.py": "",
        "pack/late.py": "",
        "pack/near.py": "",
        "pack/types.py": "",
        "pack/start.py": "from typing import TYPE_CHECKING\nimport numpy\nfrom . import near\n"
        "if TYPE_CHECKING:\n    import pack.types\n"
        "def f():\n    import pack.late\n",
    }
    assert package(files) == ["pack/late.py", "pack/near.py", "pack/start.py"]


def test_a_package_that_computes_in_its_own_file_is_a_file(package):
    files = {"pack/__init__.py": "x = 1 + 1", "pack/start.py": ""}
    assert package(files) == ["pack/__init__.py", "pack/start.py"]


def test_a_notebook_and_what_lies_beside_a_script_are_followed(package):
    cells = [
        {"cell_type": "markdown", "source": ["import nothing"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "from pack.room import one"]},
    ]
    notebook = ROOM | {"page.ipynb": json.dumps({"cells": cells})}
    assert package(notebook, "page.ipynb") == ["pack/room/a.py", "page.ipynb"]
    script = {"own/model.py": "import helper", "own/helper.py": "import pack.room.a"}
    assert package(script, "own/model.py") == ["own/helper.py", "own/model.py", "pack/room/a.py"]


def test_a_start_that_is_neither_file_nor_module_is_named(tmp_path):
    with pytest.raises(InputError, match=r"'umdlib\.nothing' is neither"):
        import_closure("umdlib.nothing")
    (tmp_path / "broken.py").write_text("def")
    with pytest.raises(InputError, match="is not Python"):
        import_closure(tmp_path / "broken.py")


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    file = tmp_path / "a.py"
    digests = []
    for text in ('def f():\n    "One."\n    return (1)  # one\n', "def f(): return 1", "def f(): return 2"):
        file.write_text(text)
        digests.append(code_digest([file]))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("adapter", "edited"),
    [
        ("clicknet", "networks/clicknet.py"),
        ("clicknet", "networks/inputs.py"),
        ("clicknet", "images/grids.py"),
        ("threshold", "segmenters/preparation/crop.py"),
        ("sam", "segmenters/preparation/slices.py"),
    ],
)
def test_an_edit_of_what_an_adapter_computes_with_changes_its_digest(tmp_path, adapter, edited):
    copy = tmp_path / "umdlib"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "released", "*.js*"))
    start = f"umdlib.segmenters.systems.{adapter}"
    before = code_digest(import_closure(start, root=tmp_path))
    with open(copy / "statistics/bootstrap.py", "a") as file:
        file.write("\nUNRELATED = 1\n")
    assert code_digest(import_closure(start, root=tmp_path)) == before
    with open(copy / edited, "a") as file:
        file.write("\nADDED = 1\n")
    assert code_digest(import_closure(start, root=tmp_path)) != before
