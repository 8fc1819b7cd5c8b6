"""The structures, modalities and sessions of the benchmark, as sourced records."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from umdlib.errors import InputError, unknown_name


@dataclass(frozen=True)
class Structure:
    """One segmented structure of a cohort.

    Attributes
    ----------
    value
        Its voxel value in a label map, 1 to 65535.
    name
        Identifier in tables and file names, TotalSegmentator's where it has one.
    title
        Name shown to a reader.
    short
        Two or three letters for narrow axes.
    colour
        ``#rrggbb``.
    """

    value: int
    name: str
    title: str
    short: str
    colour: str


# Order and count: UMD (arXiv 2602.07643), section 3 and tables 1-2. Names: TotalSegmentator v2.
ORGANS: tuple[Structure, ...] = (
    Structure(1, "liver", "Liver", "Li", "#b5543a"),
    Structure(2, "kidney_left", "Kidney, left", "KL", "#e69f00"),
    Structure(3, "kidney_right", "Kidney, right", "KR", "#f0c64a"),
    Structure(4, "brain", "Brain", "Br", "#cc79a7"),
    Structure(5, "heart", "Heart", "He", "#d62728"),
    Structure(6, "spleen", "Spleen", "Sp", "#8c6bb1"),
    Structure(7, "aorta", "Aorta", "Ao", "#ff6f61"),
    Structure(8, "lung", "Lung", "Lu", "#56b4e9"),
    Structure(9, "colon", "Colon", "Co", "#a6761d"),
    Structure(10, "urinary_bladder", "Bladder", "Bl", "#009e73"),
    Structure(11, "pancreas", "Pancreas", "Pa", "#b8de29"),
    Structure(12, "esophagus", "Oesophagus", "Oe", "#0072b2"),
    Structure(13, "stomach", "Stomach", "St", "#66c2a5"),
)


@dataclass(frozen=True)
class Modality:
    """One imaging modality: `name` in tables, `unit` of its volumes, `colour` in every figure."""

    name: str
    title: str
    unit: str
    colour: str
    structural: bool


# Colours: Okabe & Ito (2008), distinguishable in the three common colour vision deficiencies.
MODALITIES: dict[str, Modality] = {
    "CT": Modality("CT", "CT", "HU", "#0072b2", True),
    "MR": Modality("MR", "MR", "a.u.", "#009e73", True),
    "PET": Modality("PET", "PET", "SUV", "#d55e00", False),
}

# DICOM writes PT; papers write MRI.
_MODALITY_ALIASES: dict[str, str] = {"PT": "PET", "MRI": "MR"}


_MODALITY_WORDS = (
    {name: name for name in MODALITIES} | _MODALITY_ALIASES | {"T1": "MR", "T2": "MR", "SUV": "PET"}
)


def modality_in(text: str) -> str | None:
    """Name of the modality that a channel's name speaks of; None where it speaks of none.

    Examples
    --------
    >>> modality_in("PET (SUV)"), modality_in("t1_mri"), modality_in("noNorm")
    ('PET', 'MR', None)
    """
    words = re.split(r"[^A-Za-z0-9]+", text.upper())
    return next((_MODALITY_WORDS[w] for w in words if w in _MODALITY_WORDS), None)


@dataclass(frozen=True)
class Session:
    """One hybrid examination: the structural modality and PET, acquired together."""

    name: str
    title: str
    structural: str


SESSIONS: dict[str, Session] = {
    "petct": Session("petct", "PET/CT", "CT"),
    "petmr": Session("petmr", "PET/MR", "MR"),
}


def modality(name: str) -> Modality:
    """Modality by name or alias, in any case.

    Examples
    --------
    >>> modality("PT").name
    'PET'

    Raises
    ------
    InputError
        If there is no such modality.
    """
    key = _MODALITY_ALIASES.get(name.upper(), name.upper())
    if key not in MODALITIES:
        raise unknown_name("modality", name, MODALITIES)
    return MODALITIES[key]


def session(name: str) -> Session:
    """Session by name: a kind of `SESSIONS`, or one with a label where a subject has several.

    Examples
    --------
    >>> session("petct").title, session("petct-retest")
    ('PET/CT', Session(name='petct-retest', title='PET/CT, retest', structural='CT'))

    Raises
    ------
    InputError
        If there is no such session.
    """
    kind, hyphen, label = name.partition("-")
    if kind not in SESSIONS or (hyphen and not re.fullmatch("[A-Za-z0-9]+", label)):
        raise unknown_name("session", name, SESSIONS)
    known = SESSIONS[kind]
    return Session(name, f"{known.title}, {label}", known.structural) if label else known


def sorted_sessions(names: Iterable[str]) -> list[str]:
    """Sessions in the order of `SESSIONS`, labelled ones after the plain one of their kind.

    Examples
    --------
    >>> sorted_sessions(["petmr", "petct-psma", "petct", "petct-fdg"])
    ['petct', 'petct-fdg', 'petct-psma', 'petmr']
    """
    order = list(SESSIONS)
    distinct = set(
        names.unique() if hasattr(names, "unique") else names
    )  # a long column is not walked through
    return sorted(distinct, key=lambda n: (order.index(session(n).name.partition("-")[0]), n))


def structure(name: str, structures: Iterable[Structure] = ORGANS) -> Structure:
    """Structure by name among `structures`.

    Examples
    --------
    >>> structure("spleen").value
    6

    Raises
    ------
    InputError
        If there is no such structure; the nearest name is suggested.
    """
    by_name = {s.name: s for s in structures}
    if name not in by_name:
        raise unknown_name("structure", name, by_name)
    return by_name[name]


def check_structures(structures: Iterable[Structure], *, source: str) -> tuple[Structure, ...]:
    """The structures as a tuple, checked: values 1-65535, names, colours; no value or name twice.

    Raises
    ------
    InputError
        Naming `source`, the value and the rule.
    """
    structures = tuple(structures)
    if not structures:
        raise InputError(f"No structure in {source}. At least one is needed.")
    for s in structures:
        if not 1 <= s.value <= 65535:
            raise InputError(f"Invalid label value {s.value} of '{s.name}' in {source}. Must be 1 to 65535.")
        if not re.fullmatch(r"[^\W_][\w .()+-]*", s.name):
            raise InputError(
                f"Invalid structure name '{s.name}' in {source}. Letters, digits, '_', '-', '.' and "
                "spaces; it begins with a letter or digit."
            )
        if not re.fullmatch(r"[^\W_][\w .()+-]{0,15}", s.short):
            raise InputError(
                f"Invalid abbreviation '{s.short}' of '{s.name}' in {source}. At most 16 letters, digits, "
                "'_', '-', '.' and spaces; it begins with a letter or digit."
            )
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", s.colour):
            raise InputError(f"Invalid colour '{s.colour}' of '{s.name}' in {source}. Write it as #rrggbb.")
    for field in ("value", "name"):
        seen: set = set()
        for s in structures:
            item = getattr(s, field)
            if item in seen:
                raise InputError(f"Structure {field} {item!r} occurs twice in {source}.")
            seen.add(item)
    return structures
