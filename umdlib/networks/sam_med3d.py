"""SAM-Med3D at a size that two CPU cores train: the published architecture with smaller numbers.

SAM-Med3D (arXiv:2310.15161) cuts a cube of 192 mm around the structure into 8³ patches. A
transformer turns these tokens into features, clicks and previous mask become embeddings, two
layers of attention go back and forth between clicks and image, and two transposed convolutions
and a small perceptron make a mask from the tokens, four voxels of it for each token along an axis.
Here the cube is as large, its voxels are 8 mm, and most numbers are smaller:

=====================================  ==============  ==========
\\                                      SAM-Med3D       here
=====================================  ==============  ==========
voxel (mm)                             1.5             8
cube, patch (voxels)                   128³, 16³       24³, 4³
tokens, mask                           8³, 32³         6³, 24³
encoder: channels, layers, heads       768, 12, 12     96, 3, 6
prompt encoder and decoder: channels   384             64
decoder: layers, heads                 2, 8            2, 4
=====================================  ==============  ==========

Left out: the three further masks and the head that predicts their quality, which the published
training does not use, and attention in windows (of 14 tokens, more than there are: there it is
attention to all and to a margin of zeros). Different: places are half sines and half cosines (there
sines, cosines, sines), the image has two channels (there one), and the previous mask comes as 0 and 1
at the cube's voxels, which is what a user can give (there as the decoder's own logits). The blocks are
MONAI's. This module imports torch and MONAI; nothing imports it before a network is needed.

The training (`umdlib.training.promptable`) also differs from the released script of SAM-Med3D: the
cube lies around the first click (there around the structure, with the click anywhere in it), 1 to 20
clicks are drawn and all of them given (there 11, of which by default the newest is given), and the
loss is taken at three of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.networks.blocks import MLPBlock, PatchEmbeddingBlock, SABlock
from monai.networks.nets.vista3d import MLP, PositionEmbeddingRandom, TwoWayTransformer
from torch import Tensor, nn

from umdlib.networks.inputs import IN_CHANNELS
from umdlib.networks.layers import ChannelNorm

PATCH = 4  # voxels along the edge of what becomes one token
DECODER_HEADS, DECODER_DEPTH = 4, 2
_MASK_CHANNELS = 16  # of the previous mask before it becomes an embedding


@dataclass(frozen=True)
class Tokens:
    """Features of N cubes: (N, C, A, A, A), A tokens along each edge."""

    image: Tensor


class _Layer(nn.Module):
    """Attention of all tokens to all, with positions relative to each other, and a perceptron."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SABlock(
            width, heads, qkv_bias=True, rel_pos_embedding="decomposed", input_size=(tokens,) * 3
        )
        self.perceptron = MLPBlock(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, A³, C)."""
        x = x + self.attention(self.first(x))
        return x + self.perceptron(self.second(x))


class SamMed3DSmall(nn.Module):
    """Clicks and a previous mask to mask logits, on the tokens of one cube.

    Parameters
    ----------
    widths
        Channels of the image encoder, and of prompt encoder and mask decoder; the latter a
        multiple of 16.
    heads, depth
        Of the image encoder.
    size
        Edge of the cube in voxels, a multiple of `PATCH`.
    """

    def __init__(
        self, widths: tuple[int, int] = (96, 64), heads: int = 6, depth: int = 3, size: int = 24
    ) -> None:
        super().__init__()
        wide, width = widths
        self.size, self.tokens = size, size // PATCH
        self.patches = PatchEmbeddingBlock(
            IN_CHANNELS, size, PATCH, wide, heads, proj_type="conv", pos_embed_type="learnable"
        )
        self.layers = nn.Sequential(*(_Layer(wide, heads, self.tokens) for _ in range(depth)))
        self.neck = nn.Sequential(
            nn.Conv3d(wide, width, 1, bias=False),
            ChannelNorm(width),
            nn.Conv3d(width, width, 3, padding=1, bias=False),
            ChannelNorm(width),
        )
        self.position = PositionEmbeddingRandom(width // 2)
        self.sign = nn.Embedding(2, width)  # 0 negative, 1 positive
        self.no_click = nn.Embedding(1, width)
        self.mask = nn.Sequential(
            nn.Conv3d(1, _MASK_CHANNELS // 4, 2, stride=2),
            ChannelNorm(_MASK_CHANNELS // 4),
            nn.GELU(),
            nn.Conv3d(_MASK_CHANNELS // 4, _MASK_CHANNELS, 2, stride=2),
            ChannelNorm(_MASK_CHANNELS),
            nn.GELU(),
            nn.Conv3d(_MASK_CHANNELS, width, 1),
        )
        self.mask_token = nn.Embedding(1, width)
        self.transformer = TwoWayTransformer(DECODER_DEPTH, width, DECODER_HEADS, mlp_dim=4 * width)
        self.upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.weigh = MLP(width, width, width // 8, 3)

    def encode(self, image: Tensor) -> Tokens:
        """Tokens of cubes (N, 2, size, size, size)."""
        x = self.layers(self.patches(image))
        x = x.transpose(1, 2).unflatten(2, (self.tokens,) * 3)
        return Tokens(self.neck(x))

    def decode(self, known: Tokens, clicks: Sequence[Tensor], previous: Tensor) -> Tensor:
        """Logits of one prompt or several.

        Parameters
        ----------
        known
            Of one cube, or of as many as there are prompts.
        clicks
            Per prompt (N, 4): voxel i, j, k of the cube and sign (1 positive, 0 negative).
        previous
            (P, 1, size, size, size): the previous masks, 0 or 1; 0 at first.

        Returns
        -------
        Tensor
            (P, 1, size, size, size).
        """
        tokens = self._tokens(clicks)
        image = known.image + self.mask(previous)
        where = self.position((self.tokens,) * 3)[None].to(image.dtype).expand_as(image)
        answered, image = self.transformer(image, where, tokens)
        image = image.transpose(1, 2).unflatten(2, (self.tokens,) * 3)
        return torch.einsum("pc,pcijk->pijk", self.weigh(answered[:, 0]), self.upscaling(image))[
            :, None
        ].float()

    def _tokens(self, clicks: Sequence[Tensor]) -> Tensor:
        """(P, 1 + N + 1, C): the token that becomes the mask, the clicks, and one that is none."""
        most = max(len(c) for c in clicks) + 1
        padded = torch.full((len(clicks), most, 4), -1.0, device=clicks[0].device)
        for row, given in zip(padded, clicks, strict=True):
            row[: len(given)] = given
        signs = padded[..., 3].round().long()
        places = self.position.forward_with_coords(padded[..., :3] + 0.5, (self.size,) * 3)
        known = places + self.sign(signs.clamp(min=0))
        known = torch.where((signs < 0)[..., None], self.no_click.weight, known)
        return torch.cat([self.mask_token.weight.expand(len(clicks), 1, -1), known], 1)
