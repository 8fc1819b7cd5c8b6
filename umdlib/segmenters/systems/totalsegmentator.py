"""TotalSegmentator: several nnU-Nets painted into one label map at a spacing of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from umdlib.images.volume import Volume
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import nnunet, published_folders
from umdlib.segmenters.preparation.folders import Folders, published_unions, published_values
from umdlib.segmenters.preparation.slices import oriented

SPACING_MM = 1.5
STEP = 0.8  # of a window, as the official code moves it for these tasks
_SPLIT_ABOVE = 512 * 512 * 900  # voxels at that spacing: a larger image is predicted in thirds
_SPLIT_SLICES = 200
_MARGIN = 20  # slices that neighbouring thirds share on either side
_ADDRESS = "https://github.com/wasserth/TotalSegmentator/releases/download"
_LICENCE = "Apache-2.0"

# trained folder -> how many labels it has; they follow each other in the model's own values
CT = {
    "Dataset291_TotalSegmentator_part1_organs_1559subj": 24,
    "Dataset292_TotalSegmentator_part2_vertebrae_1532subj": 26,
    "Dataset293_TotalSegmentator_part3_cardiac_1559subj": 18,
    "Dataset294_TotalSegmentator_part4_muscles_1559subj": 23,
    "Dataset295_TotalSegmentator_part5_ribs_1559subj": 26,
}
CT_V3 = {
    "Dataset831_TotalSegmentator_part1_organs_1830subj": 24,
    "Dataset832_TotalSegmentator_part2_vertebrae_1559subj": 26,
    "Dataset833_TotalSegmentator_part3_cardiac_1830subj": 18,
    "Dataset834_TotalSegmentator_part4_muscles_1830subj": 23,
    "Dataset835_TotalSegmentator_part5_ribs_1559subj": 26,
}
MR = {"Dataset850_TotalSegMRI_part1_organs_1088subj": 29, "Dataset851_TotalSegMRI_part2_muscles_1088subj": 21}


class Painted:
    """The label map of all parts at `spacing_mm`, brought back to the image.

    Parameters
    ----------
    parts
        Networks in their order: what a later one labels lies over an earlier one's.
    counts
        Labels of each part, which follow each other in the model's values.
    spacing_mm
        Of the grid that the networks see.
    split_above
        Voxels of that grid above which it is predicted in three parts along the body.
    """

    def __init__(
        self,
        parts: Sequence[nnunet.NnUNet],
        counts: Sequence[int],
        *,
        spacing_mm: float = SPACING_MM,
        split_above: int = _SPLIT_ABOVE,
        split_slices: int = _SPLIT_SLICES,
    ) -> None:
        self._parts, self._spacing_mm = parts, spacing_mm
        self._offsets = np.cumsum([0, *counts[:-1]])
        self._split = split_above, split_slices

    def label_map(self, image: Volume) -> np.ndarray:
        """Values of the model (I, J, K) uint8 on the image's grid."""
        data, affine, back = oriented(image.data, image.affine, "RAS")
        zooms = np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0)).astype(np.float32)
        wanted = np.array([self._spacing_mm] * 3)
        same = np.array_equal(zooms, wanted)
        ready = data if same else _resampled(data, zooms / wanted)
        grid = np.diag([*(zooms if same else wanted).astype(float), 1.0])
        labels = self._in_thirds(ready, grid) if self._large(ready.shape) else self._painted(ready, grid)
        if labels.shape != data.shape:
            share = np.array(data.shape) / labels.shape
            labels = scipy.ndimage.zoom(labels, share, mode="nearest", order=0)
        return back(labels)

    def _painted(self, data: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Label map of one piece; what a part labels replaces what the parts before it did."""
        found = np.zeros(data.shape, np.uint8)
        image = Volume(data, grid)
        for part, offset in zip(self._parts, self._offsets, strict=True):
            labels = part.label_map(image).astype(np.uint8)
            np.copyto(found, labels + np.uint8(offset), where=labels != 0)
        return found

    def _large(self, shape: tuple[int, ...]) -> bool:
        """Whether an image is predicted in thirds."""
        voxels, slices = self._split
        return int(np.prod(shape)) > voxels and shape[2] > slices

    def _in_thirds(self, data: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Label map of three pieces along the body, cut as the official code cuts them."""
        third, margin = data.shape[2] // 3, _MARGIN
        out = np.zeros(data.shape, np.uint8)
        first = self._painted(data[:, :, : third + margin], grid)
        out[:, :, :third] = first[:, :, :-margin]
        middle = self._painted(data[:, :, third + 1 - margin : third * 2 + margin], grid)
        out[:, :, third : third * 2] = middle[:, :, margin - 1 : -margin]
        last = self._painted(data[:, :, third * 2 + 1 - margin :], grid)
        out[:, :, third * 2 :] = last[:, :, margin - 1 :]
        return out


def _resampled(data: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """Linearly interpolated and cut to whole numbers toward 0, as the official code hands it on."""
    return scipy.ndimage.zoom(data.astype(np.float64), zoom, mode="nearest", order=1).astype(np.int32)


def _model(parts: Sequence[nnunet.NnUNet], counts: Sequence[int], scheme: str, **more) -> Folders:
    """The call of the parts: structures are unions over the model's values."""
    return Folders([Painted(parts, counts, **more)], published_unions(scheme))


def _files(name: str, folder: str, trainer: str, version: str) -> tuple[Weights, ...]:
    """Files of one part: the only fold that is used, plans and data set."""
    inside = f"{folder}/{trainer}__nnUNetPlans__3d_fullres"
    return published_folders.files(
        f"{name}/{inside}",
        folds=("fold_0",),
        where=f"release {version} of wasserth/TotalSegmentator, {folder}.zip; or copy the folder from "
        "~/.totalsegmentator/nnunet/results",
        licence=_LICENCE,
        url=f"{_ADDRESS}/{version}/{folder}.zip",
        inside=inside,
    )


def _record(
    name: str, scheme: str, parts: dict[str, int], trainer: str, version: str, *, tiny: bool = True, **more
) -> Segmenter:
    """Record of one task and its parts, with a `tiny` twin where no other task's is the same."""
    files = {folder: _files(name, folder, trainer, version) for folder in parts}
    counts = tuple(parts.values())

    def load(device: str = "cpu") -> Segment:
        opened, before = [], 0
        for folder, items in files.items():
            values = published_values(scheme, before, parts[folder])
            opened.append(
                published_folders.opened(
                    items, name, device, labels=parts[folder], values=values, mirror=False, step=STEP
                )
            )
            before += parts[folder]
        return _model(opened, counts, scheme)

    def twin() -> Segment:
        made = [published_folders.tiny(n, seed=k) for k, n in enumerate(counts)]
        return _model(made, counts, scheme, spacing_mm=4.0)

    return Segmenter(
        name=name,
        load=load,
        prompts=frozenset({"class"}),
        settings={"spacing_mm": SPACING_MM, "step": STEP},
        packages=("nnunetv2", "torch"),
        extra="nnunet",
        weights=tuple(w for items in files.values() for w in items),
        code_licence="Apache-2.0",
        native="the same: no prompt. Every part is predicted and what a later part labels lies over an earlier "
        "one's; the mask of fewer parts (its option roi_subset) can differ at borders. Its other tasks, its "
        "smaller networks and its faster ones of 3 mm and 6 mm are not here",
        grid="1.5 mm, RAS, linear; values cut to whole numbers; windows of the plans 0.8 of their size apart, "
        "no mirroring; labels come back by the nearest voxel",
        users="before 2.16 images were resampled with cubic splines. It is made for HU and MR intensities: whole "
        "numbers keep little of an SUV below 5",
        tiny=twin if tiny else None,
        structures=tuple(published_unions(scheme)),
        **more,
    )


TOTALSEGMENTATOR = _record(
    "totalsegmentator",
    "totalsegmentator",
    CT,
    "nnUNetTrainerNoMirroring",
    "v2.0.0-weights",
    title="TotalSegmentator",
    summary="Five nnU-Nets for 117 structures of CT (task total of 2.18), here those of the benchmark.",
    modalities=("CT",),
    paper="doi:10.1148/ryai.230024",
    trained_on="1,532 to 1,559 CT scans a part, as their folders say",
)
TOTALSEGMENTATOR_V3 = _record(
    "totalsegmentator_v3",
    "totalsegmentator",  # its names but value 26, a vertebra
    CT_V3,
    "nnUNetTrainerNoMirroring",
    "v3.0.0-weights",
    tiny=False,
    title="TotalSegmentator v3",
    summary="The same five nnU-Nets trained again (task total_v3 of 2.18), here the structures of the benchmark.",
    modalities=("CT",),
    paper="doi:10.1148/ryai.230024",
    trained_on="1,559 to 1,830 CT scans a part, as their folders say",
)
TOTALSEGMENTATOR_MR = _record(
    "totalsegmentator_mr",
    "totalsegmentator_mr",
    MR,
    "nnUNetTrainer_2000epochs_NoMirroring",
    "v2.5.0-weights",
    title="TotalSegmentator MR",
    summary="Two nnU-Nets for 50 structures of MR (task total_mr of 2.18), here those of the benchmark.",
    modalities=("MR",),
    paper="doi:10.1148/radiol.241613",
    trained_on="1,088 scans, as its folders say, of MR and some of CT",
)
