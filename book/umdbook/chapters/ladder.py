"""Tables, sentences and figures of the chapter on why segmenters lose on PET."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook.names import title
from umdlib import ladder
from umdlib.cohort.manifest import Case, Cohort
from umdlib.figures.style import axes, nothing, rows_down
from umdlib.images import geometry
from umdlib.images.orientation import canonical
from umdlib.images.volume import LabelMap, Volume
from umdlib.scores.table import read_scores
from umdlib.statistics import attribution, factorial
from umdlib.synthetic.truth import truth
from umdlib.tables.markdown import interval, markdown_table, number, reason_table, share_text
from umdlib.tables.modality_table import session_title, structure_title
from umdlib.viewer import montage, web_volumes
from umdlib.viewer.choice import Choice
from umdlib.viewer.pair import Pair
from umdlib.viewer.panes import Pane, Prediction

__all__ = [
    "Climb",
    "attribution",
    "bars",
    "beside_training",
    "beside_truth",
    "cell_pictures",
    "cell_viewers",
    "climb",
    "cost",
    "cost_words",
    "estimates_layout",
    "orders_layout",
    "reverse_layout",
    "shares_layout",
    "single_factors",
    "single_factors_words",
    "states_layout",
    "title",
    "truth_words",
    "unestimated",
    "words",
]

TITLES = {**ladder.FACTORS, attribution.RESIDUAL: "not explained", attribution.GAP: "gap"}
COLOURS = dict(zip("RNCA", ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), strict=True)) | {
    attribution.RESIDUAL: "#999999",
    attribution.GAP: "#222222",
}
_BAR = 0.14  # of a row


_COHORT_TITLES = {
    "R, twice": "resolution, twice PET's point spread",
    "N": "noise",
    "C, even uptake": "contrast, one uptake in each region",
    "A, shift": "a shift of the whole body",
    "C": "contrast as simulated, uneven within organs",
    "A": "breathing, misregistration and a filling bladder",
}
_CELL_TITLES = {"none": "untouched", "PET": "real PET"}
_ORDER = (*ladder.CELLS, "PET")
_MARGIN_MM = 30.0  # what a viewer of a cell shows beyond the structure


@dataclass(frozen=True)
class Shown:
    """One cell of the first pair: a coronal slice, and the surroundings of one structure with the mask."""

    cell: str
    slice: Volume
    image: Volume
    reference: LabelMap
    mask: LabelMap | None


@dataclass(frozen=True)
class Climb:
    """What a page has computed: the pairs, their cells, shares and estimates, and pictures of the first."""

    pairs: list[tuple[Case, Case]]
    cells: pd.DataFrame
    shares: pd.DataFrame
    estimates: pd.DataFrame
    shown: tuple[Shown, ...] = ()
    structure: str = ""  # that is shown


def climb(
    cohort: Cohort,
    segmenters: str,
    folder: str,
    *,
    subjects: int,
    structures: str,
    reverse: bool = False,
    run: str | None = None,
) -> Climb:
    """Run the ladder on the first pairs of each session; scores that the folder or the run holds are read."""
    pairs = [p for s in cohort.sessions() for p in cohort.pairs(s)[:subjects]]
    known = [s.name for s in cohort.structures]
    asked = [n for n in structures.split(",") if n in known]
    chosen = [n for n in segmenters.split(",") if n]
    if not pairs:
        cells, estimates = (
            pd.DataFrame(columns=list(c)) for c in (ladder.CELL_COLUMNS, ladder.ESTIMATE_COLUMNS)
        )
        return Climb([], cells, attribution.share_rows(cells), estimates)
    collected = _Collected(pairs[0][0], asked)
    cells, estimates = ladder.ladder_run(
        cohort,
        chosen,
        folder,
        pairs=pairs,
        settings=ladder.LadderSettings(structures=asked, reverse=reverse, run=run),
        watch=ladder.Watch(show=collected.add),
    )
    shown = sorted(collected.shown, key=lambda s: (*_ORDER, s.cell).index(s.cell))
    return Climb(pairs, cells, attribution.share_rows(cells), estimates, tuple(shown), collected.structure)


class _Collected:
    """What is kept of each cell's image: too little to fill the memory."""

    def __init__(self, case: Case, asked: list[str]) -> None:
        self.shown: list[Shown] = []
        self.structure, self.value = "", 0
        reference = case.read_reference() if case.reference is not None else None
        least = np.inf
        for s in case.structures if reference is not None else ():
            inside = np.argwhere(reference.data == s.value) if s.name in asked or not asked else ()
            if 0 < len(inside) < least:  # the smallest: its surroundings are a small file
                least, world = len(inside), geometry.to_world(reference.affine, inside)
                self.structure, self.value = s.name, s.value
                self.low, self.high = world.min(axis=0) - _MARGIN_MM, world.max(axis=0) + _MARGIN_MM
                self.level = float(world[:, 1].mean())

    def add(self, cell: str, image: Volume, reference: LabelMap, masks: dict[str, np.ndarray]) -> None:
        """Cut what is shown from one cell."""
        if not self.structure:
            return
        everywhere = np.array([np.inf, 0.0, np.inf])
        slab = _cut(image, [0, self.level, 0] - everywhere, [0, self.level, 0] + everywhere)
        drawn = [reference.data == self.value, masks.get(self.structure)]
        drawn = [
            None
            if d is None
            else _cut(LabelMap(d * np.uint8(self.value), reference.affine), self.low, self.high)
            for d in drawn
        ]
        self.shown.append(Shown(cell, slab, _cut(image, self.low, self.high), *drawn))


def _cut(volume, low: np.ndarray, high: np.ndarray):
    """Voxels of a volume or label map between two corners (mm); at least the nearest ones."""
    volume, box = canonical(volume), []
    for n, (a, b) in enumerate(zip(low, high, strict=True)):
        axis = volume.affine[n, 3] + volume.affine[n, n] * np.arange(volume.shape[n])
        inside = np.flatnonzero((axis >= a) & (axis <= b))
        if not len(inside):
            inside = [np.abs(axis - (a + b) / 2).argmin()]
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    affine = web_volumes.shifted(volume.affine, box)
    return replace(volume, data=volume.data[tuple(box)].copy(), affine=affine)


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


def reverse_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of contrast and alignment put into the structural image, and taken out of PET."""
    rows = table[table["reverse"].notna()]
    return pd.DataFrame(
        {
            "session": rows["session"].map(session_title),
            "segmenter": rows["segmenter"].map(title),
            "factor": rows["factor"].map(TITLES),
            "put into the structural image": [number(v, sign=True) for v in rows["estimate"]],
            "taken out of PET": [number(v, sign=True) for v in rows["reverse"]],
        }
    )


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
        low, high = most.get("low", np.nan), most.get("high", np.nan)
        unsure = ", and its interval holds 0" if low <= 0 <= high else ""
        lines.append(
            f"{head}DSC changes by {number(gap['estimate'].iloc[0], sign=True)} on PET; the largest of the parts that "
            f"sum to it, {interval(most['estimate'], low, high)}, {verb} {largest}{unsure}."
        )
    known = table[table["estimate"].notna()]
    if len(known) and not known.get("low", known["estimate"] * np.nan).notna().any():
        lines.append(
            "\nThere is one subject each, so no interval: in another subject the largest part may differ."
        )
    return "\n".join(lines) or "Nothing was asked."


def bars(rows: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0, ax: Axes | None = None) -> Axes:
    """Mean shares of each structure of one session and segmenter, with intervals; costs to the left."""
    table = attribution.share_table(rows, ("structure",), n_resamples=n_resamples, seed=seed)
    table = table[table["estimate"].notna()]
    ax = axes(ax, figsize=(6, 3))
    if table.empty:
        return nothing(ax)
    structures = list(dict.fromkeys(table["structure"]))
    for n, (factor, colour) in enumerate(COLOURS.items()):
        part = table[table["factor"].eq(factor)]
        y = np.array([structures.index(s) for s in part["structure"]]) + (n - 2.5) * _BAR
        ends = np.abs(part[["low", "high"]].to_numpy().T - part["estimate"].to_numpy())
        shown = {"xerr": np.nan_to_num(ends), "error_kw": {"elinewidth": 1.0, "ecolor": "#222222"}}
        ax.barh(y, part["estimate"], color=colour, height=_BAR, label=TITLES[factor], **shown)
    ax.axvline(0, color="#444444", lw=0.9)
    rows_down(ax, map(structure_title, structures))
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
            "true": [number(v, 2) for v in table["true"]],
            "unit": table["unit"],
        }
    )


def truth_words(table: pd.DataFrame) -> str:
    """How far the estimates are from what was planted at most, beside what is asked of them."""
    if table.empty:
        return ""
    shift = table["quantity"].str.startswith("displacement")
    off = (table["estimate"] - table["true"]).abs()
    share = (off / table["true"].abs()).where(~shift)
    pairs = [table["subject"], table["session"]]
    missed = (off.where(shift) ** 2).groupby(pairs).sum(min_count=1) ** 0.5
    at_most = share.groupby(table["quantity"]).max()
    parts = [
        f"the {what} by at most {100 * at_most[name]:.1f} %{asked}"
        for name, what, asked in (
            ("fwhm", "point spread", " (asked of it: 10 %)"),
            ("sd over mean", "noise", " (15 %)"),
            ("mean", "liver's mean", ""),
        )
        if name in at_most
    ]
    if missed.notna().any():
        parts.append(f"the place of the head by at most {missed.max():.2f} mm (2 mm)")
    n = pd.concat(pairs, axis=1).drop_duplicates()
    return f"In {len(n)} {'pair' if len(n) == 1 else 'pairs'} the estimates miss {', '.join(parts)}."


def cell_pictures(run: Climb) -> plt.Figure:
    """Coronal slices of the sixteen cells of the first pair, and its real PET."""
    if not run.shown:
        return nothing(axes(None, figsize=(6, 1))).figure
    figure, grid = plt.subplots(3, 6, figsize=(7.2, 7.4))
    for ax, shown in zip(grid.ravel(), [s for s in run.shown if s.cell in _ORDER], strict=False):
        montage.body_picture(shown.slice, "coronal", shown.slice.affine[1, 3], ax=ax)
        ax.set_title(_CELL_TITLES.get(shown.cell, shown.cell), fontsize=12)
    grid.ravel()[-1].set_axis_off()
    return figure


def cell_viewers(run: Climb) -> Choice | None:
    """The cells of the first pair as viewers to choose from, each beside its real PET; None where there is none."""
    pet = next((s for s in run.shown if s.cell == "PET"), None)
    if pet is None:
        return None
    case, segmenter = run.pairs[0][0], run.cells["segmenter"].iloc[0]
    keys = {
        "subject": case.subject,
        "session": case.session,
        "structure": run.structure,
        "segmenter": segmenter,
    }
    own = run.cells[(run.cells[list(keys)] == pd.Series(keys)).all(axis=1)].set_index("cell")["score"]
    structure = next(s for s in case.structures if s.name == run.structure)
    viewers = {}
    for shown in run.shown:
        panes = [
            _pane(one, case.modality, segmenter, run.structure, own[one.cell])
            for one in (shown, *([pet] if shown is not pet else []))
        ]
        viewers[_cell_title(shown.cell, case.modality)] = Pair(
            tuple(panes),
            (structure,),
            title=f"{case.subject}, {_cell_title(shown.cell, case.modality)}",
            caption=f"{title(segmenter)}, {structure.title.lower()}: DSC {number(own[shown.cell])} in this cell, "
            f"{number(own['PET'])} on the real PET.",
            name=f"cell-{shown.cell.replace('+', '')}",
            structure=run.structure,
            segmenter=segmenter if panes[0].predictions else "",
            outline="both",
            overlay="none",
            titles={segmenter: title(segmenter)},
        )
    return Choice(viewers, "Image", "ladder-cell")


def _cell_title(cell: str, modality: str) -> str:
    """What a cell is, in words."""
    names = [TITLES[f] for f in cell.removeprefix("PET-").split("+") if f in ladder.FACTORS]
    if cell.startswith("PET-"):
        return f"PET with its {' and '.join(names)} undone"
    return _CELL_TITLES.get(cell, "") or f"{modality} with PET's {', '.join(names)}"


def _pane(shown: Shown, modality: str, segmenter: str, structure: str, score: float) -> Pane:
    """One image of a cell with its reference and mask."""
    asked = ()
    if shown.mask is not None:
        scores = {structure: float(score)} if np.isfinite(score) else {}
        asked = (Prediction(segmenter, {structure: shown.mask.data > 0}, dice=scores),)
    kind = "PET" if shown.image.unit == "SUV" else modality  # whose window it has
    return Pane(kind, shown.image, shown.reference, asked, title=_cell_title(shown.cell, modality))


def single_factors(path: str) -> str:
    """Shares in synthetic cohorts whose PET differs by one factor, from the file that a benchmark wrote."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return reason_table("The benchmark's file is not part of this installation.")
    rows = []
    for r in found["rows"]:
        row = {"PET differs by": _COHORT_TITLES[r["cohort"]], "segmenter": title(r["segmenter"])}
        row |= {
            "gap": interval(*r["gap"]),
            "own part of the gap": share_text(*r["part"]) if r["gap_seen"] else "",
        }
        row |= {t: interval(*r[f]) for f, t in TITLES.items() if f != attribution.GAP}
        rows.append({**row, "n": r["n"]})
    return markdown_table(pd.DataFrame(rows))


def single_factors_words(path: str) -> str:
    """When and how the table of single factors was made, and what it says."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return ""
    alone = [r for r in found["rows"] if r["alone"]]
    seen = [r for r in alone if r["gap_seen"]]
    parts = [r["part"][0] for r in seen]
    short = [r for r in seen if r["part"][0] < 0.95]
    even = sum(r["residual"][1] <= 0 <= r["residual"][2] for r in short)
    less = (
        f"; in {even} of the {len(short)} below, what is not explained has an interval that holds 0"
        if short
        else ""
    )
    covered = sum(r["others_cover_0"] for r in alone)
    other = max(abs(r[f][0]) for r in seen for f in ladder.FACTORS if f != r["factor"])
    return (
        f"There are {len(alone)} cases of one cohort and one segmenter in which the factor is alone. In {len(seen)} "
        "of them the interval of the gap leaves out 0: there the factor has "
        f"{100 * min(parts):.0f} to {100 * max(parts):.0f} % of the gap, at least 95 % in "
        f"{len(parts) - len(short)}{less}. The intervals of the other three cover 0 in {covered} of {len(alone)}; the "
        f"largest mean of another factor is {number(other, 4)}. Made with `{found['command']}` on {found['date']}: PET "
        f"voxels of {found['spacing_mm']:g} mm, {len(found['structures'])} structures."
    )


def cost(path: str) -> str:
    """What a ladder costs beside its predictions, from the file that a benchmark wrote."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return reason_table("The benchmark's file is not part of this installation.")
    rows = [
        {
            "PET voxels": f"{size['spacing_mm']:g} mm",
            "segmenter": title(r["segmenter"]),
            "predictions of one image": f"{r['prediction_s']:.2f} s",
            "one image of a run": f"{r['image_of_a_run_s']:.2f} s",
            "ladder": f"{r['ladder_s']:.1f} s",
            "over 16 × predictions": f"{r['over_predictions']:.2f}",
            "over 16 × image of a run": f"{r['over_images_of_a_run']:.2f}",
        }
        for size in found["sizes"]
        for r in size["rows"]
    ]
    return markdown_table(pd.DataFrame(rows))


def cost_words(path: str) -> str:
    """How long estimates and images take, and how often the goal is met."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return ""
    rows = [r for size in found["sizes"] for r in size["rows"]]
    stages = "; ".join(
        f"{size['estimates_s']:.1f} and {size['images_s']:.1f} CPU s for a CT of "
        f"{' × '.join(map(str, size['shapes'][0]))} voxels"
        for size in found["sizes"]
    )
    met = {k: sum(r[k] <= found["goal"] for r in rows) for k in ("over_predictions", "over_images_of_a_run")}
    return (
        f"Beside its predictions a ladder needs the estimates and the sixteen images: {stages}. The goal is at most "
        f"{found['goal']:g} times sixteen predictions. It is met in {met['over_predictions']} of {len(rows)} cases "
        "where a prediction is the segmenter's own work, and in "
        f"{met['over_images_of_a_run']} where it is all that a run does for an image. "
        f"Made with `{found['command']}` on {found['date']}."
    )


def beside_training(table: pd.DataFrame, scores: str) -> str:
    """Compare the ladder of the network trained on structural images with the 3 × 2 design, a sentence a session."""
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
