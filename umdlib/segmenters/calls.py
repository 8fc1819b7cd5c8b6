"""Calls of segmenters: opened once, loaded at the first call, checked at every call."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.images import partner as partners
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.identity import identity_of
from umdlib.segmenters.registry import BUILT_IN, get
from umdlib.weights import reading as weights

Condition = tuple[str, str]


class _Availability(NamedTuple):
    """Whether a segmenter can run here, and in one sentence why not and what would help."""

    ok: bool
    reason: str


def own_copy(record: Segmenter, image: Volume | None) -> Volume | None:
    """An image that a user's segmenter may write into: whoever is asked next sees the file's."""
    if image is None or record.name in BUILT_IN:
        return image
    return replace(image, data=image.data.copy(order="K"))


@dataclass(frozen=True)
class Opened:
    """A segmenter that can run here.

    Attributes
    ----------
    record
        What it is.
    device
        Where it runs.
    identity
        What its predictions depend on, see `umdlib.segmenters.identity`.
    """

    record: Segmenter
    device: str
    identity: dict
    _calls: dict[Condition | None, Segment] = field(default_factory=dict, repr=False)

    def why_not(self, condition: Condition | None) -> str | None:
        """Why it cannot segment images of a (session, modality); None if it can."""
        return untrained(self.record, condition)

    def call(self, condition: Condition | None = None) -> Segment:
        """The checked call for images of a (session, modality); loaded once and kept.

        Raises
        ------
        InputError
            It cannot be loaded, or has no weights for `condition`.
        """
        if (reason := self.why_not(condition)) is not None:
            raise InputError(f"Segmenter '{self.record.name}' is unavailable. {reason}")
        which = condition if self.record.conditions else None
        if which not in self._calls:
            given = (self.device,) if which is None else (self.device, which)
            self._calls[which] = checked(self.record, self.record.load(*given))
        return self._calls[which]

    def close(self) -> None:
        """Let go of what is loaded; the next call loads it again."""
        self._calls.clear()
        _free_gpu()


@dataclass(frozen=True)
class Unavailable:
    """A segmenter that cannot run here, and in one sentence why not."""

    record: Segmenter
    reason: str
    identity: dict

    def why_not(self, condition: Condition | None) -> str | None:
        """Why it cannot segment images of a (session, modality): the reason, whatever they are."""
        return self.reason


def open(name: str | Segmenter, device: str = "cpu") -> Opened | Unavailable:
    """Open a segmenter: find its record, check what it needs, hash its weights.

    Parameters
    ----------
    name
        Name, ``module:attribute``, ``file.py:attribute``, or record.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    Opened or Unavailable
        Nothing is loaded before the first `Opened.call`.

    Raises
    ------
    InputError
        Unknown name; a device that does not exist or is not here; weights that are not the
        published ones.

    Examples
    --------
    >>> opened = open("threshold")
    >>> opened.record.title, opened.why_not(("petct", "CT"))
    ('Threshold', None)
    """
    record = get(name) if isinstance(name, str) else name
    check_device(device)
    state = availability(record, device)
    if not state.ok:
        return Unavailable(record, state.reason, identity_of(record))
    for item in record.weights:
        if weights.missing(item, record.name) is None:
            weights.verified(item, record.name)  # its hash is part of what a prediction depends on
    return Opened(record, device, identity_of(record))


def availability(segmenter: Segmenter | str, device: str = "cpu") -> _Availability:
    """Whether packages, weights and device are here, and the sentence that says what is missing.

    Nothing is loaded and no file is hashed.
    """
    record = get(segmenter) if isinstance(segmenter, str) else segmenter
    lacks = []
    absent = [p for p in record.packages if importlib.util.find_spec(p) is None]
    if absent:
        how = f"pip install 'umdlib[{record.extra}]'" if record.extra else "see its card"
        lacks.append(f"Needs {', '.join(absent)} ({how}).")
    lacks += _missing_weights(record)[:1]
    if record.external:
        from umdlib.segmenters.external.worker import unready

        lacks += [sentence] if (sentence := unready(record.name)) is not None else []
    if not lacks:
        try:
            check_device(device)
        except InputError as error:
            lacks.append(str(error))
    return _Availability(not lacks, " ".join(lacks) or "ready")


def load(name: str | Segmenter, device: str = "cpu", condition: Condition | None = None) -> Segment:
    """The loaded call of a segmenter, checked at every use.

    Parameters
    ----------
    name
        Name, ``module:attribute``, or record.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    condition
        (session, modality) of the images; needed where each has weights of its own.

    Returns
    -------
    Segment
        Raises InputError where the prompt holds nothing that the segmenter takes, or its mask is
        not boolean on the image's grid.

    Raises
    ------
    InputError
        Unknown name; packages, weights or device missing; a condition it was not trained for.
    """
    record = get(name) if isinstance(name, str) else name
    state = availability(record, device)
    if not state.ok:
        raise InputError(f"Segmenter '{record.name}' is unavailable. {state.reason}")
    return Opened(record, device, {}).call(condition)


load_segmenter = load  # its name in the package's facade


def check_device(device: str) -> None:
    """Refuse a device that does not exist or is not here; torch is imported only for a GPU.

    Raises
    ------
    InputError
        Other than ``cpu``, ``cuda`` and ``cuda:N``; a GPU that torch does not see.

    Examples
    --------
    >>> check_device("gpu")
    Traceback (most recent call last):
    umdlib.errors.InputError: Unknown device 'gpu'. Known: cpu, cuda, cuda:N.
    """
    if device == "cpu":
        return
    kind, colon, number = device.partition(":")
    if kind != "cuda" or (colon and not (number.isascii() and number.isdigit())):
        raise InputError(f"Unknown device '{device}'. Known: cpu, cuda, cuda:N.")
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"Device '{device}' needs torch.")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise InputError(f"Device '{device}' is not here: torch sees {count} GPUs.")


def untrained(segmenter: Segmenter, condition: Condition | None) -> str | None:
    """Why a segmenter cannot segment images of a session and modality; None if it can."""
    if not segmenter.conditions:
        return None
    if condition in segmenter.conditions:
        return next(iter(_missing_weights(segmenter, condition)), None)
    known = ", ".join(f"{modality} of {session}" for session, modality in segmenter.conditions)
    if condition is None:
        return f"It has weights for {known}; say which."
    return f"Not trained for {condition[1]} of {condition[0]}; it has weights for {known}."


def _missing_weights(record: Segmenter, condition: Condition | None = None) -> list[str]:
    """Sentences of the weight files that are not here, of all images or of a condition's.

    Of a system with files for each condition, one whose files are all here is enough.
    """

    def gone(of: Condition | None) -> list[str]:
        files = [w for w in record.weights if of is None or w.condition in (None, of)]
        return [s for w in files if (s := weights.missing(w, record.name)) is not None]

    if condition is not None or not any(w.condition for w in record.weights):
        return gone(condition)
    return min((gone(c) for c in record.conditions), key=len)


def checked(record: Segmenter, segment: Segment) -> Segment:
    """`segment` with its prompt, its partner and its mask checked at every call.

    Where it can foresee, so can the checked call: prompts that it does not take are left out, and
    where memory runs out nothing is foreseen. One that sees two images is not prepared in advance.
    """

    def call(
        image: Volume, prompt: Prompt, previous: np.ndarray | None = None, partner: Volume | None = None
    ) -> np.ndarray:
        check_prompt(record, prompt)
        check_partner(record, image, partner)
        seen = {"partner": partner} if record.partner else {}
        try:
            mask = _with_less_memory(segment, lambda: segment(image, prompt, previous, **seen))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(
                f"Segmenter '{record.name}' ran out of memory on {image.name} {image.shape}, also "
                f"with the least that it can work with. Free the device, use one with more memory, "
                f"or '--device cpu'; what was finished is kept and the same command resumes."
            ) from None
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != image.shape:
            got = f"{getattr(mask, 'dtype', type(mask).__name__)} {getattr(mask, 'shape', '')}"
            raise InputError(
                f"Segmenter '{record.name}' returned {got} for {image.name}. "
                f"Must be a boolean mask {image.shape}."
            )
        return mask

    def foresee(image: Volume, prompts: Sequence[Prompt]) -> None:
        taken = [p for p in prompts if _takes(record, p)]
        try:
            _with_less_memory(segment, lambda: segment.foresee(image, taken))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise

    if record.partner:
        return call
    if hasattr(segment, "foresee"):
        call.foresee = foresee
    if hasattr(segment, "prepare"):
        call.prepare = segment.prepare
    return call


def _takes(record: Segmenter, prompt: Prompt) -> bool:
    """Whether a segmenter takes a prompt."""
    try:
        check_prompt(record, prompt)
    except InputError:
        return False
    return True


def _with_less_memory(segment: Segment, ask: Callable[[], np.ndarray | None]) -> np.ndarray | None:
    """Ask once; where memory runs out, again after the segmenter let go of what it can.

    A segmenter may have a method ``free_memory() -> bool`` that forgets what it has encoded or takes
    smaller batches, and says whether that made a difference.
    """
    while True:
        try:
            return ask()
        except (MemoryError, RuntimeError) as error:
            free_memory = getattr(segment, "free_memory", None)
            if not out_of_memory(error) or free_memory is None or not free_memory():
                raise
        _free_gpu()


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, of the machine or of a GPU."""
    words = "out of memory", "can't allocate memory", "not enough memory"
    return isinstance(error, MemoryError) or any(w in str(error).lower() for w in words)


def _free_gpu() -> None:
    """Give memory that torch keeps back to the GPU; nothing where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_prompt(record: Segmenter, prompt: Prompt) -> None:
    """Refuse a prompt that a segmenter cannot use.

    Raises
    ------
    InputError
        Nothing in the prompt is of a kind the segmenter takes; a negative click where it takes
        only positive ones; a structure it does not know.
    """
    kinds = _kinds_of(prompt) | {"class"}
    if not kinds & record.prompts:
        raise InputError(
            f"Segmenter '{record.name}' takes {_either(record.prompts)}; the prompt for "
            f"'{prompt.structure}' holds {_either(kinds - {'class'}) or 'nothing'}."
        )
    takes_positive = "click" in record.prompts and "negative_click" not in record.prompts
    if "negative_click" in kinds and takes_positive:
        raise InputError(f"Segmenter '{record.name}' takes no negative clicks.")
    if record.structures and prompt.structure not in record.structures:
        raise unknown_name(f"structure for '{record.name}'", prompt.structure, record.structures)


def partner_modalities(record: Segmenter, modality: str) -> tuple[str, ...]:
    """Modalities that a segmenter needs beside an image of a modality; none where it sees one image."""
    return tuple(m for m in record.partner if (m == "PET") != (modality == "PET"))


def check_partner(record: Segmenter, image: Volume, partner: Volume | None) -> None:
    """Refuse a second image that a segmenter does not see, and none where it sees one.

    Raises
    ------
    InputError
        A partner for a system of one image; none, one of another modality, or one that lies elsewhere for a
        system of two.
    """
    if not record.partner:
        if partner is not None:
            raise InputError(
                f"Segmenter '{record.name}' sees one image, so {image.name} goes without partner {partner.name}."
            )
        return
    own = partners.modality_of(image)
    if own not in record.modalities:
        raise InputError(
            f"Segmenter '{record.name}' takes {' or '.join(record.modalities)}; {image.name} is {own}."
        )
    wanted = partner_modalities(record, own)
    if partner is None:
        raise InputError(
            f"Segmenter '{record.name}' sees two images. {image.name} ({own}) needs {' or '.join(wanted)} as partner."
        )
    other = partners.modality_of(partner)
    if other not in wanted:
        raise InputError(
            f"Partner {partner.name} is {other}; segmenter '{record.name}' wants {' or '.join(wanted)} beside "
            f"{image.name} ({own})."
        )
    partners.check_place(image, partner)


def _kinds_of(prompt: Prompt) -> set[str]:
    """Kinds of prompt that `prompt` holds, of those of `KINDS` but class."""
    kinds = {"click" if c.positive else "negative_click" for c in prompt.clicks}
    kinds |= {"slice_click"} if prompt.first_clicks else set()
    kinds |= {"scribble"} if prompt.scribble else set()
    kinds |= {"lasso"} if prompt.lasso else set()
    kinds |= {"initial_mask"} if prompt.initial is not None else set()
    kinds |= {"box"} if prompt.box is not None else set()
    kinds |= {"slice_box"} if prompt.boxes else set()
    return kinds | ({"text"} if prompt.text else set())


def _either(kinds: set[str] | frozenset[str]) -> str:
    """Kinds in words."""
    return " or ".join(sorted(kinds)).replace("_", " ")
