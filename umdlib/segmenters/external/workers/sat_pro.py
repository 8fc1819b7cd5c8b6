"""SAT's worker: the official loader, networks and window loop, and the way back that they lack.

Official and untouched: loading, normalisation, patches, text encoder, network, blending
(``data/inference_dataset.py``, ``model``, ``evaluate/inference_engine.py``). Ours: one process
without NCCL, strict loading (the official default accepts a file of which nothing fits), and the
resampling of each mask from the processed grid, which the official files do not say, to the image's.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

if __package__:
    from . import file_contract as contract
else:  # in its own environment, as a script
    import file_contract as contract

PATCH = (288, 288, 96)
TRAINING = "mid_mask_embed_proj"  # heads that the released file has from its training
_IGNORED = ("atlas_tower", "temperature")  # of the text encoder's file, as the official code does


class _SatWorker:
    """The official networks, built once, and their answers."""

    def __init__(self) -> None:
        self._loaded, self._nets, self._fraction = None, None, 0.0

    def __call__(self, job: dict, folder: Path) -> dict:
        """Write a mask per structure; returns what the log has to say."""
        import nibabel as nib

        if job["device"] == "cpu":
            contract.without_gpu()
        settings = job["settings"]
        patch = tuple(settings.get("patch_size", PATCH))
        _one_process()
        self._build(job, settings, patch)
        texts = [s["text"] for s in job["structures"]]
        affine, results = self._predicted(job, folder, texts, settings, patch)
        image = nib.load(job["image"])
        for structure in job["structures"]:
            raw = nib.load(results / f"{structure['text']}.nii.gz")
            mask = np.asarray(raw.dataobj) > 0.5
            whole = contract.onto_grid(mask, affine, image.affine, image.shape[:3])
            contract.write_mask(folder / f"{structure['value']}.nii.gz", whole, image)
        return {
            "matched_fraction": self._fraction,
            "raw_grid": {"shape": mask.shape, "affine": affine.tolist()},
        }

    def _build(self, job: dict, settings: dict, patch: tuple) -> None:
        """Text encoder and network with their weights, unless they are the ones that are there."""
        from model import text_encoder
        from model.build_model import build_maskformer

        wanted = (job["checkpoints"], settings, patch)
        if self._loaded == wanted:
            return
        device = contract.only_gpu(job["device"])
        # tokenizer and configuration come from a hub, or from a folder beside the weights
        local = Path(job["checkpoints"]["text_encoder"]["path"]).parent / "biolord"
        if local.is_dir():
            text_encoder.Knowledge_Encoder = functools.partial(
                _original(text_encoder, "Knowledge_Encoder"), str(local)
            )
        words = text_encoder.Text_Encoder(text_encoder="ours", checkpoint=None, gpu_id=0, device=device)
        backbone = settings.get("backbone", "UNET-L")
        options = SimpleNamespace(
            vision_backbone=backbone, crop_size=list(patch), patch_size=[32, 32, 32], deep_supervision=False
        )
        net = build_maskformer(options, device, 0)
        state = contract.read_checkpoint(job["checkpoints"]["text_encoder"])
        named = {
            k: v for k, v in state["model_state_dict"].items() if not any(word in k for word in _IGNORED)
        }
        fractions = [contract.fill(words.model, named)]
        state = contract.read_checkpoint(job["checkpoints"]["model"])
        fractions.append(contract.fill(net, for_inference(state["model_state_dict"])))
        net.register_forward_hook(contract.no_nan)
        self._fraction = min(fractions)
        self._nets, self._loaded = (net, words, device), wanted

    def _predicted(self, job, folder: Path, texts: list, settings: dict, patch: tuple):
        """Affine of the processed grid, and the folder of the official files."""
        import torch
        from data import inference_dataset
        from evaluate import inference_engine

        affines = []
        normalise = _original(inference_dataset, "Normalization")

        def noted(tensor, kind):
            affines.append(np.asarray(tensor.affine, float))
            return normalise(torch.as_tensor(tensor), kind)

        inference_dataset.Normalization = noted
        if patch != PATCH:  # the official functions name their size in the call
            _resized(inference_dataset, inference_engine, patch)
        line = {"image": job["image"], "label": texts, "dataset": "job", "modality": job["modality"]}
        (folder / "job.jsonl").write_text(json.dumps(line), "utf-8")
        testset = inference_dataset.Inference_Dataset(
            str(folder / "job.jsonl"), 256, settings.get("batch", 1), list(patch)
        )
        net, words, device = self._nets
        batches = [inference_dataset.collate_fn([testset[0]])]
        results = folder / "official"
        results.mkdir(exist_ok=True)
        inference_engine.inference(net, words, device, testset, batches, str(results))
        stem = Path(job["image"]).name.replace(".nii.gz", "")
        return affines[-1], results / "job" / f"seg_{stem}"


def _one_process() -> None:
    """Rank 0 of one, without NCCL: the wrapper keeps the name ``module`` and does nothing else."""
    import torch

    class Alone(torch.nn.Module):
        def __init__(self, module, **kwargs) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args, **kwargs):
            # as the original does: the official text encoder leaves its codes on the CPU
            device = next(self.module.parameters()).device
            return self.module(
                *(_moved(a, device) for a in args), **{k: _moved(v, device) for k, v in kwargs.items()}
            )

    os.environ["RANK"] = "0"
    torch.nn.parallel.DistributedDataParallel = Alone


def _moved(value, device):
    """A tensor on a device; anything else as it is."""
    return value.to(device) if hasattr(value, "to") else value


def for_inference(state: dict) -> dict:
    """A checkpoint's tensors without the heads of deep supervision, which inference has not."""
    return {k: v for k, v in state.items() if TRAINING not in k}


def _original(module, name: str):
    """An official function, kept at its first use, whatever stands in for it since."""
    kept = f"_official_{name}"
    if not hasattr(module, kept):
        setattr(module, kept, getattr(module, name))
    return getattr(module, kept)


def _resized(dataset, engine, patch: tuple) -> None:
    """Smaller patches, for tests on machines that cannot hold the official ones."""
    split, gaussian = _original(dataset, "split_3d"), _original(engine, "compute_gaussian")
    dataset.split_3d = lambda image, crop_size: split(image, crop_size=list(patch))
    engine.compute_gaussian = lambda size: gaussian(patch)


if __name__ == "__main__":
    sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/model/dynamic-network-architectures-main"]
    contract.serve(_SatWorker())
