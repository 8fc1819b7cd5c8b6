"""A function is read on one screen and called without a list to look things up in."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 60  # of code: blank lines, comments and docstrings are not counted
MOST_PARAMETERS = 8
LOOPS = ROOT / "umdlib" / "kernels"  # compiled: they take no record as an argument
QUIET = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(text: str) -> set[int]:
    """Numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in QUIET:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


def too_large(text: str) -> Iterator[str]:
    """Functions of a module that are over a limit, with what they have too much of."""
    code = code_lines(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            lines = len(code & set(range(node.lineno, node.end_lineno + 1)))
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = len(named) + bool(arguments.vararg) + bool(arguments.kwarg)
            if lines > MOST_LINES:
                yield f"{node.name} has {lines} lines"
            if count > MOST_PARAMETERS:
                yield f"{node.name} has {count} parameters"


@pytest.mark.parametrize("package", ["umdlib", "book/umdbook"])
def test_no_function_is_over_a_limit(package):
    files = (p for p in sorted((ROOT / package).rglob("*.py")) if LOOPS not in p.parents)
    assert not [f"{p.relative_to(ROOT)}: {found}" for p in files for found in too_large(p.read_text("utf-8"))]


def test_docstrings_and_comments_do_not_count():
    body = '    """One.\n\n    Two.\n    """\n' + "    # why\n\n" + "    x = 1\n" * 59
    assert not list(too_large(f"def f():\n{body}"))
    assert list(too_large(f"def f():\n{body}    x = 2\n")) == ["f has 61 lines"]
    assert list(too_large("def f(a, b, c, /, d, e, *f, g, h, **i): ...")) == ["f has 9 parameters"]
