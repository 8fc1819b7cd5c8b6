"""nnU-Net's command line on a NIfTI file, against the adapter on the same trained folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from comparisons import common
from umdlib import segmenters
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.preparation import network, nnunet
from umdlib.segmenters.systems.nnunet import trained

LABELS = {"liver": 1, "spleen": 2}


def compare() -> Iterator[common.Found]:
    """The record in the weights folder, then FOLDER with one fold and with two; all readers of axes."""
    plans, dataset = nnunet.tiny_model()
    for reader, count, mirror in (
        ("SimpleITKIO", 1, True),
        ("NibabelIOWithReorient", 1, True),
        ("SimpleITKIOWithReorient", 1, True),
        ("SimpleITKIO", 2, False),
        ("NibabelIO", 2, False),
    ):
        model = write_folder(plans | {"image_reader_writer": reader}, dataset, count)
        segment = trained(model, mirror=mirror).load("cpu") if count > 1 else _recorded(model)
        named = "nnunet:FOLDER" if count > 1 else "record nnunet"
        said = f"{named}, {reader}, {count} fold{'s' * (count > 1)}" + ", mirrored" * mirror
        scenes, folders = list(common.scenes()), [common.scratch() for _ in common.scenes()]
        images = [s.saved(f, np.int16) for s, f in zip(scenes, folders, strict=True)]
        predicted = _predicted(model, folders, count, mirror)
        for scene, image, theirs in zip(scenes, images, predicted, strict=True):
            mine = np.zeros(image.shape, np.uint8)
            for name, value in LABELS.items():
                mine[segment(image, Prompt(name))] = value
            yield common.Found(scene.name, "tiny, random, patch of 32", said, theirs, mine)


def _recorded(model: Path):
    """The record ``nnunet`` as a user names it, with the folder at its place among the weights."""
    place = common.scratch()
    shutil.copytree(model, place / "nnunet" / "petct_ct")
    os.environ["UMD_WEIGHTS"] = str(place)
    try:
        return segmenters.load("nnunet", "cpu", ("petct", "CT"))
    finally:
        del os.environ["UMD_WEIGHTS"]


def write_folder(plans: dict, dataset: dict, count: int) -> Path:
    """A trained folder with random weights, one seed per fold; one fold alone is ``fold_all``."""
    root = common.scratch() / "Dataset001_Tiny" / "nnUNetTrainer__tiny__tiny"
    root.mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans), "utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    for fold in range(count):
        state = nnunet.random_state(plans, dataset)
        state["inference_allowed_mirroring_axes"] = (0, 1, 2)
        with network.seeded(fold):
            for tensor in state["network_weights"].values():
                tensor += 0.1 * torch.randn_like(tensor)
        place = root / (f"fold_{fold}" if count > 1 else "fold_all")
        place.mkdir()
        torch.save(state, place / "checkpoint_final.pth")
    return root


def _predicted(model: Path, folders: list[Path], count: int, mirror: bool) -> list[np.ndarray]:
    """Label maps (I, J, K) that ``nnUNetv2_predict_from_modelfolder`` writes of each folder's image."""
    place = common.scratch()
    cases, out = place / "cases", place / "out"
    cases.mkdir()
    for n, folder in enumerate(folders):
        (cases / f"{n}_0000.nii.gz").write_bytes((folder / "i.nii.gz").read_bytes())
    tool = Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder"
    command = [
        str(tool),
        "-i",
        str(cases),
        "-o",
        str(out),
        "-m",
        str(model),
        "-f",
        *(map(str, range(count)) if count > 1 else ["all"]),
        "-device",
        "cpu",
        "-npp",
        "1",
        "-nps",
        "1",
    ]
    command += [] if mirror else ["--disable_tta"]
    empty = {f"nnUNet_{n}": os.devnull for n in ("raw", "preprocessed", "results")}
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ) | empty)
    return [np.asarray(nib.load(out / f"{n}.nii.gz").dataobj).astype(np.uint8) for n in range(len(folders))]
