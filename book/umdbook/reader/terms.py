"""Glossary terms in running text: the first mention on a page leads to the definition and shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from docutils import nodes

GLOSSARY = "glossary"
_SILENT = frozenset({GLOSSARY, "bibliography"})

# Everyday words that mean something else as often as not: linked only where a page asks for it.
_ORDINARY = frozenset({"box", "case", "cell", "share", "step", "volume"})

# Text below these nodes is not running text.
_CLOSED = (
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.raw,
    nodes.title,
    nodes.table,
    nodes.field_list,
    nodes.pending,
    nodes.math,
)


@dataclass(frozen=True)
class _Term:
    """A glossary entry: how it is written there, its anchor on that page, and its definition."""

    name: str
    anchor: str
    definition: str


def _glossary_terms(document: nodes.document) -> dict[str, _Term]:
    """Entries of a glossary page, by name."""
    found = {}
    for item in document.findall(nodes.definition_list_item):
        meaning = next(item.findall(nodes.definition), None)
        for term in item.findall(nodes.term):
            if meaning is not None and term["ids"]:
                name = " ".join(term.astext().split())
                text = " ".join(meaning.astext().split())
                found[name] = _Term(name, term["ids"][0], text)
    return found


def term_pattern(names: list[str]) -> re.Pattern[str]:
    """Pattern that finds whole words; the longest name wins, a plural counts, capitals may begin one.

    An abbreviation is found only as it is written.

    Examples
    --------
    >>> pattern = term_pattern(["mask", "label map", "DSC"])
    >>> [m.group() for m in pattern.finditer("Label maps, Masks, unmasked; dsc and DSC.")]
    ['Label maps', 'Masks', 'DSC']
    """
    alternatives = []
    for name in sorted(names, key=len, reverse=True):
        text = re.escape(name).replace(r"\ ", r"\s+")
        if name[0].islower():
            text = f"[{name[0]}{name[0].upper()}]{text[1:]}"
        alternatives.append(f"(?:{text})")
    return re.compile(rf"(?<![\w-])({'|'.join(alternatives)})(s?)(?![\w-])")


def named(terms: dict[str, _Term], text: str) -> _Term:
    """The term that a matched text stands for."""
    words = " ".join(text.split())
    return terms.get(words) or terms[words[0].lower() + words[1:]]


def _running_text(document: nodes.document) -> Iterator[nodes.Text]:
    """Text nodes of paragraphs that are not links, code, headings or tables."""
    for paragraph in document.findall(nodes.paragraph):
        _join_texts(paragraph)
        for text in list(paragraph.findall(nodes.Text)):
            node = text.parent
            while node is not None and not isinstance(node, _CLOSED):
                node = node.parent
            if node is None:
                yield text


def _join_texts(parent: nodes.Element) -> None:
    """Adjacent texts become one: MyST splits them at the ends of lines."""
    joined: list[nodes.Node] = []
    for child in parent.children:
        if isinstance(child, nodes.Text) and joined and isinstance(joined[-1], nodes.Text):
            joined[-1] = nodes.Text(joined[-1] + child)
        else:
            joined.append(child)
    parent.children = []
    parent.extend(joined)


def link_terms(app, document: nodes.document, name: str) -> None:
    """Link the first mention of each term on a page, and give every link to a term its definition."""
    if name in _SILENT or GLOSSARY not in app.env.found_docs or app.builder.format != "html":
        return
    if not hasattr(app.env, "umd_terms"):
        app.env.umd_terms = _glossary_terms(app.env.get_doctree(GLOSSARY))
    terms: dict[str, _Term] = app.env.umd_terms
    page = app.builder.get_relative_uri(name, GLOSSARY)
    by_address = {f"{page}#{t.anchor}": t for t in terms.values()}
    seen = set()
    for reference in document.findall(nodes.reference):
        term = by_address.get(reference.get("refuri", ""))
        if term:
            seen.add(term.name)
            reference["reftitle"] = term.definition
            reference["classes"].append("umd-term")
    pattern = term_pattern([n for n in terms if n not in _ORDINARY])
    for text in _running_text(document):
        parts = _linked(text.astext(), pattern, terms, seen, page)
        if parts:
            text.parent.replace(text, parts)


def _linked(text: str, pattern, terms, seen: set[str], page: str) -> list[nodes.Node]:
    """The text with its first mentions linked; empty where there is none."""
    parts: list[nodes.Node] = []
    at = 0
    for match in pattern.finditer(text):
        term = named(terms, match[1])
        if term.name in seen:
            continue
        seen.add(term.name)
        parts += [nodes.Text(text[at : match.start()])] if match.start() > at else []
        parts.append(
            nodes.reference(
                "",
                match[0],
                internal=True,
                refuri=f"{page}#{term.anchor}",
                reftitle=term.definition,
                classes=["umd-term"],
            )
        )
        at = match.end()
    return [*parts, nodes.Text(text[at:])] if parts else []


def pages_to_read(app, env, added, changed, removed) -> set[str]:
    """Every page, if any changed: each shows the titles of all, and the glossary's definitions."""
    env.__dict__.pop("umd_terms", None)
    touched = added | changed | removed
    return set(env.found_docs) - touched if touched else set()
