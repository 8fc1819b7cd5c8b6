"""The registry: every segmenter by name, what it needs, and how it is loaded.

A user's own is one record and one function::

    from umdlib.segmenters import Segmenter, register

    def load(device):
        def segment(image, prompt, previous=None):
            return image.data > 100          # boolean, on the image's grid
        return segment

    MINE = register(Segmenter("mine", "Mine", "Everything above 100.", load, frozenset({"click"})))

On the command line the same record is named ``my_module:MINE`` or ``path/to/my_file.py:MINE``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights

__all__ = [
    "Availability",
    "Segment",
    "Segmenter",
    "Weights",
    "availability",
    "get",
    "identity",
    "load",
    "names",
    "out_of_memory",
    "register",
    "table",
    "untrained",
]

# What a record may say that it takes.
KINDS = ("click", "negative_click", "slice_click", "box", "slice_box", "scribble", "class", "text")

# name -> where its record lies; imported when asked for, so that listing imports nothing heavy
BUILT_IN: dict[str, str] = {
    "threshold": "umdlib.segmenters.systems.threshold:THRESHOLD",
    "region_growing": "umdlib.segmenters.systems.region_growing:REGION_GROWING",
    "clicknet_structural": "umdlib.segmenters.systems.clicknet:CLICKNET_STRUCTURAL",
    "clicknet_pet": "umdlib.segmenters.systems.clicknet:CLICKNET_PET",
    "clicknet_both": "umdlib.segmenters.systems.clicknet:CLICKNET_BOTH",
    "sam_med3d_small_structural": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_STRUCTURAL",
    "sam_med3d_small_pet": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_PET",
    "sam_med3d_small_both": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_BOTH",
    "litemedsam": "umdlib.segmenters.systems.litemedsam:LITEMEDSAM",
    "sam_med3d_turbo": "umdlib.segmenters.systems.sam_med3d:SAM_MED3D",
    "segvol": "umdlib.segmenters.external.worker:SEGVOL",
    "nninteractive": "umdlib.segmenters.systems.nninteractive:NNINTERACTIVE",
    "vista3d": "umdlib.segmenters.systems.vista3d:VISTA3D_CLASS",
    "vista3d_point": "umdlib.segmenters.systems.vista3d:VISTA3D_POINT",
    "sat_pro": "umdlib.segmenters.external.worker:SAT",
    "seganypet_v1": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_V1",
    "seganypet_v2": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_V2",
    "seganypet_lesion": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_LESION",
    "sam_vit_b": "umdlib.segmenters.systems.sam:SAM_B",
    "sam_vit_l": "umdlib.segmenters.systems.sam:SAM_L",
    "sam_vit_h": "umdlib.segmenters.systems.sam:SAM_H",
    "medsam": "umdlib.segmenters.systems.sam:MEDSAM",
    "sam_vit_b_grown": "umdlib.segmenters.systems.sam:SAM_B_GROWN",
    "sam_vit_l_grown": "umdlib.segmenters.systems.sam:SAM_L_GROWN",
    "sam_vit_h_grown": "umdlib.segmenters.systems.sam:SAM_H_GROWN",
    "medsam_grown": "umdlib.segmenters.systems.sam:MEDSAM_GROWN",
    "litemedsam_grown": "umdlib.segmenters.systems.litemedsam:LITEMEDSAM_GROWN",
    "nnunet": "umdlib.segmenters.systems.nnunet:NNUNET",
    "stunet": "umdlib.segmenters.systems.nnunet:STUNET",
    "swinunetr": "umdlib.segmenters.systems.nnunet:SWINUNETR",
    "segresnet": "umdlib.segmenters.systems.nnunet:SEGRESNET",
    "nnunet_small": "umdlib.segmenters.systems.specialists:NNUNET_SMALL",
    "segresnet_small": "umdlib.segmenters.systems.specialists:SEGRESNET_SMALL",
    "swinunetr_small": "umdlib.segmenters.systems.specialists:SWINUNETR_SMALL",
    "stunet_small": "umdlib.segmenters.systems.specialists:STUNET_SMALL",
}
# PREFIX:PATH of a user's own training -> the module whose `trained` makes its record
OWN = {
    "nnunet": "nnunet",
    "clicknet": "clicknet",
    "sam_med3d_small": "sam_med3d_small",
    "specialist": "specialists",
}
_registered: dict[str, Segmenter] = {}


class Availability(NamedTuple):
    """Whether a segmenter can run here, and in one sentence why not and what would help."""

    ok: bool
    reason: str


def names() -> tuple[str, ...]:
    """Names of all segmenters, built in first, in the order of the book.

    Examples
    --------
    >>> names()[:2]
    ('threshold', 'region_growing')
    """
    return (*BUILT_IN, *(n for n in _registered if n not in BUILT_IN))


def register(segmenter: Segmenter) -> Segmenter:
    """Add a segmenter to the registry; returns it.

    Raises
    ------
    InputError
        The name belongs to a built-in segmenter or cannot be a folder's, or the record takes no
        kind of prompt, or one that does not exist.
    """
    if segmenter.name in BUILT_IN:
        raise InputError(f"Segmenter '{segmenter.name}' is built in. Give yours another name.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", segmenter.name):
        raise InputError(
            f"Invalid segmenter name '{segmenter.name}'. Letters, digits, '_', '-' and '.'; it begins "
            "with a letter or digit."
        )
    if isinstance(segmenter.prompts, str) or not segmenter.prompts:
        raise InputError(
            f"Segmenter '{segmenter.name}' takes no prompt. Give a set of one or more of {', '.join(KINDS)}."
        )
    for kind in segmenter.prompts:
        if kind not in KINDS:
            raise unknown_name(f"kind of prompt of segmenter '{segmenter.name}'", kind, KINDS)
    segmenter = replace(segmenter, prompts=frozenset(segmenter.prompts))
    _registered[segmenter.name] = segmenter
    return segmenter


def get(name: str) -> Segmenter:
    """Record by name, or of a user's own by ``module:attribute`` or ``file.py:attribute``.

    ``nnunet:FOLDER`` is a folder that nnU-Net's training wrote, ``clicknet:FOLDER/NAME.json`` and
    ``sam_med3d_small:FOLDER/NAME.json`` the card of a network that ``umdlib train promptable`` made,
    ``specialist:FOLDER/nnunet_small`` the cards that ``umdlib train specialist --release FOLDER``
    wrote.

    Raises
    ------
    InputError
        There is no such segmenter (the nearest name is suggested), module or attribute.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        return _record(BUILT_IN[name])
    prefix, colon, path = name.partition(":")
    if colon and prefix in OWN:
        module = importlib.import_module(f"umdlib.segmenters.systems.{OWN[prefix]}")
        return register(module.trained(path))
    if ":" in name:
        return register(_record(name))
    raise unknown_name("segmenter", name, names())


def availability(segmenter: Segmenter | str, device: str = "cpu") -> Availability:
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
    if lacks:
        return Availability(False, " ".join(lacks))
    return _device(device)


def load(name: str | Segmenter, device: str = "cpu", condition: tuple[str, str] | None = None) -> Segment:
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
    if not record.conditions:
        return checked(record, record.load(device))
    if (reason := untrained(record, condition)) is not None:
        raise InputError(f"Segmenter '{record.name}' is unavailable. {reason}")
    return checked(record, record.load(device, condition))


def untrained(segmenter: Segmenter, condition: tuple[str, str] | None) -> str | None:
    """Why a segmenter cannot segment images of a session and modality; None if it can."""
    if not segmenter.conditions:
        return None
    if condition in segmenter.conditions:
        return next(iter(_missing_weights(segmenter, condition)), None)
    known = ", ".join(f"{modality} of {session}" for session, modality in segmenter.conditions)
    if condition is None:
        return f"It has weights for {known}; say which."
    return f"Not trained for {condition[1]} of {condition[0]}; it has weights for {known}."


def _missing_weights(record: Segmenter, condition: tuple[str, str] | None = None) -> list[str]:
    """Sentences of the weight files that are not here, of all images or of a condition's.

    Of a system with files for each condition, one whose files are all here is enough.
    """
    from umdlib.weights import reading as weights

    def gone(of: tuple[str, str] | None) -> list[str]:
        files = [w for w in record.weights if of is None or w.condition in (None, of)]
        return [s for w in files if (s := weights.missing(w, record.name)) is not None]

    if condition is not None or not any(w.condition for w in record.weights):
        return gone(condition)
    return min((gone(c) for c in record.conditions), key=len)


def checked(record: Segmenter, segment: Segment) -> Segment:
    """`segment` with its prompt and its mask checked at every call."""

    def call(image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        check_prompt(record, prompt)
        try:
            mask = _relieved(segment, image, prompt, previous)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(
                f"Segmenter '{record.name}' ran out of memory on {image.name} {image.shape}, also "
                f"with the least that it can work with. Free the device, use one with more memory, "
                f"or '--device cpu'; what was finished is kept and the same command goes on."
            ) from None
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != image.shape:
            got = f"{getattr(mask, 'dtype', type(mask).__name__)} {getattr(mask, 'shape', '')}"
            raise InputError(
                f"Segmenter '{record.name}' returned {got} for {image.name}. "
                f"Must be a boolean mask {image.shape}."
            )
        return mask

    return call


def _relieved(segment: Segment, image: Volume, prompt: Prompt, previous) -> np.ndarray:
    """One call; where memory runs out, another after the segmenter let go of what it can.

    A segmenter may have a method ``relieve() -> bool`` that forgets what it has encoded or takes
    smaller batches, and says whether that made a difference.
    """
    while True:
        try:
            return segment(image, prompt, previous)
        except (MemoryError, RuntimeError) as error:
            relieve = getattr(segment, "relieve", None)
            if not out_of_memory(error) or relieve is None or not relieve():
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
    kinds = kinds_of(prompt) | {"class"}
    if not kinds & record.prompts:
        raise InputError(
            f"Segmenter '{record.name}' takes {_either(record.prompts)}; the prompt for "
            f"'{prompt.structure}' holds {_either(kinds - {'class'}) or 'nothing'}."
        )
    if (
        "negative_click" in kinds
        and "click" in record.prompts - {"negative_click"}
        and ("negative_click" not in record.prompts)
    ):
        raise InputError(f"Segmenter '{record.name}' takes no negative clicks.")
    if record.structures and prompt.structure not in record.structures:
        raise unknown_name(f"structure for '{record.name}'", prompt.structure, record.structures)


def kinds_of(prompt: Prompt) -> set[str]:
    """Kinds of prompt that `prompt` holds, of those of `KINDS` but class."""
    kinds = {"click" if c.positive else "negative_click" for c in prompt.clicks}
    kinds |= {"slice_click"} if prompt.first_clicks else set()
    kinds |= {"scribble"} if prompt.scribble else set()
    kinds |= {"box"} if prompt.box is not None else set()
    kinds |= {"slice_box"} if prompt.boxes else set()
    return kinds | ({"text"} if prompt.text else set())


def identity(segmenter: Segmenter) -> dict:
    """What a segmenter's predictions depend on: version, settings, source file, weight hashes.

    Weights by their published hash, else the one recorded at first use, else ``""``.
    """
    from hashlib import sha256

    from umdlib.weights import reading as weights

    load = segmenter.load
    while isinstance(load, functools.partial):
        load = load.func
    load = inspect.unwrap(load)
    try:
        file = Path(inspect.getsourcefile(load) or "")
        # a cell of a notebook has no file, but its text
        text = file.read_bytes() if file.is_file() else inspect.getsource(load).encode()
        source = sha256(text).hexdigest()
    except (TypeError, OSError):
        source = ""
    return {
        "version": segmenter.version,
        "settings": {k: str(v) for k, v in segmenter.settings.items()},
        "source": source,
        "weights": {_within(w.file): weights.known_hash(w) or "" for w in segmenter.weights},
    }


def _within(file: str) -> str:
    """A weight file by a name that does not depend on where a training of one's own lies."""
    return "/".join(Path(file).parts[-2:]) if Path(file).is_absolute() else file


def table(device: str = "cpu") -> pd.DataFrame:
    """One row per segmenter: name, title, prompts, weights, state, reason."""
    rows = []
    for name in names():
        record = get(name)
        state = availability(record, device)
        rows.append(
            {
                "name": name,
                "title": record.title,
                "prompts": ", ".join(sorted(record.prompts)),
                "weights": ", ".join(w.file for w in record.weights) or "none needed",
                "state": "ready" if state.ok else "unavailable",
                "reason": state.reason,
                "summary": record.summary,
            }
        )
    return pd.DataFrame(rows)


def _record(path: str) -> Segmenter:
    """The record at ``module:attribute`` or ``file.py:attribute``."""
    module_name, _, attribute = path.rpartition(":")
    if module_name.endswith(".py"):
        module = _module_from_file(Path(module_name))
    else:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
        with _told(path):
            module = importlib.import_module(module_name)
    record = getattr(module, attribute, None)
    if not isinstance(record, Segmenter):
        known = [k for k, v in vars(module).items() if isinstance(v, Segmenter)]
        raise unknown_name(f"segmenter record in '{module_name}'", attribute, known)
    return record


def _module_from_file(path: Path):
    """Module of a Python file, by its own path, imported once."""
    if not path.is_file():
        raise InputError(f"File {path} does not exist. It should hold a segmenter's record.")
    name = f"umdlib_user_{path.stem}"
    if name in sys.modules and sys.modules[name].__file__ == str(path.resolve()):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    module = importlib.util.module_from_spec(spec)
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)  # what lies beside the file can be imported by it
    sys.modules[name] = module
    try:
        with _told(str(path)):
            spec.loader.exec_module(module)
    except InputError:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Whatever the import of a user's code raises, as one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f" ({Path(where.filename).name}, line {where.lineno})"
        raise InputError(
            f"Cannot import '{path}' for a segmenter: {type(error).__name__}: {error}{line}."
        ) from None


def _device(device: str) -> Availability:
    """Whether a device is here; torch is imported only where a GPU is asked for."""
    if device == "cpu":
        return Availability(True, "ready")
    if not device.startswith("cuda"):
        return Availability(False, f"Unknown device '{device}'. Known: cpu, cuda, cuda:N.")
    if importlib.util.find_spec("torch") is None:
        return Availability(False, f"Device '{device}' needs torch.")
    import torch

    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        return Availability(False, f"Device '{device}' is not here: torch sees {count} GPUs.")
    return Availability(True, "ready")


def _either(kinds: set[str] | frozenset[str]) -> str:
    """Kinds in words."""
    return " or ".join(sorted(kinds)).replace("_", " ")
