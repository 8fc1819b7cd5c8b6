"""A picture to check a mask by: three planes through it, its outline, the prompt."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from umdlib.files import in_utf8, replaced
from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS
from umdlib.prompts.prompt import Prompt
from umdlib.requests.opening import Opening

# Colours of structures that have none of their own: Okabe and Ito's, those that show on grey first.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#0072b2")
WIDTH_MM = 320.0
MOST = 20


def draw(
    opening: Opening, labels: np.ndarray, names: dict[int, str], prompts: list[Prompt], path: Path
) -> None:
    """Write a picture of a label map on its image, and on its partner where there is one.

    Parameters
    ----------
    opening
        Images of the request.
    labels
        (I, J, K), values as in `names`.
    names
        Value to structure.
    prompts
        Whose clicks are marked.
    path
        PNG to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from umdlib.viewer.slices import PLANES, Scene, slice_picture, view

    image = opening.image
    at = _middle(image, labels, prompts[0])
    colours = _colours(names)
    drawn: dict[str, np.ndarray] = {}
    for value, colour in colours.items():
        drawn[colour] = drawn.get(colour, False) | (labels == value)
    figure = Figure(figsize=(12, 4.9), layout="constrained")
    scene = Scene(image, drawn, clicks=prompts[0].clicks)
    for ax, plane in zip(figure.subplots(1, 3), PLANES, strict=True):
        slice_picture(scene, view(image, at, plane, width_mm=WIDTH_MM), ax=ax, letters=9.0)
        ax.set_title(plane, fontsize=9)
    point = ", ".join(f"{v:.0f}" for v in at)
    name = in_utf8(Path(image.name).name).replace("$", r"\$")
    figure.suptitle(f"{name}, planes through {point} mm (RAS)", fontsize=9)
    words = {v: names[v].replace("$", r"\$") for v in colours}
    marks = [
        Line2D([], [], color=c, label=f"{words[v]} {_ml(labels == v, image)}") for v, c in colours.items()
    ]
    figure.legend(handles=marks[:MOST], loc="outside lower center", ncols=min(len(marks), 5), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as part:
        figure.savefig(part, dpi=110, format="png")


def _colours(names: dict[int, str]) -> dict[int, str]:
    """A colour for each value: the organ's own, else the next one."""
    own = {s.name: s.colour for s in ORGANS if s.name in names.values()}
    left = itertools.cycle([c for c in COLOURS if c not in own.values()])
    return {v: own.get(n) or next(left) for v, n in names.items()}


def _middle(image: Volume, labels: np.ndarray, prompt: Prompt) -> tuple[float, float, float]:
    """Where the planes lie: the first click, else the middle of what was found, else of the image."""
    if prompt.clicks:
        return prompt.clicks[0].xyz_mm
    found = np.argwhere(labels)
    if len(found):  # the voxel that is nearest to the middle, so that the planes cut the mask
        centre = found.mean(axis=0)
        ijk = found[np.argmin(((found - centre) ** 2).sum(axis=1))]
    else:
        ijk = (np.array(image.shape) - 1) // 2
    return tuple(geometry.to_world(image.affine, ijk).tolist())


def _ml(mask: np.ndarray, image: Volume) -> str:
    """Volume of a mask in words."""
    return f"{np.count_nonzero(mask) * float(np.prod(image.spacing_mm)) / 1000:.4g} ml"
