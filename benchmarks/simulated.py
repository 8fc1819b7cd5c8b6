"""Subjects of the synthetic PET/CT cohort for benchmarks, and the arguments that choose how many and by what."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from umdlib import evaluation, read_cohort, synthesise
from umdlib.cohort.manifest import Cohort
from umdlib.synthetic import limits

SEED, SPACING_MM = 20260207, 6.0
ONE_CLICK = evaluation.Settings((evaluation.Plan("centre", (0,), 0),))


def asked(about: str, subjects: int, segmenters: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Subjects and segmenters of the command line; the given ones are its defaults."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=subjects)
    parser.add_argument("--segmenters", default=",".join(segmenters), help="names, with , between them")
    a = parser.parse_args()
    return a.subjects, tuple(a.segmenters.split(","))


def cohort(
    folder: Path,
    subjects: int,
    spacing_mm: float = SPACING_MM,
    progress: Callable[[str], None] = lambda line: None,
) -> Cohort:
    """Simulate subjects in a folder."""
    settings = limits.Settings(spacing_mm=spacing_mm)
    manifest = synthesise(
        folder, subjects=subjects, seed=SEED, sessions=["petct"], settings=settings, progress=progress
    )
    return read_cohort(manifest)
