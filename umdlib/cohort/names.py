"""Names of structures: what values and file names of known sets mean, and one structure from several."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from umdlib.cohort.manifest import named_structures
from umdlib.errors import InputError, unknown_name
from umdlib.files import read_tsv
from umdlib.images.formats import label_names
from umdlib.labels import MODALITIES, ORGANS, Structure

COLUMNS: dict[str, str] = {
    "scheme": "naming of one set or program, e.g. totalsegmentator; * for all",
    "file": "group or file that holds the value; * for all",
    "value": "label value; * where `name` is a file name or a label's name",
    "name": "what the source calls it",
    "structure": "what this project calls it: several rows may name one; a|b is a pair of organs, left and right, "
    "in one value; - leaves it out on purpose",
}

LEFT_OUT = ""

# Between the names of a left and a right organ that share one value.
SIDES = "|"


@dataclass(frozen=True)
class NameMap:
    """Meaning of label values and names.

    Attributes
    ----------
    meanings
        (scheme, file) -> value -> (name, structure); an empty structure is left out on purpose.
    names
        Name in lower case with underscores -> structure.
    notes
        Rows of the user's table that replaced shipped ones.
    """

    meanings: dict[tuple[str, str], dict[int, tuple[str, str]]] = field(repr=False)
    names: dict[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()

    def schemes(self) -> list[str]:
        """Known schemes of label values."""
        return sorted({scheme for scheme, _ in self.meanings})

    def of_values(self, scheme: str, file: str = "*") -> dict[int, str]:
        """Value -> structure for one file of a scheme.

        Raises
        ------
        InputError
            A scheme that is not known.
        """
        found = {**self.meanings.get((scheme, "*"), {}), **self.meanings.get((scheme, file), {})}
        if not found:
            raise InputError(
                f"No label names of '{scheme}' (file {file}). Known: {', '.join(self.schemes())}."
            )
        return {value: structure for value, (_, structure) in found.items()}

    def of_name(self, name: str) -> str | None:
        """Structure of a name; empty where it is left out on purpose, None where it is not known.

        Examples
        --------
        >>> [read_names().of_name(n) for n in ("Bladder", "oesophagus", "lung_upper_lobe_left", "rib_left_1")]
        ['urinary_bladder', 'esophagus', 'lung', '']
        """
        return self.names.get(normal(name))


def normal(name: str) -> str:
    """A name in lower case, with one underscore for what separates its words.

    Examples
    --------
    >>> normal("Left Kidney (seg)")
    'left_kidney_seg'
    """
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def named_within(path: Path, names: NameMap) -> dict[int, str]:
    """Label value -> structure by the names that a file holds itself; a name that is not known stays."""
    found = {value: (names.of_name(name), name) for value, name in label_names(path).items()}
    return {value: name if known is None else known for value, (known, name) in found.items()}


def read_names(extra: str | Path | None = None) -> NameMap:
    """Name map that ships with the project, with a user's rows over it.

    Parameters
    ----------
    extra
        Table with the columns of `COLUMNS`; ``scheme`` and ``file`` may be missing.

    Raises
    ------
    InputError
        A table that cannot be read; a value that is not a whole number; two rows of one table that
        give one value or name two meanings.
    """
    values: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}
    names: dict[str, str] = {}
    with resources.as_file(resources.files("umdlib.cohort") / "names.tsv") as shipped:
        _add(Path(shipped), values, names)
    notes = _add(Path(extra), values, names) if extra is not None else []
    return NameMap(values, names, tuple(notes))


@dataclass(frozen=True)
class FolderNames:
    """Meaning of the label values of trained networks, one folder each.

    Attributes
    ----------
    folders
        Names of the folders in the table's order; ``*`` where it names none.
    modalities
        Folder -> modalities of the images that it is for; empty for all.
    """

    folders: tuple[str, ...]
    modalities: dict[str, tuple[str, ...]]
    _values: dict[tuple[str, str], dict[int, tuple[str, str]]] = field(repr=False)
    _names: dict[str, str] = field(repr=False)

    def of_label(self, folder: str, value: int, name: str) -> str | None:
        """Structure of a label by its value, else by its name; empty: left out, None: not in the table."""
        for key in (("*", folder), ("*", "*")):
            if value in self._values.get(key, {}):
                return self._values[key][value][1]
        return self._names.get(normal(name))

    def unused(self, labels: dict[str, dict[str, int]]) -> list[str]:
        """Names of the table that no folder has; `labels` are folder -> label name -> value."""
        known = {normal(n) for found in labels.values() for n in found}
        lost = [f"the name '{n}'" for n in self._names if n not in known]
        for (_, folder), values in self._values.items():
            have = {v for f, found in labels.items() if folder in ("*", f) for v in found.values()}
            lost += [f"value {v} of {folder}" for v in values if v not in have]
        return lost


def read_folder_names(path: str | Path) -> FolderNames:
    """Table of names beside one or several trained networks, in the form of `COLUMNS`.

    ``file`` names the folder of a network; a row whose ``value`` is ``*`` goes by the label's name. One
    more column, ``modality``, may say which images a folder is for: CT, MR or PET, several with commas.

    Raises
    ------
    InputError
        As `read_names`; a modality that is not known, or two lists of them for one folder; a value that
        holds two organs.
    """
    path = Path(path)
    values: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}
    names: dict[str, str] = {}
    modalities: dict[str, tuple[str, ...]] = {}
    for line, row in read_tsv(path, ("value", "name", "structure")).iterrows():
        if SIDES in row["structure"]:
            raise InputError(
                f"Structure '{row['structure']}' in {path} line {line} is two organs in one value. A network's "
                "label must be one structure or a part of one."
            )
        if (row.get("scheme") or "*") != "*":
            raise InputError(f"Scheme '{row['scheme']}' in {path} line {line}. Must be * or left away here.")
        folder, cell = row.get("file") or "*", row.get("modality") or "*"
        given = () if cell == "*" else tuple(m.strip() for m in cell.split(","))
        for modality in given:
            if modality not in MODALITIES:
                raise unknown_name(f"modality in {path} line {line}", modality, MODALITIES)
        if modalities.setdefault(folder, given) != given:
            raise InputError(
                f"{path} line {line} gives folder '{folder}' the modality '{cell}', an earlier line "
                f"'{','.join(modalities[folder]) or '*'}'. Give one."
            )
    _add(path, values, names)
    return FolderNames(tuple(modalities), modalities, values, names)


def _add(path: Path, values: dict, names: dict) -> list[str]:
    """Put the rows of one table over what is known; returns what they replaced."""
    notes, seen = [], {}
    table = read_tsv(path, ("value", "name", "structure"))
    # plain dicts: a Series for each of 580 rows takes seven times as long
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        scheme, file = row.get("scheme") or "*", row.get("file") or "*"
        structure = LEFT_OUT if row["structure"] in ("-", "", "n/a") else row["structure"]
        if row["value"] in ("*", "", "n/a"):
            known, key, entry = names, normal(row["name"]), structure
        elif re.fullmatch(r"[1-9]\d{0,4}", row["value"]):
            known, key = values.setdefault((scheme, file), {}), int(row["value"])
            entry = (row["name"], structure)
        else:
            raise InputError(f"Value '{row['value']}' in {path} line {line}. Must be 1 to 65535, or *.")
        first, meaning = seen.setdefault((id(known), key), (line, structure))
        if meaning != structure:
            raise InputError(
                f"{path} gives '{row['name']}' (value {row['value']}) two meanings: '{meaning}' on line "
                f"{first} and '{structure}' on line {line}. Leave one."
            )
        if key in known and (was := known[key] if known is names else known[key][1]) != structure:
            notes.append(
                f"{path.name} line {line}: {row['name']} is {structure or 'left out'}, was {was or 'left out'}."
            )
        known[key] = entry
    return notes


def structures_of(names: Iterable[str]) -> tuple[Structure, ...]:
    """Structures of a cohort: organs with their values in `labels.ORGANS`, others after them.

    Examples
    --------
    >>> [(s.value, s.name) for s in structures_of(["spleen", "liver", "prostate"])]
    [(1, 'liver'), (6, 'spleen'), (14, 'prostate')]
    >>> [(s.value, s.name) for s in structures_of(["tumour"])]
    [(1, 'tumour')]
    >>> [(s.value, s.name) for s in structures_of(["kidney_left|kidney_right"])]
    [(2, 'kidney_left'), (3, 'kidney_right')]
    """
    names = {part for name in names for part in name.split(SIDES)} - {LEFT_OUT}
    known = {s.value: s.name for s in ORGANS if s.name in names}
    start = len(ORGANS) if known else 0
    others = sorted(names - set(known.values()))
    return named_structures(
        known | {start + n: name for n, name in enumerate(others, start=1)}, source="the name map"
    )
