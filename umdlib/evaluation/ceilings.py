"""Ceilings of a cohort: the best scores that its references allow, one row per pair, structure and kind."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.files import read_tsv
from umdlib.images import geometry
from umdlib.images.volume import LabelMap
from umdlib.labels import Structure
from umdlib.metrics import ceilings
from umdlib.metrics.masks import dice
from umdlib.scores.ceilings import COLUMNS

JITTER_MM = (1.0, 2.0)
SHIFT_MM = 10.0

ABSENT = "the reference lacks the structure"
UNMEASURED = "no displacement of this structure was measured"
Displacements = Mapping[tuple[str, str, str], tuple[float, float, float]]


def cohort_ceilings(
    cohort: Cohort,
    *,
    jitter_mm: tuple[float, ...] = JITTER_MM,
    shift_mm: float = SHIFT_MM,
    displacements: Displacements | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Ceilings of every pair of a cohort, from its references alone: no image is read.

    Parameters
    ----------
    cohort
        The cohort.
    jitter_mm
        Of a second reader's boundary.
    shift_mm
        Of the stated movement along the body (world z).
    displacements
        (subject, session, structure) -> (x, y, z) in mm, where PET's anatomy was measured to lie from the
        structural image's; the kind *motion* has a number only there.
    report
        Called with one line per pair.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: `kind` of `umdlib.scores.ceilings.KINDS`, `size_mm` of the movement or the jitter (NaN
        where there is none), `ceiling` a DSC, NaN with its reason (a pair that cannot be read has one row for each
        structure). No rows where no pair has two references. A second reader has a row on either
        modality, all others are of PET.
    """
    settings = _Settings(tuple(jitter_mm), float(shift_mm), displacements or {})
    rows = []
    for pair in cohort.pairs():
        if any(case.reference is None for case in pair):
            continue
        try:
            read = _References(pair[1], *(case.read_reference() for case in pair))
        except InputError as error:
            key = (pair[1].subject, pair[1].session, "PET")
            rows += [(*key, s.name, "grid", np.nan, np.nan, str(error)) for s in pair[1].structures]
            report(f"{pair[1].subject} {pair[1].session} cannot be read: {error}")
            continue
        for structure in pair[1].structures:
            rows += _rows(read, pair[0].modality, structure, settings)
        report(f"{pair[1].subject} {pair[1].session}")
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Settings:
    """Settings of `cohort_ceilings`."""

    jitter_mm: tuple[float, ...]
    shift_mm: float
    displacements: Displacements


class _References:
    """Both label maps of a pair, and the structural one on PET's grid."""

    def __init__(self, pet_case: Case, structural: LabelMap, pet: LabelMap) -> None:
        self.case, self.structural, self.pet = pet_case, structural, pet
        self.carried = geometry.resample(
            structural.data, structural.affine, pet.affine, pet.data.shape, order=0
        )


def _rows(read: _References, modality: str, structure: Structure, settings: _Settings) -> Iterator[tuple]:
    """Rows of one structure of one pair."""
    drawn, own, carried = (m == structure.value for m in (read.structural.data, read.pet.data, read.carried))
    key = (read.case.subject, read.case.session, structure.name)

    def row(where: str, kind: str, size_mm: float, value: float, why: str = ABSENT) -> tuple:
        return (*key[:2], where, key[2], kind, size_mm, value, "" if np.isfinite(value) else why)

    nothing = float("nan")
    trip, best = ceilings.on_grid(drawn, read.structural.affine, read.pet)
    yield row("PET", "grid", nothing, trip)
    yield row("PET", "grid, best", nothing, best)
    yield row("PET", "two references", nothing, dice(carried, own))
    yield row(
        "PET", "shift", settings.shift_mm, ceilings.moved(own, read.pet.affine, (0, 0, settings.shift_mm))
    )
    by_mm = settings.displacements.get(key)
    size = nothing if by_mm is None else float(np.linalg.norm(by_mm))
    value = nothing if by_mm is None else ceilings.moved(own, read.pet.affine, by_mm)
    yield row("PET", "motion", size, value, UNMEASURED if by_mm is None else ABSENT)
    for jitter in settings.jitter_mm:
        for where, mask, grid in ((modality, drawn, read.structural), ("PET", own, read.pet)):
            seed = [0, zlib.crc32(repr((*key, where, jitter)).encode())]
            value = ceilings.second_reader(mask, grid.spacing_mm, jitter, rng=np.random.default_rng(seed))
            yield row(where, "second reader", jitter, value)


def read_displacements(path: str | Path) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    """Measured displacements of PET's anatomy from the structural image's, as `cohort_ceilings` takes them.

    Parameters
    ----------
    path
        ``estimates.tsv`` of ``umdlib ladder``, or a table of one line per structure: `subject, session, structure,
        x_mm, y_mm, z_mm`. A structure without numbers (n/a) has none.

    Raises
    ------
    InputError
        A file that is not a table, lacks a column, holds anything but finite numbers of mm, or names a structure twice.
    """
    axes = ("x_mm", "y_mm", "z_mm")
    keys = ["subject", "session", "structure"]
    table = read_tsv(path, keys)
    if {"quantity", "value"} <= set(table.columns):
        table = _of_estimates(table, keys, axes)
    for column in axes:
        if column not in table:
            raise InputError(f"Column '{column}' is missing in {path}. It has: {', '.join(table.columns)}.")
    found = {}
    for line, row in table.iterrows():
        key = (row["subject"], row["session"], row["structure"])
        values = pd.to_numeric(row[list(axes)], errors="coerce").to_numpy(float)
        if row[list(axes)].isin(["n/a"]).any():
            continue
        if not np.isfinite(values).all():
            raise InputError(
                f"Line {line} of {path}: {', '.join(row[list(axes)])} are not three numbers of mm."
            )
        if key in found:
            raise InputError(f"Line {line} of {path}: {' '.join(key)} occurs twice.")
        found[key] = tuple(values.tolist())
    return found


def _of_estimates(table: pd.DataFrame, keys: list[str], axes: tuple[str, ...]) -> pd.DataFrame:
    """One line per structure from one line per axis."""
    parts = [
        table[table["quantity"].eq(f"displacement {axis[0]}")].set_index(keys)["value"].rename(axis)
        for axis in axes
    ]
    twice = [p.index[p.index.duplicated()] for p in parts]
    if any(len(t) for t in twice):
        raise InputError(f"The displacement of {' '.join(next(t[0] for t in twice if len(t)))} occurs twice.")
    return pd.concat(parts, axis=1).fillna("n/a").reset_index()
