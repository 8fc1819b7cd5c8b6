"""Images that a request names: a file or a folder of DICOM, its unit checked, and the partner's place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from umdlib import labels
from umdlib.cohort.image_checks import Facts, facts_of, image_findings
from umdlib.cohort.manifest import Case
from umdlib.cohort.pair_checks import pair_findings
from umdlib.errors import InputError
from umdlib.files import existing
from umdlib.images.volume import Volume, read_volume

# CT alone has air far below and bone far above what any PET or MR file holds.
CT_AIR, CT_BONE = -500.0, 200.0


@dataclass(frozen=True)
class Opening:
    """The images of a request.

    Attributes
    ----------
    image
        In the unit of its modality.
    modality, session
        What it is, given or found.
    file
        The file whose header the mask takes; None for a folder of DICOM.
    partner
        The other image of the examination; None where none was given.
    notes
        What was found and not given, one sentence each.
    """

    image: Volume
    modality: str
    session: str
    file: Path | None
    partner: Volume | None = None
    notes: tuple[str, ...] = ()


def open_images(
    path: str | Path, *, modality: str = "", session: str = "", partner: str | Path = ""
) -> Opening:
    """Read the image of a request, and its partner.

    Parameters
    ----------
    path
        Any file that `read_volume` takes, or a folder of DICOM files of one person.
    modality
        CT, MR or PET; may be empty for DICOM, and for CT in HU, which its values show.
    session
        petct or petmr, for systems with weights for each; by default what the modality says.
    partner
        The other image of the examination: a file, or a folder of DICOM. Empty for none; of the same
        folder, the other one is taken.

    Raises
    ------
    InputError
        What the readers refuse; a modality that is not given and cannot be seen; values that are
        not of the modality's unit; a partner of the same kind, or in another place.
    """
    wanted = labels.modality(modality).name if modality else ""
    if session:
        labels.session(session)
    found = _read(path, wanted, session)
    other = _read(partner, "", session, but=found.modality) if partner else None
    if other is not None and (other.modality == "PET") == (found.modality == "PET"):
        raise InputError(
            f"Partner {partner} of {path} is {other.modality} beside {found.modality}. A partner is the other "
            "image of the examination: PET beside CT or MR."
        )
    both = other.image if other is not None else None
    notes = found.notes
    if both is not None:
        pair = (found.image, both) if found.modality != "PET" else (both, found.image)
        notes += _meeting(*pair, found.modality if found.modality != "PET" else "")
    if not session:
        session = found.session or (
            "petmr" if "MR" in (found.modality, other and other.modality) else "petct"
        )
    return replace(found, session=session, partner=both, notes=notes)


def _read(path: str | Path, modality: str, session: str, but: str = "") -> Opening:
    """One image; of a folder of DICOM the one of the given modality and session."""
    place = existing(path)
    if place is not None and place.is_dir():
        return _from_dicom(place, modality, session, but)
    image, notes = read_volume(path), ()
    if not modality:
        modality = _seen(image, path, session, but)
        notes = (f"{path} is taken as {modality}: its values say so.",)
    image = replace(image, unit=labels.MODALITIES[modality].unit)
    _check_unit(image, modality, path)
    return Opening(image, modality, "", place, notes=notes)


def _seen(image: Volume, path: str | Path, session: str, but: str) -> str:
    """The modality of a file that says nothing: CT by its values, or what is missing of an examination."""
    if float(image.data.min()) <= CT_AIR and float(image.data.max()) >= CT_BONE:
        return "CT"
    if but in ("CT", "MR"):
        return "PET"
    if but == "PET" and session.startswith("petmr"):
        return "MR"
    raise InputError(
        f"The modality of {path} is not known: its values run from {float(image.data.min()):.4g} to "
        f"{float(image.data.max()):.4g}. Give --modality CT, MR or PET (in HU, any unit, SUV)."
    )


def _from_dicom(folder: Path, modality: str, session: str, but: str) -> Opening:
    """The image of a folder of DICOM that has the given modality and session."""
    from umdlib.cohort.dicom import plan_dicom
    from umdlib.cohort.names import read_names

    plan = plan_dicom(folder, read_names())
    rows = [
        r
        for r in plan.rows
        if modality in ("", r.modality) and session in ("", r.session) and r.modality != but
    ]
    if len({r.subject for r in rows}) > 1:
        raise InputError(f"Folder {folder} holds images of several persons. Give the folder of one.")
    if len(rows) != 1:
        held = ", ".join(f"{r.modality} of {r.session}" for r in plan.rows)
        raise InputError(
            f"Folder {folder} holds {held or 'no image'}; {len(rows)} of them match. Say which by "
            "--modality and --session."
        )
    (row,) = rows
    image = replace(row.image(), name=f"{folder} ({row.modality})")
    notes = tuple(f"{note}." for note in plan.notes)
    _check_unit(image, row.modality, folder)
    return Opening(image, row.modality, row.session, None, notes=notes)


def _check_unit(image: Volume, modality: str, path: str | Path) -> None:
    """Refuse values that are not of the modality's unit."""
    for finding in image_findings(_facts(image, modality)):
        if finding.kind == "fault" and finding.check in ("hu", "suv"):
            raise InputError(
                f"{finding.message.rstrip('?').rstrip('.')}? {modality} must be in {image.unit}: convert it "
                "(`umdlib import dicom` makes SUV), or give another --modality."
            )
    if modality == "MR" and float(image.data.min()) <= CT_AIR and float(image.data.max()) >= CT_BONE:
        raise InputError(
            f"Image {path} runs from {float(image.data.min()):.4g} to {float(image.data.max()):.4g}, as CT in "
            "HU does and no MR. Give --modality CT, or the right file."
        )


def _facts(image: Volume, modality: str) -> Facts:
    """What the checks of a cohort look at, of an image that is in none."""
    return facts_of(Case("image", "petct", modality, image.unit, Path(image.name), None), image)


def _meeting(structural: Volume, pet: Volume, modality: str) -> tuple[str, ...]:
    """Refuse two images that do not meet; doubts are notes."""
    modality = modality or ("CT" if structural.unit == "HU" else "MR")
    notes = []
    for finding in pair_findings(_facts(structural, modality), _facts(pet, "PET")):
        words = finding.message.replace("of image petct", f"of {structural.name} and {pet.name}")
        if finding.kind == "fault":
            raise InputError(
                f"{words} A partner must lie in the image's own frame: the same examination, not moved and not cropped "
                "to another place."
            )
        notes.append(words)
    return tuple(notes)
