"""Privacy: texts in headers, identifiers mapped to new ones, and faces in view."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.files import existing, read_tsv, write_tsv
from umdlib.images import nifti
from umdlib.images.volume import Volume

# What programs leave in `descrip`; anything else may name a person, a place or a time.
_PROGRAM = re.compile(
    r"(?:(?:FSL|SPM|SimpleITK|ITK|ANTs|AFNI|FreeSurfer|nibabel|TotalSegmentator|nnU-Net)[\w .:()-]{0,24}"
    r"|\d\.\d(?:\.\d{1,3})?(?::[\da-f]{4,10})?|labels|bit masks|HU|SUV|a\.u\.)?"
)
_TEXTS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")

FACE_WARNING = (
    "A head is in view and nothing says that it was defaced. The book publishes the volumes of the subjects in "
    "its viewers and pictures of their slices; from a CT or MR of a head a face can be drawn and recognised. "
    "Deface the images, or leave these subjects out, before you show the book to others."
)


def header_texts(path: str | Path) -> dict[str, str]:
    """Texts in the header of a volume that may say more than a program's name.

    Parameters
    ----------
    path
        File of a volume; its voxels are not read. Of other formats than NIfTI in one file nothing is said of
        single fields: what they copy from DICOM has no end, so that they count as text as a whole.

    Returns
    -------
    dict
        Field -> text; ``extension`` for each header extension; ``format`` of what is not NIfTI in one file.
    """
    import nibabel as nib

    if not nifti.is_one_file(path):
        return {"format": "not NIfTI in one file"}
    try:
        header = nib.load(path).header
        found = {k: bytes(header[k].tobytes()).split(b"\0")[0] for k in _TEXTS if k in header}
        extensions = list(getattr(header, "extensions", ()))
    except Exception as error:  # nibabel and its inflaters raise many classes for damaged files
        raise InputError(f"File {path} cannot be read as NIfTI: {error}.") from None
    texts = {k: v.decode("latin-1").strip() for k, v in found.items()}
    texts = {k: v for k, v in texts.items() if (v and not _PROGRAM.fullmatch(v)) or re.search(r"\d{6}|=", v)}
    return texts | ({"extension": f"{len(extensions)} of them"} if extensions else {})


@dataclass
class Ids:
    """New identifiers for those of the source.

    Attributes
    ----------
    known
        Identifier of the source -> subject of the cohort.
    path
        Table that stays with the user, or None where identifiers are kept.
    """

    known: dict[str, str]
    path: Path | None

    def subject(self, source: str) -> str:
        """The subject of an identifier: as the table has it, or the next free ``sub-001``."""
        if self.path is None:
            return re.sub(r"[^\w.+-]+|^[\W_]+", "-", source).strip("-")[:64] or "subject"
        if source not in self.known:
            taken = set(self.known.values())
            number = len(self.known) + 1
            while f"sub-{number:03d}" in taken:
                number += 1
            self.known[source] = f"sub-{number:03d}"
        return self.known[source]

    def write(self) -> None:
        """Write the table, if there is one."""
        if self.path is not None:
            import pandas as pd

            write_tsv(self.path, pd.DataFrame(self.known.items(), columns=["source", "subject"]))


def read_ids(path: str | Path | None) -> Ids:
    """Identifiers of a table with the columns source and subject; an absent file is a new table.

    Raises
    ------
    InputError
        A table that cannot be read, or that gives one subject to two sources.
    """
    if path is None:
        return Ids({}, None)
    path = Path(path)
    if existing(path) is None:
        return Ids({}, path)
    table = read_tsv(path, ("source", "subject"))
    for column in ("source", "subject"):
        if table[column].duplicated().any():
            twice = table.loc[table[column].duplicated(), column].iloc[0]
            raise InputError(f"'{twice}' occurs twice in column {column} of {path}.")
    return Ids(dict(zip(table["source"], table["subject"], strict=True)), path)


def head_in_view(image: Volume) -> bool:
    """Whether a CT shows a head: near its upper end a skull-like section that is narrow, with shoulders below.

    Parameters
    ----------
    image
        CT in HU. Of any other image nothing can be said here: False.

    Notes
    -----
    A section counts as a skull where 80-450 cm2 of it are denser than -300 HU and at least 8 % of that is
    denser than 300 HU. Three such sections, 10 mm apart, within 300 mm of the upper end are a head.
    """
    if image.unit != "HU":
        return False
    axis = int(np.argmax(np.abs(image.affine[2, :3])))
    step = image.spacing_mm[axis]
    data = np.moveaxis(np.asarray(image.data), axis, 2)
    if image.affine[2, axis] > 0:
        data = data[:, :, ::-1]
    area = np.prod([s for n, s in enumerate(image.spacing_mm) if n != axis]) / 100
    slices = data[:, :, : max(1, int(300 / step)) : max(1, round(10 / step))]
    body = (slices > -300).sum(axis=(0, 1)) * area
    bone = (slices > 300).sum(axis=(0, 1)) * area
    skull = (body > 80) & (body < 450) & (bone > 0.08 * body)
    return int(skull.sum()) >= 3
