"""The built book: no dead link, no trace of this machine, no console error, viewers that draw.

Runs on the folder that UMD_PAGES names (a built book); without one there is nothing to look at.
"""

import os
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest


@pytest.fixture(scope="module")
def pages():
    folder = Path(os.environ.get("UMD_PAGES", "_build/html"))
    if not (folder / "index.html").is_file():
        if "UMD_PAGES" in os.environ:
            pytest.fail(f"no book at {folder}")
        pytest.skip("no built book (make book)")
    return folder.resolve()


class Links(HTMLParser):
    """Addresses, anchors and images of a page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors, self.images = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(v for k, v in attrs.items() if k in ("id", "name") and v)
        for key in ("href", "src"):
            if attrs.get(key) and not (tag == "link" and "canonical" in (attrs.get("rel") or "")):
                self.targets.append((tag, attrs[key]))
        if tag == "img":
            self.images.append(attrs)


def html_files(pages):
    """Pages of the book; the theme keeps templates of its own below _static."""
    return [p for p in sorted(pages.rglob("*.html")) if "_static" not in p.parts]


def chapters(pages):
    return [p for p in html_files(pages) if p.name not in ("search.html", "genindex.html", "index.html")]


def test_every_internal_link_leads_somewhere(pages):
    parsed = {p: Links(p.read_text("utf-8")) for p in html_files(pages)}
    dead = []
    for page, links in parsed.items():
        for _, target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target.startswith(("data:", "mailto:", "javascript:")):
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                dead.append(f"{page.name} -> {target}")
            elif (
                file.stem == "cases" and "session=" in parts.fragment
            ):  # the explorer's state, with names as stored
                if " " in parse_qs(parts.fragment)["segmenter"][0]:
                    dead.append(f"{page.name} -> {target} (a title)")
            elif parts.fragment and file.suffix == ".html":
                anchors = parsed[file].anchors if file in parsed else Links(file.read_text()).anchors
                if unquote(parts.fragment) not in anchors:
                    dead.append(f"{page.name} -> {target} (no such anchor)")
    assert not dead


def test_pages_load_nothing_from_elsewhere(pages):
    loaded = []
    for page in html_files(pages):
        for tag, target in Links(page.read_text("utf-8")).targets:
            if tag in ("script", "img", "iframe", "link") and urlsplit(target).netloc:
                loaded.append(f"{page.name}: {target}")
    assert not loaded


def test_no_page_loads_icons_or_the_search_index_before_it_is_asked(pages):
    loaded = {t for p in chapters(pages) for tag, t in Links(p.read_text("utf-8")).targets if tag == "script"}
    assert loaded and not [t for t in loaded if "fontawesome" in t or "searchindex" in t]


def test_no_trace_of_the_machine(pages):
    here = re.compile("|".join(re.escape(str(p)) for p in {Path.home(), Path.cwd()} if len(p.parts) > 1))
    texts = [p for p in pages.rglob("*") if p.suffix in (".html", ".ipynb", ".txt", ".md")]
    found = [p.name for p in texts if here.search(p.read_text("utf-8", "ignore"))]
    assert not found


def test_every_picture_says_what_it_shows(pages):
    silent = [
        f"{page.name}: {image.get('src', '')[:60]}"
        for page in chapters(pages)
        for image in Links(page.read_text("utf-8")).images
        if not (image.get("alt") or "").strip() or "../_images" in (image.get("alt") or "")
    ]
    assert not silent


def test_the_site_is_light(pages):
    sizes = {p: p.stat().st_size for p in pages.rglob("*") if p.is_file()}
    assert sum(sizes.values()) < 70e6
    heavy = [f"{p.name} {s / 1e6:.1f} MB" for p, s in sizes.items() if p.suffix == ".html" and s > 3e6]
    assert not heavy


def test_a_page_reads_little_style_before_it_is_painted(pages):
    sheets = {
        t.split("?")[0]
        for p in chapters(pages)
        for tag, t in Links(p.read_text("utf-8")).targets
        if tag == "link"
    }
    sizes = [
        (pages / "results" / s).stat().st_size for s in sheets if s.startswith("../") and s.endswith(".css")
    ]
    assert sizes and sum(sizes) < 250e3


# a harmless error of the theme itself: a missing table of contents on pages without sections
KNOWN = ("reading 'classList'",)


AXE = Path(__file__).parents[2] / "tools/pages/node_modules/axe-core/axe.min.js"

# What a page may load before a viewer is opened, and what opening one may add (see README).
PAGE_MB, VIEWER_MB = 5.0, 9.0
SHIFT = 0.1  # the limit of "good" in Core Web Vitals
SHIFTS = """new PerformanceObserver(list => { for (const e of list.getEntries())
  if (!e.hadRecentInput) self.umdShift = (self.umdShift || 0) + e.value; })
  .observe({ type: 'layout-shift', buffered: true });"""


def test_no_page_shows_an_object_instead_of_its_content(pages):
    texts = {path.name: path.read_text("utf-8") for path in chapters(pages)}
    assert [n for n, t in texts.items() if "IPython.core" in t or " object at 0x" in t] == []


@dataclass
class Visit:
    """What one load of a page came to, before a reader touches it."""

    path: Path
    errors: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    too_wide: int = 0
    shift: float = 0.0
    barriers: list[str] = field(default_factory=list)


# Each rule meets each width and each scheme; a page is loaded twice, and not once a question.
@pytest.fixture(scope="module", params=[(1440, "light"), (390, "dark")], ids=["wide, light", "narrow, dark"])
def visits(pages, browser, request):
    """Every page as it is once loaded, wide in the light and narrow in the dark."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.add_init_script(SHIFTS)
    script = AXE.read_text("utf-8") if AXE.is_file() else ""
    found = [visited(context, path, script) for path in [*chapters(pages), pages / "search.html"]]
    context.close()
    return found


def visited(context, path, axe):
    """Load a page; ask axe-core's rules of it where their script is given."""
    page, visit = context.new_page(), Visit(path)
    page.on("pageerror", lambda e: visit.errors.append(str(e)))
    page.on("console", lambda m: m.type == "error" and visit.errors.append(m.text))
    page.on("request", lambda r: visit.files.add(r.url.split("?")[0].split("#")[0]))
    page.goto(path.as_uri())
    page.wait_for_load_state("load")
    visit.too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    visit.shift = page.evaluate("self.umdShift || 0")
    loaded = len(visit.errors)
    if axe:
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, { resultTypes: ['violations'], preload: false })")
        visit.barriers = [
            f"{v['id']} ({v['impact']}) {v['nodes'][0]['html'][:90]}" for v in result["violations"]
        ]
    del visit.errors[loaded:]  # of the page, not of what asks it
    page.close()
    return visit


@pytest.mark.slow
@pytest.mark.browser
def test_no_page_reports_an_error_moves_while_loading_or_scrolls_sideways(visits):
    faults = []
    for v in visits:
        faults += [f"{v.path.name}: {e}" for e in v.errors if not any(k in e for k in KNOWN)]
        if v.too_wide > 1:
            faults.append(f"{v.path.name}: {v.too_wide} px wider than the window")
        if v.shift > SHIFT:
            faults.append(f"{v.path.name}: layout shift {v.shift:.2f}")
    assert faults == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_loads_little_until_a_viewer_is_opened(visits):
    heavy = []
    for v in visits:
        files = [Path(unquote(urlsplit(u).path)) for u in v.files if u.startswith("file:")]
        size = sum(f.stat().st_size for f in files if f.is_file()) / 1e6
        if size > PAGE_MB or any({"volumes", "vendor"} & set(f.parts) and "umd" in f.parts for f in files):
            heavy.append(f"{v.path.name}: {size:.1f} MB")
    assert not heavy


@pytest.mark.slow
@pytest.mark.browser
def test_no_accessibility_fault(visits):
    if not AXE.is_file():
        pytest.skip("no axe-core (npm ci --prefix tools/pages)")
    assert [f"{v.path.name}: {barrier}" for v in visits for barrier in v.barriers] == []


@pytest.mark.browser
def test_the_viewer_draws_both_images(pages, browser):
    path = pages / "results" / "intro.html"
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(path.as_uri())
    page.locator("button.umd-open").first.click()
    page.wait_for_selector(".umd-viewer.umd-ready, .umd-viewer[data-state=ready]", timeout=120_000)
    shades = page.evaluate(
        """() => [...document.querySelectorAll('.umd-viewer canvas')].map(c => {
             const d = document.createElement('canvas'); d.width = d.height = 64;
             const g = d.getContext('2d'); g.drawImage(c, 0, 0, 64, 64);
             return new Set(g.getImageData(0, 0, 64, 64).data).size; })"""
    )
    page.close()
    assert len(shades) == 2
    assert min(shades) > 10, "a canvas is blank"
    assert [e for e in errors if not any(k in e for k in KNOWN)] == []


def test_every_viewer_says_what_it_loads_and_keeps_to_it(pages):
    said = [
        float(mb)
        for page in chapters(pages)
        for mb in re.findall(r"Open the 3D viewer \(([\d.]+) MB\)", page.read_text("utf-8"))
    ]
    assert said and max(said) <= VIEWER_MB


@pytest.mark.browser
def test_search_finds_pages_in_a_book_opened_as_a_file(pages, browser):
    page = browser.new_page()
    page.goto((pages / "search.html").as_uri() + "?q=segmenter")
    page.wait_for_selector("#search-results li a", timeout=60_000)
    assert page.locator("#search-results li a").count() > 3
    page.close()


@pytest.mark.browser
def test_a_page_read_in_the_dark_is_printed_light_and_whole(pages, browser):
    context = browser.new_context(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    page.goto((pages / "results" / "modality_gap_petct.html").as_uri())
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    chart = page.locator(".umd-chart").first
    assert "invert" in chart.evaluate("node => getComputedStyle(node).filter")
    page.emulate_media(media="print")
    page.wait_for_function(f"{theme} === 'light'")
    assert chart.evaluate("node => getComputedStyle(node).filter") == "none"
    tables = page.locator("table.table")
    over = tables.evaluate_all("nodes => nodes.map(n => n.getBoundingClientRect().right)")
    assert max(over) <= 721
    page.emulate_media(media="screen")
    page.wait_for_function(f"{theme} === 'dark'")
    context.close()


@pytest.mark.browser
def test_a_term_shows_its_definition_to_mouse_and_keyboard(pages, browser):
    page = browser.new_page()
    page.goto((pages / "results" / "modality_gap_petct.html").as_uri())
    term = page.locator("a.umd-term").first
    tip = page.locator("#umd-tip")
    assert tip.is_hidden()
    term.hover()
    assert tip.inner_text().endswith(".")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.mouse.move(0, 0)
    term.focus()
    assert tip.is_visible()
    assert term.get_attribute("aria-describedby") == "umd-tip"
    page.close()


@pytest.mark.browser
def test_a_chart_fits_a_phone_and_stands_once_at_every_width(pages, browser):
    shown = """[...document.querySelectorAll('.cell svg.umd-chart')].filter(c => c.checkVisibility())
      .map(c => [c.classList.contains('umd-narrow'), c.getBoundingClientRect().right])"""
    counts = []
    for width in (390, 1440):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto((pages / "results" / "findings.html").as_uri())
        charts = page.evaluate(shown)
        counts.append(len(charts))
        assert charts and all(narrow == (width < 600) and right <= width for narrow, right in charts)
        page.close()
    assert counts[0] == counts[1]


@pytest.mark.browser
def test_a_viewer_opens_from_the_keyboard(pages, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto((pages / "results" / "intro.html").as_uri())
    reached = ""
    for _ in range(150):
        page.keyboard.press("Tab")
        reached = page.evaluate("document.activeElement.className")
        if "umd-open" in reached:
            break
    assert "umd-open" in reached
    page.keyboard.press("Enter")
    page.wait_for_selector(".umd-viewer[data-state=ready]", timeout=120_000)
    page.close()
