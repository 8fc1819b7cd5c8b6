"""nnInteractive's own session on arrays in SimpleITK's order, against the adapter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from comparisons import common
from umdlib.prompts import Prompt
from umdlib.segmenters import nninteractive


def compare() -> Iterator[common.Found]:
    """One click, then three with a negative one, each predicted in its turn."""
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
            yield common.Found(
                grid, "tiny, random, patch of 32, AutoZoom off", said, buffer.T > 0, mine
            )
