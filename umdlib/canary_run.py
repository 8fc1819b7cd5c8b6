"""The canaries over the predictions that a run has stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import canaries, runs
from umdlib.cohort import Case, Cohort
from umdlib.errors import InputError
from umdlib.tables.text import markdown_table


def check_run(
    cohort: Cohort,
    root: str | Path,
    segmenters: Sequence[str],
    *,
    prompt: str = "centre",
    seed: int = 0,
    limit: int = 4,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Wiring, one mask and orientation of each segmenter and modality, on stored first masks.

    Parameters
    ----------
    cohort
        The cohort of the run.
    root
        Folder of the run.
    segmenters
        Names as in the run's folder; one without stored predictions is left out.
    limit
        Cases per modality: faults of wiring show in the first few.
    report
        Called with one line per segmenter and modality.

    Returns
    -------
    pandas.DataFrame
        One row per segmenter and modality: segmenter, modality, n_cases, faults (joined by
        commas, empty for none), detail.
    """
    rows = []
    for segmenter in segmenters:
        for modality in sorted({c.modality for c in cohort.cases}):
            cases = [c for c in cohort.cases if c.modality == modality][:limit]
            stored = [m for c in cases if (m := _masks(root, segmenter, c, prompt, seed))]
            if not stored:
                continue
            predictions, references = zip(*stored, strict=True)
            found = canaries.check_masks(predictions, references, segmenter, modality)
            rows.append({
                "segmenter": segmenter, "modality": modality, "n_cases": len(stored),
                "faults": ", ".join(f.fault for f in found),
                "detail": " ".join(f.detail for f in found),
            })  # fmt: skip
            report(f"{segmenter} {modality}: {rows[-1]['faults'] or 'no alarm'}")
    return pd.DataFrame(rows, columns=["segmenter", "modality", "n_cases", "faults", "detail"])


def checked_segmenters(findings: pd.DataFrame) -> list[str]:
    """Segmenters that had stored predictions."""
    return list(findings["segmenter"].unique())


def words(findings: pd.DataFrame) -> str:
    """The result of `check_run` as a table in Markdown with a sentence before it."""
    if findings.empty:
        return "No stored prediction was found: nothing could be checked."
    alarms = int((findings["faults"] != "").sum())
    shown = pd.DataFrame({
        "Segmenter": findings["segmenter"], "Modality": findings["modality"],
        "Cases": findings["n_cases"], "Alarm": findings["faults"].replace("", "none"),
        "In words": findings["detail"],
    })  # fmt: skip
    head = (
        f"{len(findings)} combinations of segmenter and modality were checked, {alarms} raised an "
        f"alarm."
    )
    return f"{head}\n\n{markdown_table(shown)}"


def matrix_plot(matrix: pd.DataFrame, cohort: Cohort, ax=None):
    """A wiring matrix in greys, short names on both axes; returns the axes."""
    import matplotlib.pyplot as plt

    ax = ax or plt.subplots(figsize=(5.2, 4.6), layout="constrained")[1]
    names = [s.name for s in cohort.structures if s.name in matrix.index]
    short = [s.short for s in cohort.structures if s.name in matrix.index]
    values = matrix.loc[names, names].to_numpy(float)
    image = ax.imshow(np.nan_to_num(values), vmin=0, vmax=1, cmap="cividis")
    ax.set_xticks(range(len(names)), short)
    ax.set_yticks(range(len(names)), short)
    ax.grid(visible=False)
    ax.set_xlabel("Reference")
    ax.set_ylabel("Asked for")
    ax.figure.colorbar(image, ax=ax, label="Mean DSC")
    return ax


def mean_wiring(
    cohort: Cohort, root: str | Path, segmenter: str, modality: str,
    *, prompt: str = "centre", seed: int = 0, limit: int = 4,
) -> pd.DataFrame:  # fmt: skip
    """Mean wiring matrix of a segmenter on one modality: asked for (rows), reference (columns)."""
    cases = [c for c in cohort.cases if c.modality == modality][:limit]
    stored = [m for c in cases if (m := _masks(root, segmenter, c, prompt, seed))]
    matrices = [canaries.wiring_matrix(p, r) for p, r in stored]
    if not matrices:
        raise InputError(f"No stored prediction of '{segmenter}' on {modality} in {root}.")
    return pd.concat(matrices).groupby(level=0, sort=False).mean()


def _masks(
    root: str | Path, segmenter: str, case: Case, prompt: str, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """Predictions and references of a case by structure; None where nothing is stored."""
    try:
        predictions = runs.read_prediction(root, segmenter, case, prompt=prompt, seed=seed)
    except InputError:
        return None
    reference = case.read_reference().data
    return predictions, {s.name: reference == s.value for s in case.structures}
