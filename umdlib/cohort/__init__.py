"""Cohorts: subjects, sessions and cases of a manifest, and how one is made from files."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checks": ["Report", "check_cohort", "check_manifest", "write_report"],
        "importing": ["ImportOptions", "plan_import"],
        "manifest": [
            "COLUMNS",
            "OPTIONAL",
            "Case",
            "Cohort",
            "file_hash",
            "inclusion_table",
            "read_cohort",
            "read_structures",
            "write_manifest",
            "write_structures",
        ],
        "plan": ["carry_out"],
        "shards": ["shard_subjects"],
        "public": ["fetch", "record", "records"],
    },
)
