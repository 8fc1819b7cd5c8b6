"""Released runs: the score table of a large cohort, its card and its people, written and checked together.

A release called NAME is three files in `FOLDER`, which is part of the package:

=====================  ==========================================================================
``NAME.parquet``       the score table, with what was given (`given`) and the content keys of the
                       case that each row comes from
``NAME.people.tsv``    the rows of its manifest, without places of images
``NAME.json``          the card: settings, subjects, machine, cost, hashes of the other two
=====================  ==========================================================================
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.files import file_hash, read_tsv, replaced, write_tsv
from umdlib.scores.table import KEYS, provenance, read_scores, write_scores

FOLDER = Path(__file__).parent / "released"
# What a machine, the hour and a change of code that moves no number may change.
_NOT_COMPARED = ("seconds", "peak_mb", "inputs_key", "prediction_key", "score_key")
SETTINGS = ("subjects", "seed", "spacing_mm", "prompts")
# What a DSC may differ by on another kind of processor: the margin of the plan.
TOLERANCE = 0.02
# Share of first prompts that may differ by more there: a mask that leaks across a threshold leaks whole.
FAR = 0.05


@dataclass(frozen=True)
class Release:
    """Card of a released run.

    Attributes
    ----------
    name
        Of the three files: small letters, digits, underscores.
    settings
        `SETTINGS`: subjects per session that the cohort was made with, its seed and spacing, and
        ``prompts``: ``"segmenter/session"`` -> plan.
    subjects
        Session -> subjects whose images were all scored by all segmenters.
    segmenters
        In the order of the run.
    machine
        Processor and versions, see `this_machine`: what the last bit depends on.
    cost
        Segmenter -> seconds of all its predictions.
    code_version
        Version of the package and commit.
    rows, sha256, people_sha256
        Filled in by `write_release`.
    """

    name: str
    settings: dict
    subjects: dict
    segmenters: list
    machine: dict
    cost: dict
    code_version: str
    rows: int = 0
    sha256: str = ""
    people_sha256: str = ""
    note: str = field(default="")


@dataclass(frozen=True)
class Comparison:
    """Comparison of a live subset with a release.

    Attributes
    ----------
    rows, equal
        Rows compared, and those that are equal to the bit in every column compared.
    difference
        The first difference that is one too many, as a sentence; ``""`` where there is none.
    exact
        Whether equality to the bit was required: the machine is of the release's kind.
    """

    rows: int
    equal: int
    difference: str
    exact: bool


def this_machine() -> dict[str, str]:
    """Kind of processor, and versions of the packages that compute a score."""
    model = platform.processor()
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
        model = found.group(1) if found else model
    except OSError:
        pass  # no Linux
    return {"processor": f"{platform.machine()} {model}".strip(), **provenance()["packages"]}


def release_names(folder: str | Path = FOLDER) -> list[str]:
    """Runs that are released in a folder, in alphabetical order."""
    return sorted(p.stem for p in Path(folder).glob("*.json"))


def release_files(name: str, folder: str | Path = FOLDER) -> dict[str, Path]:
    """Paths of the three files of a release: ``table``, ``people``, ``card``."""
    endings = {"table": ".parquet", "people": ".people.tsv", "card": ".json"}
    return {key: Path(folder) / f"{name}{ending}" for key, ending in endings.items()}


def write_release(
    card: Release, table: pd.DataFrame, people: pd.DataFrame, folder: str | Path = FOLDER
) -> Release:
    """Write the three files of a release, the card last; returns the card with rows and hashes.

    Parameters
    ----------
    card
        Without `rows` and hashes.
    table
        Score table with its stamp; only rows of the card's subjects and segmenters.
    people
        Columns `subject, session, modality` and what a manifest says of a subject.
    folder
        Where to.

    Raises
    ------
    InputError
        An invalid name, a card that lacks a setting, rows of others or none, a folder that cannot be
        written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", card.name):
        raise InputError(
            f"Invalid name '{card.name}' of a release. Small letters, digits and underscores only."
        )
    _check_card(card, f"card of '{card.name}'")
    enrolled = {(s, who) for s, names in card.subjects.items() for who in names}
    held = set(table[["session", "subject"]].itertuples(index=False, name=None))
    if held != enrolled or set(table["segmenter"]) != set(card.segmenters):
        raise InputError(
            f"The table of release '{card.name}' is not of the subjects and segmenters of its card."
        )
    files = release_files(card.name, folder)
    try:
        files["card"].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make folder {folder}: {error.strerror}.") from None
    write_scores(files["table"], table, stamp=table.attrs.get("stamp"))
    write_tsv(files["people"], people)
    card = replace(
        card, rows=len(table), sha256=file_hash(files["table"]), people_sha256=file_hash(files["people"])
    )
    with replaced(files["card"]) as part:
        part.write_text(json.dumps(asdict(card), indent=1) + "\n", "utf-8")
    return card


def read_card(name: str, folder: str | Path = FOLDER) -> Release:
    """Read the card of a release; its table is not opened.

    Raises
    ------
    InputError
        There is no such release (the nearest name is suggested), or its card is damaged.
    """
    path = release_files(name, folder)["card"]
    if not path.is_file():
        raise unknown_name("released run", name, release_names(folder))
    try:
        content = json.loads(path.read_text("utf-8"))
        unknown = set(content) - {f.name for f in fields(Release)}
        if unknown:
            raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
        card = Release(**content)
    except (ValueError, TypeError) as error:
        raise InputError(f"Card {path} cannot be read: {error}.") from None
    _check_card(card, f"card {path}")
    return card


def read_release(name: str, folder: str | Path = FOLDER) -> tuple[Release, pd.DataFrame, pd.DataFrame]:
    """Read card, score table and people of a release, checked against the card's hashes.

    Raises
    ------
    InputError
        As `read_card`; a file is missing or not the one that the card describes.
    """
    card, files = read_card(name, folder), release_files(name, folder)
    for key, wanted in (("table", card.sha256), ("people", card.people_sha256)):
        if not files[key].is_file():
            raise InputError(f"File {files[key]} does not exist, though its card does.")
        if (digest := file_hash(files[key])) != wanted:
            raise InputError(f"File {files[key]} has sha256 {digest[:12]}…, not {wanted[:12]}… of its card.")
    return card, read_scores(files["table"]), read_tsv(files["people"])


def extended(
    old: tuple[Release, pd.DataFrame, pd.DataFrame], new: tuple[Release, pd.DataFrame, pd.DataFrame]
) -> tuple[Release, pd.DataFrame, pd.DataFrame]:
    """Join a release and further subjects of its cohort: card, score table and people.

    Parameters
    ----------
    old
        As `read_release` returns it.
    new
        The same of further subjects, and of some that the release has, computed again.

    Raises
    ------
    InputError
        Other settings, segmenters or machine; a subject computed again has another number, or none was
        though the segmenters' code is another.
    """
    (card, table, people), (further, more, others) = old, new
    stamps = table.attrs["stamp"], more.attrs["stamp"]
    refused = f"Release '{card.name}' cannot take these subjects"
    one, two = ({n: {**i, "source": ""} for n, i in s["segmenters"].items()} for s in stamps)
    for what, mine, theirs in (
        ("settings", card.settings, further.settings),
        ("segmenters", one, two),
        ("machine", card.machine, further.machine),
    ):
        if mine != theirs:
            entry = next(k for k in {**mine, **theirs} if mine.get(k) != theirs.get(k))
            raise InputError(
                f"{refused}: its {what} say {entry} {mine.get(entry)}, theirs {theirs.get(entry)}."
            )
    twice = more["subject"].isin(table["subject"].unique())
    if twice.any():
        difference = compare_with_release(more[twice], table).difference
        if difference:
            raise InputError(f"{refused}: {difference}")
    elif stamps[0]["segmenters"] != stamps[1]["segmenters"]:
        raise InputError(
            f"{refused}: their code is another. Compute one of its subjects again for comparison."
        )
    joined = pd.concat([table, more[~twice]], ignore_index=True)
    joined.attrs["stamp"] = stamps[1] | {
        "cohort_hash": hashlib.sha256("".join(s["cohort_hash"] for s in stamps).encode()).hexdigest()
    }
    held = joined.groupby("session")["subject"]
    versions = ", ".join(dict.fromkeys([card.code_version, further.code_version]))
    card = replace(
        further,
        name=card.name,
        subjects={s: sorted(names.unique()) for s, names in held},
        cost=joined.groupby("segmenter")["seconds"].sum().round(1).to_dict(),
        code_version=versions,
    )
    others = others[~others["subject"].isin(people["subject"])]
    return card, joined, pd.concat([people, others], ignore_index=True)


def live_subjects(card: Release, number: int, version: str) -> dict[str, list[str]]:
    """Draw the subjects of each session that are computed again; the draw changes with the version.

    Examples
    --------
    >>> card = Release("a", {}, {"petct": ["sub-001", "sub-002", "sub-003"]}, [], {}, {}, "")
    >>> live_subjects(card, 2, "0.1.0") == live_subjects(card, 2, "0.1.0")
    True
    """
    drawn = {}
    for session, names in card.subjects.items():
        rng = np.random.default_rng(zlib.crc32(f"{card.name} {version} {session}".encode()))
        drawn[session] = sorted(rng.choice(names, min(number, len(names)), replace=False).tolist())
    return drawn


def misfit(card: Release, settings: Mapping[str, object]) -> str:
    """Say why a run with these settings cannot use a release; ``""`` where it can.

    Parameters
    ----------
    card
        Of the release.
    settings
        ``seed`` and ``spacing_mm`` as the card's; ``prompts`` names the segmenters and sessions that
        the run wants.
    """
    for name in ("seed", "spacing_mm"):
        if settings[name] != card.settings[name]:
            return f"{name} is {settings[name]}, the release has {card.settings[name]}"
    for what, plan in settings["prompts"].items():
        released = card.settings["prompts"].get(what)
        if released is None:
            return f"{what} is not in the release"
        if released != plan:
            return f"the prompts of {what} are {plan}, the release has {released}"
    return ""


def compare_with_release(live: pd.DataFrame, released: pd.DataFrame, *, exact: bool = True) -> Comparison:
    """Compare rows that were computed again with the released ones, in all columns but `_NOT_COMPARED`.

    Parameters
    ----------
    live
        Rows of some subjects and segmenters, complete.
    released
        Rows of the release.
    exact
        Whether every column must be equal to the bit. On another kind of processor sums may end in
        another bit and a voxel at a threshold on the other side: there the status and the DSC of
        first prompts are compared: at most a share `FAR` may differ by more than `TOLERANCE`.

    Raises
    ------
    InputError
        Nothing to compare.
    """
    if live.empty:
        raise InputError("No row was computed again: there is nothing to compare with the release.")
    own = ["subject", "session", "segmenter"]
    wanted = pd.MultiIndex.from_frame(released[own]).isin(pd.MultiIndex.from_frame(live[own]))
    ours, theirs = (t.set_index(list(KEYS)).sort_index() for t in (live, released[wanted]))
    for name, more, less in (("released", theirs, ours), ("computed", ours, theirs)):
        alone = more.index.difference(less.index)
        if len(alone):
            other = "not computed" if name == "released" else "not released"
            return Comparison(len(ours), 0, f"{_row_name(alone[0])} is {name} and {other}.", exact)
    ours = ours.reindex(theirs.index)
    columns = [c for c in theirs if c not in _NOT_COMPARED]
    gone = set(columns) ^ {c for c in ours if c not in _NOT_COMPARED}
    if gone:
        return Comparison(len(ours), 0, f"Column {sorted(gone)[0]} is in one table only.", exact)
    unequal = pd.DataFrame(
        {c: ~(ours[c].eq(theirs[c]) | (ours[c].isna() & theirs[c].isna())) for c in columns},
        index=theirs.index,
    )
    differs = unequal.any(axis=1)
    equal = int((~differs).sum())
    difference = _first(unequal, ours, theirs) if exact else _too_far(ours, theirs)
    return Comparison(len(ours), equal, difference, exact)


def _first(unequal: pd.DataFrame, ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """The first difference, by the order of keys and columns, as a sentence."""
    rows = unequal.any(axis=1)
    if not rows.any():
        return ""
    where = rows.idxmax()
    column = unequal.loc[where].idxmax()
    return (
        f"{_row_name(where)}: {column} is {ours.loc[where, column]!r} here and {theirs.loc[where, column]!r} in the "
        f"release ({int(rows.sum())} of {len(rows)} rows differ)."
    )


def _too_far(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Say what differs where more than `FAR` of first prompts have another status or a DSC beyond `TOLERANCE`."""
    first = theirs.index.get_level_values("step") == 0
    ours, theirs = ours[first], theirs[first]
    other = ours["status"] != theirs["status"]
    far = other | ((ours["dice"] - theirs["dice"]).abs() > TOLERANCE)
    if far.sum() <= FAR * len(far):
        return ""
    where = far.idxmax()
    column = "status" if other[where] else "dice"
    return (
        f"{_row_name(where)}: {column} is {ours.loc[where, column]!r} here and {theirs.loc[where, column]!r} in the "
        f"release, and {int(far.sum())} of {len(far)} first prompts differ so, on another kind of processor than the "
        f"release's."
    )


def _row_name(key: tuple) -> str:
    """A row's key in words."""
    return " ".join(
        f"{name} {value}" if name in ("step", "seed") else str(value)
        for name, value in zip(KEYS, key, strict=True)
    )


def _check_card(card: Release, source: str) -> None:
    """Refuse a card without settings, subjects or segmenters."""
    gone = [k for k in SETTINGS if k not in card.settings]
    if gone:
        raise InputError(f"The {source} lacks {', '.join(gone)} in 'settings'.")
    if not any(card.subjects.values()) or not card.segmenters:
        raise InputError(f"The {source} names no subject or no segmenter.")
