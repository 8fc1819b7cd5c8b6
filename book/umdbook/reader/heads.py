"""The head of each page: a description, no script twice, none that the text waits for, nothing that no page needs."""

from __future__ import annotations

import html

from docutils import nodes

_LONGEST = 160  # characters that search engines show


def complete(app, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Handler of Sphinx's ``html-page-context``."""
    context["css_files"] = [s for s in context.get("css_files", []) if not unused(s)]
    if "script_files" in context:
        scripts = unique_scripts([s for s in context["script_files"] if not unused(s)])
        # Sphinx's search page has scripts of its own that need the others as they are read.
        context["script_files"] = scripts if page == "search" else [deferred(script) for script in scripts]
    if doctree is not None and (words := description(doctree)):
        tag = f'<meta name="description" content="{html.escape(words)}"/>'
        context["metatags"] = f"{context.get('metatags', '')}\n{tag}"


def unused(asset) -> bool:
    """Whether a style or a script serves Thebe, which runs cells on a server: no page of this book does."""
    words = f"{getattr(asset, 'filename', '')} {getattr(asset, 'attributes', {}).get('body', '')}"
    return "thebe" in words.lower()


def unique_scripts(scripts: list) -> list:
    """The scripts without repetitions of an inline one: a `const` cannot be declared twice."""
    seen, kept = set(), []
    for script in scripts:
        body = getattr(script, "attributes", {}).get("body")
        if body and body in seen:
            continue
        seen.add(body)
        kept.append(script)
    return kept


# Inline scripts of the theme set values in it.
AT_ONCE = "documentation_options.js"


def deferred(script):
    """A script file that runs, in its turn, when the page is read; inline ones and what they need stay as they are."""
    attributes = getattr(script, "attributes", {})
    name = str(getattr(script, "filename", "") or "")
    if not name or name.endswith(AT_ONCE) or {"body", "async", "defer"} & attributes.keys():
        return script
    return type(script)(script.filename, priority=script.priority, **attributes, defer="defer")


def description(doctree: nodes.Element) -> str:
    """First paragraph of the text, cut at a word.

    Examples
    --------
    >>> page = nodes.section("", nodes.paragraph(text="What is seen."))
    >>> description(page)
    'What is seen.'
    """
    for paragraph in doctree.findall(nodes.paragraph):
        if paragraph.parent is not None and "umd-byline" in paragraph.parent.get("classes", []):
            continue
        words = " ".join(paragraph.astext().split())
        if len(words) <= _LONGEST:
            return words
        return words[: _LONGEST - 1].rsplit(" ", 1)[0] + "…"
    return ""
