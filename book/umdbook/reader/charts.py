"""Charts told from pictures: in the dark a chart is turned light on dark, a picture never is."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from PIL import Image

CHART = "umd-chart"
# Grey levels from this on count as paper, and a chart is mostly paper.
PAPER, MOSTLY = 253, 0.5


def is_chart(path: str | Path) -> bool:
    """Whether most of an image is white paper."""
    with Image.open(path) as image:
        levels = image.convert("L").histogram()
    return sum(levels[PAPER:]) > MOSTLY * sum(levels)


def mark(app, doctree, docname: str) -> None:
    """Give every chart of a page its class."""
    for node in doctree.findall(nodes.image):
        path = Path(app.srcdir, node["uri"])
        if path.suffix == ".png" and path.is_file() and is_chart(path):
            node["classes"] = [*node["classes"], CHART]
