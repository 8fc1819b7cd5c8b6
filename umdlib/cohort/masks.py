"""One mask per structure in a folder of each subject: TotalSegmentator's output and data sets, and kin."""

from __future__ import annotations

from pathlib import Path

from umdlib import labels
from umdlib.cohort.names import LEFT_OUT, NameMap, named_within, normal
from umdlib.cohort.pattern import session_name
from umdlib.cohort.plan import Part, Plan, Planned
from umdlib.cohort.walk import composed, files_below, is_volume, stem, subfolders
from umdlib.errors import InputError

# What images are called, without suffix and in lower case.
_IMAGE_NAMES = {
    "ct": "CT",
    "pet": "PET",
    "pt": "PET",
    "suv": "PET",
    "mr": "MR",
    "mri": "MR",
    "t1": "MR",
    "image": "CT",
}


def plan_masks(folder: str | Path, names: NameMap) -> Plan:
    """Plan a cohort of subject folders with images and a folder of masks.

    Parameters
    ----------
    folder
        ``<subject>/[<session>/]{ct,pet,mr}.nii.gz`` and masks in a folder beside them. A folder whose name
        begins with a modality (``pet_masks``) belongs to that image, any other to all images there.
    names
        What the masks' file names mean.
    """
    folder, plan = Path(folder), Plan()
    for subject in subfolders(folder):
        files = files_below(subject, plan.left_out)
        images = {f: _IMAGE_NAMES[stem(f)] for f in files if is_volume(f) and stem(f) in _IMAGE_NAMES}
        for place in sorted({f.parent for f in images}, key=composed):
            label = composed(place.relative_to(subject)).replace("/", "")
            here = {f: m for f, m in images.items() if f.parent == place}
            masks = [
                f for f in files if is_volume(f) and place in f.parents and f.parent not in (place, subject)
            ]
            _examination(plan, subject.name, "" if label == "." else label, here, masks, names)
        _tell_strays(plan, files, images)
    if not plan.rows:
        raise InputError(
            f"No image in the folders of {folder}. One is called {', '.join(sorted(_IMAGE_NAMES))}, with .nii.gz "
            "or another suffix of a volume, in a folder of its subject: SUBJECT/ct.nii.gz beside "
            "SUBJECT/segmentations/liver.nii.gz. Other names: `umdlib import pattern`."
        )
    plan.structures = {name for row in plan.rows for part in row.reference for name in part.names()}
    return plan


def _examination(
    plan: Plan, subject: str, label: str, images: dict[Path, str], masks: list[Path], names: NameMap
) -> None:
    """Add the images of one folder, each with its masks."""
    kinds = {s.structural: s.name for s in labels.SESSIONS.values()}
    for file, modality in images.items():
        parts = []
        for mask in masks:
            owner = _IMAGE_NAMES.get(normal(mask.parent.name).split("_")[0])
            if owner not in (None, modality):
                continue
            structure = names.of_name(stem(mask))
            if structure:
                parts.append(Part(mask, structure))
            elif structure == LEFT_OUT:
                plan.leave_out(mask, "a structure that is left out on purpose")
            elif meaning := named_within(mask, names):
                parts.append(Part(mask, meaning))
            else:
                plan.leave_out(mask, "not a known structure; name it in a table (--names)")
        structural = [m for m in images.values() if m in kinds]
        kind = kinds[modality if modality in kinds else (structural or ["CT"])[0]]
        plan.rows.append(Planned(subject, session_name(kind, label), modality, file, tuple(parts)))


def _tell_strays(plan: Plan, files: list[Path], images: dict[Path, str]) -> None:
    """List volumes beside the images that have no known name."""
    for file in files:
        if is_volume(file) and file not in images and any(file.parent == i.parent for i in images):
            plan.leave_out(
                file, f"neither an image ({', '.join(sorted(_IMAGE_NAMES))}) nor in a folder of masks"
            )
