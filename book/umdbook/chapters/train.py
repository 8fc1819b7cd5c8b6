"""Train a specialist: cohort, training, release."""

from __future__ import annotations

from pathlib import Path

from umdlib.cohort.manifest import Cohort, read_cohort
from umdlib.figures import loss_curves
from umdlib.synthetic import Settings, synthesise
from umdlib.training.nnunet.recipes import recipe
from umdlib.training.nnunet.release import release
from umdlib.training.nnunet.train import train
from umdlib.weights.card import read_log

__all__ = ["loss_curves", "read_log", "recipe", "release", "train", "training_cohort"]


def training_cohort(manifest: str, out: str, session: str) -> Cohort:
    """The cohort of a manifest; two small synthetic subjects where none is given."""
    folder = Path(out) / "cohort"
    return read_cohort(
        manifest or synthesise(folder, subjects=2, seed=1, sessions=[session], settings=Settings(8.0))
    )
