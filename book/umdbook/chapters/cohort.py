"""Who is in the cohort: examinations, pictures, and what is measured from the images beside its ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from umdlib import labels
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import NothingToShow
from umdlib.figures import style
from umdlib.synthetic import literature, plausibility
from umdlib.synthetic.plausibility import physics_table, range_table
from umdlib.tables.markdown import markdown_table, reason_table
from umdlib.tables.modality_table import session_title, structure_title, with_session_titles
from umdlib.viewer import montage
from umdlib.viewer.cases import read_viewer
from umdlib.viewer.pair import Pair

__all__ = ["physics_table", "range_table"]

_SHOWN = ("subject", "session", "sex", "age", "height_cm", "weight_kg", "provenance")
_UNITS = {"height_cm": "height (cm)", "weight_kg": "weight (kg)"}
_PHYSICS = {"liver_cov": "noise", "fwhm_mm": "sharpness (mm)", "dome_mm": "displacement (mm)"}
_PHYSICS |= {
    "liver_cov_planned": "noise, true",
    "fwhm_mm_planned": "sharpness, true (mm)",
    "dome_mm_planned": "displacement, true (mm)",
}
_QUANTITIES = {
    "volume_ml": "volume (ml)",
    "CT": "HU, mean of the interior",
    "PET": "SUV, mean of the interior",
}
_SOURCES = {
    "icrp89": "ICRP 2002",
    "kim_liver": "Kim et al.",
    "pancreas2019": "Abdom Radiol 2019",
    "pritchard2014": "Pritchard et al. 2014",
    "wang2007": "Wang et al. 2007",
    "liu2019": "Liu et al. 2019",
    "renal2015": "J Nucl Med 2015",
    "prokop2003": "Prokop and Galanski 2003",
    "debazelaire2004": "de Bazelaire et al. 2004",
    "furst2011": "Fürst et al. 2011",
    "martinez2009": "Martinez-Möller et al. 2009",
    "fourclass2014": "PMID 24966415",
    "assumed": "assumed",
}

Examination = tuple[Case, Case]


def source_table() -> pd.DataFrame:
    """What each source of the synthetic cohort gave, under a name that readers know."""
    table = literature.source_table()
    return table.assign(source=[_SOURCES[name] for name in table["source"]])


def mixed_pairs(cohort: Cohort) -> list[Examination]:
    """Examinations with both images, the sessions in turn.

    Raises
    ------
    NothingToShow
        No subject has both.
    """
    by_session = [cohort.pairs(s) for s in cohort.sessions()]
    pairs = [pair for pair in chain.from_iterable(zip_longest(*by_session)) if pair]
    if not pairs:
        raise NothingToShow("No subject of this cohort has both a structural image and PET.")
    return pairs


def people(cohort: Cohort) -> pd.DataFrame:
    """One row per examination with what the manifest says of its subject."""
    table = cohort.table[[c for c in _SHOWN if c in cohort.table]].drop_duplicates(["subject", "session"])
    return with_session_titles(table).rename(columns=_UNITS)


def reports(pairs: Sequence[Examination]) -> Figure:
    """A row of whole-body pictures for each examination."""
    return montage.reports(
        (structural.read_image(), pet.read_image(), f"{pet.subject}, {session_title(pet.session)}")
        for structural, pet in pairs
    )


def viewers(cohort: Cohort, pairs: Sequence[Examination]) -> Iterator[Pair]:
    """Viewers of three examinations of unlike size."""
    for pair in plausibility.unlike(list(pairs), cohort.table):
        case = pair[0]
        yield read_viewer(
            pair,
            name=f"cohort-{case.subject}-{case.session}",
            caption=f"{case.subject}, {session_title(case.session)}: {case.modality} and PET with the "
            "reference.",
        )


def organ_table(pairs: Sequence[Examination]) -> pd.DataFrame:
    """Volume and intensity of every structure in every image of some examinations."""
    return plausibility.organ_table(chain.from_iterable(pairs))


def range_figure(organs: pd.DataFrame, quantity: str) -> Axes:
    """Every subject's value per structure over the literature's range (bar)."""
    table = range_table(organs).query("quantity == @quantity").reset_index(drop=True)
    ax = style.axes(None, figsize=(6.4, 0.9 + 0.32 * len(table)))
    if table.empty:
        return style.nothing(ax, "no range is known for these structures")
    of_quantity = organs["modality"].ne("PET") if quantity == "volume_ml" else organs["modality"].eq(quantity)
    column = "volume_ml" if quantity == "volume_ml" else "mean"
    points = organs[of_quantity & organs["structure"].isin(table["structure"])]
    low, high = table["range_low"], table["range_high"]
    ax.barh(table["structure"], high - low, left=low, height=0.62, color="#d9d9d9")
    place = {"x": column, "y": "structure", "order": table["structure"], "jitter": False}
    look = {"color": labels.modality("PET" if quantity == "PET" else "CT").colour, "alpha": 0.75, "size": 4}
    sns.stripplot(points, **place, **look, zorder=3, ax=ax)
    style.rows_down(ax, map(structure_title, table["structure"]))
    ax.set(xlabel=_QUANTITIES[quantity], ylabel="")
    if quantity != "CT":
        ax.set_xscale("log")
    return ax


def outside_table(ranges: pd.DataFrame) -> str:
    """Structures of which some subject lies outside of the literature's range."""
    outside = ranges[ranges["inside"] < 1].drop(columns="source")
    if outside.empty:
        return reason_table("None.")
    outside = outside.assign(
        quantity=outside["quantity"].replace(_QUANTITIES), inside=outside["inside"].map("{:.0%}".format)
    )
    names = {"n_subjects": "n", "range_low": "range from", "range_high": "to"}
    return markdown_table(outside.rename(columns=names))


def inside_words(ranges: pd.DataFrame) -> str:
    """Share of the values inside their range, as the text has it."""
    if ranges.empty:
        return "none could be judged: no range is known; 0 lie"
    return f"{ranges['inside'].mean():.0%} lie"


def physics_markdown(physics: pd.DataFrame) -> str:
    """Noise, sharpness and displacement, measured and true, as a table."""
    physics = with_session_titles(physics) if len(physics) else physics
    formats = dict.fromkeys(_PHYSICS.values(), ".1f") | {"noise": ".3f", "noise, true": ".3f"}
    return markdown_table(physics.dropna(axis=1, how="all").rename(columns=_PHYSICS), formats)


def agreement_figures(physics: pd.DataFrame) -> list[Axes]:
    """Measured against true, a panel for each measure: a point per examination, and the line of identity."""
    axes = style.panels(1, len(plausibility.MEASURES), width=3.1, height=2.6)
    sessions = list(physics["session"].unique()) if len(physics) else []
    colours = dict(zip(sessions, style.SEGMENTER_COLOURS[1:], strict=False))
    for ax, (column, label) in zip(axes, plausibility.MEASURES.items(), strict=True):
        known = physics.dropna(subset=[column, f"{column}_planned"]) if len(physics) else physics
        if len(known):
            shared = {"x": f"{column}_planned", "y": column, "hue": "session", "style": "session"}
            sns.scatterplot(known, **shared, s=36, palette=colours, legend=False, ax=ax)
            both = pd.concat([known[column], known[f"{column}_planned"]])
            margin = 0.08 * (both.max() - both.min()) + 1e-3
            ends = both.min() - margin, both.max() + margin
            ax.plot(ends, ends, lw=0.8, color=style.GREY)
        ax.set(xlabel=f"{label}, true", ylabel="measured")
    return axes
