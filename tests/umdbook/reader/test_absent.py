"""A book without some of its chapters renders: links to them become words."""

import re

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

PAGE = """# A page

See [the **other** page](other.ipynb), [this gap](gap.md), [its part](gap.md#part), [this part](#part)
and [elsewhere](https://example.org/other.ipynb).

| item | answer |
|---|---|
| one | [What was lost?](lost.ipynb), *Part* |

## Part

```{toctree}
gap
```
"""


def test_a_link_to_an_absent_chapter_is_its_words_and_every_other_link_stays(tmp_path):
    source = tmp_path / "book" / "results"
    source.mkdir(parents=True)
    (tmp_path / "book" / "conf.py").write_text(
        "extensions = ['myst_parser', 'umdbook.reader']\nroot_doc = 'results/page'\nproject = 't'\n"
        "myst_heading_anchors = 2\n"
    )
    (source / "page.md").write_text(PAGE)
    (source / "gap.md").write_text("# Gap\n\n## Part\n\nText.\n")
    out = tmp_path / "out"
    with docutils_namespace():
        app = Sphinx(
            source.parent, source.parent, out, tmp_path / "trees", "html", warningiserror=True, status=None
        )
        app.build()
    page = (out / "results" / "page.html").read_text("utf-8")
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert "See the other page (not in this book), this gap, its part" in plain
    assert "What was lost? (not in this book), Part" in plain
    assert "other.html" not in page and "lost" not in "".join(re.findall(r'href="([^"]*)"', page))
    links = re.findall(r'href="(gap\.html[^"]*|#part|https://example[^"]*)"', page)
    assert {"gap.html", "gap.html#part", "#part", "https://example.org/other.ipynb"} <= set(links)
