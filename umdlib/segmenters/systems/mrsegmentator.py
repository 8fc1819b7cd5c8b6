"""MRSegmentator: one nnU-Net of five folds for MR and CT."""

from __future__ import annotations

import numpy as np

from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.preparation import nnunet, published_folders
from umdlib.segmenters.preparation.folders import Folders, published_unions
from umdlib.segmenters.preparation.slices import oriented

LABELS = 40
_FILES = published_folders.files(
    "mrsegmentator",
    folds=tuple(f"fold_{n}" for n in range(5)),
    where="release v1.2.0 of hhaentze/MRSegmentator, weights.zip; or copy what lies in ~/.mrsegmentator/base",
    licence="Apache-2.0",
    url="https://github.com/hhaentze/MRSegmentator/releases/download/v1.2.0/weights.zip",
    inside="",
    archive_sha256="dd26c1b511908a1f2a752b7fe8f5ca9c5603fc3e69fa52f57bf3ccdd52ceb286",
)


class InLPS:
    """A network whose image is turned to LPS for it."""

    def __init__(self, net: nnunet.NnUNet) -> None:
        self._net = net

    def label_map(self, image: Volume) -> np.ndarray:
        """Values (I, J, K) on the image's grid."""
        data, affine, back = oriented(image.data, image.affine, "LPS")
        # whatever its plans say of axes, it is not turned again
        grid = np.diag([*geometry.spacing_mm(affine), 1.0])
        return back(self._net.label_map(Volume(data, grid, image.unit, image.name)))


def _model(net: nnunet.NnUNet) -> Folders:
    """The call around the network."""
    return Folders([InLPS(net)], published_unions("mrsegmentator"))


def _load(device: str = "cpu") -> Segment:
    """The five folds, averaged."""
    return _model(published_folders.opened(_FILES, "mrsegmentator", device, labels=LABELS))


def _tiny() -> Segment:
    """A network of three stages with random weights."""
    return _model(published_folders.tiny(LABELS))


MRSEGMENTATOR = Segmenter(
    name="mrsegmentator",
    title="MRSegmentator",
    summary="One nnU-Net for 40 structures of MR and CT (version 2.0, weights 1.2), here those of the benchmark.",
    load=_load,
    prompts=frozenset({"class"}),
    settings={"mirroring": True, "folds": 5},
    packages=("nnunetv2", "torch"),
    extra="nnunet",
    weights=_FILES,
    modalities=("MR", "CT"),
    paper="doi:10.1148/ryai.240777",
    code_licence="Apache-2.0",
    trained_on="1,200 MR of the UK Biobank, 221 MR of one hospital, 1,228 CT of TotalSegmentator's set",
    native="the same: no prompt",
    grid="LPS; the plans' spacing and patch, half overlapping windows, five folds averaged, mirrored where "
    "training was",
    users="before 2.0 images whose slices were not axial got a wrong spacing (hhaentze/MRSegmentator#24)",
    tiny=_tiny,
    structures=tuple(published_unions("mrsegmentator")),
)
