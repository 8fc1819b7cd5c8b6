"""Tables written to files: CSV, LaTeX, XLSX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.tables.markdown import cell_text, grid, symbol

_SHADES = {"sig-2": ("0.88", "E0E0E0"), "sig-4": ("0.70", "B3B3B3")}  # LaTeX grey, XLSX colour

_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash ", "~": r"\textasciitilde ", "^": r"\textasciicircum ", "–": "--", "−": "$-$"}
)


def export(cells: pd.DataFrame, path: str | Path) -> None:
    """Write the cells of `umdlib.tables.modality_table` by the ending of `path`.

    Parameters
    ----------
    cells
        From `modality_table`.
    path
        ``.csv``: one line per cell, full precision; ``.tex``: a booktabs table with shaded cells
        (packages booktabs and colortbl); ``.xlsx``: the laid out table and the cells, two sheets.

    Raises
    ------
    InputError
        If the ending is another one, or openpyxl is needed and not installed.
    """
    path = Path(path)
    writers = {".csv": _csv, ".tex": _latex, ".xlsx": _xlsx}
    if path.suffix not in writers:
        raise unknown_name("table format", path.suffix, writers)
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[path.suffix](cells, path)


def inert_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts no spreadsheet takes for formulas: those get a quotation mark in front.

    Examples
    --------
    >>> inert_cells(pd.DataFrame({"a": ["=1+1", "@SUM(A1)", "sub-001", "-0.5"]}))["a"].tolist()
    ["'=1+1", "'@SUM(A1)", 'sub-001', '-0.5']
    """
    table = table.rename(columns=_inert)
    for column in table.columns[[not pd.api.types.is_numeric_dtype(t) for t in table.dtypes]]:
        changed = {v: new for v in table[column].unique() if (new := _inert(v)) is not v}
        table[column] = table[column].replace(changed) if changed else table[column]
    return table


def _inert(value: object) -> object:
    """A text that begins like a formula, quoted; numbers and all else as they are."""
    if not isinstance(value, str) or not value.lstrip().startswith(("=", "+", "-", "@")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _csv(cells: pd.DataFrame, path: Path) -> None:
    """One line per cell."""
    inert_cells(cells).to_csv(path, index=False, lineterminator="\n")


def latex(text: str) -> str:
    r"""Text with LaTeX's special characters escaped.

    Examples
    --------
    >>> print(latex("region_growing – 5 %"))
    region\_growing -- 5 \%
    """
    return text.translate(_LATEX)


def _latex(cells: pd.DataFrame, path: Path) -> None:
    """A booktabs table; the legend becomes its caption."""
    form = cells.attrs.get("form", "mean")

    def write(cell: pd.Series) -> str:
        text = latex(cell_text(cell, form))
        text = rf"\textbf{{{text}}}" if cell["best"] else text
        dagger = symbol(cell).replace("†", r"$^\dagger$").replace("‡", r"$^\ddagger$")
        shade = rf"\cellcolor[gray]{{{_SHADES[cell['mark']][0]}}}" if cell["mark"] else ""
        return shade + text + dagger

    table = grid(cells, write)
    names = " & ".join(latex(c) for c in table.columns)
    lines = [rf"\begin{{tabular}}{{lll{'r' * (len(table.columns) - 3)}}}", r"\toprule"]
    lines += [names + r" \\", r"\midrule"]
    head = list(table.columns[:3])
    for row in table.to_dict("records"):
        texts = [latex(row[c]) if c in head else row[c] for c in table.columns]
        lines.append(" & ".join(texts) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", "% " + cells.attrs.get("legend", "")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _xlsx(cells: pd.DataFrame, path: Path) -> None:
    """A sheet as printed, with shades, and a sheet of the numbers."""
    try:
        from openpyxl import Workbook
        from openpyxl.styles import Font, PatternFill
    except ImportError:
        raise InputError(f"Writing {path} needs openpyxl: pip install openpyxl.") from None
    form = cells.attrs.get("form", "mean")
    text = grid(cells, lambda c: f"{cell_text(c, form)} {symbol(c)}".strip())
    marks = grid(cells, lambda c: c["mark"]).to_numpy()
    best = grid(cells, lambda c: "best" if c["best"] else "").to_numpy()
    book = Workbook()
    sheet = book.active
    sheet.title = "table"
    text = inert_cells(text)
    sheet.append(list(text.columns))
    for line in text.to_numpy().tolist():
        sheet.append(line)
    for i, j in np.ndindex(marks.shape):
        cell = sheet.cell(row=i + 2, column=j + 1)
        if j > 2 and marks[i, j] in _SHADES:
            cell.fill = PatternFill("solid", start_color=_SHADES[marks[i, j]][1])
        if best[i, j] == "best":
            cell.font = Font(bold=True)
    for name in [c.column_letter for c in sheet[1]]:
        sheet.column_dimensions[name].width = 18
    sheet.freeze_panes = "D2"
    sheet.append([])
    sheet.append([cells.attrs.get("legend", "")])
    numbers = book.create_sheet("cells")
    cells = inert_cells(cells)
    numbers.append(list(cells.columns))
    for line in cells.astype(object).where(cells.notna(), None).to_numpy().tolist():
        numbers.append(line)
    book.save(path)
