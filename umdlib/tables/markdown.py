"""Cells as text: Markdown for the book, plain words for files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from umdlib.labels import MODALITIES, ORGANS
from umdlib.statistics.verdicts import FLOOR
from umdlib.tables.modality_table import MARKS, structure_title
from umdlib.tables.titles import segmenter_title

_ORGANS = {s.name: s.title for s in ORGANS}
# Columns whose names are shown as titles; what is not a name stays as it is.
_TITLES: dict[str, Callable[[str], str]] = {
    "segmenter": segmenter_title,
    "structure": lambda name: _ORGANS.get(name, name),
}
_TESTS = {"mean": "", "holm": " (Holm)", "bh": " (BH)"}
_TESTS |= {"permutation": " (sign-flip)", "wilcoxon": " (Wilcoxon)"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, decimals: int = 3, *, sign: bool = False) -> str:
    """A number with fixed digits and a true minus sign; a dash where it is undefined.

    Examples
    --------
    >>> number(-0.12345), number(0.5, 2, sign=True), number(float("nan"))
    ('−0.123', '+0.50', '–')
    """
    if not np.isfinite(value):
        return "–"
    rounded = round(float(value), decimals) + 0.0
    return f"{rounded:{'+' if sign else ''}.{decimals}f}".replace("-", "−")


def p_text(value: float) -> str:
    """A p-value: three decimals, two digits below 0.01, a bound below 0.0001.

    Examples
    --------
    >>> p_text(0.2), p_text(0.00123), p_text(1e-9), p_text(float("nan"))
    ('0.200', '0.0012', '< 0.0001', '–')
    """
    if not np.isfinite(value):
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def count(n: float, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> count(1, "subject"), count(8, "subject")
    ('1 subject', '8 subjects')
    """
    return f"{n:.0f} {noun}" + ("" if n == 1 else "s")


def interval(estimate: float, low: float = np.nan, high: float = np.nan) -> str:
    """An estimate with its interval, where it has one.

    Examples
    --------
    >>> interval(-0.1, -0.2, 0.05)
    '−0.100 [−0.200, +0.050]'
    """
    centre, *ends = (number(v, sign=True) for v in (estimate, low, high))
    return f"{centre} [{', '.join(ends)}]" if np.isfinite(low) and np.isfinite(high) else centre


def share_text(share: float, low: float, high: float) -> str:
    """A share with its interval, in per cent.

    Examples
    --------
    >>> share_text(0.54, 0.49, 0.63)
    '54 % [49, 63]'
    """
    return f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def gap_text(estimate: float, low: float = np.nan, high: float = np.nan, at_floor: bool = False) -> str:
    """A difference with its interval, and the word of one between two floors.

    Parameters
    ----------
    estimate, low, high
        As of `interval`.
    at_floor
        From `umdlib.statistics.verdicts.at_floor`; a missing one is none.

    Examples
    --------
    >>> gap_text(-0.01, -0.02, 0.0, True)
    '−0.010 [−0.020, +0.000], *not identifiable*'
    """
    text = interval(estimate, low, high)
    return f"{text}, *{FLOOR}*" if pd.notna(at_floor) and bool(at_floor) else text


def intervals(table: pd.DataFrame, *columns: str) -> list[str]:
    """`interval` of each row, from its columns of an estimate and of the two ends.

    Examples
    --------
    >>> intervals(pd.DataFrame({"a": [0.5], "low": [0.25], "high": [0.75]}), "a", "low", "high")
    ['+0.500 [+0.250, +0.750]']
    """
    return [interval(*row) for row in table[list(columns)].itertuples(index=False)]


def gap_texts(table: pd.DataFrame, *columns: str) -> list[str]:
    """`gap_text` of each row; of ``estimate, ci_low, ci_high`` where no other columns are named.

    Examples
    --------
    >>> gap_texts(pd.DataFrame({"gap": [-0.01, -0.2], "at_floor": [True, False]}), "gap")
    ['−0.010, *not identifiable*', '−0.200']
    """
    columns = columns or ("estimate", "ci_low", "ci_high")
    floors = table["at_floor"] if "at_floor" in table else [False] * len(table)
    rows = table[list(columns)].itertuples(index=False)
    return [gap_text(*row, at_floor=floor) for row, floor in zip(rows, floors, strict=True)]


def markdown_table(
    table: pd.DataFrame, formats: Mapping[str, str] | None = None, *, align: Mapping[str, str] | None = None
) -> str:
    """A data frame as a pipe table; numbers to the right, words to the left.

    Parameters
    ----------
    table
        Texts, whole numbers and floats; an undefined float is a dash. Columns named ``segmenter`` or
        ``structure``, in either case, show titles.
    formats
        Format of the floats of a column; two decimals where it is not named.
    align
        ``left`` or ``right`` per column, where it should not follow the type.

    Examples
    --------
    >>> print(markdown_table(pd.DataFrame({"name": ["a"], "n": [3]})))
    | name | n |
    |:--|--:|
    | a | 3 |
    """
    align, formats = align or {}, formats or {}
    sides = [align.get(c, "right" if pd.api.types.is_numeric_dtype(table[c]) else "left") for c in table]
    lines = [
        "| " + " | ".join(inert(str(column)) for column in table.columns) + " |",
        "|" + "".join("--:|" if s == "right" else ":--|" for s in sides),
    ]
    for row in table.itertuples(index=False, name=None):
        cells = [
            _TITLES.get(str(c).lower(), str)(v) if isinstance(v, str) else _text(v, formats.get(c, ".2f"))
            for c, v in zip(table, row, strict=True)
        ]
        lines.append("| " + " | ".join(inert(cell) for cell in cells) + " |")
    return "\n".join(lines)


def inert(text: str) -> str:
    """Text for a cell of a page: Markdown stays, HTML does not, and nothing leaves the cell.

    Every table of the book goes through here: a subject, a column of a manifest or a message of a
    system may hold anything.

    Examples
    --------
    >>> print(inert("**0.9** <script>x</script>"))
    **0.9** &lt;script>x&lt;/script>
    >>> print(inert("a | b"), inert("p < 0.01"), inert("[a](javascript:alert(1))"))
    a \\| b p < 0.01 [a]\\(javascript:alert(1))
    """
    text = re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+", " ", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(
        r"\](?=\(\s*<?\s*(?!https?:|mailto:)[a-z][a-z0-9+.&#;-]*:)", "]\\\\", text, flags=re.IGNORECASE
    )
    return text.replace("|", "\\|")


def _text(value: object, form: str) -> str:
    """A cell: floats in their format with a true minus sign, all else as it is."""
    if not isinstance(value, float | np.floating):
        return str(value)
    return format(float(value), form).replace("-", "−") if np.isfinite(value) else "–"


def numbered_table(
    table: pd.DataFrame | str, caption: str, name: str, formats: Mapping[str, str] | None = None
) -> str:
    """A table in a MyST directive, with a number, a caption and a name to refer to.

    Parameters
    ----------
    table
        A data frame, written by `markdown_table`; or a pipe table as text.

    Examples
    --------
    >>> print(numbered_table(pd.DataFrame({"a": [1.5]}), "What.", "tab-a", {"a": ".1f"}))
    :::{table} What.
    :name: tab-a
    <BLANKLINE>
    | a |
    |--:|
    | 1.5 |
    :::
    """
    written = table if isinstance(table, str) else markdown_table(table, formats)
    return f":::{{table}} {caption}\n:name: {name}\n\n{written}\n:::"


def with_footnotes(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """A table whose notes are raised numbers in its first column, and the notes below it.

    Parameters
    ----------
    table
        Texts; without a column ``note`` there are no notes.

    Returns
    -------
    tuple
        The table without that column, and a line of Markdown with each distinct note once; empty
        where there is none.

    Examples
    --------
    >>> shown, notes = with_footnotes(pd.DataFrame({"a": ["x", "y", "z"], "note": ["n", "", "n"]}))
    >>> shown["a"].tolist(), notes
    (['x ¹', 'y', 'z ¹'], '¹ n.')
    """
    if "note" not in table:
        return table, ""
    notes = [str(v) for v in table["note"]]
    kept = [n for n in dict.fromkeys(notes) if n]
    marks = {n: str(i).translate(_RAISED) for i, n in enumerate(kept, 1)}
    shown = table.drop(columns="note")
    first = shown.columns[0]
    shown[first] = [f"{v} {marks.get(n, '')}".strip() for v, n in zip(shown[first], notes, strict=True)]
    return shown, " ".join(f"{m} {n.rstrip('.')}." for n, m in marks.items())


def reason_table(sentence: str) -> str:
    """One-cell table with the reason why there are no rows.

    Examples
    --------
    >>> print(reason_table("No specialist was scored."))
    | note |
    |:--|
    | No specialist was scored. |
    """
    return markdown_table(pd.DataFrame({"note": [sentence]}))


def laid_out(table: pd.DataFrame, layout: Callable[[pd.DataFrame], pd.DataFrame], none: str) -> str:
    """A table as ``layout`` arranges it, in Markdown; the sentence `none` where it has no rows.

    Examples
    --------
    >>> print(laid_out(pd.DataFrame({"n": []}), lambda t: t, "No pairs."))
    | note |
    |:--|
    | No pairs. |
    """
    return markdown_table(layout(table)) if len(table) else reason_table(none)


def cell_text(cell: pd.Series, form: str) -> str:
    """Value and spread of one cell as plain text, or the word that says why there is none."""
    if cell["state"]:
        return str(cell["state"])
    value = number(cell["value"])
    if not np.isfinite(cell["high"]):
        return value
    if form == "mean":
        return f"{value} ({number(cell['high'] - cell['value'])})"
    return f"{value} ({number(cell['low'])}–{number(cell['high'])})"


def symbol(cell: pd.Series) -> str:
    """The dagger of a marked cell; in brackets the one that is lost to the correction."""
    daggers = {name: dagger for _, name, dagger in MARKS}
    sure, raw = (daggers.get(cell[c], "") for c in ("mark", "mark_uncorrected"))
    return f"{sure} ({raw})".strip() if raw and raw != sure else sure


def _markdown_cell(cell: pd.Series, form: str) -> str:
    """One cell in MyST Markdown, with its mark, its weight, and its count of failures."""
    text = cell_text(cell, form)
    if cell["state"]:
        return f"[{text}]{{.cell-state}}"
    if cell["best"]:
        text = f"**{text}**"
    if symbol(cell):
        text = f"{text} {symbol(cell)}"
    if cell["mark"]:
        text = f"[{text}]{{.{cell['mark']}}}"
    if cell["n_failed"] > 0:
        text += f" [{int(cell['n_failed'])} failed]{{.cell-note}}"
    if cell["at_floor"] and cell["modality"] == "PET":
        text += f" [{FLOOR}]{{.cell-note}}"
    return text


def grid(cells: pd.DataFrame, write: object) -> pd.DataFrame:
    """Cells laid out as in the papers: structures down, two lines each, segmenters across.

    Parameters
    ----------
    cells
        From `umdlib.tables.modality_table`.
    write
        Function from a cell to its text.

    Returns
    -------
    pandas.DataFrame
        Columns ``Structure``, ``Modality``, ``n`` and one per segmenter, all text.
    """
    segmenters = list(dict.fromkeys(cells["segmenter"]))
    lines = []
    for (structure, modality), rows in cells.groupby(["structure", "modality"], sort=False):
        by_segmenter = rows.set_index("segmenter")
        first = MODALITIES[modality].structural
        title = "All structures" if structure == "all" else structure_title(structure)
        line = {
            "Structure": title if first else "",
            "Modality": modality,
            "n": _n_range(rows) if first else "",
        }
        for name in segmenters:
            line[name] = write(by_segmenter.loc[name]) if name in by_segmenter.index else "–"
        lines.append(line)
    return pd.DataFrame(lines)


def _n_range(rows: pd.DataFrame) -> str:
    """Number of subjects of a line: one number, or the range over its segmenters."""
    n = rows.loc[rows["state"].eq(""), "n_subjects"]
    if n.empty:
        return "0"
    return str(n.min()) if n.min() == n.max() else f"{n.min()}–{n.max()}"


def to_markdown(
    cells: pd.DataFrame, *, beside: Mapping[str, Mapping[tuple[str, str], str]] | None = None
) -> str:
    """The cells of `modality_table` as a pipe table with classes on the marked cells.

    Parameters
    ----------
    cells
        From `umdlib.tables.modality_table`.
    beside
        Further columns at the right: title -> (structure, modality) -> text, such as
        `umdlib.tables.ceilings.columns`.

    Returns
    -------
    str
        Two lines per structure, structural modality first; a marked cell is
        ``[0.569 (0.139) ‡]{.sig-4}``, the best one bold. Failures are counted in the cell.
    """
    form = cells.attrs.get("form", "mean")
    table = grid(cells, lambda c: _markdown_cell(c, form))
    # a line of its own for each modality: rows can be sorted and filtered
    table["Structure"] = table["Structure"].replace("", None).ffill()
    table = table.rename(columns={s: segmenter_title(s) for s in cells["segmenter"].unique()})
    lines = [key for key, _ in cells.groupby(["structure", "modality"], sort=False)]
    for title, texts in (beside or {}).items():
        table[title] = [texts.get(line, "") for line in lines]
    right = dict.fromkeys([c for c in table if c not in ("Structure", "Modality")], "right")
    return markdown_table(table, align=right)


def reasons(cells: pd.DataFrame) -> str:
    """Why cells have no value: one line per segmenter and reason, as a Markdown list.

    Returns
    -------
    str
        Empty where every cell has a value.
    """
    gone = cells[cells["state"].ne("")]
    lines = []
    for (segmenter, note), rows in gone.groupby(["segmenter", "note"], sort=False):
        names = [structure_title(s) for s in dict.fromkeys(rows["structure"]) if s != "all"]
        every = len(names) == cells.loc[cells["structure"].ne("all"), "structure"].nunique()
        where = "" if every else " (" + ", ".join(names) + ")"
        lines.append(f"- {segmenter_title(segmenter)}{where}: {note}")
    return "\n".join(lines)


def comparison_table(comparisons: pd.DataFrame, *, detail: str = "main") -> pd.DataFrame:
    """Comparisons as a table of texts for the book.

    Parameters
    ----------
    comparisons
        From `umdlib.statistics.comparison.compare`.
    detail
        ``main``: difference, interval, p-values, note; ``effects``: effect sizes and equivalence.

    Returns
    -------
    pandas.DataFrame
        Text columns, one row per comparison.
    """
    table = pd.DataFrame({"Segmenter": comparisons["segmenter"]})
    if "structure" in comparisons:
        table["Structure"] = [structure_title(s) for s in comparisons["structure"]]
    table["n"] = comparisons["n_pairs"].astype(int)
    if detail == "effects":
        table["median"] = intervals(comparisons, "median", "median_low", "median_high")
        table["p (median)"] = [p_text(v) for v in comparisons["p_median"]]
        table["Hodges–Lehmann"] = intervals(comparisons, "hl", "hl_low", "hl_high")
        for column, title in (("rank_biserial", "rank-biserial"), ("d_z", "d_z")):
            table[title] = [number(v, 2, sign=True) for v in comparisons[column]]
        table["p (within the margin)"] = [p_text(v) for v in comparisons["p_equivalence"]]
        table["verdict"] = comparisons["verdict"].to_numpy()
        table["detectable"] = [number(v) for v in comparisons["smallest_detectable"]]
    else:
        table["mean difference [95 %]"] = gap_texts(comparisons)
        for name, title in _TESTS.items():
            table[f"p{title}"] = [p_text(v) for v in comparisons[f"p_{name}"]]
    table["note"] = comparisons["note"].fillna("").to_numpy()
    return table if table["note"].ne("").any() else table.drop(columns="note")
