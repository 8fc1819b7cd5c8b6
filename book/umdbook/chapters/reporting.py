"""Reporting checklist: the items of five guidelines, each with the place of this book that answers it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from umdbook.page import Text
from umdlib import tables
from umdlib.errors import InputError

# Where each guideline was published, and how its items are counted here.
GUIDELINES: dict[str, str] = {
    "CLAIM 2024": "Checklist for artificial intelligence in medical imaging, update of 2024; doi 10.1148/ryai.240300. "
    "Items by their number.",
    "TRIPOD+AI": "Collins et al. 2024, doi 10.1136/bmj-2023-078378. Items by their number.",
    "BIAS": "Maier-Hein et al. 2020, doi 10.1016/j.media.2020.101796. Parameters of a challenge by topic.",
    "Metrics Reloaded": "Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z. The problem's fingerprint by topic.",
    "RELAINCE": "Jha et al. 2022, doi 10.2967/jnumed.121.263239. Recommendations by class of evaluation.",
}
_NOT_REPORTED = "not reported"
_ITEMS = Path(__file__).with_name("reporting.tsv")


def read_items() -> pd.DataFrame:
    """Items of the guidelines in our words: ``guideline, item, asks, page, section, note``.

    `page` is empty where the book does not answer.
    """
    return pd.read_csv(_ITEMS, sep="\t", keep_default_na=False, dtype=str)


def titles(folder: str | Path) -> dict[str, str]:
    """Title of every notebook of a folder, by its name."""
    out = {}
    for path in sorted(Path(folder).glob("*.ipynb")):
        document = json.loads(path.read_text(encoding="utf-8"))
        first = "".join(document["cells"][0]["source"]) if document["cells"] else ""
        if first.startswith("# "):
            out[path.stem] = first.splitlines()[0][2:].strip()
    return out


def answers(items: pd.DataFrame, known: dict[str, str]) -> pd.Series:
    """Where the book answers each item, as a Markdown link; pages that are not in `known` answer nothing.

    InputError: if an item names a section and no page.
    """
    lost = items[(items["page"] == "") & (items["section"] != "")]
    if len(lost):
        raise InputError(f"Item '{lost.iloc[0]['asks']}' names a section without a page.")
    out = []
    for row in items.to_dict("records"):
        link = f"[{known[row['page']]}]({row['page']}.ipynb)" if row["page"] in known else _NOT_REPORTED
        section = f", *{row['section']}*" if row["section"] and link != _NOT_REPORTED else ""
        note = f" {row['note']}" if row["note"] else ""
        out.append(f"{link}{section}" + (f".{note}" if note else ""))
    return pd.Series(out, index=items.index)


def checklist(guideline: str, known: dict[str, str]) -> Text:
    """Items of one guideline as a numbered table."""
    items = read_items().query("guideline == @guideline")
    shown = pd.DataFrame({"Item": items["item"], "Asks for": items["asks"], "Answer": answers(items, known)})
    name = "tab-reporting-" + guideline.lower().replace(" ", "-").replace("+", "-")
    return Text(tables.numbered_table(shown, f"{guideline}: {GUIDELINES[guideline]}", name))


def summary(known: dict[str, str]) -> Text:
    """How many items of each guideline the book answers."""
    items = read_items()
    answered = ~answers(items, known).str.startswith(_NOT_REPORTED)
    counts = answered.groupby(items["guideline"], sort=False).agg(["size", "sum"])
    shown = pd.DataFrame(
        {"Guideline": counts.index, "Items": counts["size"], "Answered": counts["sum"]}
    ).assign(**{"Not reported": counts["size"] - counts["sum"]})
    return Text(
        tables.numbered_table(
            shown, "Items of each guideline, and how many this book answers.", "tab-reporting"
        )
    )
