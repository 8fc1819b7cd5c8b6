"""nnU-Net's planning and preprocessing, and the smaller configurations beside its own."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

from umdlib.errors import InputError
from umdlib.training.nnunet.raw import DATASET_ID
from umdlib.training.nnunet.recipes import Recipe

PLANS = "nnUNetPlans"
WORKERS, PROCESSES = "nnUNet_n_proc_DA", "nnUNet_def_n_proc"  # the package's variables
# linear interpolation by torch: several times faster than the package's cubic default on a CPU
_RESAMPLED = ("data", "seg", "probabilities")
_LINEAR = {"force_separate_z": False, "memefficient_seg_resampling": False}
# bytes of activations, gradients and buffers per feature-map voxel that nnU-Net counts
_BYTES_PER_FEATURE = 16


def set_folders(work: Path) -> None:
    """Point nnU-Net at ``raw``, ``preprocessed`` and ``results`` below `work`.

    The package reads its three variables when it is first imported; so this comes first, in a
    process of its own.
    """
    for name in ("raw", "preprocessed", "results"):
        folder = Path(work) / name
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder)
    os.environ[WORKERS] = "1"  # 0 breaks the planning
    os.environ.setdefault(PROCESSES, "1")


def plan(work: Path, dataset: str, recipe: Recipe) -> dict:
    """Fingerprint and plan a raw data set through the package; add the recipe's configuration.

    Parameters
    ----------
    work
        Folder that `set_folders` was given.
    dataset
        nnU-Net's name of the data set in the raw folder.
    recipe
        What is trained.

    Returns
    -------
    dict
        The plans, as written to the preprocessed folder.
    """
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset

    extract_fingerprint_dataset(
        DATASET_ID, num_processes=1, verbose=False, show_progress_bar=False, clean=True
    )
    planner = ExperimentPlanner(DATASET_ID, suppress_transpose=bool(recipe.patch))
    planner.plan_experiment()
    path = work / "preprocessed" / dataset / f"{PLANS}.json"
    plans = json.loads(path.read_text("utf-8"))
    if recipe.patch:
        plans["configurations"][recipe.configuration] = smaller(plans["configurations"]["3d_fullres"], recipe)
    plans["configurations"][recipe.configuration]["umdlib"] = {
        **recipe.record(),
        "class_voxels": class_voxels(work / "raw" / dataset),
    }
    path.write_text(json.dumps(plans, indent=1) + "\n", "utf-8")
    return plans


def class_voxels(raw: Path) -> list[int]:
    """Voxels of background and of each structure in the training references."""
    import nibabel as nib
    import numpy as np

    heads = len(json.loads((raw / "dataset.json").read_text("utf-8"))["labels"])
    counts = np.zeros(heads, int)
    for path in sorted((raw / "labelsTr").glob("*.nii.gz")):
        counts += np.bincount(np.asarray(nib.load(path).dataobj).ravel(), minlength=heads)
    return counts.tolist()


def smaller(fullres: dict, recipe: Recipe) -> dict:
    """nnU-Net's configuration at full resolution, changed to the recipe's grid, patch and network.

    Raises
    ------
    InputError
        A patch that the network's strides do not divide.
    """
    stages = len(recipe.features)
    factor = 2 ** (stages - 1)
    if any(n % factor for n in recipe.patch):
        raise InputError(
            f"Patch {recipe.patch} of recipe '{recipe.name}' is not divisible by {factor}, as "
            f"{stages} stages need."
        )
    made = copy.deepcopy(fullres)
    made |= {
        "data_identifier": f"{PLANS}_{recipe.configuration}",
        "batch_size": recipe.batch,
        "patch_size": list(recipe.patch),
        "spacing": list(recipe.spacing_mm),
        "batch_dice": False,
        **{f"resampling_fn_{what}": "resample_torch_fornnunet" for what in _RESAMPLED},
        **{f"resampling_fn_{what}_kwargs": {"is_seg": what == "seg", **_LINEAR} for what in _RESAMPLED},
    }
    made["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(recipe.features),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [recipe.convolutions] + [2] * (stages - 1),
        "n_conv_per_stage_decoder": [2] * (stages - 2) + [recipe.convolutions],
    }
    return made


def preprocess(work: Path, dataset: str, recipe: Recipe) -> None:
    """Preprocess the data set for the recipe's configuration through the package, case by case."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    base, raw = work / "preprocessed" / dataset, work / "raw" / dataset
    about = json.loads((base / "dataset.json").read_text("utf-8"))
    plans = PlansManager(str(base / f"{PLANS}.json"))
    configuration = plans.get_configuration(recipe.configuration)
    run = configuration.preprocessor_class(verbose=False).run_case_save
    out = base / configuration.data_identifier
    out.mkdir(exist_ok=True)
    for name, files in get_filenames_of_train_images_and_targets(str(raw), about).items():
        run(str(out / name), files["images"], files["label"], plans, configuration, about)
    # where the package's own validation, at full size, looks for the references
    shutil.copytree(raw / "labelsTr", base / "gt_segmentations", dirs_exist_ok=True)


def needed_bytes(plans: dict, recipe: Recipe, heads: int) -> int:
    """Memory of one iteration, in bytes: nnU-Net's count of feature-map voxels times 16.

    The count is of its own U-Net; other networks of the same patch are taken to need as much.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    made = plans["configurations"][recipe.configuration]
    network = made["architecture"]
    net = get_network_from_plans(
        network["network_class_name"],
        network["arch_kwargs"],
        network["_kw_requires_import"],
        1,
        heads,
        allow_init=False,
    )
    features = int(net.compute_conv_feature_map_size(made["patch_size"]))
    return features * int(made["batch_size"]) * _BYTES_PER_FEATURE


def check_memory(needed: int, available: int, recipe: Recipe, device: str) -> None:
    """Refuse a plan that does not fit."""
    if needed > available:
        raise InputError(
            f"Recipe '{recipe.name}' needs about {needed / 1e9:.1f} GB on {device}; "
            f"{available / 1e9:.1f} GB are free. Take a smaller batch, the recipe 'small', or a "
            "device with more memory."
        )


def available_bytes(device: str) -> int:
    """Free memory of a device, in bytes."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)
