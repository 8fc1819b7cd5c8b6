"""What an audit found, as Markdown for a terminal or a file."""

from __future__ import annotations

import textwrap

import pandas as pd

from umdlib.published.outcomes import GRADES, INNOCENT

_HEADINGS = {
    "impossible": "no data can print these numbers",
    "inconsistent": "contradicts another printed number",
    "suspect": "possible, but data rarely do this by themselves",
    "note": "worth knowing, nothing is wrong",
    "not testable": "something that the test needs is not known",
}


def audit_report(table: pd.DataFrame, found: pd.DataFrame) -> str:
    """Write how a table was read and what its audit found.

    Parameters
    ----------
    table
        As `read_table` gives it.
    found
        As `audit_table` gives it.

    Returns
    -------
    str
        A heading, how the table was read, one paragraph per finding with its arithmetic and what else
        it could be, and the number of tests.
    """
    lines = [f"# Audit of {table['table'].iloc[0]}", ""]
    lines += [*_wrapped(" ".join(table.attrs.get("reading", [])), indent=""), ""]
    counts = found["grade"].value_counts()
    counted = [
        f"{counts[g]} {g + 's' if g == 'note' and counts[g] > 1 else g}" for g in GRADES if g in counts
    ]
    lines += [f"{len(found)} tests: {', '.join(counted) or 'none could be made'}.", ""]
    for grade, words in _HEADINGS.items():
        own = found[found["grade"] == grade]
        if own.empty:
            continue
        lines += [f"## {grade.capitalize()}: {words}", ""]
        if grade == "not testable":
            reasons = own.groupby(["check", "arithmetic"], sort=False).size()
            lines += [f"- {check}, {count} times: {text}" for (check, text), count in reasons.items()] + [""]
            continue
        for r in own.to_dict("records"):
            line = f"- **{r['where']}**, printed `{r['printed']}` ({r['check']}): {r['arithmetic']}"
            lines += _wrapped(line)
            lines += _wrapped(f"  What else it could be: {INNOCENT[r['check']]}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str, *, indent: str = "  ") -> list[str]:
    """Lines of a paragraph, continued with an indent."""
    return textwrap.wrap(text, 88, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def is_sound(found: pd.DataFrame) -> bool:
    """Whether no number is impossible and none contradicts another."""
    return not found["grade"].isin(["impossible", "inconsistent"]).any()
