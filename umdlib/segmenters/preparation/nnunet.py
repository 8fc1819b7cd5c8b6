"""nnU-Net's own predictor around trained weights: axes, folds and trainers as nnU-Net takes them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry
from umdlib.images.partner import modality_of, onto
from umdlib.images.volume import Volume
from umdlib.networks.specialists import TRAINERS
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.preparation.nnunet_folder import (
    channels_of,
    check_state,
    configuration_of,
    managed,
    read_folder,
    without_folders,
)
from umdlib.segmenters.preparation.slices import oriented
from umdlib.weights import reading as weights

CHECKPOINT = "checkpoint_final.pth"
# (session, modality) pairs of the benchmark: a network of its own for each
CONDITIONS = (("petct", "CT"), ("petct", "PET"), ("petmr", "MR"), ("petmr", "PET"))
# trainers outside nnunetv2 that train its planned network, with other augmentation or length: MOOSE's, LION's
_PLANNED = ("nnUNetTrainer_2000_epochs_DA5NoMirroring", "nnUNetTrainerDA5_2000epochs")
# readers of plans that turn every image to RAS first; the others keep the axes of the file
TURNING = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


class NnUNet:
    """nnU-Net's predictor, the names of its labels, and the last image's label map.

    Parameters
    ----------
    predictor
        As `predictor_of` makes it.
    labels
        Structure name to its values of the label map; a region has several.
    turned
        Whether images are turned to RAS first: the plans' reader says so, or the trainer.
    name
        Of the segmenter, for messages.
    channels
        Modalities of its input, in order, where it takes two images; empty for one.
    """

    def __init__(
        self,
        predictor,
        labels: Mapping[str, Sequence[int]],
        *,
        turned: bool = False,
        name: str = "nnunet",
        channels: tuple[str, ...] = (),
    ) -> None:
        self._predictor, self._labels, self._turned = predictor, labels, turned
        self._channels = channels
        network.guard(predictor.network, name)
        self._data: tuple[np.ndarray, np.ndarray | None] | None = None
        self._map: np.ndarray | None = None

    def __call__(
        self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None, partner: Volume | None = None
    ) -> np.ndarray:
        """Boolean mask (I, J, K): one prediction per image serves all its structures."""
        if prompt.structure not in self._labels:
            raise unknown_name("structure of this nnU-Net", prompt.structure, self._labels)
        given = (image.data, None if partner is None else partner.data)
        if self._data is None or self._data[0] is not given[0] or self._data[1] is not given[1]:
            self._map = self.label_map(image, partner)
            self._data = given
        first, *others = self._labels[prompt.structure]
        mask = self._map == first
        for value in others:
            mask |= self._map == value
        return mask

    def planned_spacing(self, *, transposed_back: bool = True) -> tuple[float, ...]:
        """Spacing of the plans in mm, for the axes of an array (K, J, I) or in the plans' own order."""
        given = [float(s) for s in self._predictor.configuration_manager.spacing]
        back = self._predictor.plans_manager.transpose_backward if transposed_back else range(3)
        return tuple(given[i] for i in back)

    def label_map(self, image: Volume, partner: Volume | None = None) -> np.ndarray:
        """Label map (I, J, K); nnU-Net's readers give arrays as SimpleITK does, (K, J, I)."""
        seen = [image.data]
        if partner is not None:
            by_modality = {modality_of(image): image.data, modality_of(partner): onto(image, partner)}
            seen = [by_modality[modality] for modality in self._channels]
        spacing = list(image.spacing_mm[::-1])
        if self._turned:
            turned = [oriented(data, image.affine, "RAS") for data in seen]
            seen, affine, back = [data for data, _, _ in turned], *turned[0][1:]
            spacing = list(geometry.spacing_mm(affine)[::-1])
        array = np.ascontiguousarray(np.stack([data.T for data in seen]), np.float32)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            labels = self._predictor.predict_single_npy_array(array, {"spacing": spacing})
        labels = np.asarray(labels).T
        return back(labels) if self._turned else labels


def predictor_of(
    plans: dict,
    dataset: dict,
    states: Sequence[dict],
    device: str = "cpu",
    *,
    mirror: bool = True,
    net=None,
    step: float = 0.5,
):
    """The package's predictor around the weights of all folds, each strictly loaded.

    `states` are checkpoints as nnU-Net writes them. The network is the one that their trainer
    builds, so that the size that was trained is the size that loads; `net` where it is known. Windows
    are `step` of their size apart.
    """
    import torch

    without_folders()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    manager, configuration = managed(plans, states[0]["init_args"]["configuration"])
    tensors = [weights.unwrapped(s["network_weights"]) for s in states]
    trainer = states[0].get("trainer_name", "nnUNetTrainer")
    if net is None:
        heads = manager.get_label_manager(dataset).num_segmentation_heads
        net = _trainer_class(trainer).build_network_architecture(
            manager, configuration, len(dataset["channel_names"]), heads, enable_deep_supervision=False
        )
    for number, state in enumerate(tensors):
        weights.fill(net, state, f"{CHECKPOINT} of fold {number + 1}")
    axes = states[0].get("inference_allowed_mirroring_axes")
    with contextlib.redirect_stdout(io.StringIO()):  # it names a setting that is not given
        predictor = nnUNetPredictor(
            tile_step_size=step,
            use_mirroring=mirror,
            perform_everything_on_device=device != "cpu",
            device=torch.device(device),
            allow_tqdm=False,
            verbose=False,
        )
    predictor.manual_initialization(
        net, manager, configuration, tensors, dataset, trainer, tuple(axes) if axes is not None else None
    )
    return predictor


def open_folder(
    root: Path,
    files: Sequence[Weights],
    name: str,
    device: str = "cpu",
    *,
    mirror: bool = True,
    step: float = 0.5,
    check: Callable[[Path, dict], None] = lambda path, state: None,
) -> NnUNet:
    """The call of a trained folder: checkpoints of its folds, turned as its plans or trainer say.

    `check` refuses a checkpoint by its file and content.
    """
    plans, dataset = read_folder(root)
    states = []
    for item in files:
        path = weights.as_published(item, name)
        states.append(weights.read_state(path))
        check_state(states[-1], path, plans, root)
        check(path, states[-1])
    turned = plans.get("image_reader_writer") in TURNING
    turned = turned or states[0].get("trainer_name") in TRAINERS.values()  # trained in RAS
    predictor = predictor_of(plans, dataset, states, device, mirror=mirror, step=step)
    channels = channels_of(dataset, root)
    return NnUNet(predictor, values_of(dataset), turned=turned, name=name, channels=channels)


def labels_of(dataset: dict) -> dict[str, int]:
    """Structure name to label value; without regions, and without the label that training ignores."""
    return {k: v[0] for k, v in values_of(dataset).items() if isinstance(dataset["labels"][k], int)}


def values_of(dataset: dict) -> dict[str, tuple[int, ...]]:
    """Structure name to its values of a label map: one, or those of a region.

    Examples
    --------
    >>> values_of({"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}})
    {'whole': (1, 2), 'core': (2,)}
    """
    given = {k: (v,) if isinstance(v, int) else tuple(v) for k, v in dataset["labels"].items()}
    return {k: v for k, v in given.items() if k != "ignore" and v != (0,)}


def folds(root: Path) -> list[Path]:
    """Folders of the folds that are used: the numbered ones, else ``fold_all``.

    Raises
    ------
    InputError
        There is none with a checkpoint.
    """
    found = [f for f in sorted(root.glob("fold_*")) if (f / CHECKPOINT).is_file()]
    numbered = [f for f in found if f.name.removeprefix("fold_").isdigit()]
    used = sorted(numbered, key=lambda f: int(f.name.removeprefix("fold_"))) or found[:1]
    if not used:
        raise InputError(f"Folder {root} holds no fold_*/{CHECKPOINT}.")
    return used


def planned_network(configuration, channels: int, heads: int):
    """The network of a configuration of the plans, without deep supervision."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        channels,
        heads,
        allow_init=True,
        deep_supervision=False,
    )


def tiny_plans() -> dict:
    """nnU-Net plans of a three-stage network."""
    arch_kwargs = {
        "n_stages": 3,
        "features_per_stage": [8, 16, 32],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "dataset_name": "Dataset000_Tiny",
        "plans_name": "tiny",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {},
        "configurations": {
            "tiny": {
                "data_identifier": "tiny",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 1,
                "patch_size": [32, 32, 32],
                "spacing": [1, 1, 1],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
                    "arch_kwargs": arch_kwargs,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def tiny_model() -> tuple[dict, dict]:
    """Plans and data set of three stages and two structures."""
    plans = tiny_plans()
    linear = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    plans["configurations"]["tiny"] |= {
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": linear | {"order": 3},
        "resampling_fn_seg_kwargs": linear | {"is_seg": True},
        "resampling_fn_probabilities_kwargs": linear,
        "spacing": [5.0, 4.0, 4.0],
    }
    plans["foreground_intensity_properties_per_channel"] = {
        "0": {"mean": 0.0, "std": 100.0, "percentile_00_5": -200.0, "percentile_99_5": 300.0}
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
        "labels": {"background": 0, "liver": 1, "spleen": 2},
    }
    return plans, dataset


def tiny_pair_model(
    channels: Sequence[str] = ("CT", "PET"), reader: str = "SimpleITKIO"
) -> tuple[dict, dict]:
    """Plans and data set as `tiny_model` has them, of two channels, each normalised in its own way."""
    plans, dataset = tiny_model()
    known = plans["foreground_intensity_properties_per_channel"]["0"]
    plans["image_reader_writer"] = reader
    plans["foreground_intensity_properties_per_channel"] = {"0": known, "1": known}
    plans["configurations"]["tiny"] |= {
        "normalization_schemes": [
            "CTNormalization" if c == "CT" else "ZScoreNormalization" for c in channels
        ],
        "use_mask_for_norm": [False, False],
    }
    return plans, dataset | {"channel_names": {str(n): c for n, c in enumerate(channels)}}


def random_state(plans: dict, dataset: dict, *, seed: int = 0) -> dict:
    """Contents of a checkpoint of the tiny plans, with random weights."""
    configuration = configuration_of(plans, "tiny")
    with network.seeded(seed):
        net = planned_network(configuration, len(dataset["channel_names"]), len(dataset["labels"]))
    return {
        "network_weights": net.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "tiny"},
        "inference_allowed_mirroring_axes": None,
    }


def tiny() -> Segment:
    """A network of three stages and two structures with random weights."""
    plans, dataset = tiny_model()
    predictor = predictor_of(plans, dataset, [random_state(plans, dataset)], mirror=False)
    return NnUNet(predictor, values_of(dataset))


def _trainer_class(name: str):
    """The trainer that built a network: of nnU-Net, of this package, or of ``nnUNet_extTrainer``."""
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
    if name in _PLANNED:
        return nnUNetTrainer
    inside = str(Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer")
    found = recursive_find_python_class(inside, name, "nnunetv2.training.nnUNetTrainer")
    if found is None:
        raise InputError(
            f"Trainer '{name}' is neither in nnunetv2 nor in the folder nnUNet_extTrainer "
            f"({outside or 'not set'})."
        )
    return found
