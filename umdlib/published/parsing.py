"""The strings that stand in the cells of a printed table, and the numbers in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from umdlib.errors import InputError

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
MISSING = frozenset({"/", "-", "–", "—", ""})
_MEAN_SD = re.compile(rf"^({NUMBER})\s?\(({NUMBER})\)$")
_QUARTILES = re.compile(rf"^({NUMBER})\s?\(({NUMBER})\s?[-–]\s?({NUMBER})\)$")
_ONE = re.compile(rf"^~?({NUMBER})$")


@dataclass(frozen=True)
class Cell:
    """What one printed cell holds.

    Attributes
    ----------
    raw
        The string as printed.
    numbers
        Pairs (statistic, number as printed without thousands separators); empty if nothing is
        printed. Statistics are ``mean, sd``, or ``median, q1, q3``, or ``value``.
    """

    raw: str
    numbers: tuple[tuple[str, str], ...]


def parse_cell(raw: str, *, where: str = "the table") -> Cell:
    """Numbers of one printed cell.

    ``0.7(0.1)`` is a mean and an SD, ``0.9 (0.8–1.0)`` a median and its quartiles, ``75.6`` or
    ``~0.55`` one value, and ``/``, ``-``, ``—`` or nothing at all a cell without a number.

    Examples
    --------
    >>> parse_cell("0.9379 (0.9298–0.9419)").numbers
    (('median', '0.9379'), ('q1', '0.9298'), ('q3', '0.9419'))
    >>> parse_cell("~0.55").numbers
    (('value', '0.55'),)
    >>> parse_cell("/").numbers
    ()

    Raises
    ------
    InputError
        If the string is none of these, an SD without a mean for example; `where` is named.
    """
    text = raw.strip()
    if text in MISSING:
        return Cell(raw, ())
    for pattern, names in (
        (_MEAN_SD, ("mean", "sd")),
        (_QUARTILES, ("median", "q1", "q3")),
        (_ONE, ("value",)),
    ):
        found = pattern.match(text)
        if found:
            printed = (group.replace(",", "") for group in found.groups())
            return Cell(raw, tuple(zip(names, printed, strict=True)))
    raise InputError(
        f"Invalid cell {raw!r} in {where}. Must be 'mean(SD)', 'median (Q1-Q3)', one number, "
        "or a mark for none ('/', '-', '—')."
    )


def half_unit(printed: str) -> float:
    """Half a unit in the last printed place: how far the true value can be from the printed one.

    Examples
    --------
    >>> half_unit("0.7039")
    5e-05
    >>> half_unit("75.6")
    0.05
    """
    decimals = len(printed.split(".")[1]) if "." in printed else 0
    return 0.5 * 10.0**-decimals
