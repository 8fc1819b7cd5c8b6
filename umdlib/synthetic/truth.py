"""What was planted in a synthetic subject: the record beside its images."""

from __future__ import annotations

import json
from pathlib import Path

from umdlib.cohort.manifest import Case, Cohort


def record_path(folder: Path, subject: str, session: str) -> Path:
    """Where the record of a subject lies."""
    return folder / f"{subject}_ses-{session}_synthesis.json"


def read_record(path: Path) -> dict | None:
    """A record; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def truth(case: Case) -> dict:
    """Record of what was planted in a case's subject; empty for any other cohort."""
    return read_record(record_path(case.image.parent.parent, case.subject, case.session)) or {}


def truths(cohort: Cohort) -> list[dict]:
    """Records of what was planted in each examination of a cohort, in its order; empty for any other cohort."""
    structural = (c for c in cohort.cases if c.structural)
    return [found for case in structural if (found := truth(case))]
