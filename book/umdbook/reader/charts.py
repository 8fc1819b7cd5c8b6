"""Charts of the pages: SVG charts are put into the page itself, and marked for the dark theme."""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes
from PIL import Image

CHART = "umd-chart"
# Grey levels from this on count as paper, and a chart is mostly paper.
PAPER, MOSTLY = 253, 0.5
_NUMBERS = re.compile(r'<metadata class="umd-csv">(.*?)</metadata>', re.S)
_NARROW = re.compile(r'<metadata class="umd-narrow">(.*?)</metadata>', re.S)
_LINK = re.compile(r'<a\b[^>]*\bhref="([^"#]+)\.html#[^>]*>(?:<title>.*?</title>)?(.*?)</a>', re.S)
FOLDER = "_images"


def is_chart(path: str | Path) -> bool:
    """Whether most of an image is white paper."""
    with Image.open(path) as image:
        levels = image.convert("L").histogram()
    return sum(levels[PAPER:]) > MOSTLY * sum(levels)


def mark(app, doctree, docname: str) -> None:
    """Handler of ``doctree-resolved``: put drawings into the page, and give every chart its class."""
    for node in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, node["uri"])
        if path.suffix == ".svg" and path.is_file() and app.builder.format == "html":
            _put_in(app, node, path, docname)
        elif path.suffix == ".png" and path.is_file() and is_chart(path):
            node["classes"] = [*node["classes"], CHART]


def _put_in(app, node: nodes.image, path: Path, docname: str) -> None:
    """Put a drawing in the place of its image, with its form for phones and its files one click away."""
    drawing = path.read_text("utf-8")
    if not drawing.lstrip().startswith("<svg"):
        return  # not one of this book's charts
    numbers = _NUMBERS.search(drawing)
    narrow = _NARROW.search(drawing)
    drawing = _NARROW.sub("", _NUMBERS.sub("", drawing))
    drawing = _without_dead_links(drawing, docname, app.env.found_docs)
    figure = node.parent
    while figure is not None and not isinstance(figure, nodes.figure):
        figure = figure.parent
    anchor = next(iter(figure["ids"]), "") if figure is not None else ""
    files = {"SVG": (".svg", drawing.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))}
    if numbers:
        files["CSV"] = (".csv", html.unescape(numbers[1]))
    links = [
        _file_link(app, docname, label, anchor or path.stem[:16], *file) for label, file in files.items()
    ]
    if anchor:
        links.append(f'<a href="#{anchor}">Link to this figure</a>')
    label = html.escape(node.get("alt", "Chart"), quote=True)
    if narrow:
        small = _without_dead_links(html.unescape(narrow[1]), docname, app.env.found_docs)
        forms = _named(drawing, f"{CHART} umd-wide", label) + _named(small, f"{CHART} umd-narrow", label)
    else:
        forms = _named(drawing, CHART, label)
    line = f'<p class="umd-files">{" · ".join(links)}</p>'
    node.replace_self(nodes.raw("", forms + line, format="html"))


def _named(drawing: str, classes: str, label: str) -> str:
    """The drawing with its classes, its role and its name."""
    role = "group" if "<a " in drawing else "img"
    return drawing.replace("<svg ", f'<svg class="{classes}" role="{role}" aria-label="{label}" ', 1)


def _without_dead_links(drawing: str, docname: str, pages: set[str]) -> str:
    """The drawing, whose links to chapters that this book leaves out are plain marks."""
    folder = docname.rpartition("/")[0]

    def kept(found: re.Match) -> str:
        target = f"{folder}/{found[1]}" if folder else found[1]
        return found[0] if target in pages else found[2]

    return _LINK.sub(kept, drawing)


def _file_link(app, docname: str, label: str, name: str, ending: str, text: str) -> str:
    """Write one file of a chart, and return the link to it."""
    file = f"{docname.replace('/', '-')}-{name}{ending}"
    folder = Path(app.outdir, FOLDER)
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(text, "utf-8")
    up = "../" * docname.count("/")
    return f'<a href="{up}{FOLDER}/{file}">{label}</a>'
