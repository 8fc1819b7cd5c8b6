"""The lesions of a synthetic cohort as a cohort of its own: every lesion is a structure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from umdlib.cohort.manifest import Case, Cohort, write_manifest, write_structures
from umdlib.cohort.subset import apart
from umdlib.errors import InputError
from umdlib.images import geometry, masks, volume
from umdlib.images.volume import LabelMap
from umdlib.labels import Structure

_COLOUR = "#e69f00"


def write_lesion_cohort(cohort: Cohort, folder: str | Path) -> Path:
    """Write manifest, structures and references of the lesions that the synthesis planted.

    A lesion is a component of the structural image's lesions, the largest is ``lesion_01``. On PET a voxel of a
    lesion belongs to the nearest of them, so that both images of an examination name the same lesions.

    Parameters
    ----------
    cohort
        A synthetic cohort that was made with lesions.
    folder
        Of the new one. References are written there; images are named by their path from there.

    Returns
    -------
    pathlib.Path
        ``folder/manifest.tsv``.

    Raises
    ------
    InputError
        A case without planted lesions, an examination without a structural image; the cohort's own folder.
    """
    folder, rows, most = apart(cohort, folder), [], 0
    structural: dict[tuple[str, str], LabelMap] = {}
    pairs = zip(cohort.cases, cohort.table.to_dict("records"), strict=True)
    for case, row in sorted(pairs, key=lambda pair: not pair[0].structural):
        lesions, examination = read_lesions(case), (case.subject, case.session)
        if case.structural:
            structural[examination] = lesions
            most = max(most, int(lesions.data.max()))
        elif examination not in structural:
            raise InputError(f"{case.name} has no structural image, whose lesions number those of PET.")
        else:
            lesions = _named_as(structural[examination], lesions)
        reference = folder / "references" / f"{case.name}.nii.gz"
        volume.write_label_map(reference, lesions)
        where = {"image": case.image, "reference": reference}
        rows.append(row | {k: os.path.relpath(v, folder) for k, v in where.items()})
    names = [Structure(n, f"lesion_{n:02d}", f"Lesion {n}", f"L{n}", _COLOUR) for n in range(1, most + 1)]
    write_structures(folder / "dseg.tsv", names)
    return write_manifest(folder / "manifest.tsv", rows)


def read_lesions(case: Case) -> LabelMap:
    """Lesions of a synthetic case: connected components on its grid, numbered by size.

    Raises
    ------
    InputError
        If the cohort was made without lesions, or none is left on this grid.
    """
    path = lesion_file(case)
    if not path.is_file():
        raise InputError(
            f"File {path} does not exist. A cohort with lesions is made by "
            "`umdlib synthesise OUT --lesions 12`."
        )
    found = volume.read_label_map(path)
    if not found.data.any():
        raise InputError(f"File {path} holds no lesion. At least one is needed.")
    return LabelMap(by_size(found.data > 0), found.affine, path.name)


def lesion_file(case: Case) -> Path:
    """Where the synthesis puts the lesions of a case: beside its reference.

    Raises
    ------
    InputError
        No reference, or one whose name is not of a synthetic cohort.
    """
    if case.reference is None:
        raise InputError(f"{case.name} has no reference, beside which its lesions would lie.")
    name = case.reference.name
    if "_dseg" not in name:
        raise InputError(
            f"Reference {case.reference} is not named as the synthesis names one: it lacks '_dseg'."
        )
    return case.reference.with_name(name.replace("_dseg", "_label-lesion_dseg"))


def by_size(mask: np.ndarray) -> np.ndarray:
    """Components (26 neighbours) of a mask (I, J, K), numbered from 1 by falling size, uint16.

    Examples
    --------
    >>> by_size(np.array([[[1, 0, 1, 1, 0, 1]]], bool)).tolist()
    [[[2, 0, 1, 1, 0, 3]]]
    """
    numbers, sizes = masks.components(mask)
    if len(sizes) > 65536:
        raise InputError(f"{len(sizes) - 1} components are too many. At most 65535 are numbered.")
    order = np.argsort(-sizes[1:], kind="stable") + 1
    rank = np.zeros(len(sizes), np.uint16)
    rank[order] = np.arange(1, len(sizes))
    return rank[numbers]


def _named_as(structural: LabelMap, lesions: LabelMap) -> LabelMap:
    """Lesions of another grid, each voxel with the number of the nearest structural one in the world."""
    places, wanted = (np.argwhere(m.data > 0) for m in (structural, lesions))
    tree = cKDTree(geometry.to_world(structural.affine, places))
    near = places[tree.query(geometry.to_world(lesions.affine, wanted))[1]]
    numbers = np.zeros(lesions.data.shape, structural.data.dtype)
    numbers[tuple(wanted.T)] = structural.data[tuple(near.T)]
    return LabelMap(numbers, lesions.affine, lesions.name)
