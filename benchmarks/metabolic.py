"""Measure organs' uptake in enough simulated subjects for a metabolic network, by references and by systems' masks.

    python benchmarks/metabolic.py
    python benchmarks/metabolic.py --subjects 4 --segmenters threshold

PET of the synthetic PET/CT cohort, all structures, the common click or the name of a class. Writes
results/metabolic.parquet beside this file, a table of quantities, from which the book's chapter on what a clinician
would read off computes networks where its own run has too few subjects.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
from pathlib import Path

import simulated

from umdlib import evaluation
from umdlib.quantities import write_quantities
from umdlib.scores.table import write_scores

RESULTS = Path(__file__).parent / "results" / "metabolic.parquet"
SUBJECTS = 20
SEGMENTERS = ("threshold", "region_growing", "clicknet_pet", "nnunet_small")


def main() -> int:
    subjects, names = simulated.asked(__doc__, SUBJECTS, SEGMENTERS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cohort = simulated.cohort(root / "cohort", subjects, progress=print)
        cases = [c for c in cohort.cases if c.modality == "PET"]
        scores = evaluation.score_cohort(
            cohort, names, root, cases=cases, settings=simulated.ONE_CLICK, report=print
        )
        write_scores(root / "scores.parquet", scores)
        table = evaluation.quantify_run(cohort, root)
    print(table.groupby("segmenter")["prediction_suv_mean"].describe())
    if (subjects, names) == (SUBJECTS, SEGMENTERS):
        stamp = {"command": "python benchmarks/metabolic.py", "date": datetime.date.today().isoformat()}
        write_quantities(
            RESULTS, table, stamp={**stamp, "seed": simulated.SEED, "spacing_mm": simulated.SPACING_MM}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
