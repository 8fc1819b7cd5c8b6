"""Runs in SAT's environment: the repository's ``inference.py`` on random weights.

    python sat_inference.py CHECKOUT FOLDER PATCH_SIZE MODALITY

FOLDER holds ``i.nii.gz``; it gets ``w.pth``, ``t.pth``, ``biolord/``, the official masks in ``out``, and
``grid.nii.gz``, the processed image with the affine that MONAI keeps and the script drops. Without a GPU
the process group is gloo's and ``cuda`` is read as ``cpu``. The text encoder's tokenizer and
configuration, which the code fetches from a hub, are small ones of our own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

CHECKOUT, FOLDER = sys.argv[1], Path(sys.argv[2])
PATCH, MODALITY = json.loads(sys.argv[3]), json.loads(sys.argv[4])
WORDS = ["liver", "left kidney", "esophagus"]
VOCABULARY = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", "liver", "left", "kidney", "esophagus"]


def main() -> None:
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(20000 + os.getpid() % 20000),
    }
    sys.path[:0] = [CHECKOUT, f"{CHECKOUT}/model/dynamic-network-architectures-main"]
    if not torch.cuda.is_available():
        without_gpu()
    write_text_encoder(FOLDER / "biolord")
    resize()
    job = {"image": str(FOLDER / "i.nii.gz"), "label": WORDS, "dataset": "d", "modality": MODALITY}
    (FOLDER / "job.jsonl").write_text(json.dumps(job))
    sys.argv = [
        "inference.py",
        "--rcd_dir",
        str(FOLDER / "out"),
        "--datasets_jsonl",
        str(FOLDER / "job.jsonl"),
        "--vision_backbone",
        "UNET",
        "--crop_size",
        *map(str, PATCH),
        "--checkpoint",
        str(FOLDER / "w.pth"),
        "--text_encoder",
        "ours",
        "--text_encoder_checkpoint",
        str(FOLDER / "t.pth"),
        "--batchsize_3d",
        "1",
        "--num_workers",
        "0",
    ]
    source = Path(CHECKOUT, "inference.py").read_text("utf-8")
    if not torch.cuda.is_available():
        source = source.replace(
            'torch.device("cuda", int(os.environ["LOCAL_RANK"]))', 'torch.device("cpu")'
        ).replace('"nccl"', '"gloo"')
    scope = {"__name__": "official"}
    exec(compile(source, "inference.py", "exec"), scope)
    args = scope["parse_args"]()
    torch.distributed.init_process_group(backend="gloo", init_method="env://")
    save_random_weights(scope, args)
    torch.distributed.destroy_process_group()
    scope["main"](args)
    save_grid()


def without_gpu() -> None:
    torch.cuda.set_device = lambda device: None
    torch.cuda.current_device = lambda: "cpu"
    torch.cuda.empty_cache = lambda: None
    real = torch.nn.parallel.DistributedDataParallel
    torch.nn.parallel.DistributedDataParallel = lambda net, device_ids=None, **k: real(net, **k)


def write_text_encoder(folder: Path) -> None:
    """A small MPNet, as BioLORD is one, and a vocabulary of the words asked for."""
    import functools

    from model import text_encoder
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    MPNetTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(5)
    config = MPNetConfig(vocab_size=len(VOCABULARY) + 1, num_hidden_layers=2)
    MPNetModel(config).save_pretrained(folder)
    text_encoder.Knowledge_Encoder = functools.partial(text_encoder.Knowledge_Encoder, str(folder))


def resize() -> None:
    """Smaller patches than the 288 x 288 x 96 that the code names in its calls."""
    from data import inference_dataset
    from evaluate import inference_engine

    split, gaussian = inference_dataset.split_3d, inference_engine.compute_gaussian
    inference_dataset.split_3d = lambda image, crop_size: split(image, crop_size=PATCH)
    inference_engine.compute_gaussian = lambda size: gaussian(tuple(PATCH))
    inference_dataset.Inference_Dataset.__init__.__defaults__ = (256, 1, PATCH)


def save_random_weights(scope: dict, args) -> None:
    """Checkpoints in the form of the published ones."""
    torch.manual_seed(7)
    net = scope["build_maskformer"](args, torch.device("cpu"), 0)
    words = scope["Text_Encoder"](text_encoder="ours", checkpoint=None, gpu_id=0, device=torch.device("cpu"))
    with torch.no_grad():
        for value in (*net.parameters(), *words.parameters()):
            value += 0.02 * torch.randn_like(value)
    torch.save({"model_state_dict": net.state_dict()}, FOLDER / "w.pth")
    torch.save({"model_state_dict": words.model.state_dict()}, FOLDER / "t.pth")


def save_grid() -> None:
    """The processed image with its affine, by MONAI's transforms in the order of the script."""
    import monai.transforms as transforms

    keys = ["image"]
    image = transforms.Compose(
        [
            transforms.LoadImaged(keys),
            transforms.EnsureChannelFirstd(keys),
            transforms.Orientationd(keys, axcodes="RAS"),
            transforms.Spacingd(keys, pixdim=(1, 1, 3), mode="bilinear"),
            transforms.CropForegroundd(keys, source_key="image"),
        ]
    )({"image": str(FOLDER / "i.nii.gz")})["image"]
    nib.save(nib.Nifti1Image(image[0].numpy(), np.asarray(image.affine)), FOLDER / "grid.nii.gz")


if __name__ == "__main__":
    main()
