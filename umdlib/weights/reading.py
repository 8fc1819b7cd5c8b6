"""The folder of official weight files: where it is, what is in it, and safe loading from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced

if TYPE_CHECKING:
    from umdlib.weights.record import Weights

_HASHES = "sha256.json"


def folder() -> Path:
    """The weights folder: `UMD_WEIGHTS`, else ``umdlib/weights`` in the XDG data folder."""
    if os.environ.get("UMD_WEIGHTS"):
        return Path(os.environ["UMD_WEIGHTS"]).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "umdlib" / "weights"


def shown(path: Path) -> str:
    """A path for a page or a message, with the home folder as ``~``."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def path_of(item: Weights) -> Path:
    """Where a weight file belongs; a package's own file where `item.package` names one.

    A file of the same name that ends in ``.safetensors`` (`umdlib weights convert`) takes its place.
    """
    if item.package:
        import importlib.util

        spec = importlib.util.find_spec(item.package)
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))) / item.file
    given = folder() / item.file
    converted = given.with_suffix(".safetensors")
    return converted if converted.is_file() else given


def converted(item: Weights) -> bool:
    """Whether a weight file is here as what `umdlib weights convert` made of it."""
    path = path_of(item)
    return path.suffix == ".safetensors" and path.suffix != Path(item.file).suffix


def as_published(item: Weights, segmenter: str) -> Path:
    """`verified`, of a system that reads its published file and no safetensors file.

    Raises
    ------
    InputError
        As `verified`; a converted file lies in its place, with the way to one that is read.
    """
    path = verified(item, segmenter)
    if converted(item):
        raise InputError(
            f"Weights {path}: '{segmenter}' reads torch files. Remove it, and if the published file "
            f"is refused: 'umdlib weights convert SOURCE {folder() / item.file}', then 'umdlib weights "
            f"check --accept {item.file}' where its hash was recorded."
        )
    return path


def missing(item: Weights, segmenter: str) -> str | None:
    """Why a weight file cannot be used, as a sentence; None if it can. The file is not read."""
    path = path_of(item)
    if not path.exists():
        return (
            f"Weights {item.file} are not in {shown(folder())}: "
            f"'umdlib weights fetch {segmenter}' or by hand from {item.where}."
        )
    whole = item.size is None or converted(item) or not path.is_file()
    if not whole and path.stat().st_size != item.size:
        return f"Weights {path} hold {path.stat().st_size} bytes, not {item.size}: truncated?"
    return None


def sha256(path: str | Path) -> str:
    """Hash of a file, in hexadecimal."""
    return _digest(path, "sha256")


def _digest(path: str | Path, kind: str) -> str:
    """Hash of a kind that `hashlib` knows."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


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
        _check_first(item, path, actual)
        _record(_key(item), actual)
    elif expected != actual:
        source = "recorded at first use" if converted(item) or not item.sha256 else "published"
        raise InputError(
            f"Weights {path} have sha256 {actual[:12]}…, not {expected[:12]}… ({source}). "
            f"Remove the file and fetch it again, or 'umdlib weights check --accept {_key(item)}'."
        )
    return path


def _check_first(item: Weights, path: Path, actual: str) -> None:
    """Refuse a file at its first use that is another system's, or has not its published MD5."""
    if item.md5 and not converted(item) and _digest(path, "md5") != item.md5:
        raise InputError(
            f"Weights {path} do not have the published md5 {item.md5[:12]}…. Remove the file and fetch it again."
        )
    if item.condition is not None or Path(item.file).is_absolute():
        return  # a user's own network may lie in two places
    others = (k for k, v in _recorded().items() if v == actual and not Path(k).is_absolute())
    if (other := next(others, None)) is not None:
        raise InputError(f"Weights {path} are the same file as {other}. Fetch the one that belongs here.")


def known_hash(item: Weights) -> str | None:
    """Published hash of a weight file, else the one recorded at its first use, else None.

    A converted file has no published hash.
    """
    published = None if converted(item) else item.sha256
    return published or _recorded().get(_key(item))


def _key(item: Weights) -> str:
    """Name of a weight file in the table of hashes: a converted one has a hash of its own."""
    return str(Path(item.file).with_suffix(".safetensors")) if converted(item) else item.file


def plain_numbers() -> list:
    """NumPy's scalars, by the names that NumPy 1 and 2 give them in a pickle; they run no code.

    nnU-Net keeps its log of them in a checkpoint, and a learning rate is often one.
    """

    scalar = np._core.multiarray.scalar
    kinds = {type(np.dtype(t)) for t in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
    named = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*named, np.dtype, *kinds]


def vet(path: str | Path) -> None:
    """Refuse a torch file that would run code, as `read_state` does, without holding its tensors."""
    import zipfile

    read_state(path, mmap=zipfile.is_zipfile(path))


def read_state(path: str | Path, *, mmap: bool = False) -> dict:
    """Content of a weight file, read without running any code from it.

    Safetensors files, and torch files that hold only tensors, numbers and plain containers. With
    `mmap` the tensors stay in the file until they are used.

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
        with torch.serialization.safe_globals(plain_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" not in text:
            raise InputError(f"Weights {path} are damaged or no torch file: {text[:120]}") from None
        raise InputError(
            f"Weights {path} are refused: {_wanted(text)}; loading them would run code from the "
            f"file. Keep its tensors alone, which runs nothing: 'umdlib weights convert {path} "
            f"{path.with_suffix('.safetensors')}' (or to a new .pth where the system reads one)."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"Weights {path} are damaged or truncated: {str(error)[:160]}") from None


def fill(net, state: dict, name: str) -> None:
    """Load `state` into a network; every key must match in name and shape, see `unwrapped`.

    Raises
    ------
    InputError
        With the fraction that matches and the first keys that do not.
    """
    own = net.state_dict()
    state = state if own.keys() & state.keys() else unwrapped(state)
    absent = [k for k in own if k not in state]
    foreign = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and tuple(own[k].shape) != tuple(state[k].shape)]
    if absent or foreign or shapes:
        good = len(own) - len(absent) - len(shapes)
        faults = [
            f"{label} {', '.join(map(str, keys[:3]))}{' …' if len(keys) > 3 else ''}"
            for label, keys in (("missing", absent), ("foreign", foreign), ("of another shape", shapes))
            if keys
        ]
        raise InputError(
            f"Weights {name} are not this network's: {good} of {len(own)} keys match. "
            f"{'; '.join(faults).capitalize()}."
        )
    net.load_state_dict(state, strict=True)


def unwrapped(state: dict) -> dict:
    """Tensors by the names that they have without the wrapper that a training put around its network.

    Examples
    --------
    >>> unwrapped({"module.a": 1, "module.b": 2}), unwrapped({"module.a": 1, "b": 2})
    ({'a': 1, 'b': 2}, {'module.a': 1, 'b': 2})
    """
    for wrapper in ("module.", "_orig_mod."):  # of several GPUs, of compilation
        if state and all(str(k).startswith(wrapper) for k in state):
            return unwrapped({k.removeprefix(wrapper): v for k, v in state.items()})
    return state


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
    return f"the pickle asks for {found.group(1)}" if found else "the pickle asks for more than tensors"


def _recorded() -> dict[str, str]:
    """Hashes by file name, as recorded at first use."""
    path = folder() / _HASHES
    if not path.is_file():
        return {}
    try:
        return {k: v["sha256"] for k, v in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"File {path} is not a table of hashes. Remove it to record them anew.") from None


def _record(file: str, digest: str) -> None:
    """Add a hash to the folder's table, atomically."""
    path = folder() / _HASHES
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content[file] = {"sha256": digest, "first_used": time.strftime("%Y-%m-%d")}
    with replaced(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


def download(item: Weights, path: Path, *, timeout_s: float = 60.0) -> None:
    """Fetch a file to `path` from its direct address, else from the Hugging Face Hub.

    A broken download resumes where it stopped. ``HF_ENDPOINT`` and ``HF_TOKEN`` are honoured.

    Raises
    ------
    InputError
        The network, the server or the folder fails.
    """
    source = item.url or f"{item.repo} ({item.remote or item.file}, {item.revision})"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.url:
            _from_url(item.url, path, timeout_s)
        else:
            _from_hub(item, path, timeout_s)
    except OSError as error:  # those of the hub are, too
        raise InputError(
            f"Cannot fetch {source}: {error}. What came so far is kept; the same command resumes."
        ) from None


def _from_hub(item: Weights, path: Path, timeout_s: float) -> None:
    """A file of a repository on the Hugging Face Hub."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError("Fetching weights needs huggingface_hub: pip install 'umdlib[models]'.") from None
    parts = folder() / ".parts" / item.repo.replace("/", "+")
    name = item.remote or item.file
    got = hf_hub_download(item.repo, name, revision=item.revision, local_dir=parts, etag_timeout=timeout_s)
    os.replace(got, path)


def _from_url(url: str, path: Path, timeout_s: float) -> None:
    """A file at an address; what came of it lies in a ``.part`` file beside it."""
    part = path.with_name(path.name + ".part")
    expected = _received(url, part, timeout_s)
    if expected is not None and part.stat().st_size != expected:
        raise InputError(
            f"{url} broke off after {part.stat().st_size} of {expected} bytes. The same command resumes."
        )
    os.replace(part, path)


def _received(url: str, part: Path, timeout_s: float) -> int | None:
    """Append what is missing to `part`; returns the announced size of the whole, None if unsaid."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            resumed = answer.status == 206
            announced = int(answer.headers.get("Content-Length") or 0)
            with open(part, "ab" if resumed else "wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:  # 416: nothing comes after what is here
            raise
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        error.close()
        if total == str(start):
            return start
        part.unlink()  # not a part of this file
        return _received(url, part, timeout_s)
    return announced + (start if resumed else 0) if announced else None


def _forget(file: str) -> None:
    """Remove a recorded hash."""
    path = folder() / _HASHES
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if content.pop(file, None) is None:
        raise unknown_name("recorded weight file", file, content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
