"""The order of the rooms: a room imports only rooms before it in its group, and the ground."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from umdlib.sources import import_closure

ROOT = Path(__file__).parent.parent / "umdlib"
GROUND = ["errors", "version", "moved", "labels", "protocols", "files", "sources", "scores"]
LEFT = [
    "kernels",
    "images",
    "cohort",
    "prompts",
    "metrics",
    "quantities",
    "synthetic",
    "weights",
    "networks",
    "segmenters",
    "requests",
    "training",
    "evaluation",
    "ladder",
    "canaries",
]
RIGHT = ["statistics", "tables", "figures", "published"]
SHOWN = ["viewer", "__init__", "__main__"]
HEAVY = {"torch", "monai", "torchvision", "timm", "medsam_lite", "nnunetv2"}


def room(path: Path) -> str:
    """The room of a file: the folder or module right below the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, with the names taken from a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(rooms) -> list[Path]:
    return [p for p in sorted(ROOT.rglob("*.py")) if room(p) in rooms]


def test_every_room_stands_in_the_order():
    assert {room(p) for p in ROOT.rglob("*.py")} == {*GROUND, *LEFT, *RIGHT, *SHOWN}


@pytest.mark.parametrize("name", [*GROUND, *LEFT, *RIGHT])
def test_a_room_imports_only_what_stands_before_it(name):
    group = next(g for g in (GROUND, LEFT, RIGHT) if name in g)
    allowed = {*(() if group is GROUND else GROUND), *group[: group.index(name) + 1]}
    wrong = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in files([name])
        for target in imported(path)
        if target.split(".")[0] == "umdbook"
        or (target.split(".")[0] == "umdlib" and target.split(".")[1] not in allowed)
    ]
    assert not wrong


def test_no_file_imports_itself_in_a_circle():
    reached = {path: set(import_closure(path)) - {path} for path in files([*GROUND, *LEFT, *RIGHT, "viewer"])}
    circles = [(a.name, b.name) for a in reached for b in reached[a] if a < b and a in reached.get(b, set())]
    assert not circles


def test_only_the_rooms_of_networks_know_heavy_packages():
    allowed = {"weights", "networks", "segmenters", "training"}
    for path in files({*GROUND, *LEFT, *RIGHT, *SHOWN} - allowed):
        assert not {t.split(".")[0] for t in imported(path)} & HEAVY, path


def test_the_right_half_and_the_pages_load_no_torch():
    modules = [
        ".".join(p.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for p in files([*RIGHT, "viewer", "canaries", "evaluation"])
    ]
    code = "import sys\n" + "".join(f"import {m}\n" for m in modules)
    code += f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def _defined(path: Path) -> set[str]:
    """Names that a module binds at its top level."""
    bound = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound.update(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return bound


def test_a_face_offers_what_its_modules_hold():
    for face in ROOT.rglob("__init__.py"):
        offered = [
            k.value
            for n in ast.walk(ast.parse(face.read_text()))
            if isinstance(n, ast.Call)
            for k in n.keywords
            if k.arg == "submod_attrs"
        ]
        for module, names in ast.literal_eval(offered[0]).items() if offered else ():
            path = face.parent / (module.replace(".", "/") + ".py")
            missing = set(names) - _defined(path)
            assert not missing, f"{face.relative_to(ROOT)} offers {missing}, which {path.name} lacks"
