"""A small simulation: what a comparison of modalities estimates with and without pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

DESIGNS = {
    "own tasks": "Each modality on its own cohort and its own structures",
    "same structures": "Other subjects, the same structures",
    "paired": "The same subjects and the same structures",
}


@dataclass(frozen=True)
class World:
    """Parameters of the simulation, all in DSC.

    Attributes
    ----------
    gap
        PET minus structural for one subject and structure: what a benchmark wants to know.
    confounding
        How much harder the structures are on which PET is usually tested.
    structure_sd, subject_sd, residual_sd
        Spread of the difficulty of structures, of subjects, and of what is left.
    level
        Mean DSC on the structural image.
    """

    gap: float = -0.10
    confounding: float = -0.15
    structure_sd: float = 0.10
    subject_sd: float = 0.08
    residual_sd: float = 0.05
    level: float = 0.75


def simulate_benchmarks(
    world: World,
    rng: np.random.Generator,
    *,
    n_subjects: int = 40,
    n_structures: int = 13,
    repeats: int = 500,
) -> pd.DataFrame:
    """Estimated gap of many benchmarks of each design.

    A score is level + structure + subject + gap (on PET) + residual, left unbounded so that the
    expected estimate is known: `gap` for ``paired`` and ``same structures``, `gap` +
    `confounding` for ``own tasks``.

    Parameters
    ----------
    world
        The truth.
    rng
        Source of all randomness.
    n_subjects, n_structures
        Of each benchmark (of each modality where they differ).
    repeats
        Benchmarks of each design.

    Returns
    -------
    pandas.DataFrame
        Columns ``design, repeat, estimate``.

    Examples
    --------
    >>> found = simulate_benchmarks(World(), np.random.default_rng(1), repeats=200)
    >>> found.groupby("design")["estimate"].mean().round(2).to_dict()
    {'own tasks': -0.25, 'paired': -0.1, 'same structures': -0.1}
    """
    shape = (repeats, n_subjects, n_structures)

    def structures(shift: float) -> np.ndarray:
        return shift + rng.normal(0, world.structure_sd, (repeats, 1, n_structures))

    def subjects() -> np.ndarray:
        return rng.normal(0, world.subject_sd, (repeats, n_subjects, 1))

    def scores(difficulty: np.ndarray, person: np.ndarray, gap: float) -> np.ndarray:
        residual = rng.normal(0, world.residual_sd, shape)
        return (world.level + difficulty + person + gap + residual).mean(axis=(1, 2))

    first, people = structures(0.0), subjects()
    structural = scores(first, people, 0.0)
    pet = {
        "own tasks": scores(structures(world.confounding), subjects(), world.gap),
        "same structures": scores(first, subjects(), world.gap),
        "paired": scores(first, people, world.gap),
    }
    return pd.concat(
        [
            pd.DataFrame({"design": name, "repeat": np.arange(repeats), "estimate": p - structural})
            for name, p in pet.items()
        ],
        ignore_index=True,
    )


def expected_sd(world: World, design: str, *, n_subjects: int, n_structures: int) -> float:
    """SD of the estimate of one design, from the variances of the world.

    Examples
    --------
    >>> round(expected_sd(World(), "paired", n_subjects=40, n_structures=13), 4)
    0.0031
    """
    variance = 2 * world.residual_sd**2 / (n_subjects * n_structures)
    if design in ("own tasks", "same structures"):
        variance += 2 * world.subject_sd**2 / n_subjects
    if design == "own tasks":
        variance += 2 * world.structure_sd**2 / n_structures
    return float(np.sqrt(variance))


def design_errors(found: pd.DataFrame, world: World) -> pd.DataFrame:
    """How wrong each design is: bias, SD, and how often it is off by more than half the gap.

    Parameters
    ----------
    found
        As `simulate_benchmarks` returns it.
    world
        The truth behind it.
    """
    by = found.groupby("design", sort=False)["estimate"]
    off = (found["estimate"] - world.gap).abs() > abs(world.gap) / 2
    return pd.DataFrame(
        {
            "bias": by.mean() - world.gap,
            "sd": by.std(),
            "off_by_half": off.groupby(found["design"], sort=False).mean(),
        }
    ).reset_index()
