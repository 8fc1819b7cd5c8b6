"""How are the clicks placed? One click in two images, and every stored click compared."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from umdbook.names import title
from umdbook.page import fold
from umdlib import prompts, protocols
from umdlib.cohort.manifest import Case, Cohort
from umdlib.evaluation import store
from umdlib.figures import style
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts.prompt import Click
from umdlib.tables.markdown import number, numbered_table
from umdlib.viewer.cases import first_pairs
from umdlib.viewer.slices import Scene, slice_picture, view


@dataclass(frozen=True)
class Shown:
    """One click of one structure in both images of an examination."""

    pair: tuple[Case, Case]
    images: dict[str, tuple[Volume, LabelMap]]
    structure: Structure
    click: Click

    @property
    def session(self) -> str:
        """Session of the examination."""
        return self.pair[0].session


def centre_click(cohort: Cohort, *, session: str, subject: str = "", structure: str = "") -> Shown:
    """Draw the centre click of a structure in both images of a subject.

    The first subject with both images, and the first structure that gets a click, where none is named;
    the first session of the subject where it lacks the given one.
    """
    pairs = first_pairs(cohort, subject)
    pair = next((p for p in pairs if p[0].session == session), pairs[0])
    images = {case.modality: case.read() for case in pair}
    drawn = prompts.pair_prompts(
        {modality: reference for modality, (_, reference) in images.items()},
        cohort.structures,
        structural=pair[0].modality,
        case=f"{pair[0].subject} {pair[0].session}",
    )
    name = structure or next(s.name for s in cohort.structures if drawn[s.name].clicks)
    shown = cohort.structure(name)
    return Shown(pair, images, shown, drawn[shown.name].clicks[0])


def click_figure(shown: Shown) -> list[Axes]:
    """The click in an axial slice of either image, with the outline of the reference."""
    axes = style.panels(1, 2, width=4.3, height=3.8)
    for ax, (modality, (image, reference)) in zip(axes, shown.images.items(), strict=True):
        mask = {shown.structure.colour: reference.data == shown.structure.value}
        slice_picture(Scene(image, mask, clicks=[shown.click]), view(image, shown.click.xyz_mm), ax=ax)
        ax.set_title(f"{modality}, {shown.structure.title.lower()}")
    return axes


def voxel_table(shown: Shown) -> str:
    """The click and the voxel of either image that holds it."""
    columns = ["image", "click in the body (mm, RAS+)", "voxel (i, j, k)", "spacing (mm)"]
    rows = []
    for modality, (image, _) in shown.images.items():
        ijk = geometry.nearest_voxel(image.affine, shown.click.xyz_mm, image.shape)
        place = ", ".join(number(x, 2) for x in shown.click.xyz_mm)
        spacing = " × ".join(f"{s:.2f}" for s in image.spacing_mm)
        rows.append([modality, place, ", ".join(map(str, ijk)), spacing])
    grids = pd.DataFrame(rows, columns=columns)
    return numbered_table(grids, "One click, and the voxel that holds it.", "tab-prompts-voxels")


def stored_clicks(cohort: Cohort, table: pd.DataFrame, *, root: str, session: str) -> pd.DataFrame:
    """First clicks of every case of a session, read back and compared between its two images.

    Returns: As `umdlib.evaluation.store.compare_prompts`, with the segmenter; empty without a click.
    """
    table = table[table["session"].eq(session)]
    first = table.groupby("segmenter")["prompt"].first()
    scored = table.loc[table["status"].eq("ok"), "segmenter"].unique()
    clicked = [name for name in scored if protocols.kind_given(first[name]) == "click"]
    found = [store.compare_prompts(cohort, root, session, n).assign(segmenter=n) for n in clicked]
    return pd.concat(found) if found else pd.DataFrame()


def stored_table(compared: pd.DataFrame) -> str:
    """How far the first clicks of the two images lie apart, by segmenter and protocol."""
    if compared.empty:
        return "No segmenter of this run took a click in both images."
    grouped = compared.groupby(["segmenter", "prompt"], sort=False)
    summary = grouped.agg({"distance_mm": ["size", "max"], "outside": "sum"}).reset_index()
    distance = "largest distance (mm)"
    summary.columns = ["segmenter", "prompt", "pairs", distance, "outside the structure in PET"]
    caption = "First clicks of each segmenter and protocol, in the structural image against PET."
    table = numbered_table(summary, caption, "tab-prompts-pairs", {distance: ".2g"})
    if compared["distance_mm"].ne(0).any():
        return table
    words = f"In all {len(compared)} pairs the first clicks of the structural image and of PET are the same point."
    return f"{words}\n\n{fold('Pairs of each segmenter and protocol', table)}"


# What stands for a number in the name of a rule, where this page shows one.
_EXAMPLES = {"official_crop": 192, "sliding": 192, "points_per_slice": 3, "lasso": 16}


def protocol_list() -> str:
    """The rules that can be drawn, as a table, with what they disclose; a number in a name is an example."""
    rows = []
    for name, rule in protocols.PROTOCOLS.items():
        number = str(_EXAMPLES.get(name.partition("_{")[0], 5))
        texts = (f"`{name}`", rule.text, rule.discloses or "–")
        rows.append([text.replace("{mm}", number).replace("{n}", number) for text in texts])
    table = pd.DataFrame(rows, columns=["name", "rule", "discloses besides"])
    caption = "Rules for prompts. A number in a name is an example: any other can stand there."
    return numbered_table(table, caption, "tab-prompts-rules")


def native_list() -> str:
    """The protocols of each system's own authors, those of several systems in a line."""
    by_rule: dict[tuple[str, ...], list[str]] = {}
    for name, own in protocols.NATIVE.items():
        by_rule.setdefault(own, []).append(title(name))
    none = "no rule for a click is published"
    return "\n".join(
        f"- {', '.join(names)}: {', '.join(f'`{p}`' for p in own) or none}" for own, names in by_rule.items()
    )
