"""A folder that nnU-Net's training wrote, read and held against the installed version before it is used."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from umdlib.errors import InputError
from umdlib.labels import modality_in

_RESAMPLING = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")


def read_folder(root: Path) -> tuple[dict, dict]:
    """Plans and data set of a folder that nnU-Net's training wrote.

    Raises
    ------
    InputError
        A file is missing or not JSON, or is of version 1; the network takes other channels than one image,
        or a structural one and PET.
    """
    plans_file, dataset_file = root / "plans.json", root / "dataset.json"
    if not plans_file.is_file() and (old := next(root.glob("plans*.pkl"), None)) is not None:
        raise InputError(
            f"File {old} is a plan of nnU-Net version 1, a pickle that may run code. Only folders of version 2 "
            "are read, with plans.json and dataset.json."
        )
    plans, dataset = _json(plans_file), _json(dataset_file)
    _check_keys(plans_file, plans, ("configurations", "transpose_forward", "transpose_backward"))
    _check_keys(dataset_file, dataset, ("channel_names", "labels"))
    channels_of(dataset, root)
    return plans, dataset


def channels_of(dataset: dict, root: Path) -> tuple[str, ...]:
    """Modalities of a network of two images, in the order of its channels; empty where it takes one.

    Raises
    ------
    InputError
        More than two channels; two of which not one is PET and the other CT or MR, by their names.
    """
    names = [name for _, name in sorted(dataset["channel_names"].items(), key=lambda item: int(item[0]))]
    if len(names) == 1:
        return ()
    if len(names) > 2:
        raise InputError(f"nnU-Net of {root} takes {len(names)} channels, not 1 or 2.")
    found = tuple(modality_in(str(name)) for name in names)
    if None in found or found.count("PET") != 1:
        raise InputError(
            f"The channels of the nnU-Net of {root} are named {names[0]} and {names[1]}; one must be PET and the "
            "other CT or MR. Rename them in dataset.json: it is plans.json that says how they are normalised."
        )
    return found


def check_state(state: dict, path: Path, plans: dict, root: Path) -> None:
    """Refuse a checkpoint that is not of version 2, not of these plans, or of a newer version.

    Raises
    ------
    InputError
        With the file, the value, and the installed version where it decides.
    """
    if not isinstance(state, dict) or "network_weights" not in state:
        old = " It is a checkpoint of version 1." if isinstance(state, dict) and "state_dict" in state else ""
        raise InputError(
            f"File {path} holds no 'network_weights': not a checkpoint of nnU-Net version 2.{old}"
        )
    wanted = state.get("init_args", {}).get("configuration")
    if wanted not in plans["configurations"]:
        raise InputError(
            f"File {path} was trained with the configuration '{wanted}', and {root / 'plans.json'} has "
            f"{', '.join(plans['configurations'])}. Checkpoint and plans must be of one training."
        )
    _check_parts(root / "plans.json", plans, wanted)


def configuration_of(plans: dict, name: str):
    """nnU-Net's view of one configuration of the plans, also of those that its first versions wrote."""
    return managed(plans, name)[1]


def managed(plans: dict, name: str) -> tuple:
    """nnU-Net's view of the plans, and of one of their configurations."""
    without_folders()
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected old nnU-Net plans format")
        return manager, manager.get_configuration(name)


def without_folders() -> None:
    """Name no folder of data: unset, nnU-Net prints three warnings at import; nothing here trains."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)


def _check_parts(file: Path, plans: dict, name: str) -> None:
    """Refuse plans that name a network, preparation or resampling that the installed version lacks."""
    installed = f"nnunetv2 {version('nnunetv2')}"
    try:
        configuration = configuration_of(plans, name)
        asked = list(_parts(configuration))
        previous = configuration.previous_stage_name
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"File {file}, configuration '{name}': {str(error) or type(error).__name__} is missing, or unknown to "
            f"{installed}, which is installed."
        ) from None
    if previous:
        raise InputError(
            f"File {file}: configuration '{name}' goes on from '{previous}', a cascade. Give the folder of a "
            "configuration that needs no other."
        )
    for key, value, find in asked:
        try:
            found = find()
        except Exception:  # the package raises whatever its search happens to meet
            found = None
        if found is None:
            raise InputError(
                f"File {file} asks for {key} '{value}', which {installed} does not have. Install the version of "
                "nnU-Net that trained this folder."
            )


def _parts(configuration) -> Iterator[tuple[str, str, Callable]]:
    """Key, name and search of what a configuration needs of the package."""
    from pydoc import locate

    import dynamic_network_architectures
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class as search

    own = configuration.configuration
    network = configuration.network_arch_class_name
    networks = str(Path(dynamic_network_architectures.__path__[0]) / "architectures")
    inside = "dynamic_network_architectures.architectures"
    yield (
        "network_class_name",
        network,
        lambda: locate(network) or search(networks, network.rpartition(".")[2], inside),
    )
    yield "preprocessor_name", configuration.preprocessor_name, lambda: configuration.preprocessor_class
    for key in _RESAMPLING:
        yield key, own[key], lambda key=key: getattr(configuration, key)
    normalising = str(Path(nnunetv2.__path__[0]) / "preprocessing" / "normalization")
    for scheme in own["normalization_schemes"]:
        yield (
            "normalization_schemes",
            scheme,
            lambda scheme=scheme: search(normalising, scheme, "nnunetv2.preprocessing.normalization"),
        )


def _check_keys(file: Path, content: dict, keys: tuple[str, ...]) -> None:
    """Refuse a file without what nnU-Net version 2 writes into it."""
    absent = [k for k in keys if not isinstance(content, dict) or k not in content]
    if absent:
        raise InputError(f"File {file} lacks '{absent[0]}', which nnU-Net version 2 writes.")


def _json(path: Path) -> dict:
    """Content of a file of the folder."""
    if not path.is_file():
        raise InputError(f"File {path} does not exist. A trained nnU-Net folder holds it.")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"File {path} is not JSON: {error}.") from None
