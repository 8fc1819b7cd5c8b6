"""A certificate as one page: Markdown or HTML by its ending."""

from __future__ import annotations

import platform
import time
from html import escape
from pathlib import Path

from umdlib.canaries.certify import FAULTS, Certificate, Verdict
from umdlib.errors import InputError
from umdlib.files import replaced
from umdlib.version import __version__

COLUMNS = ("canary", "verdict", "seen", "how it was found")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#111;background:#fff}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #767676;padding:.4em .6em;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}td.fail{background:#fbe3d6;font-weight:bold}td.pass{background:#e2f3ea}"
)


def write_certificate(path: str | Path, found: Certificate) -> Path:
    """Write the page of a certificate."""
    path = Path(path)
    form = {".md": markdown, ".html": html, ".htm": html}.get(path.suffix.lower())
    if form is None:
        raise InputError(f"Invalid name of a certificate {path}. Must end in .md or .html.")
    with replaced(path) as part:
        part.write_text(form(found), "utf-8")
    return path


def summary(found: Certificate) -> str:
    """One sentence: what was found."""
    open_ones = sum(v.state == "not judged" for v in found.verdicts)
    rest = f"; {open_ones} of {len(found.verdicts)} canaries could not judge" if open_ones else ""
    if not found.faults:
        return f"No alarm in {len(found.verdicts)} canaries and {found.calls} calls{rest}."
    words = "; ".join(f"{f} ({FAULTS[f]})" for f in found.faults)
    return f"{len(found.faults)} faults are suspected: {words}{rest}."


def markdown(found: Certificate) -> str:
    """The page in Markdown."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    rows += ["| " + " | ".join(c.replace("|", "\\|") for c in _cells(v)) + " |" for v in found.verdicts]
    return "\n".join(
        [f"# Certificate of {found.program}", "", summary(found), "", *rows, "", _about(found), ""]
    )


def html(found: Certificate) -> str:
    """The page in HTML, whole in one file."""
    head = "".join(f'<th scope="col">{c}</th>' for c in COLUMNS)
    rows = []
    for v in found.verdicts:
        name, verdict, seen, how = map(escape, _cells(v))
        state = v.state.split()[0]
        rows.append(
            f'<tr><th scope="row">{name}</th><td class="{state}">{verdict}</td><td>{seen}</td><td>{how}</td></tr>'
        )
    title = f"Certificate of {escape(found.program)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1>\n<p>{escape(summary(found))}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table>\n"
        f"<p>{escape(_about(found))}</p></main></body></html>\n"
    )


def _cells(v: Verdict) -> tuple[str, str, str, str]:
    """One row of the page."""
    return v.check, v.state + (f": {', '.join(v.faults)}" if v.faults else ""), v.detail, v.how


def _about(found: Certificate) -> str:
    """Where and how it was made, and what it does not say."""
    weights = f" Weights: sha256 {found.weights}." if found.weights else ""
    return (
        f"Asked on {found.source}, {found.calls} calls, umdlib {__version__}, Python {platform.python_version()} on "
        f"{platform.system()}, {time.strftime('%Y-%m-%d')}.{weights} A fault is a suspicion with its evidence, not a "
        "proof; no alarm says that the program is wired right in what was asked, not that it segments well."
    )
