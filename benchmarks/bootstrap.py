"""Time the bootstrap and the comparison table against SciPy, on a cohort of the size of UMD's.

    python benchmarks/bootstrap.py
    python benchmarks/bootstrap.py --quick

490 subjects, 13 structures, 6 segmenters: 78 means, 10 000 resamples. CPU seconds of one thread
(set OMP_NUM_THREADS=1), medians of rounds in random order. Writes results/bootstrap.json beside
this file. The exit status is 1 where an interval differs from SciPy's by more than 1e-12 on the
same draws.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

from umdlib.scores import simulated
from umdlib.statistics import bootstrap, signed_rank
from umdlib.statistics.comparison import compare
from umdlib.statistics.permutation import sign_flip_p

RESULTS = Path(__file__).parent / "results" / "bootstrap.json"
SUBJECTS, CELLS, RESAMPLES = 490, 78, 10_000
PEER_CELLS = 3  # SciPy takes one cell at a time; three stand for all


def own_bootstrap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of all cells, draws included."""
    counts = bootstrap.resample_counts(len(values), RESAMPLES, np.random.default_rng(1))
    return bootstrap.bca_interval(values, counts)


def peer_bootstrap(values: np.ndarray, cells: int) -> list[tuple[float, float]]:
    """The same, cell by cell, with SciPy."""
    found = []
    for column in values.T[:cells]:
        interval = stats.bootstrap(
            (column,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(1)
        ).confidence_interval
        found.append((interval.low, interval.high))
    return found


def cpu_seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    rounds = 1 if parser.parse_args().quick else 5
    rng = np.random.default_rng(0)
    # Multiples of 2**-20 add up without round-off: both programs then count the same ties.
    values = np.round(rng.normal(-0.05, 0.2, (SUBJECTS, CELLS)) * 2**20) / 2**20
    scores = simulated.score_table(n_subjects=SUBJECTS, gap=dict.fromkeys("abcdef", -0.1), seed=1)
    calls = {
        "umdlib bootstrap, 78 cells": (lambda: own_bootstrap(values), 1),
        "scipy.stats.bootstrap per cell": (lambda: peer_bootstrap(values, PEER_CELLS), CELLS / PEER_CELLS),
        "umdlib sign-flip, 78 cells": (lambda: sign_flip_p(values, n_resamples=RESAMPLES, rng=rng), 1),
        "umdlib Wilcoxon, 78 cells": (lambda: [signed_rank.wilcoxon(c) for c in values.T], 1),
        "umdlib comparison table": (lambda: compare(scores), 1),
    }
    taken = {name: [] for name in calls}
    for _ in range(rounds):
        for name in rng.permutation(list(calls)):
            call, factor = calls[name]
            taken[name].append(factor * cpu_seconds(call))
    seconds = {name: round(float(np.median(t)), 3) for name, t in taken.items()}
    low, high = own_bootstrap(values)
    peer = np.array(peer_bootstrap(values, PEER_CELLS))
    error = float(np.abs(np.column_stack([low, high])[:PEER_CELLS] - peer).max())
    ratio = seconds["scipy.stats.bootstrap per cell"] / seconds["umdlib bootstrap, 78 cells"]
    for name, value in seconds.items():
        print(f"{name:34s} {value:8.3f} s")
    print(f"SciPy takes {ratio:.0f} times as long; largest difference of an interval {error:.1e}")
    RESULTS.parent.mkdir(exist_ok=True)
    record = {
        "cpu_seconds": seconds,
        "ratio": round(ratio, 1),
        "largest_difference": error,
        "subjects": SUBJECTS,
        "cells": CELLS,
        "resamples": RESAMPLES,
        "rounds": rounds,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return int(error > 1e-12)


if __name__ == "__main__":
    sys.exit(main())
