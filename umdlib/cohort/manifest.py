"""The cohort: subjects, sessions and cases of a `manifest.tsv`, with its checks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from umdlib import labels
from umdlib.errors import InputError, unknown_name
from umdlib.files import existing, file_hash, read_tsv, write_tsv
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

# what may stand in file names, pages and tables of any kind without being taken for anything else
_SUBJECT = re.compile(r"[^\W_][\w.+-]{0,63}")

_SHOWN_FAULTS = 20


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


@dataclass(frozen=True)
class RowFault:
    """A row of a manifest that gives no case: its line, what it says of itself, and why."""

    line: int
    subject: str
    session: str
    modality: str
    message: str


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
        an unknown session, modality or unit; a subject's name outside the allowed characters; two
        rows for one case; an image or reference that does not exist. All rows with a fault are named.
    """
    cohort, faults = read_sound_rows(manifest)
    if not faults:
        return cohort
    shown = [fault.message for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) > len(shown):
        shown.append(f"{len(faults) - len(shown)} more rows have a fault.")
    raise InputError("\n".join(shown))


def read_sound_rows(manifest: str | Path) -> tuple[Cohort, list[RowFault]]:
    """Read a manifest and set aside the rows that give no case.

    Returns
    -------
    Cohort
        The other rows; it may hold no case.
    list of RowFault
        In the order of the manifest.

    Raises
    ------
    InputError
        As `read_cohort` does where the file or its structures as a whole are at fault.
    """
    manifest = Path(manifest)
    table = read_tsv(manifest, COLUMNS)
    structures = _read_structures(manifest.parent / "dseg.tsv")
    if table.empty:
        raise InputError(f"No case in {manifest}. At least one row is needed.")
    cases: list[Case] = []
    kept: list[int] = []
    faults: list[RowFault] = []
    lines_of: dict[str, int] = {}
    spelt: dict[str, str] = {}
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        try:
            case = _case(row, f"{manifest} line {line}", manifest.parent, structures)
            if case.name in lines_of:
                raise InputError(
                    f"Case {case.name} stands twice in {manifest}: lines {lines_of[case.name]} and {line}."
                )
            other = spelt.setdefault(case.subject.casefold(), case.subject)
            if other != case.subject:
                raise InputError(
                    f"Subjects '{other}' and '{case.subject}' in {manifest} line {line} differ only in "
                    "capitals. Their files would be one on some disks: rename one."
                )
        except InputError as error:
            faults.append(RowFault(line, row["subject"], row["session"], row["modality"], str(error)))
            continue
        lines_of[case.name] = line
        cases.append(case)
        kept.append(line)
    table = table.loc[kept].reset_index(drop=True)
    table = table.assign(session=[c.session for c in cases], modality=[c.modality for c in cases])
    return Cohort(tuple(cases), structures, table, manifest), faults


def _case(row: dict, where: str, folder: Path, structures: tuple[Structure, ...]) -> Case:
    """One row of a manifest as a case; `where` names the row in errors."""
    for column in COLUMNS:
        if not row[column]:
            raise InputError(f"Empty {column} in {where}. Every case needs one.")
    try:
        session = labels.session(row["session"])
        modality = labels.modality(row["modality"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if modality.structural and modality.name != session.structural:
        raise InputError(
            f"Modality {modality.name} in session {session.name} in {where}. "
            f"This session holds {session.structural} and PET."
        )
    if row["unit"] != modality.unit:
        raise InputError(
            f"Unit '{row['unit']}' of {modality.name} in {where}. Must be {modality.unit}"
            + (": convert the activity first." if modality.unit == "SUV" else ".")
        )
    if not _SUBJECT.fullmatch(row["subject"]):
        raise InputError(
            f"Invalid subject '{row['subject'][:80]}' in {where}. At most 64 letters, digits, '_', '-', '.' "
            "and '+', no space or slash; it begins with a letter or digit."
        )
    files = {}
    for column in ("image", "reference"):
        try:
            found = existing(folder / row[column])
        except InputError as error:
            raise InputError(f"The {column} of {where}: {error}") from None
        if found is None:
            raise InputError(f"The {column} of {where} does not exist: {folder / row[column]}.")
        files[column] = found
    names = (row["subject"], session.name, modality.name, row["unit"])
    return Case(*names, files["image"], files["reference"], structures)


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
    write_tsv(path, table[order])
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
    write_tsv(path, table)
    return path


def _read_structures(path: Path) -> tuple[Structure, ...]:
    """Structures of a `dseg.tsv` as BIDS allows it; the 13 organs where there is none.

    "n/a" is a missing value; index 0 is the background and skipped; 1.0 is 1.
    """
    if existing(path) is None:
        return labels.ORGANS
    known = {s.name: s for s in labels.ORGANS}
    structures = []
    for line, row in read_tsv(path, ("index", "name")).replace({"n/a": ""}).iterrows():
        if not re.fullmatch(r"[0-9]+(\.0*)?", row["index"]):
            raise InputError(f"Index '{row['index']}' in {path} line {line} is not a whole number.")
        value, title = int(float(row["index"])), row["name"]
        if value == 0:
            continue
        name = re.sub(r"\s*[,/]\s*", "_", title)  # a name goes into lists and file names
        twin = known.get(name)
        short = twin.short if twin else re.sub(r"[\W_]", "", name)[:2].capitalize()
        structures.append(
            Structure(
                value,
                name,
                twin.title if twin else title.replace("_", " ").capitalize(),
                row.get("abbreviation") or short,
                row.get("color") or (twin.colour if twin else _COLOURS[len(structures) % len(_COLOURS)]),
            )
        )
    structures.sort(key=lambda s: s.value)
    return labels.check_structures(structures, source=str(path))


# Okabe & Ito (2008) without the modality colours
_COLOURS = ("#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#999999")
