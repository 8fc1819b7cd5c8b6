"""The lesion around a click by a threshold between its maximum and its background, within a small ball."""

from __future__ import annotations

import numpy as np

from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.preparation.crop import Crop, ball, connected

SETTINGS: dict[str, float] = {
    "fraction": 0.41,  # of the way from background to maximum; Boellaard et al. 2015, EANM guideline 2.0
    "peak_mm": 12.0,  # where the maximum is sought
    "inner_mm": 17.0,  # the background is the median of a shell around the click, from here
    "reach_mm": 25.0,  # to here, of what is below half of the maximum; no lesion is larger than this ball
    "block_mm": 2.5,  # finer voxels are averaged
}


def contour(image: Volume, prompt: Prompt) -> np.ndarray:
    """Boolean mask (I, J, K): one lesion per positive click, their union for several.

    Of each click the connected voxels above ``background + fraction (maximum - background)`` within
    `reach_mm`. Voxels nearer to a negative click than to every positive one are taken out first.
    Empty without a positive click or where the clicked voxel itself lies below the threshold.
    """
    reach = SETTINGS["reach_mm"]

    def inside(crop: Crop, click: Click) -> np.ndarray:
        return (crop.data >= threshold(crop, click)) & ball(crop, click, reach)

    return connected(image, prompt, inside, reach_mm=2 * reach, block_mm=SETTINGS["block_mm"])


def threshold(crop: Crop, click: Click) -> float:
    """Lowest intensity of the lesion of a click."""
    most = float(crop.data[ball(crop, click, SETTINGS["peak_mm"])].max())
    shell = ball(crop, click, SETTINGS["reach_mm"]) & ~ball(crop, click, SETTINGS["inner_mm"])
    around = crop.data[shell]
    low = around[around < most / 2]
    background = float(np.median(low if low.size else around)) if around.size else 0.0
    return background + SETTINGS["fraction"] * (most - background)


def load(device: str = "cpu") -> Segment:
    """The call; there is nothing to load, and the device is not used."""

    def segment(image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        return contour(image, prompt)

    return segment


LESION_CONTOUR = Segmenter(
    name="lesion_contour",
    title="Lesion contour",
    summary="Voxels connected to the click above 41 % of the way from the local background to the local "
    "maximum, within 25 mm: for lesions on PET, not for organs.",
    load=load,
    prompts=frozenset({"click", "negative_click"}),
    settings=SETTINGS,
    modalities=("PET",),
    paper="doi:10.1007/s00259-014-2961-x",
    code_licence="Apache-2.0",
    trained_on="nothing",
    native="the same",
    grid="the image's own, blocks up to 2.5 mm, within 25 mm of the click",
)
