"""VoxTell's own predictor on its own folder, reader and writer, against the adapter."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient
from voxtell.inference import predictor as package

from comparisons import common
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.systems import voxtell

NETWORK = "tiny, random, patch of 32"
TEXTS = ("liver", "Left Kidney", "spleen")


def compare() -> Iterator[common.Found]:
    """Texts asked together by the package, one by one and foreseen by the adapter."""
    official = _official()
    for scene in common.scenes():
        folder = common.scratch()
        image = scene.saved(folder)
        theirs = _masks(official, folder)
        for how in ("one by one", "foreseen"):
            segment = voxtell.tiny()
            prompts = [Prompt("x", text=text) for text in TEXTS]
            if how == "foreseen":
                segment.foresee(image, prompts)
            for prompt in prompts:
                said = f"the text {prompt.text.lower()}, {how}"
                yield common.Found(scene.name, NETWORK, said, theirs[prompt.text], segment(image, prompt))


def _official():
    """The package's predictor, constructed as its readme does, from a folder that holds the tiny network."""
    folder = common.scratch()
    (folder / "fold_0").mkdir()
    (folder / "plans.json").write_text(json.dumps(voxtell.tiny_voxtell_plans()), "utf-8")
    state = {"network_weights": voxtell.tiny_network().state_dict()}
    torch.save(state, folder / "fold_0" / "checkpoint_final.pth")
    bank = voxtell.tiny_bank()
    np.savez(folder / "bank.npz", labels=np.array(list(bank)), embeddings=np.stack(list(bank.values())))
    model = voxtell.tiny_model()
    # the constructor has the published network's sizes as numbers
    package.VoxTellModel = lambda **given: model(**given | voxtell.TINY_SIZES)
    return package.VoxTellPredictor(str(folder), torch.device("cpu"), embedding_bank=str(folder / "bank.npz"))


def _masks(official, folder: Path) -> dict[str, np.ndarray]:
    """Masks (I, J, K) by text: files read, predicted and written by the package and nnU-Net's reader."""
    reader = NibabelIOWithReorient()
    array, properties = reader.read_images([str(folder / "i.nii.gz")])
    with contextlib.redirect_stderr(io.StringIO()):
        found = official.predict_single_image(array, list(TEXTS))
    masks = {}
    for text, mask in zip(TEXTS, found, strict=True):
        reader.write_seg(mask, str(folder / "m.nii.gz"), properties)
        masks[text] = np.asarray(nib.load(folder / "m.nii.gz").dataobj) > 0
    return masks
