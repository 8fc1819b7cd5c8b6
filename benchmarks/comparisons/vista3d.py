"""VISTA3D's MONAI bundle, its own evaluator and inferer, against the adapter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from comparisons import common
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.preparation import network
from umdlib.segmenters.systems import vista3d

NETWORK = "tiny, random, windows of 64"


def compare(checkout: Path) -> Iterator[common.Found]:
    """Classes one at a time, then points without a class."""
    bundle = checkout / "models" / "vista3d"
    sys.path.insert(0, str(bundle))
    torch.from_numpy = torch.as_tensor  # the 2024 script gets a tensor back from numpy 2
    with network.seeded(0):
        net = vista3d.build(small=True).eval()
    for scene in common.scenes():
        folder = common.scratch()
        given = scene.saved(folder)
        official = _bundle(bundle, folder, net)
        for name in ("liver", "kidney_left", "lung") if scene.name == "flipped" else ("liver", "lung"):
            ids = vista3d.CLASSES[name]
            asked = [20] if name == "lung" else list(ids)
            theirs = np.isin(official(label_prompt=asked), ids)
            mine = vista3d.Vista3D(net, "cpu", by="class", side=64)(given, Prompt(name))
            said = f"class {name}" + " (20, expanded to five lobes)" * (name == "lung")
            yield common.Found(scene.name, NETWORK, said, theirs, mine)
        for said, points in scene.clicks(lit=True).items():
            prompt = Prompt("x", scene.prompted(points))
            voxels, signs = [list(v) for v, _ in points], [int(s) for _, s in points]
            for sign in (1, -1):  # of the point head's answer: one of the two is above 0 at the clicks
                turned = net.point_head.register_forward_hook(lambda head, given, made, by=sign: by * made)
                mine = vista3d.Vista3D(net, "cpu", by="click", side=64)(given, prompt)
                theirs = official(points=voxels, point_labels=signs) == 1 if mine.any() or sign < 0 else None
                turned.remove()
                if theirs is not None:
                    yield common.Found(scene.name, NETWORK, said, theirs, mine)
                    break


def _bundle(bundle: Path, folder: Path, net):
    """The bundle's inference as a function of its input dictionary."""
    from monai.bundle import ConfigParser

    config = json.loads((bundle / "configs" / "inference.json").read_text("utf-8"))
    config |= {
        "bundle_root": str(bundle),
        "output_dir": str(folder),
        "patch_size": [64] * 3,
        "device": "$torch.device('cpu')",
        "network_def": net,
        "initialize": [],
        "handlers": [],
    }
    config["evaluator"]["amp"] = False

    def official(**prompt) -> np.ndarray:
        image = {"image": str(folder / "i.nii.gz")}
        parser = ConfigParser(config | {"input_dict": image | prompt})
        parser.parse()
        parser.get_parsed_content("evaluator").run()
        return np.asarray(nib.load(folder / "i" / "i_trans.nii.gz").dataobj)

    return official
