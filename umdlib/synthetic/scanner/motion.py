"""Breathing, misregistration, and a bladder that fills: what moves between the two images."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.scanner.acquisition import Acquisition
from umdlib.synthetic.scanner.factors import Factors
from umdlib.synthetic.scanner.sampling import Grid

SHARE = line("motion")
# States of one cycle, 0 end of expiration to 1 end of inspiration: more time near expiration.
_CYCLE = np.array([0.02, 0.10, 0.30, 0.62, 0.95])
_FRONT_SHARE = 0.2  # the belly moves forward by this share of the dome's descent
_FILLS = ("visceral_fat", "muscle", "bladder", "bowel_wall", "bowel_content", "vessel", "ureter", "uterus")


def motion_profile(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Share (1, 1, K) float32 of the dome's motion at each height of a grid."""
    z = grid.axes_mm()[2]
    if anatomy.heights is None:
        return np.zeros((1, 1, len(z)), np.float32)
    height = z * anatomy.heights[0] + anatomy.heights[1]
    return np.interp(height, SHARE[:, 0], SHARE[:, 1]).astype(np.float32)[None, None, :]


def pet_shifts(
    anatomy: Anatomy, grid: Grid, acquisition: Acquisition, factors: Factors
) -> list[tuple | None]:
    """World displacement (x, y, z) of PET's content at each state of breathing.

    Each of the three is a number or broadcasts to the grid. ``[None]`` if nothing moves.
    """
    if factors.breathing == 0 and factors.misregistration == 0:
        return [None]
    share = motion_profile(anatomy, grid)
    states = _CYCLE - _CYCLE.mean() if factors.breathing > 0 else np.zeros(1)
    rigid = np.array(acquisition.rigid_mm, np.float32) * np.float32(factors.misregistration)
    shifts = []
    for state in states:
        dome = acquisition.misregistration_mm * factors.misregistration
        dome = (dome + acquisition.breathing_mm * factors.breathing * state) * share
        shifts.append((rigid[0], rigid[1] + _FRONT_SHARE * dome, rigid[2] - dome))
    return shifts


def fill_bladder(anatomy: Anatomy, extra_ml: float) -> np.ndarray:
    """Tissues (I, J, K) with the bladder grown by a volume over the soft tissue around it."""
    if anatomy.bladder is None or extra_ml <= 0:
        return anatomy.tissue
    box, distance, _level = anatomy.bladder
    tissue = anatomy.tissue.copy()
    part = tissue[box]
    allowed = np.isin(part, [CODES[n] for n in _FILLS])
    values = np.sort(distance[allowed & (part != CODES["bladder"])])
    want = round(extra_ml / float(np.prod(np.diag(anatomy.affine)[:3]) / 1000))
    if want == 0 or values.size == 0 or not (part == CODES["bladder"]).any():
        return anatomy.tissue
    part[allowed & (distance < values[min(want, values.size - 1)])] = CODES["bladder"]
    return tissue
