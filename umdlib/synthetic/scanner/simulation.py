"""One pair of images of an anatomy: the physics as a single call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import session as session_record
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.lesions import Lesion, draw_lesions, lesion_map
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.from_labels import anatomy_from_labels
from umdlib.synthetic.limits import Settings, anatomy_spacing, check_whole
from umdlib.synthetic.scanner.acquisition import Acquisition, draw_acquisition
from umdlib.synthetic.scanner.factors import Factors
from umdlib.synthetic.scanner.pet import pet_image
from umdlib.synthetic.scanner.sampling import Grid, sample_labels, scanner_grid, structural_fwhm
from umdlib.synthetic.scanner.structural import ct_image, mr_image


@dataclass(frozen=True)
class Pair:
    """Two images of one subject with their references.

    Attributes
    ----------
    structural, pet
        CT (HU) or MR (a.u.), and PET (SUV).
    structural_reference, pet_reference
        The same anatomy, as the structural image saw it, on each image's grid: labels are shared,
        as in UMD. Where PET was displaced, its content is not where its reference is.
    anatomy
        What was imaged.
    acquisition
        The displacement, filling and noise that were planted.
    lesions
        What was planted.
    """

    structural: Volume
    pet: Volume
    structural_reference: LabelMap
    pet_reference: LabelMap
    anatomy: Anatomy
    acquisition: Acquisition
    lesions: tuple[Lesion, ...] = ()

    def record(self) -> dict:
        """The truth as plain values."""
        record = {"acquisition": self.acquisition.record(), "lesions": [x.record() for x in self.lesions]}
        if self.anatomy.person:
            record["person"] = self.anatomy.person.record()
        return record


def image_pair(
    anatomy: Anatomy,
    *,
    session: str,
    acquisition: Acquisition,
    seed: int | np.random.SeedSequence,
    factors: Factors | None = None,
    spacing_mm: float = 4.0,
    lesions: tuple[Lesion, ...] = (),
) -> Pair:
    """The structural image and PET of an anatomy.

    Parameters
    ----------
    anatomy
        Its `person` gives the uptake.
    session
        ``petct`` or ``petmr``.
    acquisition
        Motion, filling, noise.
    seed
        Of noise and texture. The same seed with other `factors` gives the same noise, scaled.
    factors
        Strengths; all at the scanner's by default.
    spacing_mm
        Edge of a PET voxel, about; every grid scales with it.
    lesions
        Laid over the anatomy; the references do not know them.
    """
    factors = factors or Factors()
    modality = session_record(session).structural
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    structural_rng, pet_rng = (np.random.default_rng(s) for s in root.spawn(2))
    width = structural_fwhm(session, spacing_mm)
    grid = scanner_grid(anatomy, session, modality, spacing_mm)
    make = ct_image if modality == "CT" else mr_image
    structural = make(anatomy, grid, factors=factors, rng=structural_rng, fwhm_mm=width, lesions=lesions)
    pet = pet_image(
        anatomy,
        structural,
        session=session,
        acquisition=acquisition,
        factors=factors,
        rng=pet_rng,
        spacing_mm=spacing_mm,
        lesions=lesions,
    )
    references = [_reference_on(anatomy, v) for v in (structural, pet)]
    return Pair(structural, pet, *references, anatomy, acquisition, lesions)


def _reference_on(anatomy: Anatomy, volume: Volume) -> LabelMap:
    """The anatomy's label map on the grid of an image."""
    grid = Grid(volume.shape, volume.affine)
    return LabelMap(sample_labels(anatomy.tissue, anatomy.affine, grid), volume.affine)


def lesions_on(pair: Pair, volume: Volume) -> LabelMap:
    """Label map (1, 2, ...) of a pair's lesions on the grid of an image, nearest neighbour."""
    from umdlib.images.geometry import resample

    data = lesion_map(pair.anatomy, pair.lesions)
    data = resample(data, pair.anatomy.affine, volume.affine, volume.shape, order=0)
    return LabelMap(data, volume.affine)


def simulate(
    label_map: LabelMap,
    *,
    session: str = "petct",
    seed: int = 0,
    names: dict[int, str] | None = None,
    settings: Settings | None = None,
) -> Pair:
    """A pair of images of the body in a user's label map.

    Tissues that the map lacks are filled by the rules in `umdlib.synthetic.from_labels.RULES`.

    Parameters
    ----------
    label_map
        For example TotalSegmentator's output.
    session
        ``petct`` or ``petmr``.
    seed
        Of the person, the acquisition, texture and noise.
    names
        Value to structure name; the 13 structures of `umdlib.labels` by default.
    settings
        Voxel size, lesions, strengths of the physics.

    Raises
    ------
    InputError
        An unknown value or name, an oblique affine, an empty map, a number out of range.
    """
    settings = settings or Settings()
    settings.check()
    check_whole("seed", seed, 0)
    session_record(session)
    who, scan, folds, sick, noise = np.random.SeedSequence([seed, 1]).spawn(5)
    person = draw_person(np.random.default_rng(who))
    acquisition = draw_acquisition(np.random.default_rng(scan), session=session, bmi=person.bmi)
    anatomy = anatomy_from_labels(
        label_map,
        person,
        names=names,
        spacing_mm=anatomy_spacing(settings.spacing_mm),
        rng=np.random.default_rng(folds),
    )
    if anatomy.heights is None:
        acquisition = replace(acquisition, breathing_mm=0.0, misregistration_mm=0.0)
    if anatomy.bladder is None:
        acquisition = replace(acquisition, bladder_ml=0.0)
    planted = draw_lesions(anatomy, settings.lesions, np.random.default_rng(sick))
    return image_pair(
        anatomy,
        session=session,
        acquisition=acquisition,
        seed=noise,
        factors=settings.factors,
        spacing_mm=settings.spacing_mm,
        lesions=planted,
    )
