"""Recipes of a specialist's training: grid, patch, network, and how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from umdlib.errors import InputError, unknown_name
from umdlib.networks.specialists import TRAINERS


@dataclass(frozen=True)
class Recipe:
    """Recipe of a specialist's training.

    Attributes
    ----------
    name
        ``small``, ``smoke`` or ``full``.
    subjects
        Fewest training subjects.
    spacing_mm
        Voxel edge of the network's grid along (K, J, I); empty takes what nnU-Net plans.
    patch
        (K, J, I) voxels; empty takes what nnU-Net plans.
    features
        Channels of each stage of nnU-Net's U-Net; empty takes what nnU-Net plans.
    batch
        Patches per iteration.
    epochs, iterations
        Epochs, and iterations of each.
    learning_rate
        At the start; it falls as (1 - epoch / epochs)^0.9.
    rotation_deg
        Largest rotation of the augmentation.
    mirrored
        Whether the augmentation mirrors: left and right organs become one another.
    convolutions
        Of the U-Net's stage at full resolution; the others have two.
    balanced
        Whether cross-entropy starts with weights of (background over structure voxels)^0.5, at
        most 30, which fall to one as the training goes on: without them the first hundred
        iterations learn the background only.
    precision
        ``bfloat16`` or ``float32``: of the network's arithmetic on a CPU.
    threads
        Of torch.
    configuration
        Name in the plans file.
    """

    name: str
    subjects: int = 10
    spacing_mm: tuple[float, ...] = ()
    patch: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    batch: int = 2
    epochs: int = 1000
    iterations: int = 250
    learning_rate: float = 0.01
    rotation_deg: float = 30.0
    mirrored: bool = True
    convolutions: int = 2
    balanced: bool = False
    precision: str = "float32"
    threads: int = 1
    configuration: str = "3d_fullres"

    def record(self) -> dict:
        """As plain lists, numbers and strings."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


# full: nnU-Net's own settings. small: two CPU cores, minutes. smoke: seconds, to see that it runs.
RECIPES: dict[str, Recipe] = {
    "full": Recipe("full"),
    "small": Recipe(
        "small",
        spacing_mm=(7.0, 7.0, 7.0),
        patch=(72, 48, 80),
        features=(12, 32, 64, 64),
        convolutions=1,
        batch=1,
        epochs=100,
        iterations=10,
        learning_rate=5e-3,
        rotation_deg=10.0,
        mirrored=False,
        balanced=True,
        precision="bfloat16",
        configuration="3d_small",
    ),
    "smoke": Recipe(
        "smoke",
        subjects=2,
        spacing_mm=(16.0, 16.0, 16.0),
        patch=(32, 16, 32),
        features=(4, 8, 8),
        batch=1,
        epochs=2,
        iterations=2,
        learning_rate=3e-3,
        rotation_deg=10.0,
        mirrored=False,
        configuration="3d_smoke",
    ),
}


# What sizes of a patch must be multiples of, where nnU-Net's strides do not see to it: for the small
# size of each network and for the full one.
_MULTIPLES: dict[str, int] = {"segresnet": 8, "swinunetr": 16, "stunet": 8}
_FULL_MULTIPLES: dict[str, int] = {"segresnet": 8, "swinunetr": 32, "stunet": 32}

# Epochs of the small recipe, where they are not given, as a multiple: what learns more slowly trains longer.
_LONGER: dict[str, float] = {"segresnet": 2.5}


def recipe(name: str, **changes) -> Recipe:
    """A recipe by name, with `changes` that are not None.

    Examples
    --------
    >>> recipe("small", epochs=3).epochs
    3

    Raises
    ------
    InputError
        There is no such recipe; epochs, iterations, batch or threads below 1.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    made = replace(RECIPES[name], **{k: v for k, v in changes.items() if v is not None})
    for key in ("epochs", "iterations", "batch", "threads"):
        if getattr(made, key) < 1:
            raise InputError(f"Invalid {key} {getattr(made, key)}. Must be 1 or more.")
    return made


def for_network(made: Recipe, network: str) -> Recipe:
    """The recipe with a patch whose sizes the network divides, and its epochs.

    Examples
    --------
    >>> for_network(recipe("small"), "swinunetr").patch
    (80, 48, 80)
    >>> for_network(recipe("small"), "segresnet").epochs
    250
    """
    if network not in TRAINERS:
        raise unknown_name("network", network, TRAINERS)
    epochs = made.epochs
    if made.name == "small" and epochs == RECIPES["small"].epochs:
        epochs = round(epochs * _LONGER.get(network, 1))
    return replace(made, patch=divisible(made.patch, network), epochs=epochs)


def divisible(patch: Sequence[int], network: str, *, small: bool = True) -> tuple[int, ...]:
    """The next larger patch whose sizes a network divides.

    Examples
    --------
    >>> divisible((80, 112, 256), "stunet", small=False)
    (96, 128, 256)
    """
    factor = (_MULTIPLES if small else _FULL_MULTIPLES).get(network, 1)
    return tuple(-(-int(n) // factor) * factor for n in patch)
