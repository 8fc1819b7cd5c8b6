"""Measure what a ladder costs beside the predictions that it cannot do without.

    python benchmarks/ladder.py
    python benchmarks/ladder.py --spacing 6 --segmenters threshold

One pair of the synthetic PET/CT cohort at each size, all structures, the common click. Measured in CPU seconds: the
estimates, the degraded images, and a whole ladder after a run has scored the pair (fifteen cells are asked); beside it,
of one image, its predictions alone (mean over those cells), and all that a run does (reading, prompts, predictions,
scores). The goal is at most sixteen times one prediction and a fifth more. Writes results/ladder.json beside this file,
shown in the book's chapter on the ladder. The exit status is 1 where the goal is missed, measured by images of a run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import simulated
from timing import cpu_seconds, machine, one_thread

from umdlib import ladder
from umdlib.cohort.manifest import Cohort
from umdlib.evaluation.run import score_cohort

RESULTS = Path(__file__).parent / "results" / "ladder.json"
SPACINGS_MM, SEGMENTERS = (6.0, 4.0), ("threshold", "region_growing", "clicknet_structural")
GOAL = 1.2


def measured(cohort: Cohort, name: str, folder: Path) -> dict:
    """CPU seconds of one segmenter: an image of a run, the ladder after that run, and a prediction in it."""
    run = cpu_seconds(lambda: score_cohort(cohort, name, folder / "run", settings=simulated.ONE_CLICK)) / 2
    settings, found = ladder.LadderSettings(run=folder / "run"), []
    with mock.patch("time.perf_counter", time.process_time):  # a cell says how long its predictions took
        whole = cpu_seconds(
            lambda: found.append(ladder.ladder_run(cohort, [name], folder / "ladder", settings=settings)[0])
        )
    cells = found[0]
    asked = cells[~cells["cell"].isin([ladder.cells.NONE, ladder.cells.PET])]
    one = asked["seconds"].sum() / asked["cell"].nunique()
    return {
        "segmenter": name,
        "prediction_s": round(one, 3),
        "image_of_a_run_s": round(run, 3),
        "ladder_s": round(whole, 2),
        "over_predictions": round(whole / (16 * one), 3),
        "over_images_of_a_run": round(whole / (16 * run), 3),
    }


def stages(cohort: Cohort) -> dict:
    """CPU seconds of the estimates and of the sixteen images of a pair."""
    structural, pet = (c.read() for c in cohort.pairs()[0])
    found = []
    estimates = cpu_seconds(lambda: found.append(ladder.estimate_pair(structural, pet, cohort.structures)))
    images = cpu_seconds(lambda: list(ladder.degraded_cells(structural[0], found[0].made_of)))
    return {
        "shapes": [list(structural[0].shape), list(pet[0].shape)],
        "estimates_s": round(estimates, 2),
        "images_s": round(images, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--spacing", default=",".join(f"{s:g}" for s in SPACINGS_MM), help="PET voxels in mm, with ,"
    )
    parser.add_argument("--segmenters", default=",".join(SEGMENTERS), help="names, with , between them")
    a = parser.parse_args()
    one_thread()
    spacings, names = tuple(map(float, a.spacing.split(","))), tuple(a.segmenters.split(","))
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for n, spacing in enumerate((8.0, *spacings)):  # the first compiles, and is not kept
            place = Path(folder) / str(n)
            cohort = simulated.cohort(place / "cohort", 1, spacing)
            row = {"spacing_mm": spacing, **stages(cohort)}
            some = names if n else names[:1]
            row["rows"] = [measured(cohort, name, place / name) for name in some]
            if n:
                sizes.append(row)
                print(json.dumps(row, indent=1), flush=True)
    if (spacings, names) == (SPACINGS_MM, SEGMENTERS):
        record = {
            "sizes": sizes,
            "goal": GOAL,
            "machine": machine(),
            "date": datetime.date.today().isoformat(),
        }
        RESULTS.write_text(json.dumps({**record, "command": "python benchmarks/ladder.py"}, indent=1) + "\n")
    return 0 if all(r["over_images_of_a_run"] <= GOAL for s in sizes for r in s["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
