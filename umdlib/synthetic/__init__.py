"""Synthetic paired subjects with known truth: anatomy, scanner physics, cohort on disk."""

from umdlib.synthetic.cohort import synthesise
from umdlib.synthetic.own_cohort import read_names, read_strengths, simulate_cohort
from umdlib.synthetic.scanner.factors import Factors, factors, only
from umdlib.synthetic.scanner.simulation import Pair, image_pair, simulate

__all__ = [
    "Factors",
    "Pair",
    "factors",
    "image_pair",
    "only",
    "read_names",
    "read_strengths",
    "simulate",
    "simulate_cohort",
    "synthesise",
]
