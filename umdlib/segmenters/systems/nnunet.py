"""nnU-Net v2 and the networks trained inside it: a trained folder, no prompt but the structure."""

from __future__ import annotations

from pathlib import Path

from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import nnunet
from umdlib.segmenters.preparation.nnunet import CONDITIONS
from umdlib.weights import reading as weights


def trained(folder: str | Path, *, mirror: bool = True) -> Segmenter:
    """Record of a folder ``…/TRAINER__PLANS__CONFIGURATION`` that nnU-Net's training wrote.

    On the command line ``nnunet:FOLDER``. Numbered folds are averaged, as ``nnUNetv2_predict``
    does; without any, ``fold_all`` is taken. nnU-Net's own checkpoints also hold its log, so each
    is converted once with ``umdlib weights convert`` (to a ``.pth``), which runs no code.

    A network of two channels, a structural image and PET by their names in ``dataset.json``, is asked
    about either image with the other one as partner, interpolated linearly onto the image's grid. Channels
    come in the order of the file, normalised as the plans say.

    Parameters
    ----------
    folder
        Holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``.
    mirror
        Whether predictions are averaged over mirrored images, where training allowed it.

    Raises
    ------
    InputError
        The folder holds no plans or no checkpoint, or its network takes other channels than one image, or
        CT or MR and PET.
    """
    root = Path(folder).expanduser().resolve()
    plans, dataset = nnunet.read_folder(root)
    channels = nnunet.channels_of(dataset, root)
    files = tuple(
        Weights(file=str(fold / nnunet.CHECKPOINT), where="your own training", licence="yours")
        for fold in nnunet.folds(root)
    )
    name = f"nnunet_{root.parent.name}_{root.name}".lower()

    def load(device: str = "cpu") -> Segment:
        return nnunet.open_folder(root, files, name, device, mirror=mirror)

    return Segmenter(
        name=name,
        title=f"nnU-Net, {plans.get('dataset_name', root.parent.name)}",
        summary=f"A trained nnU-Net folder, {len(files)} fold{'s' * (len(files) > 1)}.",
        load=load,
        prompts=frozenset({"class"}),
        version="2",
        settings={"mirroring": mirror, "plans": plans.get("plans_name", "")},
        packages=("nnunetv2", "torch"),
        extra="nnunet",
        weights=files,
        paper="doi:10.1038/s41592-020-01008-z",
        code_licence="Apache-2.0",
        trained_on=f"{plans.get('dataset_name', 'its own data')}",
        native="the same: no prompt",
        grid="the plans' spacing and patch, half overlapping windows",
        structures=tuple(nnunet.labels_of(dataset)),
        **({"modalities": channels, "partner": channels} if channels else {}),
    )


def _folder(name: str, condition: tuple[str, str]) -> str:
    """Place of one condition's trained folder in the weights folder."""
    session, modality = condition
    return f"{name}/{session}_{modality.lower()}"


def _checkpoint(name: str, condition: tuple[str, str]) -> Weights:
    """The checkpoint of one condition, cleaned of what its trainer logged."""
    return Weights(
        file=f"{_folder(name, condition)}/fold_all/{nnunet.CHECKPOINT}",
        where="your own training: copy the folder TRAINER__PLANS__CONFIGURATION to this place; nnU-Net's "
        "file also holds its log, so it is converted once with 'umdlib weights convert'",
        licence="yours",
        condition=condition,
    )


def _record(name: str, title: str, summary: str, paper: str, users: str, **more) -> Segmenter:
    """Record of one network trained in nnU-Net's framework, with a folder for each condition."""
    files = {condition: _checkpoint(name, condition) for condition in CONDITIONS}

    def load(device: str = "cpu", condition: tuple[str, str] = CONDITIONS[0]) -> Segment:
        root = weights.folder() / _folder(name, condition)
        return nnunet.open_folder(root, (files[condition],), name, device)

    return Segmenter(
        name=name,
        title=title,
        summary=summary,
        load=load,
        prompts=frozenset({"class"}),
        version="2",
        settings={"mirroring": True},
        packages=("nnunetv2", "torch", *more.pop("packages", ())),
        extra="nnunet",
        weights=tuple(files.values()),
        paper=paper,
        code_licence="Apache-2.0",
        trained_on="what its folders were trained on, one for each session and modality: UMD took 10 "
        "cases of each",
        native="the same: no prompt",
        grid="the plans' spacing and patch, half overlapping windows, mirrored where training was",
        users=users,
        conditions=CONDITIONS,
        **more,
    )


NNUNET = _record(
    "nnunet",
    "nnU-Net v2",
    "Plans and trains itself on the data it is given; one prediction serves all structures.",
    "doi:10.1038/s41592-020-01008-z",
    "the channel's name decides the normalisation: PET named 'CT' is clipped, any other name is "
    "z-scored per image (MIC-DKFZ/nnUNet#2985)",
    tiny=nnunet.tiny,
)
STUNET = _record(
    "stunet",
    "STU-Net",
    "A scaled U-Net (14.6 to 1,457 M parameters) trained within nnU-Net; loads at the size it was trained.",
    "arXiv:2304.06716",
    "its trainers do not run on current nnU-Net (uni-medical/STU-Net#34, #44, #32)",
    packages=("medim",),
)
SWINUNETR = _record(
    "swinunetr",
    "SwinUNETR",
    "A U-Net with a shifted-window transformer encoder (62.2 M parameters), within nnU-Net.",
    "arXiv:2201.01266",
    "patches below 64 voxels fail in training",
    packages=("monai",),
)
SEGRESNET = _record(
    "segresnet",
    "SegResNet",
    "A residual encoder-decoder (1.2 to 18.8 M parameters), trained within nnU-Net.",
    "arXiv:1810.11654",
    "patches must be multiples of 8 voxels",
    packages=("monai",),
)
