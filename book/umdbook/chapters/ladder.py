"""Tables, sentences and figures of the chapter on why segmenters lose on PET."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook.names import title
from umdlib import ladder
from umdlib.cohort.manifest import Case, Cohort
from umdlib.figures.style import axes, nothing, rows_down
from umdlib.scores.table import read_scores
from umdlib.statistics import attribution, factorial
from umdlib.synthetic.truth import truth
from umdlib.tables.markdown import interval, number
from umdlib.tables.modality_table import session_title, structure_title
from umdlib.viewer import montage

__all__ = [
    "Climb",
    "attribution",
    "bars",
    "beside_training",
    "beside_truth",
    "cell_pictures",
    "climb",
    "estimates_layout",
    "orders_layout",
    "shares_layout",
    "states_layout",
    "title",
    "unestimated",
    "words",
]

TITLES = {**ladder.FACTORS, attribution.RESIDUAL: "not explained", attribution.GAP: "gap"}
COLOURS = dict(zip("RNCA", ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), strict=True)) | {
    "residual": "#999999"
}


@dataclass(frozen=True)
class Climb:
    """What a page has computed: the pairs, their cells, shares and estimates."""

    pairs: list[tuple[Case, Case]]
    cells: pd.DataFrame
    shares: pd.DataFrame
    estimates: pd.DataFrame


def climb(cohort: Cohort, segmenters: str, folder: str, *, subjects: int, structures: str) -> Climb:
    """Run the ladder on the first pairs of each session; what the folder holds is read."""
    pairs = [p for s in cohort.sessions() for p in cohort.pairs(s)[:subjects]]
    known = [s.name for s in cohort.structures]
    asked = [n for n in structures.split(",") if n in known]
    chosen = [n for n in segmenters.split(",") if n]
    if not pairs:
        cells, estimates = (
            pd.DataFrame(columns=list(c)) for c in (ladder.CELL_COLUMNS, ladder.ESTIMATE_COLUMNS)
        )
        return Climb([], cells, attribution.share_rows(cells), estimates)
    cells, estimates = ladder.ladder_run(cohort, chosen, folder, pairs=pairs, structures=asked)
    return Climb(pairs, cells, attribution.share_rows(cells), estimates)


def shares_layout(table: pd.DataFrame) -> pd.DataFrame:
    """One row per session and segmenter, a column per factor."""
    rows = []
    for (session, segmenter), part in table.groupby(["session", "segmenter"], sort=False):
        row = {"session": session_title(session), "segmenter": title(segmenter)}
        for r in part.itertuples():
            row[TITLES[r.factor]] = interval(r.estimate, r.low, r.high)
        rows.append({**row, "n": int(part["n_subjects"].max())})
    return pd.DataFrame(rows)


def orders_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Smallest and largest part of each factor over the 24 orders."""
    rows = table[table["factor"].isin(list(ladder.FACTORS)) & table["estimate"].notna()]
    shown = [
        f"{number(r.order_low, sign=True)} to {number(r.order_high, sign=True)}" for r in rows.itertuples()
    ]
    wide = rows.assign(shown=shown, factor=rows["factor"].map(TITLES))
    wide = wide.pivot_table(
        index=["session", "segmenter"], columns="factor", values="shown", aggfunc="first", sort=False
    )
    wide = wide.reset_index().rename_axis(columns=None)
    return wide.assign(session=wide["session"].map(session_title), segmenter=wide["segmenter"].map(title))


def words(table: pd.DataFrame) -> str:
    """One item per session and segmenter: its gap and the factor that costs most."""
    lines = []
    for (session, segmenter), part in table.groupby(["session", "segmenter"], sort=False):
        head = f"- {session_title(session)}, {title(segmenter)}: "
        gap, most = part[part["factor"].eq(attribution.GAP)], attribution.largest_share(part)
        if most is None:
            lines.append(f"{head}no number; the reasons stand in the table of what could not be said.")
            continue
        largest = TITLES[most["factor"]]
        verb = "is" if most["factor"] == attribution.RESIDUAL else "comes from"
        lines.append(
            f"{head}DSC changes by {number(gap['estimate'].iloc[0], sign=True)} on PET; the largest of the parts that "
            f"sum to it, {number(most['estimate'], sign=True)}, {verb} {largest}."
        )
    return "\n".join(lines) or "Nothing was asked."


def bars(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Stacked shares of each structure of one session and segmenter; costs to the left, gains to the right."""
    known = rows[rows["share"].notna()]
    ax = axes(ax, figsize=(6, 3))
    if known.empty:
        return nothing(ax)
    wide = known.pivot_table(index="structure", columns="factor", values="share", sort=False)
    place = np.arange(len(wide))
    ends = {1: np.zeros(len(wide)), -1: np.zeros(len(wide))}
    for factor, colour in COLOURS.items():
        values = wide[factor].to_numpy()
        for sign in (1, -1):
            part = np.where(np.sign(values) == sign, values, 0.0)
            label = TITLES[factor] if sign == 1 else None
            ax.barh(place, part, left=ends[sign], color=colour, height=0.6, label=label)
            ends[sign] = ends[sign] + part
    ax.scatter(wide[attribution.GAP], place, color="black", s=16, zorder=3, label="gap")
    ax.axvline(0, color="#444444", lw=0.9)
    rows_down(ax, map(structure_title, wide.index))
    ax.margins(x=0.04)
    ax.set_xlabel("share of the gap (DSC)")
    return ax


def unestimated(estimates: pd.DataFrame) -> pd.DataFrame:
    """Rows of estimates that are a reason."""
    return estimates[estimates["reason"].ne("")]


def states_layout(gone: pd.DataFrame) -> pd.DataFrame:
    """What could not be estimated, and why."""
    return pd.DataFrame(
        {
            "subject": gone["subject"],
            "session": gone["session"].map(session_title),
            "factor": gone["factor"].map(TITLES),
            "structure": gone["structure"].replace("", "all"),
            "reason": gone["reason"],
        }
    )


def beside_truth(run: Climb) -> pd.DataFrame:
    """Estimated point spread, noise, and whole-body shift of a synthetic cohort beside what was planted."""
    rows = []
    for structural, _ in run.pairs:
        known = truth(structural)
        if not known:
            continue
        own = run.estimates[
            run.estimates["subject"].eq(structural.subject) & run.estimates["session"].eq(structural.session)
        ]
        for quantity, factor, structure, true, unit in _planted(known):
            found = own[
                own["factor"].eq(factor) & own["structure"].eq(structure) & own["quantity"].eq(quantity)
            ]
            if len(found) and np.isfinite(found["value"].iloc[0]):
                value = float(found["value"].iloc[0])
                rows.append((structural.subject, structural.session, quantity, structure, value, true, unit))
    return pd.DataFrame(
        rows, columns=["subject", "session", "quantity", "structure", "estimate", "true", "unit"]
    )


def _planted(known: dict):
    """(quantity, factor, structure, true value, unit) of a subject's record."""
    scan = known["acquisition"]
    yield "fwhm", "R", "", known["fwhm_mm"], "mm"
    yield "sd over mean", "N", "", scan["liver_cov"], ""
    for axis, value in zip("xyz", scan["rigid_mm"], strict=True):  # the head does not breathe
        yield f"displacement {axis}", "A", "brain", value, "mm"
    yield "mean", "C", "liver", known["person"]["uptake_suv"]["liver"], "SUV"


QUANTITIES = {"fwhm": "point spread (FWHM)", "sd over mean": "noise (SD over mean)"}


def estimates_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Estimates beside the truth."""
    return pd.DataFrame(
        {
            "subject": table["subject"],
            "session": table["session"].map(session_title),
            "what": [
                ", ".join(filter(None, (QUANTITIES.get(q, q), structure_title(s).lower())))
                for q, s in zip(table["quantity"], table["structure"], strict=True)
            ],
            "estimated": [number(v, 2) for v in table["estimate"]],
            "planted": [number(v, 2) for v in table["true"]],
            "unit": table["unit"],
        }
    )


def cell_pictures(run: Climb) -> plt.Figure:
    """Coronal slices of the sixteen cells of the first pair, and its real PET."""
    structural, pet = run.pairs[0] if run.pairs else (None, None)
    if structural is None or structural.reference is None or pet.reference is None:
        return nothing(axes(None, figsize=(6, 1))).figure
    pair = structural.read(), pet.read()
    width = ladder.header_filter(pet.image)
    made_of = ladder.estimate_pair(*pair, structural.structures, filter_mm=width).made_of
    images = dict(
        ladder.degraded_cells(pair[0][0], made_of, name=f"{structural.subject}_{structural.session}")
    )
    shown = [*((c, images[c]) for c in ladder.CELLS), ("PET", pair[1][0])]
    level, _ = montage.coronal_levels(pair[1][0])
    figure, grid = plt.subplots(2, 9, figsize=(11, 6.4))
    for ax, (cell, image) in zip(grid.ravel(), shown, strict=False):
        montage.body_picture(image, "coronal", level, ax=ax)
        ax.set_title("real PET" if cell == "PET" else cell, fontsize=8)
    grid.ravel()[-1].set_axis_off()
    return figure


def beside_training(table: pd.DataFrame, scores: str) -> str:
    """Compare the ladder of the network trained on structure with the 3 × 2 of trainings, in one sentence a session."""
    design = factorial.design_scores(read_scores(scores))
    own = table[table["segmenter"].eq("clicknet_structural")]
    if design.empty or own.empty:
        return "This ladder did not ask the network trained on CT and MR, so there is nothing to compare."
    effects = factorial.contrast_table(
        design, names=("gap", "modality effect", "transfer effect"), n_resamples=200
    )
    lines = []
    for session, part in own.groupby("session", sort=False):
        here = effects[effects["session"].eq(session)].set_index("contrast")["estimate"]
        found = part.set_index("factor")["estimate"]
        if here.empty or not np.isfinite(found[attribution.GAP]):
            continue
        physics, whole, gap, price, rest = (
            number(v, sign=True)
            for v in (
                sum(found[f] for f in ladder.FACTORS),
                found[attribution.GAP],
                *here.reindex(["gap", "transfer effect", "modality effect"]),
            )
        )
        lines.append(
            f"- {session_title(session)}: the four factors together take {physics} of a gap of {whole} on the subjects "
            f"and structures asked here. On all, the gap of the 3 × 2 is {gap}, of which {price} is the cost of "
            f"training on structural images alone and {rest} remains for a network trained on PET."
        )
    return "\n".join(lines) or "No session has both."
