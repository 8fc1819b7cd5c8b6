"""Curves of training runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from umdlib.figures.style import axes, legend_below
from umdlib.labels import MODALITIES
from umdlib.statistics.factorial import TRAINED_ON

# A network has the colour of what it was trained on.
LOOKS: dict[str, dict[str, str]] = {
    "structural": {"color": "#0072b2", "marker": "o"},
    "pet": {"color": "#d55e00", "marker": "D"},
    "both": {"color": "#000000", "marker": "s"},
}


def training_curves(logs: Mapping[str, pd.DataFrame], *, y: str = "loss", ax: Axes | None = None) -> Axes:
    """A column of each network's log against the step.

    Parameters
    ----------
    logs
        What it was trained on -> log, see `umdlib.training.promptable.COLUMNS`.
    y
        Column: ``loss``, ``dice_first`` or ``dice_last``.

    Returns
    -------
    matplotlib.axes.Axes
        The thin line is the log; the thick one its running mean over five reports.
    """
    ax = axes(ax, figsize=(5.6, 3.6))
    for trained_on, log in logs.items():
        look = LOOKS[trained_on]
        ax.plot(log["step"], log[y], color=look["color"], lw=0.6, alpha=0.45)
        mean = log[y].rolling(5, min_periods=1, center=True).mean()
        ax.plot(log["step"], mean, color=look["color"], label=TRAINED_ON[trained_on])
    ax.set_xlabel("step")
    clicked = y.startswith("dice_")
    ax.set_ylabel(f"DSC after the {y.removeprefix('dice_')} click" if clicked else y)
    return ax


def loss_curves(
    logs: Mapping[str, pd.DataFrame],
    modalities: Mapping[str, str],
    *,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Training loss of each network against CPU minutes.

    Parameters
    ----------
    logs
        Name -> log with columns ``loss`` and ``cpu_s`` (per epoch).
    modalities
        Name -> modality, whose colour the line has; lines of one modality differ by dashes.
    legend
        Whether it is drawn, below the figure: of several panels one has it.
    """
    ax = axes(ax, figsize=(6.4, 4.0))
    dashes, used = ("-", "--", ":", "-."), {}
    for name, log in logs.items():
        modality = modalities[name]
        line = dashes[used.setdefault(modality, 0) % len(dashes)]
        used[modality] += 1
        look = {"lw": 1.7, "ls": line, "label": name, "color": MODALITIES[modality].colour}
        ax.plot(log["cpu_s"].cumsum() / 60, log["loss"], **look)
    ax.set_xlabel("CPU minutes")
    ax.set_ylabel("loss of the training batches")
    if legend:
        legend_below(ax, columns=2)
    return ax
