"""The folder of official weight files: where it is, what is in it, and safe loading from it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from umdlib.errors import InputError

if TYPE_CHECKING:
    from umdlib.segmenters.contract import Weights

HASHES = "sha256.json"


def folder() -> Path:
    """The weights folder: `UMD_WEIGHTS`, else ``umdlib/weights`` in the XDG data folder."""
    if os.environ.get("UMD_WEIGHTS"):
        return Path(os.environ["UMD_WEIGHTS"]).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "umdlib" / "weights"


def path_of(item: Weights) -> Path:
    """Where a weight file belongs; a package's own file where `item.package` names one."""
    if item.package:
        import importlib.util

        spec = importlib.util.find_spec(item.package)
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))) / item.file
    return folder() / item.file


def missing(item: Weights, segmenter: str) -> str | None:
    """The sentence that says why a weight file cannot be used, without reading it; None if it can."""
    path = path_of(item)
    if not path.exists():
        return (
            f"Weights {item.file} are not in {folder()}: "
            f"'umdlib weights fetch {segmenter}' or by hand from {item.where}."
        )
    if item.size is not None and path.is_file() and path.stat().st_size != item.size:
        return f"Weights {path} hold {path.stat().st_size} bytes, not {item.size}: truncated?"
    return None


def sha256(path: str | Path) -> str:
    """Hash of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verified(item: Weights, segmenter: str) -> Path:
    """Path of a weight file whose hash is the published one, or the one of its first use.

    A first use without a published hash writes it beside the files (``sha256.json``); every
    later use compares.

    Raises
    ------
    InputError
        The file is missing, of another size, or of another hash.
    """
    if (sentence := missing(item, segmenter)) is not None:
        raise InputError(sentence)
    path = path_of(item)
    actual = sha256(path)
    expected = known_hash(item)
    if expected is None:
        _record(item.file, actual)
    elif expected != actual:
        source = "published" if item.sha256 else "recorded at first use"
        raise InputError(
            f"Weights {path} have sha256 {actual[:12]}…, not {expected[:12]}… ({source}). "
            f"Remove the file and fetch it again, or 'umdlib weights check --accept {item.file}'."
        )
    return path


def known_hash(item: Weights) -> str | None:
    """Published hash of a weight file, else the one recorded at its first use, else None."""
    return item.sha256 or _recorded().get(item.file)


def read_state(path: str | Path) -> dict:
    """Content of a weight file, read without running any code from it.

    Safetensors files, and torch files that hold only tensors and plain containers.

    Raises
    ------
    InputError
        A damaged or truncated file, or a pickle that asks for more (named), with the way to
        convert it.
    """
    import pickle

    import torch

    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "Unsupported" not in text and "GLOBAL" not in text:
            raise InputError(f"Weights {path} are damaged or no torch file: {text[:120]}") from None
        raise InputError(
            f"Weights {path} are refused: {_wanted(text)}. Loading them would run code from the "
            f"file. If you trust its source, convert it once, in an environment you can throw "
            f"away: 'umdlib weights convert {path} {path.with_suffix('.safetensors')}'."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"Weights {path} are damaged or truncated: {str(error)[:160]}") from None


def fill(net, state: dict, name: str) -> None:
    """Load `state` into a network; every key must match in name and shape.

    Raises
    ------
    InputError
        With the fraction that matches and the first keys that do not.
    """
    own = net.state_dict()
    absent = [k for k in own if k not in state]
    foreign = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and tuple(own[k].shape) != tuple(state[k].shape)]
    if absent or foreign or shapes:
        good = len(own) - len(absent) - len(shapes)
        faults = [
            f"{label} {', '.join(map(str, keys[:3]))}{' …' if len(keys) > 3 else ''}"
            for label, keys in (
                ("missing", absent),
                ("foreign", foreign),
                ("of another shape", shapes),
            )
            if keys
        ]
        raise InputError(
            f"Weights {name} are not this network's: {good} of {len(own)} keys match. "
            f"{'; '.join(faults).capitalize()}."
        )
    net.load_state_dict(state, strict=True)


def load_strict(net, item: Weights, segmenter: str, *, inner: tuple[str, ...] = ()) -> None:
    """Fill a network from a verified weight file.

    `inner` names the keys under which the tensors may lie (``model_state_dict``), first found.
    """
    state = read_state(verified(item, segmenter))
    for key in inner:
        if isinstance(state, dict) and key in state:
            state = state[key]
            break
    fill(net, state, item.file)


def _read_safetensors(path: Path) -> dict:
    """Tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"Weights {path} are damaged or truncated: {error}") from None


def _wanted(text: str) -> str:
    """What a refused pickle asks for, in words."""
    import re

    found = re.search(r"GLOBAL ([\w.]+)", text)
    return (
        f"the pickle asks for {found.group(1)}"
        if found
        else "the pickle asks for more than tensors"
    )


def _recorded() -> dict[str, str]:
    """Hashes by file name, as recorded at first use."""
    path = folder() / HASHES
    if not path.is_file():
        return {}
    try:
        return {k: v["sha256"] for k, v in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"File {path} is no table of hashes. Remove it to record them anew."
        ) from None


def _record(file: str, digest: str) -> None:
    """Add a hash to the folder's table, atomically."""
    path = folder() / HASHES
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content[file] = {"sha256": digest, "first_used": time.strftime("%Y-%m-%d")}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    os.replace(part, path)
