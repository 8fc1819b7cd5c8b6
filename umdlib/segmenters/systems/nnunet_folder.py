"""Any trained nnU-Net v2 folder as a segmenter: its own plans, trainer, folds and axis order."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.networks.specialists import TRAINERS
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation.slices import oriented
from umdlib.segmenters.systems.nnunet import NnUNet
from umdlib.weights import reading as weights

REORIENTS = "NibabelIOWithReorient"  # the reader of plans that turns images to RAS first
CHECKPOINT = "checkpoint_final.pth"


class TurnedNnUNet(NnUNet):
    """nnU-Net whose plans turn every image to RAS before anything else."""

    def _predicted(self, image: Volume) -> np.ndarray:
        """Label map (I, J, K) on the image's own axes."""
        data, affine, back = oriented(image.data, image.affine, "RAS")
        return back(super()._predicted(Volume(data, affine, image.unit, image.name)))


def trained(
    folder: str | Path, *, name: str = "", checkpoint: str = CHECKPOINT, mirror: bool = True
) -> Segmenter:
    """Record of a folder ``…/TRAINER__PLANS__CONFIGURATION`` that nnU-Net's training wrote.

    On the command line ``nnunet:FOLDER``. Numbered folds are averaged, as ``nnUNetv2_predict``
    does; without any, ``fold_all`` is taken. nnU-Net's own checkpoints also hold its log, so each
    is converted once with ``umdlib weights convert`` (to a ``.pth``), which runs no code.

    Parameters
    ----------
    folder
        Holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``.
    name
        Of the segmenter; by default of the folders.
    checkpoint
        File name inside each fold.
    mirror
        Whether predictions are averaged over mirrored images, where training allowed it.

    Raises
    ------
    InputError
        The folder holds no plans or no checkpoint, or its network takes several channels.
    """
    root = Path(folder).expanduser().resolve()
    plans, dataset = (_json(root / f"{part}.json") for part in ("plans", "dataset"))
    if len(dataset["channel_names"]) != 1:
        raise InputError(f"nnU-Net of {root} takes {len(dataset['channel_names'])} channels, not 1.")
    files = tuple(
        Weights(file=str(fold / checkpoint), where="your own training", licence="yours")
        for fold in folds(root, checkpoint)
    )
    labels = {k: v for k, v in dataset["labels"].items() if isinstance(v, int) and v > 0}
    title = f"nnU-Net, {plans.get('dataset_name', root.parent.name)}"

    def load(device: str = "cpu") -> Segment:
        states = [weights.read_state(weights.as_published(item, title)) for item in files]
        turned = plans.get("image_reader_writer") == REORIENTS
        turned = turned or states[0]["trainer_name"] in TRAINERS.values()  # trained in RAS
        kind = TurnedNnUNet if turned else NnUNet
        return kind(ensemble(plans, dataset, states, device, mirror=mirror), labels)

    return Segmenter(
        name=name or f"nnunet_{root.parent.name}_{root.name}".lower(),
        title=title,
        summary=f"A trained nnU-Net folder, {len(files)} fold{'s' * (len(files) > 1)}.",
        load=load,
        prompts=frozenset({"class"}),
        settings={"mirroring": mirror, "plans": plans.get("plans_name", "")},
        packages=("nnunetv2", "torch"),
        extra="nnunet",
        weights=files,
        paper="doi:10.1038/s41592-020-01008-z",
        code_licence="Apache-2.0",
        trained_on=f"{plans.get('dataset_name', 'its own data')}",
        native="the same: no prompt",
        grid="the plans' spacing and patch, half overlapping windows",
        structures=tuple(labels),
    )


def folds(root: Path, checkpoint: str = CHECKPOINT) -> list[Path]:
    """Folders of the folds that are used: the numbered ones, else ``fold_all``.

    Raises
    ------
    InputError
        There is none with a checkpoint.
    """
    found = [f for f in sorted(root.glob("fold_*")) if (f / checkpoint).is_file()]
    numbered = [f for f in found if f.name.removeprefix("fold_").isdigit()]
    used = sorted(numbered, key=lambda f: int(f.name.removeprefix("fold_"))) or found[:1]
    if not used:
        raise InputError(f"Folder {root} holds no fold_*/{checkpoint}.")
    return used


def ensemble(plans: dict, dataset: dict, states: list[dict], device: str, *, mirror: bool = True):
    """The package's predictor around the weights of all folds, each strictly loaded."""
    import torch

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration(states[0]["init_args"]["configuration"])
    trainer = trainer_class(states[0]["trainer_name"])
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    net = trainer.build_network_architecture(
        manager, configuration, len(dataset["channel_names"]), heads, enable_deep_supervision=False
    )
    for number, state in enumerate(states):
        weights.fill(net, state["network_weights"], f"{CHECKPOINT} of fold {number + 1}")
    axes = states[0].get("inference_allowed_mirroring_axes")
    predictor = nnUNetPredictor(
        use_mirroring=mirror,
        perform_everything_on_device=device != "cpu",
        device=torch.device(device),
        allow_tqdm=False,
        verbose=False,
    )
    predictor.manual_initialization(
        net,
        manager,
        configuration,
        [s["network_weights"] for s in states],
        dataset,
        states[0]["trainer_name"],
        tuple(axes) if axes is not None else None,
    )
    return predictor


def trainer_class(name: str):
    """The trainer that built a network: of nnU-Net, of this package, or of ``nnUNet_extTrainer``.

    Raises
    ------
    InputError
        There is no such class.
    """
    import nnunetv2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    if name == "nnUNetTrainer":
        return nnUNetTrainer
    if name in TRAINERS.values():
        from umdlib.networks.trainers import specialists

        return getattr(specialists, name)
    outside = os.environ.get("nnUNet_extTrainer")  # noqa: SIM112 - nnU-Net's own name
    for file in sorted(Path(outside).glob("*.py")) if outside else ():
        spec = importlib.util.spec_from_file_location(f"nnunet_trainer_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, name):
            return getattr(module, name)
    inside = str(Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer")
    found = recursive_find_python_class(inside, name, "nnunetv2.training.nnUNetTrainer")
    if found is None:
        raise InputError(
            f"Trainer '{name}' is neither in nnunetv2 nor in the folder nnUNet_extTrainer "
            f"({outside or 'not set'})."
        )
    return found


def _json(path: Path) -> dict:
    """Content of a file of the folder."""
    if not path.is_file():
        raise InputError(f"File {path} does not exist. A trained nnU-Net folder holds it.")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"File {path} is no JSON: {error}.") from None
