"""Checks of a cohort before any score: every case, every pair, and the cases against each other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from umdlib.cohort.image_checks import Finding, image_findings, read_facts
from umdlib.cohort.manifest import Case, Cohort, RowFault, read_sound_rows
from umdlib.cohort.pair_checks import pair_findings
from umdlib.errors import InputError
from umdlib.files import in_utf8, replaced

# A fault cannot be right, a doubt is not plausible: both fail a check. A note does not.
KINDS = ("fault", "doubt", "note")


@dataclass(frozen=True)
class Report:
    """Results of the checks of a cohort.

    Attributes
    ----------
    cases
        One row per case: subject, session, modality, shape, spacing_mm, structures (number present),
        `fault` (its faults and doubts, and those of its pair beside the PET; empty where there is none).
    findings
        One row per finding, the columns of `Finding`; faults first.
    """

    cases: pd.DataFrame
    findings: pd.DataFrame

    @property
    def sound(self) -> bool:
        """Whether there is neither a fault nor a doubt."""
        return not self.findings["kind"].isin(["fault", "doubt"]).any()


@dataclass
class _Examined:
    """One examination, once its images are closed."""

    rows: list[dict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    fingerprints: dict[str, Case] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)


def check_manifest(
    manifest: str | Path,
    *,
    inside: str | Path | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> tuple[Cohort, Report]:
    """Check a manifest and every file that it names; rows that give no case are listed, not raised.

    Parameters
    ----------
    manifest
        As `read_cohort` takes it.
    inside
        Folder that every file must lie in, links followed; None allows any.
    jobs
        Examinations that are read at once, each in a process.
    progress
        Called with a line after each examination.

    Returns
    -------
    Cohort
        The rows that give a case.
    Report
        All cases and findings.

    Raises
    ------
    InputError
        A manifest that cannot be read as a table, or a list of structures that is not one.
    """
    cohort, faults = read_sound_rows(manifest, inside=inside)
    return cohort, _report(cohort, faults, jobs, progress)


def examine_cohort(cohort: Cohort) -> Report:
    """Check every case and pair of a cohort; the result is that of `check_manifest`."""
    return _report(cohort, [], 1, None)


def check_cohort(cohort: Cohort) -> pd.DataFrame:
    """Read every file of the cohort once.

    Returns
    -------
    pandas.DataFrame
        `Report.cases`. Nothing is raised: all faults and doubts are listed.
    """
    return examine_cohort(cohort).cases


def write_report(path: str | Path, manifest: str | Path, report: Report) -> Path:
    """Write cases and findings as JSON; what is not a number is null."""
    content = {
        "manifest": str(manifest),
        "sound": report.sound,
        "counts": {kind: int((report.findings["kind"] == kind).sum()) for kind in KINDS},
        "cases": report.cases.to_dict("records"),
        "findings": report.findings.to_dict("records"),
    }
    with replaced(path) as part:
        text = json.dumps(_plain(content), indent=1, ensure_ascii=False)
        part.write_text(in_utf8(text) + "\n", encoding="utf-8")
    return Path(path)


def _plain(value):
    """Without NaN, tuples and NumPy's numbers."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value


def _report(
    cohort: Cohort, faults: list[RowFault], jobs: int, progress: Callable[[str], None] | None
) -> Report:
    """Examine all, then compare the cases with each other."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cohort.cases:
        groups.setdefault((case.subject, case.session), []).append(case)
    examined = []
    for number, found in enumerate(_examine_all(list(groups.values()), jobs), start=1):
        examined.append(found)
        if progress is not None:
            bad = sum(f.kind != "note" for f in found.findings)
            first = found.rows[0]
            what = f"{bad} findings" if bad > 1 else "1 finding" if bad else "nothing found"
            progress(f"[{number}/{len(groups)}] {first['subject']} {first['session']}: {what}")
    findings = [Finding("fault", "manifest", f.subject, f.session, f.modality, f.message) for f in faults]
    findings += [f for e in examined for f in e.findings]
    findings += [*_duplicates(examined), *_unpaired(cohort), *_names(cohort, examined)]
    findings.sort(key=lambda f: KINDS.index(f.kind))
    rows = [_with_faults(row, findings) for e in examined for row in e.rows]
    columns = ["subject", "session", "modality", "shape", "spacing_mm", "structures", "fault"]
    listed = [asdict(f) for f in findings]
    return Report(
        pd.DataFrame(rows, columns=columns), pd.DataFrame(listed, columns=list(Finding.__annotations__))
    )


def _examine_all(groups: list[list[Case]], jobs: int) -> Iterator[_Examined]:
    """Each examination in order, in `jobs` processes."""
    if jobs < 2 or len(groups) < 2:
        yield from map(_examine, groups)
        return
    with ProcessPoolExecutor(min(jobs, len(groups)), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(_examine, groups)
        except BrokenExecutor:
            raise InputError(
                "A process that read an examination was ended from outside, often for want of memory. Give the "
                f"same command again, with fewer --jobs than {jobs}."
            ) from None


def _examine(cases: list[Case]) -> _Examined:
    """Read the cases of one examination and check each, then the two together."""
    examined, readable = _Examined(), {}
    for case in cases:
        row = {"subject": case.subject, "session": case.session, "modality": case.modality}
        try:
            facts = read_facts(case)
        except InputError as error:
            names = (case.subject, case.session, case.modality)
            examined.findings.append(Finding("fault", "read", *names, str(error)))
            examined.rows.append(row | {"shape": None, "spacing_mm": None, "structures": 0})
            continue
        readable[case.structural] = facts
        examined.findings += image_findings(facts)
        examined.fingerprints[facts.fingerprint] = case
        examined.present |= set(facts.volumes_ml)
        shape, spacing = tuple(map(int, facts.shape)), facts.spacing_mm
        examined.rows.append(
            row | {"shape": shape, "spacing_mm": spacing, "structures": len(facts.volumes_ml)}
        )
    if len(readable) == 2:
        examined.findings += pair_findings(readable[True], readable[False])
    return examined


def _with_faults(row: dict, findings: Iterable[Finding]) -> dict:
    """A row of `Report.cases` with its faults and doubts; those of a pair stand beside its PET."""
    own = [
        f.message
        for f in findings
        if f.kind != "note"
        and (f.subject, f.session) == (row["subject"], row["session"])
        and (f.modality or "PET") == row["modality"]
    ]
    return row | {"fault": " ".join(own)}


def _duplicates(examined: list[_Examined]) -> Iterator[Finding]:
    """Images that are there twice: all of a subject's under another name, one of them, or both as one."""
    seen: dict[str, Case] = {}
    for one in examined:
        first = one.rows[0]
        if len(one.fingerprints) < sum(row["shape"] is not None for row in one.rows):
            message = f"The two images of {first['subject']} {first['session']} are voxel for voxel the same."
            yield Finding("fault", "duplicate", first["subject"], first["session"], "", message, 2, 1)
        known = {
            case: other
            for fingerprint, case in one.fingerprints.items()
            if (other := seen.setdefault(fingerprint, case)).subject != case.subject
        }
        whole = len(known) == len(one.fingerprints)
        for case, other in known.items():
            message = f"The image of {case.name} is the same as that of {other.name}: " + (
                "one person under two names?" if whole else "one person twice, with another tracer?"
            )
            names = (case.subject, case.session, case.modality)
            yield Finding("fault" if whole else "note", "duplicate", *names, message, len(known), 0)


def _unpaired(cohort: Cohort) -> Iterator[Finding]:
    """Examinations with one image."""
    paired = {(c.subject, c.session) for pair in cohort.pairs() for c in pair}
    for case in cohort.cases:
        if (case.subject, case.session) not in paired:
            message = (
                f"{case.name} has no partner: it is scored, and left out of every comparison of modalities."
            )
            yield Finding("note", "unpaired", case.subject, case.session, case.modality, message, 1, 2)


def _names(cohort: Cohort, examined: list[_Examined]) -> Iterator[Finding]:
    """What the label values are called where nothing says it."""
    present = sorted(set().union(*(e.present for e in examined))) if examined else []
    if not cohort.guessed_names or not present:
        return
    shown = ", ".join(f"{s.value} = {s.name}" for s in cohort.structures if s.name in present)
    alone = len(present) == 1
    message = (
        f"No dseg.tsv beside {cohort.manifest} says what the label values mean; they are taken as {shown}"
        + (", the only value there is: is it a lesion?" if alone else ".")
    )
    yield Finding("doubt" if alone else "note", "names", "", "", "", message, len(present), 1 if alone else 0)
