"""A cohort up the ladder: every pair's sixteen cells and its PET through segmenters, cell by cell, resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import prompts, protocols, segmenters, sources
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.evaluation.plans import Plan, Settings, drawing_code, taken_plans
from umdlib.evaluation.store import FileHashes
from umdlib.files import replaced
from umdlib.images.volume import LabelMap, Volume
from umdlib.ladder.cells import CELLS, NONE, PET, UNDONE, degraded_cells, undone_cells
from umdlib.ladder.estimates import COLUMNS, Estimates, estimate_pair
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.calls import Opened, Unavailable

KEYS = ("subject", "session", "structure", "segmenter")
CELL_COLUMNS = (*KEYS, "cell", "score", "seconds", "reason")
ESTIMATE_COLUMNS = ("subject", "session", *COLUMNS)

_OWN_WEIGHTS = "it has weights of its own for each modality: degraded images belong to none of them"
_OWN_SLICES = "its prompts name an image's own slices: no prompt is the same in all cells"
_NO_REFERENCE = "an image of the pair has no reference to score against"
_NO_CLICK = "not asked: the structural reference lacks the structure"
_UNTAUGHT = "not asked: the segmenter does not know the structure"

Report = Callable[[str], None]


def ladder_run(
    cohort: Cohort,
    names: Sequence[str],
    root: str | Path,
    *,
    pairs: Sequence[tuple[Case, Case]] | None = None,
    reverse: bool = False,
    device: str = "cpu",
    report: Report = lambda line: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every cell of every pair with one segmenter or several; what is done already is read.

    Prompts are those of the pair, in world coordinates, the same in all cells: the common click, or a
    segmenter's own kind. Cells with resolution lie on PET's grid and are scored against PET's reference, the
    others against the structural one; a reference is never moved.

    Parameters
    ----------
    cohort
        With references.
    names
        Segmenters.
    root
        Folder; each cell is a file with a key of its own, ``root/ladder/<segmenter>/<pair>/<cell>.json``.
    pairs
        Of the cohort; None for all.
    reverse
        Also PET with contrast and displacement undone: three predictions more.
    device
        As of `umdlib.segmenters.open`.
    report
        Called with one line per pair and segmenter.

    Returns
    -------
    cells : pandas.DataFrame
        `CELL_COLUMNS`; the score is DSC, NaN with a reason.
    estimates : pandas.DataFrame
        `ESTIMATE_COLUMNS`, of each pair.

    Raises
    ------
    InputError
        No pair; an unknown segmenter or device; a folder that cannot be written.
    """
    chosen = cohort.pairs() if pairs is None else list(pairs)
    if not chosen:
        raise InputError(f"No complete pair in {cohort.manifest}. A ladder needs two images of one subject.")
    wanted = (*CELLS, PET, *(UNDONE if reverse else ()))
    opened = [segmenters.open(n, device) for n in dict.fromkeys(names)]
    hashes = FileHashes(Path(root) / "hashes.json")
    cells, estimates = [], []
    for pair in chosen:
        rung = _Rung(pair, Path(root), hashes, cohort)
        for one in opened:
            cells += _asked(rung, one, wanted, report)
        estimates += [(pair[0].subject, pair[0].session, *row) for row in rung.estimate_rows()]
        hashes.keep()
    for one in opened:
        if isinstance(one, Opened):
            one.close()
    return pd.DataFrame(cells, columns=list(CELL_COLUMNS)), pd.DataFrame(
        estimates, columns=list(ESTIMATE_COLUMNS)
    )


@dataclass
class _Rung:
    """A pair: what is read and estimated of it, each once and only where it is needed."""

    pair: tuple[Case, Case]
    root: Path
    hashes: FileHashes
    cohort: Cohort
    _read: list[tuple[Volume, LabelMap]] = field(default_factory=list)
    _estimates: Estimates | None = None

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.pair[0].subject}_{self.pair[0].session}"

    @property
    def labelled(self) -> bool:
        """Whether both images have a reference."""
        return all(c.reference is not None for c in self.pair)

    def key(self) -> list:
        """What all cells of the pair are made from."""
        files = [[self.hashes(c.image), c.reading, self.hashes(c.reference)] for c in self.pair]
        code = sources.code_digest(sources.import_closure(["umdlib.ladder.estimates", "umdlib.ladder.cells"]))
        return [self.name, files, [[s.value, s.name] for s in self.pair[0].structures], code]

    def read(self) -> list[tuple[Volume, LabelMap]]:
        """Both images with their references."""
        if not self._read:
            self._read = [c.read() for c in self.pair]
            for c in self.pair:
                self.hashes.check(c.image)
                self.hashes.check(c.reference)
        return self._read

    def estimates(self) -> Estimates:
        """What was estimated of the pair."""
        if self._estimates is None:
            self._estimates = estimate_pair(
                *self.read(), self.pair[0].structures, filter_mm=header_filter(self.pair[1].image)
            )
        return self._estimates

    def estimate_rows(self) -> list[list]:
        """Rows of the estimates' table, kept beside the cells."""
        if not self.labelled:
            return []
        path = self.root / "ladder" / "estimates" / f"{self.name}.json"
        key = _digest([*self.key(), header_filter(self.pair[1].image)])
        rows = _kept(path, key)
        if rows is None:
            rows = self.estimates().table.astype(object).to_numpy().tolist()
            _keep(path, key, rows)
        return rows

    def drawn(self, plan: Plan) -> dict[str, Prompt]:
        """Prompts of the pair, in world coordinates."""
        references = {c.modality: r for c, (_, r) in zip(self.pair, self.read(), strict=True)}
        return prompts.pair_prompts(
            references,
            self.pair[0].structures,
            structural=self.pair[0].modality,
            protocol=plan.protocol,
            seed=plan.seeds[0],
            case=f"{self.pair[0].subject} {self.pair[0].session}",
        )

    def images(self, cells: Sequence[str]):
        """(cell, image, reference) of some cells."""
        (image, labels), (pet, reference) = self.read()
        made_of = self.estimates().made_of
        for cell, degraded in degraded_cells(
            image, made_of, [c for c in cells if c in CELLS], name=self.name
        ):
            yield cell, degraded, reference if "R" in cell and made_of.grid is not None else labels
        if PET in cells:
            yield PET, pet, reference
        for cell, undone in undone_cells(pet, made_of, image, [c for c in cells if c in UNDONE]):
            yield cell, undone, reference


def _asked(rung: _Rung, opened: Opened | Unavailable, wanted: Sequence[str], report: Report) -> list[list]:
    """Rows of one pair and segmenter, kept or asked."""
    record, started = opened.record, time.perf_counter()
    plan = taken_plans(record, Settings((Plan("centre", (0,), 0),)))[0]
    why_not = _why_not(rung, opened, plan)
    if why_not:
        report(f"{record.name} {rung.name} unavailable. {why_not}")
        return [_row(rung, record.name, s.name, c, why_not) for c in wanted for s in rung.pair[0].structures]
    folder = rung.root / "ladder" / record.name / rung.name
    base = [*rung.key(), record.name, opened.identity, plan.protocol, drawing_code()]
    keys = {c: _digest([*base, c]) for c in wanted}
    found = {c: _kept(folder / f"{c}.json", keys[c]) for c in wanted}
    missing = [c for c in wanted if found[c] is None]
    seconds = 0.0
    if missing:
        given, call = rung.drawn(plan), opened.call(None)
        for cell, image, reference in rung.images(missing):
            found[cell] = [
                _scored(rung, record, call, cell, image, reference, given[s.name])
                for s in rung.pair[0].structures
            ]
            seconds += sum(row[-2] for row in found[cell] if np.isfinite(row[-2]))
            _keep(folder / f"{cell}.json", keys[cell], found[cell])
    total = time.perf_counter() - started
    word = f"{len(missing)} cells asked, {len(wanted) - len(missing)} kept"
    report(f"{record.name} {rung.name} {word} ({total:.1f} s, of which predictions {seconds:.1f} s)")
    return [row for c in wanted for row in found[c]]


def _why_not(rung: _Rung, opened: Opened | Unavailable, plan: Plan) -> str:
    """Why a segmenter has no ladder of a pair; ``""`` where it has one."""
    if not rung.labelled:
        return _NO_REFERENCE
    if opened.record.conditions:
        return _OWN_WEIGHTS
    if protocols.record(plan.protocol).own_image:
        return _OWN_SLICES
    return opened.why_not(None) or ""


def _scored(rung, record, call, cell: str, image: Volume, reference: LabelMap, prompt: Prompt) -> list:
    """Row of one structure and cell."""
    name = prompt.structure
    reason = rung.estimates().why_not(name, cell if cell != PET else NONE)
    if not reason and record.structures and name not in record.structures:
        reason = _UNTAUGHT
    if not reason and prompt.note == prompts.REFERENCE_EMPTY:
        reason = _NO_CLICK
    if reason:
        return _row(rung, record.name, name, cell, reason)
    started = time.perf_counter()
    try:
        mask = call(image, prompt, None)
    except InputError as error:
        return _row(rung, record.name, name, cell, str(error))
    except Exception as error:  # whatever a model does, the other cells go on
        return _row(rung, record.name, name, cell, f"{type(error).__name__}: {error}"[:500])
    seconds = time.perf_counter() - started
    value = next(s.value for s in rung.pair[0].structures if s.name == name)
    score = dice(reference.data == value, mask)
    reason = "" if np.isfinite(score) else "reference and mask are empty"
    return _row(rung, record.name, name, cell, reason, score, seconds)


def _row(rung: _Rung, segmenter: str, structure: str, cell: str, reason: str, *numbers: float) -> list:
    """Row of `CELL_COLUMNS`."""
    score, seconds = numbers or (float("nan"), float("nan"))
    case = rung.pair[0]
    return [case.subject, case.session, structure, segmenter, cell, score, seconds, reason]


def header_filter(image: Path) -> float | None:
    """Width (FWHM, mm) of the reconstruction filter in the sidecar of a PET image; None where it says none.

    Read is `ReconFilterSize` of PET-BIDS, from the JSON file of the image's name.
    """
    name = image.name.removesuffix(".gz").rsplit(".", 1)[0]
    try:
        found = json.loads(image.with_name(f"{name}.json").read_text("utf-8"))["ReconFilterSize"]
        width = float(found[0] if isinstance(found, list) else found)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return width if 0 < width < 50 else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _kept(path: Path, key: str) -> list | None:
    """Rows that were written with a key, undamaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text("utf-8"))
        if content["key"] == key and content["check"] == _digest(content["rows"]):
            return content["rows"]
    return None


def _keep(path: Path, key: str, rows: list) -> None:
    """Write rows with their key, whole or not at all."""
    with replaced(path) as part:
        part.write_text(json.dumps({"key": key, "rows": rows, "check": _digest(rows)}), "utf-8")
