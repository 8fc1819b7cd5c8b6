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
from umdlib import labels, segmenters
from umdlib.images.partner import onto
from umdlib.images.volume import Volume
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


def compare_two() -> Iterator[common.Found]:
    """Two channels: files on one grid through the command, the image and its partner through the adapter."""
    for reader, structural in (("SimpleITKIO", "CT"), ("NibabelIOWithReorient", "MR")):
        plans, dataset = nnunet.tiny_pair_model((structural, "PET"), reader)
        model = write_folder(plans, dataset, 2)
        segment = segmenters.load(trained(model, mirror=False))
        unit = labels.MODALITIES[structural].unit
        scenes = [s for s in common.scenes() if s.unit in (unit, "SUV")]
        images, partners, folders = [], [], [common.scratch() for _ in scenes]
        for scene, folder in zip(scenes, folders, strict=True):
            images.append(scene.saved(folder))
            partners.append(_partner(scene, unit if scene.unit == "SUV" else "SUV"))
            channels = [images[-1].data, onto(images[-1], partners[-1])]
            for number, data in enumerate(channels[::-1] if scene.unit == "SUV" else channels):
                nib.save(nib.Nifti1Image(data, scene.affine), folder / f"c{number}.nii.gz")
        predicted = _predicted(model, folders, 2, False, ("c0.nii.gz", "c1.nii.gz"))
        for scene, image, partner, theirs in zip(scenes, images, partners, predicted, strict=True):
            mine = np.zeros(image.shape, np.uint8)
            for name, value in LABELS.items():
                mine[segment(image, Prompt(name), partner=partner)] = value
            asked = "PET" if scene.unit == "SUV" else structural
            said = f"nnunet:FOLDER, {reader}, {structural} and PET, asked about {asked}"
            yield common.Found(scene.name, "tiny, random, patch of 32", said, theirs, mine)


def _partner(scene: common.Scene, unit: str) -> Volume:
    """Noise on a grid of its own that covers most of a scene."""
    spacing = np.array([3.5, 3.5, 3.0])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in scene.data.shape])).reshape(3, -1).T
    world = corners @ scene.affine[:3, :3].T + scene.affine[:3, 3]
    shape = tuple(np.maximum(np.ceil(np.ptp(world, axis=0) / spacing), 6).astype(int))
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (world[:, 0].max() + 4, world[:, 1].min() - 4, world[:, 2].min() + 6)
    values = np.random.default_rng(5).normal(0, 1, shape)
    data = np.abs(3 * values) if unit == "SUV" else 150 * values
    return Volume(data.astype(np.float32), affine, unit, "partner")


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


def _predicted(
    model: Path, folders: list[Path], count: int, mirror: bool, files: tuple[str, ...] = ("i.nii.gz",)
) -> list[np.ndarray]:
    """Label maps (I, J, K) that ``nnUNetv2_predict_from_modelfolder`` writes of each folder's channels."""
    place = common.scratch()
    cases, out = place / "cases", place / "out"
    cases.mkdir()
    for n, folder in enumerate(folders):
        for channel, file in enumerate(files):
            (cases / f"{n}_{channel:04d}.nii.gz").write_bytes((folder / file).read_bytes())
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
