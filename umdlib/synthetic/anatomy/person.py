"""A person: sex, size, organ volumes, uptake, posture, drawn from one generator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from umdlib.synthetic.literature import UPTAKE, VOLUMES

REFERENCE_HEIGHT_MM = 1750.0


@dataclass(frozen=True)
class Person:
    """Traits of one synthetic person.

    Attributes
    ----------
    sex
        ``"F"`` or ``"M"``.
    age
        Years.
    height_cm, weight_kg
        Size; the body mass index sets the thickness of fat.
    arms
        ``"up"`` or ``"down"``.
    volumes_ml
        Organ volumes that the anatomy aims at.
    uptake_suv
        FDG uptake per tissue in SUV.
    fasting
        Whether the myocardium burns fat (little FDG) or glucose.
    shape_seed
        Seed of every random field of the anatomy.
    """

    sex: str
    age: int
    height_cm: float
    weight_kg: float
    arms: str
    volumes_ml: dict[str, float]
    uptake_suv: dict[str, float]
    fasting: bool
    shape_seed: int
    shape: dict[str, float] = field(default_factory=dict)

    @property
    def bmi(self) -> float:
        """Body mass index, kg/m²."""
        return self.weight_kg / (self.height_cm / 100) ** 2

    def record(self) -> dict:
        """Everything as plain numbers and strings."""
        return asdict(self) | {"bmi": round(self.bmi, 2)}


def draw_person(
    rng: np.random.Generator,
    *,
    arms: str = "down",
    sex: str | None = None,
    bmi: float | None = None,
    height_cm: float | None = None,
) -> Person:
    """A person drawn from population distributions; what is given is not drawn.

    Parameters
    ----------
    rng
        Draws everything, in a fixed order.
    arms
        Posture, ``"up"`` or ``"down"``.
    sex, bmi, height_cm
        Fixed values for pictures and tests.
    """
    drawn_sex = "F" if rng.random() < 0.5 else "M"
    sex = sex or drawn_sex
    age = int(np.clip(rng.normal(58, 13), 20, 88))
    # Height: NCD-RisC 2016 (doi 10.7554/eLife.13410), adults of high-income countries.
    drawn_height = np.clip(rng.normal(164 if sex == "F" else 177, 6.5), 148, 198)
    height_cm = float(height_cm or drawn_height)
    drawn_bmi = np.clip(np.exp(rng.normal(np.log(25.3), 0.155)), 17.5, 39)
    bmi = float(bmi or drawn_bmi)
    size = (height_cm / 172) ** 2 * (bmi / 25) ** 0.5
    volumes = {}
    for name, record in VOLUMES.items():
        scale = size**record.size_power * (record.female if sex == "F" else 1.0)
        spread = np.clip(rng.standard_normal(), -2, 2)
        volumes[name] = float(
            np.clip(record.ml * scale * np.exp(record.log_sd * spread), record.low, record.high)
        )
    fasting = bool(rng.random() < 0.55)
    uptake = {}
    for name, record in UPTAKE.items():
        spread = np.clip(rng.standard_normal(), -2, 2)
        uptake[name] = float(np.clip(record.suv * np.exp(record.log_sd * spread), record.low, record.high))
    uptake["myocardium"] = float(rng.uniform(1.6, 3.0) if fasting else rng.uniform(5, 12))
    return Person(
        sex=sex,
        age=age,
        height_cm=round(height_cm, 1),
        weight_kg=round(bmi * (height_cm / 100) ** 2, 1),
        arms=arms,
        volumes_ml={k: round(v, 1) for k, v in volumes.items()},
        uptake_suv={k: round(v, 3) for k, v in uptake.items()},
        fasting=fasting,
        shape_seed=int(rng.integers(2**31)),
        shape={k: round(float(v), 4) for k, v in zip(SHAPES, rng.standard_normal(len(SHAPES)), strict=True)},
    )


# Named standard-normal scores that the anatomy turns into positions, folds and fillings.
SHAPES = (
    "diaphragm",
    "liver_left",
    "stomach_gas",
    "colon_gas",
    "transverse_dip",
    "sigmoid",
    "heart_tilt",
    "aorta_tortuosity",
    "kidney_level",
    "spleen_level",
    "belly",
    "kyphosis",
)
