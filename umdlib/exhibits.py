"""Exhibits: viewers of cases, with the predictions, prompts and scores that a run left on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from umdlib import labels, runs
from umdlib.cohort import Case
from umdlib.errors import InputError
from umdlib.panes import Pane
from umdlib.viewers import Pair


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
    if table is None or not segmenters:
        panes = tuple(Pane(case.modality, *case.read()) for case in cases)
    else:
        given = {"segmenters": segmenters, "prompt": prompt, "seed": seed}
        panes = tuple(runs.pane(root, case, table, **given) for case in cases)
    title = f"{cases[0].subject}, {labels.session(cases[0].session).title}"
    return Pair(panes, cases[0].structures, **({"title": title} | options))


def success_and_failure(
    table: pd.DataFrame, *, segmenter: str, modality: str, session: str, metric: str = "dice"
) -> pd.DataFrame:
    """The best and the worst prediction of the structure on which a segmenter varies most.

    Picked by score among the first predictions (step 0, first seed), so that nobody chooses: the
    structure with the widest range between subjects, its best and its worst subject; ties go to
    the first in the table's order.

    Returns
    -------
    pandas.DataFrame
        Two score rows, best first; empty where there is no scored prediction.

    Examples
    --------
    >>> from umdlib.simulated import score_table
    >>> table = score_table(n_subjects=3, structures=["liver", "colon"])
    >>> picked = success_and_failure(table, segmenter="a", modality="CT", session="petct")
    >>> picked.structure.nunique(), bool(picked.dice.iloc[0] >= picked.dice.iloc[1])
    (1, True)
    """
    rows = _first_predictions(table, segmenter, session, metric)
    rows = rows[rows["modality"] == modality]
    if rows.empty:
        return rows
    by_structure = rows.groupby("structure", sort=False)[metric]
    widest = (by_structure.max() - by_structure.min()).idxmax()
    rows = rows[rows["structure"] == widest]
    return rows.loc[[rows[metric].idxmax(), rows[metric].idxmin()]]


def largest_losses(
    table: pd.DataFrame, *, segmenter: str, session: str, metric: str = "dice", n: int = 1
) -> pd.DataFrame:
    """The pairs that lose most from the structural image to PET, picked by score.

    Returns
    -------
    pandas.DataFrame
        `n` rows at most: subject, structure, structural, pet, difference (PET minus structural),
        the largest loss first.

    Examples
    --------
    >>> from umdlib.simulated import score_table
    >>> losses = largest_losses(score_table(n_subjects=3), segmenter="c", session="petct")
    >>> bool(losses.difference.iloc[0] < 0)
    True
    """
    rows = _first_predictions(table, segmenter, session, metric)
    wide = rows.pivot_table(
        index=["subject", "structure"], columns="modality", values=metric, sort=False
    )
    structural = labels.session(session).structural
    if structural not in wide or "PET" not in wide:
        return pd.DataFrame(columns=["subject", "structure", "structural", "pet", "difference"])
    wide = wide.rename(columns={structural: "structural", "PET": "pet"}).dropna()
    wide["difference"] = wide["pet"] - wide["structural"]
    wide.columns.name = None
    return wide.sort_values("difference", kind="stable").head(n).reset_index()


def best_segmenter(table: pd.DataFrame, *, session: str, metric: str = "dice") -> str:
    """The segmenter with the highest mean score on the structural images of a session.

    Raises
    ------
    InputError
        If the table holds no score of that session.
    """
    rows = table[table["session"].eq(session) & table["step"].eq(0)]
    rows = rows[rows["modality"] == labels.session(session).structural]
    means = rows.groupby("segmenter", sort=False)[metric].mean().dropna()
    if means.empty:
        raise InputError(f"No {metric} of session {session} in the score table.")
    return str(means.idxmax())


def foci_found(reference: np.ndarray, prediction: np.ndarray) -> tuple[int, int]:
    """How many separate parts of a reference a prediction touches, and how many there are.

    Parameters
    ----------
    reference, prediction
        (I, J, K) boolean. Parts are connected through faces, edges and corners.

    Examples
    --------
    >>> reference = np.array([[[1, 1, 0, 1, 0, 1]]], bool)
    >>> foci_found(reference, np.array([[[0, 1, 1, 0, 0, 1]]], bool))
    (2, 3)
    """
    parts, count = ndimage.label(reference, np.ones((3, 3, 3)))
    touched = np.unique(parts[prediction])
    return int((touched > 0).sum()), int(count)


def case_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Grid, unit and content of each case: one row per case, lengths in mm, volumes in ml."""
    rows = []
    for case in cases:
        image, reference = case.read()
        size = [n * s for n, s in zip(image.shape, image.spacing_mm, strict=True)]
        present = np.unique(reference.data[reference.data > 0])
        rows.append({
            "modality": case.modality, "unit": case.unit,
            "voxels": " × ".join(map(str, image.shape)),
            "spacing (mm)": " × ".join(f"{s:.3g}" for s in image.spacing_mm),
            "field (cm)": " × ".join(f"{s / 10:.0f}" for s in size),
            "structures": len(present),
        })  # fmt: skip
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
        total = ndimage.sum_labels(image.data, reference.data, values)
        ml = float(np.prod(image.spacing_mm)) / 1000
        present = count > 0
        columns[f"{case.modality} (ml)"] = np.where(present, count * ml, np.nan)
        mean = np.divide(total, count, out=np.full(len(values), np.nan), where=present)
        columns[f"{case.modality} ({case.unit})"] = mean
    return pd.DataFrame(columns)


def markdown_table(table: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """A data frame as a Markdown pipe table; undefined numbers are an en dash."""
    formats = formats or {}

    def cell(column, value):
        if isinstance(value, (float, np.floating)):
            return "–" if np.isnan(value) else format(float(value), formats.get(column, ".2f"))
        return str(value)

    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + " --- |" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = (cell(c, v) for c, v in zip(table.columns, row, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _first_predictions(
    table: pd.DataFrame, segmenter: str, session: str, metric: str
) -> pd.DataFrame:
    """Scored centre-click predictions before any correction."""
    keep = table["segmenter"].eq(segmenter) & table["session"].eq(session)
    keep &= table["prompt"].eq("centre") & table["step"].eq(0) & table["seed"].eq(0)
    return table[keep & table[metric].notna()]
