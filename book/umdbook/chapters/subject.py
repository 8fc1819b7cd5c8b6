"""What does one subject look like in both images? Viewers and tables of its examinations."""

from __future__ import annotations

import pandas as pd

from umdbook.chapters.gallery import best_segmenter
from umdbook.names import title
from umdlib import labels
from umdlib.cohort.manifest import Case, Cohort
from umdlib.tables.markdown import numbered_table
from umdlib.viewer.cases import (
    case_table,
    first_pairs,
    intensity_table,
    read_viewer,
    scored_segmenters,
    shared_structure,
)
from umdlib.viewer.pair import Pair

__all__ = ["first_pairs", "shared_structure"]

Examination = tuple[Case, Case]


def grid_table(pair: Examination) -> str:
    """Grid and content of both images."""
    caption = f"Grid and content of the two images of {_name(pair)}."
    return numbered_table(case_table(pair), caption, f"tab-grids-{pair[0].session}")


def value_table(pair: Examination) -> str:
    """Volume and mean intensity of each structure in both images."""
    values = intensity_table(pair)
    formats = {column: ".2f" if "SUV" in column else ".0f" for column in values}
    caption = f"Volume and mean intensity of each structure, {_name(pair)}. A dash: not in the image."
    return numbered_table(values, caption, f"tab-intensities-{pair[0].session}", formats)


def viewer(
    cohort: Cohort, pair: Examination, table: pd.DataFrame, *, root: str, structure: str, segmenter: str = ""
) -> Pair:
    """Both images with the reference and every segmenter of the run; the best one first where none is named."""
    session = pair[0].session
    names = scored_segmenters(table, session)
    best = best_segmenter(table, session=session) if names else ""
    return read_viewer(
        pair,
        root=root,
        table=table,
        segmenters=names,
        structure=structure,
        segmenter=segmenter if segmenter in names else best,
        titles={n: title(n) for n in names},
        outline="both" if names else "reference",
        name=f"subject-{session}",
        caption=f"{pair[0].subject} on {pair[0].modality} and PET with the reference of the "
        f"{cohort.structure(structure).title.lower()}.",
    )


def _name(pair: Examination) -> str:
    return f"{pair[0].subject}, {labels.session(pair[0].session).title}"
