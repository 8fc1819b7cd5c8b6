"""Tables, sentences and a figure of the chapter on supervised references."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from umdbook.names import title
from umdlib import published
from umdlib.figures.style import Looks, axes, given_intervals, legend_below, rows_down, segmenter_style
from umdlib.scores.empty_rules import higher_is_better, is_directed
from umdlib.statistics import FLOOR
from umdlib.tables.markdown import gap_texts, intervals, number
from umdlib.tables.modality_table import metric_title, session_title, structure_title
from umdlib.training.nnunet import release
from umdlib.training.nnunet.recipes import RECIPES
from umdlib.weights import card

__all__ = ["card", "release"]


def reference_layout(means: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC of the specialists beside what UMD printed for its nnU-Net.

    `means`: from `umdlib.statistics.reference_gap.reference_means`.
    """
    return pd.DataFrame(
        {
            "reference": means["segmenter"].map(title),
            "session": means["session"].map(session_title),
            "modality": means["modality"],
            "mean DSC here [95 %]": _bounded(means),
            "n": means["n_subjects"],
            "UMD printed": [number(v) for v in means["printed"]],
        }
    )


def printed_loss() -> str:
    """What UMD's table 3 prints as nnU-Net's loss on PET, lowest to highest of its cohorts.

    Examples
    --------
    >>> printed_loss()
    '0.08 to 0.09'
    """
    paper = published.read("umd_table3")
    rows = paper[paper["segmenter"].eq("nnunet") & paper["session"].ne("")]
    pet = rows["modality"].eq("PET")
    losses = rows[~pet].set_index("session")["value"] - rows[pet].set_index("session")["value"]
    return " to ".join(number(v, 2) for v in dict.fromkeys((losses.min(), losses.max())))


def pet_only_layout(printed: pd.DataFrame, studies: pd.DataFrame) -> pd.DataFrame:
    """UMD's nnU-Net on PET, and networks of others that were trained on many PET scans."""
    rows = printed[printed["segmenter"].eq("nnunet") & printed["modality"].eq("PET")]
    rows = rows[rows["session"].isin(["petct", "petmr"])].drop_duplicates("session")
    cases, organs = (published.fact(f"umd_{name}") for name in ("nnunet_cases", "organs"))
    ours = [
        (
            f"UMD's nnU-Net, {cases:.0f} cases",
            f"PET of {session_title(r.session)}",
            f"{organs:.0f}",
            number(r.value),
        )
        for r in rows.itertuples()
    ]
    others = [
        (
            f"[{r.study} {r.year}](https://doi.org/{r.doi})",
            f"{r.tracer}, {r.images}",
            str(r.structures),
            f"{r.dice_low:g}" + (f" to {r.dice_high:g}" if r.dice_high > r.dice_low else ""),
        )
        for r in studies.itertuples()
    ]
    return pd.DataFrame([*ours, *others], columns=["network", "images", "organs", "mean DSC printed"])


def quartile_layout(table: pd.DataFrame, session: str, *, best: pd.DataFrame | None = None) -> pd.DataFrame:
    """Median (Q1–Q3), segmenters down and structures across, as SegAnyPET prints it."""
    rows = table[table["session"].eq(session)]
    names = [title(r.segmenter) + (f" ({r.points}p)" if r.points else "") for r in rows.itertuples()]
    cells = [f"{number(r.median)} ({number(r.q1)}–{number(r.q3)})" for r in rows.itertuples()]
    rows = rows.assign(name=names, cell=cells)
    structures = list(dict.fromkeys(rows["structure"]))
    wide = rows.pivot_table(index="name", columns="structure", values="cell", aggfunc="first", sort=False)
    wide = wide.reindex(columns=structures).fillna("–")
    wide.columns = [structure_title(s) for s in structures]
    counts = rows.groupby("name", sort=False)["n_subjects"].max()
    layout = wide.reset_index(names="segmenter").assign(n=counts.reindex(wide.index).to_numpy())
    if best is None or table.attrs.get("metric") != "dice":
        return layout
    layout["n"] = layout["n"].astype(str)
    for name, part in best[best["modality"].eq("PET")].groupby("title", sort=False):
        of = dict(zip(part["structure"], part["ceiling"], strict=True))
        line = {structure_title(s): number(of[s]) if s in of else "–" for s in structures}
        layout.loc[len(layout)] = {"segmenter": f"*reference, {name}*", "n": "", **line}
    return layout


def gap_layout(gaps: pd.DataFrame) -> pd.DataFrame:
    """What each specialist loses on PET.

    `gaps`: from `umdlib.statistics.reference_gap.supervised_gap`.
    """
    return pd.DataFrame(
        {
            "reference": gaps["segmenter"].map(title),
            "session": gaps["session"].map(session_title),
            "PET − structural [95 %]": gap_texts(gaps),
            "n": gaps["n_subjects"],
            "UMD printed": [number(v, sign=True) for v in gaps["printed"]],
        }
    )


def excess_layout(excess: pd.DataFrame) -> pd.DataFrame:
    """Gap, the reference's gap on the same pairs, and the excess with its interval.

    `excess`: from `umdlib.statistics.reference_gap.excess_gap`.
    """
    metric = excess.attrs.get("metric", "dice")
    return pd.DataFrame(
        {
            "session": excess["session"].map(session_title),
            "segmenter": excess["segmenter"].map(title),
            "gap": [number(v, sign=True) for v in excess["gap"]],
            "reference's gap": [number(v, sign=True) for v in excess["reference_gap"]],
            "excess [95 %]": gap_texts(excess),
            "n": excess["n_subjects"],
            "beside the baseline": [_excess_verdict(r, metric) for r in excess.itertuples()],
        }
    )


def recipe_numbers() -> dict[str, int | float]:
    """Subjects, voxel edge and iterations of the small recipe beside nnU-Net's own, for the text."""
    small, full = RECIPES["small"], RECIPES["full"]
    ours = tuple(f"{name}_" for name in release.TITLES)
    iterations = {r.name: r.epochs * r.iterations for r in (small, full)}
    return {
        "n_training": max(
            (card.read(n).data["subjects"] for n in card.names() if n.startswith(ours)), default=0
        ),
        "small_mm": small.spacing_mm[0],
        "full_iterations": iterations["full"],
        "times_iterations": round(iterations["full"] / iterations["small"]),
    }


def condition_layout(conditions: pd.DataFrame) -> pd.DataFrame:
    """Whether the reference is one for this cohort, by session.

    `conditions`: from `umdlib.statistics.reference_gap.reference_condition`.
    """
    return pd.DataFrame(
        {
            "session": conditions["session"].map(session_title),
            "reference": conditions["segmenter"].map(title),
            "image": conditions["modality"],
            "mean DSC on its own data": [number(v) for v in conditions["home"]],
            "mean DSC here [95 %]": _bounded(conditions),
            "n": conditions["n_subjects"],
            "a reference here": conditions["holds"].map({True: "yes", False: "**no**"}),
        }
    )


def condition_words(conditions: pd.DataFrame) -> str:
    """Say in which sessions there is no reference for this cohort, and why."""
    gone = conditions[~conditions["holds"].astype(bool)]
    return "\n".join(
        f"- **No reference for this cohort**, {session_title(r.session)}: {title(r.segmenter)} does not "
        f"count here, because {r.why}. No excess gap is computed."
        for r in gone.itertuples()
    )


def _excess_verdict(row, metric: str) -> str:
    """What a segmenter does on PET beside the supervised baseline, in two or three words."""
    if row.at_floor:
        return FLOOR
    if row.ci_low != row.ci_low:
        return "too few subjects"
    if row.ci_low <= 0 <= row.ci_high:
        return "not told apart"
    below = row.ci_high < 0
    if not is_directed(metric):
        return f"gap lies {'below' if below else 'above'}"
    if not below and higher_is_better(metric) and row.gap > 0:
        return "gains more"
    return "loses more" if below == higher_is_better(metric) else "loses less"


def _bounded(table: pd.DataFrame) -> list[str]:
    """Scores with their intervals, without signs."""
    return [text.replace("+", "") for text in intervals(table, "estimate", "ci_low", "ci_high")]


def excess_plot(excess: pd.DataFrame, *, looks: Looks | None = None, ax: Axes | None = None) -> Axes:
    """Gap of each segmenter beside the reference's, and the excess with its interval.

    What is not identifiable has its line and no point.
    """
    rows = excess[excess["estimate"].notna()]
    by = "structure" if "structure" in rows else "segmenter"
    names = list(dict.fromkeys(rows[by]))
    looks = looks or segmenter_style(rows["segmenter"])
    ax = axes(ax, figsize=(7.2, 1.6 + 0.42 * max(len(names), 2)))
    ax.axvline(0, color="#444444", lw=0.9)
    floor = rows["at_floor"].astype(bool)
    known = rows.assign(**{c: rows[c].where(~floor) for c in ("estimate", "ci_low", "ci_high")})
    if not floor.all():
        given_intervals(ax, known, looks, down=by)
    rows_down(ax, map(structure_title if by == "structure" else title, names))
    metric = metric_title(excess.attrs.get("metric", "dice"))
    reference = title(excess.attrs.get("reference", "the reference"))
    ax.set_xlabel(f"{metric}: gap minus that of {reference}")
    if by == "structure":
        shown = dict.fromkeys(rows["segmenter"])
        legend_below(ax, handles=[Line2D([], [], lw=1.8, label=title(s), **looks[s]) for s in shown])
    return ax
