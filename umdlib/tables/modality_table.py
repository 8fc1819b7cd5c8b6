"""Cells of the papers' tables, computed from comparisons, with their marks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.labels import ORGANS, session
from umdlib.scores.empty_rules import EMPTY_RULES, higher_is_better, is_directed
from umdlib.statistics.comparison import TESTS
from umdlib.statistics.plan import plan_words
from umdlib.statistics.verdicts import FLOOR, VERDICTS

# Thresholds of the marks: UMD, captions of tables 1 and 2.
MARKS: tuple[tuple[float, str, str], ...] = ((0.0001, "sig-4", "‡"), (0.01, "sig-2", "†"))

CORRECTIONS: dict[str, str] = {
    "none": "uncorrected",
    "holm": "Holm-corrected within each segmenter",
    "bh": "Benjamini-Hochberg-corrected across segmenters",
}
# Of each form: estimate whose sign says which modality is better, and columns of its own test.
_FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "mean": ("estimate", {"none": "p_value", "holm": "p_holm", "bh": "p_bh"}),
    "median": ("median", {"none": "p_median", "holm": "p_median_holm", "bh": "p_median_bh"}),
}

_METRIC_TITLES: dict[str, str] = {
    "dice": "DSC",
    "surface_dice_1mm": "NSD (1 mm)",
    "surface_dice_5mm": "NSD (5 mm)",
    "hausdorff": "Hausdorff distance (mm)",
    "hausdorff_95": "HD95 (mm)",
    "assd": "ASSD (mm)",
    "rvd": "relative volume difference",
}


def metric_title(metric: str) -> str:
    """Name of a metric for a reader.

    Examples
    --------
    >>> metric_title("dice"), metric_title("surface_dice_2mm")
    ('DSC', 'NSD (2 mm)')
    """
    if metric.startswith("surface_dice_"):
        return f"NSD ({metric.removeprefix('surface_dice_').removesuffix('mm')} mm)"
    return _METRIC_TITLES.get(metric, metric)


def session_title(name: str) -> str:
    """Name of a session for a reader.

    Examples
    --------
    >>> session_title("petct")
    'PET/CT'
    """
    return session(name).title


def with_session_titles(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose column ``session`` shows titles."""
    return table.assign(session=table["session"].map(session_title))


def structure_title(name: str) -> str:
    """Name of a structure for a reader; a structure beyond the 13 organs keeps its own.

    Examples
    --------
    >>> structure_title("kidney_left"), structure_title("lesion")
    ('Kidney, left', 'Lesion')
    """
    titles = {s.name: s.title for s in ORGANS}
    return titles.get(name, name.replace("_", " ").capitalize())


def modality_table(
    comparisons: pd.DataFrame,
    session_name: str,
    *,
    overall: pd.DataFrame | None = None,
    form: str = "mean",
    correction: str = "holm",
) -> pd.DataFrame:
    """Cells of UMD's tables 1 and 2: structures by segmenters, the two modalities in each.

    Parameters
    ----------
    comparisons
        From `umdlib.statistics.comparison.compare`, by session, segmenter and structure.
    session_name
        ``petct`` or ``petmr``.
    overall
        The same by session and segmenter: adds the row *All structures*.
    form
        ``mean``: mean (SD) as in UMD, marked by the table's test; ``median``: median (Q1-Q3) as in
        SegAnyPET, marked by the sign test of the median difference.
    correction
        Name in `CORRECTIONS`: which p-value gives the marks.

    Returns
    -------
    pandas.DataFrame
        One row per cell: `structure, modality, segmenter, value, low, high, n_subjects, n_pairs,
        n_failed, p, mark` (class name or empty), `mark_uncorrected` (the same from the uncorrected
        p-value), `at_floor`, `best`, `state` (empty where there is a value), `note`.
        Marks stand at the better modality of the pair, and at none where both are at the floor; a segmenter
        that fails in every pair is never best. `low`, `high` are the quartiles, or
        mean - SD and mean + SD. ``attrs["legend"]`` is the sentence under the table.

    Raises
    ------
    InputError
        If the session, the form or the correction is not known.
    """
    if correction not in CORRECTIONS:
        raise unknown_name("correction", correction, CORRECTIONS)
    if form not in _FORMS:
        raise unknown_name("form", form, _FORMS)
    structural = session(session_name).structural
    rows = comparisons[comparisons["session"].eq(session_name)]
    if rows.empty:
        raise InputError(f"No comparison of session '{session_name}' in the table.")
    across = 0
    if overall is not None:
        extra = overall[overall["session"].eq(session_name)].assign(structure="all")
        if correction == "holm":  # over structures, of which this row has one: over segmenters here
            extra = extra.assign(p_holm=extra["p_bh"], p_median_holm=extra["p_median_bh"])
            across = int(extra["n_bh"].max()) if len(extra) else 0
        rows = pd.concat([rows, extra], ignore_index=True)
    metric = comparisons.attrs.get("metric", "dice")
    larger = higher_is_better(metric) if is_directed(metric) else None
    cells = [
        _cell(row, side, structural, form, correction, larger)
        for _, row in rows.iterrows()
        for side in ("structural", "pet")
    ]
    table = _with_best(pd.DataFrame(cells), larger)
    table.attrs = {**comparisons.attrs, "form": form, "correction": correction}
    family = {"holm": "n_holm", "bh": "n_bh"}.get(correction)
    sizes = sorted(set(rows.loc[rows["structure"].ne("all"), family])) if family else []
    table.attrs["legend"] = _legend(table.attrs, structural, [int(n) for n in sizes if n], across)
    return table


def _cell(
    row: pd.Series, side: str, structural: str, form: str, correction: str, larger: bool | None
) -> dict[str, object]:
    """One cell: a modality of one segmenter on one structure."""
    value, low, high = _summary(row, side, form)
    change, columns = _FORMS[form]
    favoured = "pet" if (row[change] > 0) == larger else "structural"
    floor = bool(pd.notna(row.get("at_floor")) and row["at_floor"])
    better = larger is not None and side == favoured and row[change] != 0 and not floor
    marks = [_mark(row[columns[name]]) if better else "" for name in (correction, "none")]
    alone = {"structural": "pet_only", "pet": "structural_only"}[side]
    modality = structural if side == "structural" else "PET"
    state = "" if np.isfinite(value) else _state(str(row.get("note", "")), side)
    return {
        "structure": row["structure"],
        "modality": modality,
        "segmenter": row["segmenter"],
        "value": value,
        "low": low,
        "high": high,
        "n_subjects": int(row["n_subjects"]),
        "n_pairs": int(row["n_pairs"]),
        "n_failed": row.get(alone, np.nan) + row.get("neither", np.nan),
        "p": row[columns[correction]],
        "mark": marks[0],
        "mark_uncorrected": marks[1],
        "at_floor": floor,
        "state": state,
        "note": row.get("note", ""),
    }


def _mark(p: float) -> str:
    """Class name of the mark of a p-value; empty for none."""
    return next((name for limit, name, _ in MARKS if p < limit), "")


def _summary(row: pd.Series, side: str, form: str) -> tuple[float, float, float]:
    """Centre and the two ends of the spread."""
    if form == "median":
        return row[f"median_{side}"], row[f"q1_{side}"], row[f"q3_{side}"]
    mean, sd = row[f"mean_{side}"], row[f"sd_{side}"]
    return mean, mean - sd, mean + sd


def _state(note: str, side: str) -> str:
    """The word in a cell without a value: of the structural image or of PET."""
    if note.startswith("unavailable"):
        return "unavailable"
    title = "PET" if side == "pet" else "structural"  # as `umdlib.statistics.pairs` says it
    return "failed" if f"{title}: failed" in note else "no pairs"


def _with_best(cells: pd.DataFrame, larger: bool | None) -> pd.DataFrame:
    """Mark the best segmenter of each structure and modality, ties at three decimals together.

    `larger`: whether the largest is; None where neither end is better, and none is marked.
    """
    if larger is None:
        return cells.assign(best=False)
    works = ~cells["n_failed"].ge(cells["n_pairs"])
    rounded = cells["value"].round(3).where(works)
    groups = rounded.groupby([cells["structure"], cells["modality"]])
    best = groups.transform("max" if larger else "min")
    several = groups.transform("count") > 1
    return cells.assign(best=rounded.eq(best) & several)


def _legend(attrs: dict, structural: str, sizes: list[int], across: int) -> str:
    """What the cells and marks mean, in one paragraph.

    `sizes` of the families of p-values; `across` how many segmenters the last row is corrected for.
    """
    form = "mean (SD)" if attrs["form"] == "mean" else "median (Q1–Q3)"
    test = TESTS["median" if attrs["form"] == "median" else attrs.get("test", "mean")]
    correction = CORRECTIONS[attrs["correction"]]
    if sizes:
        correction += f" (families of {' or '.join(map(str, sizes))} structures)"
    if across > 1:
        correction += f", in the row of all structures Benjamini–Hochberg over {across} segmenters"
    if attrs["correction"] != "none":
        correction += "; in brackets what the uncorrected p-value would give"
    metric, empty = metric_title(attrs.get("metric", "dice")), attrs.get("empty", "drop")
    return (
        f"{metric}, {form} over subjects, on pairs scored in both {structural} and PET; n counts them. "
        f"† p < 0.01, ‡ p < 0.0001 at the better modality of a pair: {test}, {correction}. "
        f"Bold: best segmenter of the row. Failed: no prediction, an empty one, or DSC under "
        f"{attrs.get('failure_below', 0.1):g}. {FLOOR.capitalize()}: {VERDICTS[FLOOR]}; such a pair has no mark. "
        f"Empty rule '{empty}': {EMPTY_RULES[empty]}. {plan_words(attrs)}"
    )
