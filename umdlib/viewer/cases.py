"""Exhibits: viewers and tables of single cases, with what a run left on disk for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from umdlib import labels
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError, NothingToShow, unknown_name
from umdlib.evaluation import store as runs
from umdlib.prompts.drawing import Prompt
from umdlib.viewer.pair import Pair
from umdlib.viewer.panes import Pane, Prediction


def read_viewer(
    cases: Sequence[Case],
    *,
    root: str | Path = "",
    table: pd.DataFrame | None = None,
    segmenters: Sequence[str] = (),
    prompt: str = "centre",
    seed: int = 0,
    **options,
) -> Pair:
    """Viewer of one case, or of the two cases of one examination.

    Parameters
    ----------
    cases
        One, or (structural, PET) of one subject and session.
    root
        Folder of the run.
    table
        Score table of the run: which predictions there are, and their DSC; None for none.
    segmenters
        Names; a segmenter that has no prediction of a case is left out there.
    prompt, seed
        Which prompts.
    **options
        Of `Pair`: structure, overlay, segmenter, step, caption, name, spacing_mm, titles.

    Raises
    ------
    InputError
        If the cases are of different examinations, which share no world.
    """
    if len({(c.subject, c.session) for c in cases}) != 1:
        names = ", ".join(c.name for c in cases)
        raise InputError(f"Cases {names} in one viewer. It shows cases of one examination.")
    if not options.get("segmenter"):
        options.pop("segmenter", None)
    if table is None or not segmenters:
        panes = tuple(Pane(case.modality, *case.read()) for case in cases)
    else:
        given = {"segmenters": segmenters, "prompt": prompt, "seed": seed}
        panes = tuple(pane(root, case, table, **given) for case in cases)
    title = f"{cases[0].subject}, {labels.session(cases[0].session).title}"
    return Pair(panes, cases[0].structures, **({"title": title} | options))


def scored_segmenters(table: pd.DataFrame, session: str = "") -> list[str]:
    """Segmenters of a score table that have a prediction, of one session or of any, in the table's order."""
    rows = table[~table["status"].isin(["failed", "unavailable"])]
    return list((rows[rows["session"].eq(session)] if session else rows)["segmenter"].unique())


def first_pairs(cohort: Cohort, subject: str = "") -> list[tuple[Case, Case]]:
    """The first complete pair of each session, or the pairs of one subject.

    Raises
    ------
    InputError
        If there is none; for a named subject, the nearest name is suggested.
    """
    pairs = [p for p in cohort.pairs() if subject in ("", p[0].subject)]
    if not pairs and subject:
        raise unknown_name("subject with a pair", subject, {p[0].subject for p in cohort.pairs()})
    if not pairs:
        raise NothingToShow(
            f"No examination of cohort {cohort.name} has two images. At least one is needed here."
        )
    return list({pair[0].session: pair for pair in reversed(pairs)}.values())[::-1]


def shared_structure(cases: Sequence[Case]) -> str:
    """Name of the first structure that every case holds; the first of all where none is shared."""
    present = [np.unique(case.read_reference().data) for case in cases]
    for s in cases[0].structures:
        if all(s.value in values for values in present):
            return s.name
    return cases[0].structures[0].name


def case_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Grid, unit and content of each case: one row per case, lengths in mm, volumes in ml."""
    rows = []
    for case in cases:
        image, reference = case.read()
        size = [n * s for n, s in zip(image.shape, image.spacing_mm, strict=True)]
        present = np.unique(reference.data[reference.data > 0])
        rows.append(
            {
                "modality": case.modality,
                "unit": case.unit,
                "voxels": " × ".join(map(str, image.shape)),
                "spacing (mm)": " × ".join(f"{s:.3g}" for s in image.spacing_mm),
                "field (cm)": " × ".join(f"{s / 10:.0f}" for s in size),
                "structures": len(present),
            }
        )
    return pd.DataFrame(rows)


def intensity_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Volume (ml) and mean intensity of each structure in each case; NaN where it is absent.

    Returns
    -------
    pandas.DataFrame
        One row per structure: structure, then ``<modality> (ml)`` and ``<modality> (<unit>)``.
    """
    columns: dict[str, list] = {"structure": [s.title for s in cases[0].structures]}
    for case in cases:
        image, reference = case.read()
        values = [s.value for s in case.structures]
        count = np.array([(reference.data == v).sum() for v in values])
        total = scipy.ndimage.sum_labels(image.data, reference.data, values)
        ml = float(np.prod(image.spacing_mm)) / 1000
        present = count > 0
        columns[f"{case.modality} (ml)"] = np.where(present, count * ml, np.nan)
        mean = np.divide(total, count, out=np.full(len(values), np.nan), where=present)
        columns[f"{case.modality} ({case.unit})"] = mean
    return pd.DataFrame(columns)


def pane(
    root: str | Path,
    case: Case,
    table: pd.DataFrame,
    *,
    segmenters: Iterable[str] | None = None,
    prompt: str = "centre",
    seed: int = 0,
) -> Pane:
    """A case with its reference and the predictions of a run, for a viewer.

    Parameters
    ----------
    root
        Folder of the run.
    case
        The image.
    table
        Score table of the run; gives the DSC that is shown.
    segmenters
        Names; by default all that have a scored prediction of this case.
    prompt, seed
        Which prompts' predictions. A segmenter that was prompted otherwise (by class or text) is
        shown with the prompt it took.
    """
    image, reference = case.read()
    rows = table[
        (table["subject"] == case.subject)
        & (table["session"] == case.session)
        & (table["modality"] == case.modality)
        & (table["seed"] == seed)
    ]
    rows = rows[~rows["status"].isin(["failed", "unavailable"])]
    shown = []
    for name in segmenters if segmenters is not None else rows["segmenter"].unique():
        own = rows[rows["segmenter"] == name]
        taken = shown_prompt(own, prompt)
        given = runs.read_prompts(root, name, case) if taken else []
        for step, part in own[own["prompt"] == taken].groupby("step"):
            shown.append(
                Prediction(
                    name,
                    runs.read_prediction(root, name, case, prompt=taken, seed=seed, step=int(step)),
                    step=int(step),
                    dice=part.dropna(subset=["dice"]).set_index("structure")["dice"].to_dict(),
                    clicks=_clicks(given, taken, seed, int(step)),
                )
            )
    return Pane(case.modality, image, reference, tuple(shown))


def shown_prompt(rows: pd.DataFrame, prompt: str = "centre") -> str | None:
    """Prompt protocol whose predictions a viewer holds of one segmenter's rows: the given one, else its first."""
    return prompt if (rows["prompt"] == prompt).any() else next(iter(rows["prompt"]), None)


def _clicks(given: list[Prompt], protocol: str, seed: int, step: int) -> dict:
    """Clicks of each structure up to a step: the longest prompt that is not longer than that."""
    found: dict[str, tuple] = {}
    for p in given:
        if (p.protocol, p.seed) == (protocol, seed) and p.step <= step:
            found[p.structure] = max(found.get(p.structure, ()), p.clicks, key=len)
    return found
