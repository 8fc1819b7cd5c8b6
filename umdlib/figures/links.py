"""Marks of a chart that open the case explorer, and the numbers behind a chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import pandas as pd
from matplotlib.axes import Axes

from umdlib.tables.modality_table import structure_title
from umdlib.tables.titles import segmenter_title

# Page of the case explorer, as seen from every other chapter.
EXPLORER = "cases.html"
_SIZE = 130.0  # of a target in points², so that a finger meets it


def case_address(
    words: str, row: Mapping[str, object], *, metric: str = "dice", empty: str = "drop", prompt: str = ""
) -> str:
    """Address in the case explorer of what one mark of a chart shows.

    Parameters
    ----------
    words
        What the mark says; a chart shows it where a pointer or the keyboard is.
    row
        ``session``, and any of ``segmenter``, ``structure``, ``subject``. With all four the subject is
        opened in the viewer; else the explorer lists the pairs of that choice, the largest loss first.
    metric, empty, prompt
        Of the explorer's list; the prompt with its number of corrective clicks, as in ``"centre, 0"``.

    Examples
    --------
    >>> case_address("Liver: −0.1", {"session": "petct", "structure": "liver"}, prompt="centre, 0")
    'cases.html#session=petct&structure=liver&metric=dice&rule=drop&prompt=centre%2C+0&title=Liver%3A+%E2%88%920.1'
    """
    given = {k: str(row[k]) for k in ("session", "segmenter", "structure", "subject") if row.get(k)}
    subject = given.pop("subject", "")
    words_of = {**given, "metric": metric, "rule": empty} | ({"prompt": prompt} if prompt else {})
    if subject and len(given) == 3:
        words_of["open"] = "|".join((subject, given["session"], given["structure"], given["segmenter"]))
    return f"{EXPLORER}#{urlencode({**words_of, 'title': words})}"


def explored(attrs: Mapping, row: Mapping[str, object]) -> dict[str, str]:
    """Metric, empty rule and prompt of a comparison's row, as `case_address` takes them."""
    prompt, step = (row.get(k, attrs.get(k)) for k in ("prompt", "step"))
    shown = {"metric": attrs.get("metric", "dice"), "empty": attrs.get("empty", "drop")}
    # a segmenter without a centre click has one protocol, which the explorer finds
    return shown if step is None else {**shown, "prompt": f"{prompt or 'centre'}, {step}"}


def mark_words(row: Mapping[str, object], numbers: str) -> str:
    """Label of a mark: subject, structure and segmenter where it has them, and its numbers."""
    named = [str(row["subject"])] if row.get("subject") else []
    named += [structure_title(str(row["structure"]))] if row.get("structure") else []
    named += [segmenter_title(str(row["segmenter"]))] if row.get("segmenter") else []
    return f"{', '.join(named)}: {numbers}"


def add_targets(ax: Axes, x: Iterable[float], y: Iterable[float], addresses: Iterable[str]) -> None:
    """Lay an unseen target with a link over each mark of a chart."""
    spots = ax.scatter(list(x), list(y), s=_SIZE, color=(0.5, 0.5, 0.5, 0.0), linewidths=0, zorder=9)
    spots.set_urls(list(addresses))
    spots.set_gid("umd-targets")


def keep_numbers(ax: Axes, table: pd.DataFrame) -> None:
    """Keep the table behind a chart with its figure; those of several panels are joined."""
    ax.figure.umd_numbers = [*getattr(ax.figure, "umd_numbers", []), pd.DataFrame(table)]
