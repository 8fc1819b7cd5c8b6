"""Golden masks: each adapter around its tiny network gives the mask that it gave when it was compared.

The masks were written by ``python tests/segmenters/test_golden.py`` from adapters that equalled the official code
(`benchmarks/parity.py`). Float sums differ between processors: one voxel in a hundred of the mask may differ. The point
branch of VISTA3D is not here: its tiny network answers with an empty mask.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_systems import AFFINE, phantom, twin, world

from umdlib.prompts import initial_mask
from umdlib.prompts.prompt import Box, Click, Prompt

FILE = Path(__file__).parent / "golden.npz"
FOLDERS = ("totalsegmentator", "totalsegmentator_mr", "mrsegmentator", "moose", "lion")
NAMES = (
    "sam_med3d_turbo",
    "nninteractive",
    "vista3d",
    "nv_segment_ctmr",
    "sam_vit_b",
    "medsam",
    "litemedsam",
    "nnunet",
    "voxtell",
    *FOLDERS,
)
CLICKS = (((17, 21, 11), True), ((14, 18, 10), True), ((27, 33, 12), False))


def prompts(kinds) -> dict[str, Prompt]:
    """One click and three, and a box, a lasso and a mask to start from where a system takes them."""
    if kinds & {"class", "text"}:
        return {kind: Prompt("liver", text="liver") for kind in sorted(kinds & {"class", "text"})}
    faces = np.array([world((12.5, 15.5, 9.5)), world((22.5, 27.5, 12.5))])
    box = Box(tuple(faces.min(0).tolist()), tuple(faces.max(0).tolist()))
    corners = ((12, 16, 11), (24, 16, 11), (24, 27, 11), (12, 27, 11))
    made = {
        "box": Prompt("liver", box=box),
        "lasso": Prompt("liver", lasso=tuple(world(v) for v in corners)),
        "initial_mask": Prompt("liver", initial=initial_mask(phantom("HU", half_mm=(12, 14, 6))[1], AFFINE)),
    }
    made = {kind: prompt for kind, prompt in made.items() if kind in kinds}
    if "click" in kinds:
        given = tuple(Click(world(v), s) for v, s in CLICKS)
        made |= {"1 click": Prompt("liver", given[:1]), "3 clicks": Prompt("liver", given)}
    return made


def masks(name: str) -> dict[str, np.ndarray]:
    """Masks of one system's twin by prompt; of a model of several networks one array of all its structures."""
    record, segment = twin(name)
    image, _ = phantom("HU", half_mm=(12, 14, 6))
    if name in FOLDERS:
        return {f"{name}, every class": np.stack([segment(image, Prompt(s)) for s in record.structures])}
    return {f"{name}, {said}": segment(image, p) for said, p in prompts(record.prompts).items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_network_gives_the_mask_that_was_compared(name):
    with np.load(FILE) as golden:
        for key, mask in masks(name).items():
            kept = np.unpackbits(golden[key], count=mask.size).astype(bool).reshape(mask.shape)
            assert 0 < kept.sum() < kept.size
            assert (kept != mask).sum() <= max(2, kept.sum() // 100), key


if __name__ == "__main__":
    made = {k: np.packbits(m) for name in NAMES for k, m in masks(name).items()}
    with np.load(FILE) as golden:  # what was compared stays; new systems and prompts are added
        made |= dict(golden)
    np.savez_compressed(FILE, **made)
    print({k: int(np.unpackbits(v).sum()) for k, v in made.items()})
