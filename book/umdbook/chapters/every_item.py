"""Every table and figure of the two papers, with the places of this book that show it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from umdbook.chapters.reporting import titles
from umdlib import tables
from umdlib.errors import unknown_name

_PAPERS = ("UMD", "SegAnyPET")
_NOWHERE = "–"
_ITEMS = Path(__file__).with_name("every_item.tsv")


def read_items() -> pd.DataFrame:
    """Tables and figures: ``paper, item, shows, published, published_section, measured, measured_section, note``.

    `published` and `measured` name a page, or are empty where no page shows the item in this form.
    """
    return pd.read_csv(_ITEMS, sep="\t", keep_default_na=False, dtype=str)


def places(items: pd.DataFrame, form: str, known: dict[str, str]) -> pd.Series:
    """Where the book shows each item in one form, as a Markdown link with its section.

    `items`: as `read_items` returns them. `form`: ``published`` or ``measured``. `known`: titles of the pages
    by name. A page that was made from a template (``modality_gap_petct``) has the title of the template.
    """
    out = []
    for page, section in zip(items[form], items[f"{form}_section"], strict=True):
        title = known.get(page) or known.get(page.rpartition("_")[0], "")
        title = title.partition(" $")[0]
        link = f"[{title}]({page}.ipynb)" if title else _NOWHERE
        out.append(link + (f", *{section}*" if title and section else ""))
    return pd.Series(out, index=items.index)


def item_table(paper: str, notebooks: str | Path) -> Markdown:
    """Tables and figures of one paper, and where each is shown as printed and as measured.

    InputError: if there is no such paper.
    """
    if paper not in _PAPERS:
        raise unknown_name("paper", paper, _PAPERS)
    items, known = read_items().query("paper == @paper"), titles(notebooks)
    shown = pd.DataFrame(
        {
            "Item": items["item"],
            "Shows": items["shows"],
            "As printed": places(items, "published", known),
            "As measured here": places(items, "measured", known),
            "Note": items["note"],
        }
    )
    caption = f"{paper}: every table and figure, and the place of its printed and of its measured form."
    return Markdown(tables.numbered_table(shown, caption, f"tab-every-item-{paper.lower()}"))


def counts() -> dict[str, int]:
    """How many items there are, and how many the book shows in both forms, in one, and in none."""
    items = read_items()
    forms = items[["published", "measured"]].ne("").sum(axis=1)
    return {
        "n": len(items),
        "both": int((forms == 2).sum()),
        "one": int((forms == 1).sum()),
        "none": int((forms == 0).sum()),
    }
