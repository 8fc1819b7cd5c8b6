"""What every network adapter needs: a check of its output, a seed for random twins."""

from __future__ import annotations

import functools
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


def quick(net):
    """`net`, whose 3D convolutions on a CPU go to oneDNN whatever their size.

    Torch takes its own, ten times slower way for one image whose channels × I × J are below
    20,480 (`ConvParams::use_mkldnn` counts no third axis). The sums are the same, to rounding;
    state, training and other devices stay as they are.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return net
    for module in net.modules():
        if type(module) is torch.nn.Conv3d and module.padding_mode == "zeros":
            module.__class__ = _quick_convolution()
    return net


@functools.cache
def _quick_convolution():
    """Class of such a convolution; torch is imported when the first network is."""
    import torch

    class QuickConv3d(torch.nn.Conv3d):
        """A 3D convolution that calls oneDNN directly."""

        def _conv_forward(self, x, weight, bias):
            given = (self.padding, self.stride, self.dilation, self.groups)
            plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
            batch = x.dim() == 5 and not isinstance(self.padding, str)
            if plain and batch and not torch.is_grad_enabled():
                return torch.mkldnn_convolution(x, weight, bias, *given)
            return super()._conv_forward(x, weight, bias)

    return QuickConv3d


@contextmanager
def seeded(seed: int):
    """Torch's generator at `seed` inside, as it was before outside: for random twins."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def numpy_seeded(seed: int):
    """Set NumPy's global generator to `seed` inside and restore it after: for packages that draw from it."""
    before = np.random.get_state()  # noqa: NPY002 - the generator that the package draws from
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
