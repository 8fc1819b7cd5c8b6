"""Region growing from clicks: what intensities alone give."""

from __future__ import annotations

from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.preparation.growing import SETTINGS, RegionGrowing


def load(device: str = "cpu") -> Segment:
    """The call; there is nothing to load, and the device is not used."""
    return RegionGrowing()


REGION_GROWING = Segmenter(
    name="region_growing",
    title="Region growing",
    summary="Grows from the click while intensities stay within 2.5 robust spreads of the region's "
    "median, and cuts bridges thinner than 10 mm.",
    load=load,
    prompts=frozenset({"click", "negative_click"}),
    settings=SETTINGS,
    paper="ITK software guide, ConfidenceConnectedImageFilter",
    code_licence="Apache-2.0",
    trained_on="nothing",
    native="the same",
    grid="blocks up to 3 mm, within 160 mm of the click",
)
