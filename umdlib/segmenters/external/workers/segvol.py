"""SegVol's worker: the official demo, prompted by the job where the demo asks the reference.

Official and untouched: preprocessing, network, zoom-out, zoom-in, and the random draw of points
inside each window (``inference_demo.py``, ``data_process``, ``utils/monai_inferers_utils.py``).
Ours: where the first points and the box come from, the seed, and the way back to the image's grid.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

if __package__:
    from . import file_contract as contract
else:  # in its own environment, as a script
    import file_contract as contract

_PREFIXES = ("module.", "model.module.", "model.", "")


@dataclass(frozen=True)
class Crop:
    """Where the demo's array lies in the file's: axes (K, J, I), padded, then cropped."""

    shape: tuple[int, int, int]
    before: tuple[int, int, int]
    start: tuple[int, int, int]
    size: tuple[int, int, int]

    def inside(self, ijk: np.ndarray) -> np.ndarray:
        """Voxel indices (..., 3) of the file, whole or not, as indices of the demo's array."""
        return np.asarray(ijk, float)[..., ::-1] + self.before - self.start

    def back(self, mask: np.ndarray) -> np.ndarray:
        """Boolean mask of the file's grid (I, J, K) from one of the demo's array."""
        low = np.subtract(self.start, self.before)
        whole = np.zeros(self.shape[::-1], mask.dtype)
        cut = [(max(a, 0), min(a + n, t)) for a, n, t in zip(low, self.size, whole.shape, strict=True)]
        target = tuple(slice(a, b) for a, b in cut)
        source = tuple(slice(a - o, b - o) for (a, b), o in zip(cut, low, strict=True))
        whole[target] = mask[source]
        return whole.T


class SegVolWorker:
    """The official model, built once, and its answers."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._net, self._loaded, self._fraction = None, None, 0.0
        self._item, self._shown = None, None

    def __call__(self, job: dict, folder: Path) -> dict:
        """Write a mask per structure; returns what the log has to say."""
        import nibabel as nib
        import torch

        if job["device"] == "cpu":
            contract.without_gpu()
        settings = self._settings(job)
        self._build(job, settings)
        image = nib.load(job["image"])
        item = self._prepared(job, folder, image, settings)
        crop = crop_of(image.shape, item, settings.spatial_size)
        for structure in job["structures"]:
            torch.manual_seed(job["seed"])
            logits = self._predicted(job, structure, item, crop, settings)
            mask = (torch.sigmoid(logits) > 0.5).numpy()
            if not bool(torch.isfinite(logits).all()):
                raise RuntimeError(f"NaN or infinite logits for {structure['name']}")
            contract.write_mask(folder / f"{structure['value']}.nii.gz", crop.back(mask), image)
        return {
            "matched_fraction": self._fraction,
            "raw_grid": {"axes": "K, J, I", "shape": crop.size, "start": crop.start},
        }

    def _settings(self, job: dict) -> SimpleNamespace:
        """The demo's arguments; a smaller window only where a test asks for one."""
        size = tuple(job["settings"].get("spatial_size", (32, 256, 256)))
        return SimpleNamespace(
            test_mode=True,
            spatial_size=size,
            patch_size=(4, 16, 16),
            infer_overlap=0.5,
            clip_ckpt=str(self._checkout / "config" / "clip"),
            visualize=False,
            use_zoom_in=True,
            use_text_prompt=False,
            use_box_prompt=job["box"] is not None,
            use_point_prompt=bool(job["clicks"]),
        )

    def _build(self, job: dict, settings: SimpleNamespace) -> None:
        """Network with the checkpoint's weights, unless it is the one that is there."""
        import torch
        from network.model import SegVol
        from segment_anything_volumetric import sam_model_registry

        wanted = (job["checkpoints"]["model"], settings.spatial_size)
        if self._loaded == wanted:
            return
        sam = sam_model_registry["vit"](args=settings)
        net = SegVol(
            image_encoder=sam.image_encoder,
            mask_decoder=sam.mask_decoder,
            prompt_encoder=sam.prompt_encoder,
            clip_ckpt=settings.clip_ckpt,
            roi_size=settings.spatial_size,
            patch_size=settings.patch_size,
            test_mode=True,
        )
        contract.only_gpu(job["device"])
        state = contract.read_checkpoint(job["checkpoints"]["model"])
        self._fraction = contract.fill(net, state.get("model", state), _PREFIXES)
        self._net = torch.nn.DataParallel(net.cuda(), device_ids=[0]).eval()
        self._loaded = wanted

    def _prepared(self, job: dict, folder: Path, image, settings: SimpleNamespace) -> dict:
        """The demo's preprocessing, once per image file; the label it wants is 1 everywhere and not used."""
        from data_process.demo_data_process import process_ct_gt

        about = os.stat(job["image"])
        shown = (job["image"], about.st_mtime_ns, about.st_size, settings.spatial_size)
        if self._shown != shown:
            everywhere = folder / "everywhere.nii.gz"
            contract.write_mask(everywhere, np.ones(image.shape, bool), image)
            self._item = process_ct_gt(job["image"], str(everywhere), ["target"], settings.spatial_size)
            self._shown = shown
        return self._item

    def _predicted(self, job, structure, item, crop: Crop, settings: SimpleNamespace):
        """Logits (K, J, I) of the demo's array."""
        import inference_demo
        import torch

        small = settings.spatial_size
        if job["clicks"]:
            points = torch.tensor([zoomed(crop, small, c["voxel"]) for c in job["clicks"]], dtype=torch.float)
            signs = torch.tensor([float(c["positive"]) for c in job["clicks"]])
            inference_demo.select_points = lambda label, **kwargs: (points, signs)
        if job["box"] is not None:
            corners = torch.tensor(zoomed_box(crop, small, job["box"]))
            inference_demo.generate_box = lambda label: corners
        settings.use_text_prompt = structure["text"] is not None
        name = structure["text"] or "target"
        with torch.no_grad():
            record = inference_demo.zoom_in_zoom_out(
                settings,
                self._net,
                item["image"].float()[None],
                item["zoom_out_image"].float()[None],
                item["label"][None],
                item["zoom_out_label"][None],
                categories=[name],
            )
        return record[name][4].float().cpu()


def crop_of(shape, item: dict, window) -> Crop:
    """The crop that the demo's transforms made of a file of `shape`."""
    flipped = np.array(shape[::-1])
    before = np.maximum(np.array(window) - flipped, 0) // 2
    start = np.array(item["foreground_start_coord"]).astype(int)
    size = tuple(int(n) for n in item["image"].shape[-3:])
    stop = np.array(item["foreground_end_coord"]).astype(int)
    if tuple(stop - start) != size:
        raise RuntimeError(f"the demo cropped {size}, its coordinates say {tuple(stop - start)}")
    return Crop(tuple(shape), *(tuple(int(v) for v in a) for a in (before, start)), size)


def zoomed(crop: Crop, window, voxel) -> list[int]:
    """Index in the zoomed-out array of a point given in voxels of the file, whole or not."""
    inside = crop.inside(voxel)
    if ((inside < -0.5) | (inside >= np.array(crop.size) - 0.5)).any():
        raise RuntimeError(f"the click at voxel {list(voxel)} lies outside the demo's crop, {crop}")
    index = np.floor((inside + 0.5) / crop.size * window)
    return np.clip(index, 0, np.array(window) - 1).astype(int).tolist()


def zoomed_box(crop: Crop, window, box: dict) -> list[int]:
    """First and last index, axis by axis, of the zoomed-out voxels that show a box's voxels."""
    ends = crop.inside(np.array([box["first"], box["last"]]))
    first, last = [], []
    for low, high, n, w in zip(ends[0], ends[1], crop.size, window, strict=True):
        shown = np.floor((np.arange(w) + 0.5) * n / w)
        hit = np.flatnonzero((shown >= min(low, high)) & (shown <= max(low, high)))
        if not hit.size:
            hit = np.array([np.abs(shown - (low + high) / 2).argmin()])
        first.append(int(hit[0]))
        last.append(int(hit[-1]))
    return first + last


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    contract.serve(SegVolWorker(Path(sys.argv[1])))
