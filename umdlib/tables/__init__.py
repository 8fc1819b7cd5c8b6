"""Tables of the book: estimates laid out, marked, written."""

from umdlib.tables.cells import (
    CORRECTIONS,
    MARKS,
    metric_title,
    modality_table,
    structure_title,
)
from umdlib.tables.exports import export
from umdlib.tables.text import (
    comparison_table,
    interval,
    markdown_table,
    number,
    p_text,
    reasons,
    to_markdown,
)

__all__ = [
    "CORRECTIONS",
    "MARKS",
    "comparison_table",
    "export",
    "interval",
    "markdown_table",
    "metric_title",
    "modality_table",
    "number",
    "p_text",
    "reasons",
    "structure_title",
    "to_markdown",
]
