"""The cohort: subjects, sessions and cases of a `manifest.tsv`, with its checks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from umdlib import labels
from umdlib.errors import InputError, unknown_name
from umdlib.files import existing, file_hash, read_tsv, write_tsv
from umdlib.images import volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: dict[str, str] = {
    "subject": "identifier of the person, e.g. sub-001",
    "session": "petct or petmr; with a label where a subject has several: petct-test, petct-retest",
    "modality": "CT, MR or PET",
    "image": "NIfTI file, relative to the manifest",
    "reference": "NIfTI label map on the grid of the image, relative to the manifest; n/a where there is none",
    "unit": "HU for CT, SUV for PET, a.u. for MR",
}

# Further columns are kept as they are; these are checked, and their names are the same everywhere.
OPTIONAL: dict[str, str] = {
    "tracer": "of PET, e.g. FDG or PSMA",
    "age": "years",
    "sex": "F, M or O",
    "height_cm": "body height",
    "weight_kg": "body weight",
    "lesions": "how many lesions the person has, 0 for none",
    "disease": "what the person was examined for",
    "licence": "of the images, e.g. CC BY 4.0",
    "citation": "of the cohort: a DOI, or name and year",
    "outside": "what voxels that are not a number become: -1000 HU, SUV 0; without it they are refused",
}

# what a number in a column must lie between
_RANGES = {
    "age": (0, 120),
    "height_cm": (30, 250),
    "weight_kg": (0.3, 400),
    "lesions": (0, 100_000),
    "outside": (-32768, 32767),
}
_SEX = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
_MISSING = {"", "n/a", "na", "nan", "none"}

# safe in file names, pages and tables of any kind
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
    reference: Path | None
    structures: tuple[Structure, ...] = field(repr=False, default=labels.ORGANS)
    outside: float | None = None

    @property
    def name(self) -> str:
        """``subject_session_modality``."""
        return f"{self.subject}_{self.session}_{self.modality}"

    @property
    def reading(self) -> str:
        """How the voxel values are read, for the keys of everything made from the image."""
        return self.unit if self.outside is None else f"{self.unit}, {self.outside:g} where not a number"

    @property
    def structural(self) -> bool:
        """Whether the modality shows structure (CT, MR) and not function (PET)."""
        return labels.MODALITIES[self.modality].structural

    def read_image(self) -> Volume:
        """The image, checked. Raises InputError as `volume.read_volume` does."""
        return volume.read_volume(self.image, unit=self.unit, nan=self.outside)

    def read_reference(self) -> LabelMap:
        """The reference label map, checked against the cohort's label values.

        Raises
        ------
        InputError
            As `volume.read_label_map` does; a case that has no reference.
        """
        if self.reference is None:
            raise InputError(f"Case {self.name} has no reference. It can be segmented, not scored.")
        return volume.read_label_map(self.reference, values=tuple(s.value for s in self.structures))

    def read(self, reference: LabelMap | None = None) -> tuple[Volume, LabelMap]:
        """Image and reference, on one grid; only the order of the reference's voxels may differ.

        A `reference` that was read before is not read again.

        Raises
        ------
        InputError
            As the two readers do, and where the two grids differ.
        """
        image = self.read_image()
        return image, volume.onto_grid(self.read_reference() if reference is None else reference, image)


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
    guessed_names
        Whether no file says what the label values mean, so that the 13 organs are assumed.
    """

    cases: tuple[Case, ...]
    structures: tuple[Structure, ...]
    table: pd.DataFrame = field(repr=False)
    manifest: Path
    guessed_names: bool = False

    @property
    def name(self) -> str:
        """Name of the folder that holds the manifest."""
        return self.manifest.resolve().parent.name

    def sessions(self) -> list[str]:
        """Sessions that occur, as `labels.sorted_sessions` has them."""
        return labels.sorted_sessions(c.session for c in self.cases)

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

    def hash(self, hash_of: Callable[[Path], str] = file_hash) -> str:
        """sha256 over the manifest and every file it names: what the cohort is, not where it lies.

        `hash_of` gives that of a file.
        """
        digest = hashlib.sha256()
        for c in sorted(self.cases, key=lambda c: c.name):
            reference = hash_of(c.reference) if c.reference else "-"
            digest.update(f"{c.name} {c.reading} {hash_of(c.image)} {reference}\n".encode())
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


def read_cohort(manifest: str | Path, *, inside: str | Path | None = None) -> Cohort:
    """Read a manifest.

    Parameters
    ----------
    manifest
        Tab-separated UTF-8 file with the columns of `COLUMNS` in any case; ``reference`` may be missing, those of
        `OPTIONAL` are checked, further ones are kept. What `read_structures` finds beside it names the
        structures.
    inside
        Folder that every file must lie in, links followed: for a manifest that came from elsewhere.

    Returns
    -------
    Cohort
        The files exist; what is in them is checked by `check_cohort` or when they are read.

    Raises
    ------
    InputError
        A file that is missing, not UTF-8 or not tab-separated; a missing column; an empty field;
        an unknown session, modality or unit; a subject's name outside the allowed characters; two
        rows for one case; an image or reference that does not exist or lies elsewhere. All rows with a fault are named.
    """
    cohort, faults = read_sound_rows(manifest, inside=inside)
    if not faults:
        return cohort
    shown = [fault.message for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) > len(shown):
        shown.append(f"{len(faults) - len(shown)} more rows have a fault.")
    raise InputError("\n".join(shown))


def read_sound_rows(
    manifest: str | Path, *, inside: str | Path | None = None
) -> tuple[Cohort, list[RowFault]]:
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
    import pandas as pd

    manifest = Path(manifest)
    table = read_tsv(manifest).rename(columns={"participant_id": "subject"})
    spelt = {c: c.lower() for c in table if c.lower() in COLUMNS and c.lower() not in table}
    table = table.rename(columns=spelt if len(set(spelt.values())) == len(spelt) else {})
    for column in COLUMNS:
        if column not in table and column != "reference":
            raise InputError(f"Column '{column}' is missing in {manifest}. It has: {', '.join(table)}.")
    if "reference" not in table:
        table["reference"] = "n/a"
    structures, guessed = read_structures(manifest.parent)
    root = None if inside is None else Path(inside).resolve()
    if table.empty:
        raise InputError(f"No case in {manifest}. At least one row is needed.")
    cases: list[Case] = []
    kept: list[int] = []
    faults: list[RowFault] = []
    lines_of: dict[str, int] = {}
    written: dict[str, str] = {}
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        try:
            where = f"{manifest} line {line}"
            case = _case(row, where, manifest.parent, structures, root)
            row |= {c: _described(c, row[c], where) for c in OPTIONAL if c in row}
            if row.get("outside"):
                case = replace(case, outside=float(row["outside"]))
            if case.name in lines_of:
                raise InputError(
                    f"Case {case.name} occurs twice in {manifest}: lines {lines_of[case.name]} and {line}."
                )
            other = written.setdefault(case.subject.casefold(), case.subject)
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
        kept.append(row | {"session": case.session, "modality": case.modality})
    table = pd.DataFrame(kept, columns=list(table), dtype=str)
    return Cohort(tuple(cases), structures, table, manifest, guessed), faults


def _described(column: str, text: str, where: str) -> str:
    """A field of `OPTIONAL`, checked; empty where it is missing."""
    if text.lower() in _MISSING:
        return ""
    if column == "sex":
        if text.lower() not in _SEX:
            raise InputError(f"Sex '{text}' in {where}. Must be F, M, O or n/a.")
        return _SEX[text.lower()]
    if column in _RANGES:
        low, high = _RANGES[column]
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise InputError(f"{column} '{text}' in {where}. Must be a number from {low} to {high}, or n/a.")
    return text


def _case(row: dict, where: str, folder: Path, structures: tuple[Structure, ...], root: Path | None) -> Case:
    """One row of a manifest as a case; `where` names the row in errors."""
    for column in COLUMNS:
        if row[column].lower() in _MISSING and column != "reference":
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
    files: dict[str, Path | None] = {"reference": None}
    for column in ("image", "reference"):
        if row[column].lower() in _MISSING:
            continue
        try:
            found = existing(folder / row[column]) or existing(folder / row[column].replace("\\", "/"))
        except InputError as error:
            raise InputError(f"The {column} of {where}: {error}") from None
        if found is None:
            raise InputError(f"The {column} of {where} does not exist: {folder / row[column]}.")
        if root is not None and not found.resolve().is_relative_to(root):
            raise InputError(f"The {column} of {where} lies outside {root}: {found.resolve()}.")
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
    import pandas as pd

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


def write_manifest(path: str | Path, rows: Iterable[Mapping]) -> Path:
    """Write a manifest: the one writer of every cohort, imported or synthetic.

    Parameters
    ----------
    path
        File to write.
    rows
        At least the keys of `COLUMNS` but ``reference``; paths relative to the manifest. A missing value
        (None, NaN, an empty text) becomes n/a.
    """
    import pandas as pd

    table = pd.DataFrame([dict(row) for row in rows])
    missing = [c for c in COLUMNS if c not in table and c != "reference"]
    if missing:
        raise InputError(f"Manifest rows lack {', '.join(missing)}. Needed: {', '.join(COLUMNS)}.")
    if "reference" not in table:
        table["reference"] = "n/a"
    order = [*COLUMNS, *[c for c in OPTIONAL if c in table]]
    order += [c for c in table if c not in order]
    return write_tsv(path, table[order])


def write_structures(path: str | Path, structures: Iterable[Structure]) -> Path:
    """Write structures as a BIDS `dseg.tsv`, to lie beside the manifest."""
    import pandas as pd

    rows = [
        {"index": s.value, "name": s.name, "abbreviation": s.short, "color": s.colour}
        for s in labels.check_structures(structures, source=str(path))
    ]
    return write_tsv(path, pd.DataFrame(rows))


def read_structures(folder: str | Path) -> tuple[tuple[Structure, ...], bool]:
    """Structures that a folder names, and whether they had to be guessed.

    Parameters
    ----------
    folder
        With a BIDS `dseg.tsv`, else nnU-Net's `dataset.json`, else the 13 organs are a guess.
        Index 0 is the background; n/a is a missing abbreviation or colour.
    """
    folder = Path(folder)
    if (path := existing(folder / "dseg.tsv")) is not None:
        return _dseg(path), False
    if (path := existing(folder / "dataset.json")) is not None and (names := _nnunet_labels(path)):
        return named_structures(names, source=str(path)), False
    return labels.ORGANS, True


def _dseg(path: Path) -> tuple[Structure, ...]:
    """Structures of a `dseg.tsv`."""
    names, looks = {}, {}
    for line, row in read_tsv(path, ("index", "name")).iterrows():
        if not re.fullmatch(r"\d+(\.0+)?", row["index"]):
            raise InputError(f"Index '{row['index']}' in {path} line {line} is not a whole number.")
        value = int(float(row["index"]))
        if value == 0:
            continue
        if value in names:
            raise InputError(f"Structure value {value} occurs twice in {path}.")
        names[value] = row["name"]
        looks[value] = {
            key: row[column]
            for key, column in (("short", "abbreviation"), ("colour", "color"))
            if row.get(column, "").lower() not in _MISSING
        }
    return named_structures(names, looks, source=str(path))


def _nnunet_labels(path: Path) -> dict[int, str]:
    """Label values of a `dataset.json` (of either version) by name; empty where it has none of one value."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig")).get("labels", {})
        pairs = found.items()
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"File {path} cannot be read as nnU-Net's dataset.json: {error}.") from None
    names = {}
    for key, value in pairs:
        name, number = (value, key) if isinstance(value, str) else (key, value)
        if isinstance(number, list) or name == "ignore":
            continue
        if not str(number).isdecimal():
            raise InputError(f"Label '{name}' of {path} has the value {number}. Must be a whole number.")
        if int(number):
            names[int(number)] = name
    return names


def named_structures(
    names: Mapping[int, str], looks: Mapping[int, dict] | None = None, *, source: str
) -> tuple[Structure, ...]:
    """Structures from value -> name, with the looks of `labels.ORGANS` where a name is one of them.

    Parameters
    ----------
    names
        Commas and slashes, which file names cannot hold, become underscores; the title keeps them.
    looks
        Value -> ``short`` or ``colour`` that is given.
    source
        What errors name.
    """
    known = {s.name: s for s in labels.ORGANS}
    structures = []
    for number, (value, title) in enumerate(sorted(names.items())):
        name = re.sub(r"\s*[,;/\\]+\s*", "_", title)
        own = known.get(name) or Structure(
            value,
            name,
            title.replace("_", " ")[:1].upper() + title.replace("_", " ")[1:],
            re.sub(r"[\W_]", "", name)[:2].capitalize(),
            _COLOURS[number % len(_COLOURS)],
        )
        structures.append(replace(own, value=value, **(looks or {}).get(value, {})))
    return labels.check_structures(structures, source=source)


# Okabe & Ito (2008) without the modality colours
_COLOURS = ("#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#999999")
