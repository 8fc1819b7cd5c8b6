"""Synthetic paired subjects with known truth: anatomy, scanner physics, cohort on disk."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cohort": ["synthesise"],
        "limits": ["Settings"],
        "own_cohort": ["read_names", "read_strengths", "simulate_cohort"],
        "scanner.factors": ["Factors", "factors", "only"],
        "scanner.simulation": ["Pair", "image_pair", "simulate"],
    },
)
