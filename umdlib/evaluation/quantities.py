"""Quantities of a run: what the kept predictions and their references measure on their images."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.evaluation import store
from umdlib.images import volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.metrics import scoring as metrics
from umdlib.quantities import table as sister
from umdlib.quantities.masks import QUANTITIES, Reading, undefined_reason
from umdlib.scores.table import KEYS, read_scores

FILE = "quantities.parquet"


class Quantifier:
    """Quantities of one case after the other; an image and its reference are read once."""

    def __init__(self, root: str | Path, hash_of: Callable[[Path], str]) -> None:
        self._root, self._hash_of = Path(root), hash_of
        self._of = ""
        self._reading: Reading | None = None
        self._reference: pd.DataFrame | None = None

    def of_case(
        self, case: Case, scored: pd.DataFrame, segmenter: str, read: Callable[[], tuple[Volume, LabelMap]]
    ) -> pd.DataFrame:
        """Quantities of a scored case, written beside its scores; what is there already is read.

        Returns
        -------
        pandas.DataFrame
            Columns `umdlib.quantities.table.COLUMNS`, one row per score row. A prediction that failed
            or was not asked has no numbers; its status and reason are the score's.
        """
        stamp = scored.attrs.get("stamp", {})
        if not stamp.get("prediction_key"):  # nothing was predicted
            return _rows(scored, case, None, {})
        path = store.case_folder(self._root, segmenter, case) / FILE
        key = self._key(case, stamp["prediction_key"])
        kept = _kept(path, key)
        if kept is not None and _same_keys(kept, scored):
            return kept
        image, reference = read()
        self._begin(case, image, reference)
        for _ in range(3):
            before = _inode(path.parent)
            try:
                predictions = self._predictions(case, scored, segmenter, reference)
                table = _rows(scored, case, self._reference, predictions)
                sister.write_quantities(path, table, stamp={"key": key})
                return table
            except InputError as error:
                if before is not None and _inode(path.parent) == before:
                    raise
                fault = error
                time.sleep(0.1)  # another process of this run was putting the same case in its place
        raise fault

    def _key(self, case: Case, predicted: str) -> str:
        """What a case's quantities are made from."""
        parts = [
            predicted,
            self._hash_of(case.image),
            self._hash_of(case.reference),
            case.reading,
            [[s.value, s.name] for s in case.structures],
            sister.QUANTITIES_VERSION,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _begin(self, case: Case, image: Volume, reference: LabelMap) -> None:
        """Measure a case's reference, unless it was the last one measured."""
        if self._of != case.name:
            self._of, self._reading = case.name, Reading(image)
            bits = metrics.label_bits(reference.data, [s.value for s in case.structures])
            self._reference = self._reading.of_bits(bits, len(case.structures))

    def _predictions(self, case: Case, scored: pd.DataFrame, segmenter: str, reference: LabelMap) -> dict:
        """Quantities of each kept prediction, by prompt, seed and step, in the order of the structures."""
        folder = store.case_folder(self._root, segmenter, case)
        places, found = store.bit_places(folder, case), {}
        for prompt, seed, step in (
            scored[["prompt", "seed", "step"]].drop_duplicates().itertuples(index=False)
        ):
            bits = volume.read_bits(folder / store.prediction_file(prompt, seed, step), on=reference)
            measured = self._reading.of_bits(bits, len(places))
            found[prompt, seed, step] = measured.iloc[places].reset_index(drop=True)
        return found


def quantify_run(
    cohort: Cohort, root: str | Path, *, report: Callable[[str], None] = lambda line: None
) -> pd.DataFrame:
    """Quantities of every prediction that a run has kept; nothing is predicted.

    Parameters
    ----------
    cohort
        The cohort that was predicted.
    root
        Folder of the run. Each case's table is kept beside its scores.
    report
        Called with one line per image.

    Returns
    -------
    pandas.DataFrame
        Columns `umdlib.quantities.table.COLUMNS`. An image that cannot be read any more, or a prediction
        that is damaged, gives rows without numbers and the reason.

    Raises
    ------
    InputError
        The folder holds no score table of this cohort.
    """
    root = Path(root)
    hashes = store.FileHashes(root / "hashes.json")
    quantifier, tables = Quantifier(root, hashes), []
    every = read_scores(root / "scores.parquet")
    places = every.groupby(["subject", "session", "modality"], sort=False, observed=True).indices
    for case in cohort.cases:
        here = every.iloc[places.get((case.subject, case.session, case.modality), [])]
        for name, rows in here.groupby("segmenter", sort=False):
            kept = store.Kept(store.case_folder(root, name, case))
            rows = kept.table if kept.stamp and not kept.damage else rows
            tables.append(of_case_or_reason(quantifier, case, rows, str(name), case.read))
        report(f"{case.name} measured")
    hashes.keep()
    if not tables:
        raise InputError(f"No prediction of cohort {cohort.name} in {root}.")
    return sister.stacked(tables)


def _inode(folder: Path) -> int | None:
    """Which folder lies at a place; None while there is none."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def of_case_or_reason(
    quantifier: Quantifier,
    case: Case,
    scored: pd.DataFrame,
    segmenter: str,
    read: Callable[[], tuple[Volume, LabelMap]],
) -> pd.DataFrame:
    """Quantities of a case; rows with the reason where an image or a prediction cannot be read."""
    try:
        return quantifier.of_case(case, scored, segmenter, read)
    except InputError as error:
        if str(error).startswith("Cannot write"):
            raise
        return _rows(scored, case, None, {}, str(error))


def _rows(
    scored: pd.DataFrame, case: Case, reference: pd.DataFrame | None, predictions: dict, reason: str = ""
) -> pd.DataFrame:
    """One row per score row: the quantities of its two masks, where there are any."""
    numbers = list(QUANTITIES)
    table = scored[[*KEYS, "status", "reason"]].reset_index(drop=True)
    position = {s.name: n for n, s in enumerate(case.structures)}
    sides = {s: np.full((len(table), len(numbers)), np.nan) for s in sister.SIDES}
    for n, row in enumerate(table.itertuples(index=False)):
        place = position.get(row.structure)
        if place is None:
            continue
        if reference is not None:
            sides["reference"][n] = reference.iloc[place]
        measured = predictions.get((row.prompt, row.seed, row.step))
        if measured is not None and row.status not in ("failed", "unavailable"):
            sides["prediction"][n] = measured.iloc[place]
    why = reason or undefined_reason(case.unit)
    table["reason"] = table["reason"].fillna("").where(table["reason"].fillna("").ne(""), why)
    for side, values in sides.items():
        table[[f"{side}_{q}" for q in numbers]] = values
    return table[list(sister.COLUMNS)]


def _kept(path: Path, key: str) -> pd.DataFrame | None:
    """A table that was made from the same inputs; None where there is none that can be read."""
    try:
        table = sister.read_quantities(path)
    except InputError:
        return None
    return table if table.attrs["stamp"].get("key") == key else None


def _same_keys(kept: pd.DataFrame, scored: pd.DataFrame) -> bool:
    """Whether a kept table has the rows of the scores, with their status."""
    sides = (t.sort_values(list(KEYS))[[*KEYS, "status"]].reset_index(drop=True) for t in (kept, scored))
    return next(sides).equals(next(sides))
