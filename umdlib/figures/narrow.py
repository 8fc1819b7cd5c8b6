"""The form of a chart for a phone: panels one below the other, names in lines, letters of their own size."""

from __future__ import annotations

import pickle
import re
import textwrap
import warnings
from collections.abc import Iterable

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

WIDTH = 3.9  # inches: a phone's page at the size of the book's letters
_TOO_WIDE = 1.2  # of it, with all that stands out: such a chart keeps its one form
_LINE = 0.17  # inches of a line of letters
_NAME, _LABEL, _TITLE, _KEY = 17, 36, 34, 40  # letters in a line
_SHARE = 0.42  # of its width that a panel's marks have at least
_INSIDE, _TALLER = 18, 1.7  # letters in a line inside a panel, and the height of such a panel
_LETTERS = re.compile(r"[^\W\d_]{2}")


def narrow_form(figure: Figure) -> Figure | None:
    """A figure as a phone shows it; None where it fits as it is, or where this would not help.

    Parameters
    ----------
    figure
        Made with a constrained layout. It is not changed; a form that `set_narrow` gave it is taken as it is.

    Returns
    -------
    matplotlib.figure.Figure or None
        Unknown to pyplot.
    """
    if hasattr(figure, "umd_narrow"):
        return figure.umd_narrow
    if figure.get_figwidth() <= WIDTH or figure.subfigs:
        return None
    copy = _copied(figure)
    if copy is None:
        return None
    panels = _stacked(copy)
    heights = [_fitted(ax, height) + _turn_crowded_names(ax) for ax, height in panels]
    below = _legends(copy)
    _sized(copy, heights, below)
    width = _width(copy)
    tight = [ax for ax, _ in panels if ax.get_position().width < _SHARE and _break_texts(ax)]
    if tight:
        _sized(
            copy,
            [h * (_TALLER if ax in tight else 1) for (ax, _), h in zip(panels, heights, strict=True)],
            below,
        )
        width = _width(copy)
    useful = all(ax.get_position().width >= _SHARE for ax, _ in panels)
    return copy if useful and width <= _TOO_WIDE * WIDTH else None


def set_narrow(ax: Axes, narrow: Axes) -> Axes:
    """Give a chart a form of its own for phones, which is shown nowhere else."""
    ax.figure.umd_narrow = narrow.figure
    plt.close(narrow.figure)
    return ax


def _sized(figure: Figure, heights: list[float], below: float) -> None:
    """Give a figure the width of a phone, and its panels their heights."""
    figure.set_size_inches(WIDTH, (sum(heights) if heights else figure.get_figheight()) + below)
    if heights:
        figure.axes[0].get_subplotspec().get_gridspec().set_height_ratios(heights)


def _break_texts(ax: Axes) -> bool:
    """Break the long words inside a panel that leave its marks no room; whether there are any."""
    long = [text for text in ax.texts if len(text.get_text()) > _INSIDE and text.get_visible()]
    for text in long:
        text.set_text(_lines(text.get_text(), _INSIDE))
    return bool(long)


def _copied(figure: Figure) -> Figure | None:
    """A copy that pyplot does not know; None of a figure with parts that cannot be copied."""
    manager, figure.canvas.manager = figure.canvas.manager, None
    try:
        return pickle.loads(pickle.dumps(figure))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    finally:
        figure.canvas.manager = manager


def _stacked(figure: Figure) -> list[tuple[Axes, float]]:
    """Put the axes of a grid into one column, row by row; each with the inches that it had from top to bottom."""
    axes = [ax for ax in figure.axes if ax.get_subplotspec() is not None]
    spots = {ax: ax.get_subplotspec() for ax in axes}
    if len(axes) < len(figure.axes) or len({spot.get_gridspec() for spot in spots.values()}) != 1:
        return []
    axes.sort(key=lambda ax: (spots[ax].rowspan.start, spots[ax].colspan.start))
    rows = spots[axes[0]].get_gridspec().nrows
    grid = figure.add_gridspec(len(axes), 1)
    for place, ax in zip(grid, axes, strict=False):
        if spots[ax].colspan.start and ax.get_shared_y_axes().get_siblings(ax)[1:]:
            ax.tick_params(axis="y", labelleft=True)
        ax.set_subplotspec(place)
    return [(ax, figure.get_figheight() / rows * len(spots[ax].rowspan)) for ax in axes]


def _fitted(ax: Axes, height: float) -> float:
    """Break the words around a panel into lines; return the inches that it needs from top to bottom."""
    for words, letters in ((ax.title, _TITLE), (ax._left_title, _TITLE), (ax.xaxis.label, _LABEL)):
        before = words.get_text()
        words.set_text(_lines(before, letters))
        height += _LINE * (words.get_text().count("\n") - before.count("\n"))
    names = _names(ax.yaxis)
    if max(map(len, names), default=0) > _NAME:
        broken = [_lines(name, _NAME) for name in names]
        ax.set_yticks(ax.get_yticks(), broken)
        most = max(name.count("\n") + 1 for name in broken)
        height = max(height, len(names) * (_LINE * most + 0.06) + 0.9)
    else:
        height = min(height, max(2.9, 0.24 * len(names) + 0.9)) if not names else height
    ax.yaxis.label.set_text(_lines(ax.yaxis.label.get_text(), max(int(height * 9), 12)))
    return height


def _names(axis: Axis) -> list[str]:
    """Words that stand at the ticks of an axis, where they are names."""
    words = [label.get_text() for label in axis.get_ticklabels()]
    return words if any(_LETTERS.search(word) for word in words) and "$" not in "".join(words) else []


def _turn_crowded_names(ax: Axes) -> float:
    """Turn names below an axis that would run into each other; return the inches that they add."""
    names = _names(ax.xaxis)
    if sum(map(len, names)) <= 30 or any(label.get_rotation() for label in ax.get_xticklabels()):
        return 0.0
    for label in ax.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    return 0.06 * max(map(len, names))


def _legends(figure: Figure) -> float:
    """Make the legends below a figure anew, as wide as it is now; return the inches that they add."""
    more = 0.0
    for legend in list(figure.legends):
        labels = [_lines(text.get_text(), _KEY) for text in legend.get_texts()]
        longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
        columns = min(max(int(12 * WIDTH / (longest + 5)), 1), max(len(labels), 1))
        options = {"handles": legend.legend_handles, "labels": labels, "ncols": columns}
        options |= {
            "frameon": legend.get_frame_on(),
            "prop": legend.prop,
            "title": legend.get_title().get_text(),
        }
        legend.remove()
        figure.legend(**options, loc="outside lower center")
        more += _LINE * 1.2 * (-(-len(labels) // columns) - 1) + _LINE * sum(s.count("\n") for s in labels)
    return more


def _lines(words: str, letters: int) -> str:
    """Words in lines of so many letters; what breaks a line already stays, a formula is one word."""
    if "$" in words:
        return words
    broken: Iterable[str] = (
        textwrap.fill(line, letters, break_long_words=False, drop_whitespace=True)
        if len(line) > letters
        else line
        for line in words.split("\n")
    )
    return "\n".join(broken)


def _width(figure: Figure) -> float:
    """Inches that a figure is wide with all that stands out of it; infinite where nothing is left for its axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            figure.draw_without_rendering()
        except UserWarning:
            return np.inf
    return figure.get_tightbbox().width
