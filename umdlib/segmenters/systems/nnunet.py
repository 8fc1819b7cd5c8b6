"""nnU-Net v2 and the networks trained inside it: a trained folder, no prompt but the structure."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable

import numpy as np

from umdlib.errors import unknown_name
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.systems.nninteractive import tiny_plans
from umdlib.weights import reading as weights


class NnUNet:
    """A predictor, the names of its labels, and the last image's label map."""

    def __init__(self, predictor, labels: dict[str, int]) -> None:
        self._predictor, self._labels = predictor, labels
        network.guard(predictor.network, "nnunet")
        self._data: np.ndarray | None = None
        self._map: np.ndarray | None = None

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K): one prediction per image serves all its structures."""
        if prompt.structure not in self._labels:
            raise unknown_name("structure of this nnU-Net", prompt.structure, self._labels)
        if self._data is not image.data:
            self._map = self._predicted(image)
            self._data = image.data
        return self._map == self._labels[prompt.structure]

    def _predicted(self, image: Volume) -> np.ndarray:
        """Label map (I, J, K); nnU-Net reads arrays as SimpleITK does, (K, J, I)."""
        data = np.ascontiguousarray(image.data.T[None], np.float32)
        spacing = list(image.spacing_mm[::-1])
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            labels = self._predictor.predict_single_npy_array(data, {"spacing": spacing})
        return np.asarray(labels).T


def _loader(folder: str, build: Callable | None = None) -> Callable[[str], Segment]:
    """`load` of a trained folder inside the weights folder; `build` makes a foreign network."""

    def load(device: str = "cpu") -> Segment:
        root = weights.folder() / folder
        checkpoint = _checkpoint(folder)
        state = weights.read_state(weights.as_published(checkpoint, "nnunet"))
        plans = json.loads((root / "plans.json").read_text("utf-8"))
        dataset = json.loads((root / "dataset.json").read_text("utf-8"))
        return NnUNet(
            predictor_of(plans, dataset, state, device, build=build),
            {k: v for k, v in dataset["labels"].items() if isinstance(v, int) and v > 0},
        )

    return load


def predictor_of(
    plans: dict,
    dataset: dict,
    state: dict,
    device: str,
    *,
    mirror: bool = True,
    build: Callable | None = None,
):
    """The package's predictor around the weights of `state`, strictly loaded.

    `build` is ``build(channels, heads) -> network``; by default the plans' own network.
    """
    import torch

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration(state["init_args"]["configuration"])
    channels, heads = len(dataset["channel_names"]), len(dataset["labels"])
    net = build(channels, heads) if build else planned_network(configuration, channels, heads)
    weights.fill(net, state["network_weights"], "checkpoint_final.pth")
    with contextlib.redirect_stdout(io.StringIO()):  # it names a setting that is not given
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
        [state["network_weights"]],
        dataset,
        state.get("trainer_name", "nnUNetTrainer"),
        state.get("inference_allowed_mirroring_axes"),
    )
    return predictor


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


def tiny() -> Segment:
    """A network of three stages and two structures with random weights."""
    plans, dataset = tiny_model()
    return NnUNet(
        predictor_of(plans, dataset, _random_state(plans, dataset), "cpu", mirror=False),
        {"liver": 1, "spleen": 2},
    )


def tiny_model() -> tuple[dict, dict]:
    """Plans and data set of three stages and two structures."""
    plans = tiny_plans()
    plans["configurations"]["tiny"] |= {
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
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


def _random_state(plans: dict, dataset: dict) -> dict:
    """What a checkpoint holds, with random weights."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    configuration = PlansManager(plans).get_configuration("tiny")
    with network.seeded(0):
        net = planned_network(configuration, len(dataset["channel_names"]), len(dataset["labels"]))
    return {
        "network_weights": net.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "tiny"},
        "inference_allowed_mirroring_axes": None,
    }


def _checkpoint(folder: str) -> Weights:
    """The checkpoint of a trained folder, cleaned of what its trainer logged."""
    return Weights(
        file=f"{folder}/fold_all/checkpoint_final.pth",
        where="your own training; nnU-Net's file also holds its log, so it is converted once with "
        "'umdlib weights convert'",
        licence="yours",
    )


def _record(name: str, title: str, summary: str, paper: str, users: str, **more) -> Segmenter:
    """Record of one network trained in nnU-Net's framework."""
    return Segmenter(
        name=name,
        title=title,
        summary=summary,
        load=more.pop("load", _loader(name)),
        prompts=frozenset({"class"}),
        settings={"mirroring": True},
        packages=("nnunetv2", "torch", *more.pop("packages", ())),
        extra="nnunet",
        weights=(_checkpoint(name),),
        paper=paper,
        code_licence="Apache-2.0",
        trained_on="what its folder was trained on: UMD took 10 cases of each modality",
        native="the same: no prompt",
        grid="the plans' spacing and patch, half overlapping windows, mirrored",
        users=users,
        **more,
    )


def _swin(channels: int, heads: int):
    """MONAI's SwinUNETR at the size of its paper."""
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(in_channels=channels, out_channels=heads, feature_size=48)


def _segresnet(channels: int, heads: int):
    """MONAI's SegResNet at 18.8 M parameters."""
    from monai.networks.nets import SegResNet

    return SegResNet(in_channels=channels, out_channels=heads, init_filters=32, blocks_down=(1, 2, 2, 4))


def _stunet(channels: int, heads: int):
    """STU-Net-B by MedIM."""
    from medim.models.stu_net import STUNet

    return STUNet(
        channels,
        heads,
        depth=[1] * 6,
        dims=[32, 64, 128, 256, 512, 512],
        pool_op_kernel_sizes=[[2, 2, 2]] * 5,
        conv_kernel_sizes=[[3, 3, 3]] * 6,
        enable_deep_supervision=False,
    )


NNUNET = _record(
    "nnunet",
    "nnU-Net v2",
    "Plans and trains itself on the data it is given; one prediction serves all structures.",
    "doi:10.1038/s41592-020-01008-z",
    "the channel's name decides the normalisation: PET named 'CT' is clipped, any other name is "
    "z-scored per image (MIC-DKFZ/nnUNet#2985)",
    tiny=tiny,
)
STUNET = _record(
    "stunet",
    "STU-Net",
    "A scaled U-Net (14.6 to 1,457 M parameters) trained within nnU-Net.",
    "arXiv:2304.06716",
    "its trainers do not run on current nnU-Net (uni-medical/STU-Net#34, #44, #32)",
    load=_loader("stunet", _stunet),
    packages=("medim",),
)
SWINUNETR = _record(
    "swinunetr",
    "SwinUNETR",
    "A U-Net with a shifted-window transformer encoder (62.2 M parameters), within nnU-Net.",
    "arXiv:2201.01266",
    "patches below 64 voxels fail in training",
    load=_loader("swinunetr", _swin),
    packages=("monai",),
)
SEGRESNET = _record(
    "segresnet",
    "SegResNet",
    "A residual encoder-decoder (1.2 to 18.8 M parameters), trained within nnU-Net.",
    "arXiv:1810.11654",
    "patches must be multiples of 8 voxels",
    load=_loader("segresnet", _segresnet),
    packages=("monai",),
)
