"""Inputs of the graph's jobs: which change of which line starts which job."""

import json
import os
import re
from pathlib import Path

import pytest

from umdbook import graph, notebook
from umdlib.errors import InputError

ROOT = Path(__file__).parents[2]
JOBS = {
    "synthesise": ("umdlib.synthetic.cohort",),
    "score": ("umdlib.evaluation.run",),
    "domains": ("umdlib.training.domains",),
    "canaries": ("umdlib.canaries.replay",),
    "book": ("umdbook.build", "umdbook.reader", "umdlib.viewer.pair"),
    **{p.stem: (str(p),) for p in sorted((ROOT / "notebooks").glob("*.ipynb"))},
}


def jobs_of(file: str) -> set[str]:
    """Jobs that run again when a file changes."""
    path = ROOT / file
    assert path.is_file()
    return {job for job, starts in JOBS.items() if path in graph.code_of(*starts)}


@pytest.mark.parametrize(
    ("file", "runs", "rests"),
    [
        # an adapter, a network, its inputs, a resampler: all that predicts
        (
            "umdlib/segmenters/systems/threshold.py",
            {"score", "inference", "canaries"},
            {"synthesise", "modality_gap"},
        ),
        (
            "umdlib/networks/clicknet.py",
            {"score", "inference", "canaries"},
            {"synthesise", "certainty", "published_umd"},
        ),
        (
            "umdlib/networks/inputs.py",
            {"score", "inference", "train_promptable"},
            {"synthesise", "by_structure"},
        ),
        ("umdlib/images/grids.py", {"score", "inference", "canaries"}, {"modality_gap", "published_umd"}),
        # a metric: what scores, and the chapter that computes with it
        ("umdlib/metrics/scoring.py", {"inference", "scoring"}, {"modality_gap", "published_audit"}),
        # a training: the chapter that trains
        ("umdlib/training/promptable.py", {"train_promptable"}, {"inference", "modality_gap"}),
        # a table, a chapter's own module, the simulator, the viewer's script, the prompts
        ("umdlib/tables/markdown.py", {"modality_gap"}, {"inference", "synthesise"}),
        ("book/umdbook/chapters/intro.py", {"intro"}, {"inference", "modality_gap", "certainty", "gallery"}),
        ("umdlib/synthetic/scanner/pet.py", {"synthesise", "domains"}, {"modality_gap", "published_umd"}),
        (
            "umdlib/viewer/assets/umd-viewer.js",
            {"book", "intro"},
            {"inference", "modality_gap", "synthesise"},
        ),
        ("umdlib/prompts/drawing.py", {"inference"}, {"synthesise", "modality_gap", "published_umd"}),
    ],
)
def test_a_changed_line_starts_the_jobs_that_are_computed_with_it(file, runs, rests):
    found = jobs_of(file)
    assert runs <= found
    assert not rests & found


def test_a_key_changes_with_content_and_not_with_a_date(tmp_path):
    source, key = tmp_path / "data{1}.txt", tmp_path / "keys" / "job.txt"
    source.write_text("one")
    assert graph.keep_key(key, [source], device="cpu") == str(key)
    written = key.stat().st_mtime_ns
    os.utime(source, (4e9, 4e9))  # in the future
    graph.keep_key(key, [source], device="cpu")
    assert key.stat().st_mtime_ns == written
    source.write_text("two")
    graph.keep_key(key, [source], device="cpu")
    changed = key.stat().st_mtime_ns
    assert changed > written
    graph.keep_key(key, [source], device="cuda")
    assert key.stat().st_mtime_ns > changed


def test_an_absent_input_is_a_state_of_the_key(tmp_path):
    key = Path(graph.keep_key(tmp_path / "job.txt", [tmp_path / "absent.nii"]))
    assert key.read_text().startswith("absent  ")


def test_cohorts_in_folders_of_one_name_have_runs_of_their_own():
    names = [graph.run_name("default", f"/data/{a}/cohort/manifest.tsv") for a in "ab"]
    assert names[0] != names[1] and all(n.startswith("cohort-") for n in names)
    assert graph.run_name("default", "/data/数据/manifest.tsv").startswith("cohort-")


def test_every_chapter_says_what_it_is():
    for template in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert graph.chapter(template)["track"] in graph.TRACKS


def test_chapters_that_read_cards_ask_networks_or_look_at_other_chapters_wait_for_them():
    """Data in the folders of released networks, and templates, are followed by no import."""
    asking = {"ladder", "reported", "supervised", "your_click"}
    asking |= {
        path.stem if path.parent.name == "chapters" else path.parent.name
        for path in (ROOT / "book" / "umdbook" / "chapters").rglob("*.py")
        if re.search(r"\bcard\.(read|names|cost_table)\(", path.read_text("utf-8"))
    }
    assert {"learned_gap", "second_image"} <= asking
    for name in asking:
        reads = graph.chapter(ROOT / "notebooks" / f"{name}.ipynb")["reads"]
        assert any(read.endswith("released/clicknet_pet.json") for read in reads), name
    for template in (ROOT / "notebooks").glob("*.ipynb"):
        if template.stem == "reproduce" or "notebooks" in notebook.parameters(template):
            assert str(template) in graph.chapter(template)["reads"], template


def test_a_template_without_its_entry_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_text('{"cells": [], "metadata": {}}')
    with pytest.raises(InputError, match="has no entry 'umd'"):
        graph.chapter(tmp_path / "a.ipynb")


def test_segmenters_whose_names_differ_in_marks_alone_are_refused():
    with pytest.raises(InputError, match="Rename one"):
        graph.names_of("a.py:M,a.py-M")


def test_found_code_is_kept_for_the_next_process_until_a_source_changes(tmp_path, monkeypatch):
    kept, starts, later = tmp_path / "code.json", ("umdlib.files", "notebooks/reporting.ipynb"), []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("atexit.register", later.append)
    monkeypatch.setattr(graph, "_kept", {})

    def new_process():
        graph.code_of.cache_clear()
        graph._kept.clear()
        graph.keep_found_code(kept)

    new_process()
    found = graph.code_of(*starts)
    assert ROOT / "umdlib" / "files.py" in found
    later.pop()()
    with monkeypatch.context() as patch:
        patch.setattr(graph, "import_closure", lambda *_, **__: pytest.fail("an import was read"))
        new_process()
        assert graph.code_of(*starts) == found
    later.pop()()
    assert json.loads(kept.read_text())["found"]
    monkeypatch.setattr(graph, "_state_of_sources", lambda: "another")
    new_process()
    assert not graph._kept
    kept.write_text("half")
    new_process()
    assert not graph._kept
    graph.code_of.cache_clear()


def test_the_state_of_the_sources_is_that_of_their_content_and_of_the_files_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "_HERE", tmp_path / "book" / "umdbook")
    graph._HERE.mkdir(parents=True)
    source = graph._HERE / "a.py"
    states = []
    for text in ("x = 1", "x = 2", "x = 1"):
        source.write_text(text)
        states.append(graph._state_of_sources())
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "table.tsv").write_text("")
    states.append(graph._state_of_sources())
    assert states[0] == states[2] and len(set(states)) == 3
