"""Ask whether agreement without labels ranks systems and predicts the gap, on enough simulated subjects for intervals.

    python benchmarks/agreement.py
    python benchmarks/agreement.py --subjects 3 --segmenters threshold,region_growing

The synthetic PET/CT cohort, all structures, the common click or the name of a class. Writes results/agreement.json
beside this file: agreement, gap and DSC on PET of every subject, structure and system, from which the chapter on a gap
without labels computes its validation where its own run has too few subjects.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path

import simulated

from umdlib import evaluation
from umdlib.statistics import label_free, pairs

RESULTS = Path(__file__).parent / "results" / "agreement.json"
SUBJECTS = 8
SEGMENTERS = ("threshold", "region_growing", "clicknet_both", "clicknet_pet", "clicknet_structural")
COLUMNS = ["subject", "session", "structure", "segmenter", "agreement", "gap", "pet_dice"]


def main() -> int:
    subjects, names = simulated.asked(__doc__, SUBJECTS, SEGMENTERS)
    with tempfile.TemporaryDirectory() as folder:
        cohort = simulated.cohort(Path(folder) / "cohort", subjects, progress=print)
        scores = evaluation.score_cohort(cohort, names, folder, settings=simulated.ONE_CLICK, report=print)
        within, _ = evaluation.agree_run(cohort, folder, names)
    rows = pairs.condition(scores[scores["status"].ne("unavailable")])
    beside = label_free.with_gap(within, pairs.paired_differences(rows))[COLUMNS]
    print(label_free.validation_table(beside).round(3).to_string())
    if (subjects, names) == (SUBJECTS, SEGMENTERS):
        record = {"command": "python benchmarks/agreement.py", "date": datetime.date.today().isoformat()}
        record |= {"seed": simulated.SEED, "spacing_mm": simulated.SPACING_MM}
        kept = {
            c: beside[c].round(6).tolist() if c in COLUMNS[4:] else beside[c].astype(str).tolist()
            for c in COLUMNS
        }
        RESULTS.write_text(json.dumps({**record, "columns": kept}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
