"""Positive controls: an image with a known answer, and the score that each adapter had on it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd
import scipy

from umdlib import segmenters
from umdlib.canaries import checks as canaries
from umdlib.images import geometry
from umdlib.images import masks as depth
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import ORGANS
from umdlib.labels import session as session_record
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segmenter
from umdlib.synthetic.cohort import make_pair

_TOLERANCE = 0.01
# axes permuted and flipped, oblique, anisotropic, off centre
AFFINE = np.array([[0.35, -2.46, 0, 80], [1.96, 0.44, 0, -120], [0, 0, -4.0, 333], [0, 0, 0, 1.0]])
SHAPE = (48, 44, 28)
CENTRE, RADIUS_MM = (22, 20, 13), 26.0

# The subject on which networks that were trained on such bodies are tested.
BODY_SEED, BODY_SPACING_MM = 8, 6.0


@functools.cache
def phantom() -> tuple[Volume, np.ndarray]:
    """A ball of 60 HU in fat of -90 HU with noise of 12 HU, and its mask (I, J, K)."""
    grid = geometry.to_world(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1))
    middle = geometry.to_world(AFFINE, CENTRE)
    mask = ((grid - middle) ** 2).sum(axis=-1) <= RADIUS_MM**2
    rng = np.random.default_rng(11)
    blurred = scipy.ndimage.gaussian_filter(np.where(mask, 60.0, -90.0), 0.6)
    data = (blurred + rng.normal(0, 12, SHAPE)).astype(np.float32)
    return Volume(data, AFFINE, "HU", "control phantom"), mask


def prompt() -> Prompt:
    """One click at the ball's centre."""
    return Prompt("liver", (Click(tuple(geometry.to_world(AFFINE, CENTRE).tolist())),))


@functools.cache
def body(session: str = "petct") -> dict[str, tuple[Volume, LabelMap]]:
    """Both images of a synthetic subject that no training saw, each with its reference, by modality."""
    pair = make_pair("control", session, BODY_SEED, BODY_SPACING_MM)
    structural = session_record(session).structural
    return {structural: (pair.structural, pair.structural_reference), "PET": (pair.pet, pair.pet_reference)}


def home_scores(
    record: Segmenter, structures: Sequence[str], session: str, modality: str, device: str = "cpu"
) -> dict[str, float]:
    """Dice of a network that this project trained on structures of such a body as it was trained on.

    Parameters
    ----------
    record
        The network's.
    structures
        Of the 13 organs; each is clicked at its deepest voxel, or given by its name.
    session, modality
        Which image.
    device
        Where it runs.
    """
    images = body(session)
    image, reference = images[modality]
    partner = next((images[m][0] for m in images if m != modality), None) if record.partner else None
    condition = ((session, modality),) if record.conditions else ()
    segment = segmenters.load(record, device, *condition)
    found = {}
    for organ in (s for s in ORGANS if s.name in structures):
        mask = reference.data == organ.value
        centre = depth.deepest_voxel(mask, image.spacing_mm)
        click = Click(tuple(geometry.to_world(image.affine, centre).tolist()))
        found[organ.name] = dice(segment(image, Prompt(organ.name, (click,)), None, partner), mask)
    return found


def trained_here(record: Segmenter) -> bool:
    """Whether a network was trained on synthetic bodies: a ball is no test of it."""
    return any(w.package == "umdlib.weights" for w in record.weights)


def score(segmenter: str, device: str = "cpu") -> float:
    """Dice of a segmenter on its control.

    That is the phantom, and for a network that this project trained the liver of a synthetic
    subject, in the first image that it was trained on.
    """
    record = segmenters.get(segmenter)
    if not trained_here(record):
        image, mask = phantom()
        return dice(segmenters.load(record, device)(image, prompt()), mask)
    return home_scores(record, ["liver"], "petct", record.modalities[0], device)["liver"]


def known() -> dict[str, float]:
    """The score that each adapter had when its row was recorded."""
    path = resources.files("umdlib") / "segmenters" / "controls.tsv"
    with path.open(encoding="utf-8") as file:
        table = pd.read_csv(file, sep="\t")
    return dict(zip(table["segmenter"], table["dice"], strict=True))


def compared(segmenter: str) -> bool:
    """Whether the adapter was compared with the official code voxel by voxel."""
    path = resources.files("umdlib") / "segmenters" / "parity.tsv"
    with path.open(encoding="utf-8") as file:
        names = pd.read_csv(file, sep="\t", keep_default_na=False)["segmenters"]
    return segmenter in {n for several in names for n in several.split()}


def check(segmenter: str, device: str = "cpu") -> tuple[str, list[canaries.Finding]]:
    """Compare an adapter with its known scores: a sentence, and a finding where one was missed."""
    expected = known().get(segmenter)
    if expected is None:
        if compared(segmenter):
            return "compared with the official code", []
        return "unverified adapter", []
    value = score(segmenter, device)
    own = trained_here(segmenters.get(segmenter))
    what = "liver of a synthetic subject" if own else "ball of 60 HU"
    found = canaries.check_control(value, expected, _TOLERANCE, segmenter, what)
    return (f"{value:.3f} instead of {expected:.3f}" if found else f"{value:.3f} reproduced"), found
