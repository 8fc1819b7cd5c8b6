"""The region grown from a click while intensities stay near its own, with thin bridges cut."""

from __future__ import annotations

import numpy as np
import scipy

from umdlib.images.masks import depth_mm
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.preparation.crop import Crop, ball, crop_around

SETTINGS: dict[str, float] = {
    "smooth_mm": 2.0,  # standard deviation of a Gaussian, against noise
    "seed_mm": 8.0,  # radius of the ball around a click that gives the first mean and spread
    "spreads": 2.5,  # half width of the band in spreads, as in ITK's confidence connected filter
    "rounds": 3,  # how often mean and spread are taken again from the region
    "bridge_mm": 5.0,  # necks thinner than twice this are cut
    "reach_mm": 160.0,  # the region never leaves this cube
    "block_mm": 3.0,  # finer voxels are averaged
}
# The smallest spread that is believed, absolute and as a share of the median: a small seed can be
# smooth by luck, and uptake and MR signal vary inside an organ more than attenuation does.
LEAST: dict[str, tuple[float, float]] = {"HU": (12.0, 0.0), "SUV": (0.1, 0.2), "a.u.": (0.0, 0.1)}


def grow(crop: Crop, click: Click, allowed: np.ndarray, unit: str, settings: dict) -> np.ndarray:
    """(A, B, C) boolean: the region of one click.

    Mean and spread start from a ball around the click and are taken again from the region, so
    that the band follows the structure. Each round: voxels within the band, opened by
    `bridge_mm`, the component of the click.
    """
    region = ball(crop, click, settings["seed_mm"]) & allowed
    for _ in range(int(settings["rounds"])):
        low, high = _band(crop.data[region], unit, settings["spreads"])
        grown = core((crop.data >= low) & (crop.data <= high) & allowed, crop, click, settings["bridge_mm"])
        if not grown.any():
            break
        region = grown
    return scipy.ndimage.binary_fill_holes(region) & allowed


def core(inside: np.ndarray, crop: Crop, click: Click, bridge_mm: float) -> np.ndarray:
    """The component of the click after an opening that cuts necks thinner than twice `bridge_mm`.

    The opening is limited to what the click's surroundings allow: in a thin tube it would take
    all, so its radius is at most 0.8 of the tube's own at the click.
    """
    start, depth = _deepest_near(inside, crop, click, 6.0)
    radius = min(bridge_mm, 0.8 * depth)
    labels, _ = scipy.ndimage.label(eroded(inside, crop.spacing_mm, radius))
    if not labels[start]:
        return np.zeros_like(inside)
    return ~eroded(labels != labels[start], crop.spacing_mm, radius)


def eroded(mask: np.ndarray, spacing_mm: tuple[float, ...], radius_mm: float) -> np.ndarray:
    """Voxels with no voxel outside the mask within `radius_mm`; the crop's edge does not count as outside.

    For radii of a few voxels, one step per offset: ten times as fast as a distance map.

    Examples
    --------
    >>> eroded(np.array([[[1, 1, 1, 0, 1, 1]]], bool), (9, 9, 2), 3.0).ravel().astype(int).tolist()
    [1, 1, 0, 0, 0, 1]
    """
    reach = [int(radius_mm // s) for s in spacing_mm]
    padded = np.pad(mask, [(r, r) for r in reach], constant_values=True)
    out = mask.copy()
    for offset in np.ndindex(*(2 * r + 1 for r in reach)):
        steps = [(o - r) * s for o, r, s in zip(offset, reach, spacing_mm, strict=True)]
        if 0 < sum(d * d for d in steps) <= radius_mm**2:
            out &= padded[tuple(slice(o, o + n) for o, n in zip(offset, mask.shape, strict=True))]
    return out


def _deepest_near(
    mask: np.ndarray, crop: Crop, click: Click, near_mm: float
) -> tuple[tuple[int, ...], float]:
    """The voxel within `near_mm` of the click that is farthest from the outside, and how far (mm).

    The crop's edge does not count as outside. Distances are looked for in a window around the click, and
    in a larger one where the outside is farther than its faces.
    """
    near = ball(crop, click, near_mm)
    places = np.argwhere(near)
    for reach in (4 * near_mm, 12 * near_mm, np.inf):
        more = [
            n if np.isinf(reach) else int(reach // s) + 1
            for n, s in zip(mask.shape, crop.spacing_mm, strict=True)
        ]
        low = np.maximum(places.min(axis=0) - more, 0)
        high = np.minimum(places.max(axis=0) + 1 + more, mask.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        depth = _depth_mm(mask[window], crop, near_mm)
        found = np.where(near[window], depth, -1)
        start = np.unravel_index(np.argmax(found), found.shape)
        if found[start] <= reach:
            break
    return tuple(int(a + b) for a, b in zip(start, low, strict=True)), float(found[start])


def _depth_mm(mask: np.ndarray, crop: Crop, reach_mm: float) -> np.ndarray:
    """Distance to the nearest voxel outside the mask in mm; the array's edge does not count as outside.

    Right up to `reach_mm` near the edge.
    """
    pad = [1 + int(reach_mm // s) for s in crop.spacing_mm]
    inner = tuple(slice(p, p + n) for p, n in zip(pad, mask.shape, strict=True))
    padded = np.pad(mask, [(p, p) for p in pad], constant_values=True)
    return depth_mm(padded, crop.spacing_mm)[inner]


class RegionGrowing:
    """The call: what a click gave is kept until another first click or image comes.

    A positive click changes nothing about the regions of the clicks before it; a negative one
    changes where all of them may grow.
    """

    def __init__(self) -> None:
        self._image: Volume | None = None
        self._first: tuple | None = None
        self._crops: dict[tuple, Crop] = {}
        self._regions: dict[tuple, np.ndarray] = {}

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K): the regions of all positive clicks."""
        mask = np.zeros(image.shape, bool)
        positive = [c for c in prompt.clicks if c.positive]
        negative = tuple(_place(c) for c in prompt.clicks if not c.positive)
        if positive and (self._image is not image or self._first != _place(positive[0])):
            self._image, self._first = image, _place(positive[0])
            self._crops, self._regions = {}, {}
        for click in positive:
            place = _place(click)
            if place not in self._crops:
                self._crops[place] = smoothed(image, click, SETTINGS)
            crop = self._crops[place]
            if (place, negative) not in self._regions:
                allowed = crop.own_side(click, prompt.clicks)
                self._regions[place, negative] = grow(crop, click, allowed, image.unit, SETTINGS)
            mask |= crop.restore(self._regions[place, negative])
        return mask


def _place(click: Click) -> tuple[float, ...]:
    """World point of a click, as a key."""
    return tuple(map(float, click.xyz_mm))


def smoothed(image: Volume, click: Click, settings: dict) -> Crop:
    """The cube around a click, smoothed by a Gaussian."""
    crop = crop_around(image, click.xyz_mm, reach_mm=settings["reach_mm"], block_mm=settings["block_mm"])
    sigma = [settings["smooth_mm"] / s for s in crop.spacing_mm]
    return crop.with_data(scipy.ndimage.gaussian_filter(crop.data, sigma, truncate=3))


def _band(values: np.ndarray, unit: str, spreads: float) -> tuple[float, float]:
    """Lowest and highest intensity: median ± `spreads` robust standard deviations."""
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    least, share = LEAST[unit]
    width = spreads * max(spread, least, share * abs(median))
    return median - width, median + width
