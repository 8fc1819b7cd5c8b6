"""Measure organs' uptake in enough simulated subjects for a metabolic network, by references and by systems' masks.

    python benchmarks/metabolic.py
    python benchmarks/metabolic.py --subjects 4 --segmenters threshold

PET of the synthetic PET/CT cohort, all structures, the common click or the name of a class. Writes
results/metabolic.parquet beside this file, a table of quantities, from which the book's chapter on what a clinician
would read off computes networks where its own run has too few subjects.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from umdlib import evaluation, read_cohort, synthesise
from umdlib.quantities import write_quantities
from umdlib.scores.table import write_scores
from umdlib.synthetic import limits

RESULTS = Path(__file__).parent / "results" / "metabolic.parquet"
SEED, SPACING_MM, SUBJECTS = 20260207, 6.0, 20
SEGMENTERS = ("threshold", "region_growing", "clicknet_pet", "nnunet_small")
ONE_CLICK = evaluation.Settings((evaluation.Plan("centre", (0,), 0),))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--segmenters", default=",".join(SEGMENTERS), help="names, with , between them")
    a = parser.parse_args()
    names = tuple(a.segmenters.split(","))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = limits.Settings(spacing_mm=SPACING_MM)
        given = {"subjects": a.subjects, "seed": SEED, "sessions": ["petct"], "settings": settings}
        cohort = read_cohort(synthesise(root / "cohort", **given, progress=print))
        cases = [c for c in cohort.cases if c.modality == "PET"]
        scores = evaluation.score_cohort(cohort, names, root, cases=cases, settings=ONE_CLICK, report=print)
        write_scores(root / "scores.parquet", scores)
        table = evaluation.quantify_run(cohort, root)
    print(table.groupby("segmenter")["prediction_suv_mean"].describe())
    if (a.subjects, names) == (SUBJECTS, SEGMENTERS):
        stamp = {"command": "python benchmarks/metabolic.py", "date": datetime.date.today().isoformat()}
        write_quantities(RESULTS, table, stamp={**stamp, "seed": SEED, "spacing_mm": SPACING_MM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
