"""Trained nnU-Net folders that others publish: their files, how they open, and small stand-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from umdlib.errors import InputError
from umdlib.segmenters.contract import Weights
from umdlib.segmenters.preparation import nnunet
from umdlib.weights import reading as weights

_JSON = ("plans.json", "dataset.json")


def files(
    place: str,
    *,
    folds: Sequence[str],
    where: str,
    licence: str,
    url: str,
    inside: str,
    archive_sha256: str | None = None,
) -> tuple[Weights, ...]:
    """Checkpoint of each fold, plans and data set of a published folder.

    Parameters
    ----------
    place
        The folder below the weights folder.
    folds
        Names of the folders of the folds that are used.
    where, licence
        As in the record of a weight file.
    url
        Of the zip archive.
    inside
        The folder in that archive, where ``*`` stands for any name; empty for its top.
    archive_sha256
        Published hash of the archive.
    """
    names = (*(f"{fold}/{nnunet.CHECKPOINT}" for fold in folds), *_JSON)
    return tuple(
        Weights(
            f"{place}/{name}",
            where,
            licence,
            url=url,
            member=f"{inside}/{name}" if inside else name,
            archive_sha256=archive_sha256,
        )
        for name in names
    )


def opened(
    items: Sequence[Weights],
    name: str,
    device: str = "cpu",
    *,
    labels: int,
    at_least: bool = False,
    values: Mapping[str, int] | None = None,
    mirror: bool = True,
    step: float = 0.5,
) -> nnunet.NnUNet:
    """The folder's network, its files verified and its labels held against what is published.

    It must have as many `labels`, or `at_least` so many where it is not public how many there are. `values` are
    those that this folder gives to the model's names, 0 where another folder holds them; a label that is called
    otherwise says nothing.

    Raises
    ------
    InputError
        A file is missing or not the one of its first use; the folder is another network's.
    """
    for item in items:
        if (sentence := weights.missing(item, name)) is not None:
            raise InputError(sentence)
    root = weights.path_of(items[-1]).parent
    _, dataset = nnunet.read_folder(root)
    found = len(nnunet.labels_of(dataset))
    if found < labels or (found > labels and not at_least):
        raise InputError(
            f"File {root / 'dataset.json'} has {found} labels, and this folder of '{name}' must have "
            f"{'at least ' * at_least}{labels}: it is another network's."
        )
    _check_values(root / "dataset.json", dataset, values or {}, name)
    for item in items:
        if item.file.endswith(".json"):
            weights.verified(item, name)  # after it, so that no hash of another network's is recorded
    checkpoints = [i for i in items if Path(i.file).name == nnunet.CHECKPOINT]

    def check(path: Path, state: dict) -> None:
        trained = state.get("init_args", {}).get("dataset_json")
        _check_values(path, trained if isinstance(trained, dict) else {}, values or {}, name)

    return nnunet.open_folder(root, checkpoints, name, device, mirror=mirror, step=step, check=check)


def _check_values(file: Path, dataset: dict, values: Mapping[str, int], name: str) -> None:
    """Refuse a data set that gives a known name another value: it is another part's."""
    for label, value in dataset.get("labels", {}).items():
        wanted = values.get(label, value)
        if wanted != value:
            right = f"gives it {wanted}" if wanted else "does not hold it"
            raise InputError(
                f"File {file} gives '{label}' the value {value}, and this folder of '{name}' {right}: it is another "
                "part's."
            )


def tiny(labels: int, *, seed: int = 0, favoured: int = 0) -> nnunet.NnUNet:
    """A network of three stages and that many labels, with random weights, see `random_model`."""
    plans, dataset, state = random_model(labels, seed=seed, favoured=favoured)
    predictor = nnunet.predictor_of(plans, dataset, [state], mirror=False)
    return nnunet.NnUNet(predictor, nnunet.values_of(dataset))


def random_model(labels: int, *, seed: int = 0, favoured: int = 0) -> tuple[dict, dict, dict]:
    """Plans, data set and checkpoint of three stages; background and one label answer more often than others."""
    plans, dataset = nnunet.tiny_model()
    dataset["labels"] = {"background": 0} | {f"label_{n}": n for n in range(1, labels + 1)}
    state = nnunet.random_state(plans, dataset, seed=seed)
    for name, tensor in state["network_weights"].items():
        if "seg_layers" in name and name.endswith("bias"):
            tensor[sorted({0, favoured})] += 2.0
    return plans, dataset, state
