"""A shard that fails at every attempt: the table of the others, rows that say what is missing, and completion."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from umdbook import graph
from umdlib import evaluation
from umdlib.cohort.manifest import read_cohort
from umdlib.scores import table as scores

ROOT = Path(__file__).parents[2]
PROMPTS = "centre:1:0"
MODEL = """
import os
from pathlib import Path
from umdlib.segmenters import Segmenter
if Path(__file__).with_name("broken").exists():
    os.abort()
def segment(image, prompt, previous=None):
    return image.data > image.data.mean()
MINE = Segmenter("mine", "Mine", "bright voxels", lambda device: segment, frozenset({"click"}))
"""


def planned(run, manifest, segmenter, shard, failed):
    """A shard of a plan, of two."""
    stem = f"{segmenter.rpartition(':')[2]}/petct_{shard}"
    return {
        "table": str(run / "shards" / f"{stem}.parquet"),
        "notebook": str(run / "inference" / f"{stem}.ipynb"),
        "key": str(manifest),
        "segmenter": segmenter,
        "session": "petct",
        "shard": shard,
        "prompts": PROMPTS,
        "failed": failed,
    }


def collected(run, manifest, tables):
    """What the script prints for a plan, and the table."""
    plan = {"run": str(run), "manifest": str(manifest), "shards": 2, "since": 0.0, "tables": tables}
    command = [sys.executable, str(ROOT / "workflow" / "partial_scores.py")]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, scores.read_scores(run / "scores.parquet")


@pytest.mark.slow  # two processes that import the library
def test_finished_cases_of_a_lost_shard_are_kept_and_the_others_say_why_they_are_missing(
    make_cohort, tmp_path
):
    manifest, run = make_cohort(3), tmp_path / "run"
    cohort, settings = read_cohort(manifest), evaluation.Settings(evaluation.parse_plans(PROMPTS))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "broken").touch()
    tables = [
        planned(run, manifest, "threshold", 0, False),
        planned(run, manifest, "threshold", 1, True),
        planned(run, manifest, f"{tmp_path / 'model.py'}:MINE", 0, True),
    ]
    shard = [c for c in cohort.cases if c.subject != "sub-002"]
    rows = evaluation.score_cohort(cohort, "threshold", run, cases=shard, settings=settings)
    scores.write_scores(tables[0]["table"], rows, stamp=rows.attrs["stamp"])
    finished = [c for c in cohort.cases if c.name.startswith("sub-002") and c.modality == "CT"]
    evaluation.score_cohort(cohort, "threshold", run, cases=finished, settings=settings)
    failed = run / "inference" / "threshold" / "petct_1.failed.ipynb"
    failed.parent.mkdir(parents=True)
    error = {"output_type": "error", "ename": "MemoryError", "evalue": f"no room for {tmp_path}/x.nii"}
    failed.write_text(json.dumps({"cells": [{"outputs": [error]}]}))

    said, table = collected(run, manifest, tables)
    assert (
        "without shards/threshold/petct_1.parquet, shards/MINE/petct_0.parquet: 10 of 20 rows failed" in said
    )
    assert table.attrs["stamp"]["lost"] == ["shards/threshold/petct_1.parquet", "shards/MINE/petct_0.parquet"]
    found = table.groupby(["segmenter", "subject", "modality"])["status"].agg(set)
    assert found["threshold", "sub-002", "CT"] == {"ok"}
    lost = table[table["segmenter"].eq("threshold") & table["status"].eq("failed")]
    assert set(zip(lost["subject"], lost["modality"], strict=True)) == {("sub-002", "PET")}
    assert lost["reason"].str.contains("failed at every attempt: MemoryError: no room for x.nii; the").all()
    own = table[table["segmenter"].eq("MINE")]
    assert set(own["subject"]) == {"sub-001", "sub-003"} and set(own["status"]) == {"failed"}
    assert own["reason"].str.contains("it left no message").all()
    assert (run / "scores.parquet").stat().st_mtime == 1  # older than what the graph makes it from


@pytest.mark.slow  # the graph, twice
def test_the_graph_leaves_a_table_of_the_other_shards_and_the_same_command_completes_it(
    make_cohort, tmp_path
):
    pytest.importorskip("snakemake")
    manifest, model = make_cohort(1, tmp_path / "lost shard"), tmp_path / "model.py"
    model.write_text(MODEL)
    (tmp_path / "broken").touch()
    run = ROOT / "results" / graph.run_name("small", str(manifest))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        str(run.relative_to(ROOT) / "scores.parquet"),
        "--cores",
        "1",
    ]
    command += ["--snakefile", "workflow/Snakefile", "--configfile", "workflow/small.yaml", "--keep-going"]
    command += ["--nolock", "--config", f"cohort={manifest}", f"segmenters=threshold,{model}:MINE"]
    command += [f"prompts={PROMPTS}"]

    def ran():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, scores.read_scores(run / "scores.parquet"), done.stdout + done.stderr

    try:
        status, table, said = ran()
        assert status != 0
        assert table.groupby("segmenter")["status"].agg(set).to_dict() == {
            "threshold": {"ok"},
            "MINE": {"failed"},
        }
        assert "rows failed; the same command asks again" in said
        (tmp_path / "broken").unlink()
        status, table, said = ran()
        assert status == 0, said[-2000:]
        assert set(table["segmenter"]) == {"threshold", "mine"} and set(table["status"]) == {"ok"}
        assert "lost" not in table.attrs["stamp"]
    finally:
        shutil.rmtree(run, ignore_errors=True)
