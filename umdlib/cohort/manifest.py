"""The cohort: subjects, sessions and cases of a `manifest.tsv`, with its checks."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import labels
from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.images import volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure

COLUMNS: dict[str, str] = {
    "subject": "identifier of the person, e.g. sub-001",
    "session": "petct or petmr",
    "modality": "CT, MR or PET",
    "image": "NIfTI file, relative to the manifest",
    "reference": "NIfTI label map on the grid of the image, relative to the manifest",
    "unit": "HU for CT, SUV for PET, a.u. for MR",
}


@dataclass(frozen=True)
class Case:
    """One image to be segmented: a subject, a session, a modality."""

    subject: str
    session: str
    modality: str
    unit: str
    image: Path
    reference: Path
    structures: tuple[Structure, ...] = field(repr=False, default=labels.ORGANS)

    @property
    def name(self) -> str:
        """``subject_session_modality``."""
        return f"{self.subject}_{self.session}_{self.modality}"

    @property
    def structural(self) -> bool:
        """Whether the modality shows structure (CT, MR) and not function (PET)."""
        return labels.MODALITIES[self.modality].structural

    def read_image(self) -> Volume:
        """The image, checked. Raises InputError as `volume.read_volume` does."""
        return volume.read_volume(self.image, unit=self.unit)

    def read_reference(self) -> LabelMap:
        """The reference label map, checked against the cohort's label values."""
        return volume.read_label_map(self.reference, values=tuple(s.value for s in self.structures))

    def read(self) -> tuple[Volume, LabelMap]:
        """Image and reference, on one grid.

        Raises
        ------
        InputError
            As the two readers do, and where the two grids differ.
        """
        image, reference = self.read_image(), self.read_reference()
        if difference := volume.grid_difference(image, reference):
            raise InputError(
                f"Grid of {self.image} differs from its reference {self.reference.name}: "
                f"{difference}. The reference must be on the grid of its image."
            )
        return image, reference


@dataclass(frozen=True)
class Cohort:
    """The subjects enrolled.

    Attributes
    ----------
    cases
        In the order of the manifest.
    structures
        What is segmented, in the order of their label values.
    table
        The manifest with all its columns, one row per case.
    manifest
        The file it was read from.
    """

    cases: tuple[Case, ...]
    structures: tuple[Structure, ...]
    table: pd.DataFrame = field(repr=False)
    manifest: Path

    @property
    def name(self) -> str:
        """Name of the folder that holds the manifest."""
        return self.manifest.resolve().parent.name

    def sessions(self) -> list[str]:
        """Sessions that occur, in the order of `labels.SESSIONS`."""
        present = {c.session for c in self.cases}
        return [s for s in labels.SESSIONS if s in present]

    def subjects(self, session: str | None = None) -> list[str]:
        """Subjects in the order of the manifest, of one session or of all."""
        return list(dict.fromkeys(c.subject for c in self.cases if session in (None, c.session)))

    def case(self, subject: str, session: str, modality: str) -> Case:
        """One case.

        Raises
        ------
        InputError
            If the cohort does not hold it; the nearest name is suggested.
        """
        name = f"{subject}_{session}_{modality}"
        by_name = {c.name: c for c in self.cases}
        if name not in by_name:
            raise unknown_name("case", name, by_name)
        return by_name[name]

    def pairs(self, session: str | None = None) -> list[tuple[Case, Case]]:
        """(structural, PET) cases of each examination that has both."""
        found: dict[tuple[str, str], dict[bool, Case]] = {}
        for c in self.cases:
            if session in (None, c.session):
                found.setdefault((c.subject, c.session), {})[c.structural] = c
        return [(both[True], both[False]) for both in found.values() if len(both) == 2]

    def structure(self, name: str) -> Structure:
        """Structure by name; raises InputError with the nearest name."""
        return labels.structure(name, self.structures)

    def hash(self) -> str:
        """sha256 over the manifest and every file it names: what the cohort is, not where it lies."""
        digest = hashlib.sha256()
        for c in sorted(self.cases, key=lambda c: c.name):
            digest.update(f"{c.name} {c.unit} {file_hash(c.image)} {file_hash(c.reference)}\n".encode())
        digest.update(repr(self.structures).encode())
        return digest.hexdigest()


def read_cohort(manifest: str | Path) -> Cohort:
    """Read a manifest.

    Parameters
    ----------
    manifest
        Tab-separated UTF-8 file with the columns of `COLUMNS`; further columns are kept.
        A `dseg.tsv` beside it (BIDS: index, name, optional abbreviation and color) names the
        structures; without one they are the 13 organs of `labels.ORGANS`.

    Returns
    -------
    Cohort
        The files exist; what is in them is checked by `check_cohort` or when they are read.

    Raises
    ------
    InputError
        A file that is missing, not UTF-8 or not tab-separated; a missing column; an empty field;
        an unknown session, modality or unit; two rows for one case; an image or reference that
        does not exist.
    """
    manifest = Path(manifest)
    table = _read_tsv(manifest, COLUMNS)
    structures = _read_structures(manifest.parent / "dseg.tsv")
    cases = []
    for line, row in enumerate(table.to_dict("records"), start=2):
        where = f"{manifest} line {line}"
        for column in COLUMNS:
            if not row[column].strip():
                raise InputError(f"Empty {column} in {where}. Every case needs one.")
        try:
            session = labels.session(row["session"])
            modality = labels.modality(row["modality"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if not modality.structural or modality.name == session.structural:
            pass
        else:
            raise InputError(
                f"Modality {modality.name} in session {session.name} in {where}. "
                f"This session holds {session.structural} and PET."
            )
        if row["unit"] != modality.unit:
            raise InputError(
                f"Unit '{row['unit']}' of {modality.name} in {where}. Must be {modality.unit}"
                + (": convert the activity first." if modality.unit == "SUV" else ".")
            )
        files = {}
        for column in ("image", "reference"):
            files[column] = manifest.parent / row[column]
            if not files[column].is_file():
                raise InputError(f"The {column} of {where} does not exist: {files[column]}.")
        if any(char in row["subject"] for char in "/\\ \t"):
            raise InputError(f"Subject '{row['subject']}' in {where}. No slash or space allowed.")
        cases.append(
            Case(
                row["subject"],
                session.name,
                modality.name,
                row["unit"],
                files["image"],
                files["reference"],
                structures,
            )
        )
    seen: dict[str, int] = {}
    for line, c in enumerate(cases, start=2):
        if c.name in seen:
            raise InputError(f"Case {c.name} stands twice in {manifest}: lines {seen[c.name]} and {line}.")
        seen[c.name] = line
    if not cases:
        raise InputError(f"No case in {manifest}. At least one row is needed.")
    table = table.assign(session=[c.session for c in cases], modality=[c.modality for c in cases])
    return Cohort(tuple(cases), structures, table, manifest)


def check_cohort(cohort: Cohort) -> pd.DataFrame:
    """Read every file of the cohort once.

    Returns
    -------
    pandas.DataFrame
        One row per case: subject, session, modality, shape, spacing_mm, structures (number
        present), `fault` (empty where there is none). Nothing is raised: all faults are listed.
    """
    rows = []
    for c in cohort.cases:
        row = {"subject": c.subject, "session": c.session, "modality": c.modality}
        try:
            image, reference = c.read()
            present = set(pd.unique(reference.data.ravel("K"))) - {0}
            row |= {
                "shape": image.shape,
                "spacing_mm": image.spacing_mm,
                "structures": len(present),
                "fault": _other_unit(image),
            }
            if not present:
                row["fault"] = f"Reference {c.reference} holds no structure."
        except InputError as error:
            row |= {"shape": None, "spacing_mm": None, "structures": 0, "fault": str(error)}
        rows.append(row)
    return pd.DataFrame(rows)


def _other_unit(image: Volume) -> str:
    """Why the intensities cannot be of the unit that the manifest gives; empty where they can."""
    if image.unit == "SUV" and (top := float(np.percentile(image.data[::2, ::2, ::2], 99.9))) > 500:
        return f"Image {image.name} reaches {top:.0f} in SUV: is it activity (Bq/ml)?"
    if image.unit == "HU" and (least := float(image.data.min())) >= 0:
        return f"Image {image.name} has no value below {least:.0f} HU: is an offset still in it?"
    return ""


def inclusion_table(cohort: Cohort) -> pd.DataFrame:
    """Subjects, cases and pairs per session.

    Returns
    -------
    pandas.DataFrame
        One row per session: session, n_subjects, n_structural, n_pet, n_pairs, unpaired (names).
    """
    rows = []
    for session in cohort.sessions():
        cases = [c for c in cohort.cases if c.session == session]
        paired = {c.subject for c, _ in cohort.pairs(session)}
        rows.append(
            {
                "session": session,
                "n_subjects": len({c.subject for c in cases}),
                "n_structural": sum(c.structural for c in cases),
                "n_pet": sum(not c.structural for c in cases),
                "n_pairs": len(paired),
                "unpaired": ", ".join(sorted({c.subject for c in cases} - paired)),
            }
        )
    return pd.DataFrame(rows)


def write_manifest(path: str | Path, rows: Iterable[dict]) -> Path:
    """Write rows (dicts with at least the keys of `COLUMNS`) as a manifest; paths relative to it."""
    table = pd.DataFrame(list(rows))
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(f"Manifest rows lack {', '.join(missing)}. Needed: {', '.join(COLUMNS)}.")
    path = Path(path)
    order = [*COLUMNS, *[c for c in table if c not in COLUMNS]]
    _write_tsv(path, table[order])
    return path


def write_structures(path: str | Path, structures: Iterable[Structure]) -> Path:
    """Write structures as a BIDS `dseg.tsv`, to lie beside the manifest."""
    table = pd.DataFrame(
        [
            {"index": s.value, "name": s.name, "abbreviation": s.short, "color": s.colour}
            for s in labels.check_structures(structures, source=str(path))
        ]
    )
    path = Path(path)
    _write_tsv(path, table)
    return path


def file_hash(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Tab-separated UTF-8, whole or not at all."""
    with replaced(path) as part:
        table.to_csv(part, sep="\t", index=False, lineterminator="\n")


def _read_tsv(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A tab-separated UTF-8 table of strings that has `columns`; '#' starts no comment."""
    if not path.is_file():
        raise InputError(f"File {path} does not exist.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"File {path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}. "
            "Save it as UTF-8."
        ) from None
    numbered = [(n, line.removesuffix("\r")) for n, line in enumerate(text.split("\n"), start=1)]
    numbered = [(n, line) for n, line in numbered if line.strip()]
    lines = [line for _, line in numbered]
    if not lines:
        raise InputError(f"File {path} is empty.")
    if "\t" not in lines[0] and any(mark in lines[0] for mark in ",; "):
        raise InputError(f"File {path} is not tab-separated: its header is '{lines[0][:60]}'.")
    rows = [_fields(path, *line) for line in numbered]
    header = [name.strip() for name in rows[0]]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InputError(f"Column '{twice[0]}' of {path} is there twice.")
    for column in columns:
        if column not in header:
            raise InputError(f"Column '{column}' is missing in {path}. It has: {', '.join(header)}.")
    for (number, _), row in zip(numbered[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise InputError(f"Line {number} of {path} has {len(row)} fields. The header has {len(header)}.")
    return pd.DataFrame(rows[1:], columns=header, dtype=str)


def _fields(path: Path, number: int, line: str) -> list[str]:
    """The fields of one line; a quoted field ends where its line does."""
    try:
        (row,) = csv.reader([line], delimiter="\t", strict=True)
    except (csv.Error, ValueError):
        raise InputError(
            f"Line {number} of {path} has a quotation mark that does not enclose a whole field. Remove it."
        ) from None
    return row


def _read_structures(path: Path) -> tuple[Structure, ...]:
    """Structures of a `dseg.tsv`; the 13 organs where there is none."""
    if not path.is_file():
        return labels.ORGANS
    known = {s.name: s for s in labels.ORGANS}
    structures = []
    for row in _read_tsv(path, ("index", "name")).to_dict("records"):
        if not row["index"].isdecimal():
            raise InputError(f"Index '{row['index']}' in {path} is no whole number.")
        name = row["name"]
        twin = known.get(name)
        structures.append(
            Structure(
                int(row["index"]),
                name,
                twin.title if twin else name.replace("_", " ").capitalize(),
                row.get("abbreviation") or (twin.short if twin else name[:2].capitalize()),
                row.get("color") or (twin.colour if twin else _COLOURS[len(structures) % len(_COLOURS)]),
            )
        )
    structures.sort(key=lambda s: s.value)
    return labels.check_structures(structures, source=str(path))


# Okabe & Ito (2008) without the modality colours
_COLOURS = ("#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#999999")
