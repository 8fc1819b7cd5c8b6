"""One click on an organ, one click on disseminated lesions, and one click on each lesion in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import prompts, segmenters, synthetic
from umdlib.cohort.manifest import Case, read_cohort
from umdlib.errors import InputError
from umdlib.images import masks as depth
from umdlib.images import volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.metrics import lesions as detection
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segment

LESIONS = Structure(2, "lesions", "Lesions", "Les", "#e69f00")

# Columns of `summary_table` as a reader sees them.
TITLES: dict[str, str] = {
    "way": "prompt",
    "clicks": "clicks",
    "parts": "parts in the reference",
    "found": "parts touched",
    "volume_ml": "volume (ml)",
    "dice": "DSC",
}


@dataclass(frozen=True)
class Trial:
    """What one segmenter makes of an organ and of the lesions of one subject, on PET.

    Attributes
    ----------
    case
        The PET case.
    image
        Its volume.
    organ
        The organ that was clicked.
    organ_reference, organ_prediction
        (I, J, K) boolean.
    organ_click
        The one click in its centre.
    lesions
        Label map of the lesions, 1 is the largest (I, J, K).
    clicks
        The centre of each lesion, in that order.
    masks
        What each click alone gives, (I, J, K) boolean each.
    segmenter
        Its name.
    """

    case: Case
    image: Volume
    organ: Structure
    organ_reference: np.ndarray
    organ_prediction: np.ndarray
    organ_click: Click
    lesions: LabelMap
    clicks: tuple[Click, ...]
    masks: tuple[np.ndarray, ...]
    segmenter: str

    def after(self, count: int) -> np.ndarray:
        """Union (I, J, K) of what the first `count` clicks give."""
        return np.logical_or.reduce(self.masks[:count])


def plant_lesions(folder: str | Path, *, lesions: int, seed: int, spacing_mm: float = 4.0) -> Case:
    """The PET case of a synthetic subject with lesions; what is there already is kept.

    Parameters
    ----------
    folder
        Where its cohort of one is written.
    lesions
        How many to plant.
    seed
        Of the subject and of its lesions.
    spacing_mm
        Voxel size of PET.
    """
    manifest = synthetic.synthesise(
        folder, subjects=1, seed=seed, sessions=("petct",), settings=synthetic.Settings(spacing_mm, lesions)
    )
    return next(c for c in read_cohort(manifest).cases if c.modality == "PET")


def read_lesions(case: Case) -> LabelMap:
    """Lesions of a synthetic case: connected components on its grid, numbered by size.

    Raises
    ------
    InputError
        If the cohort was made without lesions, or none is left on this grid.
    """
    path = lesion_file(case)
    if not path.is_file():
        raise InputError(
            f"File {path} does not exist. A cohort with lesions is made by "
            "`umdlib synthesise OUT --lesions 12`."
        )
    found = volume.read_label_map(path)
    if not found.data.any():
        raise InputError(f"File {path} holds no lesion. At least one is needed.")
    return LabelMap(by_size(found.data > 0), found.affine, path.name)


def lesion_file(case: Case) -> Path:
    """Where the synthesis puts the lesions of a case: beside its reference."""
    name = case.reference.name.replace("_dseg", "_label-lesion_dseg")
    return case.reference.with_name(name)


def by_size(mask: np.ndarray) -> np.ndarray:
    """Components (26 neighbours) of a mask (I, J, K), numbered from 1 by falling size, uint16.

    Examples
    --------
    >>> by_size(np.array([[[1, 0, 1, 1, 0, 1]]], bool)).tolist()
    [[[2, 0, 1, 1, 0, 3]]]

    Raises
    ------
    InputError
        More than 65,535 components.
    """
    numbers, sizes = depth.components(mask)
    if len(sizes) > 65536:
        raise InputError(f"{len(sizes) - 1} components are no lesions. At most 65535 are numbered.")
    order = np.argsort(-sizes[1:], kind="stable") + 1
    rank = np.zeros(len(sizes), np.uint16)
    rank[order] = np.arange(1, len(sizes))
    return rank[numbers]


def run_trial(
    case: Case, segmenter: str, organ: Structure, *, device: str = "cpu", lesions: LabelMap | None = None
) -> Trial:
    """Click the organ once, and every lesion once with a prompt of its own.

    Parameters
    ----------
    case
        A PET case with lesions.
    segmenter
        Name of one that takes clicks.
    organ
        A structure of the case.
    device
        ``"cpu"`` or ``"cuda"``.
    lesions
        Label map of the lesions; by default what the synthesis planted (`read_lesions`).

    Raises
    ------
    InputError
        An unknown segmenter, one that cannot be loaded or takes no click, an organ that the case
        does not hold, and as `read_lesions`.
    """
    record = segmenters.get(segmenter)
    if "click" not in record.prompts:
        raise InputError(f"Segmenter {segmenter} takes no click. It takes {sorted(record.prompts)}.")
    image, reference = case.read()
    lesions = read_lesions(case) if lesions is None else lesions
    segment = segmenters.load(record, device)
    whole = _asked(segment, image, centre_prompts(reference, [organ], case.modality))[0]
    if whole is None:
        raise InputError(f"Structure {organ.name} is absent from {case.name}.")
    numbers = range(1, int(lesions.data.max()) + 1)
    each = centre_prompts(lesions, [_numbered(n) for n in numbers], case.modality)
    answers = [a for a in _asked(segment, image, each) if a is not None]
    return Trial(
        case,
        image,
        organ,
        reference.data == organ.value,
        whole[1],
        whole[0],
        lesions,
        tuple(click for click, _ in answers),
        tuple(mask for _, mask in answers),
        record.name,
    )


def centre_prompts(label_map: LabelMap, structures: Sequence[Structure], modality: str) -> list[Prompt]:
    """One centre click for each structure of a label map, in the order of the structures."""
    drawn = prompts.pair_prompts({modality: label_map}, structures, protocol="centre")
    return [drawn[s.name] for s in structures]


def click_table(trial: Trial) -> pd.DataFrame:
    """What is found after each click on a lesion, largest lesion first.

    Returns
    -------
    pandas.DataFrame
        clicks; lesions; found: lesions that the prediction touches; invented: components of the
        prediction that touch no lesion; dice: of all lesions together; missed_ml, invented_ml.
    """
    wanted = trial.lesions.data > 0
    spacing = trial.image.spacing_mm
    rows = []
    for count in range(1, len(trial.masks) + 1):
        found = trial.after(count)
        d = detection.detect(wanted, found, spacing_mm=spacing)
        rows.append(
            [count, d.reference, d.found, d.invented, dice(wanted, found), d.missed_ml, d.invented_ml]
        )
    columns = ["clicks", "lesions", "found", "invented", "dice", "missed_ml", "invented_ml"]
    return pd.DataFrame(rows, columns=columns)


def summary_table(trial: Trial) -> pd.DataFrame:
    """The three ways of figure 5 of SegAnyPET in three rows.

    Returns
    -------
    pandas.DataFrame
        way, clicks, parts (of the reference), found (parts touched), volume_ml (of the
        reference), dice.
    """
    organ_parts = detection.detect(
        trial.organ_reference, trial.organ_prediction, spacing_mm=trial.image.spacing_mm
    )
    clicks = click_table(trial)
    ml = float(np.prod(trial.image.spacing_mm)) / 1000
    organ_ml, lesion_ml = trial.organ_reference.sum() * ml, (trial.lesions.data > 0).sum() * ml
    first, last = clicks.iloc[0], clicks.iloc[-1]
    rows = [
        [
            f"{trial.organ.title}, one click",
            1,
            organ_parts.reference,
            organ_parts.found,
            organ_ml,
            dice(trial.organ_reference, trial.organ_prediction),
        ],
        ["Lesions, one click", 1, first["lesions"], first["found"], lesion_ml, first["dice"]],
        ["Lesions, one click each", last["clicks"], last["lesions"], last["found"], lesion_ml, last["dice"]],
    ]
    columns = ["way", "clicks", "parts", "found", "volume_ml", "dice"]
    whole = dict.fromkeys(["clicks", "parts", "found"], int)
    return pd.DataFrame(rows, columns=columns).astype(whole)


def _asked(segment: Segment, image: Volume, given: Sequence[Prompt]) -> list:
    """(click, mask) of each prompt; None for one without a click: there was nothing to point at."""
    return [(p.clicks[0], segment(image, p)) if p.clicks else None for p in given]


def _numbered(number: int) -> Structure:
    return Structure(number, f"lesion_{number}", f"Lesion {number}", str(number), LESIONS.colour)


def best_organ(
    table: pd.DataFrame, structures: Sequence[Structure], *, segmenter: str, metric: str = "dice"
) -> Structure:
    """The organ that a segmenter does best on PET after one click, by its mean score in a run.

    The first structure where the run has no such score.

    Parameters
    ----------
    table
        Score table.
    structures
        To choose from.
    segmenter, metric
        Whose score, and which.
    """
    rows = table[
        (table["segmenter"] == segmenter)
        & (table["modality"] == "PET")
        & (table["step"] == 0)
        & (table["prompt"] == "centre")
    ]
    means = rows.groupby("structure")[metric].mean().dropna()
    known = [s for s in structures if s.name in means.index]
    return max(known, key=lambda s: means[s.name]) if known else structures[0]


def trial_words(trial: Trial) -> str:
    """What a trial came to, as one paragraph of Markdown."""
    organ, one, each = summary_table(trial).to_dict("records")
    return (
        f"One click on the {trial.organ.title.lower()} gives a DSC of {organ['dice']:.3f}. The same "
        f"subject has {one['parts']} separate lesions of {one['volume_ml']:.0f} ml together. One click "
        f"on the largest finds {one['found']} of them (DSC of all lesions {one['dice']:.3f}); one click "
        f"on each, {each['clicks']} in all, finds {each['found']} (DSC {each['dice']:.3f})."
    )
