"""The README names every room in its order, and every command with its form."""

import re
from pathlib import Path

import pytest
from test_order import GROUND, LEFT, RIGHT, SHOWN

from umdlib import __main__ as cli

README = Path(__file__).parent.parent / "README.md"
LINES = README.read_text("utf-8").splitlines()
COMMANDS = next(a for a in cli.parser()._actions if a.dest == "command" or a.metavar == "COMMAND").choices


def first_cells(heading: str) -> list[str]:
    """First or second cells of the tables below a heading that hold code."""
    start = LINES.index(heading)
    end = next(i for i in range(start + 1, len(LINES)) if LINES[i].startswith("## "))
    rows = [
        [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in LINES[start:end]
        if line[:1] == "|"
    ]
    return [next(c for c in cells if "`" in c) for cells in rows if any("`" in c for c in cells)]


def test_the_rooms_stand_in_the_order_that_the_code_has():
    told = [
        n.rstrip("/") for cell in first_cells("## Where things are") for n in re.findall(r"`([^`]+)`", cell)
    ]
    named = [n for n in told if n in {*GROUND, *LEFT, *RIGHT, *SHOWN}]
    assert named == [n for n in (*GROUND, *LEFT, *RIGHT, *SHOWN) if n != "moved"]


def test_every_command_has_a_row_and_every_row_a_command():
    rows = [
        cell.strip("`").split()[1]
        for cell in first_cells("## The command line")
        if cell.startswith("`umdlib")
    ]
    assert set(rows) == set(COMMANDS)


@pytest.mark.parametrize("cell", [c for c in first_cells("## The command line") if " --" in c])
def test_the_options_of_a_row_exist(cell):
    words = cell.strip("`").replace("\\|", "|").split()
    given = COMMANDS[words[1]].format_help()
    if words[2].isalpha() and words[2].islower():  # a command of a command
        nested = next(a for a in COMMANDS[words[1]]._actions if isinstance(a.choices, dict))
        given = nested.choices[words[2]].format_help()
    for option in (w for w in words if w.startswith("--")):
        assert option in given
