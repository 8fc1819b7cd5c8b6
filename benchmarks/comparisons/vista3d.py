"""NVIDIA's two MONAI bundles of VISTA3D, their own evaluator and inferer, against the adapter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from comparisons import common
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.preparation import network
from umdlib.segmenters.systems import vista3d

NETWORK = "tiny, random, windows of 64"
NETWORK_CTMR = "tiny, random, windows of 64 x 64 x 32"


def compare(checkout: Path) -> Iterator[common.Found]:
    """Classes one at a time, then points without a class."""
    recipe = replace(vista3d.CT_BUNDLE, window=(64, 64, 64))
    for scene, given, net, official in _asked(checkout / "NV-Segment-CT", recipe.window):
        for name in ("liver", "kidney_left", "lung") if scene.name == "flipped" else ("liver", "lung"):
            ids = vista3d.CLASSES[name]
            asked = [20] if name == "lung" else list(ids)
            theirs = np.isin(official(label_prompt=asked), ids)
            mine = vista3d.Vista3D(net, "cpu", by="class", recipe=recipe)(given, Prompt(name))
            said = f"class {name}" + " (20, expanded to five lobes)" * (name == "lung")
            yield common.Found(scene.name, NETWORK, said, theirs, mine)
        for said, points in scene.clicks(lit=True).items():
            prompt = Prompt("x", scene.prompted(points))
            voxels, signs = [list(v) for v, _ in points], [int(s) for _, s in points]
            for sign in (1, -1):  # of the point head's answer: one of the two is above 0 at the clicks
                turned = net.point_head.register_forward_hook(lambda head, given, made, by=sign: by * made)
                mine = vista3d.Vista3D(net, "cpu", by="click", recipe=recipe)(given, prompt)
                theirs = official(points=voxels, point_labels=signs) == 1 if mine.any() or sign < 0 else None
                turned.remove()
                if theirs is not None:
                    yield common.Found(scene.name, NETWORK, said, theirs, mine)
                    break


def compare_ctmr(checkout: Path) -> Iterator[common.Found]:
    """Two classes of the bundle of CT and MR: the lung is of lobes in CT, of two lungs elsewhere."""
    recipe = replace(vista3d.CTMR_BUNDLE, window=(64, 64, 32))
    for scene, given, net, official in _asked(checkout / "NV-Segment-CTMR", recipe.window):
        for name in ("liver", "lung"):
            ids = (vista3d.CLASSES if scene.unit == "HU" else recipe.others)[name]
            lobes = name == "lung" and scene.unit == "HU"
            theirs = np.isin(official(label_prompt=[20] if lobes else list(ids)), ids)
            mine = vista3d.Vista3D(net, "cpu", by="class", recipe=recipe)(given, Prompt(name))
            said = f"class {name}" + (
                " (20, expanded to five lobes)" if lobes else f" {ids}" * (len(ids) > 1)
            )
            yield common.Found(scene.name, NETWORK_CTMR, said, theirs, mine)


def _asked(bundle: Path, window: tuple[int, int, int]) -> Iterator[tuple]:
    """Scene, its image, the network and the bundle's inference with it, for each scene."""
    _choose(bundle)
    with network.seeded(0):
        net = vista3d.build(small=True).eval()
    for scene in common.scenes():
        folder = common.scratch()
        yield scene, scene.saved(folder), net, _bundle(bundle, folder, net, window)


def _choose(bundle: Path) -> None:
    """Import the scripts of this bundle from now on."""
    for name in [m for m in sys.modules if m.partition(".")[0] == "scripts"]:
        del sys.modules[name]
    sys.path.insert(0, str(bundle))
    torch.from_numpy = torch.as_tensor  # the script gets a tensor back from numpy 2


def _bundle(bundle: Path, folder: Path, net, window: tuple[int, int, int]):
    """The bundle's inference as a function of its input dictionary."""
    from monai.bundle import ConfigParser

    config = json.loads((bundle / "configs" / "inference.json").read_text("utf-8"))
    config |= {
        "bundle_root": str(bundle),
        "output_dir": str(folder),
        "patch_size": list(window),
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
