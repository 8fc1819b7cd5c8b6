"""Charts as SVG: sharp on any screen, letters as letters, marks that are links and say what they are."""

from __future__ import annotations

import hashlib
import io
import re
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from umdlib.figures.narrow import narrow_form

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NUMBER = re.compile(r"-?\d*\.\d{3,}")
_MOST_MARKS = 4000  # beyond these a chart is smaller as a picture
_SCREEN = 110 / 72  # pixels per point, as a PNG of the book has
NUMBERS = "umd-csv"  # class of the element that holds the numbers behind a chart
NARROW = "umd-narrow"  # class of the element that holds its form for phones


def is_drawing(figure: Figure) -> bool:
    """Whether a figure is lines and letters, so that SVG suits it: it holds no image and few marks."""
    marks = sum(len(c.get_offsets()) for ax in figure.axes for c in ax.collections)
    return not any(ax.images for ax in figure.axes) and not figure.images and marks <= _MOST_MARKS


def to_svg(figure: Figure) -> str:
    """A figure as SVG to put into a page.

    Parameters
    ----------
    figure
        Marks with an address whose fragment has a ``title`` become links that say it, see
        `umdlib.figures.links`.

    Returns
    -------
    str
        One ``<svg>`` element. No style leaves it, its ids are its own, coordinates have two decimals, and
        the numbers behind the chart stand as CSV in its ``<metadata class="umd-csv">``, its form for a
        phone, where it has one, as a second drawing in ``<metadata class="umd-narrow">``.
    """
    root = _drawn(figure)
    narrow = narrow_form(figure)
    if narrow is not None:
        _keep(root, NARROW, ET.tostring(_drawn(narrow), encoding="unicode"))
    numbers = chart_numbers(figure)
    if len(numbers):
        _keep(root, NUMBERS, numbers.to_csv(index=False))
    return ET.tostring(root, encoding="unicode")


def _drawn(figure: Figure) -> ET.Element:
    """One form of a figure, with names, links and ids of its own."""
    raw = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "umdlib"}):
        figure.savefig(raw, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(raw.getvalue())
    _tidy(root)
    _name_links(root)
    _own_ids(root, hashlib.sha256(raw.getvalue().encode()).hexdigest()[:8])
    return root


def _keep(root: ET.Element, name: str, text: str) -> None:
    """Put text into a drawing that nobody sees, in an element of this class."""
    kept = ET.Element(f"{{{_SVG}}}metadata", {"class": name})
    kept.text = text
    root.insert(0, kept)


def chart_numbers(figure: Figure) -> pd.DataFrame:
    """The numbers behind a chart: the tables that were kept with it, else what its lines and marks show.

    Returns
    -------
    pandas.DataFrame
        With several panels, ``panel`` says which; without a table kept, ``panel, series, x, y``.
    """
    kept = getattr(figure, "umd_numbers", [])
    if kept:
        return pd.concat(kept, ignore_index=True)
    rows = []
    for n, ax in enumerate(figure.axes, 1):
        panel = ax.get_title(loc="left") or ax.get_title() or str(n)
        drawn = [(line.get_label(), line.get_xydata()) for line in ax.lines]
        drawn += [(c.get_label(), np.ma.filled(c.get_offsets(), np.nan)) for c in ax.collections]
        bars = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        drawn += [(b.get_label(), [(b.get_x() + b.get_width(), b.get_y())]) for b in bars]
        for label, points in drawn:
            series = "" if str(label).startswith("_") else str(label)
            rows += [(panel, series, *map(float, point)) for point in points if len(point) == 2]
    return pd.DataFrame(rows, columns=["panel", "series", "x", "y"]).dropna().drop_duplicates()


def _tidy(root: ET.Element) -> None:
    """Take out what a page must not have, and digits that nobody sees."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    width, height = (float(v) for v in root.get("viewBox", "0 0 1 1").split()[2:])
    root.attrib.update({"width": f"{width * _SCREEN:.0f}", "height": f"{height * _SCREEN:.0f}"})
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    for node in root.iter():
        for name in ("d", "x", "y", "transform", "width", "height", "points"):
            if name in node.attrib:
                node.set(
                    name, _NUMBER.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), node.get(name))
                )
        if "'DejaVu Sans'" in node.get("style", ""):  # Verdana has its widths
            node.set(
                "style",
                re.sub(r"'DejaVu Sans'[^;]*", "'DejaVu Sans', Verdana, sans-serif", node.get("style")),
            )


def _name_links(root: ET.Element) -> None:
    """Give each link the words of its address as title and name, and take them out of the address."""
    for link in root.iter(f"{{{_SVG}}}a"):
        address = link.attrib.pop(f"{{{_LINK}}}href", "")
        fragment = urlsplit(address).fragment
        words = parse_qs(fragment).get("title", [""])[0]
        link.attrib.pop("target", None)
        link.set("pointer-events", "all")  # a target has no ink
        link.set("href", re.sub(r"&?title=[^&]*", "", address))
        if words:
            link.set("aria-label", words)
            title = ET.Element(f"{{{_SVG}}}title")
            title.text = words
            link.insert(0, title)


def _own_ids(root: ET.Element, name: str) -> None:
    """Keep the ids that something refers to, under a name of this chart's own."""
    text = ET.tostring(root, encoding="unicode")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'xlink:href="#([^"]+)"', text))
    for node in root.iter():
        own = node.get("id")
        if own in used:
            node.set("id", f"{name}-{own}")
        elif own is not None:
            del node.attrib["id"]
            if own == "umd-targets":
                node.set("class", own)
        for key, value in node.attrib.items():
            if key == f"{{{_LINK}}}href" and value.startswith("#"):
                node.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                node.set(key, value.replace("url(#", f"url(#{name}-"))
