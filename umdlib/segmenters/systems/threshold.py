"""The region around a click by a fixed threshold, as clinics delineate PET lesions."""

from __future__ import annotations

import numpy as np

from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.preparation.crop import Crop, ball, connected

SETTINGS: dict[str, float] = {
    "fraction": 0.41,  # of the local maximum; Boellaard et al. 2015, EANM guideline 2.0
    "peak_mm": 15.0,  # where the local maximum is sought
    "median_mm": 6.0,  # where the local median of CT and MR is taken
    "band_hu": 50.0,  # half width of the band for CT
    "band_share": 0.25,  # half width of the band for MR, as a share of the local median
    "reach_mm": 160.0,  # the region never leaves this cube
    "block_mm": 2.5,  # finer voxels are averaged
}


def limits(crop: Crop, click: Click, unit: str, settings: dict = SETTINGS) -> tuple[float, float]:
    """Lowest and highest intensity of the region around one click.

    SUV: from `fraction` of the largest value within `peak_mm` of the click, without upper limit.
    HU: local median ± `band_hu`. Other units (MR): local median ± `band_share` of it.
    """
    if unit == "SUV":
        peak = crop.data[ball(crop, click, settings["peak_mm"])].max()
        return settings["fraction"] * float(peak), np.inf
    median = float(np.median(crop.data[ball(crop, click, settings["median_mm"])]))
    width = settings["band_hu"] if unit == "HU" else settings["band_share"] * abs(median)
    return median - width, median + width


def region(image: Volume, prompt: Prompt, settings: dict = SETTINGS) -> np.ndarray:
    """Boolean mask (I, J, K): connected voxels within the limits of a positive click.

    One component per positive click, their union for several. Voxels nearer to a negative click
    than to every positive one are taken out first, which cuts a leak. Empty without a positive
    click or where the clicked voxel itself lies outside the limits.
    """

    def inside(crop: Crop, click: Click) -> np.ndarray:
        low, high = limits(crop, click, image.unit, settings)
        return (crop.data >= low) & (crop.data <= high)

    return connected(image, prompt, inside, reach_mm=settings["reach_mm"], block_mm=settings["block_mm"])


def load(device: str = "cpu") -> Segment:
    """The call; there is nothing to load, and the device is not used."""

    def segment(image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        return region(image, prompt)

    return segment


THRESHOLD = Segmenter(
    name="threshold",
    title="Threshold",
    summary="Voxels connected to the click above 41 % of the local maximum (PET), or within a band "
    "around the local median (CT ± 50 HU, MR ± 25 %).",
    load=load,
    prompts=frozenset({"click", "negative_click"}),
    settings=SETTINGS,
    paper="doi:10.1007/s00259-014-2961-x",
    code_licence="Apache-2.0",
    trained_on="nothing",
    native="the same",
    grid="the image's own, blocks up to 2.5 mm, within 160 mm of the click",
)
