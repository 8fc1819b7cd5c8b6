"""Agreement without labels: one segmenter's masks of the two images of a pair, and those of two segmenters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from umdlib import prompts, segmenters
from umdlib.cohort.manifest import Case, Cohort, read_cohort, write_manifest, write_structures
from umdlib.errors import InputError, NothingToShow
from umdlib.evaluation import store
from umdlib.images import geometry, volume
from umdlib.images.volume import LabelMap, Volume

if TYPE_CHECKING:
    import pandas as pd

WITHIN = ("subject", "session", "structure", "segmenter", "prompt", "seed")
WITHIN_NUMBERS = ("agreement", "jaccard_distance", "structural_on_pet", "pet")
BETWEEN = ("subject", "session", "modality", "structure", "first", "second")

EMPTY_BOTH = "both masks are empty"
OUTSIDE = "the structural mask lies outside PET's field of view"
NOT_MADE = "one of the two masks was not made"


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Dice coefficient and Jaccard distance of two boolean masks; NaN where both are empty.

    Examples
    --------
    >>> overlap(np.array([True, True, False]), np.array([False, True, False]))
    (0.6666666666666666, 0.5)
    """
    both, one = int(np.count_nonzero(a & b)), int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return (2 * both / one, 1 - both / (one - both)) if one else (float("nan"), float("nan"))


def agree_run(
    cohort: Cohort,
    root: str | Path,
    names: Sequence[str],
    *,
    references: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of the first predictions (seed 0) that a run has kept; nothing is predicted.

    The prompt is the common click, or a segmenter's own protocol where it has no other.

    Parameters
    ----------
    cohort
        The cohort that was predicted.
    root
        Folder of the run.
    names
        Segmenters.
    references
        Whether the cohort's references are references, to be scored against; not those of a pointer.
    report
        Called with one line per pair of images.

    Returns
    -------
    within : pandas.DataFrame
        `WITHIN`, `WITHIN_NUMBERS`, `reason`. `agreement` is the DSC of the segmenter's mask on the
        structural image, taken to PET's grid (nearest voxel), and its mask on PET; `jaccard_distance`
        the Jaccard distance of the two. With references, `structural_on_pet` and `pet` are the Jaccard
        distances of these two masks from PET's reference. Undefined is NaN, with the reason.
    between : pandas.DataFrame
        `BETWEEN`, `agreement`, `reason`: DSC of two segmenters' masks of one image.

    Raises
    ------
    InputError
        A cohort without pairs; a folder without a prediction of any of the segmenters.
    """
    import pandas as pd

    pairs = cohort.pairs()
    if not pairs:
        raise NothingToShow(
            f"No complete pair in {cohort.manifest}. Agreement needs two images of one subject."
        )
    within, between = [], []
    for pair in pairs:
        masks = {(n, c.modality): _Masks.read(root, n, c) for n in names for c in pair}
        truth = _reference(pair[1]) if references else None
        for name in names:
            within += _within(pair, name, *(masks[name, c.modality] for c in pair), truth)
        for case in pair:
            for first, second in itertools.combinations(names, 2):
                between += _between(case, first, second, masks)
        report(f"{pair[0].subject} {pair[0].session}: agreement of {len(names)} segmenters")
    table = pd.DataFrame(within, columns=[*WITHIN, *WITHIN_NUMBERS, "reason"])
    if table["reason"].eq(NOT_MADE).all():
        who = ", ".join(names) or "any segmenter"
        raise NothingToShow(f"No prediction of {who} on both images of a pair in {root}.")
    return table, pd.DataFrame(between, columns=[*BETWEEN, "agreement", "reason"])


class _Masks:
    """First predictions of one image: bits, their order, grid and prompt."""

    def __init__(self, bits: np.ndarray, affine: np.ndarray, places: dict[str, int], prompt: str) -> None:
        self.bits, self.affine, self.places, self.prompt = bits, affine, places, prompt

    @classmethod
    def read(cls, root: str | Path, name: str, case: Case) -> _Masks | None:
        """Read what a run has kept of an image; None where nothing can be used."""
        kept = store.Kept(store.case_folder(root, name, case))
        if not kept.stamp or kept.damage:
            return None
        rows = kept.table[kept.table["step"].eq(0) & kept.table["seed"].eq(0)]
        given = list(dict.fromkeys(rows["prompt"]))
        if not given:
            return None
        prompt = "centre" if "centre" in given else given[0]
        file = kept.folder / store.prediction_file(prompt, 0, 0)
        places = store.bit_places(kept.folder, case)
        rows = rows[rows["prompt"].eq(prompt) & ~rows["status"].isin(["failed", "unavailable"])]
        known = set(rows["structure"])
        named = {s.name: p for s, p in zip(case.structures, places, strict=True) if s.name in known}
        return cls(volume.read_bits(file), store.grid_of(file).affine, named, prompt)

    def on(self, other: _Masks) -> np.ndarray:
        """The bits at the voxels of another grid, nearest neighbour."""
        return geometry.resample(self.bits, self.affine, other.affine, other.bits.shape, order=0)


def _bit(bits: np.ndarray, place: int) -> np.ndarray:
    """Boolean mask of one bit."""
    return (bits & bits.dtype.type(1 << place)) != 0


def _reference(case: Case) -> LabelMap | None:
    """A case's reference on the grid of its image; None where it has none."""
    return None if case.reference is None else case.read()[1]


def _within(
    pair: tuple[Case, Case], name: str, structural: _Masks | None, pet: _Masks | None, truth: LabelMap | None
) -> list[tuple]:
    """Rows of one pair of images and one segmenter."""
    nan = float("nan")
    moved = structural.on(pet) if structural is not None and pet is not None else None
    rows = []
    if moved is not None:  # most of a body is in no mask
        kept = (moved != 0) | (pet.bits != 0) | (False if truth is None else truth.data != 0)
        moved, there = moved[kept], pet.bits[kept]
        known = None if truth is None else truth.data[kept]
    for s in pair[1].structures:
        prompt = pet.prompt if pet is not None else ""
        key = (pair[0].subject, pair[0].session, s.name, name, prompt, 0)
        if moved is None or s.name not in structural.places or s.name not in pet.places:
            rows.append((*key, nan, nan, nan, nan, NOT_MADE))
            continue
        a, b = _bit(moved, structural.places[s.name]), _bit(there, pet.places[s.name])
        outside = not a.any() and _bit(structural.bits, structural.places[s.name]).any()
        if outside or not (a.any() or b.any()):
            rows.append((*key, nan, nan, nan, nan, OUTSIDE if outside else EMPTY_BOTH))
            continue
        errors = (nan, nan)
        if known is not None and (reference := known == s.value).any():
            errors = overlap(a, reference)[1], overlap(b, reference)[1]
        rows.append((*key, *overlap(a, b), *errors, ""))
    return rows


def _between(case: Case, first: str, second: str, masks: dict) -> list[tuple]:
    """Rows of one image and two segmenters."""
    a, b = masks[first, case.modality], masks[second, case.modality]
    rows = []
    if a is not None and b is not None:
        kept = (a.bits != 0) | (b.bits != 0)
        one, two = a.bits[kept], b.bits[kept]
    for s in case.structures:
        key = (case.subject, case.session, case.modality, s.name, first, second)
        if a is None or b is None or s.name not in a.places or s.name not in b.places:
            rows.append((*key, float("nan"), NOT_MADE))
            continue
        value = overlap(_bit(one, a.places[s.name]), _bit(two, b.places[s.name]))[0]
        rows.append((*key, value, "" if value == value else EMPTY_BOTH))
    return rows


def pointed_cohort(
    cohort: Cohort,
    pointer: str,
    out: str | Path,
    *,
    device: str = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> Cohort:
    """A cohort whose prompts come from a segmenter that needs none, where no reference says where to click.

    The pointer is prompted by class on each structural image; its masks, also on PET's grid, stand where
    references would: they place the clicks and judge nothing.

    Parameters
    ----------
    cohort
        The pairs to predict.
    pointer
        Segmenter that takes a class.
    out
        Folder to fill; ``out/manifest.tsv`` describes it. Masks that are there are kept.
    device
        Where the pointer runs.
    report
        Called with one line per subject.

    Raises
    ------
    InputError
        A pointer that does not take a class or is not available for a session; no pair.
    """
    out, opened = Path(out), segmenters.open(pointer, device)
    if "class" not in opened.record.prompts:
        raise InputError(f"Segmenter '{pointer}' needs prompts. A pointer takes a class, e.g. nnunet_small.")
    rows = []
    for structural, pet in cohort.pairs():
        condition = (structural.session, structural.modality)
        if (reason := opened.why_not(condition)) is not None:
            raise InputError(f"Pointer '{pointer}' is unavailable for {structural.name}. {reason}")
        files = [out / f"{c.name}_{pointer}_dseg.nii.gz" for c in (structural, pet)]
        if not all(f.is_file() for f in files):
            image = structural.read_image()
            labels = _labels(image, opened.call(condition), structural, opened.record.structures)
            volume.write_label_map(files[0], labels)
            there = pet.read_image()
            data = geometry.resample(labels.data, labels.affine, there.affine, there.shape, order=0)
            volume.write_label_map(files[1], LabelMap(data, there.affine))
        rows += [_row(c, f, out) for c, f in zip((structural, pet), files, strict=True)]
        report(f"{structural.subject} {structural.session}: pointed at by {pointer}")
    if not rows:
        raise NothingToShow(
            f"No complete pair in {cohort.manifest}. Agreement needs two images of one subject."
        )
    write_structures(out / "dseg.tsv", cohort.structures)
    return read_cohort(write_manifest(out / "manifest.tsv", rows))


def _labels(image: Volume, call: Callable, case: Case, known: Sequence[str]) -> LabelMap:
    """Label map of a pointer's answers; where two claim a voxel the first one keeps it."""
    data = np.zeros(image.shape, np.uint8 if max(s.value for s in case.structures) < 256 else np.uint16)
    for s in case.structures:
        if known and s.name not in known:
            continue
        mask = call(image, prompts.Prompt(s.name, protocol="class"), None)
        data[mask & (data == 0)] = s.value
    return LabelMap(data, image.affine)


def _row(case: Case, reference: Path, out: Path) -> dict:
    """A manifest's row of a case with another reference."""
    return {
        "subject": case.subject,
        "session": case.session,
        "modality": case.modality,
        "image": str(case.image.resolve()),
        "reference": reference.relative_to(out).as_posix(),
        "unit": case.unit,
    }
