"""One case, one segmenter: prompts, predictions and score rows, kept on disk case by case."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq

from umdlib import prompts, protocols, segmenters
from umdlib.cohort.manifest import Case, Cohort, file_hash
from umdlib.errors import InputError
from umdlib.evaluation import store as runs
from umdlib.images import masks as depth
from umdlib.images import volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.metrics import scoring as metrics
from umdlib.prompts import drawing, scribbles
from umdlib.prompts.prompt import Prompt
from umdlib.scores import table as scores
from umdlib.segmenters.ceilings import ceiling
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.weights import reading as weights

# raised when a metric's value may change: scores on disk are then made anew from the predictions
METRICS_VERSION = "3"

# raised when images may come to a segmenter on another grid: predictions are then made anew
GRID_VERSION = "2"

UNTAUGHT = "not asked: the segmenter does not know the structure"
UNASKED = "not asked: the structural reference lacks the structure"


@dataclass(frozen=True)
class Plan:
    """How prompts are drawn: a protocol, its seeds, and corrective clicks after the first prompt."""

    protocol: str = "centre"
    seeds: tuple[int, ...] = (0,)
    steps: int = 0


@dataclass(frozen=True)
class Settings:
    """What a run of the benchmark depends on beside images and segmenter.

    `tolerances_mm` of surface Dice: 1 mm is SegAnyPET's; 5 mm is what a PET voxel can resolve.
    """

    plans: tuple[Plan, ...] = (Plan("centre", (0,), 2),)
    tolerances_mm: tuple[float, ...] = (1.0, 5.0)


def parse_plans(text: str) -> tuple[Plan, ...]:
    """Plans from ``protocol[:seeds[:steps]]``, comma-separated.

    Examples
    --------
    >>> parse_plans("centre:1:2,random:3")
    (Plan(protocol='centre', seeds=(0,), steps=2), Plan(protocol='random', seeds=(0, 1, 2), steps=0))

    Raises
    ------
    InputError
        An unknown protocol, or numbers that are none.
    """
    plans = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        protocol, *numbers = item.split(":")
        protocols.protocol(protocol)
        if len(numbers) > 2 or not all(n.isdigit() for n in numbers):
            raise InputError(f"Prompt plan '{item}' is not protocol[:seeds[:steps]].")
        seeds, steps = ([int(n) for n in numbers] + [1, 0][len(numbers) :])[:2]
        plans.append(Plan(protocol, tuple(range(max(seeds, 1))), steps))
    if not plans:
        raise InputError("No prompt plan. Give at least one, e.g. centre:1:2.")
    return tuple(plans)


def score_cohort(
    cohort: Cohort,
    segmenter: str,
    root: str | Path,
    *,
    cases: Iterable[Case] | None = None,
    settings: Settings = Settings(),
    device: str = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Predict and score cases with one segmenter; what is done already is read, not repeated.

    Parameters
    ----------
    cohort
        Its references also give the prompts: a session's images share them.
    segmenter
        Name in the registry.
    root
        Folder of the run; each case is written whole to ``root/cases/<segmenter>/<case>/``.
    cases
        Of this cohort; None for all.
    device
        ``"cpu"`` or ``"cuda"``.
    report
        Called with one line per case.

    Returns
    -------
    pandas.DataFrame
        Score rows of all the cases, `attrs["stamp"]` holds the provenance. A segmenter that
        cannot be loaded gives rows with status ``unavailable``; one that stops with an error
        gives rows with status ``failed`` and the reason. Where the structural reference lacks a
        structure that PET's has, there is no click: PET's row is ``unavailable``, not asked. So are
        those of structures that the segmenter's record does not name, where it names any.

    Raises
    ------
    InputError
        Unknown segmenter, unreadable case, folder that cannot be written, no memory to load it.
    """
    record = segmenters.get(segmenter)
    cases = list(cohort.cases if cases is None else cases)
    root = Path(root)
    available, reason = segmenters.availability(record, device)
    if available:
        for item in record.weights:
            weights.verified(item, record.name)  # its hash is part of what a prediction depends on
    stamp = _stamp(cohort, record, settings, device)
    if not available:
        report(f"{record.name}: unavailable. {reason}")
        table = pd.concat([_blank_rows(c, record, settings, "unavailable", reason) for c in cases])
        return _stamped(table, stamp)
    loaded: dict[tuple[str, str] | None, Segment | str] = {}
    examination, drawn = None, {}
    tables = []
    for number, case in enumerate(cases, start=1):
        started = time.perf_counter()
        condition = (case.session, case.modality)
        if (reason := segmenters.untrained(record, condition)) is not None:
            report(f"{record.name} {case.name}: unavailable. {reason}")
            tables.append(_blank_rows(case, record, settings, "unavailable", reason))
            continue
        folder = runs.case_folder(root, record.name, case)
        own = any(protocols.record(p.protocol).own_image for p in taken_plans(record, settings))
        key = case.subject, case.session, case.modality if own else ""
        if examination != key:  # its images come one after the other
            examination, drawn = key, session_prompts(cohort, case, record, settings)
        keys = _keys(case, record, drawn, settings)
        state = _state(folder, keys)
        if state == "rescore":
            _rescore(folder, case, settings, keys)
        elif state == "new":
            which = condition if record.conditions else None
            if which not in loaded:
                loaded[which] = _loaded(record, device, which)
            if isinstance(loaded[which], str):
                report(f"{record.name} {case.name}: unavailable. {loaded[which]}")
                tables.append(_blank_rows(case, record, settings, "unavailable", loaded[which]))
                continue
            _score_case(folder, case, record, loaded[which], drawn, settings, keys)
        tables.append(scores.read_scores(folder / "scores.parquet"))
        word = {"done": "kept", "rescore": "scored anew", "new": "scored"}[state]
        seconds = time.perf_counter() - started
        report(f"{record.name} {case.name} {word} ({number}/{len(cases)}, {seconds:.1f} s)")
    return _stamped(pd.concat(tables, ignore_index=True), stamp)


def _loaded(record: Segmenter, device: str, condition: tuple[str, str] | None) -> Segment | str:
    """The call of a segmenter, or why it cannot be loaded: the others of a run go on."""
    try:
        return segmenters.load(record, device, condition)
    except InputError as error:
        return str(error)
    except Exception as error:  # whatever a model's code does
        if segmenters.out_of_memory(error):  # no row: the next run tries the case again
            raise InputError(
                f"Segmenter '{record.name}' ran out of memory on {device} while it was loaded. Free it "
                "and give the same command again; what was finished is kept."
            ) from None
        return f"{type(error).__name__}: {error}"[:500]


def session_prompts(
    cohort: Cohort, case: Case, record: Segmenter, settings: Settings
) -> dict[tuple[str, int], dict[str, Prompt]]:
    """First prompts of every structure of a case, the same for both images of its session.

    But for protocols that name an image's own slices: their prompts are the case's own.

    Returns
    -------
    dict
        (protocol, seed) -> structure name -> prompt; its note says where there is none to give.
    """
    partners = {
        c.modality: c.read_reference()
        for c in cohort.cases
        if (c.subject, c.session) == (case.subject, case.session)
    }
    structural = next((m for m in partners if m != "PET"), case.modality)
    drawn: dict[tuple[str, int], dict[str, Prompt]] = {}
    for plan in taken_plans(record, settings):
        for seed in plan.seeds:
            drawn[plan.protocol, seed] = prompts.pair_prompts(
                partners,
                cohort.structures,
                structural=case.modality if protocols.record(plan.protocol).own_image else structural,
                protocol=plan.protocol,
                seed=seed,
                case=f"{case.subject} {case.session}",
            )
    return drawn


def taken_plans(record: Segmenter, settings: Settings) -> tuple[Plan, ...]:
    """The plans whose prompts a segmenter takes; where it takes none of them, its own kind alone."""
    taken = tuple(p for p in settings.plans if protocols.kind_given(p.protocol) in record.prompts)
    kinds = {"click": "centre", "box": "box", "scribble": "scribble", "class": "class", "text": "text"}
    own = [p for p in protocols.native_protocols(record.name) if protocols.kind_given(p) in record.prompts]
    own += [p for k, p in kinds.items() if k in record.prompts]
    return taken or (Plan(own[0]),)


def _score_case(
    folder: Path, case: Case, record: Segmenter, segment: Segment, drawn: dict, settings: Settings, keys: dict
) -> None:
    """Predict all prompts and steps of a case and write its folder in one move."""
    image, reference = case.read()
    steps = {p.protocol: p.steps for p in settings.plans if "negative_click" in record.prompts}
    part = folder.with_name(f".{folder.name}.{_HOST}.{os.getpid()}.part")
    try:
        for stale in folder.parent.glob(f".{folder.name}.{_HOST}.*"):
            if not _alive(stale):
                shutil.rmtree(stale, ignore_errors=True)
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}.") from None
    try:
        tables, given = [], []
        truth = _truth(reference, case.structures)
        for (protocol, seed), first in drawn.items():
            rounds = _rounds(
                image,
                reference,
                case.structures,
                first,
                segment,
                steps.get(protocol, 0),
                Plan(protocol, (seed,)),
                record.structures,
            )
            for step, answers in enumerate(rounds):
                rows = _rows(case, record, protocol, seed, step, answers)
                rows["ceiling"] = [
                    ceiling(record, image, a.prompt, reference.data == s.value)
                    for s, a in zip(case.structures, answers, strict=True)
                ]
                bits = metrics.pack_bits([a.mask for a in answers])
                tables.append(_with_metrics(rows, truth, bits, reference.spacing_mm, settings))
                volume.write_bits(part / runs.prediction_file(protocol, seed, step), bits, image.affine)
                given += [prompts.to_record(a.prompt) for a in answers]
        (part / "prompts.json").write_text(json.dumps(given, indent=0))
        table = pd.concat(tables, ignore_index=True)
        scores.write_scores(part / "scores.parquet", table, stamp=keys)
        _put(part, folder)
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


# Of this machine, for names: process numbers are a machine's own, and several may share the disk.
_HOST = re.sub(r"[^A-Za-z0-9-]+", "-", platform.node()) or "host"


def _alive(folder: Path) -> bool:
    """Whether the process that writes ``.NAME.HOST.PID.part`` still runs; this one does not count."""
    pid = folder.name.split(".")[-2]
    return pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))


def _put(part: Path, folder: Path) -> None:
    """Move a whole folder to its place; what was there stays until the new one is.

    Where another process puts the same case there at the same moment, one of the two stays.
    """
    old = part.with_suffix(".old")
    for last in (False, False, True):
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.replace(old)
        try:
            part.replace(folder)
        except OSError:
            if folder.exists() and not last:
                continue
            if not folder.exists() and old.exists():
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
        return


@dataclass
class _Answer:
    """What one call gave: the prompt, the mask (empty where it failed), time, memory, fault."""

    prompt: Prompt
    mask: np.ndarray
    seconds: float = np.nan
    peak_mb: float = np.nan
    fault: str = ""


def _rounds(
    image: Volume,
    reference: LabelMap,
    structures: tuple[Structure, ...],
    first: dict[str, Prompt],
    segment: Segment,
    steps: int,
    plan: Plan,
    known: tuple[str, ...] = (),
) -> Iterator[list[_Answer]]:
    """Answers of all structures at step 0, 1, … `steps`; each corrects the one before.

    Corrective clicks that are drawn come from one generator for all structures of the case.
    """
    rng = np.random.default_rng([*plan.seeds, 1])
    answers = [
        _ask(image, first[s.name], segment, None)
        if not known or s.name in known
        else _Answer(first[s.name], np.zeros(image.shape, bool), fault=UNTAUGHT)
        for s in structures
    ]
    yield answers
    for _ in range(steps):
        later = []
        for s, answer in zip(structures, answers, strict=True):
            click = None
            if _askable(answer.prompt) and not answer.fault:
                wanted = reference.data == s.value
                click = prompts.corrective_click(
                    wanted,
                    answer.mask,
                    reference.affine,
                    protocol=plan.protocol,
                    rng=rng,
                    cube=answer.prompt.cube,
                )
            if click is None:  # nothing left to correct, or nothing to correct it with
                later.append(answer)
            else:
                prompt = replace(answer.prompt, clicks=(*answer.prompt.clicks, click))
                later.append(_ask(image, prompt, segment, answer.mask))
        answers = later
        yield answers


def _askable(prompt: Prompt) -> bool:
    """Whether there is something to ask: a structure that is absent gives no click and no box."""
    return prompt.note != prompts.REFERENCE_EMPTY


def _ask(image: Volume, prompt: Prompt, segment: Segment, previous) -> _Answer:
    """Call the segmenter once; a fault is an answer, not an end."""
    empty = np.zeros(image.shape, bool)
    if not _askable(prompt):
        return _Answer(prompt, empty)
    with _peak_memory() as peak:
        started = time.perf_counter()
        try:
            mask, fault = segment(image, prompt, previous), ""
        except InputError as error:
            mask, fault = empty, str(error)
        except Exception as error:  # whatever a model does, the other cases go on
            mask, fault = empty, f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
    return _Answer(prompt, empty if fault else mask, seconds, peak(), fault[:500])


def _rows(
    case: Case, record: Segmenter, protocol: str, seed: int, step: int, answers: list[_Answer]
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


def _truth(reference: LabelMap, structures: tuple[Structure, ...]) -> np.ndarray:
    """The reference as a bit-mask volume, as the predictions are kept."""
    return metrics.label_bits(reference.data, [s.value for s in structures])


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
    rows["reason"] = rows["reason"].mask(unasked, UNASKED)
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
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Score every prediction that a run has kept, against the cohort's references as they are now.

    No segmenter is loaded and nothing is predicted. Rows without a prediction (segmenters that
    were unavailable, for all images or some) are kept from the run's score table.

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
    names = [p.name for p in sorted(root.glob("cases/*")) if p.is_dir()]
    for name in names:
        for case in cohort.cases:
            folder = runs.case_folder(root, name, case)
            if (folder / "scores.parquet").is_file():
                old = scores.read_scores(folder / "scores.parquet").attrs["stamp"]
                _rescore(folder, case, settings, _score_keys(old["prediction_key"], case, settings))
                tables.append(scores.read_scores(folder / "scores.parquet"))
                report(f"{name} {case.name} scored anew")
    if not tables:
        raise InputError(f"No prediction of cohort {cohort.name} in {root / 'cases'}.")
    stamp = scores.provenance(cohort=cohort.name)
    if (root / "scores.parquet").is_file():
        before = scores.read_scores(root / "scores.parquet")
        stamp = before.attrs["stamp"]
        tables.append(_without(before, pd.concat(tables), cohort))
    stamp |= {"cohort_hash": cohort.hash(), "tolerances_mm": list(tolerances_mm), "metrics": METRICS_VERSION}
    columns = tables[0].columns
    kept = [t.reindex(columns=columns) for t in tables if len(t)]
    return _stamped(pd.concat(kept, ignore_index=True), stamp)


def _without(before: pd.DataFrame, anew: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """Rows of an earlier table that were not scored anew, of cases that the cohort has."""
    case = ["subject", "session", "modality"]
    held = pd.MultiIndex.from_tuples([(c.subject, c.session, c.modality) for c in cohort.cases])
    done = pd.MultiIndex.from_frame(anew[["segmenter", *case]])
    kept = pd.MultiIndex.from_frame(before[case]).isin(held)
    return before[kept & ~pd.MultiIndex.from_frame(before[["segmenter", *case]]).isin(done)]


def _rescore(folder: Path, case: Case, settings: Settings, keys: dict) -> None:
    """Metrics of one case anew from its predictions on disk."""
    reference = case.read_reference()
    truth = _truth(reference, case.structures)
    old = scores.read_scores(folder / "scores.parquet")
    keep = [
        "subject",
        "session",
        "modality",
        "structure",
        "segmenter",
        "prompt",
        "step",
        "seed",
        "seconds",
        "peak_mb",
        "reason",
        "note",
    ]
    keep += [c for c in ("coordinates", "ceiling") if c in old]
    order = {s.name: n for n, s in enumerate(case.structures)}
    places = runs.bit_places(folder, case)
    old["reason"] = old["reason"].replace(UNASKED, "")
    tables = []
    for (protocol, seed, step), rows in old.groupby(["prompt", "seed", "step"]):
        rows = rows[keep].sort_values("structure", key=lambda names: names.map(order))
        bits = volume.read_bits(folder / runs.prediction_file(protocol, seed, step), on=reference)
        if places != list(range(len(places))):
            bits = metrics.pack_bits([metrics.unpack_bit(bits, n) for n in places])
        tables.append(_with_metrics(rows, truth, bits, reference.spacing_mm, settings))
    scores.write_scores(folder / "scores.parquet", pd.concat(tables, ignore_index=True), stamp=keys)


def _blank_rows(case: Case, record: Segmenter, settings: Settings, status: str, reason: str) -> pd.DataFrame:
    """Rows without numbers, for a segmenter that could not run."""
    plan = taken_plans(record, settings)[0]
    answers = [_Answer(Prompt(s.name), np.zeros(0, bool), fault=reason) for s in case.structures]
    rows = _rows(case, record, plan.protocol, plan.seeds[0], 0, answers)
    return rows.assign(dice=np.nan, status=status, note="")


def _keys(case: Case, record: Segmenter, drawn: dict, settings: Settings) -> dict[str, str]:
    """Content keys: of the predictions, and of the scores made from them."""
    steps = {p.protocol: p.steps for p in settings.plans}
    given = [
        [protocol, seed, steps.get(protocol, 0), name, prompts.to_record(p)]
        for (protocol, seed), first in drawn.items()
        for name, p in first.items()
    ]
    corrected = any(steps.values()) and "negative_click" in record.prompts
    reference = file_hash(case.reference) if corrected else ""
    prediction = [
        file_hash(case.image),
        case.unit,
        given,
        record.name,
        segmenters.identity_of(record),
        reference,
        GRID_VERSION,
    ]
    return _score_keys(_digest(prediction), case, settings)


def _score_keys(prediction_key: str, case: Case, settings: Settings) -> dict[str, str]:
    """Both content keys, of predictions whose own key is known."""
    structures = [[s.value, s.name] for s in case.structures]
    score = [prediction_key, file_hash(case.reference), settings.tolerances_mm, METRICS_VERSION, structures]
    return {
        "prediction_key": prediction_key,
        "score_key": _digest(score),
        "structures": [name for _, name in structures],  # in the order of the predictions' bits
    }


def _state(folder: Path, keys: dict[str, str]) -> str:
    """``done``, ``rescore`` (predictions hold, scores do not) or ``new``."""
    path = folder / "scores.parquet"
    try:
        stamp = json.loads(pq.read_schema(path).metadata[b"umdlib"])
    except (OSError, KeyError, ValueError):
        return "new"
    if stamp.get("prediction_key") != keys["prediction_key"]:
        return "new"
    rows = pq.read_table(path, columns=["status", "prompt", "seed", "step"]).to_pandas()
    if rows["status"].eq("failed").any():
        return "new"
    kept = rows[["prompt", "seed", "step"]].drop_duplicates().itertuples(index=False)
    if not all((folder / runs.prediction_file(*row)).is_file() for row in kept):
        return "new"
    return "done" if stamp.get("score_key") == keys["score_key"] else "rescore"


def _stamp(cohort: Cohort, record: Segmenter, settings: Settings, device: str) -> dict:
    """Provenance of a score table."""
    return scores.provenance(
        cohort=cohort.name,
        cohort_hash=cohort.hash(),
        device=device,
        tolerances_mm=list(settings.tolerances_mm),
        metrics=METRICS_VERSION,
        plans=[asdict(p) for p in settings.plans],
        segmenters={record.name: segmenters.identity_of(record)},
        prompts=_digest([weights.sha256(m.__file__) for m in (drawing, depth, scribbles)]),
    )


def _stamped(table: pd.DataFrame, stamp: dict) -> pd.DataFrame:
    table = scores.check_scores(table)
    table.attrs["stamp"] = stamp
    return table


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def _peak_memory() -> Iterator[Callable[[], float]]:
    """Peak resident memory (or GPU memory where CUDA is in use) of the block, in MB; NaN if unknown."""
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        yield lambda: torch.cuda.max_memory_allocated() / 1e6
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (proc(5))
    except OSError:
        yield lambda: float("nan")
        return
    yield _high_water_mb


def _high_water_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return float("nan")
