"""CPU seconds of calls in interleaved rounds, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

# What takes longer runs once.
SLOW_SECONDS = 2

THREADS = ("OMP", "OPENBLAS", "MKL", "RAYON")


def cpu_seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(
    calls: dict, repeats: int, rng: np.random.Generator, failed: dict | None = None
) -> tuple[dict, dict]:
    """Result and median CPU seconds of each call.

    The first calls give the results and tell what is slow; then rounds in random order, so that
    load from elsewhere hits all alike. A call that raises an error goes into `failed` where one
    is given: it has no result and no time.
    """
    results, first = {}, {}
    for name, call in calls.items():
        start = time.process_time()
        try:
            results[name] = call()
        except Exception as error:
            if failed is None:
                raise
            failed[name] = f"stopped: {type(error).__name__}: {error}"[:200]
            continue
        first[name] = time.process_time() - start
    seconds = {name: [] for name, s in first.items() if s < SLOW_SECONDS}
    for _ in range(repeats):
        for name in rng.permutation(list(seconds)):
            seconds[str(name)].append(cpu_seconds(calls[name]))
    return results, first | {name: float(np.median(s)) for name, s in seconds.items()}


def machine() -> dict:
    """What the run was made on, and how busy it was at the start."""
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def one_thread() -> None:
    """Start again with one thread in every numerical library, where not said otherwise."""
    names = [f"{name}_NUM_THREADS" for name in THREADS]
    names.append("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    if any(name not in os.environ for name in names):
        os.environ.update(dict.fromkeys(names, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])
