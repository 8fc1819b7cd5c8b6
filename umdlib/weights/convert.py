"""An unpickler that runs no code: tensors and plain values of a torch file, the rest as None."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

from umdlib.errors import InputError
from umdlib.files import replaced

_DTYPES: dict[str, str] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_INNER = ("model_state_dict", "state_dict", "network_weights")


class Unknown:
    """Stands for whatever a pickle asks for beyond tensors: takes anything, does nothing."""

    def __new__(cls, *args, **kwargs):  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *args, **kwargs) -> None:
        pass

    def _nothing(self, *args, **kwargs) -> None:
        """Ignore the call."""

    __setstate__ = __setitem__ = __call__ = append = extend = add = update = _nothing


class _Unpickler(pickle.Unpickler):
    """Finds dictionaries and tensors; everything else is `Unknown`."""

    def __init__(self, stream, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda data, *rest: data
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return name
        return Unknown

    def persistent_load(self, pid: tuple) -> Any:
        import torch

        kind, storage, key, *_ = pid
        if kind != "storage" or storage not in _DTYPES:
            return Unknown()
        content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
        dtype = getattr(torch, _DTYPES[storage])
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def read_inert(path: str | Path) -> Any:
    """Content of a torch file (zip format), with anything but tensors and plain values as None."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            with archive.open(name) as stream:
                return plain(_Unpickler(stream, archive, name.removesuffix("/data.pkl")).load())
    except OSError as error:
        raise InputError(f"File {path} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, StopIteration, EOFError, KeyError) as error:
        raise InputError(f"File {path} is not a torch file in zip format: {error}.") from None
    except (pickle.UnpicklingError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"File {path} is damaged: {error}.") from None


def plain(value: Any) -> Any:
    """Tensors, numbers, texts and containers of them; anything else is None.

    Examples
    --------
    >>> plain({"a": [1, Unknown()], "b": "text"})
    {'a': [1, None], 'b': 'text'}
    """
    import torch

    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if isinstance(k, (str, int))}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    kept = (torch.Tensor, str, bool, int, float)
    return value if isinstance(value, kept) else None


def convert(source: str | Path, target: str | Path) -> str:
    """`umdlib weights convert SOURCE TARGET`: a file that loads restricted; no code is run.

    A target that ends in ``.safetensors`` gets the tensors of `model_state_dict`, `state_dict`,
    `network_weights` or the file itself. One that ends in ``.pth`` or ``.bin`` keeps plain values
    beside them, as nnU-Net's and nnInteractive's checkpoints need.

    Raises
    ------
    InputError
        The source cannot be read or holds no tensors, the target ends otherwise or cannot be written.
    """
    import torch

    source, target = Path(source), Path(target)
    content = read_inert(source)
    if target.suffix in (".pth", ".bin"):
        with replaced(target) as part:
            torch.save(content, part)
        return f"Tensors and plain values of {source} are in {target}."
    if target.suffix != ".safetensors":
        raise InputError(f"Target {target} must end in .safetensors, .pth or .bin.")
    from safetensors.torch import save_file

    inner = next((content[k] for k in _INNER if isinstance(content, dict) and k in content), content)
    tensors = {k: v.clone() for k, v in dict(inner or {}).items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise InputError(f"File {source} holds no tensors.")
    with replaced(target) as part:
        save_file(tensors, part)
    return f"{len(tensors)} tensors of {source} are in {target}."


def _tensor(storage, offset: int, size: tuple, stride: tuple, *rest) -> Any:
    """A tensor from its storage, as a contiguous copy."""
    if isinstance(storage, Unknown):
        return None
    return storage.as_strided(size, stride, offset).clone()
