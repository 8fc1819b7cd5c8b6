"""A run: examination by examination, a segmenter's mask is taken from store or predicted, scored, and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import prompts, protocols, segmenters
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.evaluation import plans, quantities, store
from umdlib.evaluation.ahead import Ahead
from umdlib.evaluation.ask import UNTAUGHT, Answer, Task, ask, memory_taken, targets_of
from umdlib.evaluation.isolation import Isolated, Limits, importable
from umdlib.evaluation.plans import Drawn, Examination, Plan, Settings, parse_plans, taken_plans
from umdlib.evaluation.quantities import Quantifier
from umdlib.images import volume
from umdlib.images.partner import check_place
from umdlib.images.runs import Runs
from umdlib.images.volume import LabelMap, Volume
from umdlib.metrics import scoring as metrics
from umdlib.prompts.prompt import Prompt
from umdlib.scores import table as scores
from umdlib.segmenters.calls import Opened, Unavailable, own_copy
from umdlib.segmenters.ceilings import ceiling
from umdlib.segmenters.contract import Segment, Segmenter

__all__ = [
    "Limits",
    "Plan",
    "Settings",
    "failed_rows",
    "parse_plans",
    "rescore",
    "score_cohort",
    "taken_plans",
]

_UNASKED = "not asked: the structural reference lacks the structure"
_UNSCORED = "not asked: the image has no reference to score against"

Report = Callable[[str], None]

_SETTINGS, _LIMITS = Settings(), Limits()


def score_cohort(
    cohort: Cohort,
    segmenter: str | Sequence[str],
    root: str | Path,
    *,
    cases: Iterable[Case] | None = None,
    settings: Settings = _SETTINGS,
    device: str = "cpu",
    limits: Limits = _LIMITS,
    report: Report = lambda line: None,
) -> pd.DataFrame:
    """Predict and score cases with one segmenter or several; what is done already is read, not repeated.

    The examinations come one after the other: references are read, prompts drawn and images read once
    for all segmenters.

    Parameters
    ----------
    cohort
        Its references also give the prompts: a session's images share them.
    segmenter
        Name in the registry, or several.
    root
        Folder of the run; each case is written whole to ``root/cases/<segmenter>/<case>/``.
    cases
        Of this cohort; None for all.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    limits
        Time and memory of a case, a process of its own for each segmenter, another try of cases that
        one of these ended.
    report
        Called with one line per case.

    Returns
    -------
    pandas.DataFrame
        Score rows of all the cases, `attrs["stamp"]` holds the provenance; `umdlib.scores.write_scores` makes
        a file of them. A segmenter that cannot be loaded gives rows with status ``unavailable``; one that
        stops with an error, and a case that cannot be read, rows with status ``failed`` and the reason.
        Where the structural reference lacks a structure that PET's has, there is no click: PET's row
        is ``unavailable``, not asked. So are those of structures that the segmenter's record does not name, where it
        names any, those of images without a reference, and those of a segmenter that sees two images
        where the examination lacks the second.

    Raises
    ------
    InputError
        Unknown segmenter or device, two of one name, a folder that cannot be written, no memory to
        load a segmenter.
    """
    names = [segmenter] if isinstance(segmenter, str) else list(dict.fromkeys(segmenter))
    if not names:
        raise InputError("No segmenter is named. `umdlib segmenters` lists them.")
    segmenters.check_device(device)
    run = _Run(cohort, Path(root), settings, device, limits, report)
    entrants = [_Entrant(name, segmenters.open(name, device)) for name in names]
    _refuse_twins(entrants)
    if limits.isolated:
        for name in names:
            importable(name)
    run.number = [0, len(entrants) * len(chosen := tuple(cohort.cases if cases is None else cases))]
    cohort_hash = cohort.hash(run.hashes)
    store.claim(run.root, cohort, cohort_hash)
    run.hashes.keep()
    examinations = list(plans.examinations(cohort, chosen))
    if device != "cpu" if limits.ahead is None else limits.ahead:
        run.read_ahead(examinations, entrants)
    try:
        for examination in examinations:
            shared = _Shared(examination, run)
            for case in examination.wanted:
                for entrant in entrants:
                    table = _scored_case(case, entrant, shared, run)
                    entrant.tables.append(table)
                    if not limits.nothing_asked:
                        shared.quantify(case, table, entrant.record.name)
                shared.forget()
    finally:
        run.ahead.close()
        for entrant in entrants:
            entrant.close()
    tables = [t for e in entrants for t in e.tables]
    stamp = _stamp(cohort, cohort_hash, entrants, run)
    return _stamped(_stacked(tables), stamp)


@dataclass
class _Run:
    """State that all cases of a run share."""

    cohort: Cohort
    root: Path
    settings: Settings
    device: str
    limits: Limits
    report: Report
    number: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        self.hashes = store.FileHashes(self.root / "hashes.json")
        self.quantifier = Quantifier(self.root, self.hashes)
        self.ahead = Ahead((), lambda case: False)

    def read_ahead(self, examinations: Iterable[Examination], entrants: list[_Entrant]) -> None:
        """Read each image while the one before is predicted, but for those that all segmenters have done."""

        def wanted(case: Case) -> bool:
            folders = (store.case_folder(self.root, e.record.name, case) for e in entrants)
            return case.reference is not None and not all(f.is_dir() for f in folders)

        self.ahead = Ahead([c for e in examinations for c in e.wanted], wanted)

    def say(self, record: Segmenter, case: Case, word: str, started: float) -> None:
        """One line of a case."""
        self.number[0] += 1
        done = f"({self.number[0]}/{self.number[1]}, {time.perf_counter() - started:.1f} s)"
        self.report(f"{record.name} {case.name} {word} {done}")


@dataclass
class _Entrant:
    """A segmenter of a run: how it was named, what was opened, its tables so far."""

    name: str
    opened: Opened | Unavailable
    tables: list[pd.DataFrame] = field(default_factory=list)
    base_mb: dict = field(default_factory=dict)
    isolated: Isolated | None = None

    @property
    def record(self) -> Segmenter:
        return self.opened.record

    def call(self, case: Case, limits: Limits) -> tuple[Segment | str, float]:
        """The call for a case's images and the memory it took to load, or why there is none."""
        condition = (case.session, case.modality) if self.record.conditions else None
        try:
            if limits.isolated:
                self.isolated = self.isolated or Isolated(self.name, self.opened.device, limits)
                self.isolated.begin(condition)
                return self.isolated, 0.0
            with memory_taken() as taken:
                segment = self.opened.call(condition)
                self.base_mb.setdefault(condition, taken())
            return segment, self.base_mb[condition]
        except InputError as error:
            return str(error), 0.0
        except Exception as error:  # whatever a model's code does
            if segmenters.out_of_memory(error):  # no row: the next run tries the case again
                raise InputError(
                    f"Segmenter '{self.record.name}' ran out of memory on {self.opened.device} while it was "
                    "loaded. Free it and give the same command again; what was finished is kept."
                ) from None
            return f"{type(error).__name__}: {error}"[:500], 0.0

    def close(self) -> None:
        """End its process and let go of what is loaded."""
        if self.isolated is not None:
            self.isolated.close()
        if isinstance(self.opened, Opened):
            self.opened.close()


class _Shared:
    """State that the images of one examination share: references and prompts, read and drawn once."""

    def __init__(self, examination: Examination, run: _Run) -> None:
        self.examination, self.run = examination, run
        self.image: Volume | None = None
        self._partner: Volume | None = None
        self._references: dict[str, LabelMap] | None = None
        self._drawn: dict[tuple, Drawn] = {}
        self._targets: dict[str, dict[str, Runs]] = {}
        self._truth: dict[str, np.ndarray] = {}

    def references(self) -> Mapping[str, LabelMap]:
        """Label maps of all images that have one, by modality."""
        if self._references is None:
            found = {}
            for case in self.examination.with_reference:
                found[case.modality] = case.read_reference()
                self.run.hashes.check(case.reference)
            self._references = found  # all of them, or none: what was exchanged serves no segmenter
        return self._references

    def drawn(self, case: Case, record: Segmenter) -> Drawn:
        """First prompts of a case for a segmenter."""
        taken = taken_plans(record, self.run.settings)
        key = (case.modality, taken)
        if key not in self._drawn:
            self._drawn[key] = plans.drawn_prompts(
                self.examination, case, taken, self.run.root, hash_of=self.run.hashes, read=self.references
            )
        return self._drawn[key]

    def read(self, case: Case) -> tuple[Volume, LabelMap]:
        """Image and reference of a case, on one grid; the image is kept until the next case."""
        reference = self.references()[case.modality]
        if self.image is None:
            image = self.run.ahead.take(case)
            if image is None:
                image, checked = case.read(reference)
            else:
                checked = volume.onto_grid(reference, image)
            self.run.hashes.check(case.image)
            self.image = image
            self._references[case.modality] = reference = checked
            self._targets, self._truth = {}, {}
        return self.image, reference

    def partner(self, case: Case, record: Segmenter) -> Volume | None:
        """The other image of the examination for a segmenter that sees two; kept until the next case."""
        other = plans.partner_of(self.examination, case, record)
        if other is None:
            return None
        if self._partner is None:
            found = other.read_image()
            self.run.hashes.check(other.image)
            check_place(self.read(case)[0], found)
            self._partner = found
        return self._partner

    def forget(self) -> None:
        """Let go of the images of a case."""
        self.image = self._partner = None

    def targets(self, case: Case) -> dict[str, Runs]:
        """Runs of each structure of a case's reference."""
        if case.modality not in self._targets:
            self._targets = {case.modality: targets_of(self.references()[case.modality], case.structures)}
        return self._targets[case.modality]

    def quantify(self, case: Case, table: pd.DataFrame, segmenter: str) -> None:
        """Write what the masks of a scored case measure beside its scores."""
        quantities.of_case_or_reason(self.run.quantifier, case, table, segmenter, lambda: self.read(case))

    def truth(self, case: Case) -> np.ndarray:
        """The reference as a bit-mask volume, as the predictions are kept."""
        if case.modality not in self._truth:
            self._truth = {case.modality: _truth(self.references()[case.modality], case)}
        return self._truth[case.modality]


def _scored_case(case: Case, entrant: _Entrant, shared: _Shared, run: _Run) -> pd.DataFrame:
    """Rows of a case: kept, scored anew, or predicted; a case that cannot be read is failed rows."""
    started, record = time.perf_counter(), entrant.record

    def absent(status: str, reason: str) -> pd.DataFrame:
        reason = _without_places(reason, shared.examination.cases)
        run.say(record, case, f"{status}. {reason}", started)
        return _blank_rows(case, record, run.settings, status, reason)

    if case.reference is None:
        return absent("unavailable", _UNSCORED)
    try:
        keys = _keys(case, entrant, shared, run)
        kept = store.Kept(store.case_folder(run.root, record.name, case))
        reason = entrant.opened.why_not((case.session, case.modality))
        reason = reason or plans.unpaired(shared.examination, case, record)
        if reason is not None and not kept.stamp:
            return absent("unavailable", reason)
        state = _state(kept, keys, case, entrant, shared, run)
        if state == "kept":
            run.say(record, case, "kept", started)
            return kept.table
        if state == "scored anew":
            _rescore(kept, case, run.settings, keys, shared.references()[case.modality])
            run.say(record, case, state, started)
            return store.Kept(kept.folder).table
        if reason is not None:
            return absent("unavailable", reason)
        crash = store.crash_of(kept.folder)
        if crash and not run.limits.retry and not run.limits.isolated:
            return absent("failed", f"an earlier run crashed here: {crash}; --retry asks again")
        if run.limits.nothing_asked:
            return absent("failed", run.limits.nothing_asked)
        shared.read(case)
        shared.partner(case, record)
    except InputError as error:
        if str(error).startswith("Cannot write"):
            raise
        return absent("failed", str(error))
    segment, base_mb = entrant.call(case, run.limits)
    if isinstance(segment, str):
        return absent("unavailable", segment)
    run.ahead.begin(case, None if record.conditions else getattr(segment, "prepare", None))
    table = _predict(case, entrant, segment, base_mb, keys, shared, run)
    word = f"made anew: {kept.damage.removesuffix('.')}" if kept.damage else "scored"
    failed = table.loc[table["status"].eq("failed"), "reason"]
    if len(failed):
        word += f", {len(failed)} of {len(table)} rows failed: {failed.iloc[0]}"
    run.say(record, case, word, started)
    return table


def _keys(case: Case, entrant: _Entrant, shared: _Shared, run: _Run) -> dict:
    """The key of a case by its inputs; those of predictions and scores are added when they are known."""
    key = plans.inputs_key(
        shared.examination, case, entrant.record, entrant.opened.identity, run.settings, run.hashes
    )
    return {"inputs_key": key, "structures": [s.name for s in case.structures]}


def _state(kept: store.Kept, keys: dict, case: Case, entrant: _Entrant, shared: _Shared, run: _Run) -> str:
    """``kept``, ``scored anew`` (the predictions hold, their scores do not) or ``new``; completes `keys`."""
    stamp = kept.stamp
    if stamp.get("inputs_key") == keys["inputs_key"]:
        keys["prediction_key"] = stamp.get("prediction_key", "")
    elif stamp or isinstance(entrant.opened, Opened):
        keys["prediction_key"] = plans.prediction_key(
            case,
            entrant.record,
            entrant.opened.identity,
            shared.drawn(case, entrant.record),
            run.settings,
            run.hashes,
            plans.partner_of(shared.examination, case, entrant.record),
        )
    else:
        return "new"
    keys["score_key"] = plans.score_key(keys["prediction_key"], case, run.settings.tolerances_mm, run.hashes)
    if not stamp or kept.damage or stamp.get("prediction_key") != keys["prediction_key"]:
        return "new"
    if kept.holds_failures() and (run.limits.retry or not kept.ended):
        return "new"
    return "kept" if stamp.get("score_key") == keys["score_key"] else "scored anew"


def _predict(
    case: Case, entrant: _Entrant, segment: Segment, base_mb: float, keys: dict, shared: _Shared, run: _Run
) -> pd.DataFrame:
    """Ask for all prompts and steps of a case, score them, and write its folder in one move."""
    record, folder = entrant.record, store.case_folder(run.root, entrant.record.name, case)
    image, reference = shared.read(case)
    given_images = [own_copy(record, i) for i in (image, shared.partner(case, record))]
    steps = {p.protocol: p.steps for p in taken_plans(record, run.settings)}
    tables, given, ended = [], [], False
    with store.part_of(folder) as part:
        for (protocol, seed), first in shared.drawn(case, record).items():
            task = Task(
                given_images[0],
                reference,
                shared.targets(case),
                case.structures,
                first,
                steps.get(protocol, 0),
                protocol,
                seed,
                record.structures,
                base_mb,
                given_images[1],
            )
            for step, answers in enumerate(ask(task, segment)):
                rows = _rows(case, record, protocol, seed, step, answers)
                rows["ceiling"] = _ceilings(record, image, reference, case, answers)
                bits = _bits([a.mask for a in answers])
                tables.append(
                    _with_metrics(rows, shared.truth(case), bits, reference.spacing_mm, run.settings)
                )
                volume.write_bits(part / store.prediction_file(protocol, seed, step), bits, image.affine)
                given += [a.prompt for a in answers]
                ended = ended or any(a.ended for a in answers)
        if given_images[0] is not image and not np.array_equal(given_images[0].data, image.data):
            run.report(
                f"{record.name} {case.name}: it wrote into the image that it was given, and saw that in its later "
                "calls. Let it work on a copy: image.data.copy()"
            )
        stamp = {**keys, **({"ended": True} if ended else {})}
        return store.write_case(part, folder, _stacked(tables), given, stamp)


def _bits(masks: list[Runs]) -> np.ndarray:
    """Masks as one bit-mask volume: bit b is mask b."""
    bits = np.zeros(masks[0].shape, metrics.bits_dtype(len(masks)), "F" if masks[0].flipped else "C")
    for bit, mask in enumerate(masks):
        mask.into(bits, bit)
    return bits


def _ceilings(
    record: Segmenter, image: Volume, reference: LabelMap, case: Case, answers: list[Answer]
) -> list[float]:
    """DSC of each structure were the network right wherever it looks; NaN where it looks everywhere."""
    if record.reach is None:
        return [float("nan")] * len(answers)
    return [
        ceiling(record, image, a.prompt, reference.data == s.value)
        for s, a in zip(case.structures, answers, strict=True)
    ]


def _rows(
    case: Case, record: Segmenter, protocol: str, seed: int, step: int, answers: list[Answer]
) -> pd.DataFrame:
    """Key columns, time, memory and fault of one step."""
    return pd.DataFrame(
        [
            {
                "subject": case.subject,
                "session": case.session,
                "modality": case.modality,
                "structure": s.name,
                "segmenter": record.name,
                "prompt": protocol,
                "step": step,
                "seed": seed,
                "seconds": a.seconds,
                "peak_mb": a.peak_mb,
                "reason": a.fault,
                "note": a.prompt.note,
                "coordinates": a.prompt.coordinates,
            }
            for s, a in zip(case.structures, answers, strict=True)
        ]
    )


def _truth(reference: LabelMap, case: Case) -> np.ndarray:
    """A reference as a bit-mask volume, as the predictions are kept."""
    return metrics.label_bits(reference.data, [s.value for s in case.structures])


def _with_metrics(
    rows: pd.DataFrame, truth: np.ndarray, bits: np.ndarray, spacing_mm, settings: Settings
) -> pd.DataFrame:
    """Rows, one a bit, with their metrics; a failed row keeps none."""
    table = metrics.score_bits(
        truth, bits, spacing_mm=spacing_mm, bits=len(rows), tolerances_mm=settings.tolerances_mm
    ).drop(columns="bit")
    numbers = [c for c in table if c != "status"]
    rows = rows.reset_index(drop=True)
    # where the structural reference lacks a structure there was nothing to click: no failure of PET
    unasked = rows["note"].eq(prompts.REFERENCE_EMPTY) & table["status"].eq("prediction_empty")
    rows["reason"] = rows["reason"].mask(unasked, _UNASKED)
    failed = rows["reason"].ne("").to_numpy()
    table.loc[failed, numbers] = np.nan
    table.loc[failed, "status"] = "failed"
    table.loc[unasked.to_numpy() | rows["reason"].eq(UNTAUGHT).to_numpy(), "status"] = "unavailable"
    return pd.concat([rows, table.reset_index(drop=True)], axis=1)


def rescore(
    cohort: Cohort,
    root: str | Path,
    *,
    tolerances_mm: tuple[float, ...] = metrics.TOLERANCES_MM,
    report: Report = lambda line: None,
) -> pd.DataFrame:
    """Score every prediction that a run has kept, against the cohort's references as they are now.

    No segmenter is loaded and nothing is predicted. Rows without a prediction (segmenters that
    were unavailable, for all images or some) are kept from the run's score table, and so are those
    of a case whose files are damaged: the report names it.

    Parameters
    ----------
    cohort
        The cohort that was predicted.
    root
        Folder of the run; its ``cases`` hold the predictions. Their scores are replaced.
    tolerances_mm
        Of surface Dice.
    report
        Called with one line per case.

    Returns
    -------
    pandas.DataFrame
        Score rows, `attrs["stamp"]` holds the provenance of the run with the new tolerances.

    Raises
    ------
    InputError
        If the folder holds no prediction of this cohort, or a file cannot be read.
    """
    root, settings, tables = Path(root), Settings(tolerances_mm=tolerances_mm), []
    hashes = store.FileHashes(root / "hashes.json")
    names = [p.name for p in sorted(root.glob("cases/*")) if p.is_dir()]
    for case in cohort.cases:
        reference = None
        for name in names:
            kept = store.Kept(store.case_folder(root, name, case))
            if kept.damage:
                report(f"{name} {case.name} cannot be scored anew: {kept.damage}")
            elif kept.stamp:
                reference = reference or case.read_reference()
                predicted = kept.stamp["prediction_key"]
                keys = {
                    **{k: kept.stamp[k] for k in ("inputs_key", "ended") if k in kept.stamp},
                    "prediction_key": predicted,
                    "score_key": plans.score_key(predicted, case, tolerances_mm, hashes),
                    "structures": [s.name for s in case.structures],
                }
                _rescore(kept, case, settings, keys, reference)
                tables.append(store.Kept(kept.folder).table)
                report(f"{name} {case.name} scored anew")
    if not tables:
        raise InputError(f"No prediction of cohort {cohort.name} in {root / 'cases'}.")
    stamp = scores.provenance(cohort=cohort.name)
    if (root / "scores.parquet").is_file():
        before = scores.read_scores(root / "scores.parquet")
        stamp = before.attrs["stamp"]
        tables.append(_without(before, pd.concat(tables), cohort))
    stamp |= {
        "cohort_hash": cohort.hash(hashes),
        "tolerances_mm": list(tolerances_mm),
        "metrics": plans.METRICS_VERSION,
    }
    hashes.keep()
    columns = tables[0].columns
    return _stamped(_stacked([t.reindex(columns=columns) for t in tables]), stamp)


def _without(before: pd.DataFrame, anew: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """Rows of an earlier table that were not scored anew, of cases that the cohort has."""
    case = ["subject", "session", "modality"]
    held = pd.MultiIndex.from_tuples([(c.subject, c.session, c.modality) for c in cohort.cases])
    done = pd.MultiIndex.from_frame(anew[["segmenter", *case]])
    kept = pd.MultiIndex.from_frame(before[case]).isin(held)
    return before[kept & ~pd.MultiIndex.from_frame(before[["segmenter", *case]]).isin(done)]


def _rescore(kept: store.Kept, case: Case, settings: Settings, keys: dict, reference: LabelMap) -> None:
    """Metrics of one case anew from its predictions on disk."""
    old = kept.table
    keep = ["subject", "session", "modality", "structure", "segmenter", "prompt", "step", "seed"]
    keep += ["seconds", "peak_mb", "reason", "note"]
    keep += [c for c in ("coordinates", "ceiling") if c in old]
    order = {s.name: n for n, s in enumerate(case.structures)}
    places = store.bit_places(kept.folder, case)
    old["reason"] = old["reason"].replace(_UNASKED, "")
    tables, truth = [], None
    for (protocol, seed, step), rows in old.groupby(["prompt", "seed", "step"]):
        rows = rows[keep].sort_values("structure", key=lambda names: names.map(order))
        file = kept.folder / store.prediction_file(protocol, seed, step)
        if truth is None:
            reference = volume.onto_grid(reference, store.grid_of(file))
            truth = _truth(reference, case)
        bits = volume.read_bits(file, on=reference)
        if places != list(range(len(places))):
            bits = metrics.pack_bits([metrics.unpack_bit(bits, n) for n in places])
        tables.append(_with_metrics(rows, truth, bits, reference.spacing_mm, settings))
    stamp = {**keys, "structures": kept.stamp.get("structures", keys["structures"])}
    store.write_case_scores(kept.folder, _stacked(tables), {**stamp, "files": kept.stamp.get("files", {})})


def _blank_rows(case: Case, record: Segmenter, settings: Settings, status: str, reason: str) -> pd.DataFrame:
    """Rows without numbers, for a case that could not be predicted."""
    plan = taken_plans(record, settings)[0]
    nothing = Runs(*(np.zeros(0, np.int32) for _ in range(3)), (0, 0, 0), False)
    answers = [Answer(Prompt(s.name), nothing, fault=reason[:500]) for s in case.structures]
    rows = _rows(case, record, plan.protocol, plan.seeds[0], 0, answers)
    return rows.assign(dice=np.nan, status=status, note="")


def failed_rows(
    cases: Iterable[Case], segmenter: str, reason: str, *, settings: Settings = _SETTINGS
) -> pd.DataFrame:
    """Failed rows of cases of a segmenter that cannot be opened.

    Parameters
    ----------
    cases
        At least one.
    segmenter
        Name of it in the rows.
    reason
        Of every row.
    settings
        The first of its plans is that of the rows.

    Returns
    -------
    pandas.DataFrame
        Score rows without numbers, one per case and structure, with an empty stamp.
    """
    kinds = frozenset(protocols.kind_given(p.protocol) for p in settings.plans)
    record = Segmenter(segmenter, segmenter, "", lambda device: None, kinds)
    tables = [_blank_rows(c, record, settings, "failed", _without_places(reason, [c])) for c in cases]
    return _stamped(_stacked(tables), {})


def _without_places(reason: str, cases: Iterable[Case]) -> str:
    """A reason that names the files of some cases and not their folder: score tables are handed on."""
    for file in filter(None, (f for c in cases for f in (c.image, c.reference))):
        reason = reason.replace(str(file), file.name)
    return reason


def _refuse_twins(entrants: list[_Entrant]) -> None:
    """Refuse two segmenters whose records have one name."""
    seen: dict[str, str] = {}
    for e in entrants:
        other = seen.setdefault(e.record.name, e.name)
        if other != e.name:
            raise InputError(f"Segmenters {other} and {e.name} have one name. Rename a record.")


def _stamp(cohort: Cohort, cohort_hash: str, entrants: list[_Entrant], run: _Run) -> dict:
    """Provenance of a score table."""
    return scores.provenance(
        cohort=cohort.name,
        cohort_hash=cohort_hash,
        device=run.device,
        tolerances_mm=list(run.settings.tolerances_mm),
        metrics=plans.METRICS_VERSION,
        plans=[asdict(p) for p in run.settings.plans],
        segmenters={e.record.name: e.opened.identity for e in entrants},
        prompts=plans.drawing_code(),
    )


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables one under the other; those without rows say nothing of a column's type."""
    for table in tables:
        table.attrs = {}
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)


def _stamped(table: pd.DataFrame, stamp: dict) -> pd.DataFrame:
    table = scores.check_scores(table)
    table.attrs["stamp"] = stamp
    return table
