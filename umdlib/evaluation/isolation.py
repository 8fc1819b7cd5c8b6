"""A segmenter in a process of its own: what hangs, crashes or eats memory there ends one case."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import shared_memory

import numpy as np
import psutil

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.evaluation.ask import CaseEnded, ForeignError, peak_memory, resident_mb
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt

Condition = tuple[str, str]

_LOOK_S = 0.2


@dataclass(frozen=True)
class Limits:
    """Limits of a case, and the handling of cases that exceeded them.

    Attributes
    ----------
    time_s
        Seconds of all calls of a case together; None for any. Needs a process of its own.
    memory_mb
        Resident memory of the segmenter's process; None for any. Needs a process of its own.
    isolate
        Whether each segmenter runs in a process of its own, which may crash.
    retry
        Whether cases that a crash or a limit ended are predicted again; otherwise their rows stay.
    ahead
        Whether the next image is read while one is predicted; None: where a GPU works meanwhile.
    nothing_asked
        Reason of failed rows for the cases that the run has not kept; where it is given, no segmenter
        is loaded or asked.
    """

    time_s: float | None = None
    memory_mb: float | None = None
    isolate: bool = False
    retry: bool = False
    ahead: bool | None = None
    nothing_asked: str = ""

    def __post_init__(self) -> None:
        """Refuse a limit of 0 or less."""
        for name, value, unit in (("time", self.time_s, "s"), ("memory", self.memory_mb, "MB")):
            if value is not None and not value > 0:
                raise InputError(f"Invalid {name} limit {value:g} {unit}. Must be above 0 {unit}.")

    @property
    def isolated(self) -> bool:
        """Whether a process of its own is needed."""
        return self.isolate or self.time_s is not None or self.memory_mb is not None


class Isolated:
    """The checked call of a segmenter that runs in another process, started anew after it ended.

    Attributes
    ----------
    peak_mb
        Memory that the process held at most in the last call, above what it began with.
    """

    def __init__(self, name: str, device: str, limits: Limits) -> None:
        self._name, self._device, self._limits = name, device, limits
        self._process = self._pipe = None
        self._condition: Condition | None = None
        # what the other process sees of the last image and of its partner
        self._images: dict[str, tuple[np.ndarray, shared_memory.SharedMemory]] = {}
        self._foresees = False
        self._left = float("inf")
        self.peak_mb = float("nan")

    def begin(self, condition: Condition | None) -> None:
        """Begin a case: load the segmenter where it is not, and start the time.

        Raises
        ------
        InputError
            The other process cannot find or load it.
        """
        self._condition = condition
        self._left = self._limits.time_s if self._limits.time_s is not None else float("inf")
        if self._process is None:
            self._start()
        try:
            self._foresees = self._answer(("load", condition), counted=False)
        except CaseEnded as error:
            raise InputError(f"Segmenter '{self._name}' could not be loaded: {error}.") from None

    def __call__(
        self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None, partner: Volume | None = None
    ) -> np.ndarray:
        """Boolean mask (I, J, K).

        Raises
        ------
        CaseEnded
            The process crashed, took too long or too much memory.
        InputError, RuntimeError
            As the segmenter itself does.
        """
        if self._left <= 0:  # the preparation took the whole time
            raise CaseEnded(f"the case took over {self._limits.time_s:g} s")
        if self._process is None:
            self._start()
            self._answer(("load", self._condition), counted=False)
        given = _shared(previous) if previous is not None else None
        try:
            shown = {"image": self._shown("image", image)}
            if partner is not None:
                shown["partner"] = self._shown("partner", partner)
            before = None if given is None else _place(previous, given)
            return self._answer(("call", shown, prompt, before))
        finally:
            if given is not None:
                _release(given)

    def foresee(self, image: Volume, prompts: Sequence[Prompt]) -> None:
        """Announce the coming prompts of an image to the other process; changes no mask.

        Its time counts as the case's, its memory as the next call's.

        Raises
        ------
        CaseEnded
            The process crashed, took too long or too much memory; the next call starts another, if time is left.
        """
        if self._foresees and self._process is not None:
            self._answer(("foresee", {"image": self._shown("image", image)}, list(prompts)))

    def _shown(self, which: str, volume: Volume) -> tuple:
        """Where the other process finds an image: shared once, until another comes."""
        if which not in self._images or self._images[which][0] is not volume.data:
            self._forget(which)
            self._images[which] = (volume.data, _shared(volume.data))
        place = _place(volume.data, self._images[which][1])
        return place, volume.affine, volume.unit, volume.name

    def close(self) -> None:
        """End the process."""
        self._forget()
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(None)
            self._process.join(2)
            self._end()

    def _start(self) -> None:
        """Start the process; it shares nothing with this one but the name."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._name, self._device), daemon=True)
        process.start()
        self._process = process  # what could not start is not ended
        theirs.close()

    def _answer(self, message: tuple, *, counted: bool = True):
        """Send a message and wait for what comes back, no longer than the case has left."""
        started = time.monotonic()
        try:
            self._pipe.send(message)
            while not self._pipe.poll(_LOOK_S):
                self._check(time.monotonic() - started if counted else 0.0)
            kind, content = self._pipe.recv()
        except (EOFError, OSError):
            raise CaseEnded(self._crash()) from None
        finally:
            if counted:
                self._left -= time.monotonic() - started
        if self._left < 0:
            self._end()
            raise CaseEnded(f"the case took over {self._limits.time_s:g} s")
        if kind == "mask":
            place, self.peak_mb = content
            return _taken(*place)
        if kind == "input":
            raise InputError(content)
        if kind == "error":
            raise ForeignError(content)
        return content

    def _check(self, seconds: float) -> None:
        """End the process where it takes too long or too much."""
        if seconds > self._left:
            self._end()
            raise CaseEnded(f"the case took over {self._limits.time_s:g} s")
        if self._limits.memory_mb is not None:
            with contextlib.suppress(psutil.Error):
                held = psutil.Process(self._process.pid).memory_info().rss / 1e6
                if held > self._limits.memory_mb:
                    self._end()
                    raise CaseEnded(f"the segmenter took over {self._limits.memory_mb:g} MB")

    def _crash(self) -> str:
        """How the process ended, in words."""
        self._process.join(5)
        code = self._process.exitcode
        self._end()
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"

    def _end(self) -> None:
        """Kill the process; the next call starts another."""
        if self._process is not None:
            if self._process.is_alive():
                with contextlib.suppress(psutil.Error):  # a system of its own environment would go on
                    for child in psutil.Process(self._process.pid).children(recursive=True):
                        child.kill()
                self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None

    def _forget(self, *which: str) -> None:
        """Let go of the images, or of one of them."""
        for name in which or tuple(self._images):
            if name in self._images:
                _release(self._images.pop(name)[1])


def _shared(array: np.ndarray) -> shared_memory.SharedMemory:
    """A copy of an array that another process can see."""
    block = shared_memory.SharedMemory(create=True, size=max(array.nbytes, 1))
    _view(_place(array, block), block)[...] = array
    return block


def _place(array: np.ndarray, block: shared_memory.SharedMemory) -> tuple:
    """Where an array lies: name, shape, type, order."""
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return block.name, array.shape, array.dtype.str, order


def _view(place: tuple, block: shared_memory.SharedMemory) -> np.ndarray:
    _, shape, dtype, order = place
    return np.ndarray(shape, dtype, block.buf, order=order)


def _release(block: shared_memory.SharedMemory) -> None:
    with contextlib.suppress(OSError):
        block.close()
        block.unlink()


def _taken(*place) -> np.ndarray:
    """A copy of an array that the other process left, in its order; the place is given up."""
    block = shared_memory.SharedMemory(place[0])
    try:
        return _view(place, block).copy(order="K")
    finally:
        _release(block)


def _serve(pipe, name: str, device: str) -> None:
    """The other process: load a segmenter and answer calls until the pipe closes."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, this process goes and not the one that keeps the run
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    opened, segment, started_mb = None, None, resident_mb()
    images: dict[str, tuple[str, Volume, shared_memory.SharedMemory]] = {}
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if message is None:
            return
        try:
            if message[0] == "load":
                opened = opened or _opened(name, device)
                segment, told_mb = opened.call(message[1]), 0.0
                pipe.send(("loaded", hasattr(segment, "foresee")))
                continue
            seen = {which: _seen(images, which, *given) for which, given in message[1].items()}
            if message[0] == "foresee":
                with peak_memory() as peak:
                    segment.foresee(seen["image"], message[2])
                    told_mb = peak() - started_mb
                pipe.send(("told", None))
                continue
            _, _, prompt, before = message
            previous = None
            if before is not None:
                theirs = shared_memory.SharedMemory(before[0])
                previous = _view(before, theirs).copy(order="K")
                theirs.close()
            with peak_memory() as peak:
                mask = segment(seen.pop("image"), prompt, previous, **seen)
                peak_mb, told_mb = max(peak() - started_mb, told_mb, 0.0), 0.0
            kept = _shared(mask)
            pipe.send(("mask", (_place(mask, kept), peak_mb)))
            kept.close()
        except InputError as error:
            pipe.send(("input", str(error)))
        except (Exception, SystemExit) as error:  # whatever a model does
            pipe.send(("error", f"{type(error).__name__}: {error}"))


def _seen(images: dict, which: str, place: tuple, *about) -> Volume:
    """An image that the other process shares, kept in `images` until it shares another."""
    if which not in images or images[which][0] != place[0]:
        block = shared_memory.SharedMemory(place[0])
        images[which] = (place[0], Volume(_view(place, block), *about), block)
    return images[which][1]


def _opened(name: str, device: str):
    """A segmenter opened in this process."""
    opened = segmenters.open(name, device)
    if isinstance(opened, segmenters.Unavailable):
        raise InputError(f"Segmenter '{name}' is unavailable. {opened.reason}")
    return opened


def importable(name: str) -> None:
    """Refuse a segmenter that another process cannot find."""
    known = name in segmenters.BUILT_IN or ":" in name
    if not known:
        raise InputError(
            f"Segmenter '{name}' was registered in this process alone. To run it in one of its own, name it "
            "module:attribute or file.py:attribute."
        )
