"""Released weights: a safetensors file, its card, and its loss curve, written and checked together.

A network called NAME is three files in `FOLDER`, which is part of the package:

============================  ====================================================================
``NAME.safetensors``          its tensors, no code; fp16 where the network keeps its masks
``NAME.json``                 the card: hash and size of the file, architecture, number of
                              parameters, training data, settings, cost, version of the code
``NAME.log.tsv``              the loss curve, one row per reported step or epoch
============================  ====================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.weights import reading as weights
from umdlib.weights.record import Weights

FOLDER = Path(__file__).parent / "released"
MAX_BYTES = 2_000_000  # of what this package ships
_LICENCE = "Apache-2.0"

# What a card must say, and in which words: keys of `Card.data` and `Card.cost`.
_DATA_KEYS = ("cohort", "seed", "subjects", "spacing_mm", "modalities")
_COST_KEYS = ("cpu_seconds", "wall_seconds", "cores", "device")


@dataclass(frozen=True)
class Card:
    """Facts of one trained network.

    Attributes
    ----------
    name
        Of the three files, lower case, digits and underscores.
    title
        Name shown to a reader.
    architecture
        Class or plan and its sizes, enough to build the network again.
    parameters
        Number of trained values.
    data
        What it was trained on: `_DATA_KEYS` (name of the cohort, its seed, subjects, spacing in mm,
        modalities) and whatever else identifies it.
    settings
        Every setting of the training, its own seed included.
    cost
        `_COST_KEYS`: CPU seconds of the process, wall seconds, cores allowed, device; and whatever
        else was measured.
    code_version
        Version of this package, and commit where known.
    sha256, size
        Of the safetensors file, hexadecimal and bytes; filled in by `write`.
    """

    name: str
    title: str
    architecture: dict
    parameters: int
    data: dict
    settings: dict
    cost: dict
    code_version: str
    sha256: str = ""
    size: int = 0
    note: str = field(default="")


def write(
    card: Card, state: Mapping, log: pd.DataFrame, *, folder: str | Path = FOLDER, half: bool = True
) -> Card:
    """Write a network's three files, the card last; returns the card with hash and size.

    Parameters
    ----------
    card
        Without `sha256` and `size`.
    state
        Name -> torch tensor.
    log
        The loss curve; at least a column ``loss``.
    folder
        Where to.
    half
        Store floating-point tensors as float16.

    Raises
    ------
    InputError
        An invalid name, a card that lacks a key, a log without loss, a tensor that is not finite,
        in `FOLDER` a file above `MAX_BYTES`, a folder that cannot be written.
    """
    from safetensors.torch import save

    _check_name(card.name)
    _check_card(card, f"card of '{card.name}'")
    if "loss" not in log or log.empty:
        raise InputError(f"The log of '{card.name}' has no rows with a column 'loss'.")
    raw = save({k: _stored(v, k, card.name, half) for k, v in state.items()})
    shipped = Path(folder).resolve() == FOLDER.resolve()
    if shipped and len(raw) > MAX_BYTES:
        raise InputError(f"Weights of '{card.name}' take {len(raw)} bytes. The package takes {MAX_BYTES}.")
    folder = Path(folder)
    paths = files(card.name, folder)
    with replaced(paths["log"]) as part:
        log.to_csv(part, sep="\t", index=False, lineterminator="\n")
    with replaced(paths["weights"]) as part:
        part.write_bytes(raw)
    done = Card(**{**asdict(card), "sha256": weights.sha256(paths["weights"]), "size": len(raw)})
    text = json.dumps(asdict(done), indent=1, sort_keys=False, ensure_ascii=False) + "\n"
    with replaced(paths["card"]) as part:
        part.write_text(text, "utf-8", newline="\n")
    return done


def read(name: str, *, folder: str | Path = FOLDER) -> Card:
    """The card of a released network; the weights are not opened.

    Raises
    ------
    InputError
        There is no such network (the nearest name is suggested), or its card is damaged.
    """
    path = files(name, Path(folder))["card"]
    if not path.is_file():
        raise unknown_name("released network", name, names(folder=folder))
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"Card {path} is not JSON: {error}.") from None
    known = {f.name for f in fields(Card)}
    if not isinstance(content, dict) or set(content) - known:
        raise InputError(f"Card {path} holds something else than {', '.join(sorted(known))}.")
    try:
        card = Card(**content)
    except TypeError as error:
        raise InputError(f"Card {path} is incomplete: {error}.") from None
    _check_card(card, f"card {path}")
    if card.name != name:
        raise InputError(f"Card {path} is of '{card.name}', not of '{name}'.")
    return card


def check(name: str, *, folder: str | Path = FOLDER) -> Path:
    """Path of a network's weights, whose hash and size are the card's.

    Raises
    ------
    InputError
        As `read` does; the file is missing, or not the one that the card describes.
    """
    card = read(name, folder=folder)
    path = files(name, Path(folder))["weights"]
    if not path.is_file():
        raise InputError(f"Weights {path} do not exist, though their card does. Train them again.")
    if path.stat().st_size != card.size:
        raise InputError(f"Weights {path} hold {path.stat().st_size} bytes, not {card.size}.")
    if (digest := weights.sha256(path)) != card.sha256:
        raise InputError(f"Weights {path} have sha256 {digest[:12]}…, not {card.sha256[:12]}… of their card.")
    return path


def read_state(name: str, *, folder: str | Path = FOLDER) -> dict:
    """Tensors of a released network in float32, from a file that is the card's."""
    state = weights.read_state(check(name, folder=folder))
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def read_log(name: str, *, folder: str | Path = FOLDER) -> pd.DataFrame:
    """The loss curve of a released network.

    Raises
    ------
    InputError
        There is no such network or no such file.
    """
    read(name, folder=folder)
    path = files(name, Path(folder))["log"]
    if not path.is_file():
        raise InputError(f"Log {path} does not exist, though the card of '{name}' does.")
    return pd.read_csv(path, sep="\t")


def names(*, folder: str | Path = FOLDER) -> list[str]:
    """Networks that have a card in a folder, in alphabetical order."""
    return sorted(p.stem for p in Path(folder).glob("*.json"))


def files(name: str, folder: str | Path = FOLDER) -> dict[str, Path]:
    """Paths of the three files of a network: ``weights``, ``card``, ``log``."""
    folder = Path(folder)
    endings = {"weights": ".safetensors", "card": ".json", "log": ".log.tsv"}
    return {key: folder / f"{name}{ending}" for key, ending in endings.items()}


def item(name: str, *, folder: str | Path = FOLDER) -> Weights:
    """A network's file as a segmenter's record wants it, with the hash of its card.

    One that the package has not released yet gives a record without hash, whose file is missing.

    Raises
    ------
    InputError
        As `read` does, of a network in another folder.
    """
    if Path(folder) != FOLDER:
        own = read(name, folder=folder)
        return Weights(
            file=str(files(name, folder)["weights"]),
            where="your own training",
            licence="yours",
            size=own.size,
            sha256=own.sha256,
        )
    known = read(name) if name in names() else None
    return Weights(
        file=f"released/{name}.safetensors",
        where=f"this package, or 'umdlib train' ({name})",
        licence=_LICENCE,
        size=known.size if known else None,
        sha256=known.sha256 if known else None,
        package="umdlib.weights",
    )


def user_network(path: str | Path, prefix: str, network: str) -> tuple[Card, Weights]:
    """Card and weights of a promptable network that a user has trained.

    Parameters
    ----------
    path
        Its card; weights and loss curve lie beside it.
    prefix
        Of the name on the command line, ``prefix:FOLDER/NAME.json``.
    network
        The class that its card must name.

    Raises
    ------
    InputError
        There is no such card, it is incomplete, or it is of another kind of network.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file() or path.suffix != ".json":
        raise InputError(
            f"Network '{prefix}:{path}' does not exist. Give the card that 'umdlib train promptable "
            f"--out FOLDER' writes: {prefix}:FOLDER/NAME.json."
        )
    known = read(path.stem, folder=path.parent)
    kind = known.architecture.get("network")
    if kind != network:
        raise InputError(f"Network {path} is a {kind}, not a {network}.")
    return known, item(path.stem, folder=path.parent)


def cost_table(wanted: Iterable[str], *, folder: str | Path = FOLDER) -> pd.DataFrame:
    """One row per network: name, title, parameters, subjects, seed, iterations, time, megabytes."""
    rows = []
    for name in wanted:
        card = read(name, folder=folder)
        rows.append(
            {
                "name": name,
                "title": card.title,
                "parameters": card.parameters,
                "modalities": ", ".join(card.data["modalities"]),
                "session": card.data.get("session", ""),
                "subjects": card.data["subjects"],
                "data_seed": card.data["seed"],
                "training_seed": card.settings.get("seed", "–"),
                "iterations": _iterations(card.settings),
                "cpu_minutes": card.cost["cpu_seconds"] / 60,
                "wall_minutes": card.cost["wall_seconds"] / 60,
                "cores": card.cost["cores"],
                "device": card.cost["device"],
                "megabytes": card.size / 1e6,
            }
        )
    return pd.DataFrame(rows)


def _iterations(settings: dict) -> int:
    """Steps of the optimiser: given as such, or as epochs of iterations; 0 where the card is silent."""
    if "steps" in settings:
        return int(settings["steps"])
    return int(settings.get("epochs", 0)) * int(settings.get("iterations", 0))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"Invalid name '{name}' of a network. Small letters, digits and underscores only.")


def _check_card(card: Card, source: str) -> None:
    """Refuse a card that leaves out what a reader needs."""
    for what, content, keys in (("data", card.data, _DATA_KEYS), ("cost", card.cost, _COST_KEYS)):
        gone = [k for k in keys if k not in content]
        if gone:
            raise InputError(f"The {source} lacks {', '.join(gone)} in '{what}'.")
    if not card.parameters > 0:
        raise InputError(f"The {source} has {card.parameters} parameters. At least one is needed.")


def _stored(tensor, key: str, name: str, half: bool):
    """A tensor as it is written: contiguous, on the CPU, checked."""
    if tensor.is_floating_point():
        tensor = tensor.half() if half else tensor
        if not bool(tensor.isfinite().all()):
            raise InputError(f"Tensor {key} of '{name}' holds NaN or infinity. Not released.")
    return tensor.detach().cpu().contiguous()
