"""The specialists trained here: nnU-Net and three networks within it, one set of weights per condition."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from umdlib.errors import InputError
from umdlib.networks.specialists import BUILD, TITLES, every_name, name_of
from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.segmenters.preparation import nnunet
from umdlib.segmenters.preparation.network import quick, seeded
from umdlib.segmenters.preparation.nnunet import CONDITIONS
from umdlib.weights import card


def released(network: str, recipe: str = "small", folder: Path = card.FOLDER) -> tuple[tuple[str, str], ...]:
    """Conditions (session, modality) that have released weights."""
    known = set(card.names(folder=folder))
    return tuple(c for c in CONDITIONS if name_of(network, recipe, *c) in known)


def specialist(architecture: dict, state: dict, device: str = "cpu") -> Segment:
    """The call of a card's architecture with a state in float32."""
    plans, dataset = architecture["plans"], architecture["dataset"]
    (configuration,) = plans["configurations"]
    net = quick(_network(architecture, configuration))
    axes = tuple(architecture.get("mirroring_axes", ())) or None
    checkpoint = {
        "network_weights": every_name(net, state),
        "trainer_name": architecture["trainer"],
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": axes,
    }
    predictor = nnunet.predictor_of(plans, dataset, [checkpoint], device, mirror=axes is not None, net=net)
    return nnunet.NnUNet(predictor, nnunet.values_of(dataset), turned=True, name=architecture["network"])


def _network(architecture: dict, configuration: str):
    """The network of a card, not yet filled."""
    channels = len(architecture["dataset"]["channel_names"])
    heads = len(architecture["dataset"]["labels"])
    if architecture["network"] in BUILD:
        full = architecture.get("full_size", False)
        return BUILD[architecture["network"]](channels, heads, small=not full)
    plans = nnunet.configuration_of(architecture["plans"], configuration)
    return nnunet.planned_network(plans, channels, heads)


def _tiny(network: str) -> Segment:
    """The network at its small size with random weights, two structures."""
    plans, dataset = nnunet.tiny_model()
    architecture = {"network": network, "trainer": network, "plans": plans, "dataset": dataset}
    with seeded(0):
        state = _network(architecture, "tiny").state_dict()
    return specialist(architecture, state)


def _record(
    network: str,
    title: str,
    summary: str,
    paper: str,
    packages=(),
    *,
    recipe: str = "small",
    folder: Path = card.FOLDER,
    own: str = "",
) -> Segmenter:
    """Record of a specialist: of a folder's cards, one per condition; `own` is its name."""
    conditions = released(network, recipe, folder)
    wanted = conditions or CONDITIONS[:1]
    names = [name_of(network, recipe, *c) for c in wanted]
    cards = {n: card.read(n, folder=folder) for n in names if conditions}
    structures = {s for c in cards.values() for s in c.data["structures"]}
    axes = any(c.architecture.get("mirroring_axes") for c in cards.values())

    def load(device: str = "cpu", condition: tuple[str, str] = CONDITIONS[0]) -> Segment:
        name = name_of(network, recipe, *condition)
        about, state = card.read(name, folder=folder), card.read_state(name, folder=folder)
        return specialist(about.architecture, state, device)

    return Segmenter(
        name=own or f"{network}_{recipe}",
        title=title,
        summary=summary,
        load=load,
        prompts=frozenset({"class"}),
        settings={n: _digest(c) for n, c in cards.items()} | {"mirroring": axes},
        packages=("nnunetv2", "torch", *packages),
        extra="nnunet",
        weights=tuple(card.item(n, folder=folder) for n in names),
        modalities=tuple(dict.fromkeys(m for _, m in wanted)),
        paper=paper,
        code_licence="Apache-2.0",
        trained_on="your own data, of the session and modality that it segments"
        if own
        else "10 synthetic subjects of the session and modality that it is asked about, drawn from "
        "another seed than the book's",
        native="the same: no prompt",
        grid="the plans' spacing and patch; class scores are interpolated to the image"
        if own
        else "7 mm, half a body in one patch; class scores are interpolated to the image",
        tiny=functools.partial(_tiny, network),
        structures=tuple(sorted(structures)),
        conditions=conditions,
    )


def trained(path: str | Path) -> Segmenter:
    """Record of a network that ``umdlib train specialist --release FOLDER`` made.

    On the command line ``specialist:FOLDER/NETWORK_RECIPE``, such as ``specialist:mine/nnunet_full``:
    all cards of that network and recipe in the folder, one per session and modality.

    Raises
    ------
    InputError
        There is no such card, or it is incomplete.
    """
    path = Path(path).expanduser().resolve()
    network, _, recipe = path.name.partition("_")
    if network not in _PAPERS or not recipe or not released(network, recipe, path.parent):
        found = sorted(
            {"_".join(n.split("_")[:2]) for n in card.names(folder=path.parent) if n.split("_")[0] in _PAPERS}
        )
        raise InputError(
            f"No card of 'specialist:{path}'. Give folder, network and recipe of what 'umdlib train "
            f"specialist --release FOLDER' wrote: specialist:FOLDER/nnunet_small. In {path.parent}: "
            f"{', '.join(found) or 'none'}."
        )
    paper, packages = _PAPERS[network]
    return _record(
        network,
        f"{TITLES[network]}, {path.parent.name}",
        "A specialist that you trained.",
        paper,
        packages,
        recipe=recipe,
        folder=path.parent,
        own=f"{path.name}_{path.parent.name}".lower(),
    )


def _digest(about: card.Card) -> str:
    """What a prediction depends on beside the tensors: the plans."""
    text = json.dumps(about.architecture, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# network -> paper, packages beside nnU-Net's own
_PAPERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "nnunet": ("doi:10.1038/s41592-020-01008-z", ()),
    "segresnet": ("arXiv:1810.11654", ("monai",)),
    "swinunetr": ("arXiv:2201.01266", ("monai",)),
    "stunet": ("arXiv:2304.06716", ("medim",)),
}


def _trained_here(network: str, summary: str) -> Segmenter:
    """Record of a network that the package ships."""
    paper, packages = _PAPERS[network]
    return _record(network, f"{TITLES[network]}, trained here", summary, paper, packages)


NNUNET_SMALL = _trained_here(
    "nnunet", "nnU-Net's own planning, preprocessing, training and prediction at a size for two CPU cores."
)
SEGRESNET_SMALL = _trained_here(
    "segresnet", "A residual encoder-decoder with 8 filters, trained within nnU-Net on two CPU cores."
)
SWINUNETR_SMALL = _trained_here(
    "swinunetr", "Three of its four stages of windows, feature size 12, trained within nnU-Net."
)
STUNET_SMALL = _trained_here(
    "stunet", "Four of STU-Net-S's six stages, trained within nnU-Net on two CPU cores."
)
