"""Ask whether agreement without labels ranks systems and predicts the gap, on enough simulated subjects for intervals.

    python benchmarks/agreement.py
    python benchmarks/agreement.py --subjects 3 --segmenters threshold,region_growing

The synthetic PET/CT cohort, all structures, the common click or the name of a class. Writes results/agreement.json
beside this file: agreement, gap and DSC on PET of every subject, structure and system, from which the chapter on a gap
without labels computes its validation where its own run has too few subjects.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path

from umdlib import evaluation, read_cohort, synthesise
from umdlib.statistics import label_free, pairs
from umdlib.synthetic import limits

RESULTS = Path(__file__).parent / "results" / "agreement.json"
SEED, SPACING_MM, SUBJECTS = 20260207, 6.0, 8
SEGMENTERS = ("threshold", "region_growing", "clicknet_both", "clicknet_pet", "clicknet_structural")
COLUMNS = ["subject", "session", "structure", "segmenter", "agreement", "gap", "pet_dice"]
ONE_CLICK = evaluation.Settings((evaluation.Plan("centre", (0,), 0),))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--segmenters", default=",".join(SEGMENTERS), help="names, with , between them")
    a = parser.parse_args()
    names = tuple(a.segmenters.split(","))
    with tempfile.TemporaryDirectory() as folder:
        settings = limits.Settings(spacing_mm=SPACING_MM)
        given = {"subjects": a.subjects, "seed": SEED, "sessions": ["petct"], "settings": settings}
        cohort = read_cohort(synthesise(Path(folder) / "cohort", **given, progress=print))
        scores = evaluation.score_cohort(cohort, names, folder, settings=ONE_CLICK, report=print)
        within, _ = evaluation.agree_run(cohort, folder, names)
    rows = pairs.condition(scores[scores["status"].ne("unavailable")])
    beside = label_free.with_gap(within, pairs.paired_differences(rows))[COLUMNS]
    print(label_free.validation_table(beside).round(3).to_string())
    if (a.subjects, names) == (SUBJECTS, SEGMENTERS):
        record = {"command": "python benchmarks/agreement.py", "date": datetime.date.today().isoformat()}
        record |= {"seed": SEED, "spacing_mm": SPACING_MM}
        kept = {
            c: beside[c].round(6).tolist() if c in COLUMNS[4:] else beside[c].astype(str).tolist()
            for c in COLUMNS
        }
        RESULTS.write_text(json.dumps({**record, "columns": kept}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
