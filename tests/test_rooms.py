"""The rooms of umdlib: who may know whom, read from the imports."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "umdlib"

# Every room stands in one of these halves, in the order of the way from images to pages.
GROUND = {"errors", "atomic", "labels", "geometry", "nifti", "streams", "volume"}
LEFT = {
    "cohort",
    "importers",
    "synthetic",
    "prompts",
    "scribbles",
    "depth",
    "boxed",
    "metrics",
    "surface",
    "detection",
    "segmenters",
    "weights",
    "inert",
    "ceilings",
    "training",
}
LOOP = {"benchmark", "runs", "canaries"}
STATISTICS = {
    "scores",
    "pairs",
    "paired",
    "resampling",
    "mean_bounds",
    "rank_tests",
    "multiplicity",
    "equivalence",
    "failures",
    "empty_rules",
    "hurdle",
    "ranking",
    "variance",
    "simulated",
    "operating",
    "effort",
    "reported",
    "published",
    "finding",
    "design",
    "supervised",
    "withheld",
}
SHOWN = {"tables", "figures", "interactive"}
PICTURES = {
    "panes",
    "overlays",
    "posters",
    "webvolumes",
    "viewers",
    "pictures",
    "montage",
    "exhibits",
    "gallery",
    "live",
}
# what one page of the book shows of the left half
PAGES = {
    "systems",
    "plausibility",
    "toy_masks",
    "canary_run",
    "timings",
    "planted",
    "controls",
    "flags",
    "lesionwise",
    "lesion_pictures",
    "trained",
    "shifts",
    "margins",
    "programs",
}
ENDS = {"__main__", "book", "notebook", "reader"}
HALVES = {
    "ground": GROUND,
    "left": LEFT,
    "loop": LOOP,
    "statistics": STATISTICS,
    "shown": SHOWN,
    "pictures": PICTURES,
    "pages": PAGES,
    "ends": ENDS,
}
# What the rooms of each half may import beside their own half.
KNOWS = {
    "ground": set(),
    "left": GROUND,
    "loop": GROUND | LEFT | {"scores", "panes"},
    "statistics": {"errors", "atomic", "labels"},
    "shown": {"errors", "labels"} | STATISTICS,
    "pictures": GROUND | {"cohort", "prompts", "runs", "empty_rules"},
    "pages": GROUND | LEFT | LOOP | STATISTICS | SHOWN | PICTURES,
    "ends": GROUND | LEFT | LOOP | STATISTICS | SHOWN | PICTURES | {"canary_run", "flags"},
}
HEAVY = {"torch", "monai", "torchvision", "timm", "medsam_lite"}


def rooms():
    return {
        p.stem if p.is_file() else p.name
        for p in ROOT.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").is_file()
    } - {"__init__"}


def files(room):
    single = ROOT / f"{room}.py"
    return [single] if single.is_file() else sorted((ROOT / room).rglob("*.py"))


@functools.cache
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


def test_every_room_stands_in_one_half():
    assert rooms() <= set().union(*HALVES.values())
    assert sum(map(len, HALVES.values())) == len(set().union(*HALVES.values()))


@pytest.mark.parametrize(
    ("half", "room"), [(h, r) for h, members in HALVES.items() for r in sorted(members & rooms())]
)
def test_a_room_knows_only_its_neighbours(half, room):
    assert imported(room)[0] <= KNOWS[half] | HALVES[half]


def test_only_segmenters_and_training_know_heavy_packages():
    allowed = {"segmenters", "weights", "inert", "training"}
    for room in rooms() - allowed:
        assert not imported(room)[1] & HEAVY, room


def test_segmenters_import_heavy_packages_late():
    assert not imported("segmenters", late=False)[1] & HEAVY


def test_importing_umdlib_and_the_right_half_loads_no_torch():
    right = sorted((STATISTICS | SHOWN | PICTURES | PAGES | {"runs"}) & rooms())
    code = "import sys, umdlib\n" + "".join(f"import umdlib.{r}\n" for r in right)
    code += f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
