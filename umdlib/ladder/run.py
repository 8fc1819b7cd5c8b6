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
from umdlib.evaluation import store
from umdlib.evaluation.plans import Examination, Plan, Settings, drawing_code, inputs_key, taken_plans
from umdlib.evaluation.store import FileHashes
from umdlib.files import replaced
from umdlib.images.cropped import Boxed, boxed
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.ladder.cells import CELLS, NONE, PET, UNDONE, degraded_cells, undone_cells
from umdlib.ladder.estimates import COLUMNS, Estimates, estimate_pair
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.calls import Opened, Unavailable, own_copy

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


@dataclass(frozen=True)
class LadderSettings:
    """Settings of a ladder.

    Attributes
    ----------
    structures
        Names to score; empty for all. The estimates use all.
    reverse
        Also PET with contrast and displacement undone: three predictions more.
    device
        As of `umdlib.segmenters.open`.
    run
        Folder of a run (`umdlib score`). Where it has kept predictions of the structural image and of PET with the
        same key, their scores are those of the two cells in which nothing is degraded.
    """

    structures: Sequence[str] = ()
    reverse: bool = False
    device: str = "cpu"
    run: str | Path | None = None


def ladder_run(
    cohort: Cohort,
    names: Sequence[str],
    root: str | Path,
    *,
    pairs: Sequence[tuple[Case, Case]] | None = None,
    settings: LadderSettings | None = None,
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
    settings
        What is asked, and where.
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
    watch, settings = watch or Watch(), settings or LadderSettings()
    wanted = (*CELLS, PET, *(UNDONE if settings.reverse else ()))
    opened = [segmenters.open(n, settings.device) for n in dict.fromkeys(names)]
    asked = [cohort.structure(n) for n in settings.structures] or list(cohort.structures)
    hashes = FileHashes(Path(root) / "hashes.json")
    cells, estimates = [], []
    for pair in chosen:
        rung = _Rung(pair, Path(root), hashes, asked, settings.run)
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
    run: str | Path | None = None
    _read: list[tuple[Volume, LabelMap]] = field(default_factory=list)
    _estimates: Estimates | None = None
    _drawn: dict[str, dict[str, Prompt]] = field(default_factory=dict)
    _targets: dict[int, dict[str, Boxed]] = field(default_factory=dict)

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

    def targets(self, reference: LabelMap) -> dict[str, Boxed]:
        """Structures of one of the two references, each in its box."""
        if id(reference) not in self._targets:
            self._targets[id(reference)] = {s.name: boxed(reference.data == s.value) for s in self.asked}
        return self._targets[id(reference)]

    def of_run(self, opened: Opened, plan: Plan) -> dict[str, dict[str, tuple[float, float]]]:
        """What a run has kept of the two images: cell to structure to score and seconds."""
        if self.run is None:
            return {}
        cells = zip((NONE, PET), self.pair, strict=True)
        return {cell: _kept_scores(self, opened, plan, case) for cell, case in cells}

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
    of_run: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
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
        found = {c: rows for c, rows in kept.items() if rows is not None}
        of_run = rung.of_run(opened, plan) if {NONE, PET} - found.keys() else {}
        return cls(opened, plan, "", folder, keys, found, of_run)

    def ask(
        self, rung: _Rung, cell: str, image: Volume, reference: LabelMap, *, drawn: bool = False
    ) -> dict[str, np.ndarray]:
        """Predict and score one cell, keep the scores, and return the masks by structure.

        What a run has kept is not predicted, unless the masks are drawn.
        """
        name, given, rows, found = self.opened.record.name, rung.drawn(self.plan), [], {}
        known = {} if drawn else self.of_run.get(cell, {})
        for s in rung.asked:
            if reason := _unasked(rung, self.opened.record, cell, given[s.name]):
                rows.append(_row(rung, name, s.name, cell, reason))
            elif s.name in known:
                rows.append(_row(rung, name, s.name, cell, "", *known[s.name]))
            else:
                row, mask = self._predicted(rung, cell, image, reference, given[s.name])
                rows.append(row)
                if mask is not None:
                    found[s.name] = mask
                    self.seconds += row[-2]
        self.found[cell] = rows
        _keep(self.folder / f"{cell}.json", self.keys[cell], rows)
        return found

    def _predicted(
        self, rung: _Rung, cell: str, image: Volume, reference: LabelMap, prompt: Prompt
    ) -> tuple[list, np.ndarray | None]:
        """Row of one structure and cell, and its mask; None where the segmenter failed."""
        row = functools.partial(_row, rung, self.opened.record.name, prompt.structure, cell)
        started = time.perf_counter()
        try:
            mask = self.opened.call(None)(image, prompt, None)
        except InputError as error:
            return row(str(error)), None
        except Exception as error:  # whatever a model does, the other cells go on
            return row(f"{type(error).__name__}: {error}"[:500]), None
        seconds = time.perf_counter() - started
        score = rung.targets(reference)[prompt.structure].dice(boxed(mask))
        return row("" if np.isfinite(score) else "reference and mask are empty", score, seconds), mask


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
            drawn = watch.show is not None and one is climbers[0]
            found = one.ask(rung, cell, own_copy(one.opened.record, image), reference, drawn=drawn)
            if drawn:
                watch.show(cell, image, reference, found)
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


def _unasked(rung: _Rung, record, cell: str, prompt: Prompt) -> str:
    """Why a structure is not asked in a cell; ``""`` where it is."""
    name = prompt.structure
    reason = rung.estimates().why_not(name, cell if cell != PET else NONE)
    if not reason and record.structures and name not in record.structures:
        reason = _UNTAUGHT
    return reason or (_NO_CLICK if prompt.note == prompts.REFERENCE_EMPTY else "")


def _kept_scores(rung: _Rung, opened: Opened, plan: Plan, case: Case) -> dict[str, tuple[float, float]]:
    """Structure to score and seconds of a run's first prediction of an image, where its key is today's."""
    kept = store.Kept(store.case_folder(rung.run, opened.record.name, case))
    if not kept.stamp or kept.damage or opened.record.partner:  # a run shows it the other image too
        return {}
    table = kept.table
    plans = tuple(
        Plan(p, tuple(dict.fromkeys(map(int, rows["seed"]))), int(rows["step"].max()))
        for p, rows in table.groupby("prompt", sort=False)
    )
    examination = Examination(case.subject, case.session, rung.pair, rung.pair)
    key = inputs_key(examination, case, opened.record, opened.identity, Settings(plans), rung.hashes)
    if kept.stamp.get("inputs_key") != key:
        return {}
    first = table["prompt"].eq(plan.protocol) & table["seed"].eq(plan.seeds[0]) & table["step"].eq(0)
    sound = table[first & table["status"].eq("ok") & table["dice"].notna()]
    return {r.structure: (float(r.dice), float(r.seconds)) for r in sound.itertuples()}


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
