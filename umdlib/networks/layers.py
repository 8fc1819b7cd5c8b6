"""Layers that networks of this project share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """Mean 0, variance 1 over the channels of each voxel: the same in a patch and a whole body."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, I, J, K) normalised."""
        x = x.movedim(1, -1)
        x = functional.layer_norm(x, self.weight.shape, self.weight, self.bias)
        return x.movedim(-1, 1)
