"""nnInteractive's own session on arrays in SimpleITK's order, against the adapter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from comparisons import common
from umdlib.images import geometry
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.systems import nninteractive

NETWORK = "tiny, random, patch of 32, AutoZoom off"


def compare() -> Iterator[common.Found]:
    """One click, three with a negative one, each predicted in its turn, and a scribble."""
    for grid, affine in common.AFFINES.items():
        folder = common.scratch()
        image = common.saved(folder, common.noise(120, 30), affine)
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "i.nii.gz")))
        session, segment = nninteractive.tiny_session(), nninteractive.tiny()
        buffer = np.zeros(array.shape, np.uint8)
        session.set_image(array[None])
        session.set_target_buffer(buffer)
        for n in (1, 3):
            session.reset_interactions()
            buffer[:] = 0
            for voxel, sign in zip(common.VOXELS[:n], common.SIGNS, strict=False):
                session.add_point_interaction(voxel[::-1], sign)
            mine = segment(image, Prompt("x", common.clicks(affine, n)))
            said = "1 click" if n == 1 else "3 clicks, one negative"
            yield common.Found(grid, NETWORK, said, buffer.T > 0, mine)
        session.reset_interactions()
        buffer[:] = 0
        painted = np.zeros(image.shape, np.uint8)
        (i, j, k), reach = common.VOXELS[0], 4
        painted[i - reach : i + reach + 2, j : j + 2, k : k + 2] = 1  # a stroke two voxels thick
        session.add_scribble_interaction(painted.T, True)
        ends = [(i - reach + 1, j + 1, k + 1), (i + reach + 1, j + 1, k + 1)]
        line = tuple(tuple(xyz) for xyz in geometry.to_world(affine, ends).tolist())
        mine = segment(image, Prompt("x", scribble=line))
        yield common.Found(grid, NETWORK, "a scribble", buffer.T > 0, mine)
