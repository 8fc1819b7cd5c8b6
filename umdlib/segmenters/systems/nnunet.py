"""nnU-Net v2 and the networks trained inside it: a trained folder, no prompt but the structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from umdlib.cohort.names import FolderNames, read_folder_names
from umdlib.errors import InputError
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import nnunet
from umdlib.segmenters.preparation.folders import Folders, unions
from umdlib.segmenters.preparation.nnunet import CONDITIONS
from umdlib.weights import reading as weights

NAMES = "names.tsv"  # beside plans.json, or in the folder that holds the trained ones


def trained(folder: str | Path, *, mirror: bool = True) -> Segmenter:
    """Record of a folder ``…/TRAINER__PLANS__CONFIGURATION`` that nnU-Net's training wrote, or of several.

    On the command line ``nnunet:FOLDER``. Numbered folds are averaged, as ``nnUNetv2_predict``
    does; without any, ``fold_all`` is taken. nnU-Net's own checkpoints also hold its log, so each
    is converted once with ``umdlib weights convert`` (to a ``.pth``), which runs no code.

    A network of two channels, a structural image and PET by their names in ``dataset.json``, is asked
    about either image with the other one as partner, interpolated linearly onto the image's grid. Channels
    come in the order of the file, normalised as the plans say.

    A table ``names.tsv`` beside ``plans.json`` says what the labels are, in the form of
    `umdlib.cohort.names.COLUMNS`: several rows may name one structure, which is then their union. In a
    folder that holds several trained ones, its column ``file`` names the trained folder of each row,
    and ``modality`` which images that is for.

    Parameters
    ----------
    folder
        Holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``, or a ``names.tsv`` that
        names such folders.
    mirror
        Whether predictions are averaged over mirrored images, where training allowed it.

    Raises
    ------
    InputError
        The folder holds no plans or no checkpoint, its network takes other channels than one image, or CT
        or MR and PET, or its table names what is not there.
    """
    root = Path(folder).expanduser().resolve()
    if (root / NAMES).is_file():
        return _named(root, mirror=mirror)
    if not (root / "plans.json").is_file() and (inner := _trained_below(root)):
        raise InputError(
            f"Folder {root} holds no plans.json but {len(inner)} trained folders below it, such as {inner[0]}. Name "
            f"one of them, or write a {NAMES} there that names what each of them gives."
        )
    plans, dataset = nnunet.read_folder(root)
    channels = nnunet.channels_of(dataset, root)
    files = _files(root)
    name = f"nnunet_{root.parent.name}_{root.name}".lower()

    def load(device: str = "cpu") -> Segment:
        return nnunet.open_folder(root, files, name, device, mirror=mirror)

    return _own(
        name,
        str(plans.get("dataset_name", root.parent.name)),
        load,
        files,
        summary=f"A trained nnU-Net folder, {len(files)} fold{'s' * (len(files) > 1)}.",
        settings={"mirroring": mirror, "plans": plans.get("plans_name", "")},
        structures=tuple(nnunet.values_of(dataset)),
        **({"modalities": channels, "partner": channels} if channels else {}),
    )


def _own(
    name: str, title: str, load: Callable[..., Segment], files: tuple[Weights, ...], **more
) -> Segmenter:
    """Record of a user's trained folders."""
    return Segmenter(
        name=name,
        title=f"nnU-Net, {title}",
        load=load,
        prompts=frozenset({"class"}),
        version="2",
        packages=("nnunetv2", "torch"),
        extra="nnunet",
        weights=files,
        paper="doi:10.1038/s41592-020-01008-z",
        code_licence="Apache-2.0",
        trained_on=title,
        native="the same: no prompt",
        grid="the plans' spacing and patch, half overlapping windows",
        **more,
    )


def _files(root: Path, condition: tuple[str, str] | None = None) -> tuple[Weights, ...]:
    """Checkpoints of a user's trained folder."""
    return tuple(
        Weights(str(fold / nnunet.CHECKPOINT), "your own training", "yours", condition=condition)
        for fold in nnunet.folds(root)
    )


def _trained_below(root: Path) -> list[str]:
    """Trained folders at most two levels below, by their path from `root`."""
    found = [*root.glob("*/plans.json"), *root.glob("*/*/plans.json")] if root.is_dir() else []
    return sorted(str(f.parent.relative_to(root)) for f in found)


def _named(root: Path, *, mirror: bool) -> Segmenter:
    """Record of the trained folders that a table of names describes."""
    table = root / NAMES
    names = read_folder_names(table)
    alone = (root / "plans.json").is_file()
    folders = _named_folders(names, table, alone)
    labels = _labels(root, folders)
    if lost := names.unused(labels):
        raise InputError(f"{table} describes {lost[0]}, which no dataset.json of its folders has.")
    meanings = [{v: names.of_label(f, v, n) for n, v in found.items()} for f, found in labels.items()]
    structures = tuple(unions(meanings))
    if not structures:
        raise InputError(f"{table} names no structure: every label is left out.")
    conditions = tuple(c for c in CONDITIONS if any(c[1] in m for m in names.modalities.values()))
    serving = {c: _serving(folders, names, c) for c in conditions or (None,)}
    files = {c: {f: _files(root / f, c) for f in used} for c, used in serving.items()}
    name = f"nnunet_{root.parent.name}_{root.name}" if alone else f"nnunet_{root.name}"

    def load(device: str = "cpu", condition: tuple[str, str] | None = None) -> Segment:
        used = [n for n, f in enumerate(folders) if f in serving[condition]]
        parts = [
            nnunet.open_folder(
                root / folders[n], files[condition][folders[n]], name.lower(), device, mirror=mirror
            )
            for n in used
        ]
        return Folders(parts, unions([meanings[n] for n in used]))

    return _own(
        name.lower(),
        root.parent.name if alone else root.name,
        load,
        tuple(w for found in files.values() for items in found.values() for w in items),
        summary=f"Trained nnU-Net folders with names of their own: {len(folders)}.",
        settings={"mirroring": mirror, "names": weights.sha256(table)[:12]},
        structures=structures,
        conditions=conditions,
        modalities=tuple(dict.fromkeys(m for _, m in conditions)) or ("CT", "MR", "PET"),
    )


def _named_folders(names: FolderNames, table: Path, alone: bool) -> tuple[str, ...]:
    """The trained folders of a table of names; one empty name where the table lies in such a folder, `alone`."""
    folders = ("",) if alone else tuple(f for f in names.folders if f != "*")
    if folders and (not alone or set(names.folders) == {"*"}):
        return folders
    rule = "must be * or left away beside plans.json" if alone else "must name the trained folder of each row"
    raise InputError(f"Column 'file' of {table} has {', '.join(names.folders)}: it {rule}.")


def _labels(root: Path, folders: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Labels of each trained folder, name -> value; a network of two images is refused."""
    labels = {}
    for folder in folders:
        dataset = nnunet.read_folder(root / folder)[1]
        if nnunet.channels_of(dataset, root / folder):
            raise InputError(
                f"Folder {root / folder} takes two images. A {NAMES} is for networks of one image: remove it to use "
                "this one by the names of its labels."
            )
        labels[folder or "*"] = nnunet.labels_of(dataset)
    return labels


def _serving(
    folders: tuple[str, ...], names: FolderNames, condition: tuple[str, str] | None
) -> tuple[str, ...]:
    """The folders that serve images of a session and modality."""
    if condition is None:
        return folders
    given = {f: names.modalities.get(f or "*", ()) for f in folders}
    return tuple(f for f, modalities in given.items() if not modalities or condition[1] in modalities)


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
