"""A table of any paper, from a CSV, Markdown or LaTeX file, as `umdlib.published.read` gives the papers' own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.published.checks import AVERAGE
from umdlib.published.grids import grids_of
from umdlib.published.parsing import MISSING, Cell, half_unit, parse_cell, plain_text
from umdlib.published.scales import PER_CENT, SCALES, check_metric, check_unit, metric_named

_AVERAGE_ROW = re.compile(r"^(avg|average|mean|overall|all)\b", re.IGNORECASE)
_AVERAGE_COLUMN = re.compile(r"^(avg|average|mean|overall|all)\.?( (dsc|dice|nsd|score))?$", re.IGNORECASE)
_OF_ONE = re.compile(r"^(min|max|minimum|maximum|lowest|highest|median|range|q[13])\b", re.IGNORECASE)
_SPREAD_ROW = re.compile(r"^(sd|std|standard deviation)\b", re.IGNORECASE)
_N_COLUMN = re.compile(
    r"^(#\s*|n\s+|no\.? of |number of )?(n|(test )?cases|subjects|patients|scans|samples|exam(ination)?s|studies)"
    r"( \(?n\)?)?$",
    re.IGNORECASE,
)
# Columns and rows of numbers that are no score: held against the range of a metric they would be false alarms.
_ASIDE = re.compile(
    r"^(#(?!\s*\d)|no\.? of |number of )|param(eter)?s?\b|flops\b|^macs\b|^(gpu|peak)\b|^mem(ory)?\b|^vram|^fps"
    r"|^p$|\bp[- ]?values?\b|^[Δδ∆]|^delta\b|improvement$|^gains?$|^diff(erence)?s?\.?$|^(relative )?change$"
    r"|^gap$|^years?$|^epochs?$|\brank(ing)?$|^size$|^images$|^resolution$|^iterations?$|^ref(erence)?\.?$|^speed\b"
    r"|speed-?up|\bvs\.?\s|^cohen|^effect size|\((mm|ml|cc|s|sec|min|ms|h|gb|mb|m|g|k|years?)\)$",
    re.IGNORECASE,
)
_SPREAD_COLUMN = re.compile(r"(?:^|[\s_(])(sd|std|stdev|standard deviation|±)\)?\.?$", re.IGNORECASE)
_MEAN_WORD = re.compile(r"(?:^|[\s_(])(mean|average|avg)\)?\.?$", re.IGNORECASE)
_POINTS = re.compile(r"[(,]?\s*(\d+)\s*-?(?:p|pts?|points?|clicks?)\b\)?", re.IGNORECASE)
# 95% CI, 95 % confidence interval, 95% HD: a level, no unit.
_LEVEL = re.compile(
    r"\d+(\.\d+)?\s*%(?=\s*-?\s*(c\.?i\b|conf|percentile|hd\b|hausdorff|quantile|limits?\b))", re.IGNORECASE
)
_NUMERIC = re.compile(
    r"[-+−~≈<>≤≥(\[]*\s*(\d*[.,·])?\d+(?![.,·\d])(\s*[^\sA-Za-z]|$|e[-+]?\d)", re.IGNORECASE
)
_KINDS = {"median": r"\bmedian\b|\biqr\b|quartile", "interval": r"\bci\b|confidence interval"}


@dataclass(frozen=True)
class Reading:
    """Settings of the reading of a foreign table.

    Attributes
    ----------
    metric
        Metric of the columns whose heading names none, in the user's words.
    unit
        Its unit; ``auto`` takes per cent where a sign says so, or where most numbers of a share are
        above 1.
    n
        Subjects: one number, or by the label of a row, a column or a section (``""`` for all others).
    kind
        ``median`` or ``interval`` where the brackets are that; ``auto`` follows headings and forms.
    which
        Which table of the file, counted from 1.
    """

    metric: str = "dice"
    unit: str = "auto"
    n: int | Mapping[str, int] = 0
    kind: str = "auto"
    which: int = 1


def read_table(path: str | Path, reading: Reading = Reading()) -> pd.DataFrame:
    """Read a printed table of any paper.

    Labels stand in the first column (and in others that hold words), systems or metrics in the first
    row. A row with one filled cell heads a section. A row or a column called *average*, *mean* or
    *overall* is the average of the others; a column called *n* gives the subjects of each row; *(3p)*
    or *5 clicks* in a label is the prompt.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.md`` or ``.tex``; other endings are read as what they hold.
    reading
        What the file does not say.

    Returns
    -------
    pandas.DataFrame
        As `umdlib.published.read`, with a column `n`; ``attrs["reading"]`` holds, in sentences, what was
        taken for granted.

    Raises
    ------
    InputError
        If the file holds no table, no number, or a cell that is none of the forms of `parse_cell`.
    """
    grids = grids_of(Path(path))
    if not 1 <= reading.which <= len(grids):
        raise InputError(f"{path} holds {len(grids)} tables; there is no table {reading.which}.")
    head, body, caption = grids[reading.which - 1]
    table = _Table(Path(path).name, head, body, caption, reading)
    frame = pd.DataFrame(table.records())
    if frame.empty or frame["value"].isna().all():
        raise InputError(f"{path} holds no number in table {reading.which}.")
    _check_labels_of_n(table, frame, reading.n)
    frame = _with_units(frame, reading)
    frame.attrs["reading"] = table.sentences(frame)
    return frame


def _check_labels_of_n(table: _Table, frame: pd.DataFrame, n: int | Mapping[str, int]) -> None:
    """Refuse a number of subjects for a row, column or section that the table has not."""
    labels = dict.fromkeys([*frame["row"], *frame["column"], *frame["section"]])
    for label in () if isinstance(n, int) else n:
        if label and label not in labels:
            raise unknown_name(f"row, column or section of {table.name}", label, filter(None, labels))


class _Table:
    """Headings and lines of one table, and what each column and line is."""

    def __init__(self, name: str, head: list[str], body: list[list[str]], caption: str, reading: Reading):
        head, body, self.joined = _with_spreads([plain_text(h) for h in head], body)
        self.name, self.body, self.caption, self.reading = name, body, caption, reading
        self.head = _distinct([h or f"column {j + 1}" for j, h in enumerate(head)])
        self.metric = check_metric(reading.metric)
        self.n_column = next((j for j, h in enumerate(self.head) if j and _N_COLUMN.match(h)), None)
        numbers = [j for j in range(1, len(head)) if j != self.n_column and self._holds_numbers(j)]
        self.aside = [j for j in numbers if _ASIDE.search(self.head[j]) and not metric_named(self.head[j])]
        self.values = [j for j in numbers if j not in self.aside]
        if not self.values:
            raise InputError(f"No column of {name} holds numbers below its heading.")
        self.labels = [j for j in range(len(head)) if j not in numbers and j != self.n_column]
        self.unread = {self.head[j]: cell for j in self.labels if j and (cell := self._unread(j))}
        labels = [plain_text(row[0]) for row in body]
        self.rows_aside: list[str] = []
        self.by_row = self._rows_are_metrics(labels)
        self.rows_averaged = any(map(_AVERAGE_ROW.match, labels))
        columns = [j for j in self.values if _AVERAGE_COLUMN.match(self.head[j])]
        of_one = any(_OF_ONE.match(self.head[j]) for j in self.values)  # beside it, a mean is that of its row
        self.transposed = bool(columns) and not self.rows_averaged and len(self.values) > 2 and not of_one

    def _holds_numbers(self, j: int) -> bool:
        """Whether most filled cells of a column are numbers."""
        filled = [row[j] for row in self.body if plain_text(row[j]).lower() not in MISSING]
        good = sum(_parses(text) for text in filled)
        return good > 0 and good * 2 >= len(filled)

    def _unread(self, j: int) -> str:
        """First cell of a column that looks like numbers and is not read as such."""
        filled = [cell for row in self.body if (cell := plain_text(row[j])).lower() not in MISSING]
        found = [cell for cell in filled if _NUMERIC.match(cell) and not cell.isdigit()]
        return found[0] if len(found) * 2 >= len(filled) > 0 else ""

    def _rows_are_metrics(self, labels: list[str]) -> bool:
        """Whether rows, and no columns, name metrics: two of them at least, and not the losses of a training."""
        found = {metric_named(label) for label in labels} - {None}
        losses = re.search("loss", f"{self.head[0]} {self.caption}", re.IGNORECASE)
        return len(found) > 1 and not losses and not any(metric_named(self.head[j]) for j in self.values)

    def _kind(self, j: int) -> str:
        if self.reading.kind != "auto":
            return self.reading.kind
        text = f"{self.head[j]} {self.caption}"
        return next((k for k, words in _KINDS.items() if re.search(words, text, re.IGNORECASE)), "")

    def records(self) -> list[dict]:
        """One record per number, one without a number for each other cell."""
        out, label, section, line, row_line = [], "", "", 0, 0
        several = any(not plain_text(row[0]) and self._numbers(row) for row in self.body)
        for row in self.body:
            own = plain_text(row[0])
            if own and not any(plain_text(cell) for cell in row[1:]):
                section, label = own, ""
                continue
            if _SPREAD_ROW.match(own) or not self._numbers(row):
                continue
            if (_ASIDE.search(own) or _N_COLUMN.match(own)) and not metric_named(own):
                self.rows_aside.append(own)
                continue
            line += 1
            row_line = 1 if own else row_line + 1
            label = f"{self.head[0]} {own}" if own.isdigit() else own or label
            rest = [plain_text(row[j]) for j in self.labels if j and plain_text(row[j])]
            common = {"line": line, "row": ", ".join([label, *rest]) or f"line {line}", "row_line": row_line}
            common |= {"section": section, "modality": f"line {row_line}" if several else ""}
            for j in self.values:
                out += self._cell(row, j, common)
        return out

    def _numbers(self, row: list[str]) -> bool:
        return any(plain_text(row[j]) for j in self.values)

    def _cell(self, row: list[str], j: int, common: dict) -> list[dict]:
        column = self.head[j]
        where = f"{self.name}, row '{common['row']}', column '{column}'"
        cell: Cell = parse_cell(row[j], where=where, kind=self._kind(j))
        structure, model = (column, common["row"]) if self.transposed else (common["row"], column)
        average = _AVERAGE_COLUMN if self.transposed else _AVERAGE_ROW
        points = _POINTS.search(model)
        record = {
            "paper": "",
            "table": self.name,
            **common,
            "column": column,
            "cohort": common["section"] or "table",
            "session": "",
            "structure": AVERAGE if average.match(structure) else structure,
            "model": model,
            "segmenter": (_POINTS.sub("", model) if points else model).strip(),
            "prompt": f"{points[1]} points" if points else "",
            "metric": metric_named(column)
            or (metric_named(common["row"]) if self.by_row else None)
            or metric_named(common["section"])
            or self.metric,
            "unit": PER_CENT if cell.per_cent or "%" in _LEVEL.sub("", column) else "",
            "raw": plain_text(row[j]),
            "n": self._n(row, common, column),
        }
        none = ({"statistic": "none", "printed": "", "value": np.nan, "half_unit": np.nan},)
        numbers = [
            {"statistic": s, "printed": p, "value": float(p), "half_unit": half_unit(p)}
            for s, p in cell.numbers
        ]
        return [{**record, **number} for number in numbers or none]

    def _n(self, row: list[str], common: dict, column: str) -> int:
        if self.n_column is not None and plain_text(row[self.n_column]).isdigit():
            return int(plain_text(row[self.n_column]))
        n = self.reading.n
        if isinstance(n, int):
            return n
        keys = (common["row"], column, common["section"], "")
        return next((int(n[k]) for k in keys if k in n), 0)

    def sentences(self, frame: pd.DataFrame) -> list[str]:
        """Say what was taken for granted."""
        lines = frame["line"].nunique()
        sentences = [f"{lines} lines and {len(self.values)} columns of numbers."]
        if self.joined:
            sentences.append(f"{self.joined} columns of SDs belong to the columns before them.")
        if aside := [*(self.head[j] for j in self.aside), *self.rows_aside]:
            sentences.append(f"No scores, left out: {', '.join(aside)}.")
        sentences += [f"Not read: column {name}, such as '{cell}'." for name, cell in self.unread.items()]
        spans = frame[frame["statistic"].eq("none") & frame["raw"].str.contains(r"\d", regex=True)]
        if len(spans):
            sentences.append(f"{len(spans)} cells hold no single number, such as '{spans['raw'].iloc[0]}'.")
        kinds = {"sd": "number after ± or in brackets: SD", "q1": "pair in brackets: quartiles"}
        kinds |= {
            "iqr": "number in brackets: width between the quartiles",
            "lower": "pair in brackets: an interval",
        }
        sentences += [f"Read as {text}." for s, text in kinds.items() if (frame["statistic"] == s).any()]
        for (metric, unit), own in frame.groupby(["metric", "unit"], sort=False):
            columns = dict.fromkeys(own["column"])
            named = ", ".join(columns) if len(columns) <= 6 else f"{len(columns)} columns"
            sentences.append(f"{named}: {metric} in {unit}.")
        side = "columns" if self.transposed else "rows"
        if (frame["structure"] == AVERAGE).any():
            sentences.append(f"The average is that of the other {side}.")
        sizes = sorted(set(frame["n"]))
        sentences.append(
            "n is not known for every cell." if 0 in sizes else f"n: {', '.join(map(str, sizes))}."
        )
        return sentences


def _with_spreads(head: list[str], body: list[list[str]]) -> tuple[list[str], list[list[str]], int]:
    """Put columns of SDs into those of their means; how many there were."""
    body, head, spreads = [list(row) for row in body], list(head), []
    for j in range(2, len(head)):
        found = _SPREAD_COLUMN.search(head[j])
        before = _MEAN_WORD.sub("", head[j - 1]).strip(" _")
        if found is None or head[j][: found.start()].strip(" _(").lower() not in ("", before.lower()):
            continue
        both = [row for row in body if _parses(row[j - 1]) and _parses(row[j])]
        for row in both:
            row[j - 1] = f"{row[j - 1]} ± {row[j]}"
        if both:
            spreads.append(j)
            head[j - 1] = before or head[j - 1]
    kept = [j for j in range(len(head)) if j not in spreads]
    return [head[j] for j in kept], [[row[j] for j in kept] for row in body], len(spreads)


def _parses(text: str) -> bool:
    try:
        return bool(parse_cell(text).numbers)
    except InputError:
        return False


def _distinct(names: list[str]) -> list[str]:
    """Names with a number behind the second of a kind."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def _with_units(frame: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The unit of every cell; a share is in per cent where a sign or most of its column says so."""
    frame = frame.copy()
    for (metric, _), own in frame.groupby(["metric", "column"], sort=False):
        unit = SCALES[metric].unit
        centres = own[own["statistic"].isin(["mean", "median", "value"])]["value"]
        if reading.unit != "auto" and metric == check_metric(reading.metric):
            unit = check_unit(metric, reading.unit)
        elif unit == "fraction" and ((own["unit"] == PER_CENT).any() or (centres > 1.5).mean() > 0.5):
            unit = PER_CENT
        frame.loc[own.index, "unit"] = unit
    return frame


def parse_n(texts: list[str]) -> dict[str, int]:
    """Read numbers of subjects: ``16`` for all, ``LABEL=16`` for a row, column or section.

    Raises
    ------
    InputError
        Where a number is not a whole number of 2 or more.

    Examples
    --------
    >>> parse_n(["80", "Fold 1=16"])
    {'': 80, 'Fold 1': 16}
    """
    out = {}
    for text in texts:
        label, _, number = text.rpartition("=")
        if not number.strip().isdigit() or int(number) < 2:
            raise InputError(f"Invalid n '{text}'. Must be a whole number of 2 or more, or LABEL=NUMBER.")
        out[label.strip()] = int(number)
    return out
