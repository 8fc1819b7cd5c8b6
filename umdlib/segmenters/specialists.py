"""The specialists trained here: nnU-Net and three networks within it, one set of weights per condition."""

from __future__ import annotations

import functools
import hashlib
import json
import os

import nibabel as nib
import numpy as np

from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.network import quick, seeded
from umdlib.segmenters.nnunet import NnUNet, planned_network, predictor_of, tiny_model
from umdlib.training import card, release
from umdlib.training.networks import BUILD
from umdlib.volume import Volume

CONDITIONS = (("petct", "CT"), ("petct", "PET"), ("petmr", "MR"), ("petmr", "PET"))


class Specialist(NnUNet):
    """nnU-Net's predictor on images turned to RAS+, as in training."""

    def _predicted(self, image: Volume) -> np.ndarray:
        """Label map (I, J, K) on the image's own axes."""
        turn = nib.orientations.io_orientation(image.affine)
        data = nib.orientations.apply_orientation(image.data, turn)
        affine = image.affine @ nib.orientations.inv_ornt_aff(turn, image.shape)
        labels = super()._predicted(Volume(data, affine, image.unit, image.name))
        return nib.orientations.apply_orientation(labels, _back(turn))


def _back(turn: np.ndarray) -> np.ndarray:
    """The orientation that undoes `turn`."""
    back = np.empty_like(turn)
    back[turn[:, 0].astype(int)] = np.stack([np.arange(len(turn)), turn[:, 1]], axis=1)
    return back


def released(network: str, recipe: str = "small") -> tuple[tuple[str, str], ...]:
    """Conditions (session, modality) that have released weights."""
    known = set(card.names())
    return tuple(c for c in CONDITIONS if release.name_of(network, recipe, *c) in known)


def specialist(architecture: dict, state: dict, device: str = "cpu") -> Segment:
    """The call of a card's architecture with a state in float32."""
    plans, dataset = architecture["plans"], architecture["dataset"]
    (configuration,) = plans["configurations"]
    net = quick(_network(architecture, configuration))
    weights = {
        "network_weights": release.every_name(net, state), "trainer_name": architecture["trainer"],
        "init_args": {"configuration": configuration}, "inference_allowed_mirroring_axes": None,
    }  # fmt: skip
    predictor = predictor_of(
        plans, dataset, weights, device, mirror=False, build=lambda channels, heads: net
    )
    return Specialist(predictor, {k: v for k, v in dataset["labels"].items() if v > 0})


def _network(architecture: dict, configuration: str):
    """The network of a card, not yet filled."""
    channels = len(architecture["dataset"]["channel_names"])
    heads = len(architecture["dataset"]["labels"])
    if architecture["network"] in BUILD:
        return BUILD[architecture["network"]](channels, heads, small=True)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(architecture["plans"]).get_configuration(configuration)
    return planned_network(plans, channels, heads)


def _tiny(network: str) -> Segment:
    """The network at its small size with random weights, two structures."""
    plans, dataset = tiny_model()
    architecture = {"network": network, "trainer": network, "plans": plans, "dataset": dataset}
    with seeded(0):
        state = _network(architecture, "tiny").state_dict()
    return specialist(architecture, state)


def _record(network: str, title: str, summary: str, paper: str, packages=()) -> Segmenter:
    """Record of a specialist."""
    conditions = released(network)
    wanted = conditions or CONDITIONS[:1]
    names = [release.name_of(network, "small", *c) for c in wanted]
    cards = {n: card.read(n) for n in names if conditions}
    structures = {s for c in cards.values() for s in c.data["structures"]}

    def load(device: str = "cpu", condition: tuple[str, str] = CONDITIONS[0]) -> Segment:
        name = release.name_of(network, "small", *condition)
        return specialist(card.read(name).architecture, card.read_state(name), device)

    return Segmenter(
        name=f"{network}_small",
        title=title,
        summary=summary,
        load=load,
        prompts=frozenset({"class"}),
        settings={n: _digest(c) for n, c in cards.items()} | {"mirroring": False},
        packages=("nnunetv2", "torch", *packages),
        extra="nnunet",
        weights=tuple(card.item(n) for n in names),
        modalities=tuple(dict.fromkeys(m for _, m in wanted)),
        paper=paper,
        code_licence="Apache-2.0",
        trained_on="10 synthetic subjects of the session and modality that it is asked about; "
        "none of them is scored",
        native="the same: no prompt",
        grid="7 mm, half a body in one patch; class scores are interpolated to the image",
        tiny=functools.partial(_tiny, network),
        structures=tuple(sorted(structures)),
        conditions=conditions,
    )


def _digest(about: card.Card) -> str:
    """What a prediction depends on beside the tensors: the plans."""
    text = json.dumps(about.architecture, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


NNUNET_SMALL = _record(
    "nnunet", "nnU-Net v2, trained here",
    "nnU-Net's own planning, preprocessing, training and prediction at a size for two CPU cores.",
    "doi:10.1038/s41592-020-01008-z",
)  # fmt: skip
SEGRESNET_SMALL = _record(
    "segresnet", "SegResNet, trained here",
    "A residual encoder-decoder with 8 filters, trained within nnU-Net on two CPU cores.",
    "arXiv:1810.11654", packages=("monai",),
)  # fmt: skip
SWINUNETR_SMALL = _record(
    "swinunetr", "SwinUNETR, trained here",
    "Three of its four stages of windows, feature size 12, trained within nnU-Net.",
    "arXiv:2201.01266", packages=("monai",),
)  # fmt: skip
STUNET_SMALL = _record(
    "stunet", "STU-Net, trained here",
    "Four of STU-Net-S's six stages, trained within nnU-Net on two CPU cores.",
    "arXiv:2304.06716", packages=("medim",),
)  # fmt: skip
