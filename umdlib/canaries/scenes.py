"""Images with a known answer that a program is certified on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from umdlib import labels
from umdlib.canaries import controls
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.masks import bounding_boxes, deepest_voxel
from umdlib.images.partner import check_place
from umdlib.images.volume import Volume, onto_grid, read_label_map, read_volume
from umdlib.labels import ORGANS
from umdlib.prompts.prompt import Click, Prompt, box_of
from umdlib.synthetic.cohort import make_pair

KINDS = ("click", "box", "text")

# A grid with axes in another order than the world's, one of them reversed, anisotropic, off the origin.
AFFINE = np.array([[0, -2.5, 0, 95.0], [2.5, 0, 0, -40.0], [0, 0, 4.0, 310.0], [0, 0, 0, 1.0]])
SHAPE = (44, 44, 30)
FAT, NOISE = -90.0, 8.0
# The phantom's PET lies on another grid, larger by a rim, with axes in another order again.
PET_AFFINE = np.array([[0, 0, 4.0, -20.0], [0, 4.0, 0, -50.0], [-4.0, 0, 0, 432.0], [0, 0, 0, 1.0]])
PET_SHAPE = (32, 32, 32)
UPTAKE = {"liver": 3.0, "spleen": 5.0, "urinary_bladder": 12.0}
# name -> centre (share of the grid), half axes in mm, HU: each unlike the others and off the middle
OBJECTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "liver": ((0.27, 0.30, 0.62), (22, 26, 24), 60.0),
    "spleen": ((0.74, 0.62, 0.70), (16, 12, 20), 130.0),
    "urinary_bladder": ((0.40, 0.72, 0.18), (20, 14, 12), 10.0),
}


@dataclass(frozen=True)
class Scene:
    """An image with a known answer.

    Attributes
    ----------
    image, modality
        Image that a program is given.
    references
        Boolean masks (I, J, K) by name; kept in memory, never written where the program can look.
    kind
        What the program is given: ``click`` (at the deepest voxel), ``box`` (around), ``text`` (the name).
    source
        What it is, in words.
    partner
        The other image of the examination, for a program that sees two.
    """

    image: Volume
    modality: str
    references: Mapping[str, np.ndarray]
    kind: str
    source: str
    partner: Volume | None = None

    def prompt(self, name: str) -> Prompt:
        """The prompt for a structure."""
        mask, affine = self.references[name], self.image.affine
        if self.kind == "text":
            return Prompt(name, text=name)
        if self.kind == "box":
            (box,) = bounding_boxes(mask.astype(np.uint8), [1])
            return Prompt(name, box=box_of(affine, [s.start for s in box], [s.stop - 1 for s in box]))
        centre = deepest_voxel(mask, self.image.spacing_mm)
        return Prompt(name, (Click(tuple(geometry.to_world(affine, np.array(centre)).tolist())),))

    def without(self, name: str) -> Scene | None:
        """The longest part of the image, cut across its longest axis, that holds no voxel of a structure.

        None where the structure leaves less than a quarter of the image, or no other structure.
        """
        (box,) = bounding_boxes(self.references[name].astype(np.uint8), [1])
        if box is None:
            return None
        best = max(
            (
                (part.stop - part.start, axis, part)
                for axis, n in enumerate(self.image.shape)
                for part in (slice(0, box[axis].start - 1), slice(box[axis].stop + 1, n))
                if part.stop - part.start >= max(n // 4, 2)
            ),
            key=lambda item: item[0] / self.image.shape[item[1]],
            default=None,
        )
        if best is None:
            return None
        _, axis, part = best
        cut = tuple(part if a == axis else slice(None) for a in range(3))
        affine = self.image.affine.copy()
        affine[:3, 3] = geometry.to_world(affine, [s.start or 0 for s in cut])
        image = replace(self.image, data=np.asfortranarray(self.image.data[cut]), affine=affine)
        return replace(self, image=image, references={n: m[cut] for n, m in self.references.items()})


def phantom(kind: str, *, paired: bool = False) -> Scene:
    """Three bodies of 10, 60 and 130 HU in fat, with noise; `paired` with PET on a grid of its own."""
    rng = np.random.default_rng(7)
    references = _bodies(np.moveaxis(np.indices(SHAPE), 0, -1))
    data = np.full(SHAPE, FAT)
    for name, mask in references.items():
        data[mask] = OBJECTS[name][2]
    data = ndimage.gaussian_filter(data, 0.5) + rng.normal(0, NOISE, SHAPE)
    image = Volume(np.asfortranarray(data, dtype=np.float32), AFFINE, "HU", "phantom")
    source, partner = "a phantom of three ellipsoids in fat (CT)", None
    if paired:
        source, partner = source.replace("(CT)", "(CT, with its PET)"), _phantom_pet(rng)
    return Scene(image, "CT", references, _kind(kind), source, partner)


def _phantom_pet(rng: np.random.Generator) -> Volume:
    """The phantom's PET: the bodies at `UPTAKE` in 0.5 SUV, with noise."""
    index = np.moveaxis(np.indices(PET_SHAPE), 0, -1).reshape(-1, 3)
    places = geometry.to_voxel(AFFINE, geometry.to_world(PET_AFFINE, index)).reshape(*PET_SHAPE, 3)
    data = np.full(PET_SHAPE, 0.5)
    for name, mask in _bodies(places).items():
        data[mask] = UPTAKE[name]
    data = np.maximum(ndimage.gaussian_filter(data, 0.5) + rng.normal(0, 0.1, PET_SHAPE), 0)
    return Volume(np.asfortranarray(data, dtype=np.float32), PET_AFFINE, "SUV", "phantom_pet")


def _bodies(index: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of the phantom's bodies at indices (..., 3) of its CT's grid."""
    found = {}
    for name, (centre, half, _) in OBJECTS.items():
        offset = (index - np.array(centre) * SHAPE) * geometry.spacing_mm(AFFINE) / half
        found[name] = (offset**2).sum(axis=-1) <= 1
    return found


def body(kind: str, modality: str, *, session: str = "petct", paired: bool = False) -> Scene:
    """A synthetic subject, CT, MR or PET of a session, with its 13 organs; `paired` with the other image."""
    record, beside = labels.modality(modality), other_modality(modality, session)
    session = "petmr" if "MR" in (record.name, beside) else "petct"
    pair = make_pair("certify", session, controls.BODY_SEED, controls.BODY_SPACING_MM)
    image, reference, other = pair.pet, pair.pet_reference, pair.structural
    if record.structural:
        image, reference, other = pair.structural, pair.structural_reference, pair.pet
    found = {s.name: reference.data == s.value for s in ORGANS}
    kept = {n: m for n, m in found.items() if m.any()}
    words = f"{record.name}, with its {beside}" if paired else record.name
    partner = other if paired else None
    return Scene(image, record.name, kept, _kind(kind), f"a synthetic subject ({words})", partner)


def other_modality(modality: str, session: str) -> str:
    """Modality of the other image of an examination: PET beside CT or MR, beside PET the session's."""
    return "PET" if labels.modality(modality).structural else labels.session(session).structural


def own_scene(
    kind: str,
    image: str | Path,
    reference: str | Path,
    modality: str,
    structures: Mapping[str, int],
    partner: tuple[str | Path, str] | None = None,
) -> Scene:
    """A user's image and label map, with a partner where a program sees two images.

    Raises
    ------
    InputError
        What the readers refuse; a value that the reference does not hold.
    """
    unit = labels.modality(modality).unit
    read = read_volume(image, unit=unit)
    data = onto_grid(read_label_map(reference), read).data
    found = {name: data == value for name, value in structures.items()}
    for name, mask in found.items():
        if not mask.any():
            raise InputError(f"Reference {reference} holds no voxel of value {structures[name]} ('{name}').")
    name, words, beside = labels.modality(modality).name, f"{Path(image).name} with its reference", None
    if partner is not None:
        beside = read_volume(partner[0], unit=labels.modality(partner[1]).unit)
        check_place(read, beside)
        words += f" and {Path(partner[0]).name}"
    return Scene(read, name, found, _kind(kind), words, beside)


def _kind(kind: str) -> str:
    """A kind of prompt of `KINDS`."""
    if kind not in KINDS:
        raise InputError(f"Unknown kind of prompt '{kind}'. Known: {', '.join(KINDS)}.")
    return kind
