"""Any folder whose files follow one naming pattern, with one label map or mask per image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from umdlib import labels
from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.errors import InputError
from umdlib.labels import Structure


def import_pattern(
    folder: str | Path,
    manifest: str | Path,
    *,
    image: str,
    reference: str,
    modalities: Mapping[str, str] | None = None,
    structures: Iterable[Structure] | None = None,
) -> Path:
    """Write a manifest for files named by a pattern.

    Parameters
    ----------
    folder
        Where to look; files are used in place, not copied.
    manifest
        File to write; `dseg.tsv` is written beside it where `structures` are given.
    image, reference
        Patterns relative to `folder` with the fields ``{subject}`` and ``{modality}``, e.g.
        ``"{subject}/{modality}_image.nii.gz"``.
    modalities
        Name in the file names -> CT, MR or PET. None takes CT, MR, PET as they are.
    structures
        What the label values mean; None leaves it to a `dseg.tsv` beside the manifest, without one to
        the 13 organs.

    Returns
    -------
    pathlib.Path
        The manifest. Each PET is paired with each structural image of its subject: with CT as
        session petct, with MR as session petmr.

    Raises
    ------
    InputError
        No such folder, no file that matches, an image without its reference.
    """
    folder, manifest = Path(folder), Path(manifest)
    if not folder.is_dir():
        raise InputError(f"Folder {folder} does not exist.")
    for field in ("{subject}", "{modality}"):
        if field not in image:
            raise InputError(f"Pattern '{image}' lacks the field {field}.")
    modalities = dict(modalities or {name: name for name in labels.MODALITIES})
    found = _find(folder, image, modalities)
    if not found:
        raise InputError(f"No file in {folder} matches '{image}' with a modality of {', '.join(modalities)}.")
    rows = []
    for subject, images in sorted(found.items()):
        for session in labels.SESSIONS.values():
            if session.structural not in images:
                continue
            for modality in (session.structural, "PET"):
                if modality in images:
                    rows.append(
                        _row(folder, manifest, subject, session.name, modality, *images[modality], reference)
                    )
        if "PET" in images and len(images) == 1:
            rows.append(_row(folder, manifest, subject, "petct", "PET", *images["PET"], reference))
    if structures is not None:
        write_structures(manifest.parent / "dseg.tsv", structures)
    return write_manifest(manifest, rows)


def _find(folder: Path, pattern: str, modalities: Mapping[str, str]):
    """subject -> modality -> (file, modality name in the file's name)."""
    alternatives = "|".join(re.escape(m) for m in sorted(modalities, key=len, reverse=True))
    expression = re.escape(pattern)
    for field, group in (("subject", r"[^/\\_]+(?:_[^/\\_]+)*?"), ("modality", alternatives)):
        escaped = re.escape(f"{{{field}}}")
        expression = expression.replace(escaped, f"(?P<{field}>{group})", 1)
        expression = expression.replace(escaped, f"(?P={field})")
    found: dict[str, dict[str, tuple[Path, str]]] = {}
    for file in sorted(folder.rglob("*")):
        if match := re.fullmatch(expression, file.relative_to(folder).as_posix()):
            modality = labels.modality(modalities[match["modality"]]).name
            known = found.setdefault(match["subject"], {})
            if modality in known:
                raise InputError(
                    f"Subject {match['subject']} has two images of {modality}: {known[modality][0]} and "
                    f"{file}. Name one of them in the pattern's modalities."
                )
            known[modality] = (file, match["modality"])
    return found


def _row(
    folder: Path,
    manifest: Path,
    subject: str,
    session: str,
    modality: str,
    image: Path,
    raw_modality: str,
    reference: str,
) -> dict:
    """One manifest row; the reference must exist."""
    name = reference.replace("{subject}", subject).replace("{modality}", raw_modality)
    if "{" in name:
        raise InputError(f"Reference '{reference}' has another field than {{subject}}, {{modality}}.")
    mask = folder / name
    if not mask.is_file():
        raise InputError(f"Image {image} has no reference: {mask} does not exist.")
    start = manifest.resolve().parent
    return {
        "subject": subject,
        "session": session,
        "modality": modality,
        "image": os.path.relpath(image.resolve(), start),
        "reference": os.path.relpath(mask.resolve(), start),
        "unit": labels.MODALITIES[modality].unit,
    }
