"""A notebook whose cells are run in this process: what is tested is the chapter, not the kernel."""

import ast
import contextlib
import io
from types import SimpleNamespace

import matplotlib.pyplot as plt

# Chapters that read a score table and no image.
ON_SCORES = [
    "modality_gap",
    "by_structure",
    "certainty",
    "empty_rule",
    "clicks",
    "reported",
    "learned_gap",
    "planning",
    "supervised",
    "second_image",
]


def executed(document, given, monkeypatch):
    """The notebook after its cells were run in this process: the chapter is tested, not the kernel."""
    space, outputs, cells = {}, [], []

    def glue(name, value, display=True):
        outputs.append({"metadata": {"scrapbook": {"name": name}}, "data": mime(value)})

    def display(*values):
        outputs.extend({"data": mime(v)} for v in values if v is not None)

    monkeypatch.setattr("myst_nb.glue", glue)
    monkeypatch.setattr("IPython.display.display", display)
    for cell in document["cells"]:
        source, outputs = "".join(cell["source"]), []
        if cell["cell_type"] == "code" and not source.startswith("%%"):  # a magic is IPython's
            body = ast.parse(source).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(ast.Module(body, []), "cell", "exec"), space)
                if last is not None:
                    display(eval(compile(ast.Expression(last.value), "cell", "eval"), space))
            if "parameters" in cell["metadata"].get("tags", []):
                space |= {k: v for k, v in given.items() if k in space}
        cells.append(SimpleNamespace(cell_type=cell["cell_type"], source=source, outputs=outputs))
    for number in plt.get_fignums():
        plt.figure(number).draw_without_rendering()
    plt.close("all")
    return SimpleNamespace(cells=cells)


def mime(value):
    """What a notebook keeps of a value."""
    shown = getattr(value, "_repr_markdown_", None)
    return {"text/markdown": shown()} if shown else {"text/plain": repr(value)}
