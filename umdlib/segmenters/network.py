"""What every network adapter needs: a check of its output, a seed for random twins."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from umdlib.errors import InputError


def finite(output, name: str, image: str):
    """A network's output tensor, refused where it holds NaN or infinity.

    Compared with 0.5 a NaN is False: without this check a broken file gives a silent empty mask.
    """
    bad = int((~output.isfinite()).sum())
    if bad:
        raise InputError(
            f"Segmenter '{name}' returned {bad} NaN or infinite values for {image}. "
            f"Its weights or the image's intensities are not what it expects."
        )
    return output


def guard(net, name: str):
    """`net`, whose every output is checked by `finite`: for networks that a package calls itself."""

    def check(module, given, output) -> None:
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            finite(tensor, name, "the image")

    net.register_forward_hook(check)
    return net


def numpy_mask(tensor) -> np.ndarray:
    """A boolean tensor as an array in memory."""
    return tensor.detach().cpu().numpy().astype(bool)


@contextmanager
def seeded(seed: int):
    """Torch's generator at `seed` inside, as it was before outside: for random twins."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
