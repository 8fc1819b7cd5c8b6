"""A training run, from a cohort on disk to a network with its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from umdlib import labels
from umdlib.cohort.manifest import Cohort
from umdlib.errors import InputError, unknown_name
from umdlib.synthetic.truth import truths
from umdlib.training import promptable
from umdlib.training.bodies import read_bodies, withheld
from umdlib.training.patches import modalities
from umdlib.weights import card as cards

NETWORKS = {"clicknet": "ClickNet", "sam_med3d_small": "SAM-Med3D, small"}
TRAINED_ON = {
    "structural": "trained on structural images",
    "pet": "trained on PET",
    "both": "trained on both",
    "pair": "trained on both images at once",
}


def train_cohort(
    cohort: Cohort,
    folder: str | Path,
    settings: promptable.Settings,
    *,
    name: str = "",
    without: Sequence[str] = (),
    device: str = "cpu",
    least_subjects: int = promptable.LEAST_SUBJECTS,
    say: Callable[[str], None] = lambda line: None,
) -> cards.Card:
    """Train a network on a cohort and write its three files; the same call resumes an interrupted run.

    Parameters
    ----------
    cohort
        Complete pairs are used; each is brought to the working grid once and kept in
        ``folder/bodies``.
    folder
        Gets checkpoint, loss curve, weights and card.
    settings
        Of the run, see `settings_of`.
    name
        Of the network; by default ``<network>_<trained_on>_<seed>``.
    without
        Structures that are never prompted: what the network makes of them later is what it makes
        of a new target.
    device, least_subjects
        See `umdlib.training.promptable.train`.
    say
        Called with one line per examination and report.

    Returns
    -------
    umdlib.weights.card.Card

    Raises
    ------
    InputError
        torch is missing; an unknown structure; otherwise as `umdlib.training.promptable.train`.
    """
    try:
        import torch
    except ImportError:
        raise InputError("Training needs torch: pip install 'umdlib[models]'.") from None
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"Device '{device}' is not here: torch sees no GPU.")
    settings.check()
    name = name or f"{settings.network}_{settings.trained_on}_{settings.seed}"
    hidden = _values_of(cohort, without)
    bodies = read_bodies(cohort, cache=Path(folder) / "bodies", say=say)
    bodies = [withheld(b, hidden) for b in bodies] if hidden else bodies
    gone = promptable.absent(bodies, {s.value: s.name for s in cohort.structures})
    if gone:
        say(f"absent from every training subject, never prompted: {', '.join(gone)}")
    net, log, cost = promptable.train(
        bodies, settings, folder, name=name, device=device, least_subjects=least_subjects, say=say
    )
    data = _data_record(cohort, settings.trained_on) | {"absent": gone, "withheld": list(without)}
    count = f"{len(without)} structure{'s' * (len(without) != 1)}"
    title = f"{NETWORKS[settings.network]}, {TRAINED_ON[settings.trained_on]}"
    title = f"{title}, {count} withheld" if without else title
    return promptable.release(net, log, cost, settings, data, name=name, title=title, folder=folder)


def settings_of(
    network: str, *, smoke: bool = False, steps: int | None = None, **choices
) -> promptable.Settings:
    """Choose the settings of a training run.

    Parameters
    ----------
    network
        A name of `NETWORKS`.
    smoke
        A few steps of a tiny network: whether it runs, not what it can.
    steps
        Updates of the weights; None keeps the network's own.
    **choices
        Of `umdlib.training.promptable.Settings`: trained_on, seed, precision.

    Raises
    ------
    InputError
        As `umdlib.training.promptable.settings_of`.
    """
    settings = promptable.settings_of(network, **choices)
    settings = promptable.smaller(settings) if smoke else settings
    return replace(settings, steps=steps) if steps else settings


def use_threads(count: int | None) -> None:
    """Let torch use this many CPU threads; None leaves its own."""
    if count:
        import torch

        torch.set_num_threads(count)


def _values_of(cohort: Cohort, names: Sequence[str]) -> list[int]:
    """Label values of structures that a cohort's label maps have."""
    known = {s.name: s.value for s in cohort.structures}
    for name in names:
        if name not in known:
            raise unknown_name("structure", name, known)
    return [known[n] for n in names]


def _data_record(cohort: Cohort, trained_on: str) -> dict:
    """The training data as a card records them; seed and spacing of a synthetic cohort from its own records."""
    made = truths(cohort)
    seeds = sorted({m["seed"] for m in made})
    spacings = sorted({m["spacing_mm"] for m in made})
    seen = {m for s in cohort.sessions() for m in modalities(trained_on, s)}
    return {
        "cohort": cohort.name,
        "cohort_sha256": cohort.hash(),
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "subjects": len({pair[0].subject for pair in cohort.pairs()}),
        "spacing_mm": spacings[0] if len(spacings) == 1 else spacings,
        "modalities": [m for m in labels.MODALITIES if m in seen],
        "simulator": made[0]["source"][:12] if made and "source" in made[0] else "",
        "synthetic": bool(made),
    }
