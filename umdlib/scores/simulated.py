"""Score tables drawn from a known model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from umdlib.labels import ORGANS, session


@dataclass(frozen=True)
class Model:
    """Level and spread of drawn scores.

    Attributes
    ----------
    level
        DSC of an average structure on the structural image.
    subject_sd, noise_sd
        Spread between subjects (shared by all structures of a subject and modality) and of single
        predictions, on the logit scale.
    failure_rate
        Share of PET predictions that find nothing (DSC 0, status ``prediction_empty``).
    """

    level: float = 0.75
    subject_sd: float = 0.3
    noise_sd: float = 0.3
    failure_rate: float = 0.0


def score_table(
    *,
    n_subjects: int = 20,
    structures: Sequence[str] = tuple(s.name for s in ORGANS),
    sessions: Sequence[str] = ("petct",),
    gap: Mapping[str, float] | None = None,
    model: Model | None = None,
    n_seeds: int = 1,
    steps: Sequence[int] = (0,),
    seed: int = 0,
) -> pd.DataFrame:
    """A score table of segmenters with known modality gaps.

    Parameters
    ----------
    n_subjects
        Subjects per session.
    structures, sessions
        Names.
    gap
        Shift of the PET score per segmenter, in DSC at the model's level; 0 makes the null hypothesis
        true.
    model
        Level and spread of the scores.
    n_seeds
        Prompts drawn per case.
    steps
        Corrective clicks; each halves the remaining error.
    seed
        Of the generator.

    Returns
    -------
    pandas.DataFrame
        Columns of a score table, one row per prediction.

    Examples
    --------
    >>> score_table(n_subjects=2, structures=["liver"], gap={"a": 0.0}).shape
    (4, 19)
    """
    rng = np.random.default_rng(seed)
    gap = {"a": 0.0, "b": -0.1, "c": -0.3} if gap is None else gap
    model = model or Model()
    frames = [_session_rows(name, n_subjects, structures, gap, n_seeds, steps) for name in sessions]
    table = pd.concat(frames, ignore_index=True)
    score = _scores(table, gap, model, rng)
    empty = table["modality"].eq("PET") & (rng.random(len(table)) < model.failure_rate)
    return _with_metrics(table, score, empty.to_numpy(), rng)


def _session_rows(
    name: str,
    n_subjects: int,
    structures: Sequence[str],
    gap: Mapping[str, float],
    n_seeds: int,
    steps: Sequence[int],
) -> pd.DataFrame:
    """The keys of every prediction of one session."""
    levels = {
        "subject": [f"sub-{i + 1:03d}" for i in range(n_subjects)],
        "session": [name],
        "modality": [session(name).structural, "PET"],
        "structure": list(structures),
        "segmenter": list(gap),
        "prompt": ["centre"],
        "step": list(steps),
        "seed": list(range(n_seeds)),
    }
    return pd.MultiIndex.from_product(levels.values(), names=levels.keys()).to_frame(index=False)


def _scores(
    table: pd.DataFrame, gap: Mapping[str, float], model: Model, rng: np.random.Generator
) -> np.ndarray:
    """Scores on the logit scale: structure + subject in this modality + noise, then the gap."""
    structure = table["structure"].map(
        dict(zip(table["structure"].unique(), _spread(table["structure"].nunique()), strict=True))
    )
    person = table.groupby(["subject", "session", "modality"], sort=False).ngroup()
    shared = rng.normal(0, model.subject_sd, person.max() + 1)[person]
    single = rng.normal(0, model.noise_sd, len(table))
    pet = table["modality"].eq("PET").to_numpy()
    level = logit(model.level)
    shift = logit(np.clip(model.level + table["segmenter"].map(gap), 0.02, 0.98)) - level
    score = expit(level + structure + shared + single + np.where(pet, shift, 0.0))
    return 1 - (1 - score) * 0.5 ** table["step"].to_numpy()


def _spread(n: int) -> np.ndarray:
    """Evenly spread structure effects on the logit scale, large structures first."""
    return np.linspace(0.8, -0.8, n) if n > 1 else np.zeros(1)


def _with_metrics(
    table: pd.DataFrame, score: np.ndarray, empty: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Add the metric columns; an empty prediction has no distances."""
    dice = np.where(empty, 0.0, score)
    reference = np.full(len(table), 150.0)
    prediction = np.where(empty, 0.0, reference * rng.normal(1, 0.1, len(table)).clip(0.5, 1.5))
    far = np.where(empty, np.nan, 60 * (1 - score) + 2)
    return table.assign(
        dice=dice,
        surface_dice_1mm=dice**2,
        surface_dice_5mm=np.sqrt(dice),
        hausdorff=1.5 * far,
        hausdorff_95=far,
        assd=far / 4,
        reference_ml=reference,
        prediction_ml=prediction,
        rvd=prediction / reference - 1,
        status=np.where(empty, "prediction_empty", "ok"),
        reason="",
    )
