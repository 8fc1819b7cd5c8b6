"""A specialist's training: nnU-Net's trainer run in a process of its own, resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from umdlib.cohort.manifest import Cohort, file_hash
from umdlib.errors import InputError
from umdlib.networks.specialists import TRAINERS
from umdlib.training.nnunet import raw as nnunet_raw
from umdlib.training.nnunet.recipes import Recipe, divisible, for_network

REQUEST = "request.json"
_RAW_DONE = "raw.done"
FOLD = "all"


@dataclass(frozen=True)
class Task:
    """One training task.

    Attributes
    ----------
    session, modality
        Which cases.
    network
        Name in `umdlib.networks.specialists.TRAINERS`.
    device
        ``cpu`` or ``cuda``.
    seed
        Of torch, NumPy and Python.
    both
        Whether the network also sees the other image of each examination, as a second channel.
    """

    session: str
    modality: str
    network: str = "nnunet"
    device: str = "cpu"
    seed: int = 0
    both: bool = False


def train(
    cohort: Cohort,
    task: Task,
    work: Path | str,
    *,
    recipe: Recipe,
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train one specialist on all cases of a session and modality.

    Parameters
    ----------
    cohort
        Training cohort; subjects that are scored later must not be in it.
    task
        Which cases, network, device and seed.
    work
        Folder of this run: nnU-Net's ``raw``, ``preprocessed`` and ``results``. The same
        call on it resumes where a killed one stopped; another network on the same cases and
        recipe takes the preprocessed data that are there.
    recipe
        See `umdlib.training.nnunet.recipes`.
    report
        Called with each line of progress.

    Returns
    -------
    pathlib.Path
        nnU-Net's folder of the trained model (plans, dataset, fold, log).

    Raises
    ------
    InputError
        Too few subjects; a structure in none of them; a lone image where both are seen; a folder that
        holds another run; a plan that does not fit memory; an unknown network or device.
    """
    recipe = for_network(recipe, task.network)
    _check_device(task.device)
    work = Path(work)
    cases = nnunet_raw.training_cases(cohort, task.session, task.modality, subjects=recipe.subjects)
    request = {
        "session": task.session,
        "modality": task.modality,
        "seed": task.seed,
        "recipe": recipe.record(),
        "device": task.device,
        "cohort": cohort.name,
        "subjects": [c.subject for c in cases],
        "files": _digest([[file_hash(c.image), file_hash(c.reference)] for c in cases]),
        "structures": [s.name for s in cohort.structures],
    }
    partners = nnunet_raw.partners_of(cohort, cases) if task.both else None
    if partners is not None:
        request["partners"] = _digest([file_hash(p.image) for p in partners.values()])
    _claim(work, request)
    if not (work / _RAW_DONE).is_file():
        nnunet_raw.write_raw(cases, cohort.structures, work / "raw", partners)
        (work / _RAW_DONE).touch()
    _in_process(work, task.network, report)
    return model_folder(work, task.network)


def model_folder(work: Path | str, network: str = "nnunet") -> Path:
    """nnU-Net's results folder of a network's training in `work`."""
    request = read_request(work)
    dataset = nnunet_raw.dataset_name(request["session"], request["modality"])
    name = f"{TRAINERS[network]}__nnUNetPlans__{request['recipe']['configuration']}"
    folder = Path(work) / "results" / dataset / name
    if not (folder / f"fold_{FOLD}" / "checkpoint_final.pth").is_file():
        raise InputError(
            f"Training of {network} in {work} is not finished. The same command resumes where it stopped."
        )
    return folder


def read_request(work: Path | str) -> dict:
    """The request of the training run in `work`."""
    try:
        return json.loads((Path(work) / REQUEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise InputError(f"Folder {work} holds no training: {REQUEST} is missing.") from None


def read_log(folder: Path | str) -> pd.DataFrame:
    """Losses, pseudo Dice, learning rate, CPU and wall seconds of every epoch."""
    return pd.read_csv(Path(folder) / f"fold_{FOLD}" / "log.tsv", sep="\t")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _check_device(device: str) -> None:
    """Refuse a device that is not here."""
    if device == "cpu":
        return
    if device != "cuda":
        raise InputError(f"Unknown device '{device}'. Known: cpu, cuda.")
    import torch

    if not torch.cuda.is_available():
        raise InputError("Device 'cuda' is not here. Train on 'cpu' with the recipe 'small'.")


def _claim(work: Path, request: dict) -> None:
    """Claim a folder for this run; refuse one that holds another."""
    path = work / REQUEST
    if path.is_file():
        old = read_request(work)
        other = [k for k in request if old.get(k) != request[k]]
        if other:
            raise InputError(
                f"Folder {work} holds another training run: {other[0]} is {_short(old.get(other[0]))} "
                f"there and {_short(request[other[0]])} here. Take an empty folder."
            )
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(request, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "…"


def _in_process(work: Path, network: str, report: Callable[[str], None]) -> None:
    """Run this module on a folder in a process of its own; its sentence becomes the error."""
    command = [sys.executable, "-m", "umdlib.training.nnunet.train", str(work), network]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        tail: list[str] = []
        for line in process.stdout:
            tail = [*tail[-19:], line.rstrip()]
            if line.startswith("== "):
                report(line.rstrip())
        code = process.wait()
    if code == 0:
        return
    reasons = [t.removeprefix("umdlib: ") for t in tail if t.startswith("umdlib: ")]
    if reasons:
        raise InputError(reasons[-1])
    if code < 0:
        raise InputError(
            f"Training in {work} was killed (signal {-code}). The same command resumes where it stopped."
        )
    raise InputError(f"Training in {work} stopped with status {code}: {' | '.join(tail[-3:])}")


def run(work: Path, network: str) -> None:
    """Plan, preprocess and train a network on the request in a folder; each step is skipped if it is there."""
    request = read_request(work)
    recipe = Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in request["recipe"].items()})
    from umdlib.training.nnunet import plan as nnunet_plan

    nnunet_plan.set_folders(work)
    import torch

    torch.set_num_threads(recipe.threads)
    dataset = nnunet_raw.dataset_name(request["session"], request["modality"])
    prepared = work / "preprocessed.json"
    if not prepared.is_file():
        started = time.process_time(), time.perf_counter()
        print("== planning", flush=True)
        plans = nnunet_plan.plan(work, dataset, recipe)
        needed = nnunet_plan.needed_bytes(plans, recipe, len(request["structures"]) + 1)
        nnunet_plan.check_memory(
            needed, nnunet_plan.available_bytes(request["device"]), recipe, request["device"]
        )
        print("== preprocessing", flush=True)
        nnunet_plan.preprocess(work, dataset, recipe)
        cost = {"cpu_s": _cpu() - started[0], "wall_s": time.perf_counter() - started[1]}
        prepared.write_text(json.dumps(cost) + "\n", "utf-8")
    os.environ[nnunet_plan.WORKERS] = "0" if request["device"] == "cpu" else "8"
    _fit(work, dataset, request, recipe, network)


def _cpu() -> float:
    """CPU seconds of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _fit(work: Path, dataset: str, request: dict, recipe: Recipe, network: str) -> None:
    """nnU-Net's trainer, from its last checkpoint if there is one, to its end."""
    import random

    import numpy as np
    import torch
    from nnunetv2.run.run_training import maybe_load_checkpoint

    from umdlib.networks.trainers import specialists
    from umdlib.training.nnunet import plan as nnunet_plan

    base = work / "preprocessed" / dataset
    plans = json.loads((base / f"{nnunet_plan.PLANS}.json").read_text("utf-8"))
    about = json.loads((base / "dataset.json").read_text("utf-8"))
    for seeded in (random.seed, np.random.seed, torch.manual_seed):  # what nnU-Net draws from
        seeded(request["seed"])
    plans["continue_training"] = True
    if not recipe.patch:  # nnU-Net planned it for its own network
        made = plans["configurations"][recipe.configuration]
        made["patch_size"] = list(divisible(made["patch_size"], network, small=False))
    trainer = getattr(specialists, TRAINERS[network])(
        plans, recipe.configuration, FOLD, about, torch.device(request["device"])
    )
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    done = trainer.current_epoch
    print(f"== training: epoch {done} of {trainer.num_epochs}", flush=True)
    if done < trainer.num_epochs:
        trainer.run_training()
    print("== trained", flush=True)


def main(argv: list[str]) -> int:
    """Run the training of a network in a folder: the process that `train` starts."""
    try:
        run(Path(argv[0]), argv[1])
    except InputError as error:
        print(f"umdlib: {error}", flush=True)
        return 2
    except (MemoryError, RuntimeError) as error:
        text = str(error).splitlines()[0] if str(error) else "MemoryError"
        if isinstance(error, RuntimeError) and "memory" not in text.lower():
            raise
        print(f"umdlib: Training ran out of memory: {text}. Take a smaller batch or patch.")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
