"""The score table: one row per prediction."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "release": [
            "Comparison",
            "Release",
            "compare_with_release",
            "live_subjects",
            "misfit",
            "read_card",
            "read_release",
            "release_files",
            "release_names",
            "this_machine",
            "write_release",
        ],
        "table": [
            "KEYS",
            "SCHEMA_VERSION",
            "add_cases",
            "check_scores",
            "combine",
            "missing_pairs",
            "provenance",
            "read_scores",
            "write_scores",
        ],
        "empty_rules": [
            "EMPTY_RULES",
            "check_scores",
            "higher_is_better",
            "is_directed",
            "score_limits",
            "with_empty_rule",
        ],
    },
)
