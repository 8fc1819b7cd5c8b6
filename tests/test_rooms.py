"""The rooms of umdlib: who may know whom, read from the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "umdlib"

# Each room with the rooms it may import; a folder is one room.
GROUND = {"errors", "labels", "geometry", "volume"}
LEFT = {"cohort", "prompts", "segmenters", "metrics", "surface", "depth", "detection", "weights"}
STATISTICS = {
    "pairs", "paired", "resampling", "rank_tests", "multiplicity", "equivalence", "failures",
    "empty_rules", "hurdle", "ranking", "variance", "simulated", "detectable",
}  # fmt: skip
SHOWN = {"tables", "figures"}
HEAVY = {"torch", "monai", "torchvision", "timm", "medsam_lite"}


def rooms():
    return {p.stem if p.is_file() else p.name for p in ROOT.iterdir()
            if p.suffix == ".py" or (p / "__init__.py").is_file()} - {"__init__"}  # fmt: skip


def files(room):
    single = ROOT / f"{room}.py"
    return [single] if single.is_file() else sorted((ROOT / room).rglob("*.py"))


def imported(room, *, late=True):
    """Rooms and foreign packages that a room imports; `late` includes imports inside functions."""
    own, foreign = set(), set()
    for file in files(room):
        tree = ast.parse(file.read_text())
        nodes = ast.walk(tree) if late else tree.body
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            else:
                continue
            for name in names:
                head, *rest = name.split(".")
                if head == "umdlib":
                    own.add(rest[0] if rest else "umdlib")
                else:
                    foreign.add(head)
    return own & rooms() - {room}, foreign


def test_the_ground_knows_only_the_ground():
    for room in GROUND:
        assert imported(room)[0] <= GROUND, room


@pytest.mark.parametrize("room", sorted(LEFT & rooms()))
def test_the_left_half_knows_nothing_right_of_the_score_table(room):
    assert imported(room)[0] <= GROUND | LEFT


@pytest.mark.parametrize("room", sorted(STATISTICS & rooms()))
def test_statistics_know_tables_of_scores_and_no_images(room):
    assert imported(room)[0] <= STATISTICS | {"errors", "labels", "scores"}


@pytest.mark.parametrize("room", sorted(SHOWN & rooms()))
def test_what_is_shown_is_made_from_estimates(room):
    assert imported(room)[0] <= STATISTICS | SHOWN | {"errors", "labels", "scores", "published"}


def test_only_segmenters_and_training_know_heavy_packages():
    allowed = {"segmenters", "weights", "training", "benchmark"}
    for room in rooms() - allowed:
        assert not imported(room)[1] & HEAVY, room


def test_segmenters_import_heavy_packages_late():
    assert not imported("segmenters", late=False)[1] & HEAVY


def test_only_the_command_line_knows_both_ends():
    both = {r for r in rooms() - {"__main__", "book"}
            if imported(r)[0] & {"benchmark"} and imported(r)[0] & STATISTICS}  # fmt: skip
    assert not both


def test_importing_umdlib_and_the_right_half_loads_no_torch():
    right = sorted((STATISTICS | SHOWN | {"scores", "published", "viewers"}) & rooms())
    code = "import sys, umdlib\n" + "".join(f"import umdlib.{r}\n" for r in right)
    code += f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
