"""The worker's side of the file contract: jobs in, masks on the image's grid and a log out.

Runs inside a foreign environment (Python 3.10, numpy, nibabel, torch); see `umdlib.segmenters.external.worker`
for the other side.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np


def serve(answer: Callable[[dict, Path], dict]) -> None:
    """Read paths of job files from standard input, one a line, and answer each.

    What the official code prints goes to standard error, the log; standard output carries one
    word per job: ``done`` or ``failed``.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        file = Path(line.strip())
        try:
            job = json.loads(file.read_text("utf-8"))
            started = time.monotonic()
            log = {"commit": job["commit"], "device": job["device"], "versions": versions()}
            log |= answer(job, file.parent)
            log |= {"seconds": time.monotonic() - started, "peak_bytes": peak_bytes(job["device"])}
            (file.parent / "log.json").write_text(json.dumps(log, indent=1), "utf-8")
            word = "done"
        except Exception:
            traceback.print_exc()
            word = "failed"
        print(word, file=replies, flush=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    names = ("torch", "monai", "transformers", "numpy", "nibabel", "positional_encodings", "hydra-core")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_bytes(device: str) -> int:
    """Most memory held so far: of the GPU where there is one, else of the process."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    return int(torch.cuda.max_memory_allocated())


def without_gpu() -> None:
    """Make ``.cuda()`` and its kin do nothing, for official code that knows no CPU.

    Only calls that move data or choose a device are replaced; none computes anything.
    """
    import torch

    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self
    torch.cuda.set_device = lambda device: None
    torch.cuda.current_device = lambda: "cpu"
    torch.cuda.empty_cache = lambda: None


def sha256(path: str) -> str:
    """Hash of a file, in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_checkpoint(given: dict) -> dict:
    """Content of a checkpoint, read without running any code from it.

    One that the other side has vetted is read without restriction: the torch of this environment
    may know no numbers of NumPy in a restricted file.
    """
    import torch

    if given.get("vetted") and sha256(given["path"]) != given["sha256"]:
        raise RuntimeError(f"{given['path']} was changed since it was checked. Give the command again.")
    return torch.load(given["path"], map_location="cpu", weights_only=not given.get("vetted"))


def only_gpu(device: str):
    """The worker's device: the one GPU that it sees, or the CPU."""
    import torch

    if device == "cpu":
        return torch.device("cpu")
    major, minor = torch.cuda.get_device_capability(0)
    built = [int(a[3:]) for a in torch.cuda.get_arch_list() if a[3:].isdigit()]
    if built and 10 * major + minor > max(built) and major > max(built) // 10:
        raise RuntimeError(
            f"torch {torch.__version__} of this environment has no kernels for this GPU (sm_{major}{minor}; "
            f"it has {', '.join(torch.cuda.get_arch_list())}). Take an older GPU or the CPU."
        )
    return torch.device("cuda")


def no_nan(module, inputs, output) -> None:
    """A forward hook: NaN is refused (the official threshold would make it an empty mask)."""
    import torch

    parts = output if isinstance(output, (list, tuple)) else [output]
    if any(bool(torch.isnan(p).any()) for p in parts if torch.is_tensor(p)):
        raise RuntimeError("the network answered NaN")


def fill(net, state: dict, prefixes: Iterable[str] = ("",)) -> float:
    """Load `state` into a network if every key matches; returns the fraction that does.

    Parameters
    ----------
    net
        A torch module.
    state
        Tensors by name.
    prefixes
        What may stand before every name in the file; the one that matches best is cut off.

    Raises
    ------
    RuntimeError
        Not all keys match in name and shape, with the first that do not.
    """
    own = net.state_dict()
    states = [{k.removeprefix(p): v for k, v in state.items()} for p in prefixes]
    best = max(states, key=lambda s: _matching(own, s))
    good, every = _matching(own, best), len(own.keys() | best.keys())
    if good != every:
        absent = [k for k in own if k not in best][:3]
        foreign = [k for k in best if k not in own][:3]
        shapes = [k for k in own if k in best and own[k].shape != best[k].shape][:3]
        raise RuntimeError(
            f"matched fraction {good / every:.3f} ({good} of {every} keys), must be 1. "
            f"Missing: {absent}. Foreign: {foreign}. Of another shape: {shapes}."
        )
    net.load_state_dict(best, strict=True)
    return good / every


def write_mask(path: Path, mask: np.ndarray, image) -> None:
    """A boolean array (I, J, K) as uint8 on the grid of a nibabel image."""
    import nibabel as nib

    if mask.shape != image.shape[:3]:
        raise RuntimeError(f"mask {mask.shape} for an image of {image.shape}")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), path)


def onto_grid(
    mask: np.ndarray, affine: np.ndarray, to_affine: np.ndarray, to_shape: tuple[int, int, int]
) -> np.ndarray:
    """A boolean mask on another grid: at each of its voxels the nearest one, False outside.

    `mask` is (A, B, C) on `affine` (4, 4), voxel to world; the result is `to_shape` on `to_affine`.
    """
    matrix = np.linalg.inv(affine) @ to_affine
    out = np.zeros(to_shape, bool)
    j, k = np.meshgrid(*(np.arange(n) for n in to_shape[1:]), indexing="ij")
    for i in range(to_shape[0]):
        index = [matrix[a, 0] * i + matrix[a, 1] * j + matrix[a, 2] * k + matrix[a, 3] for a in range(3)]
        nearest = [np.floor(v + 0.5).astype(np.int64) for v in index]
        valid = np.logical_and.reduce([(n >= 0) & (n < s) for n, s in zip(nearest, mask.shape, strict=True)])
        out[i][valid] = mask[tuple(n[valid] for n in nearest)]
    return out


def _matching(own: dict, state: dict) -> int:
    """Number of keys that match in name and shape."""
    return sum(k in state and state[k].shape == v.shape for k, v in own.items())
