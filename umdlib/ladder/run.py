"""A cohort up the ladder: every pair's sixteen cells and its PET through segmenters, cell by cell, resumable."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from umdlib.labels import Structure
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


@dataclass(frozen=True)
class Watch:
    """What a run calls meanwhile.

    Attributes
    ----------
    report
        Called with a line per pair and segmenter, and one per pair.
    show
        Called with each cell of the first pair: its name, image, reference, and the first segmenter's masks by
        structure. That segmenter is asked for them anew.
    """

    report: Callable[[str], None] = lambda line: None
    show: Callable[[str, Volume, LabelMap, dict[str, np.ndarray]], None] | None = None


def ladder_run(
    cohort: Cohort,
    names: Sequence[str],
    root: str | Path,
    *,
    pairs: Sequence[tuple[Case, Case]] | None = None,
    structures: Sequence[str] = (),
    reverse: bool = False,
    device: str = "cpu",
    watch: Watch | None = None,
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
    structures
        Names to score; empty for all. The estimates use all.
    reverse
        Also PET with contrast and displacement undone: three predictions more.
    device
        As of `umdlib.segmenters.open`.
    watch
        What is called meanwhile.

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
    watch = watch or Watch()
    wanted = (*CELLS, PET, *(UNDONE if reverse else ()))
    opened = [segmenters.open(n, device) for n in dict.fromkeys(names)]
    hashes = FileHashes(Path(root) / "hashes.json")
    cells, estimates = [], []
    for pair in chosen:
        rung = _Rung(
            pair, Path(root), hashes, [cohort.structure(n) for n in structures] or list(cohort.structures)
        )
        cells += _climbed(rung, opened, wanted, watch if pair is chosen[0] else replace(watch, show=None))
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
    asked: list[Structure]
    _read: list[tuple[Volume, LabelMap]] = field(default_factory=list)
    _estimates: Estimates | None = None
    _drawn: dict[str, dict[str, Prompt]] = field(default_factory=dict)

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
        named = [[s.value, s.name] for s in self.pair[0].structures]
        return [self.name, files, named, header_filter(self.pair[1].image), _making_code()]

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
        key = _digest(self.key())
        rows = _kept(path, key)
        if rows is None:
            rows = self.estimates().table.astype(object).to_numpy().tolist()
            _keep(path, key, rows)
        return rows

    def drawn(self, plan: Plan) -> dict[str, Prompt]:
        """Prompts of the pair, in world coordinates."""
        if plan.protocol in self._drawn:
            return self._drawn[plan.protocol]
        references = {c.modality: r for c, (_, r) in zip(self.pair, self.read(), strict=True)}
        self._drawn[plan.protocol] = drawn = prompts.pair_prompts(
            references,
            self.pair[0].structures,
            structural=self.pair[0].modality,
            protocol=plan.protocol,
            seed=plan.seeds[0],
            case=f"{self.pair[0].subject} {self.pair[0].session}",
        )
        return drawn

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


@dataclass
class _Climber:
    """One segmenter on one pair: what is kept of its cells, and what is missing."""

    opened: Opened | Unavailable
    plan: Plan
    why_not: str
    folder: Path
    keys: dict[str, str]
    found: dict[str, list]
    seconds: float = 0.0

    @classmethod
    def at(cls, rung: _Rung, opened: Opened | Unavailable, wanted: Sequence[str]) -> _Climber:
        """Read what is kept."""
        record = opened.record
        plan = taken_plans(record, Settings((Plan("centre", (0,), 0),)))[0]
        folder = rung.root / "ladder" / record.name / rung.name
        if why_not := _why_not(rung, opened, plan):
            rows = {c: [_row(rung, record.name, s.name, c, why_not) for s in rung.asked] for c in wanted}
            return cls(opened, plan, why_not, folder, {}, rows)
        asked = [s.name for s in rung.asked]
        base = [*rung.key(), asked, record.name, opened.identity, plan.protocol, drawing_code()]
        keys = {c: _digest([*base, c]) for c in wanted}
        kept = {c: _kept(folder / f"{c}.json", k) for c, k in keys.items()}
        return cls(opened, plan, "", folder, keys, {c: rows for c, rows in kept.items() if rows is not None})

    def ask(self, rung: _Rung, cell: str, image: Volume, reference: LabelMap) -> dict[str, np.ndarray]:
        """Predict and score one cell, keep the scores, and return the masks by structure."""
        call, given = self.opened.call(None), rung.drawn(self.plan)
        rows, masks = [], {}
        for s in rung.asked:
            row, mask = _scored(rung, self.opened.record, call, cell, image, reference, given[s.name])
            rows.append(row)
            if mask is not None:
                masks[s.name] = mask
        self.seconds += sum(row[-2] for row in rows if np.isfinite(row[-2]))
        self.found[cell] = rows
        _keep(self.folder / f"{cell}.json", self.keys[cell], rows)
        return masks


def _climbed(
    rung: _Rung, opened: Sequence[Opened | Unavailable], wanted: Sequence[str], watch: Watch
) -> list[list]:
    """Rows of one pair: each degraded image is made once for all segmenters and structures."""
    started = time.perf_counter()
    climbers = [_Climber.at(rung, one, wanted) for one in opened]
    if watch.show is not None and rung.labelled and not climbers[0].why_not:
        climbers[0].found = {}
    missing = {id(c): [w for w in wanted if w not in c.found] for c in climbers}
    union = [w for w in wanted if any(w in m for m in missing.values())]
    for cell, image, reference in rung.images(union) if union else ():
        for one in climbers:
            if cell not in missing[id(one)]:
                continue
            masks = one.ask(rung, cell, image, reference)
            if watch.show is not None and one is climbers[0]:
                watch.show(cell, image, reference, masks)
    for one in climbers:
        name, asked = one.opened.record.name, len(missing[id(one)])
        word = (
            f"unavailable. {one.why_not}"
            if one.why_not
            else f"{asked} cells asked, {len(wanted) - asked} kept"
        )
        watch.report(f"{name} {rung.name} {word} ({one.seconds:.1f} s of predictions)")
    if union:
        whole = time.perf_counter() - started
        rest = whole - sum(one.seconds for one in climbers)
        watch.report(f"{rung.name} took {whole:.1f} s, {rest:.1f} s of them for estimates, images and scores")
    return [row for one in climbers for cell in wanted for row in one.found[cell]]


def _why_not(rung: _Rung, opened: Opened | Unavailable, plan: Plan) -> str:
    """Why a segmenter has no ladder of a pair; ``""`` where it has one."""
    if not rung.labelled:
        return _NO_REFERENCE
    if opened.record.conditions:
        return _OWN_WEIGHTS
    if protocols.record(plan.protocol).own_image:
        return _OWN_SLICES
    return opened.why_not(None) or ""


def _scored(
    rung, record, call, cell: str, image: Volume, reference: LabelMap, prompt: Prompt
) -> tuple[list, np.ndarray | None]:
    """Row of one structure and cell, and its mask; None where there is none."""
    name = prompt.structure
    reason = rung.estimates().why_not(name, cell if cell != PET else NONE)
    if not reason and record.structures and name not in record.structures:
        reason = _UNTAUGHT
    if not reason and prompt.note == prompts.REFERENCE_EMPTY:
        reason = _NO_CLICK
    if reason:
        return _row(rung, record.name, name, cell, reason), None
    started = time.perf_counter()
    try:
        mask = call(image, prompt, None)
    except InputError as error:
        return _row(rung, record.name, name, cell, str(error)), None
    except Exception as error:  # whatever a model does, the other cells go on
        return _row(rung, record.name, name, cell, f"{type(error).__name__}: {error}"[:500]), None
    seconds = time.perf_counter() - started
    value = next(s.value for s in rung.pair[0].structures if s.name == name)
    score = dice(reference.data == value, mask)
    reason = "" if np.isfinite(score) else "reference and mask are empty"
    return _row(rung, record.name, name, cell, reason, score, seconds), mask


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


@functools.cache
def _making_code() -> str:
    """Digest of the code that estimates and degrades."""
    return sources.code_digest(sources.import_closure(["umdlib.ladder.estimates", "umdlib.ladder.cells"]))


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
