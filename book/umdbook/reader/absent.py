"""What a book does not hold: links to chapters that it leaves out are text, a table without rows is a sentence."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

WORDS = " (not in this book)"
_PAGES = (".ipynb", ".md")
REASON = "note"  # the one head of `umdlib.tables.reason_table`


def say_reasons(app, document: nodes.document, name: str) -> None:
    """Handler of ``doctree-resolved``: a table that only says why it has no rows is that sentence, once on a page."""
    said = set()
    for table in list(document.findall(nodes.table)):
        cells = [" ".join(entry.astext().split()) for entry in table.findall(nodes.entry)]
        if len(cells) == 2 and cells[0] == REASON:
            kept = [child.deepcopy() for child in list(table.findall(nodes.entry))[1].children]
            sentence = nodes.container("", *([] if cells[1] in said else kept), ids=table["ids"])
            _alone(table).replace_self(sentence)
            sentence["classes"] = []  # of the fold or the table
            said.add(cells[1])


def _alone(table: nodes.table) -> nodes.Element:
    """The fold that holds nothing but this table; the table itself where there is none."""
    holder = table
    while len(holder.parent.children) == 1:
        holder = holder.parent
    fold = holder.parent
    return fold if "sd-dropdown" in fold.get("classes", []) and len(fold.children) == 2 else table


class UnlinkAbsent(SphinxPostTransform):
    """Turn links to pages that are not part of the book into plain text with a word.

    A cohort without PET/MR, or a book of a few chapters, lacks pages that others name.
    """

    default_priority = 8  # MyST resolves links at 9 and warns of those that it cannot

    def run(self, **kwargs) -> None:
        """Change the document in place."""
        for link in list(self.document.findall(pending_xref)):
            if link["reftype"] == "myst" and self._is_absent(link):
                kept = nodes.inline("", "", *(child.deepcopy() for child in link.children))
                kept += nodes.Text(WORDS)
                link.replace_self(kept)

    def _is_absent(self, link: pending_xref) -> bool:
        """Whether a link leads to a page, and the book has no such page."""
        target = PurePosixPath(link["reftarget"].partition("#")[0])
        if link.get("refdomain") == "doc":
            return str(target) not in self.env.all_docs
        if target.suffix not in _PAGES:
            return False
        here = PurePosixPath(link.get("refdoc", self.env.docname)).parent
        return posixpath.normpath(here / target.with_suffix("")) not in self.env.all_docs
