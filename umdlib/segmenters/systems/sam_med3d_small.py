"""SAM-Med3D at a small size: the project's second promptable network, in the published architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from umdlib.images import geometry
from umdlib.images.grids import Grid, isotropic_ras
from umdlib.images.volume import Volume
from umdlib.networks.inputs import OUTSIDE, SPACING_MM, cut, on_grid
from umdlib.prompts.prompt import Cube, Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.preparation.carded import loader, user_network
from umdlib.segmenters.preparation.working_grid import prompted, restored
from umdlib.weights import card

SIZE = 24  # voxels along the edge of a cube, as `umdlib.networks.sam_med3d` has by default


class SamMed3DSmall:
    """The network with the last image on the working grid and the last cube that it has encoded.

    The cube lies around the first click, as in the training. A later click may lie outside it: then
    the cube lies around the last click, or around the positive click nearest to it where it is
    negative; the clicks inside it are given, and the mask outside it stays as it was.
    """

    def __init__(self, net, device: str, *, name: str) -> None:
        self._net, self._device, self._name = net.to(device).eval(), device, name
        self._data: np.ndarray | None = None
        self._pair: np.ndarray | None = None
        self._grid: Grid | None = None
        self._known: tuple[tuple[int, ...], object] | None = None

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K); positive clicks are needed, negative ones are taken."""
        import torch

        grid = self._on_grid(image)
        given, before = prompted(prompt, previous, image, grid)
        size = self._net.size
        low, inside = cube(given, size)
        with torch.inference_mode():
            logits = self._net.decode(
                self._encoded(low),
                [torch.from_numpy(inside - np.array([*low, 0], np.float32)).to(self._device)],
                torch.from_numpy(cut(before, low, size, 0.0))[None, None].to(self._device),
            )
        network.finite(logits, self._name, image.name)
        mask = restored(logits[0, 0].cpu().numpy(), low, grid, image)
        mask ^= beyond(mask, image, grid, low, size)
        if previous is not None:
            mask |= beyond(previous, image, grid, low, size)
        return mask

    def _on_grid(self, image: Volume) -> Grid:
        """The working grid of an image, whose channels are kept until another image comes."""
        if self._data is not image.data:
            self._grid = isotropic_ras(image, SPACING_MM)
            self._pair, self._known = on_grid(image, self._grid), None
            self._data = image.data
        return self._grid

    def _encoded(self, low: np.ndarray):
        """Tokens of the cube from a voxel on; the last cube is kept."""
        import torch

        key = tuple(map(int, low))
        if self._known is None or self._known[0] != key:
            part = cut(self._pair, low, self._net.size, OUTSIDE)
            self._known = key, self._net.encode(torch.from_numpy(part)[None].to(self._device))
        return self._known[1]


def cube(clicks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First voxel of the cube for clicks (N, 4), at least one positive, and the clicks in it.

    Examples
    --------
    >>> low, inside = cube(np.array([[50, 50, 50, 1], [55, 50, 50, 0]]), 24)
    >>> low.tolist(), len(inside)
    ([38, 38, 38], 2)
    >>> low, inside = cube(np.array([[50, 50, 50, 1], [70, 50, 50, 1]]), 24)
    >>> low.tolist(), inside.tolist()
    ([58, 38, 38], [[70, 50, 50, 1]])
    >>> low, inside = cube(np.array([[50, 50, 50, 1], [70, 50, 50, 1], [75, 50, 50, 0]]), 24)
    >>> low.tolist(), inside.tolist()
    ([58, 38, 38], [[70, 50, 50, 1], [75, 50, 50, 0]])
    """
    positive = clicks[clicks[:, 3] > 0.5]
    away = np.abs(positive[:, :3] - clicks[-1, :3]).max(axis=1)
    for middle in (positive[0], positive[np.argmin(away)]):
        low = middle[:3].astype(int) - size // 2
        within = ((clicks[:, :3] >= low) & (clicks[:, :3] < low + size)).all(axis=1)
        if within.all():
            break
    return low, clicks[within]


def beyond(mask: np.ndarray, image: Volume, grid: Grid, low: np.ndarray, size: int) -> np.ndarray:
    """The part of a mask on the image's grid that lies outside a cube of the working grid."""
    voxels = np.argwhere(mask)
    ijk = geometry.to_voxel(grid.affine, geometry.to_world(image.affine, voxels))
    out = ((ijk < low - 0.5) | (ijk >= low + size - 0.5)).any(axis=1)
    rest = np.zeros(image.shape, bool)
    rest[tuple(voxels[out].T)] = True
    return rest


def _reach(image: Volume, prompt: Prompt, wanted: np.ndarray) -> np.ndarray:
    """Boolean (I, J, K): voxels in a cube of the first clicks or of those up to any later one."""
    grid = isotropic_ras(image, SPACING_MM)
    given, _ = prompted(prompt, None, image, grid)
    seen = np.zeros(image.shape, bool)
    for count in range(1, len(given) + 1):
        if given[:count, 3].max() > 0.5:
            low, _ = cube(given[:count], SIZE)
            centre = geometry.to_world(grid.affine, low + (SIZE - 1) / 2)
            seen[Cube(SIZE * SPACING_MM, tuple(centre)).voxels(image.affine, image.shape)] = True
    return seen


def tiny() -> Segment:
    """A network of a few thousand random parameters."""
    from umdlib.networks.sam_med3d import SamMed3DSmall as Net

    with network.seeded(0):
        return SamMed3DSmall(Net((8, 16), 2, 1, 16), "cpu", name="tiny SAM-Med3D")


TITLES = {
    "structural": "SAM-Med3D, small, trained on CT and MR",
    "pet": "SAM-Med3D, small, trained on PET",
    "both": "SAM-Med3D, small, trained on CT, MR and PET",
}


def _record(
    name: str, title: str, modalities: Sequence[str], item: Weights, folder: Path = card.FOLDER
) -> Segmenter:
    """Record of one trained network."""
    return Segmenter(
        name=name,
        title=title,
        summary="SAM-Med3D's architecture at 0.6 M parameters, trained here on synthetic bodies; none "
        "of the published weights.",
        load=loader(name, SamMed3DSmall, folder),
        prompts=frozenset({"click", "negative_click"}),
        version="1",
        settings={"spacing_mm": SPACING_MM},
        packages=("torch", "monai", "safetensors"),
        extra="models",
        weights=(item,),
        modalities=tuple(modalities),
        paper="this book; architecture of arXiv:2310.15161, training as in arXiv:2603.11627",
        code_licence="Apache-2.0",
        trained_on=f"synthetic bodies of this project, {', '.join(modalities)} only; see its card",
        reach=_reach,
        native="the same: a cube around the first click, clicks in order, the previous mask fed back",
        grid="8 mm, RAS; a cube of 192 mm around the first click, or around the positive click "
        "nearest to the last where one lies outside",
        tiny=tiny,
    )


def trained(path: str | Path) -> Segmenter:
    """Record of a network that ``umdlib train promptable --network sam_med3d_small`` made.

    On the command line ``sam_med3d_small:FOLDER/NAME.json``.

    Raises
    ------
    InputError
        As `umdlib.weights.card.user_network` does.
    """
    return user_network(path, "sam_med3d_small", "SamMed3DSmall", _record)


def _released(trained_on: str, modalities: tuple[str, ...]) -> Segmenter:
    """Record of a network that the package ships."""
    name = f"sam_med3d_small_{trained_on}"
    return _record(name, TITLES[trained_on], modalities, card.item(name))


SAM_MED3D_SMALL_STRUCTURAL = _released("structural", ("CT", "MR"))
SAM_MED3D_SMALL_PET = _released("pet", ("PET",))
SAM_MED3D_SMALL_BOTH = _released("both", ("CT", "MR", "PET"))
