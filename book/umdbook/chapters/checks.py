"""Findings and pictures of the chapter on the checks before any score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from umdlib import labels
from umdlib.cohort import body_checks, image_checks, pair_checks
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.tables.markdown import count, reason_table
from umdlib.tables.modality_table import session_title
from umdlib.viewer import montage

COLUMNS = 3  # examinations in a row of pictures
_ROW_IN = 2.9
_MOST = 40  # findings shown


def checks_table() -> pd.DataFrame:
    """What is measured before any score, and the limit of each."""
    p, i, b = pair_checks, image_checks, body_checks
    rows = [
        (
            "read",
            "files are read whole; the header places the voxels once (sform, qform and voxel size agree)",
            "",
        ),
        ("overlap", "distance of the two fields (mm)", "0"),
        (
            "shift",
            "median displacement of the structures of PET (mm)",
            f"{p.SHIFT_MM:g}, or {p.SHIFT_VOXELS:g} voxels",
        ),
        ("mirrored", "slope of the structures' places on PET against the structural image", "0"),
        ("swapped", "DSC of a structure's two masks, where it lies on another structure", f"{p.ELSEWHERE:g}"),
        ("agreement", "DSC of the two masks, for most structures", f"{p.AGREEMENT:g}, or one voxel's shift"),
        (
            "suv",
            "median SUV in the body; 99.9th percentile",
            f"{b.BODY_SUV[0]:g} to {b.BODY_SUV[1]:g}; {i.TOP_SUV:g}",
        ),
        ("attenuation", "PET near the skin by PET deep in the body", f"{b.RIM_BY_CORE:g}"),
        (
            "hu",
            "range of CT; share below air",
            f"{i.LEAST_HU:g} to {i.TOP_HU:g} HU; {100 * i.SHARE_BELOW:g} %",
        ),
        ("spacing", "voxel size (mm)", f"{i.SPACING_MM[0]:g} to {i.SPACING_MM[1]:g}"),
        ("volume", "volume of each organ by the range of adults", f"{i.VOLUME_FACTOR:g} times beyond it"),
        ("place", "organs on the wrong side of each other (mm)", f"{i.ORDER_MM:g}"),
        ("duplicate", "images that are voxel for voxel another's", "none"),
        ("empty, missing, unpaired, names", "structures, partners and names that are not there", "none"),
    ]
    return pd.DataFrame(rows, columns=["check", "what is measured", "limit"])


def findings_table(findings: pd.DataFrame, cohort: Cohort) -> pd.DataFrame | str:
    """Findings with their numbers, faults first; a sentence where there is none.

    `findings`: of `umdlib.cohort.checks.Report`. `cohort`: paths in messages are given from its folder on.
    """
    if findings.empty:
        return reason_table("No fault, no doubt, no note.")
    shown = findings.head(_MOST)
    names = zip(shown["subject"], shown["session"], shown["modality"], strict=True)
    folders = {str(cohort.manifest.parent), str(cohort.manifest.parent.resolve())} - {"."}
    texts = shown["message"]
    for folder in sorted(folders, key=len, reverse=True):
        texts = texts.str.replace(f"{folder}/", "", regex=False)
    table = shown[["kind"]].assign(where=[" ".join(filter(None, n)) for n in names], check=shown["check"])
    table["number"] = ["" if math.isnan(v) else f"{v:.3g}" for v in shown["value"]]
    return table.assign(finding=texts)


def words(cohort: Cohort, findings: pd.DataFrame) -> str:
    """Say what was examined and what came of it."""
    kinds = findings["kind"].value_counts()
    found = ", ".join(count(int(kinds.get(k, 0)), k) for k in ("fault", "doubt", "note"))
    examinations = {(c.subject, c.session) for c in cohort.cases}
    return f"{count(len(cohort.cases), 'image')} of {count(len(examinations), 'examination')} were read: {found}."


def examinations(cohort: Cohort, findings: pd.DataFrame, shown: int) -> list[list[Case]]:
    """The examinations to show: those with a fault or a doubt first, then in the order of the manifest."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cohort.cases:
        groups.setdefault((case.subject, case.session), []).append(case)
    serious = findings[findings["kind"] != "note"]
    bad = set(zip(serious["subject"], serious["session"], strict=True))
    return sorted(groups.values(), key=lambda g: (g[0].subject, g[0].session) not in bad)[:shown]


def pictures(chosen: Sequence[Sequence[Case]], findings: pd.DataFrame) -> Figure:
    """A coronal slice of both images of each examination, with the outlines of both references.

    `chosen`: cases of each examination; what cannot be read is said in its place. `findings`: of
    `umdlib.cohort.checks.Report`; the number of faults and doubts stands in the title.
    """
    import matplotlib.pyplot as plt

    rows = max(1, math.ceil(len(chosen) / COLUMNS))
    size = {"figsize": (9, _ROW_IN * rows), "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(rows, 2 * COLUMNS, facecolor="white", **size)
    for ax in axes.flat:
        ax.set_axis_off()
    for number, cases in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        own = findings[(findings["subject"] == cases[0].subject) & (findings["session"] == cases[0].session)]
        _examination(axes[row, 2 * column : 2 * column + 2], cases, int((own["kind"] != "note").sum()))
    return figure


def _examination(axes: Sequence[Axes], cases: Sequence[Case], faults: int) -> None:
    """Both pictures of one examination, at one level of the body."""
    read = dict.fromkeys((True, False), "no image")
    outlines = {}
    for case in cases:
        try:
            read[case.structural] = case.read_image()
            if case.reference is not None:
                outlines[labels.MODALITIES[case.modality].colour] = case.read(case.read_reference())[1]
        except InputError:
            read[case.structural] = "cannot be read"
    title = f"{cases[0].subject}, {session_title(cases[0].session)}"
    colour = "#d55e00" if faults else "black"
    axes[0].set_title(
        f"{title}\n{count(faults, 'finding')}" if faults else title, fontsize=11, color=colour, loc="left"
    )
    images = [image for image in (read[False], read[True]) if not isinstance(image, str)]
    level = montage.coronal_levels(images[0])[0] if images else 0.0
    for image, ax in zip(read.values(), axes, strict=True):
        if isinstance(image, str):
            ax.text(0.5, 0.5, image, ha="center", fontsize=7, transform=ax.transAxes)
        else:
            ax.set_axis_on()
            montage.body_picture(image, "coronal", level, outlines=outlines, ax=ax)
