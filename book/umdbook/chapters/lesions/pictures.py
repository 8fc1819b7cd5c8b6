"""Pictures of a trial with lesions: projections of PET with what each click finds, and the viewer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from umdbook import names
from umdbook.chapters.lesions import trial as lesionwise
from umdbook.chapters.lesions.trial import LESIONS, Trial
from umdlib.images.volume import LabelMap, Volume
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click
from umdlib.viewer import montage
from umdlib.viewer.overlays import DIFFERENCE, rgb
from umdlib.viewer.pair import Pair
from umdlib.viewer.panes import Pane, Prediction
from umdlib.viewer.slices import Scene, projected, slice_picture

# What the reference alone holds was missed, what the prediction alone holds was added.
REFERENCE, PREDICTION = DIFFERENCE["missed"], DIFFERENCE["added"]


def three_ways(trial: Trial) -> Figure:
    """Three projections of the same PET: organ, lesions by one click, lesions click by click.

    The reference is an outline, the prediction a fill, a click a ring with a cross. Radiological
    convention: the subject's right is on the left.
    """
    import matplotlib.pyplot as plt

    lesions = trial.lesions.data > 0
    count = len(trial.clicks)
    organ = trial.organ_reference, trial.organ_prediction, [trial.organ_click]
    ways = [
        (f"(a) {trial.organ.title}:\none click", *organ),
        ("(b) Lesions:\none click", lesions, trial.after(1), trial.clicks[:1]),
        (f"(c) Lesions:\n{count} clicks, one each", lesions, trial.after(count), trial.clicks),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 7.2), layout="constrained")
    for ax, (title, reference, prediction, clicks) in zip(axes, ways, strict=True):
        projection(trial.image, reference, prediction, clicks, ax=ax)
        ax.set_title(title, fontsize=15)
    return figure


def projection(
    image: Volume, reference: np.ndarray, prediction: np.ndarray, clicks: Iterable[Click], *, ax: Axes
) -> Axes:
    """Maximum intensity projection from the front with a reference, a prediction and clicks."""
    flat, shadow, outline = (
        projected(Volume(data, image.affine, image.unit, image.name), "coronal")
        for data in (image.data, prediction.astype(np.uint8), reference.astype(np.uint8))
    )
    fill = np.zeros((*flat.shape, 4), np.uint8)
    fill[shadow.data > 0] = (*rgb(PREDICTION), 153)
    scene = Scene(flat, {REFERENCE: outline.data > 0}, fill, clicks=tuple(clicks))
    return slice_picture(scene, montage.body_view(flat, "coronal", 0.0), ax=ax)


def found_by_clicks(trial: Trial) -> Figure:
    """Lesions delineated, lesions found without a click, and DSC of all, against the number of clicks."""
    import matplotlib.pyplot as plt

    table = lesionwise.click_table(trial)
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
    axes[0].plot(table["clicks"], table["delineated"], "o-", color=PREDICTION, label="clicked and delineated")
    axes[0].plot(table["clicks"], table["beyond"], "s-", color=REFERENCE, label="found without a click")
    axes[0].axhline(table["lesions"].iloc[0], color="0.4", ls="--", lw=1)
    axes[0].set(xlabel="clicks, one on each lesion", ylabel="lesions", ylim=(0, None))
    axes[0].legend(frameon=False, loc="center right")
    axes[1].plot(table["clicks"], table["dice"], "o-", color=PREDICTION)
    axes[1].set(xlabel="clicks, one on each lesion", ylabel="DSC of all lesions", ylim=(0, 1))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


def viewer(trial: Trial, **options) -> Pair:
    """Two panes of the same PET: what one click finds, and what one click on each lesion finds.

    The slider of the right pane counts the lesions clicked after the first.
    """
    reference = np.where(trial.lesions.data > 0, LESIONS.value, 0).astype(np.uint8)
    organ = replace(trial.organ, value=1)
    reference[trial.organ_reference & (reference == 0)] = organ.value
    shown = LabelMap(reference, trial.image.affine, trial.lesions.name)
    whole = {organ.name: trial.organ_prediction}
    click = {organ.name: (trial.organ_click,)}
    organ_dice = dice(trial.organ_reference, trial.organ_prediction)
    table = lesionwise.click_table(trial)

    def prediction(count: int, step: int) -> Prediction:
        return Prediction(
            trial.segmenter,
            whole | {LESIONS.name: trial.after(count)},
            step,
            {organ.name: organ_dice, LESIONS.name: table["dice"].iloc[count - 1]},
            click | {LESIONS.name: trial.clicks[:count]},
        )

    steps = len(trial.clicks)
    one = Pane("PET", trial.image, shown, (prediction(1, 0),), title="PET, one click")
    every = tuple(prediction(k + 1, k) for k in range(steps))
    many = Pane("PET", trial.image, shown, every, title="PET, one click per lesion")
    defaults = {
        "structure": LESIONS.name,
        "overlay": "difference",
        "step": steps - 1,
        "title": f"{trial.case.subject}: one click and one click per lesion",
        "step_title": "Lesions clicked after the first",
        "titles": {trial.segmenter: names.title(trial.segmenter)},
    }
    return Pair((one, many), (organ, LESIONS), **(defaults | options))
