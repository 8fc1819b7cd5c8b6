"""ClickNet: an image encoder that runs once, and a light mask decoder that runs once per click.

The division of labour is that of SAM and SAM-Med3D (arXiv:2310.15161): image encoder, prompt
encoder, mask decoder with the previous mask fed back. The parts are convolutions, so that the
network has the whole body in view at once and needs no crop, and so that it can be trained on a
CPU. This module imports torch; nothing imports this module before a network is needed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from umdlib.networks.inputs import IN_CHANNELS
from umdlib.networks.layers import ChannelNorm

_MULTIPLE = 8  # voxels along each axis: three halvings
NEAR = 1.5  # voxels, width of the spot that marks a click
REACH = 10.0  # voxels, decay of the map of distances to the clicks


@dataclass(frozen=True)
class Features:
    """Features of one image, for any number of prompts.

    Attributes
    ----------
    fine, coarse
        (1, F, I, J, K) and (1, C, I/2, J/2, K/2).
    fine_key, coarse_key
        Unit vectors per head, (H, D, I, J, K) and (H, D, I/2, J/2, K/2): two places are alike
        where their keys agree.
    """

    fine: Tensor
    coarse: Tensor
    fine_key: Tensor
    coarse_key: Tensor

    def part(self, box: tuple[slice, slice, slice]) -> Features:
        """Features of a box of voxels that starts and ends at multiples of 4."""
        half = tuple(slice(b.start // 2, b.stop // 2) for b in box)
        return Features(
            self.fine[..., *box],
            self.coarse[..., *half],
            self.fine_key[..., *box],
            self.coarse_key[..., *half],
        )


class _Residual(nn.Module):
    """Two 3 × 3 × 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, I, J, K)."""
        return x + self.second(active(self.first(self.norm(x))))


class Encoder(nn.Module):
    """A residual U-Net from 1 to 1/8 of the resolution and back to 1/2; the finest level beside it."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv3d(channels, widths[0], 3, padding=1)
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv3d(a, b, 2, stride=2), _Residual(b), _Residual(b)) for a, b in pairs
        )
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs[1:])
        self.merge = nn.ModuleList(_Residual(a) for a, _ in pairs[1:])
        self.fine = _Residual(widths[0])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Fine (1, F, I, J, K) and coarse (1, C, I/2, J/2, K/2) features."""
        levels = [active(self.stem(image))]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels[-1]
        for skip, up, merge in zip(levels[-2:0:-1], self.up[::-1], self.merge[::-1], strict=True):
            x = merge(skip + doubled(up(x)))
        return self.fine(levels[0]), x


class ClickNet(nn.Module):
    """Clicks and a previous mask to mask logits, on features that are computed once per image.

    Parameters
    ----------
    widths
        Channels at 1, 1/2, 1/4 and 1/8 of the resolution.
    heads, depth
        Number of keys per voxel and their length.
    channels
        Of the input: two for each image that it sees.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (8, 24, 40, 56),
        heads: int = 6,
        depth: int = 8,
        channels: int = IN_CHANNELS,
    ) -> None:
        super().__init__()
        fine, coarse, low = widths[:3]
        self.heads = heads
        self.encoder = Encoder(tuple(widths), channels)
        self.fine_key = nn.Conv3d(fine, 2 * depth, 1)
        self.coarse_key = nn.Conv3d(coarse, heads * depth, 1)
        self.fine_image = nn.Conv3d(fine, fine, 3, padding=1)
        self.coarse_image = nn.Conv3d(coarse, coarse, 3, padding=1)
        # near, far and previous, and the likeness to the clicks of each sign
        self.coarse_prompt = nn.Conv3d(5 + 2 * heads, coarse, 3, padding=1)
        self.fine_prompt = nn.Conv3d(3 + 2 * 2, fine, 3, padding=1)
        self.vector = nn.Sequential(
            nn.Linear(2 * coarse, 2 * coarse), nn.ReLU(), nn.Linear(2 * coarse, 2 * coarse)
        )
        self.middle = _Residual(coarse)
        self.lower = nn.Sequential(nn.Conv3d(coarse, low, 2, stride=2), _Residual(low))
        self.raise_low = nn.Conv3d(low, coarse, 1)
        self.last = _Residual(coarse)
        self.raise_coarse = nn.Conv3d(coarse, fine, 1)
        self.norm = ChannelNorm(fine)
        self.mix = nn.Conv3d(fine, fine, 3, padding=1)
        self.logit = nn.Conv3d(fine, 1, 1)
        self.direct = nn.Conv3d(5 + 2 * heads, 1, 1)
        self._begin()

    def _begin(self) -> None:
        """Begin with what is known of clicks: what is near and alike to a positive one is inside."""
        weights = [
            1.0,
            -3.0,
            1.0,
            5.0,
            -2.0,
            *[1.5 / self.heads] * self.heads,
            *[-0.5 / self.heads] * self.heads,
        ]
        with torch.no_grad():
            self.direct.weight.copy_(torch.tensor(weights).reshape(1, -1, 1, 1, 1))
            self.direct.bias.fill_(-4.0)
            self.logit.weight.mul_(0.1)
            self.logit.bias.zero_()

    def encode(self, image: Tensor) -> Features:
        """Features of one image (1, channels, I, J, K) whose sizes are multiples of `_MULTIPLE`."""
        fine, coarse = self.encoder(image)
        return Features(
            self.fine_image(fine),
            self.coarse_image(coarse),
            keys(self.fine_key(fine), 2),
            keys(self.coarse_key(coarse), self.heads),
        )

    def decode(self, known: Features, clicks: list[Tensor], previous: Tensor) -> Tensor:
        """Logits of one prompt or several.

        Parameters
        ----------
        known
            Of the image.
        clicks
            Per prompt (N, 4): voxel i, j, k and sign (1 positive, 0 negative); at least one
            is positive.
        previous
            (P, 1, I, J, K): the previous masks, 0 or 1; 0 at first.

        Returns
        -------
        Tensor
            (P, 1, I, J, K).
        """
        spots, fine_like, coarse_maps, vectors = [], [], [], []
        for given in clicks:
            near, far, like, alike, vector = self._prompt(known, given)
            spots.append(near)
            fine_like.append(alike)
            coarse_maps.append(torch.cat([far, like]))
            vectors.append(vector)
        fine = torch.cat([torch.stack(spots), previous, torch.stack(fine_like)], 1)
        small = functional.max_pool3d(fine[:, :3], 2)
        coarse = torch.cat([small, torch.stack(coarse_maps)], 1)
        x = known.coarse + self.coarse_prompt(coarse)
        scale, shift = self.vector(torch.stack(vectors))[..., None, None, None].chunk(2, 1)
        x = self.middle(active(x * (1 + scale) + shift))
        x = self.last(x + doubled(self.raise_low(self.lower(x))))
        y = known.fine + self.fine_prompt(fine) + doubled(self.raise_coarse(x))
        y = self.logit(active(self.mix(active(self.norm(y)))))
        return (y + doubled(self.direct(coarse))).float()

    def _prompt(self, known: Features, given: Tensor):
        """Maps and vector of one prompt's clicks."""
        size = known.fine.shape[2:]
        half = known.coarse.shape[2:]
        positive = given[given[:, 3] > 0.5, :3]
        negative = given[given[:, 3] <= 0.5, :3]
        near, far, like, alike, vectors = [], [], [], [], []
        for points in (positive, negative):
            if not len(points):
                near.append(known.fine.new_zeros(size))
                far.append(known.fine.new_zeros(half))
                like.append(known.fine.new_zeros((self.heads, *half)))
                alike.append(known.fine.new_zeros((2, *size)))
                vectors.append(known.coarse.new_zeros(known.coarse.shape[1]))
                continue
            # the coarse voxel that holds a fine one covers two of them along each axis
            near.append(_falloff(points, size, NEAR, 2))
            far.append(_falloff((points - 0.5) / 2, half, REACH / 2, 1))
            here = (points.round().long() // 2).unbind(1)
            like.append(likeness(known.coarse_key, here))
            alike.append(likeness(known.fine_key, points.round().long().unbind(1)))
            vectors.append(known.coarse[0][:, here[0], here[1], here[2]].mean(1))
        stack = torch.stack
        return stack(near), stack(far), torch.cat(like), torch.cat(alike), torch.cat(vectors)


def beside_blank(state: dict[str, Tensor], blank: float) -> dict[str, Tensor]:
    """Weights of a network of one image for one of two: on either image beside a blank one it gives the same mask.

    Both images enter as the one did; what a blank image adds, the bias takes away (at the border of the
    input, where the convolution sees zeros, nearly).
    """
    weight, bias = state["encoder.stem.weight"], state["encoder.stem.bias"]
    doubled_weight = torch.cat([weight, weight], dim=1)
    return state | {
        "encoder.stem.weight": doubled_weight,
        "encoder.stem.bias": bias - blank * weight.sum(dim=(1, 2, 3, 4)),
    }


def active(x: Tensor) -> Tensor:
    """The non-linearity: one that cannot die in a short training."""
    return functional.leaky_relu(x, 0.1)


def doubled(x: Tensor) -> Tensor:
    """Twice the resolution, linearly."""
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def keys(x: Tensor, heads: int) -> Tensor:
    """(1, H · D, I, J, K) as unit vectors (H, D, I, J, K)."""
    return functional.normalize(x[0].unflatten(0, (heads, -1)).float(), dim=1)


def likeness(key: Tensor, places: tuple[Tensor, ...]) -> Tensor:
    """(H, I, J, K): the best cosine of each voxel's keys with those at the places given."""
    i, j, k = places
    at_clicks = key[:, :, i, j, k]
    return torch.einsum("hdijk,hdn->hnijk", key, at_clicks).amax(1)


def _falloff(points: Tensor, size: tuple[int, ...], width: float, power: int) -> Tensor:
    """(I, J, K): exp(-(d / width)^power) of the distance d to the nearest of points (N, 3)."""
    squared = torch.zeros((len(points), *size), dtype=torch.float32, device=points.device)
    for axis, n in enumerate(size):
        line = torch.arange(n, device=points.device, dtype=torch.float32)
        shape = [1, 1, 1, 1]
        shape[0], shape[axis + 1] = len(points), n
        squared = squared + ((line[None] - points[:, axis, None].float()) ** 2).reshape(shape)
    nearest = squared.amin(0)
    return torch.exp(-nearest / width**2 if power == 2 else -nearest.sqrt() / width)
