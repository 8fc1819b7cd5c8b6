"""Evaluation: a cohort through segmenters, examination by examination."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "run": ["failed_rows", "rescore", "score_cohort"],
        "plans": ["Plan", "Settings", "parse_plans", "taken_plans"],
        "ceilings": ["cohort_ceilings", "read_displacements"],
        "agreement": ["agree_run", "pointed_cohort"],
        "isolation": ["Limits"],
        "quantities": ["quantify_run"],
        "store": [
            "add_to_part",
            "case_folder",
            "compare_prompts",
            "read_prediction",
            "read_prompts",
            "write_parts",
        ],
    },
)
