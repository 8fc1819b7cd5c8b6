"""A cohort's cases of one session and modality as nnU-Net's raw data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.images.orientation import to_ras
from umdlib.images.partner import onto
from umdlib.labels import Structure

DATASET_ID = 1  # one data set per working folder


def dataset_name(session: str, modality: str) -> str:
    """nnU-Net's name of a data set.

    Examples
    --------
    >>> dataset_name("petct", "PET")
    'Dataset001_petct_PET'
    """
    return f"Dataset{DATASET_ID:03d}_{session}_{modality}"


def training_cases(cohort: Cohort, session: str, modality: str, *, subjects: int) -> tuple[Case, ...]:
    """Cases of a session and modality, enough to train on."""
    cases = tuple(c for c in cohort.cases if (c.session, c.modality) == (session, modality))
    if not cases:
        raise InputError(f"No case of {cohort.manifest} is {modality} of session {session}.")
    if len(cases) < subjects:
        raise InputError(
            f"{cohort.manifest} holds {len(cases)} subjects with {modality} of session {session}. "
            f"A specialist of this recipe is trained on {subjects} or more; the recipe 'smoke' "
            "takes fewer, to see that it runs."
        )
    return cases


def partners_of(cohort: Cohort, cases: Sequence[Case]) -> dict[str, Case]:
    """The other image of each case's examination, by subject."""
    pairs = {case.name: other for pair in cohort.pairs() for case, other in (pair, pair[::-1])}
    for case in cases:
        if case.name not in pairs:
            raise InputError(
                f"{case.subject} {case.session} of {cohort.manifest} has {case.modality} alone. A network of two "
                "images is trained on complete pairs."
            )
    return {case.subject: pairs[case.name] for case in cases}


def write_raw(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    folder: Path | str,
    partners: Mapping[str, Case] | None = None,
) -> dict[str, list[str]]:
    """Write images, label maps and ``dataset.json`` below ``folder/DatasetXXX_…``.

    Files are turned to RAS+ so that left stays left whatever the axes of a file; label values
    become 1, 2, … in the order of `structures`, as nnU-Net demands.

    Parameters
    ----------
    cases
        Of one session and modality.
    structures
        What is learned.
    folder
        nnU-Net's raw folder.
    partners
        Subject to the other image of its examination, where the network sees both: it is interpolated onto
        the image's grid as `umdlib.images.partner.onto` does, and channels are the structural image, then PET.

    Returns
    -------
    dict
        Structure name to the subjects whose reference holds it.
    """
    first = cases[0]
    root = Path(folder) / dataset_name(first.session, first.modality)
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True, exist_ok=True)
    present: dict[str, list[str]] = {s.name: [] for s in structures}
    for case in cases:
        image, reference = case.read()
        renamed, found = consecutive(reference.data, structures)
        for name in found:
            present[name].append(case.subject)
        channels = {case.modality: image.data.astype(np.float32)}
        if partners is not None:
            other = partners[case.subject]
            channels[other.modality] = onto(image, other.read_image())
        for number, modality in enumerate(sorted(channels, key=lambda m: m == "PET")):
            file = root / "imagesTr" / f"{case.subject}_{number:04d}.nii.gz"
            _write_ras(channels[modality], image.affine, file)
        _write_ras(renamed, reference.affine, root / "labelsTr" / f"{case.subject}.nii.gz")
    absent = [name for name, subjects in present.items() if not subjects]
    if absent:
        raise InputError(
            f"Structure '{absent[0]}' is in none of the {len(cases)} training references of "
            f"{first.modality}, session {first.session}. Leave it out of dseg.tsv, or train on "
            "subjects that have it."
        )
    seen = {first.modality} | {p.modality for p in (partners or {}).values()}
    about = {
        "channel_names": {str(n): m for n, m in enumerate(sorted(seen, key=lambda m: m == "PET"))},
        "labels": {"background": 0, **{s.name: n for n, s in enumerate(structures, start=1)}},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return present


def consecutive(labels: np.ndarray, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
    """Label map (I, J, K) with values 1, 2, … in the order of `structures`, and the names found.

    Examples
    --------
    >>> two = (Structure(7, "a", "A", "a", "#000000"), Structure(9, "b", "B", "b", "#000000"))
    >>> renamed, found = consecutive(np.array([[[0, 9, 9]]]), two)
    >>> renamed.tolist(), found
    ([[[0, 2, 2]]], ['b'])
    """
    table = np.zeros(max(int(labels.max()), *(s.value for s in structures)) + 1, np.uint8)
    counts = np.bincount(labels.ravel(), minlength=len(table))
    found = []
    for number, s in enumerate(structures, start=1):
        table[s.value] = number
        if counts[s.value]:
            found.append(s.name)
    return table[labels], found


def _write_ras(data: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an array turned to RAS+."""
    nib.save(nib.Nifti1Image(*to_ras(data, affine)), path)
