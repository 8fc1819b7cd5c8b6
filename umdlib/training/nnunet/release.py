"""A finished specialist as released weights: tensors stored once, plans in the card, log beside."""

from __future__ import annotations

import json
from pathlib import Path

from umdlib.cohort.manifest import Cohort
from umdlib.networks.specialists import TITLES, TRAINERS, name_of, unique_tensors
from umdlib.synthetic.truth import truths
from umdlib.training.nnunet import train as nnunet_train
from umdlib.training.nnunet.recipes import RECIPES, for_network
from umdlib.version import __version__
from umdlib.weights import card
from umdlib.weights import reading as weights

_KEPT = (
    "dataset_name",
    "plans_name",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "label_manager",
    "foreground_intensity_properties_per_channel",
    "experiment_planner_used",
    "original_median_spacing_after_transp",
    "original_median_shape_after_transp",
)


def release(
    work: Path | str,
    cohort: Cohort,
    network: str = "nnunet",
    *,
    folder: Path | str = card.FOLDER,
    cores: int = 1,
) -> card.Card:
    """Write weights, card and log of a network's finished training in `work`.

    Parameters
    ----------
    work
        Folder of `umdlib.training.nnunet.train.train`.
    cohort
        The training cohort: its seed and spacing go to the card.
    network
        Which network was trained there.
    folder
        Where to.
    cores
        What the training was allowed to use.

    Raises
    ------
    InputError
        The training is not finished; weights that are not finite, or too large for the package.
    """
    import torch

    root = nnunet_train.model_folder(work, network)
    request = nnunet_train.read_request(work)
    log = nnunet_train.read_log(root)
    plans = json.loads((root / "plans.json").read_text("utf-8"))
    about = json.loads((root / "dataset.json").read_text("utf-8"))
    final = root / f"fold_{nnunet_train.FOLD}" / "checkpoint_final.pth"
    with torch.serialization.safe_globals(weights.plain_numbers()):
        content = torch.load(final, map_location="cpu", weights_only=True)
    kept, axes = unique_tensors(content["network_weights"]), content["inference_allowed_mirroring_axes"]
    full = request["recipe"]["name"] == "full"
    prepared = json.loads((Path(work) / "preprocessed.json").read_text("utf-8"))
    made = card.Card(
        name=name_of(network, request["recipe"]["name"], request["session"], request["modality"]),
        title=f"{TITLES[network]}, {request['recipe']['name']}: {request['modality']}",
        architecture={
            "network": network,
            "trainer": TRAINERS[network],
            "plans": _small_plans(plans, request["recipe"]["configuration"]),
            "dataset": about,
            "full_size": full,
            "mirroring_axes": list(axes) if axes else [],
        },
        parameters=sum(v.numel() for v in kept.values()),
        data={
            "cohort": cohort.name,
            "session": request["session"],
            "modalities": [request["modality"]],
            "subjects": len(request["subjects"]),
            "files": request["files"],
            "structures": request["structures"],
            **drawn(cohort),
        },
        settings={
            "seed": request["seed"],
            **request["recipe"],
            "precision_stored": "float32" if full else "float16",
            "recipe_of_the_code": for_network(RECIPES[request["recipe"]["name"]], network).record()
            == request["recipe"],
        },
        cost={
            "cpu_seconds": round(float(log["cpu_s"].sum()), 1),
            "wall_seconds": round(float(log["wall_s"].sum()), 1),
            "planning_cpu_seconds": round(prepared["cpu_s"], 1),
            "cores": cores,
            "device": request["device"],
        },
        code_version=__version__,
        note="The losses and the pseudo Dice of the log are of training subjects.",
    )
    curve = log.rename(columns={"train_loss": "loss"})
    return card.write(made, kept, curve, folder=folder, half=not full)


def _small_plans(plans: dict, configuration: str) -> dict:
    """What a prediction needs of nnU-Net's plans."""
    made = {k: plans[k] for k in _KEPT if k in plans}
    made["configurations"] = {configuration: plans["configurations"][configuration]}
    return made


def drawn(cohort: Cohort) -> dict:
    """Seed, spacing and code of a synthetic cohort, from its first subject's record; else unknown."""
    found = truths(cohort)
    if not found:
        return {"seed": "not synthetic", "spacing_mm": "its own"}
    record = found[0]
    return {
        "seed": record["seed"],
        "spacing_mm": record["spacing_mm"],
        "synthesis": record.get("source", "")[:12],
    }
