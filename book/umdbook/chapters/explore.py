"""Looking at any subject in JupyterLab, and asking a segmenter with a click of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from umdbook import page
from umdlib import labels
from umdlib.cohort import Cohort
from umdlib.cohort.manifest import Case
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters import calls, registry
from umdlib.viewer.cases import read_viewer, scored_segmenters
from umdlib.viewer.pair import Pair
from umdlib.viewer.panes import Pane, Prediction


def pairs_by_name(cohort: Cohort, subject: str = "") -> dict[str, tuple[Case, Case]]:
    """Examinations with both images by ``sub-001 petct``, those of `subject` first.

    InputError: if the cohort has no such subject with a pair; the nearest is named.
    """
    pairs = {f"{pair[0].subject} {pair[0].session}": pair for pair in cohort.pairs()}
    page.checked("subject with a pair", subject, (name.split()[0] for name in pairs))
    return dict(sorted(pairs.items(), key=lambda item: item[0].split()[0] != subject))


def look(pair: Sequence[Case], table: pd.DataFrame, *, root: str, structure: str = "", segmenter: str = ""):
    """Viewer of an examination with every segmenter of the run: its controls need no kernel."""
    names = scored_segmenters(table, pair[0].session)
    page.checked(f"segmenter with predictions in {pair[0].session}", segmenter, names)
    shown = {"overlay": "difference", "outline": "both"} if names else {}
    return read_viewer(
        pair, root=root, table=table, segmenters=names, structure=structure, segmenter=segmenter, **shown
    )


def choice(pairs: Mapping[str, Sequence[Case]]):
    """Menu of the examinations, for `looking` and `asking` together."""
    import ipywidgets as widgets

    return widgets.Dropdown(options=list(pairs.items()), description="Subject")


def looking(chosen, table: pd.DataFrame, **options):
    """Widget that shows the chosen examination; `options` are those of `look`."""
    import ipywidgets as widgets
    from IPython.display import display

    return widgets.interactive(lambda pair: display(look(pair, table, **options)), pair=chosen)


def asking(chosen, cohort: Cohort, *, structure: str = "", device: str = "cpu"):
    """Widget that runs a segmenter with one click in both images of the chosen examination.

    Every registered segmenter that takes a click is listed; one whose weights are absent says what
    it needs.
    """
    import ipywidgets as widgets
    from IPython.display import display

    def asked(segmenter: str, structure: str, place: str) -> None:
        xyz_mm = [float(v) for v in place.split(",")] if place.strip() else ()
        viewer, table = ask(chosen.value, segmenter, structure, xyz_mm, device=device)
        display(table, viewer)

    clicked = [n for n in registry.names() if "click" in registry.get(n).prompts]
    options = {
        "segmenter": widgets.Dropdown(options=clicked, value="threshold", description="Segmenter"),
        "structure": widgets.Dropdown(
            options=[(s.title, s.name) for s in cohort.structures],
            value=structure or cohort.structures[0].name,
            description="Structure",
        ),
        "place": widgets.Text(description="Click (mm)", placeholder="-12, 40, 310"),
    }
    return widgets.interact_manual.options(manual_name="Ask")(asked, **options)


def ask(
    pair: Sequence[Case], segmenter: str, structure: str, xyz_mm: Sequence[float] = (), *, device: str = "cpu"
) -> tuple[Pair, pd.DataFrame]:
    """Run a segmenter in both images with one click, and show and measure its masks.

    `pair`: cases of one examination. `segmenter`: name, or ``file.py:attribute`` of your own. `structure`:
    name. `xyz_mm`: the click (RAS+, mm), as the viewer's readout has it; empty: the voxel of the reference on
    the structural image that lies nearest to its middle.
    Returns: Viewer of both images with the masks. One row per image: DSC, volume (ml), mean and largest
    intensity in the mask.
    InputError: an unknown structure, a segmenter that cannot run here, a click outside of an image.
    """
    labels.structure(structure, pair[0].structures)
    opened = calls.open(segmenter, device)
    click = Click(tuple(float(v) for v in xyz_mm) if len(xyz_mm) else _middle(pair[0], structure))
    panes, rows = [], []
    for case in pair:
        if (reason := opened.why_not((case.session, case.modality))) is not None:
            raise InputError(f"Segmenter '{segmenter}' cannot be run on {case.name}: {reason}")
        image, reference = case.read()
        if geometry.nearest_voxel(image.affine, np.array(click.xyz_mm), image.shape) is None:
            raise InputError(f"Click {click.xyz_mm} mm lies outside of {case.name}.")
        mask = opened.call((case.session, case.modality))(image, Prompt(structure, (click,)))
        wanted = reference.data == labels.structure(structure, case.structures).value
        score = dice(wanted, mask)
        answer = Prediction(segmenter, {structure: mask}, 0, {structure: score}, {structure: (click,)})
        panes.append(Pane(case.modality, image, reference, (answer,)))
        inside = image.data[mask]
        found = {"modality": case.modality, "unit": case.unit, "DSC": score}
        found["volume (ml)"] = float(np.prod(image.spacing_mm)) / 1000 * len(inside)
        mean, most = (float(inside.mean()), float(inside.max())) if len(inside) else (np.nan, np.nan)
        rows.append({**found, "mean": mean, "max": most})
    shown = {"structure": structure, "overlay": "difference", "outline": "both"}
    title = f"{pair[0].subject}: {opened.record.title}, your click"
    titles = {segmenter: opened.record.title}
    return Pair(tuple(panes), pair[0].structures, title, titles=titles, **shown), pd.DataFrame(rows)


def _middle(case: Case, structure: str) -> tuple[float, float, float]:
    """The voxel of a reference that lies nearest to its middle, in the world."""
    reference = case.read_reference()
    inside = np.argwhere(reference.data == labels.structure(structure, case.structures).value)
    if not len(inside):
        raise InputError(f"{case.name} holds no {structure}. Give the click yourself.")
    at = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    return tuple(geometry.to_world(reference.affine, at).tolist())
