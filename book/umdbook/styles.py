"""Style sheets of a rendered book: without the rules that none of its pages can use, and one file for a page.

The theme brings all of Bootstrap and the names of two thousand icons: 390 kB, in eleven files with the others, that a
browser reads before it paints the first word.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import tinycss2

_CLASSES = re.compile(r'\bclass="([^"]*)"')
_WORDS = re.compile(r"[A-Za-z_][\w-]*")
_NEEDED = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
_WITHIN = re.compile(r"\([^()]*\)")  # of `:not()` and its like: what stands there need not be there
_NESTED = ("media", "supports")
_MADE = ("bs-",)  # how names begin that a script puts together
_LINK = re.compile(
    r'<link\b(?=[^>]*\brel="stylesheet")(?![^>]*\bmedia=)[^>]*\bhref="(?P<static>[^"?]*_static/)(?P<sheet>[^"?]+)[^>]*>\s*'
)
_CHARSET = re.compile(r'@charset\s*"[^"]*";')
_IMPORT = re.compile(r'@import\s*"([^"]+)"\s*;')
_ADDRESS = re.compile(r"url\((['\"]?)(?!data:|https?:|#|/)([^'\")]+)")
_PLACE = "styles"  # folder of the joined files below _static
_LARGE = 1e6  # bytes of a script that is a library of the viewer's, and makes nothing of the theme


def make_lean(folder: Path) -> None:
    """Take out of the theme's style sheets what names a class that no page and no script of the book has."""
    used = _used(folder)
    for sheet in (folder / "_static").rglob("*.css"):
        if not sheet.name.startswith("umd"):
            rules = tinycss2.parse_stylesheet(sheet.read_text("utf-8"), skip_whitespace=True)
            sheet.write_text("".join(_kept(rule, used) for rule in rules), "utf-8")


def join(folder: Path) -> None:
    """Put the style sheets of each page into one file; pages with the same ones share it."""
    static = folder / "_static"
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text("utf-8")
        links = [link for link in _LINK.finditer(text) if static not in page.parents]
        if len(links) < 2:
            continue
        whole = "\n".join(_whole(static, link["sheet"]) for link in links)
        name = f"pages-{hashlib.sha256(whole.encode()).hexdigest()[:12]}.css"
        (static / _PLACE / name).write_text(whole, "utf-8")
        parts = _LINK.sub("\0", text).split("\0")
        one = f'<link rel="stylesheet" href="{links[0]["static"]}{_PLACE}/{name}" />\n'
        page.write_text(parts[0] + one + "".join(parts[1:]), "utf-8")


def _whole(static: Path, sheet: str) -> str:
    """A sheet with those it imports in their places, and its addresses as seen from `_PLACE`."""
    here = os.path.dirname(sheet)
    text = _CHARSET.sub("", (static / sheet).read_text("utf-8"))
    text = _IMPORT.sub(lambda m: _whole(static, os.path.normpath(os.path.join(here, m[1]))), text)
    base = os.path.relpath(here or ".", _PLACE)
    return text if base == "." else _ADDRESS.sub(lambda m: f"url({m[1]}{base}/{m[2]}", text)


def _used(folder: Path) -> set[str]:
    """Classes in the pages, and every word of the scripts, which make further ones."""
    used: set[str] = set()
    for page in folder.rglob("*.html"):
        for names in set(_CLASSES.findall(page.read_text("utf-8"))):
            used.update(names.split())
    for script in (folder / "_static").rglob("*.js"):
        if script.stat().st_size < _LARGE:
            used.update(_WORDS.findall(script.read_text("utf-8", "ignore")))
    return used


def _kept(rule, used: set[str]) -> str:
    """A rule as text, without selectors that nothing meets; empty where none is left."""
    if rule.type == "comment":
        return rule.serialize() if rule.value.startswith("!") else ""  # a licence stays
    if rule.type == "at-rule" and rule.lower_at_keyword in _NESTED and rule.content is not None:
        inner = tinycss2.parse_rule_list(rule.content, skip_whitespace=True)
        text = "".join(_kept(part, used) for part in inner)
        return f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{text}}}" if text else ""
    if rule.type == "error":
        return ""  # as a browser takes it
    if rule.type != "qualified-rule":
        return rule.serialize()
    kept = [s for s in _selectors(rule.prelude) if _can_meet(s, used)]
    return f"{','.join(kept)}{{{tinycss2.serialize(rule.content)}}}" if kept else ""


def _selectors(prelude: list) -> list[str]:
    """Selectors of a rule; a comma within brackets divides none."""
    parts: list[list] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return [tinycss2.serialize(part).strip() for part in parts]


def _can_meet(selector: str, used: set[str]) -> bool:
    """Whether all classes that a selector asks for are used; one with a character in disguise stays.

    Examples
    --------
    >>> _can_meet("a.seen:not(.other) > p", {"seen"}), _can_meet(".seen .unseen", {"seen"})
    (True, False)
    """
    if "\\" in selector:
        return True
    while selector != (outer := _WITHIN.sub("", selector)):
        selector = outer
    return all(name in used or name.startswith(_MADE) for name in _NEEDED.findall(selector))
