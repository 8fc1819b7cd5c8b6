"""Training patches: a cube of a body and the structures that are prompted in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umdlib.errors import InputError
from umdlib.labels import SESSIONS
from umdlib.labels import session as session_of
from umdlib.networks.inputs import OUTSIDE, cut
from umdlib.training.bodies import Body

# What a network is trained on -> which images of an examination they see.
TRAINED_ON: dict[str, str] = {
    "structural": "CT of PET/CT and MR of PET/MR",
    "pet": "PET of both examinations",
    "both": "the structural image and PET in turn, at random",
    "pair": "the structural image and PET at once, as channels; each of them alone in every fourth step",
}
_LEAST_VOXELS = 12  # a structure with fewer in the patch is not prompted


@dataclass(frozen=True)
class Patch:
    """One example: an image and the masks to be found in it.

    Attributes
    ----------
    image
        (2, A, B, C) float32; (4, A, B, C) of a pair, structure first, `OUTSIDE` where one of them is blank.
    targets
        (P, A, B, C) boolean, one mask per prompted structure.
    values
        (P,) their label values.
    modality
        Of the image, or of both.
    middle
        Voxel of the patch that was drawn: it lies in the first of the targets.
    """

    image: np.ndarray
    targets: np.ndarray
    values: tuple[int, ...]
    modality: str
    middle: tuple[int, int, int]


def modalities(trained_on: str, session: str) -> tuple[str, ...]:
    """Images of an examination that a training sees.

    Examples
    --------
    >>> modalities("both", "petmr")
    ('MR', 'PET')
    """
    structural = session_of(session).structural
    seen = {"structural": (structural,), "pet": ("PET",)}
    return seen.get(trained_on, (structural, "PET"))


_GAIN = 0.1  # half range of the factor, and of the offset, that each channel is changed by


def draw_patch(
    bodies: Sequence[Body],
    trained_on: str,
    rng: np.random.Generator,
    *,
    size: int = 32,
    prompts: int = 4,
    centred: bool = False,
    balanced: bool = False,
) -> Patch:
    """A cube that holds part of a randomly chosen structure of a randomly chosen body.

    Parameters
    ----------
    bodies
        To draw from.
    trained_on
        A name of `TRAINED_ON`. Body, place and structures do not depend on it: runs with one seed
        see the same places of the same bodies.
    rng
        Draws everything.
    size
        Edge in voxels.
    prompts
        Structures at most; the chosen one is the first.
    centred
        The drawn voxel is the middle of the cube, not anywhere in it.
    balanced
        Where the training sees both images: PET as often as each kind of structural image, where the
        sessions have as many bodies. By default PET gets half.
    """
    body = bodies[int(rng.integers(len(bodies)))]
    if not body.present:
        raise InputError(f"{body.subject} {body.session} holds no structure to train on.")
    value = int(rng.choice(body.present))
    places = np.flatnonzero(body.labels == value)
    middle = np.unravel_index(int(rng.choice(places)), body.labels.shape)
    inside = rng.integers(size // 6, size - size // 6, 3)
    inside = np.full(3, size // 2) if centred else inside
    start = np.array(middle) - inside
    picked = rng.random(len(SESSIONS))[0]
    flip = bool(rng.random() < 0.5)
    change = rng.uniform(-_GAIN, _GAIN, (2, 2, 1, 1, 1)).astype(np.float32)
    order = rng.permutation(body.present)
    seen = modalities(trained_on, body.session)
    if trained_on == "pair":
        more = rng.uniform(-_GAIN, _GAIN, (2, 2, 1, 1, 1)).astype(np.float32)
        change = np.concatenate([change, more], axis=1)  # of PET's channels
        blank = int(picked * 4)  # 0 structure, 1 PET, else none
    elif balanced and len(seen) > 1:
        kinds = len({b.session for b in bodies})  # CT and MR share what PET leaves
        seen = seen[int(picked >= kinds / (kinds + 1)) :][:1]
    else:
        seen = seen[int(picked * len(seen)) :][:1]
    labels = cut(body.labels, start, size, 0)
    channels = np.concatenate([body.images[m] for m in seen])
    image = cut(channels, start, size, OUTSIDE).astype(np.float32)
    if flip:  # left and right: a body that lies the other way round is a body
        labels, image = labels[::-1], image[:, ::-1]
        inside[0] = size - 1 - inside[0]
    image = np.clip(image * (1 + change[0]) + change[1], -1, 1)
    if trained_on == "pair" and blank < 2:
        image[2 * blank : 2 * blank + 2] = OUTSIDE
    counts = np.bincount(labels.ravel(), minlength=max(body.present) + 1)
    others = [v for v in order if v != value and counts[v] >= _LEAST_VOXELS]
    values = (value, *map(int, others[: prompts - 1]))
    targets = np.stack([labels == v for v in values])
    return Patch(np.ascontiguousarray(image), targets, values, " and ".join(seen), tuple(map(int, inside)))
