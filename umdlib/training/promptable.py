"""The training of a promptable network: settings, steps, checkpoints, release."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.networks.inputs import OUTSIDE
from umdlib.training.bodies import SPACING_MM, Body
from umdlib.training.nnunet.plan import available_bytes
from umdlib.training.patches import TRAINED_ON, modalities
from umdlib.version import __version__
from umdlib.weights import card as cards
from umdlib.weights import reading as weights

LEAST_SUBJECTS = 10
COLUMNS = ("step", "loss", "dice_first", "dice_last", "clicks", "learning_rate", "cpu_seconds")
# Networks by name -> their classes, and the settings in which they differ from ClickNet's.
NETWORKS = {"clicknet": "ClickNet", "sam_med3d_small": "SamMed3DSmall"}
OWN: dict[str, dict] = {
    # a structure per cube, clicks one by one
    "sam_med3d_small": {
        "steps": 4000,
        "patch": 24,
        "prompts": 1,
        "rounds": 20,
        "batch": 4,
        "graded": 3,
        "centred": True,
        "learning_rate": 1e-3,
        "widths": (96, 64),
        "heads": 6,
        "depth": 3,
    }
}
# bytes of activations per voxel of a patch: of the encoder, and of each prompt and round
ENCODER_BYTES, PROMPT_BYTES = 1200, 700


@dataclass(frozen=True)
class Settings:
    """Settings of a training run.

    Attributes
    ----------
    network
        A name of `NETWORKS`; `settings_of` gives its settings.
    trained_on
        A name of `umdlib.training.patches.TRAINED_ON`: which images it sees.
    seed
        Of the first weights and of every draw.
    steps
        Updates of the weights.
    patch, prompts, rounds, clicks
        Edge of a patch in voxels, structures per patch, rounds of clicks, clicks at most.
    batch
        Patches per update; more than one where each has one prompt.
    graded
        Rounds whose masks enter the loss: the first, the last, and others at random; 0 for all.
    centred
        The first click is the middle of its patch, as where a cube is cut around the click.
    balanced
        Every kind of image that the training sees is drawn equally often, see `with_equal_exposure`.
    learning_rate, weight_decay
        Of AdamW; the rate rises over the first 5 % of the steps and falls as a cosine to 0.
    precision
        ``float32``, or ``bfloat16`` for mixed precision.
    widths, heads, depth
        Of the network, see `umdlib.networks.clicknet` and `umdlib.networks.sam_med3d`.
    start
        Network whose weights it begins with: the name of a released one, or the path of a card; random
        weights where empty. One that sees two images may begin with one that sees one.
    """

    network: str = "clicknet"
    trained_on: str = "both"
    seed: int = 0
    steps: int = 300
    patch: int = 32
    prompts: int = 4
    rounds: int = 2
    clicks: int = 20
    batch: int = 1
    graded: int = 0
    centred: bool = False
    balanced: bool = False
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    precision: str = "float32"
    widths: tuple[int, ...] = (8, 24, 40, 56)
    heads: int = 6
    depth: int = 8
    start: str = ""

    def check(self) -> Settings:
        """These settings, or InputError with the first that is out of range."""
        if self.network not in NETWORKS:
            raise unknown_name("network", self.network, NETWORKS)
        if self.trained_on not in TRAINED_ON:
            raise unknown_name("training", self.trained_on, TRAINED_ON)
        if self.trained_on == "pair" and self.network != "clicknet":
            raise InputError(
                f"Network '{self.network}' sees one image. Only 'clicknet' is trained on 'pair'."
            )
        if self.precision not in ("float32", "bfloat16"):
            raise unknown_name("precision", self.precision, ("float32", "bfloat16"))
        for name in ("steps", "prompts", "rounds", "clicks", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"Invalid {name} {getattr(self, name)}. Must be 1 or more.")
        if self.graded < 0:
            raise InputError(f"Invalid graded {self.graded}. Must be 0 or more.")
        if self.prompts > 1 and (self.batch > 1 or self.centred):
            raise InputError(
                f"Invalid prompts {self.prompts}. Must be 1 where a batch has several patches or "
                "the click is the middle of its patch."
            )
        if self.patch < 16 or self.patch % 8:
            raise InputError(f"Invalid patch {self.patch}. Must be a multiple of 8, 16 or more.")
        return self

    def architecture(self) -> dict:
        """Description from which the network is built again."""
        parts = {
            "network": NETWORKS[self.network],
            "widths": list(self.widths),
            "heads": self.heads,
            "depth": self.depth,
            "spacing_mm": SPACING_MM,
        }
        parts |= {"channels": 4} if self.trained_on == "pair" else {}
        return parts if self.network == "clicknet" else parts | {"size": self.patch}


def settings_of(network: str, **changes) -> Settings:
    """Settings of a network, with changes.

    Raises
    ------
    InputError
        An unknown network.

    Examples
    --------
    >>> settings_of("sam_med3d_small", steps=100).rounds
    20
    """
    if network not in NETWORKS:
        raise unknown_name("network", network, NETWORKS)
    return replace(Settings(network=network), **(OWN.get(network, {}) | changes))


def with_equal_exposure(settings: Settings, sessions: Sequence[str]) -> Settings:
    """Give every kind of image that a training sees the steps that the settings have for all.

    Trainings on CT and MR, on PET and on all of them then show a network each kind equally long.

    Parameters
    ----------
    settings
        Their `steps` become those of one kind.
    sessions
        Of the cohort, with as many subjects each.

    Examples
    --------
    >>> with_equal_exposure(Settings(trained_on="both", steps=100), ["petct", "petmr"]).steps
    300
    """
    # a pair is one kind of input, for each kind of structural image
    trained_on = "structural" if settings.trained_on == "pair" else settings.trained_on
    kinds = {m for s in sessions for m in modalities(trained_on, s)}
    return replace(settings, steps=settings.steps * len(kinds), balanced=True)


def train(
    bodies: Sequence[Body],
    settings: Settings,
    folder: str | Path,
    *,
    name: str = "",
    device: str = "cpu",
    least_subjects: int = LEAST_SUBJECTS,
    stop_after: int | None = None,
    say: Callable[[str], None] = lambda line: None,
):
    """Train a network; an interrupted run continues from its last checkpoint.

    Parameters
    ----------
    bodies
        Training subjects, see `umdlib.training.bodies.read_bodies`.
    settings
        Of the training.
    folder
        Gets ``NAME.checkpoint.pt`` (written atomically) and ``NAME.log.tsv``, which grows while the
        training runs.
    name
        Of the network; by default ``<network>_<trained_on>_<seed>``.
    device
        ``cpu`` or ``cuda``. Started by ``torchrun``, each process trains on patches of its own and
        the gradients are averaged (DistributedDataParallel); only the first writes files.
    least_subjects
        Fewer are refused.
    stop_after
        Leave after this many steps in this call, with a checkpoint; None runs to the end.
    say
        Called with one line per report.

    Returns
    -------
    tuple
        The network (torch module), its log (DataFrame), and the cost (dict).

    Raises
    ------
    InputError
        Too few subjects, a subject without a structure, settings out of range, a checkpoint of
        other settings, too little memory, a loss that is not finite.
    """
    import torch

    from umdlib.networks import build as network
    from umdlib.training.loop import LAST, Loop, distributed, own_device

    settings.check()
    _check_bodies(bodies, settings, least_subjects)
    device = own_device(device)
    check_memory(settings, device)
    name = name or f"{settings.network}_{settings.trained_on}_{settings.seed}"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = network.build(settings.architecture()).to(device, memory_format=LAST)
    if settings.start:
        _begin_with(net, settings)
    loop = Loop(net, settings, device)
    path, log_path = folder / f"{name}.checkpoint.pt", folder / f"{name}.log.tsv"
    done, rows, spent = resumed(path, loop, settings, bodies)
    rank, world = distributed()
    started, cpu = time.perf_counter(), time.process_time()
    last = min(settings.steps, done + stop_after) if stop_after else settings.steps
    every = min(10, max(2, settings.steps // 10))  # a row of the log and a checkpoint
    recent: list[dict] = []
    for step in range(done + 1, last + 1):
        rng = np.random.default_rng([settings.seed, step, rank])
        recent.append(loop.step(bodies, rng, rate(settings, step)))
        if step % every and step != last:
            continue
        cost = {
            "cpu_seconds": spent["cpu_seconds"] + time.process_time() - cpu,
            "wall_seconds": spent["wall_seconds"] + time.perf_counter() - started,
        }
        rows.append(_log_row(step, recent, rate(settings, step), cost["cpu_seconds"]))
        recent = []
        if rank == 0:
            save(path, loop, settings, bodies, step, rows, cost)
            _write_log(log_path, rows)
        say(f"{name} " + words(rows[-1], settings))
    if world > 1:
        torch.distributed.barrier()  # the first process writes the checkpoint
    done, rows, spent = resumed(path, loop, settings, bodies)
    cost = {**spent, "cores": torch.get_num_threads() * world, "device": device}
    return net, pd.DataFrame(rows, columns=COLUMNS), cost


def _begin_with(net, settings: Settings) -> None:
    """Put the weights of another network into a new one."""
    from umdlib.networks.clicknet import beside_blank

    card = Path(settings.start)
    name, folder = (card.stem, card.parent) if card.suffix == ".json" else (settings.start, cards.FOLDER)
    known, state = cards.read(name, folder=folder), cards.read_state(name, folder=folder)
    if settings.trained_on == "pair" and "channels" not in known.architecture:
        state = beside_blank(state, OUTSIDE)
    weights.fill(net, state, name)


def release(
    net,
    log: pd.DataFrame,
    cost: dict,
    settings: Settings,
    data: dict,
    *,
    name: str,
    title: str,
    folder: str | Path = cards.FOLDER,
) -> cards.Card:
    """Write a trained network with its card and log; see `umdlib.weights.card.write`."""
    from umdlib.networks import build as network

    card = cards.Card(
        name=name,
        title=title,
        architecture=settings.architecture(),
        parameters=network.parameters(net),
        data=data,
        settings=json.loads(json.dumps(asdict(settings))),
        cost=cost,
        code_version=code_version(),
    )
    return cards.write(card, net.state_dict(), log, folder=folder)


def code_version() -> str:
    """Version of the package and hash of the source that trains."""
    here = Path(__file__).parents[1]
    files = (
        *(f"training/{f}" for f in ("bodies", "clicks", "loop", "patches", "promptable")),
        *(f"networks/{f}" for f in ("build", "clicknet", "layers", "sam_med3d")),
    )
    digest = sha256(b"".join((here / f"{f}.py").read_bytes() for f in files)).hexdigest()
    return f"umdlib {__version__}, training source {digest[:12]}"


def rate(settings: Settings, step: int) -> float:
    """Learning rate of a step, 1 to `settings.steps`.

    Examples
    --------
    >>> s = Settings(steps=100, learning_rate=1.0)
    >>> [round(rate(s, n), 3) for n in (1, 5, 52, 100)]
    [0.2, 1.0, 0.508, 0.0]
    """
    warm = max(math.ceil(settings.steps * 0.05), 1)
    if step <= warm:
        return settings.learning_rate * step / warm
    share = (step - warm) / max(settings.steps - warm, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _check_bodies(bodies: Sequence[Body], settings: Settings, least: int) -> None:
    """Refuse too few subjects, and examinations without a structure or without the images to train on."""

    subjects = {body.subject for body in bodies}
    if len(subjects) < least:
        raise InputError(
            f"{len(subjects)} subjects with complete pairs to train on. At least {least} are needed; "
            f"a trial with fewer says so by its own parameter (least_subjects)."
        )
    for body in bodies:
        if not body.present:
            raise InputError(f"{body.subject} {body.session} holds no structure to train on.")
        gone = [m for m in modalities(settings.trained_on, body.session) if m not in body.images]
        if gone:
            raise InputError(
                f"{body.subject} {body.session} has no {gone[0]}, which '{settings.trained_on}' needs."
            )


def absent(bodies: Sequence[Body], values: dict[int, str]) -> list[str]:
    """Names of structures that no training subject holds."""
    held = set().union(*(b.present for b in bodies)) if bodies else set()
    return [name for value, name in values.items() if value not in held]


def memory_mb(settings: Settings) -> float:
    """Memory that a step needs, roughly, in MB."""
    rounds = min(settings.graded or settings.rounds, settings.rounds)
    per_voxel = ENCODER_BYTES + PROMPT_BYTES * settings.prompts * rounds
    return settings.batch * settings.patch**3 * per_voxel / 1e6


def check_memory(settings: Settings, device: str = "cpu") -> None:
    """Refuse settings whose steps do not fit in the memory that is free on a device."""
    need, free = memory_mb(settings), available_bytes(device) / 1e6
    if need > free:
        raise InputError(
            f"A step needs about {need:.0f} MB, {free:.0f} MB are free on {device}. Make the patch "
            f"({settings.patch}), the prompts ({settings.prompts}) or the rounds smaller."
        )


def _log_row(step: int, recent: list[dict], rate_now: float, cpu_seconds: float) -> dict:
    """Means over the steps since the last report."""
    means = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]}
    values = {"step": step, **means, "learning_rate": rate_now, "cpu_seconds": cpu_seconds}
    return {k: round(values[k], 6) for k in COLUMNS}


def words(row: dict, settings: Settings) -> str:
    """A log row as a line."""
    return (
        f"step {row['step']}/{settings.steps}: loss {row['loss']:.3f}, DSC after the first click "
        f"{row['dice_first']:.3f}, after the last {row['dice_last']:.3f}, "
        f"{row['cpu_seconds']:.0f} CPU-s"
    )


def fingerprint(settings: Settings, bodies: Sequence[Body]) -> dict:
    """Settings and data on which a checkpoint must agree."""
    digest = sha256()
    for body in bodies:
        digest.update(f"{body.subject} {body.session} {body.labels.shape}".encode())
        digest.update(body.labels.tobytes())
    return {**json.loads(json.dumps(asdict(settings))), "bodies": digest.hexdigest()[:16]}


def save(path: Path, loop, settings, bodies, step: int, rows: list[dict], cost: dict) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    import torch

    content = {
        "step": step,
        "net": loop.net.state_dict(),
        "optimiser": loop.optimiser.state_dict(),
        "rows": rows,
        "cost": cost,
        "of": json.dumps(fingerprint(settings, bodies)),
    }
    with replaced(path) as part:
        torch.save(content, part)


def resumed(path: Path, loop, settings: Settings, bodies: Sequence[Body]):
    """Steps done, rows of the log and cost so far, with the loop put where it stopped."""
    import torch

    if not path.is_file():
        return 0, [], {"cpu_seconds": 0.0, "wall_seconds": 0.0}
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        then = {"start": ""} | json.loads(content["of"])  # older ones began with random weights
    except Exception as error:
        raise InputError(
            f"Checkpoint {path} cannot be read ({type(error).__name__}). Remove it to start anew."
        ) from None
    now = fingerprint(settings, bodies)
    other = [k for k in now if then.get(k) != now[k]]
    if other:
        raise InputError(
            f"Checkpoint {path} is of another training run: {other[0]} was {then.get(other[0])}, now "
            f"{now[other[0]]}. Remove it to start anew, or give the network another name."
        )
    loop.net.load_state_dict(content["net"])
    loop.optimiser.load_state_dict(content["optimiser"])
    return content["step"], content["rows"], content["cost"]


def _write_log(path: Path, rows: list[dict]) -> None:
    """The loss curve so far, for `tail -f` and for a plot while the training runs."""
    with replaced(path) as part:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(part, sep="\t", index=False, lineterminator="\n")


def smaller(settings: Settings) -> Settings:
    """The same training at the size of a smoke test: seconds, and of no use."""
    sizes = {"widths": (4, 8, 8, 8), "heads": 2, "depth": 4}
    if settings.network == "sam_med3d_small":
        sizes = {"widths": (8, 16), "heads": 2, "depth": 1, "prompts": 1, "rounds": 4, "clicks": 4}
    return replace(settings, **({"steps": 4, "patch": 24, "prompts": 2, "rounds": 2} | sizes))
