"""The strings in the cells of a printed table, and the numbers in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from umdlib.errors import InputError

_PLAIN = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
NUMBER = rf"(?:[-+]?{_PLAIN}|nan)"
MISSING = frozenset(
    {"", "/", "-", "--", "---", "–", "—", "−", "n/a", "na", "n.a.", "nan", "none", "inf", "∞"}
)
MISSING |= {"n/r", "nr", "n.r.", "oom", "tbd", "x", "×", "✓", "✔", "✗", "✘"}
_TO = r"\s*(?:--?|–|—|,|;|to)\s*"
_CI = r"(?:\d+\s?%?\s?)?(?:CI|confidence interval)[:=,]?\s*"
_IQR = r"(?:IQR|Q1\s?[-–]\s?Q3)[:=,]?\s*"
_PAIR = rf"({NUMBER}){_TO}({NUMBER})"
# Patterns in the order in which they are tried; per cent signs are taken out before.
_FORMS: tuple[tuple[re.Pattern, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), names)
    for pattern, names in (
        (rf"^\(?({NUMBER})\s*±\s*({NUMBER})\)?$", ("mean", "sd")),
        (rf"^({NUMBER})\s*±\s*({NUMBER})\s*[(\[]{_CI}{_PAIR}[)\]]$", ("mean", "sd", "lower", "upper")),
        (rf"^({NUMBER})\s*±\s*({NUMBER})\s*\[{_PAIR}\]$", ("mean", "sd", "lower", "upper")),
        (rf"^({NUMBER})\s*\(\s*(?:SD[:=]?\s*|±\s*)?((?:{_PLAIN}|nan))\)$", ("mean", "sd")),
        (rf"^({NUMBER})_({_PLAIN})$", ("mean", "sd")),
        (rf"^({NUMBER})\s*[(\[]{_IQR}({NUMBER})[)\]]$", ("median", "iqr")),
        (rf"^({NUMBER})\s*[(\[]{_IQR}{_PAIR}[)\]]$", ("median", "q1", "q3")),
        (rf"^({NUMBER})\s*[(\[]{_CI}{_PAIR}[)\]]$", ("mean", "lower", "upper")),
        (rf"^({NUMBER})\s*\({_PAIR}\)$", ("median", "q1", "q3")),
        (rf"^({NUMBER})\s*\[{_PAIR}\]$", ("mean", "lower", "upper")),
        (rf"^~?({NUMBER})$", ("value",)),
    )
)
# What stands behind a number and says nothing of its spread: counts, n, a p-value, the gain over another row.
_BEHIND = re.compile(
    rf"\s*(?:[(\[]\d+\s*(?:/|of)\s*\d+[^)\]]*[)\]]|\(n\s*=\s*\d+\)|\(?p\s*[<=>≤]\s*[\d.]+(?:e-?\d+)?\)?"
    rf"|[(\[]\s*[-+]\s*{_PLAIN}\s*[)\]]|[(\[]?\s*[↑↓▲▼△▽]\s*[-+]?{_PLAIN}\s*[)\]]?|_[-+]{_PLAIN})$",
    re.IGNORECASE,
)
# A rank or footnote in brackets: an SD has the decimals of its mean.
_RANK = re.compile(r"(?<=\d)(?P<decimals>\.\d+)\s*\(\d\)$")
# 33 (84.6%): how many, and their share; 0,85: a decimal comma; 0.90-0.92 and <0.9: no single number.
_COUNTED = re.compile(rf"^\d+\s*\(({_PLAIN})\s?%\)$")
_COMMA = re.compile(r"^\(?[-+~]?\d{1,3},\d{1,2}(?!\d)")
_SPAN = re.compile(rf"^(?:~?{NUMBER}\s*(?:--?|–|—|to)\s*{_PLAIN}|[<>≤≥]\s*{NUMBER})$", re.IGNORECASE)
# What a heading says about the brackets below it.
_OTHER_KIND = {
    "median": {("mean", "lower", "upper"): ("median", "q1", "q3"), ("mean", "sd"): ("median", "iqr")},
    "interval": {("median", "q1", "q3"): ("mean", "lower", "upper")},
}
_MARKUP = re.compile(
    r"<[^>]*>|\\textsuperscript\{[^}]*\}|\\(?:uparrow|downarrow|num)\b|\\(?:text|cell|row)?color(?:\[[^]]*\])?\{[^}]*\}|\\(?:textbf|textit|underline|mathbf|emph|bf|mathrm|text|small|footnotesize)\b|\\[,;!]|[{}$*†‡§]"
    r"|\^\\?\w+|__"
)


@dataclass(frozen=True)
class Cell:
    """Contents of one printed cell.

    Attributes
    ----------
    raw
        The string as printed.
    numbers
        Pairs (statistic, number as printed without thousands separators); empty if nothing is
        printed. Statistics are ``mean, sd``, or ``median, q1, q3``, or ``median, iqr`` (the width),
        or ``mean, lower, upper`` (an interval), or ``value``.
    per_cent
        Whether the cell has a per cent sign.
    """

    raw: str
    numbers: tuple[tuple[str, str], ...]
    per_cent: bool = False


def parse_cell(raw: str, *, where: str = "the table", kind: str = "") -> Cell:
    """Read the numbers of one printed cell.

    Parameters
    ----------
    raw
        ``0.7(0.1)`` and ``0.7 ± 0.1`` are a mean and an SD, ``0.9 (0.8–1.0)`` a median and its
        quartiles, ``0.9 [0.8, 1.0]`` a mean and an interval, ``75.6`` or ``~0.55`` one value; ``/``,
        ``-``, ``—``, ``n/a``, ``nan`` or nothing at all is a cell without a number, and so are a span
        (``0.90-0.92``) and a bound (``<0.9``). Per cent signs, bold type and marks of significance may stand
        anywhere; a gain ``(+0.02)``, a rank ``(1)``, counts ``(170/186)`` and a p-value are not a spread.
    where
        Named in the error.
    kind
        ``median`` or ``interval`` where a heading says what the brackets are; else the form decides.

    Raises
    ------
    InputError
        If the string has none of these forms.

    Examples
    --------
    >>> parse_cell("0.9379 (0.9298–0.9419)").numbers
    (('median', '0.9379'), ('q1', '0.9298'), ('q3', '0.9419'))
    >>> parse_cell("84.9 % ± 8.2 %")
    Cell(raw='84.9 % ± 8.2 %', numbers=(('mean', '84.9'), ('sd', '8.2')), per_cent=True)
    >>> parse_cell("~0.55").numbers
    (('value', '0.55'),)
    >>> parse_cell("/").numbers, parse_cell("0.85 (+0.02)").numbers
    ((), (('value', '0.85'),))
    """
    text = _bare(raw)
    per_cent = "%" in re.sub(_CI, "", text)
    if counted := _COUNTED.match(text):
        return Cell(raw, (("value", counted[1]),), True)
    text = re.sub(r"\s*%|(?<=\d)\s*(?:mm|ml|cm3|s|sec)\b", "", text).strip()
    text = _RANK.sub(r"\g<decimals>", _BEHIND.sub("", text))
    if text.lower() in MISSING or _SPAN.match(text):
        return Cell(raw, (), per_cent)
    for pattern, names in _FORMS:
        found = pattern.match(text)
        if found:
            names = _OTHER_KIND.get(kind, {}).get(names, names)
            printed = (group.replace(",", "") for group in found.groups())
            pairs = zip(names, printed, strict=True)
            return Cell(raw, tuple((n, p) for n, p in pairs if p.lower() != "nan"), per_cent)
    raise InputError(
        f"Invalid cell {raw!r} in {where}. Must be 'mean(SD)', 'mean ± SD', 'median (Q1-Q3)', "
        "'mean [low, high]', one number, or a mark for none ('/', '-', '—', 'n/a')."
    )


def _bare(raw: str) -> str:
    """A cell without markup, macros, footnotes and decimal commas."""
    text = plain_text(re.sub(r"\\(?:approx|sim)\b", "~", raw))
    text = re.sub(r"\\[A-Za-z]+\*?|\^|(?<!cm)[²³¹⁰-⁹ᵃ-ᶻ]", "", text).replace("cm³", "cm3")
    text = re.sub(r"(?<=\d)·(?=\d)", ".", text)
    text = re.sub(r"(\d\.\d+)[a-d](?:,?[a-d])?(?![A-Za-z])", r"\1", text)
    text = re.sub(r"_\s*±", " ±", text).strip()
    text = re.sub(r"(?<![\d.,])\d{1,3}(?:[ '’]\d{3})+(?![\d])", lambda m: re.sub(r"\D", "", m[0]), text)
    if "." not in text and _COMMA.match(text):
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    return re.sub(r"\s+", " ", text)


def plain_text(raw: str) -> str:
    r"""Return the text of a cell without markup of Markdown, HTML or LaTeX.

    Examples
    --------
    >>> plain_text(r"$\mathbf{0.85} \pm 0.10$"), plain_text("**0.85**†"), plain_text(r"85\,\%")
    ('0.85 ± 0.10', '0.85', '85%')
    """
    text = re.sub(r"\\pm|\+/-|\+-|&plusmn;", "±", raw).replace("\\%", "%").replace("−", "-")
    text = re.sub(r"(?<=[\w%}])~|&nbsp;|\u00a0|\u2009|\u202f", " ", text)
    return re.sub(r"\s+", " ", _MARKUP.sub("", text)).strip()


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
