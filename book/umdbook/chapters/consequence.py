"""Tables, sentences and figures of the chapter on what a clinician would read off."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from umdbook import names
from umdlib.cohort.manifest import Cohort
from umdlib.errors import unknown_name
from umdlib.figures.links import keep_numbers
from umdlib.figures.narrow import set_narrow
from umdlib.figures.style import Looks, axes, legend_below, nothing, panels, rows_down, segmenter_style
from umdlib.quantities import read_quantities
from umdlib.statistics import agreement, networks
from umdlib.tables.markdown import count, number
from umdlib.tables.modality_table import session_title, structure_title
from umdlib.viewer import cases as exhibits
from umdlib.viewer.pair import Pair

__all__ = ["read_quantities"]

_QUANTITY_TITLES: dict[str, str] = {
    "ml": "volume",
    "suv_mean": "SUVmean",
    "suv_max": "SUVmax",
    "suv_peak": "SUVpeak",
    "tlg": "total lesion glycolysis",
    "hu_mean": "mean HU",
}


def checked_quantity(name: str) -> str:
    """Return the name of a quantity, or refuse it with the nearest."""
    if name not in _QUANTITY_TITLES:
        raise unknown_name("quantity", name, _QUANTITY_TITLES)
    return name


def limits_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Bias, limits and share inside the band, of `umdlib.statistics.agreement.agreement_table`."""
    rows = pd.DataFrame({"session": table["session"].map(session_title)})
    rows["segmenter"] = table["segmenter"].map(names.title)
    if "structure" in table:
        rows["structure"] = table["structure"].map(structure_title)
    for name, heading in (("bias", "bias"), ("low", "lower limit"), ("high", "upper limit")):
        ends = table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
        rows[f"{heading} [95 %]"] = [_percent(*row) for row in ends]
    if table["within"].notna().any():
        rows["within the band"] = [f"{100 * v:.0f} %" if v == v else "–" for v in table["within"]]
    rows["n"] = table["n_subjects"].astype(int)
    return rows.assign(note=table["why"].to_numpy())


def _percent(value: float, low: float, high: float) -> str:
    """A percentage with its interval."""
    if not np.isfinite(value):
        return "–"
    text = f"{number(value, 1, sign=True)} %"
    return f"{text} [{number(low, 1, sign=True)}, {number(high, 1, sign=True)}]" if np.isfinite(low) else text


def limits_plot(
    table: pd.DataFrame, *, looks: Looks | None = None, legend: bool = True, ax: Axes | None = None
) -> Axes:
    """Bias and limits of agreement of every structure and segmenter of one session, with the band.

    The scale is linear to 20 % and logarithmic beyond it.
    """
    rows = table[table["bias"].notna()]
    if rows.empty:
        return nothing(axes(ax, figsize=(6.6, 2.0)))
    structures, shown = list(dict.fromkeys(rows["structure"])), list(dict.fromkeys(rows["segmenter"]))
    ax = axes(ax, figsize=(7.2, 1.6 + 0.5 * len(structures)))
    band = agreement.RETEST.get(table.attrs.get("quantity", ""))
    if band is not None:
        ax.axvspan(band.low, band.high, color="#cfe3cf", zorder=0, label="test-retest")
    ax.axvline(0, color="#444444", lw=0.9)
    looks = looks or segmenter_style(rows["segmenter"])
    for i, segmenter in enumerate(shown):
        part = rows[rows["segmenter"].eq(segmenter)]
        y = np.array([structures.index(s) for s in part["structure"]]) + (
            i - (len(shown) - 1) / 2
        ) * 0.7 / len(shown)
        ax.hlines(y, part["low"], part["high"], color=looks[segmenter]["color"], lw=1.4)
        ax.scatter(part["bias"], y, s=22, zorder=3, label=names.title(segmenter), **looks[segmenter])
    rows_down(ax, map(structure_title, structures))
    ax.set_xscale("symlog", linthresh=20)
    ticks = [
        t for t in (-1000, -100, -20, -10, 0, 10, 20, 100, 1000) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]
    ]
    ax.set_xticks(ticks, [f"{t:+d}".replace("-", "−") if t else "0" for t in ticks])
    ax.minorticks_off()
    title = _QUANTITY_TITLES[table.attrs.get("quantity", "suv_mean")]
    ax.set_xlabel(f"{title} of the prediction, % from the reference's")
    if legend:
        legend_below(ax, columns=2)
    return ax


def band_words(quantity: str) -> str:
    """Say what the band is and where it comes from."""
    band = agreement.RETEST.get(quantity)
    if band is None:
        return f"No test-retest limit of {_QUANTITY_TITLES[quantity]} is cited here: there is no band."
    low, high = number(band.low, 1, sign=True), number(band.high, 1, sign=True)
    return f"The band, {low} to {high} %, is {band.what} {{cite:p}}`{band.source}`."


def limits_words(table: pd.DataFrame) -> str:
    """One item per session and segmenter: how many structures keep inside the band, and which is worst."""
    quantity = table.attrs.get("quantity", "suv_mean")
    band, lines = agreement.RETEST.get(quantity), []
    for (session, segmenter), part in table.groupby(["session", "segmenter"], sort=False):
        known = part[part["bias"].notna()]
        if known.empty:
            lines.append(f"- {session_title(session)}, {names.title(segmenter)}: {part['why'].iloc[0]}.")
            continue
        worst = known.loc[known["bias"].abs().idxmax()]
        text = (
            f"the largest bias is {number(worst['bias'], 1, sign=True)} % "
            f"({structure_title(worst['structure']).lower()})"
        )
        if band is not None:
            limited = known[known["low"].notna()]
            inside = limited[(limited["low"] >= band.low) & (limited["high"] <= band.high)]
            kept = f"{len(inside)} of {count(len(limited), 'structure')} have both limits within the band; "
            text = (kept if len(limited) else "too few subjects for limits; ") + text
        lines.append(f"- {session_title(session)}, {names.title(segmenter)}: {text}.")
    return "\n".join(lines) or "Nothing was scored that has a quantity."


def picks_layout(picked: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """Picked predictions with the names that a reader knows."""
    titles = {s.name: s.title for s in cohort.structures}
    return pd.DataFrame(
        {
            "subject": picked["subject"],
            "session": picked["session"].map(session_title),
            "structure": picked["structure"].map(titles),
            "segmenter": picked["segmenter"].map(names.title),
            "DSC": [number(v) for v in picked["dice"]],
            "reference": [number(v, 2) for v in picked["reference"]],
            "prediction": [number(v, 2) for v in picked["prediction"]],
            "change": [f"{number(v, 1, sign=True)} %" for v in picked["change"]],
        }
    )


def pick_viewer(
    picked: pd.DataFrame, cohort: Cohort, table: pd.DataFrame, *, root: str, quantity: str
) -> Pair | None:
    """Viewer of the first of some picked predictions; None where there is none."""
    if picked.empty:
        return None
    row = picked.iloc[0]
    structure, shown = cohort.structure(row["structure"]), names.title(row["segmenter"])
    return exhibits.read_viewer(
        [cohort.case(row["subject"], row["session"], row["modality"])],
        root=root,
        table=table,
        segmenters=[row["segmenter"]],
        prompt=row["prompt"],
        seed=int(row["seed"]),
        titles={row["segmenter"]: shown},
        structure=structure.name,
        overlay="difference",
        outline="reference",
        caption=f"{row['subject']}, {structure.title.lower()}, {shown}: DSC "
        f"{number(row['dice'])}, {_QUANTITY_TITLES[quantity]} {number(row['change'], 1, sign=True)} %.",
    )


def picks_words(harmless: pd.DataFrame, costly: pd.DataFrame, quantity: str, low: float, high: float) -> str:
    """Say what was found of both kinds."""
    parts = []
    of_quantity = f" of {_QUANTITY_TITLES[quantity]}"
    for picked, of, span in (
        (harmless, of_quantity, f"from 0.3 to {low:g}"),
        (costly, "", f"of {high:g} or more"),
    ):
        if picked.empty:
            parts.append(f"No prediction of this run has a DSC {span}.")
            continue
        r = picked.iloc[0]
        parts.append(
            f"A DSC of {number(r['dice'])} ({structure_title(r['structure']).lower()}, {names.title(r['segmenter'])}) "
            f"goes with a change of {number(r['change'], 1, sign=True)} %{of}."
        )
    return " ".join(parts)


def correlation_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of `umdlib.statistics.agreement.overlap_and_change`."""
    heading = "rank correlation of DSC and size of the change"
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "segmenter": table["segmenter"].map(names.title),
            heading: [number(v, 2, sign=True) for v in table["rank_correlation"]],
            "predictions": table["n_pairs"],
        }
    )


def network_quantities(measured: pd.DataFrame, path: str) -> tuple[pd.DataFrame, str]:
    """Quantities of the networks: the run's, or those of a benchmark where the run has too few subjects; and which."""
    subjects = measured.groupby("session")["subject"].nunique()
    if (subjects >= networks.LEAST_SUBJECTS).any() or not Path(path).is_file():
        return measured, ""
    larger = read_quantities(path)
    stamp = larger.attrs["stamp"]
    few = count(int(subjects.max()), "subject") if len(subjects) else "no subject"
    return larger, (
        f"This run has at most {few} in a session, too few for a network. What follows is of "
        f"{larger['subject'].nunique()} simulated subjects with PET voxels of {stamp['spacing_mm']:g} mm, made with "
        f"`{stamp['command']}` on {stamp['date']}."
    )


def distance_words(table: pd.DataFrame) -> str:
    """Say which systems' networks lie within what so few subjects do by themselves."""
    known = table[table["distance"].notna()].sort_values("distance")
    if known.empty:
        return ""
    near = known[known["distance"] <= known["chance"]]
    first, last = (
        f"{names.title(r.segmenter)} ({number(r.distance)})" for r in known.iloc[[0, -1]].itertuples()
    )
    return (
        f"Nearest to the reference's network lies that of {first}, farthest that of {last}. {len(near)} of "
        f"{len(known)} lie nearer than a resample of the same subjects does."
    )


def distance_table(quantities: pd.DataFrame, *, n_resamples: int = 500, seed: int = 0) -> pd.DataFrame:
    """Distance of each system's network to the reference's, per session."""
    rows = []
    pet = quantities[quantities["modality"].eq("PET") & quantities["status"].ne("unavailable")]
    for (session, segmenter), part in pet.groupby(["session", "segmenter"], sort=False):
        sides = [networks.organ_uptake(part, session, segmenter, side=s) for s in ("reference", "prediction")]
        found = networks.network_distance(*sides, n_resamples=n_resamples, seed=seed)
        rows.append({"session": session, "segmenter": segmenter, **found})
    columns = ["session", "segmenter", "distance", "low", "high", "chance", "n_subjects", "n_edges"]
    return pd.DataFrame(rows, columns=columns)


def distance_layout(table: pd.DataFrame) -> pd.DataFrame:
    """Distances with interval, beside what so few subjects do by themselves."""
    least = f"fewer than {networks.LEAST_SUBJECTS} subjects have the uptake of two organs in both"
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "segmenter": table["segmenter"].map(names.title),
            "distance [95 %]": [
                f"{number(r.distance)} [{number(r.low)}, {number(r.high)}]" if r.n_edges else "–"
                for r in table.itertuples()
            ],
            "reference, resampled": [number(v) for v in table["chance"]],
            "edges": table["n_edges"].astype(int),
            "n": table["n_subjects"].astype(int),
            "note": ["" if n else least for n in table["n_edges"]],
        }
    )


def network_figure(quantities: pd.DataFrame, session: str, segmenter: str) -> list[Axes]:
    """Network of the references beside that of one system's masks; a sentence where the subjects are too few."""
    sides = (("reference", "references"), ("prediction", names.title(segmenter)))
    uptakes = {t: networks.organ_uptake(quantities, session, segmenter, side=side) for side, t in sides}
    found = {title: networks.network(uptake) for title, uptake in uptakes.items()}
    if not all(edges["correlation"].notna().any() for edges in found.values()):
        n = min(len(uptake.dropna(how="all")) for uptake in uptakes.values())
        words = f"{count(n, 'subject')} with uptake: too few for a network, whose edges need {networks.LEAST_SUBJECTS}"
        return [nothing(axes(None, figsize=(7.2, 0.5)), words)]
    drawn, narrow = panels(1, 2, width=4.6, height=4.4), panels(2, 1, width=3.5, height=3.2)
    for form in (drawn, narrow):
        for ax, (title, edges) in zip(form, found.items(), strict=True):
            _network_plot(edges, ax, title)
    keep_numbers(drawn[0], pd.concat([e.assign(side=t) for t, e in found.items()])[["side", *_EDGE]])
    set_narrow(drawn[0], narrow[0])
    return drawn


_EDGE = ["first", "second", "correlation", "low", "high"]


def _network_plot(edges: pd.DataFrame, ax: Axes, title: str) -> None:
    """Correlations of organs as a matrix; a dot where the 95 % interval leaves out 0."""
    organs = list(dict.fromkeys([*edges["first"], *edges["second"]]))
    matrix = np.full((len(organs), len(organs)), np.nan)
    for r in edges[edges["correlation"].notna()].itertuples():
        a, b = organs.index(r.first), organs.index(r.second)
        matrix[a, b] = matrix[b, a] = r.correlation
        if r.low > 0 or r.high < 0:
            ax.plot([a + 0.5, b + 0.5], [b + 0.5, a + 0.5], "k.", ms=3)
    image = ax.pcolormesh(matrix, cmap=plt.get_cmap("RdBu_r", 20), vmin=-1, vmax=1)
    labels = [structure_title(o) for o in organs]
    places = np.arange(len(organs)) + 0.5
    ax.set_xticks(places, labels, rotation=90, fontsize=7)
    ax.set_yticks(places, labels, fontsize=7)
    ax.set(aspect="equal", ylim=(len(organs), 0))
    ax.grid(visible=False)
    ax.set_title(title)
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="correlation")


def nearest(table: pd.DataFrame, session: str) -> str:
    """Segmenter whose network lies nearest to the reference's; the first of the session where none has one."""
    rows = table[table["session"].eq(session)]
    known = rows[rows["distance"].notna()]
    if len(known):
        return str(known.loc[known["distance"].idxmin(), "segmenter"])
    return str(rows["segmenter"].iloc[0]) if len(rows) else ""


def few_interval(r: float, n: int) -> str:
    """Interval of a correlation over few subjects, for the text.

    Examples
    --------
    >>> few_interval(0.7, 8)
    '−0.01 to 0.94'
    """
    return " to ".join(number(end, 2) for end in networks.correlation_interval(r, n))
