"""ClickNet: the project's own promptable 3D network, with weights that the package ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from umdlib.images.grids import Grid, isotropic_ras
from umdlib.images.volume import Volume
from umdlib.networks.inputs import IN_CHANNELS, SPACING_MM, both_on_grid, on_grid
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.preparation.carded import loader, user_network
from umdlib.segmenters.preparation.working_grid import prompted, restored
from umdlib.weights import card

_WINDOW = 32  # voxels: the edge of a training patch
_GROW = 16  # voxels by which a window first grows where the mask reaches its face; it doubles
_ALIGN = 8  # windows start and end at multiples of this


class ClickNet:
    """The network with the last image that it has encoded.

    The encoder sees the whole image at once. The decoder sees a window of 256 mm around all
    clicks, with the previous mask in it; where the mask reaches a face of the window, the window
    grows on that side, by half of itself and then twice as much each time, until the mask ends
    inside it or the image does.

    A network of two images sees the partner too; without one, its channels are blank.
    """

    def __init__(self, net, device: str, *, name: str) -> None:
        import torch

        # channels last, as it was trained: convolutions on a CPU are a third faster
        self._net = network.quick(net.to(device, memory_format=torch.channels_last_3d)).eval()
        self._device, self._name = device, name
        self._both = net.encoder.stem.in_channels > IN_CHANNELS
        self._data: tuple[np.ndarray, np.ndarray | None] | None = None
        self._known = None
        self._grid: Grid | None = None

    def __call__(
        self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None, partner: Volume | None = None
    ) -> np.ndarray:
        """Boolean mask (I, J, K); positive clicks are needed, negative ones are taken."""
        grid = self._encoded(image, partner)
        given, before = prompted(prompt, previous, image, grid)
        return restored(*self._decoded(given, before, image.name), grid, image)

    def _encoded(self, image: Volume, partner: Volume | None) -> Grid:
        """Encode an image and its partner unless they are the last ones; the working grid, padded."""
        import torch

        given = (image.data, None if partner is None else partner.data)
        if self._data is None or self._data[0] is not given[0] or self._data[1] is not given[1]:
            self._grid = padded_grid(image)
            seen = both_on_grid(image, partner, self._grid) if self._both else on_grid(image, self._grid)
            seen = torch.from_numpy(seen)[None].to(self._device)
            with torch.inference_mode():
                self._known = self._net.encode(seen)
            self._data = given
        return self._grid

    def _decoded(self, given: np.ndarray, before: np.ndarray, image: str):
        """Logits in the last window, and its first voxel."""
        import torch

        shape = np.array(self._grid.shape)
        low, high, grow = *window(given[:, :3], shape), _GROW
        if (marked := np.argwhere(before)).size:
            first, last = aligned(marked.min(axis=0) - 1, marked.max(axis=0) + 2, shape)
            low, high = np.minimum(low, first), np.maximum(high, last)
        while True:
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            inside = given - np.array([*low, 0], np.float32)
            with torch.inference_mode():
                logits = self._net.decode(
                    self._known.part(box),
                    [torch.from_numpy(inside).to(self._device)],
                    torch.from_numpy(before[box])[None, None].to(self._device),
                )
            network.finite(logits, self._name, image)
            found = logits[0, 0].cpu().numpy()
            wider = grown(found > 0, low, high, shape, grow)
            if wider is None:
                return found, low
            (low, high), grow = wider, 2 * grow


def padded_grid(image: Volume) -> Grid:
    """The working grid of an image: isotropic, and of a size that can be halved three times."""
    grid = isotropic_ras(image, SPACING_MM)
    return Grid(tuple(-(-n // _ALIGN) * _ALIGN for n in grid.shape), grid.affine)


def window(points: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last-but-one voxel of the window around points (N, 3), aligned, in the grid.

    Examples
    --------
    >>> low, high = window(np.array([[30, 3, 60]]), np.array([80, 56, 160]))
    >>> low.tolist(), high.tolist()
    ([8, 0, 40], [48, 24, 80])
    """
    return aligned(points.min(axis=0) - _WINDOW // 2, points.max(axis=0) + _WINDOW // 2, shape)


def aligned(low: np.ndarray, high: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest aligned box around [low, high), within the grid."""
    low, high = low // _ALIGN * _ALIGN, -(-high // _ALIGN) * _ALIGN
    return np.maximum(low, 0).astype(int), np.minimum(high, shape).astype(int)


def grown(
    mask: np.ndarray, low: np.ndarray, high: np.ndarray, shape: np.ndarray, by: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The window, wider by so many voxels where the mask reaches a face of it that is not the image's.

    None where it reaches none.
    """
    low, high, more = low.copy(), high.copy(), False
    for axis in range(3):
        planes = np.moveaxis(mask, axis, 0)
        if low[axis] > 0 and planes[0].any():
            low[axis], more = max(low[axis] - by, 0), True
        if high[axis] < shape[axis] and planes[-1].any():
            high[axis], more = min(high[axis] + by, shape[axis]), True
    return (low, high) if more else None


def tiny(channels: int = IN_CHANNELS) -> Segment:
    """A network of a few thousand random parameters."""
    from umdlib.networks.build import build

    with network.seeded(0):
        net = build({"widths": (4, 8, 8, 8), "heads": 2, "depth": 4, "channels": channels})
        return ClickNet(net, "cpu", name="tiny ClickNet")


TITLES = {
    "structural": "ClickNet, trained on CT and MR",
    "pet": "ClickNet, trained on PET",
    "both": "ClickNet, trained on CT, MR and PET",
    "pair": "ClickNet, sees both images at once",
    "balanced_structural": "ClickNet, trained on CT and MR, equal exposure",
    "balanced_pet": "ClickNet, trained on PET, equal exposure",
    "balanced_both": "ClickNet, trained on CT, MR and PET, equal exposure",
}


def _record(
    name: str, title: str, modalities: Sequence[str], item: Weights, folder: Path = card.FOLDER
) -> Segmenter:
    """Record of one trained network; one of two images wants both."""
    known = Path(item.file).stem
    made = card.read(known, folder=folder).architecture if known in card.names(folder=folder) else {}
    both = made.get("channels", IN_CHANNELS) > IN_CHANNELS
    return Segmenter(
        name=name,
        title=title,
        summary="A small click-conditioned 3D U-Net that this project trained on synthetic bodies.",
        load=loader(known, ClickNet, folder),
        prompts=frozenset({"click", "negative_click"}),
        version="2",
        settings={"spacing_mm": SPACING_MM, "window": _WINDOW, "grow": _GROW},
        packages=("torch", "safetensors"),
        extra="models",
        weights=(item,),
        modalities=tuple(modalities),
        paper="this book; encoder, prompt and mask decoder as in arXiv:2310.15161, training as in "
        "arXiv:2603.11627",
        code_licence="Apache-2.0",
        trained_on=f"synthetic bodies of this project, {', '.join(modalities)} only; see its card",
        native="the same: clicks in order, the previous mask fed back",
        grid="8 mm, RAS; the encoder sees the whole image, the decoder 256 mm around the clicks and "
        "more where the mask goes on",
        tiny=partial(tiny, 2 * IN_CHANNELS) if both else tiny,
        **({"partner": tuple(modalities)} if both else {}),
    )


def trained(path: str | Path) -> Segmenter:
    """Record of a network that ``umdlib train promptable`` made.

    On the command line ``clicknet:FOLDER/NAME.json``.

    Parameters
    ----------
    path
        Its card; weights and loss curve lie beside it.

    Raises
    ------
    InputError
        As `umdlib.weights.card.user_network` does.
    """
    return user_network(path, "clicknet", "ClickNet", _record)


def _released(trained_on: str, modalities: tuple[str, ...]) -> Segmenter:
    """Record of a network that the package ships."""
    name = f"clicknet_{trained_on}"
    return _record(name, TITLES[trained_on], modalities, card.item(name))


CLICKNET_STRUCTURAL = _released("structural", ("CT", "MR"))
CLICKNET_PET = _released("pet", ("PET",))
CLICKNET_BOTH = _released("both", ("CT", "MR", "PET"))
# The same three with as many steps for each kind of image, not for all kinds together.
CLICKNET_BALANCED_STRUCTURAL = _released("balanced_structural", ("CT", "MR"))
CLICKNET_BALANCED_PET = _released("balanced_pet", ("PET",))
CLICKNET_BALANCED_BOTH = _released("balanced_both", ("CT", "MR", "PET"))

CLICKNET_PAIR = _released("pair", ("CT", "MR", "PET"))
# Its features of one image, so that the same weights can be used with and without the other.
CLICKNET_PAIR_ALONE = replace(
    CLICKNET_PAIR,
    name="clicknet_pair_alone",
    title="ClickNet, sees both images at once, given one",
    summary="The network that sees both images at once; the image that it is not asked about is left blank.",
    partner=(),
)
