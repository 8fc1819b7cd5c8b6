"""The score table of a graph that lost shards: what there is, and a failed row for each case that is missing.

usage: partial_scores.py < PLAN.json     called by the Snakefile when jobs failed at every attempt

Of a lost shard, the cases that it had finished are taken from the run's folder. The table is dated back, so
that the same command makes the whole one.
"""

import json
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "book")]

from umdlib import evaluation, read_cohort  # noqa: E402
from umdlib.cohort.shards import shard_subjects  # noqa: E402
from umdlib.errors import InputError  # noqa: E402
from umdlib.scores import table as scores  # noqa: E402

AGAIN = "the same command asks again"
PATIENCE_S = 900  # for a segmenter's own code to be imported


def stands(shard: dict) -> bool:
    """Whether a shard's table was made from the inputs as they are now."""
    table, key = Path(shard["table"]), Path(shard["key"])
    return table.is_file() and key.is_file() and table.stat().st_mtime >= key.stat().st_mtime


def reason_of(shard: dict, since: float) -> str:
    """Why a shard has no table."""
    if not shard["failed"]:
        return f"not computed: the run ended before; {AGAIN}"
    notebook = Path(shard["notebook"])
    failed = notebook.with_name(f"{notebook.stem}.failed.ipynb")
    message = "it left no message"
    if failed.is_file() and failed.stat().st_mtime >= since:
        cells = json.loads(failed.read_text("utf-8"))["cells"]
        outputs = [o for c in cells for o in c.get("outputs", []) if o["output_type"] == "error"]
        message = f"{outputs[-1]['ename']}: {outputs[-1]['evalue']}"[:300] if outputs else message
    message = re.sub(r"(/[^\s/:'\"]+)+/", "", message)  # tables are handed on, folders are not
    return f"the job of this shard failed at every attempt: {message}; {AGAIN}"


def cases_of(cohort, shard: dict, shards: int) -> list:
    """The cases of a shard, as its notebook chooses them."""
    subjects = shard_subjects(cohort, shard["session"], shard["shard"], shards)
    return [c for c in cohort.cases if c.session == shard["session"] and c.subject in subjects]


def kept_rows(plan: dict, shard: dict, reason: str, out: Path) -> None:
    """Write what the run has kept of a shard, and failed rows for the rest (in a process of its own)."""
    cohort = read_cohort(plan["manifest"])
    table = evaluation.score_cohort(
        cohort,
        shard["segmenter"],
        plan["run"],
        cases=cases_of(cohort, shard, plan["shards"]),
        settings=evaluation.Settings(evaluation.parse_plans(shard["prompts"])),
        limits=evaluation.Limits(nothing_asked=reason),
    )
    stamp = {k: v for k, v in table.attrs["stamp"].items() if k != "device"}  # nothing ran on it
    scores.write_scores(out, table, stamp=stamp)


def lost_rows(plan: dict, shard: dict, reason: str, out: Path) -> None:
    """Write the rows of a shard without a table; its segmenter may crash or hang as it is opened."""
    process = multiprocessing.get_context("spawn").Process(target=kept_rows, args=(plan, shard, reason, out))
    process.start()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode == 0:
        return
    name = re.split(r"[:/]", shard["segmenter"])[-1].removesuffix(".json")
    settings = evaluation.Settings(evaluation.parse_plans(shard["prompts"]))
    cases = cases_of(read_cohort(plan["manifest"]), shard, plan["shards"])
    table = evaluation.failed_rows(cases, name, reason, settings=settings)
    scores.write_scores(out, table, stamp={})


def collect(plan: dict) -> None:
    """Write the run's score table of what there is."""
    path, missing, parts = Path(plan["run"]) / "scores.parquet", [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, shard in enumerate(plan["tables"]):
            if stands(shard):
                parts.append(shard["table"])
                continue
            parts.append(Path(folder) / f"{number}.parquet")
            lost_rows(plan, shard, reason_of(shard, plan["since"]), parts[-1])
            missing.append(Path(shard["table"]).relative_to(plan["run"]).as_posix())
        table = scores.combine(parts)
    table.attrs["stamp"]["lost"] = missing
    scores.add_cases(path, table)
    os.utime(path, (1, 1))
    failed = int(table["status"].eq("failed").sum())
    print(f"== scores: {path} without {', '.join(missing)}: {failed} of {len(table)} rows failed; {AGAIN}")


if __name__ == "__main__":
    try:
        collect(json.load(sys.stdin))
    except InputError as error:
        sys.exit(f"umdlib: no score table of what there is: {error}")
