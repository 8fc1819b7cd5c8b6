"""A part of a cohort: some subjects, one session, some structures; the images stay where they are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from umdlib import labels
from umdlib.cohort.manifest import Cohort, write_manifest, write_structures
from umdlib.errors import InputError, unknown_name
from umdlib.images.volume import LabelMap, write_label_map


def write_subset(
    cohort: Cohort,
    folder: str | Path,
    *,
    subjects: Iterable[str] = (),
    session: str = "",
    structures: Iterable[str] = (),
) -> Path:
    """Write manifest, structures and references of a part of a cohort.

    Parameters
    ----------
    cohort
        The whole.
    folder
        Of the part. References are written there, without the structures that are left out; images
        are named by their path from there.
    subjects, session, structures
        What is kept; nothing keeps all.

    Returns
    -------
    pathlib.Path
        ``folder/manifest.tsv``.

    Raises
    ------
    InputError
        A subject or structure that the cohort lacks; nothing left; a folder that cannot be written.
    """
    subjects, structures = set(subjects), set(structures)
    for name in sorted(subjects - set(cohort.subjects())):
        raise unknown_name("subject", name, cohort.subjects())
    for name in sorted(structures):
        labels.structure(name, cohort.structures)
    if session:
        labels.session(session)
    folder = apart(cohort, folder)
    kept = [s for s in cohort.structures if not structures or s.name in structures]
    top = max(s.value for s in cohort.structures)
    keep = np.zeros(1 + top, np.uint8 if top < 256 else np.uint16)
    keep[[s.value for s in kept]] = [s.value for s in kept]
    rows = []
    for case, row in zip(cohort.cases, cohort.table.to_dict("records"), strict=True):
        if (subjects and case.subject not in subjects) or session not in ("", case.session):
            continue
        rows.append(row | {"image": os.path.relpath(case.image, folder), "reference": None})
        if case.reference is not None:
            whole = case.read_reference()
            reference = folder / "references" / f"{case.name}.nii.gz"
            write_label_map(reference, LabelMap(keep[whole.data], whole.affine))
            rows[-1]["reference"] = os.path.relpath(reference, folder)
    if not rows:
        raise InputError(f"Nothing of {cohort.name} is left: no such subject in session {session}.")
    write_structures(folder / "dseg.tsv", kept)
    return write_manifest(folder / "manifest.tsv", rows)


def apart(cohort: Cohort, folder: str | Path) -> Path:
    """A folder for another cohort, resolved since paths that go up do not lead through a link.

    Raises
    ------
    InputError
        It is the cohort's own.
    """
    folder = Path(folder).resolve()
    if folder == cohort.manifest.parent.resolve():
        raise InputError(f"{folder} holds the cohort itself. Name another folder.")
    return folder
