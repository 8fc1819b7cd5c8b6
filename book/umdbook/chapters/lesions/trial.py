"""One click on an organ, one click on disseminated lesions, and one click on each lesion in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import labels, prompts, segmenters, synthetic
from umdlib.cohort.lesions import read_lesions
from umdlib.cohort.manifest import Case, read_cohort
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.metrics import lesions as detection
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segment
from umdlib.statistics.failures import DELINEATED
from umdlib.tables.markdown import markdown_table

LESIONS = Structure(2, "lesions", "Lesions", "Les", "#ff2fd0")  # no organ's colour

# Columns of `summary_table` as a reader sees them.
TITLES: dict[str, str] = {
    "way": "prompt",
    "clicks": "clicks",
    "parts": "parts in the reference",
    "delineated": "clicked parts delineated",
    "beyond": "parts found without a click",
    "volume_ml": "volume (ml)",
    "dice": "DSC",
}
# Columns of `lesion_table` as a reader sees them.
_LESION_TITLES: dict[str, str] = {
    "lesion": "lesion",
    "volume_ml": "volume (ml)",
    "suv_max": "SUVmax",
    "dice": "DSC of its own answer",
    "delineated": "delineated",
    "leak_ml": "healthy tissue added (ml)",
    "others": "other lesions in its answer",
}


@dataclass(frozen=True)
class Trial:
    """What one segmenter makes of an organ and of the lesions of one subject, on PET.

    `lesions`: label map (I, J, K), 1 is the largest; `clicks`: the centre of each, in that order; `masks`: what
    each click alone gives, (I, J, K) boolean, as are reference and prediction of the organ.
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
    organ_segmenter: str

    def after(self, count: int) -> np.ndarray:
        """Union (I, J, K) of what the first `count` clicks give."""
        return np.logical_or.reduce(self.masks[:count])


def plant_lesions(folder: str | Path, *, lesions: int, seed: int, spacing_mm: float = 4.0) -> Case:
    """The PET case of a synthetic subject with lesions; what is there already is kept."""
    manifest = synthetic.synthesise(
        folder, subjects=1, seed=seed, sessions=("petct",), settings=synthetic.Settings(spacing_mm, lesions)
    )
    return next(c for c in read_cohort(manifest).cases if c.modality == "PET")


def run_trial(
    case: Case, segmenter: str, organ: Structure, *, organ_segmenter: str = "", device: str = "cpu"
) -> Trial:
    """Click the organ once, and every lesion once with a prompt of its own.

    `case`: A PET case with lesions. `segmenter`: name of one that takes clicks. `organ`: A structure of the
    case. `organ_segmenter`: another segmenter for the organ; the same if empty. `device`: ``"cpu"`` or
    ``"cuda"``.
    InputError: an unknown segmenter, one that cannot be loaded or takes no click, an organ that the case does
    not hold, and as `read_lesions`.
    """
    segment, organ_segment = (_clicked(n, device) for n in (segmenter, organ_segmenter or segmenter))
    image, reference = case.read()
    lesions = read_lesions(case)
    whole = _asked(organ_segment, image, _centre_prompts(reference, [organ], case.modality))[0]
    if whole is None:
        raise InputError(f"Structure {organ.name} is absent from {case.name}.")
    numbers = range(1, int(lesions.data.max()) + 1)
    single = [Structure(n, f"lesion_{n}", f"Lesion {n}", str(n), LESIONS.colour) for n in numbers]
    each = _centre_prompts(lesions, single, case.modality)
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
        segmenter,
        organ_segmenter or segmenter,
    )


def _clicked(name: str, device: str) -> Segment:
    """The call of a segmenter that takes clicks."""
    record = segmenters.get(name)
    if "click" not in record.prompts:
        raise InputError(f"Segmenter {name} takes no click. It takes {sorted(record.prompts)}.")
    return segmenters.load(record, device)


def _centre_prompts(label_map: LabelMap, structures: Sequence[Structure], modality: str) -> list[Prompt]:
    """One centre click for each structure of a label map, in the order of the structures."""
    drawn = prompts.pair_prompts({modality: label_map}, structures, protocol="centre")
    return [drawn[s.name] for s in structures]


def click_table(trial: Trial) -> pd.DataFrame:
    """What is found after each click on a lesion, largest lesion first.

    Returns: clicks; lesions; delineated: clicked lesions whose own answer has a DSC of `DELINEATED` or more;
    beyond: lesions that the answers touch though nobody clicked them; invented: components of the prediction
    that touch no lesion; dice: of all lesions together; missed_ml, invented_ml.
    """
    wanted = trial.lesions.data > 0
    spacing = trial.image.spacing_mm
    each = lesion_table(trial)
    rows = []
    for count in range(1, len(trial.masks) + 1):
        found, clicked = trial.after(count), each.iloc[:count]
        touched = set(np.unique(trial.lesions.data[found])) - {0}
        d = detection.detect(wanted, found, spacing_mm=spacing)
        counts = [count, d.reference, int(clicked["delineated"].sum()), len(touched - set(clicked["lesion"]))]
        rows.append([*counts, d.invented, dice(wanted, found), d.missed_ml, d.invented_ml])
    columns = ["clicks", "lesions", "delineated", "beyond", "invented", "dice", "missed_ml", "invented_ml"]
    return pd.DataFrame(rows, columns=columns)


def lesion_table(trial: Trial) -> pd.DataFrame:
    """One row per lesion that was clicked: how well its own answer agrees with it, and what else is in it.

    Returns: lesion: its number, 1 is the largest; volume_ml; suv_max; dice: of the answer to its own click;
    delineated: whether that is `DELINEATED` or more; leak_ml: of the answer, in no lesion; others: further
    lesions that the answer touches.
    """
    ml = float(np.prod(trial.image.spacing_mm)) / 1000
    data, rows = trial.lesions.data, []
    for mask, click in zip(trial.masks, trial.clicks, strict=True):
        number = int(data[prompts.click_voxel(click, trial.lesions)])
        own = data == number
        agreed = dice(own, mask)
        others = set(np.unique(data[mask])) - {0, number}
        leak = float((mask & (data == 0)).sum() * ml)
        most = float(trial.image.data[own].max())
        rows.append([number, float(own.sum() * ml), most, agreed, agreed >= DELINEATED, leak, len(others)])
    columns = ["lesion", "volume_ml", "suv_max", "dice", "delineated", "leak_ml", "others"]
    return pd.DataFrame(rows, columns=columns)


def lesion_markdown(trial: Trial) -> str:
    """Every lesion and the answer to its own click, as a table."""
    table = lesion_table(trial)
    shown = table.assign(delineated=table["delineated"].map({True: "yes", False: "no"}))
    formats = dict.fromkeys(("volume (ml)", "SUVmax", "healthy tissue added (ml)"), ".1f")
    return markdown_table(shown.rename(columns=_LESION_TITLES), formats | {"DSC of its own answer": ".3f"})


def summary_table(trial: Trial) -> pd.DataFrame:
    """The three ways of figure 5 of SegAnyPET in three rows.

    Returns: way, clicks, parts (of the reference), delineated, beyond (see `click_table`), volume_ml (of the
    reference), dice.
    """
    clicks = click_table(trial)
    organ_dice = dice(trial.organ_reference, trial.organ_prediction)
    spacing = trial.image.spacing_mm
    organ_parts = detection.detect(*[trial.organ_reference] * 2, spacing_mm=spacing).reference
    ml = float(np.prod(spacing)) / 1000
    organ_ml, lesion_ml = trial.organ_reference.sum() * ml, (trial.lesions.data > 0).sum() * ml
    organ = [f"{trial.organ.title}, one click", 1, organ_parts, int(organ_dice >= DELINEATED), 0]
    rows = [[*organ, organ_ml, organ_dice]]
    for way, row in (("one click", clicks.iloc[0]), ("one click each", clicks.iloc[-1])):
        counts = [row["clicks"], row["lesions"], row["delineated"], row["beyond"]]
        rows.append([f"Lesions, {way}", *counts, lesion_ml, row["dice"]])
    columns = ["way", "clicks", "parts", "delineated", "beyond", "volume_ml", "dice"]
    whole = dict.fromkeys(["clicks", "parts", "delineated", "beyond"], int)
    return pd.DataFrame(rows, columns=columns).astype(whole)


def _asked(segment: Segment, image: Volume, given: Sequence[Prompt]) -> list:
    """(click, mask) of each prompt; None for one without a click: there was nothing to point at."""
    return [(p.clicks[0], segment(image, p)) if p.clicks else None for p in given]


def best_organ(table: pd.DataFrame, structures: Sequence[Structure], *, segmenter: str) -> Structure:
    """The organ that a segmenter does best on PET after one click, by its mean DSC in a run.

    The first structure where the run has no such score.
    """
    rows = table.query("segmenter == @segmenter and modality == 'PET' and step == 0 and prompt == 'centre'")
    means = rows.groupby("structure")["dice"].mean().dropna()
    known = [s for s in structures if s.name in means.index]
    return max(known, key=lambda s: means[s.name]) if known else structures[0]


def clicked_organ(table: pd.DataFrame, case: Case, *, segmenter: str, organ: str = "") -> Structure:
    """The organ of a name; of an empty name the segmenter's best on PET."""
    if organ:
        return labels.structure(organ, case.structures)
    return best_organ(table, case.structures, segmenter=segmenter)


def summary_markdown(trial: Trial) -> str:
    """The three strategies in numbers."""
    formats = {"volume (ml)": ".0f", "DSC": ".3f"}
    return markdown_table(summary_table(trial).rename(columns=TITLES), formats)


def trial_words(trial: Trial) -> str:
    """What a trial came to, as one paragraph of Markdown."""
    organ, one, each = summary_table(trial).to_dict("records")
    return (
        f"One click on the {trial.organ.title.lower()} gives a DSC of {organ['dice']:.3f}. The same "
        f"subject has {one['parts']} separate lesions of {one['volume_ml']:.0f} ml together. One click "
        f"on the largest finds {one['beyond']} of the {one['parts'] - 1} others (DSC of all lesions "
        f"{one['dice']:.3f}). "
        f"With one click on each, {each['clicks']} in all, {each['delineated']} are delineated (DSC of {DELINEATED:g} "
        f"or more between a lesion and the answer to its own click), and all of them together have a DSC of "
        f"{each['dice']:.3f}. That a clicked lesion is touched is not counted: the click gives it away."
    )
