"""Statistics over subjects: from a score table to estimates, intervals, tests and verdicts."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["agreement", "attribution", "factorial", "label_free", "networks", "reference_gap"],
    submod_attrs={
        "bootstrap": ["interval_of_mean"],
        "ceilings": ["beside_ceilings", "read_ceilings", "structure_ceilings"],
        "click_curves": ["curve_table", "effort_table", "gain_is_worse", "until_satisfied"],
        "comparison": ["Settings", "TESTS", "compare", "compare_each"],
        "distribution_free": ["distribution_free_bounds"],
        "domain_shift": ["PARTS", "domain_changes", "domain_scores", "reference_parts"],
        "equivalence": ["detectable_effect"],
        "flow": ["flow_table"],
        "hurdle": ["hurdle_table"],
        "operating_characteristics": [
            "SHAPES",
            "coverage",
            "equivalence_rates",
            "false_alarms",
            "missing_coverage",
            "type_one_error",
        ],
        "pairs": ["condition", "paired_differences", "subject_means", "unpaired"],
        "plan": ["exploratory_words", "plan_hash", "plan_words", "read_plan"],
        "planning": ["planning_table"],
        "ranking": ["rank_segmenters", "ranking_sensitivity"],
        "reported": ["measured_own", "own_sum", "reported_table"],
        "subgroups": ["FACTORS", "subgroup_table", "subject_factors"],
        "unseen_structures": ["cost_of_withholding", "paired_scores"],
        "variance_components": ["component_table"],
        "verdicts": ["FLOOR", "VERDICTS", "at_floor", "floors"],
    },
)
