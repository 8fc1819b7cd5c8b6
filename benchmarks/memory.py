"""Peak memory of one system above the two volumes it is given, in a process of its own.

    python benchmarks/memory.py SYSTEM REFERENCE.npy PREDICTION.npy SPACING STRUCTURES [CHECKOUT …]

The process imports the system and scores two tiny volumes first, so that what stays in memory
(libraries, compiled code) is not counted; then it loads the volumes and scores them once.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

STATUS = Path("/proc/self/status")


def peak_mb(system, reference, prediction, spacing_mm, structures, checkouts) -> float:
    """Run this file for a system; peak in MB above what was in use with both volumes loaded."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npy" for name in ("reference", "prediction")]
        for path, data in zip(paths, (reference, prediction), strict=True):
            np.save(path, data)
        arguments = [system, *paths, json.dumps(spacing_mm), json.dumps(structures), *checkouts]
        done = subprocess.run(
            [sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, check=True
        )
    return float(done.stdout.split()[-1])


def tiny() -> np.ndarray:
    """A label map with two structures."""
    volume = np.zeros((70, 12, 10), np.uint8, order="F")
    volume[10:30, 2:9, 2:8], volume[40:60, 2:9, 2:8] = 1, 2
    return volume


def kilobytes(key: str) -> int:
    """A figure of this process."""
    lines = STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def main() -> None:
    import peers
    import scoring

    warnings.simplefilter("ignore")
    system, reference, prediction, spacing_mm, structures, *checkouts = sys.argv[1:]
    systems, _ = peers.installed([Path(c) for c in checkouts])
    score = systems[system].score if system in systems else scoring.own_scores
    spacing_mm, structures = json.loads(spacing_mm), json.loads(structures)
    score(tiny(), np.roll(tiny(), 1, axis=0), spacing_mm, (1, 2))
    pair = [np.load(path) for path in (reference, prediction)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (proc(5))
    before = kilobytes("VmRSS")
    score(*pair, spacing_mm, structures)
    print((kilobytes("VmHWM") - before) / 1024)


if __name__ == "__main__":
    main()
