"""The chapters on scores run on any cohort: few subjects, one lesion, one session, no seeds."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdlib.scores.simulated import Model, score_table
from umdlib.scores.table import write_scores

mpl.use("Agg")
import matplotlib.pyplot as plt

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = [
    "modality_gap",
    "by_structure",
    "certainty",
    "empty_rule",
    "clicks",
    "reported",
    "learned_gap",
    "planning",
    "supervised",
]
QUICK = {"n_resamples": 99, "n_cohorts": 40}


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


COHORTS = {f.__name__: f for f in (small, lesion, broken, alone, nobody, nothing_available, ties)}


@pytest.fixture(scope="module", params=sorted(COHORTS))
def scores(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "scores.parquet"
    table = COHORTS[request.param]()
    table = table.assign(seconds=np.where(table["status"].eq("ok"), 0.2, np.nan), peak_mb=1.0)
    write_scores(path, table)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs(scores, chapter, capsys):
    """Cells are run in this process: what is tested is the chapter, not the kernel."""
    document = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text())
    session = pd.read_parquet(scores)["session"].iloc[0]
    given = {"scores": str(scores), "session": session, **QUICK}
    space: dict = {}
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
            if "parameters" in cell["metadata"].get("tags", []):
                space |= {k: v for k, v in given.items() if k in space}
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


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
