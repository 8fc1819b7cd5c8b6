"""Official programs around nnU-Net folders, against the adapters on the same folders with random weights.

nnU-Net's own pools of processes are left out: its loop runs in this process, with the package's functions.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import nibabel as nib
import numpy as np
import torch

from comparisons import common
from umdlib import segmenters
from umdlib.cohort.names import read_names
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.preparation import network, nnunet
from umdlib.segmenters.preparation.nnunet_folder import without_folders
from umdlib.segmenters.systems import moose, mrsegmentator
from umdlib.segmenters.systems import totalsegmentator as ts

_SPACING = (3.5, 3.0, 2.5)  # of the plans, for axes (K, J, I)
_NETWORK = "tiny, random, patch of 32"
_OLD = {  # a configuration as nnU-Net 2.0 to 2.2 wrote it, which is the form of the published plans
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 8,
    "unet_max_num_features": 32,
    "n_conv_per_stage_encoder": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "num_pool_per_axis": [2, 2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
    "batch_dice": False,
}


def compare_totalsegmentator(checkout: Path) -> Iterator[common.Found]:
    """Three tasks through ``nnUNet_predict_image``, with plans in the old form of the published ones."""
    official = _imported(checkout, "totalsegmentator.nnunet")
    for name, task, parts, offset in (
        ("totalsegmentator", "total", ts.CT, 291),
        ("totalsegmentator_v3", "total_v3", ts.CT_V3, 831),
        ("totalsegmentator_mr", "total_mr", ts.MR, 850),
    ):
        root = common.scratch()
        folders = {}
        for seed, (item, count) in enumerate(_first_files(name, parts)):
            folders[offset + seed] = str(
                write(root / item, count, seed, folds=("fold_0",), spacing=(1.5, 1.5, 1.5), old=True)
            )
        official.get_output_folder = lambda task_id, *given, folders=folders: folders[task_id]

        def predicted(file: Path, folder: Path, task=task, folders=folders) -> np.ndarray:
            with _in_process(), open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                image, *_ = official.nnUNet_predict_image(
                    file,
                    None,
                    list(folders),
                    folds=[0],
                    trainer="",
                    tta=False,
                    resample=1.5,
                    task_name=task,
                    nr_threads_resampling=1,
                    device="cpu",
                    quiet=True,
                )
            return np.asarray(image.dataobj)

        meaning = read_names().of_values(name.removesuffix("_v3"))
        yield from _compared(name, root, predicted, meaning, f"task {task}, {len(parts)} parts")


def compare_mrsegmentator(checkout: Path) -> Iterator[common.Found]:
    """Its reader and writer around nnU-Net's predictor with five folds."""
    reader = _imported(checkout, "mrsegmentator.simpleitk_reader_writer").SimpleITKIO()
    root = common.scratch()
    folder = write(
        root / "mrsegmentator",
        mrsegmentator.LABELS,
        0,
        spacing=(5.0, 4.0, 4.0),
        folds=tuple(f"fold_{n}" for n in range(5)),
    )
    predictor = _predictor(folder, tuple(range(5)))

    def predicted(file: Path, out: Path) -> np.ndarray:
        array, about = reader.read_image(str(file))
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            labels = predictor.predict_single_npy_array(array, about, None, None, False)
        reader.write_seg(labels, str(out / "o.nii.gz"), about)
        return np.asarray(nib.load(out / "o.nii.gz").dataobj)

    meaning = read_names().of_values("mrsegmentator")
    yield from _compared("mrsegmentator", root, predicted, meaning, "five folds, mirrored")


def compare_moose(checkout: Path) -> Iterator[common.Found]:
    """Its workflow of one network on an image that its reader turned to RAS, for three networks."""
    work, images = (_imported(checkout, f"moosez.{m}") for m in ("workflows", "image_processing"))
    root = common.scratch()
    places = {f: write(root / "moose" / f, n, seed) for seed, (f, n) in enumerate(moose.LABELS.items())}
    for folder, place in places.items():
        model = SimpleNamespace(
            voxel_spacing=_SPACING,
            configuration_directory=str(place),
            folds=("all",),
            model_identifier=folder,
        )

        def predicted(file: Path, out: Path, model=model) -> np.ndarray:
            given = images.image_read(str(file))
            code = images.image_get_orientation_code(given)
            image = images.image_reorient(given, "RAS")
            with _in_process(), open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                labels = work.inference(image, model, "cpu", MagicMock(), MagicMock())
            images.SimpleITK.WriteImage(images.image_reorient(labels, code), str(out / "o.nii.gz"))
            return np.asarray(nib.load(out / "o.nii.gz").dataobj)

        meaning = read_names().of_values("moose", folder)
        yield from _compared("moose", root, predicted, meaning, folder)


def compare_lion(checkout: Path) -> Iterator[common.Found]:
    """The steps of its function ``lion``, which downloads its network, on a folder that is here."""
    sys.modules.setdefault("dask.distributed", MagicMock())  # for its films alone
    work, images = (_imported(checkout, f"lionz.{m}") for m in ("predict", "image_processing"))
    for name, tracer in (("lion", "fdg"), ("lion_psma", "psma")):
        root, label = common.scratch(), moose.TUMOUR[tracer]
        place = write(root / "lion" / tracer, label, 0, favoured=label)
        model = SimpleNamespace(voxel_spacing=_SPACING, configuration_directory=str(place), tumor_label=label)

        def predicted(file: Path, out: Path, model=model) -> np.ndarray:
            sitk = images.sitk
            image = sitk.ReadImage(str(file))
            array = images.ImageResampler.resample_image_SimpleITK_DASK_array(image, "bspline", _SPACING)
            with _in_process():
                labels = work.predict_from_array_by_iterator(array, model, "cpu", os.devnull)
            made = sitk.GetImageFromArray(labels)
            made.SetSpacing(_SPACING)
            made.SetOrigin(image.GetOrigin())
            made.SetDirection(image.GetDirection())
            sitk.WriteImage(images.ImageResampler.resample_segmentation(image, made), str(out / "o.nii.gz"))
            return np.asarray(nib.load(out / "o.nii.gz").dataobj)

        yield from _compared(name, root, predicted, {1: "lesion"}, tracer)


def write(
    place: Path,
    labels: int,
    seed: int,
    *,
    folds=("fold_all",),
    spacing=_SPACING,
    old: bool = False,
    favoured=0,
) -> Path:
    """A trained folder with random weights; background and one label answer more often than others."""
    plans, dataset = nnunet.tiny_model()
    plans["image_reader_writer"] = "NibabelIOWithReorient"
    plans["dataset_name"] = dataset["name"] = f"Dataset{seed:03d}_Random"
    tiny = plans["configurations"]["tiny"]
    tiny["spacing"] = list(spacing)
    if old:
        tiny.pop("architecture")
        tiny |= _OLD
    dataset["labels"] = {"background": 0} | {f"label_{n}": n for n in range(1, labels + 1)}
    place.mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans), "utf-8")
    (place / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    for n, fold in enumerate(folds):
        state = nnunet.random_state(plans, dataset)
        state["inference_allowed_mirroring_axes"] = (0, 1, 2) if len(folds) > 1 else None
        with network.seeded(100 * seed + n):
            for name, tensor in state["network_weights"].items():
                tensor += 0.1 * torch.randn_like(tensor)
                if "seg_layers" in name and name.endswith("bias"):
                    tensor[sorted({0, favoured})] += 2.0
        (place / fold).mkdir()
        torch.save(state, place / fold / nnunet.CHECKPOINT)
    return place


def _first_files(name: str, parts: dict[str, int]) -> Iterator[tuple[Path, int]]:
    """Folder and labels of each part, at the place that the record names."""
    for item in segmenters.get(name).weights:
        if item.file.endswith("plans.json"):
            path = Path(item.file).parent
            yield path, parts[path.parent.name]


def _compared(
    name: str, root: Path, predicted: Callable[[Path, Path], np.ndarray], meaning: dict[int, str], said: str
) -> Iterator[common.Found]:
    """Scenes through the official code and the record, structure by structure in one array."""
    os.environ["UMD_WEIGHTS"] = str(root)
    structures = list(dict.fromkeys(s for s in meaning.values() if s))
    segment = None
    for scene in common.scenes():
        folder = common.scratch()
        image = scene.saved(folder, np.float32 if scene.unit == "SUV" else np.int16)
        labels = predicted(folder / "i.nii.gz", folder)
        official, mine = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.uint8)
        for value, structure in meaning.items():
            if structure:
                official[labels == value] = structures.index(structure) + 1
        segment = segment or segmenters.load(name)
        for n, structure in enumerate(structures, start=1):
            mine[segment(image, Prompt(structure))] = n
        yield common.Found(scene.name, _NETWORK, said, official, mine)
    del os.environ["UMD_WEIGHTS"]


def _predictor(folder: Path, folds: tuple):
    """nnU-Net's predictor as these programs make it."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        predictor = nnUNetPredictor(
            tile_step_size=0.5,
            use_gaussian=True,
            use_mirroring=True,
            device=torch.device("cpu"),
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(str(folder), use_folds=folds)
    return predictor


@contextlib.contextmanager
def _in_process():
    """nnU-Net's loops without pools of processes."""
    from nnunetv2.inference import predict_from_raw_data as package

    kind = package.nnUNetPredictor
    before = kind.predict_from_files, kind.predict_from_data_iterator, torch.set_num_threads

    def from_files(self, given, out, **options):
        self.predict_from_files_sequential(given, out, save_probabilities=False, overwrite=True)

    def from_iterator(self, iterator, *rest, **options):
        made = []
        for item in iterator:
            logits = self.predict_logits_from_preprocessed_data(item["data"]).cpu()
            made.append(
                package.convert_predicted_logits_to_segmentation_with_correct_shape(
                    logits,
                    self.plans_manager,
                    self.configuration_manager,
                    self.label_manager,
                    item["data_properties"],
                )
            )
        return made

    kind.predict_from_files, kind.predict_from_data_iterator = from_files, from_iterator
    torch.set_num_threads = lambda count: None  # one of them takes all cores
    try:
        yield
    finally:
        kind.predict_from_files, kind.predict_from_data_iterator, torch.set_num_threads = before


def _imported(checkout: Path, name: str):
    """A module of a checkout; what it imports and is not here (progress bars, downloads) is a stand-in."""
    without_folders()
    sys.path.insert(0, str(checkout))
    for _ in range(40):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] == name.partition(".")[0]:
                raise
            sys.modules[error.name] = MagicMock()
    raise RuntimeError(f"Cannot import {name} of {checkout}.")
