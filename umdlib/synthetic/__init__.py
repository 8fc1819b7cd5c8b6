"""Synthetic paired subjects with known truth: anatomy, scanner physics, cohort on disk."""

from umdlib.synthetic.cohort import synthesise

__all__ = ["synthesise"]
