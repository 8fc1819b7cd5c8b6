"""Diagrams after the papers' figures; each draws on `ax`, or axes of its own with a form for phones, and returns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from umdlib.figures.links import keep_numbers
from umdlib.figures.narrow import WIDTH, set_narrow
from umdlib.labels import SESSIONS

_INK, _CLICK = "#222222", "#aa3377"
_BLUE, _GREEN, _ORANGE, _GREY, _WHITE = "#cfe5f3", "#cdebe1", "#f7dcc6", "#eeeeee", "#ffffff"
_TINT = {"CT": _BLUE, "MR": _GREEN, "PET": _ORANGE}
_GAP = 0.07  # between the border of a box and an arrow


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    text: str
    colour: str = _GREY
    w: float = 1.5
    h: float = 0.7


def _both(
    draw: Callable[[Axes, bool], None], size: tuple[float, float], tall: float, ax: Axes | None
) -> Axes:
    """Draw on the axes given, else on new ones, with a form for phones that is so tall (inches)."""
    made = (
        [plt.subplots(figsize=s, layout="constrained")[1] for s in (size, (WIDTH, tall))]
        if ax is None
        else [ax]
    )
    for new, phone in zip(made, (False, True), strict=False):
        draw(new, phone)
        new.axis("off")
    if ax is not None:
        return ax
    keep_numbers(made[0], pd.DataFrame())  # a drawing holds none
    return set_narrow(*made)


def _put(ax: Axes, box: _Box) -> _Box:
    """Draw a rounded box with centred text."""
    style = {"boxstyle": "round,pad=0.03,rounding_size=0.1", "ec": _INK, "lw": 1, "alpha": 0.9}
    corner = (box.x - box.w / 2, box.y - box.h / 2)
    ax.add_patch(FancyBboxPatch(corner, box.w, box.h, fc=box.colour, **style))
    ax.text(box.x, box.y, box.text, ha="center", va="center", fontsize=9)
    return box


def _border(box: _Box, towards: _Box) -> tuple[float, float]:
    """Where a line from the middle of a box to that of another leaves it."""
    dx, dy = towards.x - box.x, towards.y - box.y
    share = min((box.w / 2 + _GAP) / (abs(dx) or 1e-9), (box.h / 2 + _GAP) / (abs(dy) or 1e-9))
    return box.x + share * dx, box.y + share * dy


def _arrow(ax: Axes, a: tuple[float, float], b: tuple[float, float], **style: object) -> None:
    """Draw an arrow from point to point."""
    style = {"arrowstyle": "-|>", "mutation_scale": 12, "lw": 1.2, "color": _INK, **style}
    ax.add_patch(FancyArrowPatch(a, b, **style))


def _link(ax: Axes, a: _Box, b: _Box, **style: object) -> None:
    """Draw an arrow from box to box."""
    _arrow(ax, _border(a, b), _border(b, a), **style)


def _turned(box: _Box, *, top: float, across: float, down: float) -> _Box:
    """A box of rows that run to the right, in columns that run down."""
    return replace(box, x=across * (top - box.y), y=-down * box.x)


def validation_designs(ax: Axes | None = None) -> Axes:
    """Two ways to compare modalities: unpaired cohorts with their own tasks, and pairs."""

    def draw(ax: Axes, phone: bool) -> None:
        _unpaired(ax, (0.5, 4.5) if phone else (0, 0))
        _paired(ax, (-4.3, 0) if phone else (0, 0))
        if phone:
            ax.axhline(4.4, color="#bbbbbb", lw=1)
            ax.set(xlim=(-0.1, 4.7), ylim=(-0.1, 8.8))
        else:
            ax.axvline(4.0, color="#bbbbbb", lw=1)
            ax.set(xlim=(0, 9), ylim=(-0.1, 4.5))

    return _both(draw, (9.5, 4), 7.2, ax)


def _unpaired(ax: Axes, at: tuple[float, float]) -> None:
    """Draw three cohorts, each with one modality and its own task."""
    x, y = at
    ax.text(x + 1.6, y + 3.8, "(a) Each modality on its own", ha="center", fontsize=11)
    for i, (m, task, row) in enumerate(
        (("CT", "abdomen", 3.1), ("MR", "heart", 2.15), ("PET", "tumours", 1.2)), 1
    ):
        cohort = _put(ax, _Box(x + 0.6, y + row, f"cohort {i}", w=1.0))
        _link(ax, cohort, _put(ax, _Box(x + 2.6, y + row, f"{m}: {task}", _TINT[m])))
    ax.text(x + 1.6, y + 0.1, "subjects, structures and modality\nchange together", ha="center", fontsize=9)


def _paired(ax: Axes, at: tuple[float, float]) -> None:
    """Draw two sessions, each with two images of one subject and their difference."""
    x, y = at
    ax.text(
        x + 6.6, y + 3.7, "(b) One subject, one session,\ntwo images", ha="center", va="bottom", fontsize=11
    )
    for s, row in zip(SESSIONS.values(), (2.85, 1.2), strict=True):
        session = _put(ax, _Box(x + 4.9, y + row, s.title, w=1.0))
        difference = _put(ax, _Box(x + 8.3, y + row, "difference", _WHITE, w=1.0))
        for m, dy in ((s.structural, 0.4), ("PET", -0.4)):
            image = _put(ax, _Box(x + 6.6, y + row + dy, m, _TINT[m], w=1.0, h=0.55))
            _link(ax, session, image)
            _link(ax, image, difference)
    ax.text(x + 6.6, y + 0.15, "only the modality changes", ha="center", fontsize=9)


def click_loop(ax: Axes | None = None) -> Axes:
    """A promptable 3D segmenter with its click loop, as SegAnyPET figure 6 describes it."""
    return _both(_click_loop, (9, 3.7), 5.4, ax)


def _click_loop(ax: Axes, phone: bool) -> None:
    """Draw the loop in two rows, or in two columns for phones."""
    boxes = {
        "image": _Box(0.9, 3.0, "PET volume"),
        "encoder": _Box(3.1, 3.0, "image encoder\n(3D transformer)", _BLUE, w=1.8),
        "decoder": _Box(5.6, 3.0, "mask decoder", _ORANGE),
        "mask": _Box(8.0, 3.0, "mask"),
        "prompt": _Box(3.1, 1.4, "prompt encoder", _GREEN, w=1.8),
        "clicks": _Box(0.9, 1.4, "clicks so far"),
        "error": _Box(8.0, 1.4, "error against\nthe reference", _WHITE, w=1.6, h=0.8),
    }
    if phone:
        boxes = {k: _turned(b, top=3.0, across=1.3, down=0.62) for k, b in boxes.items()}
    for box in boxes.values():
        _put(ax, box)
    for a, b in _LOOP:
        _link(ax, boxes[a], boxes[b])
    turn = -1 if phone else 1
    _link(ax, boxes["mask"], boxes["prompt"], connectionstyle=f"arc3,rad={-0.15 * turn}", linestyle="--")
    ends = [boxes["error"], boxes["clicks"]]
    out = [(b.x + b.w / 2 + _GAP, b.y) if phone else (b.x, b.y - b.h / 2 - _GAP) for b in ends]
    _arrow(ax, *out, connectionstyle=f"arc3,rad={-0.18 * turn}")
    words = "next click: positive where missed, negative where too much"
    if phone:
        ax.text(1.3, -3.7, "previous mask", ha="left", fontsize=8)
        ax.text(1.1, -5.9, words.replace(", ", ",\n"), ha="center", fontsize=9)
        ax.set(xlim=(-1.0, 3.6), ylim=(-6.1, 0.0))
    else:
        ax.text(6.4, 2.25, "previous mask", ha="center", fontsize=8)
        ax.text(4.5, 0.08, words, ha="center", fontsize=9)
        ax.set(xlim=(0, 9), ylim=(-0.1, 3.6))


_LOOP = (
    ("image", "encoder"),
    ("encoder", "decoder"),
    ("decoder", "mask"),
    ("clicks", "prompt"),
    ("prompt", "decoder"),
    ("mask", "error"),
)


def prompting_schemes(ax: Axes | None = None) -> Axes:
    """Slice by slice against the whole volume: what a person clicks, and what a system answers."""
    return _both(_prompting_schemes, (9, 3.4), 5.4, ax)


def _prompting_schemes(ax: Axes, phone: bool) -> None:
    """Draw the schemes in two rows, or in two columns for phones."""
    schemes = (
        (
            "slice by slice",
            "(SAM, MedSAM)",
            4,
            ("network in 2D,\nonce a slice", "one mask\na slice", "stacked to\na volume"),
        ),
        ("volume", "(SegAnyPET)", 1, ("network in 3D,\nonce", "one mask of\nthe volume")),
    )
    for row, (title, systems, n_clicks, words) in enumerate(schemes):
        y = 2.4 - 1.6 * row
        looks = zip(words, (3.6, 6.1, 8.3), (_BLUE, _ORANGE, _GREY), strict=False)
        boxes = [_Box(x, y, text, colour, w=1.5, h=0.8) for text, x, colour in looks]
        stack = _Box(1.13, y + 0.13, "", w=1.66, h=0.96)
        if phone:
            boxes = [_turned(box, top=2.4, across=1.3, down=0.62) for box in boxes]
            stack = replace(_turned(stack, top=2.53, across=1.3, down=0.62), w=stack.w)
            ax.text(stack.x, 0.2, f"{title}\n{systems}", fontsize=9, ha="center", va="bottom")
        else:
            ax.text(0.1, y + 0.72, f"{title} {systems}", fontsize=10, va="bottom")
        _slices(ax, stack.x - stack.w / 2, stack.y - stack.h / 2, n_clicks)
        chain = [stack, *(_put(ax, box) for box in boxes)]
        for a, b in pairwise(chain):
            _link(ax, a, b)
    ax.set(**{"xlim": (-1, 3.1), "ylim": (-5.7, 0.9)} if phone else {"xlim": (0, 9.2), "ylim": (0.1, 3.6)})


def _slices(ax: Axes, x: float, y: float, n_clicks: int) -> None:
    """Draw four slices behind each other, of which the first ones are clicked."""
    for k in range(4):
        at = (x + 0.22 * k, y + 0.12 * k)
        ax.add_patch(plt.Rectangle(at, 1.0, 0.6, fc=_GREY, ec=_INK, lw=0.8))
        if k >= 4 - n_clicks:
            ax.plot(at[0] + 0.5, at[1] + 0.3, "o", ms=5, mfc="white", mec=_CLICK, mew=1.5)
