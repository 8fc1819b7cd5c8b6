"""Staging the book: what a page says about how it was made, and what it offers."""

import gzip
import json
import shlex

import nbformat
import pytest

from umdbook import build as book
from umdbook import notebook
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.scores.table import write_scores

STAMP = {
    "cohort": "mine",
    "cohort_hash": "0123456789abcdef",
    "commit": "abc",
    "segmenters": {"net": {"weights": {"net.pt": "fedcba9876543210"}}, "plain": {}},
    "subjects": {"petct": 8, "petmr": 1},
}
PARAMETERS = {
    "chapter": 'scores: str = "s.parquet"  # table\nsession: str = "petct"  # which\n'
    "harness: dict = {}  # more\nn: int = 2  # how many",
    "published_x": "alpha: float = 0.01  # level",
    "root": 'scores: str = "s.parquet"  # table',
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Texts of the staged notebooks, by name."""
    tmp_path = tmp_path_factory.mktemp("book")
    templates, ran, source = (tmp_path / n for n in ("notebooks", "ran", "book"))
    source.mkdir()
    (source / "_toc.yml").write_text(
        "format: jb-book\nroot: results/root\nparts:\n- caption: c\n  chapters:\n"
        "  - file: results/chapter_petmr\n  - file: results/published_x\n  - file: results/absent\n"
    )
    for name, text in PARAMETERS.items():
        document = nbformat.v4.new_notebook(
            metadata={
                "kernelspec": {"name": "python3", "display_name": "p"},
                "language_info": {"name": "python"},
                "umd": {"track": "published" if name.startswith("published") else "measured"},
            }
        )
        document.cells = [
            nbformat.v4.new_markdown_cell("# Why?\n\nBecause.", id="t"),
            nbformat.v4.new_code_cell(text, id="p", metadata={"tags": ["parameters"]}),
        ]
        templates.mkdir(exist_ok=True)
        nbformat.write(document, templates / f"{name}.ipynb")
    executed = [
        notebook.execute(
            templates / f"{template}.ipynb", ran / f"{name}.ipynb", values, report=lambda _: None
        )
        for name, template, values in (
            ("chapter_petmr", "chapter", {"scores": "it's.parquet", "session": "petmr"}),
            ("published_x", "published_x", {}),
            ("root", "root", {"scores": "s.parquet"}),
        )
    ]
    data = {"scores.csv": b"a\n1\n", "published_tables.zip": b"zip"}
    out = tmp_path / "staged"
    book.stage(source, out, executed, stamp=STAMP, template_folder=str(templates), data=data)
    texts = {}
    for path in (out / "results").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        texts[path.stem] = ["".join(c["source"]) for c in cells]
    return texts, out


def test_a_measured_page_names_cohort_segmenters_weights_and_n(staged):
    last = staged[0]["chapter_petmr"][-1]
    assert "cohort `mine` (0123456789ab), 8 subjects in PET/CT and 1 in PET/MR" in last
    assert "Segmenters: net (weights fedcba987654), plain (no weights)" in last
    assert "<../data/scores.csv>" in last and "zip" not in last
    assert "**Measured here** on cohort `mine`" in staged[0]["chapter_petmr"][0]


def test_a_page_with_folded_code_has_one_switch_and_the_landing_page_none(staged):
    texts = staged[0]
    assert ["".join(texts[n]).count("umd-code-switch") for n in ("chapter_petmr", "root")] == [1, 0]


def test_a_cohort_of_the_simulator_is_called_simulated(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    for name, made_here, said in (("cohort", False, False), ("cohort", True, True), ("mine", True, False)):
        if made_here:  # a user's folder of that name lies elsewhere
            (folder / "cohort").mkdir(exist_ok=True)
            (folder / "cohort" / "manifest.tsv").touch()
        table = score_table(n_subjects=1, structures=["liver"])
        write_scores(folder / "scores.parquet", table, stamp={"cohort": name})
        assert book.stamp_of(folder / "scores.parquet").get("simulated", False) is said
    page = {"cells": [{"source": "# A", "metadata": {}}], "metadata": {"umd": {}}}
    page["metadata"]["umd"] = {"parameters": {"scores": "s"}, "name": "a", "track": "measured"}
    book._byline(page, {"cohort": "small", "simulated": True, "subjects": {"petct": 1}})
    assert "on simulated cohort `small`" in page["cells"][0]["source"]


@pytest.mark.parametrize("own", ["", "folder"])
def test_tables_that_a_page_computes_itself_are_not_called_those_of_the_released_run(own):
    about = {"name": "full", "live": {"petct": ["a", "b"]}, "rows": 9, "equal": 9, "exact": True}
    stamp = STAMP | {"released": about}
    cells = [
        {"cell_type": "markdown", "source": s, "metadata": {}} for s in ("# A", ":::{table} Shares.\n:::")
    ]
    # of simulations, cards, printed numbers
    cells.append(cells[1] | {"metadata": {"tags": ["other-source"]}})
    values = {"scores": "s"} | ({own: "f"} if own else {})
    page = {"cells": cells, "metadata": {"umd": {"parameters": values, "name": "a", "track": "measured"}}}
    book._byline(page, stamp)
    book._mark_tables(page, stamp)
    assert ("computes itself is of these subjects" in cells[0]["source"]) is bool(own)
    assert ("Scores: released run `full`" in cells[1]["source"]) is not bool(own)
    assert cells[2]["source"].startswith(":::{table} Shares.\n")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"manifest": "m"}, "on simulated cohort `full`: 2 subjects in PET/CT · "),
        ({"scores": "s", "quantities": "q"}, "computes itself is of these subjects"),
        ({"scores": "s", "lesions": 14}, "on one simulated subject with planted lesions"),
    ],
)
def test_a_page_beside_a_released_run_names_the_subjects_that_it_read(parameters, words):
    about = {"name": "full", "live": {"petct": ["a", "b"]}, "rows": 9, "equal": 9, "exact": True}
    stamp = {"cohort": "full", "subjects": {"petct": 12}, "released": about}
    page = {"cells": [{"source": "# A", "metadata": {}}], "metadata": {"umd": {}}}
    page["metadata"]["umd"] = {"parameters": parameters, "name": "a", "track": "measured"}
    book._byline(page, stamp)
    assert words in page["cells"][0]["source"]


def test_a_published_page_claims_no_cohort(staged):
    first, *_, last = staged[0]["published_x"]
    assert "**Printed in the papers**" in first
    assert "mine" not in first + last and "scores.csv" not in last
    assert "published_tables.zip" in last


def test_the_landing_page_has_no_line_below_its_title(staged):
    assert staged[0]["root"][0].startswith("# Why?\n\nBecause.")


def test_the_commands_run_the_template_with_every_parameter(staged):
    last = staged[0]["chapter_petmr"][-1]
    papermill, umdlib = (part.split("```")[0] for part in last.split("```bash\n")[1:])
    words = shlex.split(papermill.replace("\\\n", " "))
    assert words[:3] == [".venv/bin/papermill", "notebooks/chapter.ipynb", "chapter_petmr.ipynb"]
    assert words[3:6] == ["-r", "scores", "it's.parquet"]
    assert words[words.index("-y") + 1] == '{"harness": {}}'
    assert words[-3:] == [".venv/bin/jupyter", "lab", "chapter_petmr.ipynb"]
    words = shlex.split(umdlib.replace("\\\n", " "))
    assert words[:5] == [".venv/bin/umdlib", "run", "chapter", "--name", "chapter_petmr"]
    values = dict(zip(words[6::3], words[7::3], strict=True))
    assert values == {"scores": "it's.parquet", "session": "petmr", "harness": "{}", "n": "2"}


def test_pages_that_did_not_run_are_not_in_the_contents(staged):
    toc = (staged[1] / "_toc.yml").read_text()
    assert "results/chapter_petmr" in toc and "absent" not in toc
    assert (staged[1] / "data" / "scores.csv").read_bytes() == b"a\n1\n"


def test_a_page_names_a_readers_files_without_their_folder(tmp_path):
    manifest = str(tmp_path / 'the "clinic"' / "manifest.tsv")
    text = json.dumps({"source": f'-p manifest {manifest} and {tmp_path}/the "clinic"/a.nii.gz'})
    shown = book._without_places(text, {"manifest": manifest, "n": 2, "scores": "results/a/scores.parquet"})
    assert json.loads(shown)["source"] == "-p manifest path/to/manifest.tsv and path/to/a.nii.gz"
    link = json.dumps("<../data/scores.csv> ../data/manifest.tsv")
    assert "<../data/scores.csv> path/to/manifest.tsv" in book._without_places(
        link, {"m": "../data/manifest.tsv"}
    )


def test_a_bad_value_in_a_notebook_is_one_sentence():
    # what IPython asks an exception for, in place of a traceback
    assert InputError("No such organ.")._render_traceback_() == ["InputError: No such organ."]


def test_a_large_score_table_is_offered_compressed_or_as_parquet_alone(tmp_path, monkeypatch):
    write_scores(tmp_path / "scores.parquet", score_table(n_subjects=2, structures=["liver"]))
    offered = {}
    for limit in (10_000_000, 1_500, 100):
        monkeypatch.setattr(book, "_CSV_BYTES", limit)
        offered[limit] = book.downloads(tmp_path / "scores.parquet")
    assert all("scores.parquet" in files for files in offered.values())
    plain, packed = offered[10_000_000]["scores.csv"], offered[1_500]["scores.csv.gz"]
    assert len(packed) <= 1_500 < len(plain) and gzip.decompress(packed) == plain
    assert not any(name.startswith("scores.csv") for name in offered[100])
