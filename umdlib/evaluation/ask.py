"""All prompts and corrections of one image, and what each call gave."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from umdlib import prompts, protocols
from umdlib.errors import InputError
from umdlib.images.runs import Runs, runs_of
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment

UNTAUGHT = "not asked: the segmenter does not know the structure"
_ENDED = "not asked: {}"


class CaseEnded(Exception):
    """A segmenter crashed, hung or took too much: the other structures of its image are not predicted."""


class ForeignError(Exception):
    """An error of a segmenter's own process; its text begins with the name of its class."""


@dataclass(frozen=True)
class Answer:
    """Result of one call: the prompt, the mask (empty where it failed), time, memory, fault.

    `ended` where the fault ended the case.
    """

    prompt: Prompt
    mask: Runs
    seconds: float = np.nan
    peak_mb: float = np.nan
    fault: str = ""
    ended: bool = False


@dataclass(frozen=True)
class Task:
    """Structures and prompts of one image with one protocol and seed.

    Attributes
    ----------
    image, reference
        Of one case; the reference is seen by the corrective clicks alone.
    targets
        Runs of each structure of the reference, in order.
    structures
        What is asked for.
    first
        First prompt of each.
    steps
        Corrective clicks after it.
    protocol, seed
        How the prompts are drawn.
    known
        Names that the segmenter knows; empty means any.
    base_mb
        Memory that the segmenter took when it was loaded.
    partner
        The other image of the examination, for a segmenter that sees two; None: it is called without.
    """

    image: Volume
    reference: LabelMap
    targets: Mapping[str, Runs]
    structures: tuple[Structure, ...]
    first: Mapping[str, Prompt]
    steps: int
    protocol: str
    seed: int
    known: tuple[str, ...] = ()
    base_mb: float = 0.0
    partner: Volume | None = None


def targets_of(reference: LabelMap, structures: tuple[Structure, ...]) -> dict[str, Runs]:
    """Runs of each structure of a label map."""
    from umdlib.images.masks import bounding_boxes

    boxes = bounding_boxes(reference.data, [s.value for s in structures])
    nowhere = (slice(0, 0),) * 3
    return {
        s.name: runs_of(reference.data, s.value, box=box or nowhere)
        for s, box in zip(structures, boxes, strict=True)
    }


def ask(task: Task, segment: Segment) -> list[list[Answer]]:
    """Answers by step, 0 to `steps`, each a list in the order of the structures.

    A structure is asked with all its corrections before the next one, so that a segmenter that
    encodes a crop or a slice finds it again. Corrective clicks that are drawn come from one
    generator for all structures of the case: those are asked step by step.
    """
    asked = _Asked(task, segment)
    if protocols.record(task.protocol).official:
        for step in range(task.steps + 1):
            for s in task.structures:
                asked.next_answer(s, step)
    else:
        for s in task.structures:
            for step in range(task.steps + 1):
                asked.next_answer(s, step)
    return [[asked.answers[s.name][step] for s in task.structures] for step in range(task.steps + 1)]


class _Asked:
    """The masks so far, and the last mask of each structure that is still prompted."""

    def __init__(self, task: Task, segment: Segment) -> None:
        self.task, self.segment = task, segment
        self.answers: dict[str, list[Answer]] = {s.name: [] for s in task.structures}
        self.flipped = next(iter(task.targets.values())).flipped
        self.nothing = runs_of(np.zeros(task.image.shape, bool), box=(slice(0, 0),) * 3, flipped=self.flipped)
        self.rng = np.random.default_rng([task.seed, 1])
        self.keeps_masks = protocols.record(task.protocol).official
        self.last: dict[str, np.ndarray] = {}
        self.ended = ""
        self.foreseen = False
        self.held_mb = resident_mb()

    def next_answer(self, structure: Structure, step: int) -> None:
        """Predict the next step of a structure, or repeat its last mask where nothing is left to correct."""
        before = self.answers[structure.name]
        prompt = self._first(structure) if step == 0 else self._corrected(structure)
        if isinstance(prompt, Answer):
            before.append(prompt)
            return
        previous = None if step == 0 else self.last.get(structure.name)
        if not self.keeps_masks:
            self.last.clear()
        answer, mask = self._call(prompt, previous)
        before.append(answer)
        if mask is not None and step < self.task.steps:
            self.last[structure.name] = mask

    def _first(self, structure: Structure) -> Prompt | Answer:
        """The first prompt, or its replacement."""
        prompt = self.task.first[structure.name]
        if self.task.known and structure.name not in self.task.known:
            return Answer(prompt, self.nothing, fault=UNTAUGHT)
        if prompt.note == prompts.REFERENCE_EMPTY:  # nothing to point at
            return Answer(prompt, self.nothing)
        if self.ended:
            return Answer(prompt, self.nothing, fault=_ENDED.format(self.ended), ended=True)
        return prompt

    def _corrected(self, structure: Structure) -> Prompt | Answer:
        """The prompt with one more click, or the last answer where there is nothing to correct."""
        answer = self.answers[structure.name][-1]
        if answer.prompt.note == prompts.REFERENCE_EMPTY or answer.fault:
            return answer
        click = prompts.corrective_click(
            self.task.targets[structure.name],
            answer.mask,
            self.task.reference.affine,
            protocol=self.task.protocol,
            rng=self.rng,
            cube=answer.prompt.cube,
        )
        if click is None:
            return answer
        if self.ended:
            return replace(answer, mask=self.nothing, fault=_ENDED.format(self.ended), ended=True)
        return answer.prompt.with_click(click)

    def _foresee(self) -> None:
        """Tell a segmenter that encodes several things together all first prompts, once."""
        foresee = getattr(self.segment, "foresee", None)
        if foresee is None or self.foreseen:
            return
        self.foreseen, known = True, self.task.known
        prompts_ = [self.task.first[s.name] for s in self.task.structures if not known or s.name in known]
        with suppress(Exception):  # what is wrong with an image or a prompt, its own call says
            foresee(self.task.image, [p for p in prompts_ if p.note != prompts.REFERENCE_EMPTY])

    def _call(self, prompt: Prompt, previous: np.ndarray | None) -> tuple[Answer, np.ndarray | None]:
        """Call the segmenter once; an error becomes a status."""
        mask, fault = None, ""
        seen = {} if self.task.partner is None else {"partner": self.task.partner}
        with peak_memory() as peak:
            started = time.perf_counter()
            self._foresee()  # the first structure pays for it, as for what is encoded
            try:
                mask = self.segment(self.task.image, prompt, previous, **seen)
            except CaseEnded as error:
                fault = self.ended = str(error)
            except InputError as error:
                fault = str(error)
            except (Exception, SystemExit) as error:  # whatever a model does, the other cases go on
                fault = str(error) if isinstance(error, ForeignError) else f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - started
            peak_mb = max(peak() - self.held_mb, 0.0) + self.task.base_mb
        peak_mb = getattr(self.segment, "peak_mb", peak_mb)  # of another process, where it runs in one
        runs = self.nothing if mask is None else runs_of(mask, flipped=self.flipped)
        return Answer(prompt, runs, seconds, peak_mb, fault[:500], bool(self.ended)), mask


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Peak resident memory (or GPU memory where CUDA is in use) of the block, in MB; NaN if unknown."""
    torch = _cuda()
    if torch is not None:
        torch.cuda.reset_peak_memory_stats()
        yield lambda: torch.cuda.max_memory_allocated() / 1e6
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (proc(5))
    except OSError:
        yield lambda: float("nan")
        return
    yield lambda: _status_mb("VmHWM")


def _cuda():
    """torch where it uses a GPU, else None."""
    torch = sys.modules.get("torch")
    uses = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch if uses else None


def resident_mb() -> float:
    """Memory that this process (or its GPU) holds now, in MB."""
    torch = _cuda()
    return torch.cuda.memory_allocated() / 1e6 if torch is not None else _status_mb("VmRSS")


@contextmanager
def memory_taken() -> Iterator[Callable[[], float]]:
    """Memory in MB that the block has taken when the given function is called."""
    before = resident_mb()
    yield lambda: max(resident_mb() - before, 0.0)


def _status_mb(field: str) -> float:
    """A field of this process's status (proc(5)) in MB; NaN where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    found = (line for line in lines if line.startswith(f"{field}:"))
    return next((int(line.split()[1]) / 1e3 for line in found), float("nan"))
