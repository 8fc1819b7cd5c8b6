"""Books of odd kinds of run: chapters on images run, a page of hostile texts renders and runs nothing in a browser."""

import json
import shutil
import traceback
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from in_process import ON_SCORES, executed

from umdbook import build, notebook
from umdlib import evaluation, segmenters
from umdlib.cohort.manifest import read_cohort, write_structures
from umdlib.errors import InputError, NothingToShow
from umdlib.images.volume import LabelMap, read_label_map, write_label_map
from umdlib.labels import Structure
from umdlib.quantities import write_quantities
from umdlib.scores import table as scores
from umdlib.segmenters.contract import Segmenter

ROOT = Path(__file__).parents[2]
ON_IMAGES = ["intro", "gallery", "findings", "cases", "your_click", "subject", "prompts", "subgroups", "run"]
ON_IMAGES += ["canaries", "checks", "cohort", "consequence", "explore", "ladder", "systems", "unlabelled"]
# `train_promptable` and `your_own` read the pairs of a run alone: they are tried where there is none. `lesions`
# reads which organ is done best, and makes its own subject (13 s): `chapters/test_lesions.py`. `reproduce`
# reads no run.
APART = {"lesions", "train_promptable", "your_own", "reproduce"}
HOSTILE = [
    '<img src=x onerror="window.pwned=1">',
    "<script>window.pwned=2</script>",
    "[click](javascript:window.pwned=3)",
    "a | b </td></table><svg onload=window.pwned=4>",
]


def promptless(image, prompt, previous=None):
    """Bright voxels, whatever is asked; one structure fails on PET with a hostile message."""
    if image.unit == "SUV" and prompt.structure == "rod":
        raise ValueError(HOSTILE[1])
    return image.data > image.data.mean()


def scored(folder, write_cohort, kind):
    """Cohort and run of a kind: its manifest and its folder."""
    manifest, run = write_cohort(folder / "cohort", 2), folder / "run"
    table = pd.read_csv(manifest, sep="\t")
    table["provenance"], table[HOSTILE[0]] = HOSTILE[0], HOSTILE[3]
    if kind == "one modality":
        table = table[table["modality"].eq("CT")]
    if kind == "one lesion":
        table = table[table["subject"].eq("sub-001")]
        for reference in manifest.parent.glob("*_dseg.nii.gz"):
            labels = read_label_map(reference)
            write_label_map(reference, LabelMap((labels.data == 1).astype("uint8"), labels.affine))
        write_structures(manifest.with_name("dseg.tsv"), [Structure(1, "lesion", "Lesion", "Le", "#e69f00")])
    table.to_csv(manifest, sep="\t", index=False)
    segmenters.register(Segmenter("own", "Own", "O.", lambda device: promptless, frozenset({"class"})))
    name = "segvol" if kind == "nothing available" else "own"
    settings = evaluation.Settings(evaluation.parse_plans("centre:1:1,class"))
    rows = evaluation.score_cohort(read_cohort(manifest), name, run, settings=settings)
    segmenters.registry._registered.pop("own")  # the pages are of another process
    scores.write_scores(run / "scores.parquet", rows, stamp=rows.attrs["stamp"])
    measured = evaluation.quantify_run(read_cohort(manifest), run)
    write_quantities(run / "quantities.parquet", measured, stamp={})
    return manifest, run


def page_of(chapter, manifest, run, monkeypatch):
    """The executed chapter."""
    document = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text("utf-8"))
    given = {
        "manifest": str(manifest),
        "scores": str(run / "scores.parquet"),
        "root": str(run),
        "quantities": str(run / "quantities.parquet"),
        "folder": str(run / "written"),
        "live": "",
        **{"n_resamples": 99, "n_simulated": 1, "n_runs": 1},
    }
    return executed(document, given, monkeypatch)


def faults_of(chapters, kind, manifest, run, monkeypatch):
    """What is wrong with the pages of a run, by chapter."""
    faults = {}
    for chapter in chapters:
        try:
            found = notebook.text_faults(page_of(chapter, manifest, run, monkeypatch))
        except NothingToShow:  # the page says so
            assert kind != "promptless"
            found = []
        except (Exception, SystemExit) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            found = [f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"]
        faults |= {chapter: found} if found else {}
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["promptless", "one modality", "nothing available", "one lesion"])
def test_chapters_on_images_run_for_any_kind_of_run(kind, tmp_path, write_cohort, monkeypatch):
    monkeypatch.setenv("UMD_STATIC", str(tmp_path / "static"))
    monkeypatch.chdir(ROOT)
    manifest, run = scored(tmp_path, write_cohort, kind)
    assert faults_of(ON_IMAGES, kind, manifest, run, monkeypatch) == {}
    if kind == "one modality":  # what these two read of a run is its pairs, or that there is none
        assert faults_of(["train_promptable", "your_own"], kind, manifest, run, monkeypatch) == {}


def test_every_chapter_that_reads_a_run_is_tried_on_every_kind():
    reading = set()
    for template in (ROOT / "notebooks").glob("*.ipynb"):
        declared = notebook.parameters(template).keys()
        reading |= {template.stem} if {"manifest", "root", "quantities"} & declared else set()
    jobs = {"inference", "train"}
    assert reading - jobs - set(ON_SCORES) <= {*ON_IMAGES, *APART}


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory, write_cohort):
    """A rendered book of a promptless run whose cohort, manifest and messages hold scripts."""
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UMD_STATIC", str(folder / "static"))
        patch.chdir(ROOT)
        manifest, run = scored(folder, write_cohort, "promptless")
        source, done = folder / "source", folder / "notebooks"
        done.mkdir()
        shutil.copytree(ROOT / "book" / "_static", source / "_static")
        shutil.copy(ROOT / "book" / "references.bib", source)
        for chapter in ("clicks", "run", "modality_gap"):
            write_notebook(page_of(chapter, manifest, run, patch), done / f"{chapter}.ipynb", manifest)
        toc = {"format": "jb-book", "root": "results/clicks"}
        chapters = [{"file": "results/run"}, {"file": "results/modality_gap"}]
        toc["parts"] = [{"caption": "A run", "chapters": chapters}]
        (source / "_toc.yml").write_text(json.dumps(toc), "utf-8")
        table = run / "scores.parquet"
        staged = folder / "staged"
        build.stage(
            source,
            staged,
            sorted(done.glob("*.ipynb")),
            stamp=build.stamp_of(table),
            data=build.downloads(table),
        )
        (staged / "_extra").mkdir()
        build.render(staged, ROOT / "_config.yml", folder / "html", report=lambda line: None)
    return folder / "html"


def write_notebook(page, path, manifest):
    """An executed chapter as a notebook file."""
    document = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for n, cell in enumerate(page.cells):
        if cell.cell_type == "markdown":
            document.cells.append(nbformat.v4.new_markdown_cell(cell.source, id=f"c{n}"))
            continue
        outputs = []
        for output in cell.outputs:
            kept = output.get("metadata", {})
            prefix = "application/papermill.record/" if kept else ""
            data = {prefix + kind: value for kind, value in output["data"].items()}
            kept = {"scrapbook": {**kept["scrapbook"], "mime_prefix": prefix}} if kept else {}
            outputs.append(nbformat.v4.new_output("display_data", data, metadata=kept))
        made = nbformat.v4.new_code_cell(cell.source, id=f"c{n}", outputs=outputs)
        document.cells.append(made)
    values = {"manifest": str(manifest), "scores": "scores.parquet"}
    document.metadata["umd"] = {"parameters": values, "seconds": 1.0, "umdlib": "0", "date": "2026-01-01"}
    nbformat.write(document, path)


@pytest.mark.slow
def test_a_promptless_book_renders_and_says_nothing_of_its_folders(hostile_book):
    pages = {p.name: p.read_text("utf-8") for p in hostile_book.rglob("*.html") if "_static" not in p.parts}
    assert {"clicks.html", "run.html", "modality_gap.html"} <= pages.keys()
    assert "No segmenter took a corrective click." in pages["clicks.html"]
    assert "window.pwned=2" in pages["run.html"]  # the message is shown
    place = str(hostile_book.parent)
    texts = [*pages.values(), *(p.read_text("utf-8") for p in hostile_book.rglob("*.csv"))]
    assert not any(place in text for text in texts)


@pytest.mark.slow
@pytest.mark.browser
def test_no_text_of_a_cohort_runs_in_a_readers_browser(hostile_book, browser):
    page = browser.new_page()
    pages = sorted(hostile_book.rglob("results/*.html"))
    assert len(pages) >= 3
    for path in pages:
        page.goto(path.as_uri())
        assert page.evaluate("window.pwned") is None, path.name
        links = page.evaluate("document.querySelectorAll('a[href^=\"javascript\" i]').length")
        assert links == 0, path.name
    page.set_content(HOSTILE[0])  # the test can see it
    page.wait_for_function("window.pwned === 1")


@pytest.mark.parametrize("subject", [HOSTILE[0], "a b", "../x", "-rf", "a\x00b", "=1+1", "a|b", "é" * 65])
def test_a_subject_is_of_letters_digits_and_few_marks(subject, tmp_path, write_cohort):
    manifest = write_cohort(tmp_path / "cohort", 1)
    manifest.write_text(manifest.read_text("utf-8").replace("sub-001\t", f"{subject}\t"), "utf-8")
    with pytest.raises(InputError, match="Invalid subject|control character"):
        read_cohort(manifest)
