"""Tables of a CSV, Markdown, HTML or LaTeX file as headings, lines of cells and a caption."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

from umdlib.errors import InputError

Grid = tuple[list[str], list[list[str]], str]  # headings, lines, caption
_RULES = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|addlinespace(?:\[[^]]*\])?"
    r"|cmidrule(?:\([^)]*\))?\{[^}]*\}|cline\{[^}]*\}|rowcolor\{[^}]*\}|centering)"
)
_PIPES = re.compile(r"^\s*(\|?\s*:?-{2,}:?\s*(\||$)|\|\s*:?-:?\s*\||:-:?\s*\|)", re.MULTILINE)
_TABULAR = re.compile(r"\\begin\{(tabular[*x]?|longtable|tabulary)\}(.*?)\\end\{\1\}", re.DOTALL)


def grids_of(path: Path) -> list[Grid]:
    """Return every table of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"Cannot read {path}: {reason}.") from None
    if "\\begin{" in text:
        grids = _latex_grids(text)
    elif re.search(r"<table\b.*<t[dh]\b", text, re.DOTALL | re.IGNORECASE):
        grids = _html_grids(text) + (_markdown_grids(text) if _PIPES.search(text) else [])
    elif _PIPES.search(text) and "|" in text:
        grids = _markdown_grids(text)
    else:
        grids = _csv_grids(text)
    grids = [g for g in grids if len(g[0]) > 1 and g[1]]
    if not grids:
        raise InputError(f"{path} holds no table. Must be CSV, a Markdown or HTML table or a LaTeX tabular.")
    return grids


def _csv_grids(text: str) -> list[Grid]:
    """One table; the separator is the one of comma, semicolon and tab that makes most cells."""
    lines = text.splitlines()
    delimiter = max("\t;,", key=lambda d: min((line.count(d) for line in lines if line.strip()), default=0))
    rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(cell.strip() for cell in row)]
    if delimiter != "," and not any(re.search(r"\d\.\d", cell) for row in rows for cell in row):
        rows = [[re.sub(r"(\d),(\d)", r"\1.\2", cell) for cell in row] for row in rows]
    return [_grid(rows, "")] if rows else []


def _markdown_grids(text: str) -> list[Grid]:
    """Pipe tables; the caption is the nearest line of text above."""
    blocks: list[list[str]] = [[]]
    captions, above = [""], ""
    for line in [*text.splitlines(), ""]:
        if "|" in line:
            if not blocks[-1]:
                captions[-1] = above
            blocks[-1].append(line.strip())
        else:
            above = line.strip() or above
            if blocks[-1]:
                blocks.append([])
                captions.append("")
    grids = []
    for block, caption in zip(blocks, captions, strict=True):
        rows = [
            [c.replace("\\|", "|").strip() for c in re.split(r"(?<!\\)\|", line.strip("|"))] for line in block
        ]
        rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
        if rows:
            grids.append(_grid(rows, caption))
    return grids


class _HtmlTables(HTMLParser):
    """Rows of the tables of a page: a cell is (text, columns, rows that it spans)."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, int, int]]]] = []
        self.captions: list[str] = []
        self._text: list[str] | None = None
        self._spans = (1, 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a table, row, cell or caption."""
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr" and self.tables:
            self._close()
            self.tables[-1].append([])
        elif tag in ("td", "th", "caption") and self.tables:
            self._close()
            given = {name: value or "" for name, value in attrs}
            spans = [given.get(name, "1").strip() for name in ("colspan", "rowspan")]
            self._spans = tuple(min(int(n), 100) if n.isdecimal() and int(n) else 1 for n in spans)
            self._text = []
        elif tag == "br" and self._text is not None:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """Close a cell or caption."""
        if tag == "caption" and self._text is not None:
            self.captions[-1], self._text = " ".join("".join(self._text).split()), None
        elif tag in ("td", "th", "tr", "table"):
            self._close()

    def handle_data(self, data: str) -> None:
        """Keep the text of a cell."""
        if self._text is not None:
            self._text.append(data)

    def _close(self) -> None:
        """End the cell that is open."""
        if self._text is not None and self.tables and self.tables[-1]:
            self.tables[-1][-1].append((" ".join("".join(self._text).split()), *self._spans))
        self._text = None


def _html_grids(text: str) -> list[Grid]:
    """Tables of HTML; a cell that spans rows is repeated in the label column, else empty below."""
    parser = _HtmlTables()
    parser.feed(text)
    grids = []
    for table, caption in zip(parser.tables, parser.captions, strict=True):
        rows: list[list[str]] = []
        below: dict[tuple[int, int], str] = {}
        for r, cells in enumerate(table):
            row: list[str] = []
            for cell, columns, spanned in cells:
                while (r, len(row)) in below:
                    row.append(below[r, len(row)])
                below |= {(r + d, len(row) + c): "" for d in range(1, spanned) for c in range(columns)}
                row += [cell, *[""] * (columns - 1)]
            while (r, len(row)) in below:
                row.append(below[r, len(row)])
            if any(row):
                rows.append(row)
        if rows:
            grids.append(_grid(rows, caption))
    return grids


def _latex_grids(text: str) -> list[Grid]:
    r"""Bodies of ``tabular`` and its kin, with the nearest ``\caption``."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    grids = []
    for found in _TABULAR.finditer(text):
        body = _after_groups(found[2], 2 if found[1] in ("tabular*", "tabularx", "tabulary") else 1)
        lines = [
            _RULES.sub("", line).strip() for line in re.split(r"\\\\(?:\[[^]]*\])?|\\tabularnewline", body)
        ]
        rows = [
            [c for cell in re.split(r"(?<!\\)&", line) for c in _spanned(cell.strip())]
            for line in lines
            if line
        ]
        start = text.rfind("\\begin{table", 0, found.start())
        end = text.find("\\end{table", found.end())
        around = text[max(start, 0) : end if end > 0 else len(text)]
        caption = re.search(r"\\caption(?:\[[^]]*\])?", around)
        grids.append(_grid(rows, _group(around[caption.end() :])[0] if caption else ""))
    return grids


def _after_groups(body: str, count: int) -> str:
    """What follows the arguments of an environment, each of which an option in brackets may precede."""
    for _ in range(count):
        body = _group(re.sub(r"^\s*\[[^]]*\]", "", body))[1]
    return body


def _group(text: str) -> tuple[str, str]:
    """The first group in braces, without them, and what follows; nothing and all without one."""
    start = len(text) - len(text.lstrip())
    if not text[start:].startswith("{"):
        return "", text
    depth = 0
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0) if text[i - 1 : i] != "\\" else 0
        if depth == 0:
            return text[start + 1 : i], text[i + 1 :]
    return "", text


def _spanned(cell: str) -> list[str]:
    r"""The cells that ``\multicolumn`` and ``\multirow`` stand for: the text, then empty ones."""
    found = re.match(r"\\multicolumn\s*", cell)
    if found:
        count, rest = _group(cell[found.end() :])
        text = _group(_group(rest)[1])[0]
        inner = _spanned(text.strip())[0]
        return [inner, *[""] * (int(count) - 1 if count.strip().isdigit() else 0)]
    found = re.match(r"\\multirow(?:\[[^]]*\])?\s*", cell)
    if found:
        rest = _group(_group(cell[found.end() :])[1])[1]
        return [_group(rest)[0]]
    return [cell]


def _grid(rows: list[list[str]], caption: str) -> Grid:
    """Headings (several lines joined, spans carried on) and lines of equal length."""
    width = max(map(len, rows))
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    heads = [rows[0]]
    for row in rows[1:]:
        filled = [cell for cell in row if cell.strip()]
        if len(filled) < 2 or any(re.search(r"\d\.\d|\d\s*\(|±|\\pm", cell) for cell in filled):
            break
        if any(re.fullmatch(r"[\d.,%/–—-]+", cell.strip()) for cell in filled):
            break
        heads.append(row)
    if len(heads) > 1 and len(heads) == len(rows):
        heads = heads[:1]
    for upper in heads[:-1]:
        for j in range(2, width):
            upper[j] = upper[j] or upper[j - 1]
    head = [" ".join(dict.fromkeys(h[j].strip() for h in heads if h[j].strip())) for j in range(width)]
    return head, rows[len(heads) :], caption
