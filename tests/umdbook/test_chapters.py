"""The chapters on scores run, and their pages hold what their text promises, for any kind of run."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from in_process import ON_SCORES as CHAPTERS
from in_process import executed

from umdbook import notebook
from umdlib import statistics
from umdlib.scores.simulated import Model, score_table
from umdlib.scores.table import write_scores

mpl.use("Agg")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
QUICK = {"n_resamples": 99, "n_cohorts": 10, "metrics": ["dice", "hausdorff_95"]}
SIMULATED = ("type_one_error", "false_alarms", "equivalence_rates", "coverage", "missing_coverage")


def small():
    """Three subjects per session, two segmenters, corrective clicks, seeds, one unavailable."""
    gap = {"threshold": -0.02, "region_growing": -0.2}
    first = score_table(n_subjects=3, sessions=("petct", "petmr"), gap=gap, steps=(0, 1, 2))
    seeds = score_table(n_subjects=3, sessions=("petct", "petmr"), gap=gap, n_seeds=2, seed=1)
    gone = first[first["segmenter"].eq("threshold")].assign(
        segmenter="segvol", status="unavailable", reason="weights not found"
    )
    numbers = [c for c in gone if gone[c].dtype == float]
    gone[numbers] = np.nan
    return pd.concat([first, seeds.assign(prompt="random"), gone], ignore_index=True)


def lesion():
    """Six subjects with one lesion each, one segmenter, no corrective click, some missed."""
    return score_table(n_subjects=6, structures=["lesion"], gap={"own": -0.2}, model=Model(failure_rate=0.4))


def broken():
    """Two subjects; one segmenter that always fails, one with a missing partner."""
    table = score_table(n_subjects=2, structures=["liver", "aorta"], sessions=["petmr"])
    bad = table["segmenter"].eq("a")
    numbers = [c for c in table if table[c].dtype == float]
    table.loc[bad, numbers] = np.nan
    table.loc[bad, ["status", "reason"]] = ["failed", "out of memory"]
    return table.drop(index=table.index[-1])


def alone():
    """One subject, one segmenter."""
    return score_table(n_subjects=1, gap={"threshold": -0.1}, sessions=["petmr"])


def nobody():
    """Every run of every segmenter failed, and one segmenter was not available."""
    table = score_table(n_subjects=3, structures=["liver", "aorta"], gap={"a": 0.0, "b": 0.0})
    numbers = [c for c in table if table[c].dtype == float]
    table[numbers] = np.nan
    gone = table["segmenter"].eq("b")
    table[["status", "reason"]] = ["failed", "out of memory"]
    table.loc[gone, ["status", "reason"]] = ["unavailable", "weights not found"]
    return table


def nothing_available():
    """A table in which no segmenter could be loaded."""
    table = nobody()
    return table.assign(status="unavailable", reason="weights not found")


def ties():
    """A modality-blind segmenter: every difference is zero."""
    table = score_table(n_subjects=6, structures=["liver", "aorta"], gap={"a": 0.0})
    ct = table[table["modality"].eq("CT")]
    return pd.concat([ct, ct.assign(modality="PET")], ignore_index=True)


def one_prompt(prompt):
    """Two subjects and one segmenter that is given one kind of prompt and takes no corrective click."""
    return score_table(n_subjects=2, structures=["liver", "spleen"], gap={"own": -0.1}).assign(prompt=prompt)


def one_modality():
    """Three subjects with CT alone."""
    table = score_table(n_subjects=3, structures=["liver", "aorta"], gap={"threshold": 0.0})
    return table[table["modality"].eq("CT")].reset_index(drop=True)


COHORTS = {
    f.__name__: f for f in (small, lesion, broken, alone, nobody, nothing_available, ties, one_modality)
}
COHORTS |= {
    "promptless": lambda: one_prompt("class"),
    "box_only": lambda: one_prompt("box"),
    "text_only": lambda: one_prompt("text"),
}


@pytest.fixture(scope="module", params=sorted(COHORTS))
def scores(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "scores.parquet"
    table = COHORTS[request.param]()
    table = table.assign(seconds=np.where(table["status"].eq("ok"), 0.2, np.nan), peak_mb=1.0)
    write_scores(path, table)
    return path


def once(function):
    """A simulation that knows nothing of the run, made once for all runs."""
    kept = {}

    def call(**settings):
        key = repr(settings)
        if key not in kept:
            kept[key] = function(**settings)
        return kept[key].copy()

    return call


@pytest.fixture(scope="module", autouse=True)
def simulations():
    with pytest.MonkeyPatch.context() as patch:
        for name in SIMULATED:
            patch.setattr(statistics, name, once(getattr(statistics, name)))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_and_shows_what_its_text_promises(scores, chapter, monkeypatch):
    if scores.parent.name.startswith(("box_only", "text_only")) and chapter in ("certainty", "empty_rule"):
        pytest.skip("the chapter does not look at the prompts, and promptless has the same table")
    document = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text("utf-8"))
    session = pd.read_parquet(scores)["session"].iloc[0]
    done = executed(document, {"scores": str(scores), "session": session, **QUICK}, monkeypatch)
    assert notebook.text_faults(done) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_has_one_title_a_parameters_cell_and_its_limits(chapter):
    document = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text())
    cells = ["".join(c["source"]) for c in document["cells"]]
    assert cells[0].startswith("# ")
    assert "?" in cells[0].splitlines()[0]
    assert sum(c.startswith("# ") for c in cells) == 1
    assert document["cells"][1]["metadata"]["tags"] == ["parameters"]
    assert "## What this does not show" in cells[-1]
    assert not any(c.get("outputs") for c in document["cells"])
    figures = [m for c in document["cells"] if "figure" in (m := c["metadata"].get("mystnb", {}))]
    assert all(f["figure"]["caption"] and f["image"]["alt"] for f in figures)
