"""Landing page: what the papers report, what every system of the run does, and one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from umdbook import page
from umdbook.names import title
from umdlib import labels, published
from umdlib.figures import forest, set_narrow, style
from umdlib.published.claims import DEPENDS
from umdlib.published.names import MODELS
from umdlib.statistics import comparison
from umdlib.statistics.pairs import condition, means_over_structures, paired_differences
from umdlib.statistics.verdicts import FLOOR, at_floor
from umdlib.tables.markdown import count, gap_texts
from umdlib.viewer.cases import read_viewer

# Papers' table of each session's averages.
_PRINTED = {"petct": "umd_table1", "petmr": "umd_table2"}
# Shown first if the run has it: the one network that, like the papers' promptable models, saw no PET.
FIRST = "clicknet_structural"
# Shown first if the cohort has it: an organ with a sharp border on CT and a known one on PET.
STRUCTURES = ("kidney_right", "lung")

_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # below words that cross the line at zero

NOTHING = (
    "No segmenter of this run has a score on both images of a subject: there is nothing to compare yet. "
    "The page on the run lists what failed, and why."
)


def is_simulated(cohort) -> bool:
    """Whether every image of a cohort is synthetic."""
    return "provenance" in cohort.table and bool((cohort.table["provenance"] == "synthetic").all())


def printed_changes(session: str) -> pd.DataFrame:
    """Average DSC on both modalities as the UMD paper prints it: one row per system, and the change."""
    rows = published.cells(published.read(_PRINTED[session])).query("structure == 'average'")
    wide = rows.pivot_table(index="segmenter", columns="modality", values="mean", sort=False)
    structural = labels.session(session).structural
    wide = wide.rename(columns={structural: "structural", "PET": "pet"}).reset_index()
    return wide.assign(
        model=wide["segmenter"].map(MODELS),
        estimate=wide["pet"] - wide["structural"],
        at_floor=at_floor(wide, sides=("structural", "pet")),
    )


def measured_changes(scores: pd.DataFrame, session: str) -> pd.DataFrame:
    """Every system of the run that has pairs in a session: mean change and interval over subjects."""
    rows = comparison.compare(scores[scores["session"] == session], by=("session", "segmenter"))
    return rows[rows["estimate"].notna()].reset_index(drop=True)


@dataclass(frozen=True)
class Example:
    """One subject for the picture, with the structure, the segmenter, and the number of subjects to pick from."""

    session: str
    segmenter: str
    structure: str
    subject: str
    n_subjects: int


def example(
    scores: pd.DataFrame,
    sessions: Sequence[str],
    structures: Sequence[str],
    *,
    segmenter: str = "",
    structure: str = "",
) -> Example | None:
    """The pair that the landing page shows; segmenter and structure are named without a look at a score.

    Segmenter: the given one, else `FIRST`, else the first of the table. Structure: the one asked
    for, else the first of `STRUCTURES`, else the first of the cohort. Subject: the one with the median
    change among those, the lower of two.

    Returns: None where no pair has a score.
    InputError: A segmenter or structure that is not in the run, with the nearest name.
    """
    names = list(scores["segmenter"].unique())
    page.checked("segmenter of this run", segmenter, names)
    page.checked("structure of this cohort", structure, structures)
    for session in sessions:
        part = scores[scores["session"] == session]
        for name in [segmenter] if segmenter else sorted(names, key=lambda n: n != FIRST):
            pairs = _pairs(part[part["segmenter"] == name])
            for organ in [structure] if structure else [*STRUCTURES, *structures]:
                own = pairs[pairs["structure"] == organ].sort_values(["difference", "subject"])
                if len(own):
                    middle = own["subject"].iloc[(len(own) - 1) // 2]
                    return Example(session, str(name), organ, middle, own["subject"].nunique())
    return None


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of one segmenter that hold a score; empty where there is none."""
    if rows["modality"].nunique() < 2:
        return pd.DataFrame(columns=["structure", "subject", "difference"])
    return paired_differences(condition(rows)).dropna(subset=["difference"])


def picture(cohort, scores: pd.DataFrame, root: str, shown: Example, *, name: str = "landing"):
    """Viewer of the example, with its prediction on both images."""
    pair = next(p for p in cohort.pairs(shown.session) if p[0].subject == shown.subject)
    organ, system = cohort.structure(shown.structure).title, title(shown.segmenter)
    return read_viewer(
        pair,
        root=root,
        table=scores,
        segmenters=[shown.segmenter],
        structure=shown.structure,
        overlay="difference",
        name=name,
        titles={shown.segmenter: system},
        caption=f"{organ} of {shown.subject} (median change of {count(shown.n_subjects, 'subject')} with images "
        f"here), {system}, after one click (ring) at the same place in both images: agreement grey, missed blue, "
        "added orange.",
    )


def _names_above(ax: Axes, names: Sequence[str]) -> None:
    """Names over their rows, from the left edge on, for a screen that has no room beside them."""
    for y, name in enumerate(names):
        text = ax.text(0.02, y - 0.38, name, transform=ax.get_yaxis_transform(), fontsize=9, va="center")
        if name:
            text.set_bbox(_PAPER)
    ax.set_yticks(range(len(names)), [""] * len(names))
    ax.grid(axis="y", visible=False)


def changes_figure(printed: pd.DataFrame, measured: pd.DataFrame, session: str, *, simulated: bool) -> Axes:
    """Change of the mean DSC from the structural image to PET: the paper's systems above, the run's below."""
    wide, narrow = (
        _changes(printed, measured, session, simulated=simulated, narrow=form) for form in (False, True)
    )
    return set_narrow(wide, narrow)


def _changes(
    printed: pd.DataFrame, measured: pd.DataFrame, session: str, *, simulated: bool, narrow: bool
) -> Axes:
    """One form of `changes_figure`: names beside their rows, or above them for a phone."""
    upper = printed.sort_values("estimate", ascending=False)
    lower = measured.sort_values("estimate", ascending=False)
    wide, high = (3.9, 0.46) if narrow else (8.2, 0.34)
    ax = style.axes(None, figsize=(wide, 1.9 + high * (len(upper) + len(lower) + 2)))
    names = [*upper["model"], "", *(title(n) for n in lower["segmenter"])]
    ax.axvline(0, color="#444444", lw=0.9, zorder=1)
    above = upper.assign(ci_low=0.0, ci_high=upper["estimate"])
    for first, rows, colour, marker, width in (
        (0, above, "#777777", "s", 1.2),
        (len(upper) + 1, lower, labels.modality("PET").colour, "o", 2),
    ):
        for y, row in enumerate(rows.itertuples(), first):
            if row.at_floor:
                words = f" {FLOOR}" if narrow else f" {FLOOR}: at the floor on both"
                ax.text(0, y, words, va="center", fontsize=9, color="#444444")
                continue
            ax.hlines(y, row.ci_low, row.ci_high, color=colour, lw=width, zorder=2)
            ax.plot(row.estimate, y, marker, color=colour, ms=7, zorder=3)
    (_names_above if narrow else style.rows_down)(ax, names)
    ax.tick_params(axis="y", length=0)
    structural = labels.session(session).structural
    ax.set_xlabel(f"Change of the mean DSC from {structural} to PET\n← lower on PET   |   higher on PET →")
    n = int(measured["n_subjects"].max()) if len(measured) else 0
    kind = "simulated cohort" if simulated else "cohort at hand"
    heads = (
        "Printed in the UMD paper (no interval published)",
        f"Measured here, {kind}, n = {n} (bar: 95 % interval)",
    )
    for y, words in zip((-1.1 if narrow else -0.75, len(upper)), heads, strict=True):
        words = words.replace(" (", "\n(") if narrow else words
        text = ax.text(
            0.01, y, words, transform=ax.get_yaxis_transform(), fontsize=9, weight="bold", va="center"
        )
        text.set_bbox(_PAPER)
    ax.set_ylim(len(names) - 0.4, -1.7 if narrow else -1.1)
    return ax


def finding_words(printed: pd.DataFrame, measured: pd.DataFrame, session: str, *, simulated: bool) -> str:
    """What was printed and what was measured, in four short paragraphs of Markdown."""
    structural = labels.session(session).structural
    down = printed[~printed["at_floor"].astype(bool)].sort_values("estimate")
    low, high = down.iloc[0], down.iloc[-1]
    verdicts = published.evaluate(published.ALL_CLAIMS)["verdict"].value_counts()
    several = {DEPENDS: "depend on the reading"}
    counted = ", ".join(f"{n} {several.get(word, word) if n > 1 else word}" for word, n in verdicts.items())
    scans = published.n_scans("UMD-PETCT" if session == "petct" else "UMD-PETMR")
    printed_words = (
        f"**What they printed.** Over {scans} examinations the mean overlap with the reference (DSC, 1 at best) of "
        f"{low['model']} falls from {low['structural']:.3f} on {structural} to {low['pet']:.3f} on PET; that of "
        f"{high['model']} goes from {high['structural']:.3f} to {high['pet']:.3f}."
    )
    checked = (
        f"**What holds.** Of {verdicts.sum()} sentences of both papers that were tested on their own tables: "
        f"{counted} ([the sentences](published_claims.ipynb), [the numbers that do not add up]"
        "(published_audit.ipynb))."
    )
    return "\n\n".join([printed_words, checked, measured_words(measured, session, simulated=simulated)])


def limits_words(*, simulated: bool) -> str:
    """What the numbers of the page do not show, in words for this cohort."""
    first = (
        "The cohort is simulated and its segmenters are small: what a clinical model loses takes that model's weights "
        "and real subjects, and the same commands take both."
        if simulated
        else "The cohort is the one at hand: what is measured holds for its subjects, scanners and references, and for "
        "the segmenters of this run. Later chapters say how certain each number is, and what it does not show. "
        "Chapters on the simulator and on this project's networks still speak of simulated subjects, and say so."
    )
    return (
        f"{first} Published numbers are shown alongside and kept separate; models that could not be run have no "
        "score."
    )


def measured_words(measured: pd.DataFrame, session: str, *, simulated: bool) -> str:
    """How many systems change, and how one architecture changes with what it was trained on."""
    if measured.empty:
        return NOTHING
    structural = labels.session(session).structural
    cohort = "simulated cohort" if simulated else "the cohort at hand"
    rows = measured.set_index("segmenter")
    known = rows[~rows["at_floor"].astype(bool)]
    lower, higher = int((known["ci_high"] < 0).sum()), int((known["ci_low"] > 0).sum())
    text = f"**What was measured here** ({cohort}, {int(rows['n_subjects'].max())} subjects)."
    changes = dict(zip(rows.index, gap_texts(rows), strict=True))
    parts = [f"{words}, by {changes[n]}" for n, words in _TRAINED.items() if n in changes]
    if len(parts) > 1:
        text += f" From {structural} to PET one small network changes, {'; '.join(parts)}"
        text += (
            ". It scores higher on the kind of image that it was trained on, so the loss is not a property of PET alone"
            if _training_matters(rows)
            else ""
        ) + " (one training seed and equal steps; [other seeds and equal exposure](learned_gap.ipynb))."
    text += (
        f" From {structural} to PET, {lower} of {len(rows)} systems score lower and {higher} higher, with a 95 % "
        "interval that excludes 0."
    )
    if rows["n_subjects"].max() < comparison.FEWEST:
        text += f" With fewer than {comparison.FEWEST} subjects no test is made and no verdict given."
    if len(known) < len(rows):
        text += f" For {len(rows) - len(known)} the difference is {FLOOR}: both scores are at the floor."
    return text


_TRAINED = {
    "clicknet_structural": "when trained on CT and MR",
    "clicknet_both": "when trained on CT, MR and PET",
    "clicknet_pet": "when trained on PET",
}


def _training_matters(rows: pd.DataFrame) -> bool:
    """Whether the network trained on structural images loses and the one trained on PET does not."""
    two = rows.reindex(["clicknet_structural", "clicknet_pet"])
    if two["estimate"].isna().any() or two["at_floor"].astype(bool).any():
        return False
    return two["ci_high"].iloc[0] < 0 <= two["estimate"].iloc[1]


def doors() -> str:
    """Four links of the landing page, and one to running it, as MyST Markdown."""
    return (
        ":::{div} umd-ways\n"
        "- [**Read** what we found: five figures](findings.ipynb)\n"
        "- [**Explore** every case: filter, sort, open](cases.ipynb)\n"
        "- [**Check** what the papers printed](published_audit.ipynb)\n"
        "- [**Click**, and three networks answer here](your_click.ipynb)\n"
        ":::\n\n"
        "The same can be [run on your images and your model](your_own.ipynb)."
    )


def verdict_figure() -> Axes:
    """How many sentences of either paper hold on its own tables: one bar per paper."""
    claims = published.evaluate(published.ALL_CLAIMS)
    counts = claims.groupby(["paper", "verdict"], sort=False).size().unstack(fill_value=0)
    counts = counts[counts.sum().sort_values(ascending=False).index]
    ax = style.axes(None, figsize=(7.2, 1.3 + 0.55 * len(counts)))
    colours = dict(zip(counts, _VERDICT_COLOURS, strict=False))
    bars = style.stacked_bars(ax, counts, {v: {"color": c} for v, c in colours.items()}, height=0.6)
    for verdict, drawn in bars.items():
        style.words_in_bars(ax, drawn, [str(n or "") for n in counts[verdict]], fontsize=9.5)
    style.rows_down(ax, counts.index)
    ax.set_xlabel("sentences")
    style.legend_below(ax)
    return ax


# Most frequent verdict first.
_VERDICT_COLOURS = ("#9ecae1", "#fdae6b", "#d9d9d9", "#bcbddc", "#c7e9c0")


def training_figure(scores: pd.DataFrame, session: str) -> Axes:
    """Mean score of a network after each of its three training runs on either image, one line per run."""
    structural = labels.session(session).structural
    ax = style.axes(None, figsize=(5.6, 3.6))
    rows = scores[scores["session"].eq(session) & scores["step"].eq(0) & scores["dice"].notna()]
    looks = zip(_TRAINED.items(), ("#332288", "#666666", "#cc79a7"), ("o", "s", "D"), strict=True)
    for (name, words), colour, marker in looks:
        own = rows[rows["segmenter"].eq(name)]
        cells = own.set_index(["subject", "structure"])[["modality", "dice"]]
        sides = [cells.loc[cells["modality"].eq(m), ["dice"]] for m in (structural, "PET")]
        means = [means_over_structures(side)["dice"].mean() for side in sides if len(side)]
        if len(means) == 2:
            ax.plot([0, 1], means, marker=marker, color=colour, label=words.removeprefix("when "))
    if not ax.lines:
        return style.nothing(ax)
    ax.set_xticks([0, 1], [f"tested on {structural}", "tested on PET"])
    ax.set_xlim(-0.3, 1.3)
    ax.set_ylim(0, 1)
    ax.set_ylabel("mean DSC over subjects")
    style.legend_below(ax, columns=1)
    return ax


def structure_figure(scores: pd.DataFrame, session: str, shown: Example | None) -> Axes:
    """The change of every structure for the segmenter of the picture; a sentence where there is none."""
    if shown is None:
        return style.nothing(style.axes(None))
    rows = scores[scores["session"].eq(session) & scores["segmenter"].eq(shown.segmenter)]
    return forest(comparison.compare(rows))
