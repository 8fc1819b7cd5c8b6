"""MedSAM2's worker: the official predictor from one slice up and down, as the official script uses it.

Official and untouched: network, predictor, memory, resizing to 512 pixels and normalisation
(``medsam2_infer_CT_lesion_npz_recist.py``, ``infer_3d``; ``sam2``). Ours: the greys and axes of a volume
(as MedSAM's ``pre_CT_MR.py``, in LPS), where the slice, its box and its points come from, and the way back.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if __package__:
    from . import file_contract as contract
else:  # in its own environment, as a script
    import file_contract as contract

CONFIG = "configs/sam2.1_hiera_t512.yaml"
SIDE = 512
_WINDOW_HU = (-160.0, 240.0)
_PERCENTILES = (0.5, 99.5)
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Pictures:
    """Axial pictures of a file: (Z, Y, X) uint8 in LPS, and the turn that made them."""

    data: np.ndarray
    shape: tuple[int, int, int]
    turn: np.ndarray

    def pixel(self, ijk) -> tuple[int, int, int]:
        """Index (x, y, z) of a voxel of the file."""
        index = [0, 0, 0]
        for axis, (to, sign) in enumerate(self.turn.astype(int)):
            n = int(ijk[axis])
            index[to] = n if sign > 0 else self.shape[axis] - 1 - n
        return tuple(index)

    def back(self, mask: np.ndarray) -> np.ndarray:
        """Boolean (I, J, K) of the file from one of (Z, Y, X)."""
        turned = mask.T.transpose(self.turn[:, 0].astype(int))
        return turned[tuple(slice(None, None, int(sign)) for sign in self.turn[:, 1])]


class MedSam2Worker:
    """The official predictor, built once, and the last image's frames."""

    def __init__(self, checkout: Path) -> None:
        self._net, self._loaded, self._fraction = None, None, 0.0
        self._shown, self._pictures, self._frames = None, None, None

    def __call__(self, job: dict, folder: Path) -> dict:
        """Write a mask per structure; returns what the log has to say."""
        import nibabel as nib

        if job["device"] == "cpu":
            contract.without_gpu()
        self._build(job)
        image = nib.load(job["image"])
        self._show(job, image)
        z, box, points = asked(job, self._pictures)
        mask = self._through(z, box, points)
        for structure in job["structures"]:
            contract.write_mask(folder / f"{structure['value']}.nii.gz", self._pictures.back(mask), image)
        return {
            "matched_fraction": self._fraction,
            "raw_grid": {"axes": "Z, Y, X in LPS", "shape": mask.shape, "slice": z},
        }

    def _build(self, job: dict) -> None:
        """Predictor with the checkpoint's weights, unless it is the one that is there."""
        import torch
        from sam2.build_sam import build_sam2_video_predictor_npz

        torch.set_float32_matmul_precision("high")  # as the script does at its start
        wanted = job["checkpoints"]["model"]
        if self._loaded == wanted:
            return
        device = contract.only_gpu(job["device"])
        smaller = job["settings"].get("overrides", [])  # only where a test asks for them
        net = build_sam2_video_predictor_npz(CONFIG, None, device=device, hydra_overrides_extra=smaller)
        state = contract.read_checkpoint(wanted)
        self._fraction = contract.fill(net, state["model"])
        self._net, self._loaded = net.eval(), wanted

    def _show(self, job: dict, image) -> None:
        """Pictures and the network's frames, once per image file."""
        about = os.stat(job["image"])
        shown = (job["image"], about.st_mtime_ns, about.st_size)
        if self._shown != shown:
            self._pictures = pictures_of(image, job["modality"])
            self._frames = frames_of(self._pictures.data, self._net.device)
            self._shown = shown

    def _through(self, z: int, box, points) -> np.ndarray:
        """(Z, Y, X) boolean: the slice's mask, then what it becomes upwards and downwards, as the script."""
        import torch

        net, size = self._net, self._pictures.data.shape[1:]
        found = np.zeros(self._pictures.data.shape, bool)
        on_gpu = net.device.type == "cuda"
        with torch.inference_mode(), torch.autocast(net.device.type, torch.bfloat16, enabled=on_gpu):
            state = net.init_state(self._frames, *size)
            given = {"box": np.array(box)} if points is None else {"points": points[0], "labels": points[1]}
            _, _, logits = net.add_new_points_or_box(state, frame_idx=z, obj_id=1, **given)
            first = (checked(logits)[0] > 0.0).squeeze(0).cpu().numpy().astype(np.uint8)
            for reverse in (False, True):
                if reverse:
                    net.reset_state(state)
                    state = net.init_state(self._frames, *size)
                _, _, logits = net.add_new_mask(state, frame_idx=z, obj_id=1, mask=first)
                if not reverse:
                    found[z] |= (logits[0] > 0.0).cpu().numpy()[0]
                for n, _, out in net.propagate_in_video(state, start_frame_idx=z, reverse=reverse):
                    found[n] |= (checked(out)[0] > 0.0).cpu().numpy()[0]
            net.reset_state(state)
        return found


def asked(job: dict, pictures: Pictures):
    """Slice, its box (x0, y0, x1, y1) or None, and its points and signs or None.

    Of a 3D box the middle slice is taken.

    Raises
    ------
    RuntimeError
        Clicks in several slices: the script takes those of one.
    """
    if job["box"] is not None:
        ends = np.array([pictures.pixel(job["box"][end]) for end in ("first", "last")])
        (x0, y0, z0), (x1, y1, z1) = ends.min(axis=0).tolist(), ends.max(axis=0).tolist()
        return (z0 + z1) // 2, (x0, y0, x1, y1), None
    places = np.array([pictures.pixel(c["ijk"]) for c in job["clicks"]])
    if len(set(places[:, 2].tolist())) > 1:
        raise RuntimeError("MedSAM2 takes the clicks of one axial slice; these lie in several.")
    signs = np.array([int(c["positive"]) for c in job["clicks"]], np.int32)
    return int(places[0, 2]), None, (places[:, :2].astype(np.float32), signs)


def pictures_of(image, modality: str) -> Pictures:
    """Greys of a nibabel image as MedSAM's preprocessing makes them, and its axial pictures."""
    import nibabel as nib

    data = np.asarray(image.dataobj, np.float32)
    if modality == "ct":
        low, high = _WINDOW_HU
    else:
        positive = data[data > 0]
        low, high = np.percentile(positive, _PERCENTILES) if positive.size else (0.0, 1.0)
    cut = np.clip(data, low, high)
    grey = (cut - cut.min()) / max(float(cut.max() - cut.min()), 1e-8) * 255.0
    if modality != "ct":
        grey[data == 0] = 0
    own, wanted = nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS")
    turn = nib.orientations.ornt_transform(own, wanted)
    turned = nib.orientations.apply_orientation(grey.astype(np.uint8), turn)
    return Pictures(np.ascontiguousarray(turned.T), tuple(image.shape[:3]), turn)


def frames_of(pictures: np.ndarray, device):
    """(Z, 3, 512, 512) of (Z, Y, X) uint8: resized as the script does, then ImageNet's mean and spread."""
    import torch
    from PIL import Image

    frames = np.zeros((len(pictures), 3, SIDE, SIDE))
    for n, picture in enumerate(pictures):
        if picture.shape == (SIDE, SIDE):
            frames[n] = picture
        else:
            rgb = Image.fromarray(picture).convert("RGB").resize((SIDE, SIDE))
            frames[n] = np.array(rgb).transpose(2, 0, 1)
    made = torch.from_numpy(frames / 255.0).to(device)
    made -= torch.tensor(_MEAN, dtype=torch.float32)[:, None, None].to(device)
    made /= torch.tensor(_SPREAD, dtype=torch.float32)[:, None, None].to(device)
    return made


def checked(logits):
    """Logits, refused where they hold NaN."""
    contract.no_nan(None, None, logits)
    return logits


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    contract.serve(MedSam2Worker(Path(sys.argv[1])))
